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
            squared[z, y] = 0
            x = 0
            while x < n_x:
                if not inside[z, y, x]:
                    x += 1
                    continue
                first = x
                while x < n_x and inside[z, y, x]:
                    x += 1
                for i in range(first, x):  # background at first - 1 and at x, or the end of the row
                    before = i - first + 1 if first > 0 else n_x
                    behind = x - i if x < n_x else n_x
                    way = min(before, behind)
                    squared[z, y, i] = weight * way * way if way < n_x else unreached


@numba.njit(inline="always")
def _is_hidden(u: int, height_u: int, v: int, height_v: int, i: int, height_i: int, weight: int) -> bool:
    """Whether the parabola at v is nowhere below both those at u and i, u < v < i. No division."""
    a, b, c = v - u, i - v, i - u
    return c * height_v - b * height_u - a * height_i - weight * a * b * c >= 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lower_envelope(
    line: np.ndarray,
    start: int,
    stop: int,
    weight: int,
    unreached: int,
    site: np.ndarray,
    height: np.ndarray,
) -> None:
    """line[i] <- min over j of line[j] + weight (i - j)^2, i and j from `start` up to `stop`, in place; two buffers."""
    top = -1
    for i in range(start, stop):
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
    for i in range(start, stop):
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
    """Lower envelope of every line of a plane, in place: along z in the plane of one y, or along y in that of one z.

    A zero hides all that is beyond it: each stretch without one, and the zeros that bound it, is a line of its own.
    """
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
            i = 0
            while i < n:
                if lines[x, i] == 0:
                    i += 1
                    continue
                first = i
                while i < n and lines[x, i] != 0:
                    i += 1
                _lower_envelope(lines[x], max(0, first - 1), min(n, i + 1), weight, unreached, site, height)
        for i in range(n):
            z, y = (i, plane) if along_z else (plane, i)
            for x in range(n_columns):
                if lines[x, i] != 0:
                    squared[z, y, x0 + x] = lines[x, i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def distance_in_rows_cpu(
    places: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    n_x: int,
    origin: int,
    row_length: int,
    weight: int,
    unreached: int,
    squared: np.ndarray,
) -> None:
    """As `distance_along_x_cpu`, of the voxels of a mask alone, in the rows from `first` up to `last`.

    Row k has the voxels from starts[k] up to starts[k + 1]; places are x + origin + k * row_length.
    """
    for k in range(first, last):
        base = origin + k * row_length
        i = starts[k]
        while i < starts[k + 1]:
            j = i + 1
            while j < starts[k + 1] and places[j] == places[j - 1] + 1:
                j += 1
            is_first, is_last = places[i] == base, places[j - 1] == base + n_x - 1
            for m in range(i, j):
                before = n_x if is_first else m - i + 1
                behind = n_x if is_last else j - m
                way = min(before, behind)
                squared[m] = weight * way * way if way < n_x else unreached
            i = j


@numba.njit(nogil=True, cache=True, error_model="numpy")
def envelopes_in_rows_cpu(
    places: np.ndarray,
    starts: np.ndarray,
    first: int,
    step: int,
    n: int,
    origin: int,
    row_length: int,
    weight: int,
    unreached: int,
    squared: np.ndarray,
    plane: np.ndarray,
) -> None:
    """As `lower_envelopes_cpu`, of the voxels of a mask alone, across `n` rows from `first` on, `step` apart.

    Rows are those of `distance_in_rows_cpu`. `plane` (n, n_x) has zeros, before and after.
    """
    line = np.empty(n, squared.dtype)
    site, height = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        row = first + i * step
        base = origin + row * row_length
        for m in range(starts[row], starts[row + 1]):
            plane[i, places[m] - base] = squared[m]
    for i in range(n):
        row = first + i * step
        base = origin + row * row_length
        for m in range(starts[row], starts[row + 1]):
            x = places[m] - base
            if i > 0 and plane[i - 1, x] != 0:
                continue
            j = i
            while j < n and plane[j, x] != 0:
                line[j] = plane[j, x]
                j += 1
            begin, end = max(0, i - 1), min(n, j + 1)
            if i > 0:
                line[begin] = 0
            if j < n:
                line[j] = 0
            _lower_envelope(line, begin, end, weight, unreached, site, height)
            for k in range(i, j):
                plane[k, x] = line[k]
    for i in range(n):
        row = first + i * step
        base = origin + row * row_length
        for m in range(starts[row], starts[row + 1]):
            squared[m] = plane[i, places[m] - base]
            plane[i, places[m] - base] = 0


@numba.njit(nogil=True, cache=True)
def depths_at_cpu(places: np.ndarray, depth: np.ndarray, wanted: np.ndarray, found: np.ndarray) -> None:
    """found[i] <- the depth of a place that is wanted, 0 where it is not among the places, which ascend."""
    for i in range(len(wanted)):
        low, high = 0, len(places)
        while low < high:
            middle = (low + high) >> 1
            if places[middle] < wanted[i]:
                low = middle + 1
            else:
                high = middle
        found[i] = depth[low] if low < len(places) and places[low] == wanted[i] else 0.0
