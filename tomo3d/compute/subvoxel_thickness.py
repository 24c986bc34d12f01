"""Largest ball inside a structure whose surface lies between voxels: its place, the balls, and the map of diameters.

The surface is where a height is zero: grey values less a level, or for a mask the distance to the boundary that is
estimated between its voxels. Beyond the volume counts as structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from tomo3d.compute.distance import Metric, in_threads, integer_metric, medial_balls, slab_depth
from tomo3d.compute.kernels import nearest as nearest_kernels
from tomo3d.compute.kernels import subvoxel as kernels
from tomo3d.compute.kernels import subvoxel_paint as paint_kernels
from tomo3d.compute.kernels import surface as surface_kernels
from tomo3d.types import Array

_BINOMIAL = np.array([0.25, 0.5, 0.25])
_MASK_SIGMA = (
    1.25  # voxels: steps of the grid are averaged, and the sides of a film of three voxels still apart
)
_MASK_RIPPLE = 0.25  # voxels: what is left of the steps of the grid
_INTERPOLATION = 1 / 6  # voxels^2: mean variance that linear interpolation adds
_PARTIAL_VOLUME = 1 / 12  # voxels^2: variance of a voxel
_MARGIN = 16  # slices that smoothing and refinement look beyond a ball
_N_FILLS = 2  # voxels that a ball may miss beside the surface


@dataclass(frozen=True, eq=False)
class Height:
    """The height of slices `first` and on, the structure on the same grid, and how rough its surface is, in voxels."""

    values: np.ndarray
    inside: np.ndarray
    first: int
    ripple: float


def grey_height(data: Array, level: float, first: int, last: int) -> Height:
    """Height of slices `first` to `last` of grey values, shape (n_z, n_y, n_x), for the surface at a level.

    Values are smoothed by (1, 2, 1) / 4 along each axis, so that the surface does not follow the grid, and the shift
    of curved surfaces that comes of it, of partial volumes and of linear interpolation is undone.
    """
    values = np.subtract(data[first:last], level, dtype=np.float32)
    height = _smoothed(values, _BINOMIAL)
    variance = 0.5 + _PARTIAL_VOLUME + _INTERPOLATION
    height = _unshrunk(height, _smoothed(_smoothed(height, _BINOMIAL), _BINOMIAL), variance, False)
    return Height(height, height > 0, first, 0.0)


def mask_height(data: Array, first: int, last: int) -> Height:
    """Height of slices `first` to `last` of a mask: signed distance, in voxels, to the estimated boundary.

    A Gaussian of 1.25 voxels turns the mask into a profile whose inverse is the distance to a plane; the shift of
    curved surfaces is undone.
    """
    inside = np.ascontiguousarray(np.asarray(data[first:last]) != 0)
    reach = math.ceil(3.5 * _MASK_SIGMA)
    gaussian = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _MASK_SIGMA) ** 2)
    share = _smoothed(inside.astype(np.float32), gaussian / gaussian.sum())
    smooth = _smoothed(_smoothed(share, _BINOMIAL), _BINOMIAL)

    def to_distance(z: int) -> None:
        share[z] = _MASK_SIGMA * special.ndtri(np.clip(share[z], 1e-3, 1 - 1e-3))

    in_threads(to_distance, len(share), "boundary between voxels")
    height = _unshrunk(share, smooth, _MASK_SIGMA**2 + _INTERPOLATION, True)
    return Height(height, inside, first, _MASK_RIPPLE)


def _smoothed(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values smoothed along each axis, the border repeated."""
    n_z, n_y, n_x = values.shape
    out = np.empty_like(values)
    depth, width = slab_depth(values.shape, 1 << 20), max(1, (1 << 20) // (n_z * n_x))

    def in_plane(i: int) -> None:
        part = slice(i * depth, (i + 1) * depth)
        along_x = ndimage.correlate1d(values[part], weights, axis=2, mode="nearest")
        ndimage.correlate1d(along_x, weights, axis=1, mode="nearest", output=out[part])

    def along_z(i: int) -> None:
        part = out[:, i * width : (i + 1) * width]
        part[:] = ndimage.correlate1d(part, weights, axis=0, mode="nearest")

    in_threads(in_plane, math.ceil(n_z / depth), "smoothing")
    in_threads(along_z, math.ceil(n_y / width), "smoothing along z")
    return out


def _unshrunk(height: np.ndarray, smooth: np.ndarray, variance: float, is_distance: bool) -> np.ndarray:
    out = np.empty_like(height)
    in_threads(
        lambda z: surface_kernels.undo_shrinkage_cpu(height, smooth, variance, is_distance, z, out),
        len(height),
        "placing the surface",
    )
    return out


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
    squared, nearest = _squared_and_nearest(inside, metric)
    thick = None
    largest = int(squared.max())
    if math.isfinite(max_radius):
        # The centre of a background voxel may lie so far beyond the surface.
        largest = math.ceil(((max_radius + 1.5 * voxel.max()) / metric.unit) ** 2)
        thick = squared >= largest
        np.minimum(squared, largest, out=squared)
    starts, ball_x, _ = medial_balls(squared, metric, largest, grid)
    if thick is not None:
        starts, ball_x = _without_buried(starts, ball_x, thick)
    balls = np.empty((len(ball_x), 4))
    ripple = height.ripple * voxel.mean()

    def refine(z: int) -> None:
        kernels.refine_balls_cpu(
            height.values,
            squared,
            nearest,
            height.first,
            metric.unit,
            voxel,
            z,
            starts,
            ball_x,
            max_radius,
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

    in_threads(paint, len(inside), "painting balls")
    for _ in range(_N_FILLS):
        result = _filled(inside, result)
    left = inside & (result == 0)
    own = 2.0 * np.maximum(metric.unit * np.sqrt(squared[left]) - 0.5 * voxel.min(), 0.25 * voxel.min())
    result[left] = np.minimum(own, 2.0 * max_radius)
    return result


def _filled(inside: np.ndarray, diameter: np.ndarray) -> np.ndarray:
    """Diameter, with the mean of their neighbours in voxels inside that have none."""
    filled = np.empty_like(diameter)
    in_threads(
        lambda z: paint_kernels.fill_from_neighbours_cpu(inside, diameter, z, filled),
        len(inside),
        "filling voxels at the surface",
    )
    return filled


def _squared_and_nearest(inside: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance to the background in unit^2, and the index of the nearest background voxel (-1: none)."""
    squared = np.empty(inside.shape, dtype=metric.dtype)
    nearest = np.empty(inside.shape, dtype=np.int32 if inside.size < np.iinfo(np.int32).max else np.int64)
    w_z, w_y, w_x = metric.weights
    n_z, n_y, n_x = inside.shape

    def along_x(z: int) -> None:
        nearest_kernels.nearest_along_x_cpu(
            inside[z : z + 1], z * n_y * n_x, w_x, metric.unreached, squared[z : z + 1], nearest[z : z + 1]
        )

    def along_y(z: int) -> None:
        nearest_kernels.nearest_envelopes_cpu(squared, nearest, False, z, w_y, metric.unreached)

    def along_z(y: int) -> None:
        nearest_kernels.nearest_envelopes_cpu(squared, nearest, True, y, w_z, metric.unreached)

    for step, n_parts in ((along_x, n_z), (along_y, n_z), (along_z, n_y)):
        in_threads(step, n_parts, f"distance {step.__name__.replace('_', ' ')}")
    return squared, nearest


def _without_buried(
    starts: np.ndarray, ball_x: np.ndarray, thick: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The balls without those whose six neighbours are all `thick`: all that they cover is covered as largely."""
    buried = ndimage.binary_erosion(thick, border_value=1)
    n_y = thick.shape[1]
    counts = np.diff(starts, axis=1)
    row = np.repeat(np.arange(counts.size), counts.ravel())
    is_kept = ~buried[row // n_y, row % n_y, ball_x]
    return _starts(row[is_kept], thick.shape), ball_x[is_kept]


def _starts(row: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where the balls of each row begin and end, (n_z, n_y + 1), of balls in the order of their rows."""
    n_z, n_y, _ = shape
    ends = np.cumsum(np.bincount(row, minlength=n_z * n_y)).reshape(n_z, n_y)
    before = np.concatenate([[0], ends[:-1, -1]])
    return np.concatenate([before[:, None], ends], axis=1)


def _by_row(
    balls: np.ndarray, first: int, voxel: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Starts of rows, and the balls listed by the row nearest to their centre, the largest first."""
    z = np.rint(balls[:, 0] / voxel[0]).astype(np.int64) - first
    row = z * shape[1] + np.rint(balls[:, 1] / voxel[1]).astype(np.int64)
    order = np.lexsort((-balls[:, 3], row))
    return _starts(row[order], shape), balls[order]
