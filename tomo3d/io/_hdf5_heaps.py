"""Where an HDF5 file keeps its texts, checked before its library walks through them.

A global heap collection is "GCOL", a version, its size, and objects, each with an index and a size (HDF5 File Format
Specification 3.0, III.E). libhdf5 goes from object to object by these sizes: a free one of size 0 holds it for ever.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from tomo3d.errors import FormatError

_HEAD = b"GCOL\x01\x00\x00\x00"
_OBJECT_BYTES = 16  # index, references, reserved, size
_SCANNED_BYTES = 1 << 28  # of a file: what lies further on is left to the library


def check_heaps(file: Path) -> None:
    """Raise FormatError if a global heap in the first 256 MiB of an HDF5 file does not lead to its end."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = min(len(data), _SCANNED_BYTES)
        at = data.find(_HEAD, 0, end)
        while at >= 0:
            last = at + int.from_bytes(data[at + 8 : at + 16], "little")
            if last <= len(data):
                _walk(file, data, at + 16, last)
            at = data.find(_HEAD, at + 1, end)


def _walk(file: Path, data: mmap.mmap, at: int, last: int) -> None:
    while at + _OBJECT_BYTES <= last:
        index = int.from_bytes(data[at : at + 2], "little")
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        step = _OBJECT_BYTES + (size + 7) // 8 * 8 if index else size
        if (
            not _OBJECT_BYTES <= step <= last - at
        ):  # past the end, libhdf5's sums of 64 bits come round to the start
            raise FormatError(
                f"{file} is damaged: the heap of its texts must lead from object to object, but one at byte {at} is "
                f"of {size} bytes. Copy it again from where it was made."
            )
        at += step
