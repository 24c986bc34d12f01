"""Files packed by gzip or bzip2: unpacked in memory, never beyond what the header inside announces."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

from tomo3d.errors import FormatError
from tomo3d.io._images import translated
from tomo3d.memory import available_memory

GZIP, BZIP2 = b"\x1f\x8b", b"BZh"
_ALWAYS_UNPACKED = 64 << 20
_LARGEST_RATIO = 100
_CHUNK = 1 << 22


def is_packed(start: bytes) -> bool:
    """Whether a file begins as one of gzip or bzip2."""
    return start.startswith((GZIP, BZIP2))


def unpack(file: Path, first_bytes: int, size_of: Callable[[bytes], int]) -> bytes:
    """What is packed in a file: the first bytes, then as many as `size_of` reads from them.

    Raises
    ------
    FormatError
        If it is damaged, or holds much more than could be trusted without unpacking it.
    """
    with open(file, "rb") as stream:
        by_gzip = stream.read(2) == GZIP
    tool = "gunzip --keep" if by_gzip else "bunzip2 --keep"
    reading = translated(file, f"{'gzip' if by_gzip else 'bzip2'} file")
    with reading, (gzip.open if by_gzip else bz2.open)(file, "rb") as content:
        start = content.read(first_bytes)
        n_bytes = size_of(start)
        trusted = max(_ALWAYS_UNPACKED, _LARGEST_RATIO * file.stat().st_size)
        largest = min(trusted, available_memory() // 2)  # the parts, and the whole of them
        if n_bytes > largest:
            raise FormatError(
                f"{file} must hold at most {largest:,} bytes to be unpacked in memory, its header announces "
                f"{n_bytes:,} bytes: unpack it first, as with '{tool}'."
            )
        parts = [start]
        missing = n_bytes - len(start)
        while missing > 0 and (part := content.read(min(_CHUNK, missing))):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)
