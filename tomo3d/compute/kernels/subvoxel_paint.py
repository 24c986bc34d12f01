"""Painting of balls whose centres and radii are no multiples of a voxel. Kernels release the GIL."""

import math

import numba
import numpy as np

from tomo3d.compute.kernels.thickness import _spread


@numba.njit(nogil=True, cache=True, error_model="numpy")
def largest_first_cpu(starts: np.ndarray, balls: np.ndarray) -> None:
    """Sort the balls (z, y, x, radius) of each row, starts[y] to starts[y + 1], by their radius."""
    one = np.empty(4)
    for y in range(starts.size - 1):
        for k in range(starts[y] + 1, starts[y + 1]):
            one[:] = balls[k]
            i = k
            while i > starts[y] and balls[i - 1, 3] < one[3]:
                balls[i] = balls[i - 1]
                i -= 1
            balls[i] = one


@numba.njit(nogil=True, cache=True, error_model="numpy")
def paint_real_balls_cpu(
    starts: np.ndarray,
    balls: np.ndarray,
    largest: np.ndarray,
    first_z: int,
    voxel: np.ndarray,
    z: int,
    diameter: np.ndarray,
) -> None:
    """diameter[y, x] <- 2 radius of the largest ball that holds the centre of each voxel of slice z, else 0.

    balls (z, y, x, radius) are listed by the row of voxels nearest to their centre, the largest first; largest[z] is
    the largest radius of those of slice z.
    """
    n_y, n_x = diameter.shape
    log2 = np.zeros(n_x + 1, np.int64)
    for i in range(2, n_x + 1):
        log2[i] = log2[i // 2] + 1
    n_levels = int(log2[n_x]) + 1
    spans = np.empty(n_levels * n_x, np.float32)
    for y in range(n_y):
        spans[:] = 0.0
        for z_q in range(largest.size):
            beyond = max(0.0, (abs(z_q - z) - 0.5) * voxel[0])
            room = largest[z_q] * largest[z_q] - beyond * beyond
            if room <= 0:
                continue
            reach = int(math.sqrt(room) / voxel[1] + 0.5)
            for y_q in range(max(0, y - reach), min(n_y, y + reach + 1)):
                aside = max(0.0, (abs(y_q - y) - 0.5) * voxel[1])
                nearest2 = beyond * beyond + aside * aside
                for i in range(starts[z_q, y_q], starts[z_q, y_q + 1]):
                    radius = balls[i, 3]
                    if radius * radius <= nearest2:
                        break
                    dz = balls[i, 0] - (first_z + z) * voxel[0]
                    dy = balls[i, 1] - y * voxel[1]
                    rest = radius * radius - dz * dz - dy * dy
                    if rest <= 0:
                        continue
                    half = math.sqrt(rest) / voxel[2]
                    middle = balls[i, 2] / voxel[2]
                    first = max(0, math.ceil(middle - half))
                    last = min(n_x - 1, math.floor(middle + half))
                    if last < first:
                        continue
                    k = log2[np.uint64(last - first + 1)]
                    a = np.uint64(k * n_x + first)
                    b = np.uint64(k * n_x + last + 1 - (1 << k))
                    value = np.float32(radius)
                    spans[a] = max(spans[a], value)
                    spans[b] = max(spans[b], value)
        _spread(spans, n_levels, n_x)
        for x in range(n_x):
            diameter[y, x] = 2.0 * spans[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def neighbours_mean_cpu(diameter: np.ndarray, places: np.ndarray, mean: np.ndarray) -> None:
    """mean[i] <- the mean of the neighbours of a place (index into the flattened array) that are not 0, else 0."""
    n_z, n_y, n_x = diameter.shape
    for m in range(places.size):
        z, y, x = places[m] // (n_y * n_x), places[m] // n_x % n_y, places[m] % n_x
        total, n = 0.0, 0
        for k in range(max(z - 1, 0), min(z + 2, n_z)):
            for j in range(max(y - 1, 0), min(y + 2, n_y)):
                for i in range(max(x - 1, 0), min(x + 2, n_x)):
                    if diameter[k, j, i] > 0:
                        total += diameter[k, j, i]
                        n += 1
        mean[m] = total / n if n > 0 else 0.0
