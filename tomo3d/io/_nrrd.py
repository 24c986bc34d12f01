"""Reading NRRD (https://teem.sourceforge.net/nrrd/format.html), attached header and values; 3D Slicer's segments too.

An NRRD holds positions in space, not pictures, so nothing is flipped but what its own directions turn round.
"""

from __future__ import annotations

import bz2
import gzip
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import UNKNOWN_SIZE, ImageFile, check_unpacked, check_values, frozen, translated
from tomo3d.io._stacks import nanometres, stack_shape, three_axes

_LARGEST_HEADER = 1 << 20
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_KINDS = {name: kind for kind, names in _TYPES.items() for name in names}
_UNPACKERS: dict[str, Callable[[BinaryIO], IO[bytes]]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),  # type: ignore[dict-item, return-value]
    "gz": lambda stream: gzip.GzipFile(fileobj=stream),  # type: ignore[dict-item, return-value]
    "bzip2": bz2.open,
    "bz2": bz2.open,
}


def open_nrrd(file: Path) -> ImageFile:
    """What an NRRD file says of itself."""
    with open(file, "rb") as stream:
        start = stream.read(_LARGEST_HEADER)
    text, blank, _ = _parted(start)
    if not blank:
        raise FormatError(
            f"{file} must hold its values behind a header that ends with an empty line, got none in the first "
            f"{len(start):,} bytes: it is cut short, or a header alone (.nhdr), which names another file."
        )
    with translated(file, "NRRD file"):
        fields, keys = _fields(text)
        sizes = tuple(int(n) for n in _field(file, fields, "sizes").split())
        dtype, stored = _types(file, fields)
        size_nm, origin_nm, turned = _space(file, fields, len(sizes))
        names = _names(keys)
    shape = sizes[::-1]
    index = three_axes(file, shape, "")
    encoding = fields.get("encoding", "raw").lower()
    n_bytes = math.prod(shape) * stored.itemsize
    offset = len(text) + len(blank)
    stored_bytes = file.stat().st_size - offset
    _check_stored(file, encoding, n_bytes, stored_bytes)
    check_unpacked(file, n_bytes, stored_bytes)
    is_mapped = encoding == "raw" and stored == dtype

    def read() -> np.ndarray:
        with translated(file, "NRRD file", zlib.error):
            if encoding == "raw":
                values: np.ndarray = np.memmap(file, stored, mode="r", offset=offset, shape=shape)
                values = values if is_mapped else frozen(values.astype(dtype))
            elif encoding in _UNPACKERS:
                with open(file, "rb") as stream:
                    stream.seek(offset)
                    with _UNPACKERS[encoding](stream) as content:
                        whole = content.read(n_bytes)
                values = np.frombuffer(whole, stored, math.prod(shape)).reshape(shape)
                values = values if stored == dtype else frozen(values.astype(dtype))
            else:
                numbers = file.read_bytes()[offset:].split(None, math.prod(shape))[: math.prod(shape)]
                values = frozen(np.array(numbers, dtype=np.float64).astype(dtype).reshape(shape))
        return values[index][tuple(slice(None, None, step) for step in turned)]

    return ImageFile(
        path=file,
        layout="NRRD",
        shape=stack_shape(shape, index),
        dtype=dtype,
        read=read,
        held_bytes=0 if is_mapped else 2 * n_bytes,
        voxel_size_nm=size_nm,
        size_source="space directions",
        origin=lambda size: origin_nm,
        is_series_layout=False,
        names=names,
        n_bytes=file.stat().st_size,
    )


def _parted(start: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, the empty line behind it, and the rest; lines end as in Unix or in Windows."""
    unix, windows = start.find(b"\n\n"), start.find(b"\r\n\r\n")
    if windows >= 0 and (unix < 0 or windows < unix):
        return start[:windows], b"\r\n\r\n", start[windows + 4 :]
    return start.partition(b"\n\n")


def _fields(text: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Fields ("name: value", the name in lower case) and keys ("name:=value")."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines()[1:]:
        name, is_key, value = line.partition(":=")
        if is_key:
            keys[name] = value.replace("\\n", "\n").replace("\\\\", "\\")
        elif not line.startswith("#"):
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
    return fields, keys


def _field(file: Path, fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise FormatError(
            f"{file} must have the field {name!r} in its header, which an NRRD cannot do without."
        )
    return fields[name]


def _types(file: Path, fields: Mapping[str, str]) -> tuple[np.dtype, np.dtype]:
    """Type in memory, and as stored."""
    name = _field(file, fields, "type").lower()
    if name not in _KINDS:
        raise FormatError(f"{file} must hold numbers, got values of type {name!r}.")
    if "data file" in fields or "datafile" in fields:
        raise FormatError(
            f"{file} must hold its values itself, got a header that names another file: save it as .nrrd."
        )
    if any(fields.get(skip, "0") != "0" for skip in ("byte skip", "line skip", "byteskip", "lineskip")):
        raise FormatError(f"{file} must have its values right behind its header: save it anew without skips.")
    stored = np.dtype(_KINDS[name])
    if stored.itemsize > 1 and fields.get("encoding", "raw").lower() not in ("ascii", "text", "txt"):
        endian = _field(file, fields, "endian").lower()
        if endian not in ("little", "big"):
            raise FormatError(f"{file} must name its byte order little or big, got {endian!r}.")
        stored = stored.newbyteorder("<" if endian == "little" else ">")
    return check_values(file, stored), stored


def _check_stored(file: Path, encoding: str, n_bytes: int, stored_bytes: int) -> None:
    if encoding not in ("raw", "ascii", "text", "txt", *_UNPACKERS):
        raise FormatError(
            f"{file} must be encoded as raw, gzip, bzip2 or text, got {encoding!r}: save it anew."
        )
    if encoding == "raw" and stored_bytes < n_bytes:
        raise FormatError(
            f"{file} must hold the {n_bytes:,} bytes of values that it announces, but has {stored_bytes:,} of them: "
            "it is cut short or damaged."
        )


def _space(
    file: Path, fields: Mapping[str, str], n_axes: int
) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[int, int, int]]:
    """Voxel size and origin (z, y, x) in nm, and the step (1 or -1) along each axis that makes positions rise."""
    units = [unit for unit in fields.get("space units", fields.get("units", "")).split('"') if unit.strip()]
    if "space directions" in fields:
        vectors = [_vector(text) for text in fields["space directions"].replace("none", "").split(") (")]
        if len(vectors) != 3 or any(len(vector) != 3 for vector in vectors):
            return UNKNOWN_SIZE, (0.0, 0.0, 0.0), (1, 1, 1)
        matrix = np.array(vectors)
        if np.count_nonzero(matrix - np.diag(np.diag(matrix))):
            raise FormatError(
                f"{file} must have its axes along x, y and z, got the directions {fields['space directions']}: "
                "resample it first."
            )
        steps = np.diag(matrix)
    else:
        numbers = [float(text) for text in fields.get("spacings", "").split()]
        if len(numbers) != 3 or n_axes != 3:
            return UNKNOWN_SIZE, (0.0, 0.0, 0.0), (1, 1, 1)
        steps = np.array(numbers)
    sizes = [
        nanometres(abs(float(step)), unit) for step, unit in zip(steps, [*units, "", "", ""], strict=False)
    ]
    start = _vector(fields["space origin"]) if "space origin" in fields else []
    one = nanometres(1.0, units[0]) if units else math.nan
    origin = [0.0, 0.0, 0.0]
    if len(start) == 3 and math.isfinite(one) and all(map(math.isfinite, start)):
        counts = [int(n) for n in fields["sizes"].split()]
        origin = [
            one * (first + min(0.0, step) * (n - 1))
            for first, step, n in zip(start, steps, counts, strict=True)
        ]
    turned = [-1 if step < 0 else 1 for step in steps]
    return (
        (sizes[2], sizes[1], sizes[0]),
        (origin[2], origin[1], origin[0]),
        (turned[2], turned[1], turned[0]),
    )


def _vector(text: str) -> list[float]:
    return [float(number) for number in text.strip(" ()").split(",") if number.strip()]


def _names(keys: Mapping[str, str]) -> dict[int, str]:
    """Names of segments, as 3D Slicer writes them."""
    found = {}
    for key, value in keys.items():
        if key.startswith("Segment") and key.endswith("_LabelValue"):
            name = keys.get(key.replace("_LabelValue", "_Name"))
            if name is not None:
                found[int(value)] = name
    return found
