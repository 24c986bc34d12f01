"""Effective diffusivity by PoreSpy, as told by the lines of standard input. Runs in an environment of its own.

A line is JSON: {"mask": NPY}. The answer is a line with the seconds from the start of the work to its end, files not
counted, and the effective diffusivity along z.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np


def porespy_ratio(inside: np.ndarray) -> float:
    """D_eff / D along z by PoreSpy's finite differences and the solver that OpenPNM takes by itself."""
    porespy: Any = importlib.import_module("porespy")
    result = porespy.simulations.tortuosity_fd(inside, axis=0)
    return float(result.effective_porosity / result.tortuosity)


def main() -> None:
    """Answer until standard input ends."""
    package = sys.argv[1]
    warm = np.ones((12, 12, 12), dtype=bool)
    warm[4:8, 4:8, 4:8] = False
    porespy_ratio(warm)
    print(json.dumps({"version": importlib.metadata.version(package)}), flush=True)
    for line in sys.stdin:
        inside = np.load(json.loads(line)["mask"])
        start = time.perf_counter()
        ratio = porespy_ratio(inside)
        print(json.dumps({"seconds": time.perf_counter() - start, "ratio": ratio}), flush=True)


if __name__ == "__main__":
    main()
