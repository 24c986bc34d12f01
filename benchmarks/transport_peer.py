"""PoreSpy's diffusion as a peer, in an environment of its own: it is never a dependency.

`python -m benchmarks.thickness_peer` makes the environment; without it the cases that need it are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

_PYTHON = Path(__file__).parent / ".porespy" / "bin" / "python"  # the one of the thickness peer


def diffusivity(inside: np.ndarray) -> tuple[float, float]:
    """Seconds of its work, and D_eff / D along z.

    Raises
    ------
    NotImplementedError
        If the package is not installed.
    """
    if not _PYTHON.exists():
        raise NotImplementedError("porespy is not installed: python -m benchmarks.thickness_peer")
    worker = Path(__file__).with_name("transport_worker.py")
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.npy"
        np.save(path, inside)
        done = subprocess.run(
            [str(_PYTHON), str(worker), "porespy"],
            input=json.dumps({"mask": str(path)}) + "\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=outside,
            check=True,
        )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return float(answers[-1]["seconds"]), float(answers[-1]["ratio"])
