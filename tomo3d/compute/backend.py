"""Where an array lives: the only import of cupy.

The array decides: a function runs where its input lives. Without CuPy
everything lives in NumPy, and `gpu_status` says what is missing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class GpuStatus:
    """Whether a GPU can be used, and if not, what is missing and how to get it."""

    is_available: bool
    reason: str


def namespace(array: Any) -> Any:
    """The module (numpy or cupy) whose functions take `array`."""
    if type(array).__module__.split(".")[0] == "cupy":
        return importlib.import_module("cupy")
    return np


def ndimage(array: Any) -> Any:
    """The module (scipy.ndimage or CuPy's) whose functions take `array`."""
    return importlib.import_module("scipy.ndimage" if namespace(array) is np else "cupyx.scipy.ndimage")


def fft(array: Any) -> Any:
    """The module (scipy.fft or CuPy's) whose functions take `array`."""
    return importlib.import_module("scipy.fft" if namespace(array) is np else "cupyx.scipy.fft")


def gpu_status() -> GpuStatus:
    """Whether CuPy is installed and sees a device."""
    if importlib.util.find_spec("cupy") is None:
        return GpuStatus(
            False,
            "CuPy is not installed: pip install 'tomo3d[cuda12]' or 'tomo3d[cuda13]', to match the driver",
        )
    cupy = importlib.import_module("cupy")
    if not cupy.is_available():
        return GpuStatus(False, "CuPy is installed but sees no CUDA device: check the driver with nvidia-smi")
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return GpuStatus(True, name)


def n_threads() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@functools.cache
def cuda_kernel(source: str, name: str, options: tuple[str, ...]) -> Any:
    """The kernel `name` of a CUDA source, called as kernel(grid, block, arguments) on CuPy's current stream."""
    cupy = importlib.import_module("cupy")
    return cupy.RawModule(code=source, options=options).get_function(name)


def free_device_memory(xp: Any) -> int:
    """Bytes that a new array on the present device can have, what CuPy's pool holds unused included."""
    free, _ = xp.cuda.runtime.memGetInfo()
    return int(free) + int(xp.get_default_memory_pool().free_bytes())
