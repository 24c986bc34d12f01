"""scikit-image and skan as peers of the network of a mask, in an environment of their own: never dependencies.

`python -m benchmarks.graph_peer` makes the environment; without it the cases that need it are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

PACKAGES = ("skan==0.13.1", "scikit-image")
_PYTHON = Path(__file__).parent / ".skan" / "bin" / "python"


def install() -> None:
    """Make the environment."""
    venv.create(_PYTHON.parents[1], with_pip=True, clear=True)
    command = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *PACKAGES], check=True)


class GraphPeer:
    """A worker that stays. Raises NotImplementedError where the packages are not installed."""

    def __init__(self) -> None:
        if not _PYTHON.exists():
            raise NotImplementedError("skan is not installed: python -m benchmarks.graph_peer")
        self._folder = tempfile.TemporaryDirectory()
        worker = Path(__file__).with_name("graph_worker.py")
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(_PYTHON), str(worker)],
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

    def run(self, inside: np.ndarray) -> dict[str, float]:
        """Seconds of its work, and what it found: n_branches, n_nodes, total_length (voxels), n_skeleton_voxels."""
        path = str(Path(self._folder.name) / "mask.npy")
        np.save(path, inside)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"mask": path}) + "\n")
        self._process.stdin.flush()
        return {name: float(value) for name, value in self._answer().items()}

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # packages may print lines of their own
                answer: dict[str, str] = json.loads(line)
                return answer
        raise RuntimeError("the worker ended; its error is above.")


if __name__ == "__main__":
    install()
    with GraphPeer() as peer:
        print(f"{peer.version} is installed", file=sys.stderr)
