"""Large files written past the page cache: straight from memory to the disk, where the file system can.

Through the cache every byte is copied once more, into pages that the kernel finds, clears and frees; for files that are
synced at once, that costs several times what the disk does, and pushes out what others have in the cache.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_FLAG = getattr(os, "O_DIRECT", 0)  # macOS has none
_PAGE = 4096  # no disk has larger sectors
_NOT_OFFERED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)


def aligned(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """A new array of zeros that begins with a page of memory, as the disk wants it."""
    n_bytes = math.prod(shape) * dtype.itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, n_bytes)), dtype, math.prod(shape)).reshape(shape)


def write_through(path: Path, data: memoryview, *, past_cache: bool) -> None:
    """Write a new file, which is on the disk when this returns.

    `past_cache` is a wish: where the data are no whole pages, or the file system wants its cache, they go through it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    is_direct = past_cache and len(data) % _PAGE == 0 and _FLAG != 0
    if is_direct:
        try:
            _write(os.open(path, flags | _FLAG, 0o666), data)
            return
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
    _write(os.open(path, flags, 0o666), data)


def _write(descriptor: int, data: memoryview) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
