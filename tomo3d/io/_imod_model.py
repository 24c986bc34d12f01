"""IMOD's binary models (.mod, .fid): the points of each contour.

imodmodel reads them too, but takes as much memory as a header asks for, and stops at meshes of other kinds than one;
here only contours are read, each checked against the size of the file. https://bio3d.colorado.edu/imod/doc/binspec.html
"""

from __future__ import annotations

import os
import struct

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file

MARK = b"IMODV1.2"
_WHAT = "a model of IMOD (.mod, .fid)"
_HEADER_BYTES = 232  # after the mark: 128 of the name, 26 numbers of four bytes
_OBJECT_BYTES = 176
_CONTOUR_BYTES = 16
_MESH_BYTES = 16
_LARGEST_BYTES = 64 << 20
_MOST_CONTOURS = 200_000


def read_contours(path: str | os.PathLike[str]) -> list[tuple[int, int, np.ndarray]]:
    """Object, contour (0-based) and points (n, 3) as (x, y, z) of each contour, in the units of the model.

    A point in the middle of pixel i lies at i + 0.5 along x and y; section k lies at z = k.

    Raises
    ------
    FormatError
        If it is no such file, ends early, a chunk is larger than what is left of it, or a point is not finite.
    """
    file = existing_file(path)
    size = file.stat().st_size
    if size > _LARGEST_BYTES:
        raise FormatError(
            f"{file} must be {_WHAT} of at most {_LARGEST_BYTES >> 20} MiB, got {size >> 20} MiB."
        )
    data = file.read_bytes()
    if data[:8] != MARK:
        raise FormatError(f"{file} must be {_WHAT}, beginning with {MARK.decode()}, got {data[:8]!r}.")
    contours: list[tuple[int, int, np.ndarray]] = []
    at, n_objects, n_contours = len(MARK) + _HEADER_BYTES, -1, 0
    while True:
        name = data[at : at + 4]
        at += 4
        if name == b"IEOF":
            return contours
        if name == b"OBJT":
            n_objects, n_contours = n_objects + 1, 0
            at = _skip(file, data, at, _OBJECT_BYTES)
        elif name == b"CONT":
            if n_objects < 0:
                raise FormatError(f"{file} must be {_WHAT}: a contour comes before any object.")
            points, at = _points(file, data, at)
            contours.append((n_objects, n_contours, points))
            n_contours += 1
            if len(contours) > _MOST_CONTOURS:
                raise FormatError(f"{file} must be {_WHAT} of at most {_MOST_CONTOURS:,} contours, got more.")
        elif name == b"MESH":
            _skip(file, data, at, _MESH_BYTES)
            n_vertices, n_indices = struct.unpack(">ii", data[at : at + 8])
            at = _skip(
                file, data, at, _MESH_BYTES + 12 * _count(file, n_vertices) + 4 * _count(file, n_indices)
            )
        elif len(name) == 4:
            _skip(file, data, at, 4)
            at = _skip(file, data, at, 4 + _count(file, struct.unpack(">i", data[at : at + 4])[0]))
        else:
            raise FormatError(f"{file} must be {_WHAT}: it ends before its last mark, IEOF. Copy it again.")


def _points(file: os.PathLike[str], data: bytes, at: int) -> tuple[np.ndarray, int]:
    _skip(file, data, at, _CONTOUR_BYTES)
    n = _count(file, struct.unpack(">i", data[at : at + 4])[0])
    end = _skip(file, data, at, _CONTOUR_BYTES + 12 * n)
    points = (
        np.frombuffer(data, dtype=">f4", count=3 * n, offset=at + _CONTOUR_BYTES)
        .reshape(n, 3)
        .astype(np.float32)
    )
    if not np.isfinite(points).all():
        raise FormatError(
            f"{file} must hold finite positions, got {points[~np.isfinite(points).all(axis=1)][0]}."
        )
    return points, end


def _count(file: os.PathLike[str], n: int) -> int:
    if n < 0:
        raise FormatError(f"{file} must be {_WHAT}: a part of it claims {n} entries.")
    return n


def _skip(file: os.PathLike[str], data: bytes, at: int, n_bytes: int) -> int:
    """The place after a part, if the file holds all of it."""
    if at + n_bytes > len(data):
        raise FormatError(
            f"{file} must be {_WHAT}: it ends {at + n_bytes - len(data):,} bytes too early. Copy it again."
        )
    return at + n_bytes
