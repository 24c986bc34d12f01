"""Triangle mesh of the surface where a height crosses zero."""

from __future__ import annotations

import numpy as np


def level_mesh(
    height: np.ndarray, voxel_size: tuple[float, float, float], origin: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) as (z, y, x) and faces (m, 3) where a height, positive inside, is zero; open at the border.

    Faces run counter-clockwise seen from outside. Raises ValueError where nothing crosses zero.
    """
    from skimage.measure import marching_cubes

    low, high = float(height.min()), float(height.max())
    if not low < 0.0 < high:
        raise ValueError(
            "the structure must have a surface within the volume, got one that is empty or fills it."
        )
    vertices, faces, _, _ = marching_cubes(height, 0.0, spacing=voxel_size, gradient_direction="descent")
    return np.asarray(vertices, dtype=np.float64) + np.array(origin), np.asarray(faces, dtype=np.int64)
