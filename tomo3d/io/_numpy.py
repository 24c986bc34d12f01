"""NumPy arrays in .npy files: memory-mapped, never unpickled, never flipped."""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np

from tomo3d.io._images import ImageFile, check_values, frozen, translated
from tomo3d.io._stacks import stack_shape, three_axes


def open_numpy(file: Path) -> ImageFile:
    """What a .npy file says of itself; it has no pixel size and no angles."""
    with translated(file, "NumPy array (.npy)", tokenize.TokenError):
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
    dtype = check_values(file, stored.dtype)
    index = three_axes(file, stored.shape, "")
    shape = stack_shape(stored.shape, index)
    is_native = dtype == stored.dtype

    def read() -> np.ndarray:
        values = np.load(file, mmap_mode="r", allow_pickle=False)[index]
        return values if is_native else frozen(values.astype(dtype))

    return ImageFile(
        path=file,
        layout="NumPy",
        shape=shape,
        dtype=dtype,
        read=read,
        held_bytes=0 if is_native else int(np.prod(shape)) * dtype.itemsize,
        peek=lambda: np.load(file, mmap_mode="r", allow_pickle=False)[index],
        n_bytes=file.stat().st_size,
    )
