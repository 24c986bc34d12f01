"""Where the surface of smoothed values was before they were smoothed. Kernels release the GIL."""

import math

import numba
import numpy as np

_MAX_BEND = 0.7  # per voxel edge: a ball of 3 voxels' radius


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_near_surface(height: np.ndarray, z: int, y: int, x: int) -> bool:
    n_z, n_y, n_x = height.shape
    is_inside = height[z, y, x] > 0
    for k in range(max(z - 1, 0), min(z + 2, n_z)):
        for j in range(max(y - 1, 0), min(y + 2, n_y)):
            for i in range(max(x - 1, 0), min(x + 2, n_x)):
                if (height[k, j, i] > 0) != is_inside:
                    return True
    return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _at(field: np.ndarray, z: int, y: int, x: int) -> float:
    n_z, n_y, n_x = field.shape
    return float(field[min(max(z, 0), n_z - 1), min(max(y, 0), n_y - 1), min(max(x, 0), n_x - 1)])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _curvature(smooth: np.ndarray, z: int, y: int, x: int) -> float:
    """Divergence of the unit gradient, per voxel edge: -2 / r in a ball of radius r that is brighter inside."""
    here = _at(smooth, z, y, x)
    zm, zp = _at(smooth, z - 1, y, x), _at(smooth, z + 1, y, x)
    ym, yp = _at(smooth, z, y - 1, x), _at(smooth, z, y + 1, x)
    xm, xp = _at(smooth, z, y, x - 1), _at(smooth, z, y, x + 1)
    gz, gy, gx = 0.5 * (zp - zm), 0.5 * (yp - ym), 0.5 * (xp - xm)
    square = gz * gz + gy * gy + gx * gx
    if square < 1e-20:
        return 0.0
    zz, yy, xx = zp + zm - 2.0 * here, yp + ym - 2.0 * here, xp + xm - 2.0 * here
    zy = 0.25 * (
        _at(smooth, z + 1, y + 1, x)
        - _at(smooth, z + 1, y - 1, x)
        - _at(smooth, z - 1, y + 1, x)
        + _at(smooth, z - 1, y - 1, x)
    )
    zx = 0.25 * (
        _at(smooth, z + 1, y, x + 1)
        - _at(smooth, z + 1, y, x - 1)
        - _at(smooth, z - 1, y, x + 1)
        + _at(smooth, z - 1, y, x - 1)
    )
    yx = 0.25 * (
        _at(smooth, z, y + 1, x + 1)
        - _at(smooth, z, y + 1, x - 1)
        - _at(smooth, z, y - 1, x + 1)
        + _at(smooth, z, y - 1, x - 1)
    )
    along = (
        gz * gz * zz + gy * gy * yy + gx * gx * xx + 2.0 * (gz * gy * zy + gz * gx * zx + gy * gx * yx)
    ) / square
    return (zz + yy + xx - along) / math.sqrt(square)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _steepness(height: np.ndarray, z: int, y: int, x: int) -> float:
    """Length of the gradient per voxel edge, by differences of fourth order."""
    gz = 8.0 * (_at(height, z + 1, y, x) - _at(height, z - 1, y, x)) - (
        _at(height, z + 2, y, x) - _at(height, z - 2, y, x)
    )
    gy = 8.0 * (_at(height, z, y + 1, x) - _at(height, z, y - 1, x)) - (
        _at(height, z, y + 2, x) - _at(height, z, y - 2, x)
    )
    gx = 8.0 * (_at(height, z, y, x + 1) - _at(height, z, y, x - 1)) - (
        _at(height, z, y, x + 2) - _at(height, z, y, x - 2)
    )
    return math.sqrt(gz * gz + gy * gy + gx * gx) / 12.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def undo_shrinkage_cpu(
    height: np.ndarray, smooth: np.ndarray, variance: float, is_distance: bool, z: int, out: np.ndarray
) -> None:
    """out[z] <- height[z] with the surface put back where it was before smoothing moved it to its hollow side.

    Smoothing of that variance (voxels^2) moves a surface by half the variance times the sum of its principal
    curvatures; these are taken from the smoother field `smooth`. With `is_distance` the height is a distance in
    voxels, with slope 1; else the slope is measured.
    """
    _, n_y, n_x = height.shape
    for y in range(n_y):
        for x in range(n_x):
            value = height[z, y, x]
            if _is_near_surface(height, z, y, x):
                bend = min(max(_curvature(smooth, z, y, x), -_MAX_BEND), _MAX_BEND)
                steepness = 1.0 if is_distance else _steepness(height, z, y, x)
                value -= np.float32(0.5 * variance * steepness * bend)
            out[z, y, x] = value
