"""The surface of a structure between voxels: its height, and its feet, the points of it beside the background.

The surface is where a height is zero: grey values less a level, or for a mask the distance to the boundary that is
estimated between its voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from tomo3d.compute.distance import Metric, in_threads, row_starts
from tomo3d.compute.kernels import blur as blur_kernels
from tomo3d.compute.kernels import feet as feet_kernels
from tomo3d.compute.kernels import nearest as nearest_kernels
from tomo3d.compute.kernels import surface as surface_kernels
from tomo3d.types import Array

_BINOMIAL = np.array([0.25, 0.5, 0.25], np.float32)
_MASK_SIGMA = 1.25  # voxels: of the Gaussian of `mask_height`
_INTERPOLATION = 1 / 6  # voxels^2: mean variance that linear interpolation adds
_PARTIAL_VOLUME = 1 / 12  # voxels^2: variance of a voxel
_FEET_SIGMA = 1.0
_GREY_VARIANCE = 0.5 + _PARTIAL_VOLUME + _INTERPOLATION
# How a foot is evened out: distance to its neighbours in voxels, least cosine of normals, weights of the neighbours
# for the place and for the normal.
_MASK_PASSES = ((1.5, 0.7, 0.0, 0.8), (2.0, 0.92, 0.7, 0.7), (5.0, 0.96, 0.7, 0.7))
_GREY_PASSES = ((1.5, 0.7, 0.0, 0.7), (2.5, 0.5, 0.0, 0.7))
_BEND_AT = 2.5  # voxels: distance of the feet that tell the curvature
_MAX_BEND = 0.35  # per voxel edge, of the mean curvature that is believed


@dataclass(frozen=True, eq=False)
class Height:
    """The height of slices `first` and on, and the structure on the same grid.

    Smoothing has the `variance` given, in voxels^2. If `is_mask` it comes from a mask and is rough by parts of a voxel.
    """

    values: np.ndarray
    inside: np.ndarray
    first: int
    variance: float
    is_mask: bool


def grey_surface(data: Array, level: float, first: int, last: int) -> Height:
    """Height of slices `first` to `last` of grey values, shape (n_z, n_y, n_x), for the surface at a level.

    Values are smoothed by (1, 2, 1) / 4 along each axis, so that the surface does not follow the grid.
    """
    values = np.empty((last - first, *data.shape[1:]), np.float32)

    def load(z: int) -> np.ndarray:
        return np.subtract(data[first + z], level, dtype=np.float32)

    _blur(load, _BINOMIAL, values)
    return Height(values, values > 0, first, _GREY_VARIANCE, False)


def mask_surface(data: Array, first: int, last: int) -> Height:
    """Height of slices `first` to `last` of a mask: its share within a Gaussian of one voxel, less a half."""
    inside = np.empty((last - first, *data.shape[1:]), np.bool_)
    values = np.empty(inside.shape, np.float32)

    def load(z: int) -> np.ndarray:
        np.not_equal(data[first + z], 0, out=inside[z])
        return np.subtract(inside[z], 0.5, dtype=np.float32)

    _blur(load, _gaussian(_FEET_SIGMA), values)
    return Height(values, inside, first, _FEET_SIGMA**2 + _INTERPOLATION, True)


def mask_height(data: Array, first: int, last: int) -> np.ndarray:
    """Signed distance, in voxels, of slices `first` to `last` of a mask to the boundary estimated between its voxels.

    A Gaussian of 1.25 voxels turns the mask into a profile whose inverse is the distance to a plane; the shift of
    curved surfaces is undone.
    """
    share = np.empty((last - first, *data.shape[1:]), np.float32)
    _blur(
        lambda z: (np.asarray(data[first + z]) != 0).astype(np.float32),
        _gaussian(_MASK_SIGMA),
        share,
    )
    smooth = _smoother(share)

    def to_distance(z: int) -> None:
        share[z] = _MASK_SIGMA * special.ndtri(np.clip(share[z], 1e-3, 1 - 1e-3))

    in_threads(to_distance, len(share), "boundary between voxels")
    return _put_back(share, smooth, _MASK_SIGMA**2 + _INTERPOLATION, is_distance=True)


def grey_height(data: Array, level: float, first: int, last: int) -> np.ndarray:
    """Height of slices `first` to `last` of grey values over a level, smoothed as in `grey_surface`.

    The shift of curved surfaces that comes of it, of partial volumes and of linear interpolation is undone.
    """
    height = grey_surface(data, level, first, last).values
    return _put_back(height, _smoother(height), _GREY_VARIANCE, is_distance=False)


def _smoother(values: np.ndarray) -> np.ndarray:
    """Values smoothed twice by (1, 2, 1) / 4 along each axis."""
    once, twice = np.empty_like(values), np.empty_like(values)
    _blur(lambda z: values[z], _BINOMIAL, once)
    _blur(lambda z: once[z], _BINOMIAL, twice)
    return twice


def _put_back(height: np.ndarray, smooth: np.ndarray, variance: float, *, is_distance: bool) -> np.ndarray:
    """The height with its surface where it was before smoothing, see `undo_shrinkage_cpu`."""
    out = np.empty_like(height)
    in_threads(
        lambda z: surface_kernels.undo_shrinkage_cpu(height, smooth, variance, is_distance, z, out),
        len(height),
        "placing the surface",
    )
    return out


def _gaussian(sigma: float) -> np.ndarray:
    reach = math.ceil(3.5 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _blur(load: Callable[[int], np.ndarray], weights: np.ndarray, out: np.ndarray) -> None:
    """out[z] <- load(z) smoothed along each axis, the border repeated."""
    n_z, n_y, n_x = out.shape

    def in_plane(z: int) -> None:
        blur_kernels.blur_in_plane_cpu(load(z), weights, np.empty((n_y, n_x), np.float32), out[z])

    def along_z(y: int) -> None:
        blur_kernels.blur_along_z_cpu(out, weights, y, np.empty((n_z, n_x), np.float32))

    in_threads(in_plane, n_z, "smoothing")
    in_threads(along_z, n_y, "smoothing along z")


def site_starts(inside: np.ndarray) -> np.ndarray:
    """Where the sites of each row begin and end, (n_z, n_y + 1): background voxels with a face to the structure."""
    counts = np.empty(inside.shape[:2], np.int64)
    in_threads(lambda z: feet_kernels.count_sites_cpu(inside, z, counts[z]), len(inside), "surface")
    return row_starts(counts)


def surface_feet(height: Height, sites: np.ndarray, nearest: np.ndarray, voxel: np.ndarray) -> np.ndarray:
    """The foot of each site, in units of `voxel` (z, y, x); columns as in `kernels.feet`.

    A mask's are evened out along the surface: steps of the grid are as wide as the surface is near to a plane of
    voxels. Smoothing moves a surface to its hollow side, by the mean curvature times the variance: that is undone.
    """
    feet = np.empty((int(sites[-1, -1]), feet_kernels.N_COLUMNS), np.float32)
    other = np.empty_like(feet)
    in_threads(
        lambda z: feet_kernels.find_feet_cpu(height.values, height.inside, height.first, z, sites[z], feet),
        len(sites),
        "placing the surface",
    )
    first = height.first
    for step in _MASK_PASSES if height.is_mask else _GREY_PASSES:
        _even_out(feet, sites, nearest, first, np.ones(3), step, other)
        feet, other = other, feet
    is_cube = bool(np.ptp(voxel) == 0)
    in_threads(
        lambda z: feet_kernels.unshrink_cpu(
            feet[sites[z, 0] : sites[z, -1]], height.variance, _MAX_BEND, voxel
        ),
        len(sites),
        "placing the surface",
    )
    if is_cube:
        return feet
    distance, least_along = _BEND_AT * float(voxel.mean()), 0.5
    _even_out(feet, sites, nearest, first, voxel, (distance, least_along, 0.0, 0.7), other)
    return other


def _even_out(
    feet: np.ndarray,
    sites: np.ndarray,
    nearest: np.ndarray,
    first: int,
    voxel: np.ndarray,
    step: tuple[float, float, float, float],
    out: np.ndarray,
) -> None:
    def slice_of(z: int) -> None:
        begin, end = sites[z, 0], sites[z, -1]
        feet_kernels.smooth_feet_cpu(feet, nearest, first, voxel, *step, begin, end, out)

    in_threads(slice_of, len(sites), "placing the surface")


def squared_and_nearest(
    inside: np.ndarray, sites: np.ndarray, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance to the background in unit^2, and the number of the nearest site (-1: none)."""
    squared = np.empty(inside.shape, dtype=metric.dtype)
    nearest = np.empty(inside.shape, dtype=np.int32)
    w_z, w_y, w_x = metric.weights

    def along_x(z: int) -> None:
        nearest_kernels.nearest_along_x_cpu(inside, z, sites[z], w_x, metric.unreached, squared, nearest)

    def along_y(z: int) -> None:
        nearest_kernels.nearest_envelopes_cpu(squared, nearest, False, z, w_y, metric.unreached)

    def along_z(y: int) -> None:
        nearest_kernels.nearest_envelopes_cpu(squared, nearest, True, y, w_z, metric.unreached)

    for step, n_parts in ((along_x, inside.shape[0]), (along_y, inside.shape[0]), (along_z, inside.shape[1])):
        in_threads(step, n_parts, f"distance {step.__name__.replace('_', ' ')}")
    return squared, nearest
