"""ASTRA as a peer, in its own environment: it is GPL and heavy, and never a dependency.

`python -m benchmarks.astra_peer` makes the environment; without it the cases that need ASTRA are skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

ENVIRONMENT = Path(__file__).parent / ".astra"
_PYTHON = ENVIRONMENT / "bin" / "python"
_PACKAGE = "astra-toolbox==2.5.0"


def install() -> None:
    """Make the environment."""
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    command = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _PACKAGE]
    subprocess.run(command, check=True)


class Astra:
    """A worker of `n_processes` that share the slices. Raises NotImplementedError where ASTRA is not installed."""

    def __init__(self, n_processes: int) -> None:
        if not _PYTHON.exists():
            raise NotImplementedError("ASTRA is not installed: python -m benchmarks.astra_peer")
        self._folder = tempfile.TemporaryDirectory()
        worker = Path(__file__).with_name("astra_worker.py")
        self._process = subprocess.Popen(
            [str(_PYTHON), str(worker), str(n_processes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version: str = self._answer()["version"]

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

    def load(self, rows: np.ndarray, tilt_angles_deg: np.ndarray, n_z: int) -> None:
        """Give it rows (n_views, n_slices, n_u) to work on."""
        np.save(self._path("rows"), rows)
        self._order = {"rows": self._path("rows"), "angles_deg": tilt_angles_deg.tolist(), "n_z": n_z}

    def seconds(self, algorithm: str, n_iterations: int = 1) -> float:
        """Wall time of its work."""
        return float(self._run(algorithm, n_iterations, None)["seconds"])

    def slices(self, algorithm: str, n_iterations: int = 1) -> np.ndarray:
        """Its reconstruction, (n_z, n_slices, n_x)."""
        self._run(algorithm, n_iterations, self._path("slices"))
        return np.asarray(np.load(self._path("slices")).transpose(1, 0, 2))

    def _run(self, algorithm: str, n_iterations: int, out: str | None) -> dict[str, str]:
        order = {**self._order, "algorithm": algorithm, "n_iterations": n_iterations, "out": out}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("ASTRA's worker ended; its error is above.")
        answer: dict[str, str] = json.loads(line)
        return answer

    def _path(self, name: str) -> str:
        return str(Path(self._folder.name) / f"{name}.npy")


if __name__ == "__main__":
    install()
    with Astra(1) as astra:
        print(f"ASTRA {astra.version} is in {ENVIRONMENT}", file=sys.stderr)
