"""Exact squared Euclidean distance to the background, separable, in integers.

The squared distance between two voxels is w_z dz^2 + w_y dy^2 + w_x dx^2 with
integer weights, so that comparisons are exact. One pass per axis, each in
O(voxels): along x by two sweeps, along y and z as the lower envelope of the
parabolas of a line (Maurer, Qi and Raghavan, IEEE Trans. Pattern Anal. Mach.
Intell. 25 (2003) 265-270, doi:10.1109/TPAMI.2003.1177156). Beyond the volume
there is no background. Kernels release the GIL: callers run them in threads, slab by slab.
"""

import numba
import numpy as np

_COLUMNS = 16  # lines that a thread holds at once: one cache line of int32 in every row that it touches


@numba.njit(nogil=True, cache=True, error_model="numpy")
def distance_along_x_cpu(inside: np.ndarray, weight: int, unreached: int, squared: np.ndarray) -> None:
    """weight * (distance along x to the nearest voxel that is not inside)^2, or `unreached`."""
    n_z, n_y, n_x = inside.shape
    for z in range(n_z):
        for y in range(n_y):
            last = -1
            for x in range(n_x):
                if inside[z, y, x]:
                    squared[z, y, x] = weight * (x - last) * (x - last) if last >= 0 else unreached
                else:
                    squared[z, y, x] = 0
                    last = x
            if last < 0:
                continue
            following = -1
            for x in range(n_x - 1, -1, -1):
                if squared[z, y, x] == 0:
                    following = x
                elif following >= 0:
                    squared[z, y, x] = min(squared[z, y, x], weight * (following - x) * (following - x))


@numba.njit(inline="always")
def _is_hidden(u: int, height_u: int, v: int, height_v: int, i: int, height_i: int, weight: int) -> bool:
    """Whether the parabola at v is nowhere below both those at u and i, u < v < i. No division."""
    a, b, c = v - u, i - v, i - u
    return c * height_v - b * height_u - a * height_i - weight * a * b * c >= 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lower_envelope(
    line: np.ndarray, weight: int, unreached: int, site: np.ndarray, height: np.ndarray
) -> None:
    """line[i] <- min over j of line[j] + weight (i - j)^2, in place; two buffers of the line's length."""
    top = -1
    for i in range(line.size):
        if line[i] == unreached:
            continue
        while top >= 1 and _is_hidden(
            site[top - 1], height[top - 1], site[top], height[top], i, int(line[i]), weight
        ):
            top -= 1
        top += 1
        site[top] = i
        height[top] = line[i]
    if top < 0:
        return
    k = 0
    for i in range(line.size):
        here = height[k] + weight * (i - site[k]) * (i - site[k])
        while k < top:
            following = height[k + 1] + weight * (i - site[k + 1]) * (i - site[k + 1])
            if following > here:
                break
            here = following
            k += 1
        line[i] = here


@numba.njit(nogil=True, cache=True, error_model="numpy")
def lower_envelopes_cpu(squared: np.ndarray, along_z: bool, plane: int, weight: int, unreached: int) -> None:
    """Lower envelope of every line of a plane, in place: along z in the plane of one y, or along y in that of one z."""
    n_x = squared.shape[2]
    n = squared.shape[0 if along_z else 1]
    lines = np.empty((_COLUMNS, n), squared.dtype)
    site = np.empty(n, np.int64)
    height = np.empty(n, np.int64)
    for x0 in range(0, n_x, _COLUMNS):
        n_columns = min(_COLUMNS, n_x - x0)
        for i in range(n):
            z, y = (i, plane) if along_z else (plane, i)
            for x in range(n_columns):
                lines[x, i] = squared[z, y, x0 + x]
        for x in range(n_columns):
            _lower_envelope(lines[x], weight, unreached, site, height)
        for i in range(n):
            z, y = (i, plane) if along_z else (plane, i)
            for x in range(n_columns):
                squared[z, y, x0 + x] = lines[x, i]
