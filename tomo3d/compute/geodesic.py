"""Length of the shortest path inside a region from its boundary to another one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tomo3d import progress
from tomo3d.compute.implicit_surface import mask_height
from tomo3d.compute.kernels import geodesic as kernels

_MAX_ROUNDS = 200
_ENOUGH = 1e-3  # voxels: a round that changes less ends the work
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def path_length(region: np.ndarray, source: np.ndarray, voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Length of the shortest path inside a region from the boundary to the source, float32, inf where there is none.

    Parameters
    ----------
    region, source : ndarray of bool, shape (n_z, n_y, n_x)
        Apart from each other.
    voxel_size : tuple of float
        (z, y, x).
    """
    fixed = region & ndimage.binary_dilation(source, _TOUCHING)
    length = np.full(region.shape, np.inf, dtype=np.float32)
    length[fixed] = distance_to_body(source, fixed, voxel_size)
    voxel = np.array(voxel_size)
    for _ in progress.track(range(_MAX_ROUNDS), "shortest paths", _MAX_ROUNDS):
        changes = [kernels.sweep_cpu(region, fixed, voxel, direction, length) for direction in range(8)]
        if max(changes) < _ENOUGH * min(voxel_size):
            break
    return length


def distance_to_body(
    body: np.ndarray, where: np.ndarray, voxel_size: tuple[float, float, float]
) -> np.ndarray:
    """Distance of voxels beside a body (flags, (n_z, n_y, n_x)) to its boundary, estimated between voxels, (n,)."""
    height = mask_height(~body, 0, len(body))
    slopes = np.array([_slope(height, where, axis) / edge for axis, edge in enumerate(voxel_size)])
    steepness = np.maximum(np.sqrt((slopes**2).sum(axis=0)), 0.5 / max(voxel_size))
    return np.asarray(np.maximum(height[where] / steepness, 0.05 * min(voxel_size)))


def _slope(height: np.ndarray, where: np.ndarray, axis: int) -> np.ndarray:
    """Central difference along an axis at the voxels of `where`, per voxel, one-sided at the border."""
    place = np.nonzero(where)
    last = height.shape[axis] - 1
    before, after = list(place), list(place)
    before[axis] = np.maximum(place[axis] - 1, 0)
    after[axis] = np.minimum(place[axis] + 1, last)
    gap = np.maximum(after[axis] - before[axis], 1)
    return np.asarray((height[tuple(after)] - height[tuple(before)]) / gap, dtype=np.float64)
