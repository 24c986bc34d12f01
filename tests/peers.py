"""Other libraries that read the same files, each asked in a process of its own.

Most import pydantic; where that is loaded, the command line checks the types of its defaults by it, and refuses some.
"""

import importlib.util
import json
import subprocess
import sys

import pytest


def ask(library, code, *arguments):
    """What `code`, which has `sys` and `json` and prints JSON, says of the arguments; skips without the library."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")
    words = [sys.executable, "-c", f"import json, sys\n{code}", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
