"""Other programs as peers, each in an environment of its own: a worker that stays, and is told what to do in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOLDER = Path(__file__).parent


def python_of(environment: str) -> Path:
    """The interpreter of an environment in a folder of `benchmarks` that git ignores."""
    return FOLDER / f".{environment}" / "bin" / "python"


def install(environment: str, packages: Sequence[str]) -> None:
    """Make an environment."""
    python = python_of(environment)
    venv.create(python.parents[1], with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *packages], check=True)


class Worker:
    """`benchmarks/SCRIPT` under the interpreter of an environment; a folder for arrays goes with it.

    Raises NotImplementedError, with the words of `missing`, where there is no such environment.
    """

    def __init__(self, environment: str, script: str, arguments: Sequence[str], missing: str) -> None:
        python = python_of(environment)
        if not python.exists():
            raise NotImplementedError(missing)
        self._folder = tempfile.TemporaryDirectory()
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(python), str(FOLDER / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=outside,
        )
        self.version = str(self._answer()["version"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._process.communicate()
        self._folder.cleanup()

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """What it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def path(self, name: str) -> str:
        """An array file in the folder that goes with the worker."""
        return str(Path(self._folder.name) / f"{name}.npy")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # packages may print lines of their own
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("the worker ended; its error is above.")
