"""Where an array lives: the only import of cupy.

The array decides: a function runs where its input lives. Without CuPy
everything lives in NumPy, and `gpu_status` says what is missing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d.memory import bytes_text


@dataclass(frozen=True)
class GpuStatus:
    """Whether a GPU can be used, and if not, what is missing and how to get it."""

    is_available: bool
    reason: str


def namespace(array: Any) -> Any:
    """The module (numpy or cupy) whose functions take `array`, or what views that are read from `images` give."""
    array = held_in(array)
    if (xp := getattr(array, "xp", None)) is not None:  # on the host, and used on a device
        return xp
    if type(array).__module__.split(".")[0] == "cupy":
        return importlib.import_module("cupy")
    return np


def held_in(images: Any) -> Any:
    """The array that views are read from, through all that reads them."""
    while (source := getattr(images, "images", None)) is not None:
        images = source
    return images


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


def device_module() -> Any:
    """CuPy.

    Raises
    ------
    RuntimeError
        If there is no GPU.
    """
    status = gpu_status()
    if not status.is_available:
        raise RuntimeError(f"a GPU is needed, and there is none: {status.reason}.")
    return importlib.import_module("cupy")


def to_device(array: Any, device: str) -> Any:
    """`array`, of two axes or more, on the "cpu" or the "gpu"; itself where it is there already.

    Raises
    ------
    RuntimeError
        If there is no GPU.
    MemoryError
        If it does not fit there.
    """
    xp = namespace(array)
    if device == "cpu":
        return array if xp is np else array.get()
    if xp is not np:
        return array
    cupy = device_module()
    dtype = np.dtype(array.dtype).newbyteorder("=")
    n_bytes, free = math.prod(array.shape) * dtype.itemsize, free_device_memory(cupy)
    if n_bytes > free:
        raise MemoryError(
            f"data on the GPU must fit in its free memory, {bytes_text(free)}, got {bytes_text(n_bytes)}: "
            "bin or crop them, or compute on the CPU."
        )
    there = cupy.empty(array.shape, dtype=dtype)
    for k in range(len(there)):  # CuPy copies into page-locked memory first: of one plane, not of all
        there[k] = cupy.asarray(np.ascontiguousarray(array[k], dtype=dtype))
    return there


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
