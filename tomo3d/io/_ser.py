"""SER files of TIA: a series of images, each with its own small header.

Layout: Emispec's "Series Data File" (versions 0x210 and 0x220). Row 0 of an element is the bottom of the picture, as
here: RosettaSciIO turns it over to show it.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import ImageFile, check_values, frozen, translated
from tomo3d.io._stacks import nanometres

_TYPES = {
    1: "<u1",
    2: "<u2",
    3: "<u4",
    4: "<i1",
    5: "<i2",
    6: "<i4",
    7: "<f4",
    8: "<f8",
    9: "<c8",
    10: "<c16",
}
_IMAGES = 0x4122
_ELEMENT = "<ddiddihii"  # offset, delta, element along x; along y; type of value; size along x, y
_LARGEST_SERIES = 1_000_000


def open_ser(file: Path) -> ImageFile:
    """What a SER file says of itself; tilt angles are not in it."""
    with translated(file, "SER file"), open(file, "rb") as stream:
        _, _, version, kind, _, n_total, n_valid = struct.unpack("<hhhiiii", stream.read(22))
        if kind != _IMAGES:
            raise FormatError(f"{file} must hold images, got spectra (elements of kind {kind:#x}).")
        word = "<q" if version >= 0x220 else "<i"
        (place,) = struct.unpack(word, stream.read(struct.calcsize(word)))
        if not 1 <= n_valid <= min(n_total, _LARGEST_SERIES):
            raise FormatError(
                f"{file} must hold 1 to {_LARGEST_SERIES:,} images, its header says {n_valid:,}."
            )
        stream.seek(place)
        offsets = np.frombuffer(stream.read(n_valid * struct.calcsize(word)), word)
        if len(offsets) < n_valid or (offsets <= 0).any():
            raise FormatError(
                f"{file} must say where each of its {n_valid:,} images lies: it is cut short or damaged."
            )
        first = _element(file, stream, int(offsets[0]))
        for offset in offsets[1:]:
            if _element(file, stream, int(offset))[:3] != first[:3]:
                raise FormatError(f"{file} must hold images of one size and type, but they differ.")
    code, n_x, n_y, delta_x, delta_y = first
    stored = np.dtype(_TYPES[code])
    dtype = check_values(file, stored)
    starts = offsets + struct.calcsize(_ELEMENT)
    if int(starts.max()) + n_x * n_y * stored.itemsize > file.stat().st_size:
        raise FormatError(
            f"{file} must hold all its {n_valid:,} images of {n_x} x {n_y}: it is cut short or damaged."
        )
    step = int(starts[1] - starts[0]) if n_valid > 1 else n_x * n_y * stored.itemsize
    is_regular = step >= n_x * n_y * stored.itemsize and bool((np.diff(starts) == step).all())
    shape = (n_valid, n_y, n_x)

    def images() -> np.ndarray:
        whole = np.memmap(file, np.uint8, mode="r")
        if is_regular:  # one view of the file: elements are equally far apart
            strides = (step, n_x * stored.itemsize, stored.itemsize)
            return np.ndarray(shape, stored, whole, offset=int(starts[0]), strides=strides)
        return np.stack([np.ndarray(shape[1:], stored, whole, offset=int(start)) for start in starts])

    is_mapped = is_regular and dtype == stored
    return ImageFile(
        path=file,
        layout="SER",
        shape=shape,
        dtype=dtype,
        read=lambda: images() if is_mapped else frozen(images().astype(dtype)),
        held_bytes=0 if is_mapped else 2 * math.prod(shape) * dtype.itemsize,
        voxel_size_nm=(math.nan, nanometres(delta_y, "m"), nanometres(delta_x, "m")),
        size_source="calibration of the image",
        n_bytes=file.stat().st_size,
    )


def _element(file: Path, stream: object, offset: int) -> tuple[int, int, int, float, float]:
    """(type, n_x, n_y, delta x, delta y) of one image; deltas in metres."""
    stream.seek(offset)  # type: ignore[attr-defined]
    raw = stream.read(struct.calcsize(_ELEMENT))  # type: ignore[attr-defined]
    _, delta_x, _, _, delta_y, _, code, n_x, n_y = struct.unpack(_ELEMENT, raw)
    if code not in _TYPES or n_x < 1 or n_y < 1:
        raise FormatError(
            f"{file} must hold images of numbers, got one of {n_x} x {n_y} values of type {code}."
        )
    return code, n_x, n_y, delta_x, delta_y
