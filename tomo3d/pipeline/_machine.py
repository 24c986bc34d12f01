"""The machine that a run is made on: versions, cores, memory, and the memory that a step takes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tomo3d._version import __version__
from tomo3d.memory import bytes_text, total_memory

LIBRARIES = ("numpy", "scipy", "scikit-image", "numba", "pandas", "networkx", "mrcfile", "tifffile", "zarr",
             "matplotlib", "jinja2")  # fmt: skip
_SAMPLING_S = 0.02


def versions() -> dict[str, str]:
    """Versions of tomo3d, Python, and the libraries that compute; what is not installed is left out."""
    found = {"tomo3d": __version__, "python": platform.python_version()}
    return found | installed(LIBRARIES)


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of the installed ones among these distributions."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> Mapping[str, str]:
    """System, processor, cores and memory, in words."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(n_cores()),
        "memory": bytes_text(total_memory()),
    }


def n_cores() -> int:
    """Cores that this process may use."""
    from tomo3d.compute.backend import n_threads

    return n_threads()


def resident_memory() -> int:
    """Bytes of memory that this process holds now (on systems other than Linux, the most it ever held)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class PeakMemory:
    """Largest memory of this process within a context, sampled 50 times a second: `peak_bytes`."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self.peak_bytes = resident_memory()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_bytes = max(self.peak_bytes, resident_memory())

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLING_S):
            self.peak_bytes = max(self.peak_bytes, resident_memory())
