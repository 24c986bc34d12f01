"""What a user waits for before anything happens: the import, and the first call of a kernel."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from typing import ClassVar

from benchmarks import timing
from benchmarks.cases import Target, Targets

_IMPORT = "import tomo3d"
_FIRST_CALL = """
import numpy as np
from tomo3d.compute.projector import Projector
projector = Projector(np.array([0.0]), n_u=8, n_x=8, n_z=8)
projector.back(projector.forward(np.ones((8, 8, 8), dtype=np.float32)))
"""


def seconds(code: str, cache: str | None = None) -> float:
    """Wall time of `code` in a fresh Python, without the start of Python; kernels are cached in `cache`."""
    timed = f"import time; start = time.perf_counter()\n{code}\nprint(time.perf_counter() - start)"
    environment = os.environ if cache is None else {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", timed], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


class Import:
    """`import tomo3d`, which loads no stage."""

    targets: ClassVar[Targets] = {"track_import_s": Target(at_most=0.3)}

    def track_import_s(self) -> float:
        return statistics.median(seconds(_IMPORT) for _ in range(timing.N_RUNS))


class FirstCall:
    """Importing the projector and projecting forward and back once: compiled anew, and from the cache."""

    def setup(self) -> None:
        self.cache = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.cache.cleanup()

    def track_cold_s(self) -> float:
        return seconds(_FIRST_CALL, self.cache.name)

    def track_warm_s(self) -> float:
        seconds(_FIRST_CALL, self.cache.name)
        return statistics.median(seconds(_FIRST_CALL, self.cache.name) for _ in range(timing.N_RUNS))
