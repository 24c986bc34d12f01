"""ASTRA as a peer, in its own environment: it is GPL and heavy, and never a dependency.

`python -m benchmarks.astra_peer` makes the environment; without it the cases that need ASTRA are skipped.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.peer import Worker, install, python_of

_PACKAGE = "astra-toolbox==2.5.0"


class Astra(Worker):
    """A worker of `n_processes` that share the slices. Raises NotImplementedError where ASTRA is not installed."""

    def __init__(self, n_processes: int) -> None:
        missing = "ASTRA is not installed: python -m benchmarks.astra_peer"
        super().__init__("astra", "astra_worker.py", (str(n_processes),), missing)

    def load(self, rows: np.ndarray, tilt_angles_deg: np.ndarray, n_z: int) -> None:
        """Give it rows (n_views, n_slices, n_u) to work on."""
        np.save(self.path("rows"), rows)
        self._order = {"rows": self.path("rows"), "angles_deg": tilt_angles_deg.tolist(), "n_z": n_z}

    def seconds(self, algorithm: str, n_iterations: int = 1) -> float:
        """Wall time of its work."""
        return float(self._run(algorithm, n_iterations, None)["seconds"])

    def slices(self, algorithm: str, n_iterations: int = 1) -> np.ndarray:
        """Its reconstruction, (n_z, n_slices, n_x)."""
        self._run(algorithm, n_iterations, self.path("slices"))
        return np.asarray(np.load(self.path("slices")).transpose(1, 0, 2))

    def _run(self, algorithm: str, n_iterations: int, out: str | None) -> dict[str, Any]:
        return self.order({**self._order, "algorithm": algorithm, "n_iterations": n_iterations, "out": out})


if __name__ == "__main__":
    install("astra", (_PACKAGE,))
    with Astra(1) as astra:
        print(f"ASTRA {astra.version} is in {python_of('astra').parents[1]}", file=sys.stderr)
