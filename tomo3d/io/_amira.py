"""Reading AmiraMesh (Amira, Avizo): a regular lattice of numbers as text, raw, run-length coded or packed; materials.

The first line says how the values are stored, `define Lattice` their number, Parameters their bounding box, from the
centre of the first voxel to that of the last, and the names of the materials, in the order of the labels. Positions in
space, not pictures: nothing is flipped. The format: Amira user's guide, "AmiraMesh"; HxByteRLE: a byte below 128
repeats the one behind it so often, one above is followed by so many (less 128) bytes as they are.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import UNKNOWN_SIZE, ImageFile, check_unpacked, check_values, frozen, translated
from tomo3d.io._stacks import nanometres

_LARGEST_HEADER = 1 << 20
_DEEPEST = 20
_TYPES = {"byte": "u1", "short": "i2", "ushort": "u2", "int": "i4", "float": "f4", "double": "f8"}
_LATTICE = re.compile(r"define\s+Lattice\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\b")
_VALUES = re.compile(r"Lattice\s*\{\s*(\w+)\s+[\w-]+\s*\}\s*=?\s*@(\d{1,9})(?:\((\w+)(?:,(\d{1,12}))?\))?")
_TOKEN = re.compile(r'"[^"\n]*"|[{},\n]|[^\s{},"]+')


class _Stored(NamedTuple):
    """How the values lie in the file."""

    dtype: np.dtype
    coding: str  # "text", "raw", "HxByteRLE" or "HxZip"
    offset: int
    n_bytes: int  # from the offset on; of the values in a raw file


def open_amira(file: Path) -> ImageFile:
    """What an AmiraMesh file says of itself."""
    with open(file, "rb") as stream:
        start = stream.read(_LARGEST_HEADER)
    with translated(file, "AmiraMesh file"):
        text = _header(file, start)
        found = _LATTICE.search(text)
        if not found or not all(int(n) for n in found.groups()):
            raise FormatError(
                f"{file} must hold a lattice of values (define Lattice n_x n_y n_z), as Amira's images and labels do, "
                "got another kind of AmiraMesh: save the label field, not its surface."
            )
        n_x, n_y, n_z = (int(n) for n in found.groups())
        shape = (n_z, n_y, n_x)
        stored = _stored(file, text, start)
        dtype = check_values(file, stored.dtype)
        parameters = _parameters(text)
        size_nm, origin_nm = _space(parameters, shape)
    n_values = math.prod(shape)
    in_file = file.stat().st_size - stored.offset
    if stored.coding == "text" and in_file < 2 * n_values - 1:
        raise _cut_short(file, n_values, "numbers", in_file)
    if stored.coding == "raw" and in_file < n_values * stored.dtype.itemsize:
        raise _cut_short(file, n_values * stored.dtype.itemsize, "bytes of values", in_file)
    check_unpacked(file, n_values * stored.dtype.itemsize, in_file)
    is_mapped = stored.coding == "raw" and dtype == stored.dtype
    return ImageFile(
        path=file,
        layout="AmiraMesh",
        shape=shape,
        dtype=dtype,
        read=lambda: _values(file, stored, shape, dtype),
        held_bytes=0 if is_mapped else 2 * n_values * dtype.itemsize,
        voxel_size_nm=size_nm,
        size_source="bounding box",
        origin=lambda size: origin_nm,
        is_series_layout=False,
        names=_materials(parameters),
        n_bytes=file.stat().st_size,
    )


def _cut_short(file: Path, needed: int, what: str, found: int) -> FormatError:
    return FormatError(
        f"{file} must hold the {needed:,} {what} that its header announces, but has {found:,} bytes of data: it is cut "
        "short or damaged."
    )


def _header(file: Path, start: bytes) -> str:
    """The text in front of the values."""
    end = start.find(b"\n@1")
    if end < 0:
        raise FormatError(
            f"{file} must have a header that ends where its values begin (@1), got none in its first "
            f"{len(start):,} bytes: it is cut short or damaged."
        )
    return start[:end].decode("latin-1")


def _stored(file: Path, text: str, start: bytes) -> _Stored:
    first = text.partition("\n")[0].upper()
    found = _VALUES.search(text)
    if not found or found[1] not in _TYPES or found[2] != "1":
        kind = f"values of type {found[1]!r} at @{found[2]}" if found else "no values on it"
        raise FormatError(
            f"{file} must hold one number per point of its lattice ({', '.join(_TYPES)}) at @1, got {kind}."
        )
    order = "<" if "LITTLE-ENDIAN" in first else ">"
    dtype = np.dtype(order + _TYPES[found[1]])
    begin = start.find(b"\n@1") + 3
    offset = begin + (2 if start[begin : begin + 2] == b"\r\n" else 1)
    if "ASCII" in first:
        return _Stored(dtype, "text", offset, 0)
    coding = found[3] or "raw"
    if coding not in ("raw", "HxByteRLE", "HxZip") or (coding == "HxByteRLE" and dtype.itemsize != 1):
        raise FormatError(
            f"{file} must be stored raw, HxByteRLE or HxZip, got {coding!r}: save it anew, as raw."
        )
    return _Stored(dtype, coding, offset, int(found[4] or 0))


def _values(file: Path, stored: _Stored, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    n_values = math.prod(shape)
    with translated(file, "AmiraMesh file", zlib.error):
        if stored.coding == "raw":
            mapped = np.memmap(file, stored.dtype, mode="r", offset=stored.offset, shape=shape)
            return mapped if dtype == stored.dtype else frozen(mapped.astype(dtype))
        with open(file, "rb") as stream:
            stream.seek(stored.offset)
            content = stream.read(stored.n_bytes or -1)
        if stored.coding == "text":
            numbers = content.split(None, n_values)[:n_values]
            return frozen(np.array(numbers, dtype=np.float64).astype(dtype).reshape(shape))
        n_bytes = n_values * stored.dtype.itemsize
        if stored.coding == "HxZip":
            whole = zlib.decompressobj().decompress(content, n_bytes)
        else:
            whole = b"".join(_runs(content))
        if len(whole) != n_bytes:
            raise _cut_short(file, n_bytes, "bytes of values", len(whole))
        values = np.frombuffer(whole, stored.dtype).reshape(shape)
        return values if dtype == stored.dtype else frozen(values.astype(dtype))


def _runs(content: bytes) -> Iterator[bytes]:
    """The parts of what HxByteRLE stands for."""
    place, end = 0, len(content)
    while place < end - 1:
        count = content[place]
        if count > 127:
            count -= 128
            yield content[place + 1 : place + 1 + count]
            place += 1 + count
        else:
            yield content[place + 1 : place + 2] * count
            place += 2


def _parameters(text: str) -> dict[str, Any]:
    """What stands in braces behind "Parameters": lists of words, and further braces, by name."""
    levels: list[dict[str, Any]] = [{}]
    words: list[str] = []
    name = ""
    for token in _TOKEN.findall(text[max(0, text.find("Parameters")) :]):
        if token not in ("{", "}", ",", "\n"):
            words.append(token.strip('"'))
            continue
        if words:  # an entry ends
            name, words = words[0], _entered(levels[-1], words)
        if token == "{":
            if len(levels) > _DEEPEST:
                raise FormatError(f"parameters must be nested less than {_DEEPEST} deep.")
            inner: dict[str, Any] = {}
            levels[-1][name] = inner
            levels.append(inner)
        elif token == "}":
            levels.pop()
            if len(levels) <= 1:
                break
    found = levels[0].get("Parameters") if levels else None
    return found if isinstance(found, dict) else {}


def _entered(level: dict[str, Any], words: list[str]) -> list[str]:
    """Note an entry; what is left of the words is none."""
    level[words[0]] = words[1:]
    return []


def _space(
    parameters: dict[str, Any], shape: tuple[int, int, int]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Voxel size and origin (z, y, x) in nm; nan where the box or its unit is not known."""
    units, box = parameters.get("Units"), parameters.get("BoundingBox")
    unit = " ".join(units.get("Coordinates", [])) if isinstance(units, dict) else ""
    one = nanometres(1.0, unit)
    if not isinstance(box, list) or len(box) != 6 or not math.isfinite(one):
        return UNKNOWN_SIZE, (0.0, 0.0, 0.0)
    low, high = [float(word) for word in box[4::-2]], [float(word) for word in box[5::-2]]
    sizes = [
        nanometres((last - first) / (n - 1), unit) if n > 1 else math.nan
        for first, last, n in zip(low, high, shape, strict=True)
    ]
    origin = [first * one if math.isfinite(first) else 0.0 for first in low]
    return (sizes[0], sizes[1], sizes[2]), (origin[0], origin[1], origin[2])


def _materials(parameters: dict[str, Any]) -> dict[int, str]:
    """Names by label: the materials stand in the order of their labels."""
    materials = parameters.get("Materials")
    names = (
        [name for name, item in materials.items() if isinstance(item, dict)]
        if isinstance(materials, dict)
        else []
    )
    return dict(enumerate(names))
