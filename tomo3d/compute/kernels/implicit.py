"""Derivatives of sampled values at any point, by derivatives of a Gaussian. Kernels release the GIL."""

import math

import numba
import numpy as np

# where the derivative of each order along z, y and x goes
_COLUMNS = np.array(
    [[[0, 3, 6], [2, 9, 0], [5, 0, 0]], [[1, 8, 0], [7, 0, 0], [0, 0, 0]], [[4, 0, 0], [0, 0, 0], [0, 0, 0]]]
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
def _copy_plane(
    values: np.ndarray, z: int, y0: int, x0: int, height: int, width: int, plane: np.ndarray
) -> None:
    """plane[j * width + m] <- values at (z, y0 + j, x0 + m); beyond the border its values hold."""
    n_z, n_y, n_x = values.shape
    z = min(max(z, 0), n_z - 1)
    is_within = x0 >= 0 and x0 + width <= n_x
    for j in range(height):
        row, at = values[z, min(max(y0 + j, 0), n_y - 1)], j * width
        if is_within:
            for m in range(width):
                plane[at + m] = row[x0 + m]
        else:
            for m in range(width):
                plane[at + m] = row[min(max(x0 + m, 0), n_x - 1)]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def derivatives_cpu(
    values: np.ndarray, points: np.ndarray, sigma: np.ndarray, reach: np.ndarray, out: np.ndarray
) -> None:
    """out[i] <- value, d/dz, d/dy, d/dx, zz, yy, xx, zy, zx, yx at points[i] = (z, y, x), all in voxels.

    Voxels up to `reach` from the nearest take part; beyond the volume are the values of its border.
    """
    n_z, n_y, n_x = 2 * reach[0] + 1, 2 * reach[1] + 1, 2 * reach[2] + 1
    width = (n_x + 7) // 8 * 8  # whole registers: the rest has no weight
    weights = np.empty((3, max(n_z, n_y, n_x)))
    wz, wy = np.empty((3, n_z), dtype=np.float32), np.empty((3, n_y), dtype=np.float32)
    wx = np.zeros((3, width), dtype=np.float32)
    plane = np.empty(n_y * width, dtype=np.float32)
    sums = np.empty((3, n_y * width), dtype=np.float32)
    sum0, sum1, sum2 = sums[0], sums[1], sums[2]
    line = np.empty(width, dtype=np.float32)
    for i in range(len(points)):
        z0 = math.floor(points[i, 0] + 0.5) - reach[0]
        y0 = math.floor(points[i, 1] + 0.5) - reach[1]
        x0 = math.floor(points[i, 2] + 0.5) - reach[2]
        _weigh(points[i, 0], sigma[0], z0, weights[:, :n_z])
        wz[:] = weights[:, :n_z]
        _weigh(points[i, 1], sigma[1], y0, weights[:, :n_y])
        wy[:] = weights[:, :n_y]
        _weigh(points[i, 2], sigma[2], x0, weights[:, :n_x])
        wx[:, :n_x] = weights[:, :n_x]
        sums[:] = 0.0
        for k in range(n_z):
            _copy_plane(values, z0 + k, y0, x0, n_y, width, plane)
            w0, w1, w2 = wz[0, k], wz[1, k], wz[2, k]
            for m in range(n_y * width):  # one long run: short ones cost more than what they do
                sum0[m] += w0 * plane[m]
                sum1[m] += w1 * plane[m]
                sum2[m] += w2 * plane[m]
        for dz in range(3):
            for dy in range(3 - dz):
                line[:] = 0.0
                for j in range(n_y):
                    w, at = wy[dy, j], j * width
                    for m in range(width):
                        line[m] += w * sums[dz, at + m]
                for dx in range(3 - dz - dy):
                    total = 0.0
                    for m in range(width):
                        total += wx[dx, m] * line[m]
                    out[i, _COLUMNS[dz, dy, dx]] = total
