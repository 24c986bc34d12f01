"""The widest ball that reaches each place of a region from faces of the volume."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tomo3d import progress
from tomo3d.compute.distance import integer_metric, medial_balls, painted, squared_distance
from tomo3d.compute.kernels import flood as kernels


def bottlenecks(squared: np.ndarray, faces: Iterable[tuple[int, int]], connectivity: int) -> np.ndarray:
    """The largest over all paths from the faces to each voxel of the least value on the path, 0 where no path leads.

    Parameters
    ----------
    squared : ndarray of integers, shape (n_z, n_y, n_x)
        Zero in walls.
    faces : iterable of (axis, end)
        `end` is 0 for the first plane of an axis, -1 for the last.
    connectivity : int
        6 or 26.
    """
    progress.report("widest ways", 0, 1)
    values, ranks = np.unique(squared, return_inverse=True)
    height = ranks.reshape(squared.shape).astype(np.int32) + (values[0] > 0)
    seeds = np.zeros_like(height)
    for axis, end in faces:
        place: list[slice | int] = [slice(None)] * 3
        place[axis] = end
        seeds[tuple(place)] = height[tuple(place)]
    steps = np.array(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij")).reshape(3, -1).T
    length = np.abs(steps).sum(axis=1)
    offsets = steps[(length > 0) & ((length == 1) | (connectivity == 26))]
    following = np.empty(squared.size, dtype=np.int32 if squared.size < 2**31 else np.int64)
    kernels.flood_cpu(height, offsets, int(height.max()), following, seeds)
    lookup = values if values[0] == 0 else np.concatenate([[0], values])
    progress.report("widest ways", 1, 1)
    return np.asarray(lookup.astype(squared.dtype)[seeds])


def widest_ball(
    inside: np.ndarray,
    voxel_size: tuple[float, float, float],
    faces: Iterable[tuple[int, int]],
    connectivity: int,
) -> np.ndarray:
    """Diameter of the widest ball that covers each voxel and comes there from the faces inside the region.

    float32, (n_z, n_y, n_x), in the unit of `voxel_size`: 0 where none comes. The definition on the grid, as in
    `distance.largest_ball_diameter`.

    Raises
    ------
    ValueError
        If the region fills the volume, so that no ball has an end.
    """
    metric = integer_metric(inside.shape, voxel_size)
    squared = squared_distance(inside, metric)
    if int(squared.max()) == metric.unreached:
        raise ValueError("the phase must leave some of the volume to others, got one that fills it.")
    way = bottlenecks(squared, faces, connectivity)
    largest = int(way.max())
    if largest == 0:
        return np.zeros(inside.shape, dtype=np.float32)
    return painted(medial_balls(way, metric, largest), metric, largest, inside.shape)


def crossing_diameters(
    inside: np.ndarray, voxel_size: tuple[float, float, float], axes: Iterable[int], connectivity: int
) -> list[float]:
    """Diameter on the grid of the largest ball that crosses along each axis; inf where the region has no wall."""
    metric = integer_metric(inside.shape, voxel_size)
    squared = squared_distance(inside, metric)
    if int(squared.max()) == metric.unreached:
        return [float("inf") for _ in axes]
    widest = [int(bottlenecks(squared, [(axis, 0)], connectivity).take(-1, axis=axis).max()) for axis in axes]
    return [2.0 * metric.unit * float(value) ** 0.5 for value in widest]
