"""Packages of local thickness as peers, each in an environment of its own: they are never dependencies.

`python -m benchmarks.thickness_peer` makes the environments; without one the cases that need it are skipped.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from benchmarks.peer import Worker, install

# With what they need and do not say.
PACKAGES = {
    "localthickness": ("localthickness==0.1.3", "scipy", "scikit-image", "matplotlib"),
    "porespy": ("porespy==3.2.0", "openpnm==3.6.4"),
}


class ThicknessPeer(Worker):
    """A worker that stays, with options for its function. Raises NotImplementedError without the package."""

    def __init__(self, package: str, **options: Any) -> None:
        missing = f"{package} is not installed: python -m benchmarks.thickness_peer"
        super().__init__(package, "thickness_worker.py", (package, json.dumps(options)), missing)

    def run(self, inside: np.ndarray) -> tuple[float, np.ndarray]:
        """Wall time of its work, and its diameters in voxels, (n_z, n_y, n_x)."""
        np.save(self.path("mask"), inside)
        answer = self.order({"mask": self.path("mask"), "out": self.path("diameter")})
        return float(answer["seconds"]), np.asarray(np.load(self.path("diameter")))


if __name__ == "__main__":
    for name, packages in PACKAGES.items():
        install(name, packages)
        with ThicknessPeer(name) as peer:
            print(f"{name} {peer.version} is installed", file=sys.stderr)
