"""scikit-image and skan as peers of the network of a mask, in an environment of their own: never dependencies.

`python -m benchmarks.graph_peer` makes the environment; without it the cases that need it are skipped.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.peer import Worker, install

PACKAGES = ("skan==0.13.1", "scikit-image")


class GraphPeer(Worker):
    """A worker that stays. Raises NotImplementedError where the packages are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "skan", "graph_worker.py", (), "skan is not installed: python -m benchmarks.graph_peer"
        )

    def run(self, inside: np.ndarray) -> dict[str, float]:
        """What its work took, and what it found.

        seconds, processor_seconds, n_branches, n_nodes, total_length (voxels), n_skeleton_voxels.
        """
        np.save(self.path("mask"), inside)
        return {name: float(value) for name, value in self.order({"mask": self.path("mask")}).items()}


if __name__ == "__main__":
    install("skan", PACKAGES)
    with GraphPeer() as peer:
        print(f"{peer.version} is installed", file=sys.stderr)
