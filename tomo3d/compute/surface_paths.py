"""Lengths of shortest paths along the surface of a mask, between places on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from tomo3d.compute.implicit_surface import mask_height
from tomo3d.progress import track

_REACH = 3.3  # voxels: steps of a path; short ones go round corners that the surface does not have
_SAME_SIDE = (
    0.2  # cosine of the angle between normals from which on a step does not jump over a gap or a sheet
)
_MAX_PLACES = 4000
_BESIDE = 0.7
_CHUNK = 100


@dataclass(frozen=True, eq=False)
class SurfacePaths:
    """Shortest paths between places on a surface.

    Parameters
    ----------
    places : ndarray, shape (m, 3)
        Index times voxel size.
    lengths : ndarray of float32, shape (m, m)
        In the unit of the voxel size; inf beyond the reach, and where there is no path.
    """

    places: np.ndarray
    lengths: np.ndarray


def surface_points(
    inside: np.ndarray, voxel_size: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the surface between voxels, one for each voxel of the mask that has a face on it, and normals."""
    height = mask_height(inside, 0, len(inside))
    is_surface = inside & ~ndimage.binary_erosion(inside, border_value=1)
    place = np.argwhere(is_surface)
    voxel = np.array(voxel_size)
    slope = np.stack([_slope(height, place, axis) for axis in range(3)], axis=1)  # of the height, per voxel
    steepness = np.maximum((slope**2).sum(axis=1), 0.25)
    step = np.clip(height[is_surface] / steepness, -1.0, 1.0)
    points = (place - slope * step[:, None]) * voxel
    normals = slope / voxel
    return points, normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)[:, None]


def surface_height(
    inside: np.ndarray, voxel_size: tuple[float, float, float]
) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the distance, (n,), of points (n, 3) from the surface of a mask: positive outside.

    From the tangent plane at the nearest surface point; from that point itself beside an edge or a corner.
    """
    points, normals = surface_points(inside, voxel_size)
    tree = cKDTree(points)

    def height(at: np.ndarray) -> np.ndarray:
        distance, nearest = tree.query(at)
        above = -((at - points[nearest]) * normals[nearest]).sum(axis=1)
        is_beside = np.abs(above) < _BESIDE * distance
        is_far = distance > 2.0 * max(voxel_size)
        return np.where(is_beside & is_far, np.copysign(distance, above), above)

    return height


def surface_paths(
    inside: np.ndarray, voxel_size: tuple[float, float, float], reach: float, *, seed: int = 0
) -> SurfacePaths:
    """Shortest paths up to `reach` between the points of a surface, or between 4000 of them where it has more.

    Those are chosen evenly at random. A path is made of straight steps of up to 3.3 voxels between points whose normals
    agree.
    """
    points, normals = surface_points(inside, voxel_size)
    pairs = cKDTree(points).query_pairs(_REACH * max(voxel_size), output_type="ndarray")
    pairs = pairs[(normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(axis=1) > _SAME_SIDE]
    steps = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    n = len(points)
    graph = sparse.csr_matrix((np.maximum(steps, 1e-9), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    chosen = np.arange(n)
    if n > _MAX_PLACES:
        chosen = np.sort(np.random.default_rng(seed).choice(n, _MAX_PLACES, replace=False))
    lengths = np.empty((len(chosen), len(chosen)), dtype=np.float32)
    for first in track(range(0, len(chosen), _CHUNK), "paths along the surface", -(-len(chosen) // _CHUNK)):
        part = slice(first, first + _CHUNK)
        found = dijkstra(graph, directed=False, indices=chosen[part], limit=reach)
        lengths[part] = found[:, chosen]
    return SurfacePaths(points[chosen], lengths)


def _slope(height: np.ndarray, place: np.ndarray, axis: int) -> np.ndarray:
    """Central difference along an axis, one-sided at the border."""
    before, after = place.copy(), place.copy()
    before[:, axis] = np.maximum(place[:, axis] - 1, 0)
    after[:, axis] = np.minimum(place[:, axis] + 1, height.shape[axis] - 1)
    gap = np.maximum(after[:, axis] - before[:, axis], 1)
    return np.asarray((height[tuple(after.T)] - height[tuple(before.T)]) / gap, dtype=np.float64)
