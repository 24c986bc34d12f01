"""Normals and areas at the vertices of a triangle mesh."""

from __future__ import annotations

import numpy as np


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (n, 3) as (z, y, x), outward, means over the faces by area; (0, 0, 0) where there is no face.

    Vertices are (z, y, x), and the vertices of a face run counter-clockwise seen from outside, in space.
    """
    crossed = _crossed(vertices, faces)
    total = np.stack(
        [
            sum(np.bincount(faces[:, corner], crossed[:, axis], len(vertices)) for corner in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A third of the area of the faces at each vertex, (n,); their sum is the area of the mesh."""
    third = np.linalg.norm(_crossed(vertices, faces), axis=1) / 6.0
    return np.asarray(
        sum(np.bincount(faces[:, corner], third, len(vertices)) for corner in range(3)), dtype=np.float64
    )


def _crossed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Twice the area of each face times its normal, (n_faces, 3), as (z, y, x)."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    # The cross product of (z, y, x) numbers points the other way than that of (x, y, z) ones.
    return np.asarray(np.cross(c - a, b - a))
