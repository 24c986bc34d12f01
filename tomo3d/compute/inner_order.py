"""The inner order of volumes and images, y (or v) last, so that one interpolation weight serves a row of slices.

A volume (n_z, n_y, n_x) is (n_z, n_x, n_y) inside, images (n_views, n_v, n_u) are (n_views, n_u, n_v), perhaps with
padding along u.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.kernels import layout

Array = Any
_LINE = 64  # bytes; rows that begin on a cache line are a quarter faster


def is_on_cpu(array: Array) -> bool:
    """Whether an array in the inner order lives on the CPU.

    Raises
    ------
    TypeError
        If it is not C-contiguous float32, which is what the kernels read.
    """
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise TypeError(
            f"arrays in the inner order must be C-contiguous float32, got {array.dtype}, "
            f"{'contiguous' if array.flags.c_contiguous else 'not contiguous'}."
        )
    return backend.namespace(array) is np


def zeros_beside(array: Array, shape: tuple[int, ...]) -> Array:
    """Zeros in float32 where `array` lives, beginning on a cache line."""
    xp = backend.namespace(array)
    if xp is not np:
        return xp.zeros(shape, dtype=np.float32)
    n_bytes = 4 * int(np.prod(shape, dtype=np.int64))
    memory = np.zeros(n_bytes + _LINE, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + n_bytes].view(np.float32).reshape(shape)


def takes_slabs_directly(out: Any, xp: Any) -> bool:
    """Whether a kernel may write to `out`: an array of module `xp`, float32, its rows along x without gaps."""
    return isinstance(out, xp.ndarray) and out.dtype == np.float32 and out.strides[-1] == out.itemsize


def to_inner(public: Array, out: Array | None = None, *, before: int = 0) -> Array:
    """(a, n_y, b) in the inner order, out[:, before:before + b] = (a, b, n_y) float32."""
    n_a, n_y, n_b = public.shape
    if out is None:
        out = zeros_beside(public, (n_a, n_b, n_y))
    if backend.namespace(public) is np:
        rows = np.asarray(public, dtype=np.float32)
        layout.to_inner_cpu(
            rows if rows.strides[-1] == rows.itemsize else np.ascontiguousarray(rows), out, before
        )
    else:
        out[:, before : before + n_b] = public.transpose(0, 2, 1)
    return out


def to_public(inner: Array, out: Array, *, before: int = 0, scale: float = 1.0) -> None:
    """out = scale * inner[:, before:before + b] turned to the public order, out being (a, n_y, b) float32."""
    if backend.namespace(inner) is np:
        layout.to_public_cpu(inner, before, scale, out)
    else:
        turned = inner[:, before : before + out.shape[2]].transpose(0, 2, 1)
        backend.namespace(inner).multiply(turned, scale, out=out)
