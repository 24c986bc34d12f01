"""Separable smoothing of a volume, the border repeated. Kernels release the GIL: callers run them in threads."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def blur_in_plane_cpu(plane: np.ndarray, weights: np.ndarray, along_y: np.ndarray, out: np.ndarray) -> None:
    """out <- plane (n_y, n_x) smoothed along both axes by an odd number of symmetric weights; `along_y` is a buffer."""
    n_y, n_x = plane.shape
    reach = weights.size // 2
    for y in range(n_y):
        row = along_y[y]
        row[:] = weights[reach] * plane[y]
        for k in range(1, reach + 1):
            before, after, weight = plane[max(y - k, 0)], plane[min(y + k, n_y - 1)], weights[reach + k]
            for x in range(n_x):
                row[x] += weight * (before[x] + after[x])
    for y in range(n_y):
        row, to = along_y[y], out[y]
        to[:] = weights[reach] * row
        for k in range(1, reach + 1):
            weight = weights[reach + k]
            for x in range(min(k, n_x)):
                to[x] += weight * row[0]
            for x in range(k, n_x):
                to[x] += weight * row[x - k]
            for x in range(n_x - k):
                to[x] += weight * row[x + k]
            for x in range(max(n_x - k, 0), n_x):
                to[x] += weight * row[n_x - 1]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def blur_along_z_cpu(values: np.ndarray, weights: np.ndarray, y: int, lines: np.ndarray) -> None:
    """values[:, y] <- smoothed along z, in place; `lines` is a buffer (n_z, n_x)."""
    n_z, _, n_x = values.shape
    reach = weights.size // 2
    for z in range(n_z):
        lines[z] = values[z, y]
    for z in range(n_z):
        to = values[z, y]
        to[:] = weights[reach] * lines[z]
        for k in range(1, reach + 1):
            before, after, weight = lines[max(z - k, 0)], lines[min(z + k, n_z - 1)], weights[reach + k]
            for x in range(n_x):
                to[x] += weight * (before[x] + after[x])
