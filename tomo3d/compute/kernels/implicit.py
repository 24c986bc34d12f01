"""Derivatives of sampled values at any point, by derivatives of a Gaussian. Kernels release the GIL."""

import math

import numba
import numpy as np

# how often each column is derived along z, y and x
_ORDERS = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _weigh(position: float, sigma: float, first: int, weights: np.ndarray) -> None:
    """Weights (3, n) of the voxels from `first` on for the value, its first and its second derivative, per voxel.

    Exact for polynomials up to the second degree, but that the value is that of a parabola after blurring.
    """
    n = weights.shape[1]
    total, first_moment, second_moment = 0.0, 0.0, 0.0
    for i in range(n):
        d = first + i - position
        weights[0, i] = math.exp(-0.5 * (d / sigma) ** 2)
        total += weights[0, i]
        first_moment += d * weights[0, i]
        second_moment += d * d * weights[0, i]
    mean, square = first_moment / total, second_moment / total
    variance = square - mean * mean
    third, fourth = 0.0, 0.0
    for i in range(n):
        weights[0, i] /= total
        d = first + i - position
        weights[1, i] = (d - mean) / variance * weights[0, i]
        third += weights[1, i] * d * d
    for i in range(n):
        d = first + i - position
        weights[2, i] = (d * d - square - third * (d - mean)) * weights[0, i]
        fourth += weights[2, i] * d * d
    for i in range(n):
        weights[2, i] *= 2.0 / fourth
        # a parabola has no first derivative where it is least
        weights[1, i] -= 0.5 * third * weights[2, i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along_z(values: np.ndarray, z0: int, y0: int, x0: int, weights: np.ndarray, sums: np.ndarray) -> None:
    """sums[d, j, m] <- sum over z of weights[d] * values at (y0 + j, x0 + m); beyond the border its values hold."""
    n_z, n_y, n_x = values.shape
    _, height, width = sums.shape
    row = np.empty(width, dtype=np.float32)
    is_within = x0 >= 0 and x0 + width <= n_x
    sums[:] = 0.0
    for k in range(weights.shape[1]):
        z = min(max(z0 + k, 0), n_z - 1)
        w0, w1, w2 = weights[0, k], weights[1, k], weights[2, k]
        for j in range(height):
            y = min(max(y0 + j, 0), n_y - 1)
            if is_within:
                for m in range(width):
                    row[m] = values[z, y, x0 + m]
            else:
                for m in range(width):
                    row[m] = values[z, y, min(max(x0 + m, 0), n_x - 1)]
            for m in range(width):
                sums[0, j, m] += w0 * row[m]
                sums[1, j, m] += w1 * row[m]
                sums[2, j, m] += w2 * row[m]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def derivatives_cpu(
    values: np.ndarray, points: np.ndarray, sigma: np.ndarray, reach: np.ndarray, out: np.ndarray
) -> None:
    """out[i] <- value, d/dz, d/dy, d/dx, zz, yy, xx, zy, zx, yx at points[i] = (z, y, x), all in voxels.

    Voxels up to `reach` from the nearest take part; beyond the volume are the values of its border.
    """
    n = 2 * reach + 1
    width = (n[2] + 7) // 8 * 8  # whole registers: the rest has no weight
    weights = np.empty((3, max(n[0], n[1], n[2])))
    wz, wy = np.empty((3, n[0]), dtype=np.float32), np.empty((3, n[1]), dtype=np.float32)
    wx = np.zeros((3, width), dtype=np.float32)
    sums = np.empty((3, n[1], width), dtype=np.float32)
    line = np.empty(width, dtype=np.float32)
    for i in range(len(points)):
        z0 = int(math.floor(points[i, 0] + 0.5)) - reach[0]
        y0 = int(math.floor(points[i, 1] + 0.5)) - reach[1]
        x0 = int(math.floor(points[i, 2] + 0.5)) - reach[2]
        _weigh(points[i, 0], sigma[0], z0, weights[:, : n[0]])
        wz[:] = weights[:, : n[0]]
        _weigh(points[i, 1], sigma[1], y0, weights[:, : n[1]])
        wy[:] = weights[:, : n[1]]
        _weigh(points[i, 2], sigma[2], x0, weights[:, : n[2]])
        wx[:, : n[2]] = weights[:, : n[2]]
        _along_z(values, z0, y0, x0, wz, sums)
        for column in range(10):
            dz, dy, dx = _ORDERS[column]
            line[:] = 0.0
            for j in range(n[1]):
                w = wy[dy, j]
                for m in range(width):
                    line[m] += w * sums[dz, j, m]
            total = 0.0
            for m in range(width):
                total += wx[dx, m] * line[m]
            out[i, column] = total
