"""Reading surfaces from PLY files (binary or text), those of tomo3d with all that they hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import translated
from tomo3d.io._input import existing_file
from tomo3d.types import Surface

FLAG = "flag"  # a comment of ours: the next word names values that are true or false
_LARGEST_HEADER = 1 << 16
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_NORMAL = ("nz", "ny", "nx")


@dataclass(frozen=True)
class _Element:
    """A kind of row of a file: how many there are, and (name, type) of its values; of a list also that of its count."""

    name: str
    n_rows: int
    fields: tuple[tuple[str, str, str], ...]  # name, type, type of the count or ""


def read_surface(path: str | os.PathLike[str]) -> Surface:
    """Read a surface from a PLY file.

    Parameters
    ----------
    path : path
        Binary of either byte order, or text; its faces must be triangles.

    Returns
    -------
    Surface
        One unit of the file is one nm; (x, y, z) becomes (z, y, x), with the same outside. Every other number on the
        vertices is kept by its name; nx, ny and nz become `normal`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is no PLY file, is cut short or damaged, or has other faces than triangles.
    """
    file = existing_file(path)
    with translated(file, "PLY surface (.ply)"), open(file, "rb") as stream:
        order, elements, flags = _header(file, stream)
        known = {element.name: element for element in elements}
        if not {"vertex", "face"} <= set(known):
            raise FormatError(
                f"{file} must hold vertices and faces, got {', '.join(known) or 'neither'}: it is no surface."
            )
        tables = {
            element.name: (_text_rows if order == "=" else _binary_rows)(file, stream, element, order)
            for element in elements[: 1 + max(elements.index(known[name]) for name in ("vertex", "face"))]
        }
        return _surface(file, tables["vertex"], tables["face"], flags)


def _header(file: Path, stream: BinaryIO) -> tuple[str, list[_Element], list[str]]:
    if stream.readline(_LARGEST_HEADER).strip() != b"ply":
        raise FormatError(f"{file} must begin with the line 'ply' to be a PLY surface.")
    order, elements, flags = "", list[_Element](), list[str]()
    while stream.tell() < _LARGEST_HEADER:
        words = stream.readline(_LARGEST_HEADER).decode("ascii", "replace").split()
        match words:
            case ["end_header"]:
                if not order:
                    raise FormatError(
                        f"{file} must say in its header how its values are stored, got nothing."
                    )
                return order, elements, flags
            case ["format", kind, *_]:
                if kind not in _ORDERS:
                    raise FormatError(f"{file} must be stored as one of {', '.join(_ORDERS)}, got {kind!r}.")
                order = _ORDERS[kind]
            case ["comment", word, name] if word == FLAG:
                flags.append(name)
            case ["element", name, number]:
                if not number.isdigit():
                    raise FormatError(f"{file} must say how many of {name!r} there are, got {number!r}.")
                elements.append(_Element(name, int(number), ()))
            case ["property", "list", counts, kind, name] if elements and {counts, kind} <= set(_TYPES):
                elements[-1] = _with(elements[-1], (name, _TYPES[kind], _TYPES[counts]))
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1] = _with(elements[-1], (name, _TYPES[kind], ""))
            case ["comment" | "obj_info", *_]:
                pass
            case _:
                raise FormatError(f"{file} must have a header of PLY, got the line {' '.join(words)[:60]!r}.")
    raise FormatError(
        f"{file} must have a header of PLY of at most {_LARGEST_HEADER:,} bytes, got no end of it."
    )


def _with(element: _Element, field: tuple[str, str, str]) -> _Element:
    if field[0] in {name for name, _, _ in element.fields}:
        raise FormatError(f"a PLY surface must name each value once, got {field[0]!r} twice.")
    return _Element(element.name, element.n_rows, (*element.fields, field))


def _dtype(element: _Element, order: str) -> np.dtype:
    """Of one row; every list has three entries, as those of triangles have."""
    fields: list[tuple[str, str] | tuple[str, str, int]] = []
    for name, kind, count in element.fields:
        if count:
            fields += [(f"{name} count", order + count), (name, order + kind, 3)]
        else:
            fields.append((name, order + kind))
    return np.dtype(fields)


def _check_lists(file: Path, element: _Element, rows: np.ndarray) -> np.ndarray:
    for name, _, count in element.fields:
        if count and len(rows) and not (rows[f"{name} count"] == 3).all():
            raise FormatError(
                f"{file} must have triangles for faces, got lists of other lengths: triangulate it first."
            )
    return rows


def _binary_rows(file: Path, stream: BinaryIO, element: _Element, order: str) -> np.ndarray:
    dtype = _dtype(element, order)
    left = file.stat().st_size - stream.tell()
    n_bytes = element.n_rows * dtype.itemsize
    if n_bytes > left:
        raise FormatError(
            f"{file} must hold {n_bytes:,} bytes for {element.n_rows:,} of {element.name!r}, got {left:,}: it is cut "
            "short, or its faces are no triangles."
        )
    return _check_lists(file, element, np.frombuffer(stream.read(n_bytes), dtype))


def _text_rows(file: Path, stream: BinaryIO, element: _Element, order: str) -> np.ndarray:
    left = file.stat().st_size - stream.tell()
    if 2 * element.n_rows > left:  # a digit and an end of line
        raise FormatError(
            f"{file} must hold {element.n_rows:,} lines of {element.name!r}, got {left:,} bytes: it is cut short."
        )
    dtype = _dtype(element, order)
    rows = np.zeros(element.n_rows, dtype)
    n_words = sum(1 if dtype[name].shape == () else 3 for name in dtype.names or ())
    for i in range(element.n_rows):
        words = stream.readline(_LARGEST_HEADER).split()
        if len(words) != n_words:
            raise FormatError(
                f"{file} must have {n_words} numbers in line {i} of {element.name!r}, got {len(words)}: it is "
                "cut short, or its faces are no triangles."
            )
        at = 0
        for name in dtype.names or ():
            size = 1 if dtype[name].shape == () else 3
            values = [float(word) for word in words[at : at + size]]
            rows[name][i] = values[0] if size == 1 else values
            at += size
    return _check_lists(file, element, rows)


def _surface(file: Path, vertices: np.ndarray, faces: np.ndarray, flags: list[str]) -> Surface:
    lists = [name for name in ("vertex_indices", "vertex_index") if name in (faces.dtype.names or ())]
    if not {"x", "y", "z"} <= set(vertices.dtype.names or ()) or not lists:
        raise FormatError(f"{file} must have x, y and z of its vertices and the vertices of its faces.")
    places = np.stack([vertices[axis].astype(np.float64) for axis in "zyx"], axis=1)
    triangles = faces[lists[0]].astype(np.int64)
    if len(triangles) and not (triangles.min() >= 0 and triangles.max() < len(places)):
        raise FormatError(
            f"{file} must have faces of its {len(places):,} vertices, got one from {triangles.min()} to "
            f"{triangles.max()}."
        )
    values: dict[str, np.ndarray] = {}
    names = list(vertices.dtype.names or ())
    if set(_NORMAL) <= set(names):
        values["normal"] = np.stack([_native(vertices[name]) for name in _NORMAL], axis=1)
        names = [name for name in names if name not in _NORMAL]
    for name in names:
        if name not in ("x", "y", "z"):
            column = _native(vertices[name])
            values[name] = column != 0 if name in flags else column
    return Surface(places, triangles, values)


def _native(column: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(column.astype(column.dtype.newbyteorder("=")))
