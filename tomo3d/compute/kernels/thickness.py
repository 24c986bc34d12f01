"""Largest ball that covers a voxel: pruning of the balls, and painting of what is left.

A ball is a voxel p of the structure with its squared distance r2 to the
background, an integer (see `distance`). It covers the voxels v with
|v - p|^2 < r2. Kernels release the GIL: callers run them in threads, each on its slices.
"""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def enclosing_radii_cpu(
    offset: np.ndarray, weights: np.ndarray, corner: np.ndarray, shift: int, enclosing: np.ndarray
) -> None:
    """enclosing[(r2 - 1) >> shift] <- an r2 that a ball at `offset` >= 0 needs to contain the ball r2 at 0.

    That is 1 + max |v - d|^2 over the voxels v of the ball (Remy and Thiel, Image Vis. Comput. 23 (2005)
    167-175, doi:10.1016/j.imavis.2004.06.007). By mirror symmetry the v that lies farthest from d >= 0 has no
    positive coordinate, so |v| runs over one octant, as far as `corner`. With shift > 0 balls share an
    entry, that of the largest: it asks for too much, never for too little.
    """
    w_z, w_y, w_x = weights[0], weights[1], weights[2]
    enclosing[:] = 0
    for z in range(corner[0] + 1):
        for y in range(corner[1] + 1):
            for x in range(corner[2] + 1):
                entry = (w_z * z * z + w_y * y * y + w_x * x * x) >> shift
                if entry >= enclosing.size:
                    break
                far = w_z * (z + offset[0]) ** 2 + w_y * (y + offset[1]) ** 2 + w_x * (x + offset[2]) ** 2
                enclosing[entry] = max(enclosing[entry], far + 1)
    for entry in range(1, enclosing.size):
        enclosing[entry] = max(enclosing[entry], enclosing[entry - 1])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mark_balls_cpu(
    squared: np.ndarray,
    z: int,
    offsets: np.ndarray,
    tables: np.ndarray,
    shells: np.ndarray,
    enclosing: np.ndarray,
    shift: int,
    kept: np.ndarray,
) -> None:
    """kept[z] <- True for each ball of a slice that no ball at one of the offsets contains, else False.

    The ball at offsets[j] contains that of p if its r2 reaches enclosing[tables[j]]. Then it is the
    larger one, so a chain of such balls ends at one that is kept: together, those kept cover what
    all cover, as largely. shells[k] = (number of offsets, r2 from which on that many are tried).
    """
    n_z, n_y, n_x = squared.shape
    for y in range(n_y):
        for x in range(n_x):
            r2 = squared[z, y, x]
            if r2 == 0:
                kept[z, y, x] = False
                continue
            n_offsets = 0
            for k in range(shells.shape[0]):
                if r2 >= shells[k, 1]:
                    n_offsets = shells[k, 0]
            entry = (r2 - 1) >> shift
            is_kept = True
            for j in range(n_offsets):
                z_q, y_q, x_q = z + offsets[j, 0], y + offsets[j, 1], x + offsets[j, 2]
                if not (0 <= z_q < n_z and 0 <= y_q < n_y and 0 <= x_q < n_x):
                    continue
                if squared[z_q, y_q, x_q] >= enclosing[tables[j], entry]:
                    is_kept = False
                    break
            kept[z, y, x] = is_kept


@numba.njit(nogil=True, cache=True, error_model="numpy")
def list_balls_cpu(
    kept: np.ndarray, squared: np.ndarray, z: int, starts: np.ndarray, ball_x: np.ndarray, ball_r2: np.ndarray
) -> None:
    """x and r2 of the balls of the rows (z, y) of a slice, at starts[z, y] to starts[z, y + 1], largest first."""
    _, n_y, n_x = kept.shape
    for y in range(n_y):
        end = starts[z, y]
        for x in range(n_x):
            if not kept[z, y, x]:
                continue
            r2 = squared[z, y, x]
            i = end
            while i > starts[z, y] and ball_r2[i - 1] < r2:
                ball_x[i] = ball_x[i - 1]
                ball_r2[i] = ball_r2[i - 1]
                i -= 1
            ball_x[i] = x
            ball_r2[i] = r2
            end += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _spread(spans: np.ndarray, n_levels: int, n_x: int) -> None:
    """spans[x] <- largest r2 of the spans over x; level k holds spans of 2^k voxels by their first."""
    for k in range(n_levels - 1, 0, -1):
        half = 1 << (k - 1)
        lower, upper = spans[(k - 1) * n_x : k * n_x], spans[k * n_x : (k + 1) * n_x]
        for x in range(n_x - half):
            lower[x] = max(lower[x], upper[x])
        for x in range(n_x - half):
            lower[x + half] = max(lower[x + half], upper[x])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def paint_balls_cpu(
    starts: np.ndarray,
    ball_x: np.ndarray,
    ball_r2: np.ndarray,
    largest: np.ndarray,
    weights: np.ndarray,
    half_widths: np.ndarray,
    z: int,
    diameter: np.ndarray,
) -> None:
    """diameter[y, x] <- 2 sqrt(r2) of the largest ball that covers each voxel of slice z, else 0.

    A ball cuts a row in 2 h + 1 voxels, h = floor(sqrt((r2 - 1 - w_z dz^2 - w_y dy^2) / w_x)). half_widths holds
    the first of these; the floating-point root of the others is exact as long as r2 < 2^52. A span is
    entered as two overlapping ones of 2^k voxels, whatever its length; all are spread at the end.
    largest[z] is the largest r2 of the balls of slice z.
    """
    n_y, n_x = diameter.shape
    w_z, w_y, w_x = weights[0], weights[1], weights[2]
    log2 = np.zeros(n_x + 1, np.int64)
    for i in range(2, n_x + 1):
        log2[i] = log2[i // 2] + 1
    n_levels = int(log2[n_x]) + 1
    spans = np.empty(n_levels * n_x, ball_r2.dtype)
    for y in range(n_y):
        spans[:] = 0
        for z_q in range(largest.size):
            room = largest[z_q] - 1 - w_z * (z_q - z) * (z_q - z)
            if room < 0:
                continue
            reach = int(math.sqrt(room / w_y))
            for y_q in range(max(0, y - reach), min(n_y, y + reach + 1)):
                d2 = w_z * (z_q - z) * (z_q - z) + w_y * (y_q - y) * (y_q - y)
                for i in range(starts[z_q, y_q], starts[z_q, y_q + 1]):
                    r2 = ball_r2[i]
                    if r2 <= d2:
                        break
                    rest = np.uint64(r2 - 1 - d2)  # unsigned indices need no test for negative ones
                    if rest < half_widths.size:
                        half = np.int64(half_widths[rest])
                    else:
                        half = np.int64(math.sqrt(np.int64(rest) / w_x))
                    first = max(0, ball_x[i] - half)
                    last = min(n_x - 1, ball_x[i] + half)
                    k = log2[np.uint64(last - first + 1)]
                    a = np.uint64(k * n_x + first)
                    b = np.uint64(k * n_x + last + 1 - (1 << k))
                    spans[a] = max(spans[a], r2)
                    spans[b] = max(spans[b], r2)
        _spread(spans, n_levels, n_x)
        for x in range(n_x):
            diameter[y, x] = 2.0 * math.sqrt(spans[x])
