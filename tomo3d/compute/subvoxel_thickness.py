"""Largest ball inside a structure whose surface lies between voxels: the balls, and the map of their diameters.

Beyond the volume counts as structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tomo3d.compute.distance import (
    Metric,
    in_threads,
    integer_metric,
    listed_balls,
    medial_voxels,
    row_starts,
    slab_depth,
)
from tomo3d.compute.implicit_surface import Height, site_starts, squared_and_nearest, surface_feet
from tomo3d.compute.kernels import subvoxel as kernels
from tomo3d.compute.kernels import subvoxel_paint as paint_kernels

_MARGIN = 40  # slices that smoothing and refinement look beyond a ball
# Voxels: radius of the piece of surface that a foot stands for, and how rough the surface is.
_GREY_ROUGHNESS = (1.0, 0.0)
_MASK_ROUGHNESS = (0.8, 0.25)
_N_FILLS = 2  # voxels that a ball may miss beside the surface


def largest_real_ball_diameter(
    height_of: Callable[[int, int], Height],
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
    max_diameter: float,
) -> np.ndarray:
    """Diameter of the largest ball under the surface that covers each voxel centre.

    Parameters
    ----------
    height_of : callable
        (first, last) to the height of these slices.
    shape : tuple of int
        (n_z, n_y, n_x).
    voxel_size : tuple of float
        (z, y, x).
    max_diameter : float
        Larger balls count as this large. If finite, the volume is worked through in slabs; the result is the same.

    Returns
    -------
    ndarray of float32, shape (n_z, n_y, n_x)
        In the unit of `voxel_size`; 0 outside the structure.

    Raises
    ------
    ValueError
        If there is no background, so that no ball has an end, or no structure.
    """
    metric = integer_metric(shape, voxel_size)
    n_z = shape[0]
    margin, depth = n_z, n_z
    if math.isfinite(max_diameter):
        margin = math.ceil((max_diameter + 4 * max(voxel_size)) / voxel_size[0]) + _MARGIN
        depth = _depth_of_slabs(shape, margin)
    diameter = np.empty(shape, dtype=np.float32)
    n_inside = 0
    for start in range(0, n_z, depth):
        stop = min(start + depth, n_z)
        height = height_of(max(0, start - margin), min(n_z, stop + margin))
        core = slice(start - height.first, stop - height.first)
        n_inside += int(np.count_nonzero(height.inside[core]))
        diameter[start:stop] = _diameters(height, metric, shape, np.array(voxel_size), 0.5 * max_diameter)[
            core
        ]
    if n_inside == 0:
        raise ValueError("the structure must have at least one voxel, got none.")
    if n_inside == math.prod(shape):
        raise ValueError("the structure must leave some background in the volume, got one that fills it.")
    return diameter


def _depth_of_slabs(shape: tuple[int, int, int], margin: int) -> int:
    """Slices that are kept of a slab, so that at most half of the work is done twice."""
    return max(2 * margin, slab_depth(shape, 1 << 25))


def _diameters(
    height: Height, metric: Metric, grid: tuple[int, ...], voxel: np.ndarray, max_radius: float
) -> np.ndarray:
    inside = height.inside
    result = np.zeros(inside.shape, dtype=np.float32)
    if not inside.any():
        return result
    if math.isinf(max_radius) and inside.all():
        return result  # refused by the caller
    sites = site_starts(inside)
    squared, nearest = squared_and_nearest(inside, sites, metric)
    feet = surface_feet(height, sites, nearest, voxel)
    thick = None
    largest = int(squared.max())
    if math.isfinite(max_radius):
        # The centre of a background voxel may lie so far beyond the surface.
        largest = math.ceil(((max_radius + 1.5 * voxel.max()) / metric.unit) ** 2)
        thick = squared >= largest
        np.minimum(squared, largest, out=squared)
    kept = medial_voxels(squared, metric, largest, grid)
    if thick is not None:
        # Where all six neighbours are thick, all that a ball covers is covered as largely.
        kept &= ~ndimage.binary_erosion(thick, border_value=1)

    def drop(z: int) -> None:
        kernels.drop_steep_cpu(squared, metric.unit, voxel, z, kept)

    in_threads(drop, len(inside), "pruning balls")
    starts, ball_x, _ = listed_balls(kept, squared)
    balls = np.empty((len(ball_x), 4))
    piece, ripple = np.multiply(_MASK_ROUGHNESS if height.is_mask else _GREY_ROUGHNESS, voxel.mean())

    def refine(z: int) -> None:
        kernels.refine_balls_cpu(
            feet,
            squared,
            nearest,
            height.first,
            metric.unit,
            voxel,
            z,
            starts,
            ball_x,
            kept,
            max_radius,
            piece,
            ripple,
            balls,
        )

    in_threads(refine, len(inside), "refining balls")
    starts, balls = _by_row(balls, height.first, voxel, inside.shape)
    largest_of_slice = np.array([balls[row[0] : row[-1], 3].max(initial=0.0) for row in starts])

    def paint(z: int) -> None:
        paint_kernels.paint_real_balls_cpu(starts, balls, largest_of_slice, height.first, voxel, z, result[z])
        if thick is not None:
            result[z][thick[z]] = 2.0 * max_radius
        result[z][~inside[z]] = 0.0

    in_threads(paint, len(inside), "painting balls")
    _fill(result, inside, lambda left: _own_diameter(squared.flat[left], metric, voxel, max_radius))
    return result


def _own_diameter(squared: np.ndarray, metric: Metric, voxel: np.ndarray, max_radius: float) -> np.ndarray:
    """Of a ball at a voxel of that squared distance to the background, about half a voxel less."""
    own = 2.0 * np.maximum(metric.unit * np.sqrt(squared) - 0.5 * voxel.min(), 0.25 * voxel.min())
    return np.asarray(np.minimum(own, 2.0 * max_radius))


def _fill(diameter: np.ndarray, inside: np.ndarray, own: Callable[[np.ndarray], np.ndarray]) -> None:
    """Give voxels inside that no ball reaches the mean of their neighbours, or what is their own."""
    n = diameter[0].size
    parts = [np.flatnonzero(inside[z] & (diameter[z] == 0)) + z * n for z in range(len(inside))]
    left = np.concatenate(parts)
    for _ in range(_N_FILLS):
        mean = np.empty(left.size, np.float32)
        paint_kernels.neighbours_mean_cpu(diameter, left, mean)
        diameter.flat[left] = mean
        left = left[mean == 0]
    diameter.flat[left] = own(left)


def _starts(row: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where the balls of each row begin and end, (n_z, n_y + 1), of balls in the order of their rows."""
    n_z, n_y, _ = shape
    return row_starts(np.bincount(row, minlength=n_z * n_y).reshape(n_z, n_y))


def _by_row(
    balls: np.ndarray, first: int, voxel: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Starts of rows, and the balls listed by the row nearest to their centre, the largest first."""
    balls = balls[balls[:, 3] > 0]
    z = np.rint(balls[:, 0] / voxel[0]).astype(np.int64) - first
    row = z * shape[1] + np.rint(balls[:, 1] / voxel[1]).astype(np.int64)
    order = np.argsort(row, kind="stable")  # they are nearly in order
    starts, balls = _starts(row, shape), balls[order]
    in_threads(lambda z: paint_kernels.largest_first_cpu(starts[z], balls), len(starts), "sorting balls")
    return starts, balls
