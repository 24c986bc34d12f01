"""PoreSpy's diffusion as a peer, in an environment of its own: it is never a dependency.

`python -m benchmarks.thickness_peer` makes the environment; without it the cases that need it are skipped.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peer import Worker


def diffusivity(inside: np.ndarray) -> tuple[float, float]:
    """Seconds of its work, and D_eff / D along z.

    Raises
    ------
    NotImplementedError
        If the package is not installed.
    """
    missing = "porespy is not installed: python -m benchmarks.thickness_peer"
    with Worker("porespy", "transport_worker.py", ("porespy",), missing) as worker:
        np.save(worker.path("mask"), inside)
        answer = worker.order({"mask": worker.path("mask")})
    return float(answer["seconds"]), float(answer["ratio"])
