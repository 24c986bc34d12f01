"""Iso-surfaces of arrays: triangles in one piece, every edge shared by two of them but at the border."""

from __future__ import annotations

import math

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import marching as kernels
from tomo3d.compute.marching_cases import cases
from tomo3d.types import Array

_N_PLANES = 32  # of a piece of work: two planes of numbers are made anew for each
_SPREAD = np.array([sum((q >> i & 1) << 2 * i for i in range(4)) for q in range(16)], dtype=np.uint8)

Grid = tuple[float, float, float]


def iso_surface(
    values: Array, level: float, voxel_size: Grid, origin: Grid = (0.0, 0.0, 0.0), *, is_closed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles between what is above a level and the rest, by marching cubes with linear interpolation.

    Parameters
    ----------
    values : array, shape (n_z, n_y, n_x)
        Finite numbers.
    level : float
        Of the surface.
    voxel_size, origin : tuple of float
        (z, y, x); `origin` is the centre of voxel [0, 0, 0].
    is_closed : bool
        True: what is above the level is closed where it meets the border, half a voxel beyond the outermost centres.
        False: the surface goes straight on to there, and ends.

    Returns
    -------
    vertices : ndarray, shape (n_vertices, 3)
        (z, y, x), in the unit of `voxel_size`.
    faces : ndarray of int, shape (n_faces, 3)
        In right-handed (x, y, z) their corners run counter-clockwise as seen from outside.
        Both are empty where the values lie on one side of the level.
    """
    values, level = heights(values, level)
    inside = _padded(values > level, is_closed=is_closed)
    n_z, n_y, _ = inside.shape
    tables = cases()
    n_of_row = np.empty((n_z, n_y, 2), dtype=np.int64)
    n_parts = math.ceil(n_z / _N_PLANES)

    def count(i: int) -> None:
        for z in range(i * _N_PLANES, min((i + 1) * _N_PLANES, n_z)):
            kernels.count_cpu(inside, z, _SPREAD, tables[0], n_of_row)

    in_threads(count, n_parts, "finding the surface")
    ends = n_of_row.reshape(-1, 2).cumsum(axis=0).reshape(n_of_row.shape)
    starts = np.concatenate([ends[:, :1] - n_of_row[:, :1], ends], axis=1)
    n_vertices, n_faces = ends[-1, -1]
    vertices = np.empty((n_vertices, 3))
    faces = np.empty((n_faces, 3), dtype=np.int32 if n_vertices < 2**31 else np.int64)

    frame = np.array([voxel_size, origin, values.shape], dtype=np.float64).T.copy()

    def march(i: int) -> None:
        planes = (i * _N_PLANES, min((i + 1) * _N_PLANES, n_z))
        kernels.march_cpu(
            values, inside, level, is_closed, frame, planes, starts, _SPREAD, tables, vertices, faces
        )

    in_threads(march, n_parts, "making triangles")
    return vertices, faces


def heights(values: Array, level: float) -> tuple[np.ndarray, float]:
    """Values as float32 and the level among them: others than float32 become differences from the level."""
    values = np.asarray(values)
    if values.dtype == np.float32:
        return values, level
    return np.subtract(values, level, dtype=np.float64).astype(np.float32), 0.0


def _padded(inside: np.ndarray, *, is_closed: bool) -> np.ndarray:
    """Flags with a voxel more on each side: none inside if the surface is closed, else those of the nearest voxel."""
    padded = np.zeros([n + 2 for n in inside.shape], dtype=np.uint8)
    padded[1:-1, 1:-1, 1:-1] = inside
    if not is_closed:
        for axis in range(3):
            plane = np.moveaxis(padded, axis, 0)
            plane[0], plane[-1] = plane[1], plane[-2]
    return padded
