"""Pieces of the background of a mask, as runs along x joined by faces. The kernel releases the GIL."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def _root(parent, run):
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@numba.njit(nogil=True, cache=True)
def count_runs_cpu(inside: np.ndarray, starts: np.ndarray) -> int:
    """Number of runs of background; starts[z * n_y + y] <- that before each row, and behind all."""
    n_z, n_y, n_x = inside.shape
    n = 0
    for z in range(n_z):
        for y in range(n_y):
            starts[z * n_y + y] = n
            before = True
            for x in range(n_x):
                now = inside[z, y, x]
                if before and not now:
                    n += 1
                before = now
    starts[n_z * n_y] = n
    return n


@numba.njit(nogil=True, cache=True)
def fill_cavities_cpu(
    inside: np.ndarray, starts: np.ndarray, first: np.ndarray, last: np.ndarray, parent: np.ndarray
):
    """Fill the runs of the background that are joined to none at the border of the volume; voxels filled.

    `first`, `last` and `parent` are as long as there are runs, and are written to.
    """
    n_z, n_y, n_x = inside.shape
    n = 0
    is_open = np.zeros(len(parent), dtype=np.bool_)
    for z in range(n_z):
        for y in range(n_y):
            before = True
            for x in range(n_x):
                now = inside[z, y, x]
                if before and not now:
                    first[n], parent[n] = x, n
                    n += 1
                if not now:
                    last[n - 1] = x
                before = now
            row = z * n_y + y
            for other in (row - n_y if z > 0 else -1, row - 1 if y > 0 else -1):
                if other < 0:
                    continue
                a, b = starts[row], starts[other]
                while a < starts[row + 1] and b < starts[other + 1]:
                    if first[a] <= last[b] and first[b] <= last[a]:
                        one, two = _root(parent, a), _root(parent, b)
                        parent[max(one, two)] = min(one, two)
                    if last[a] < last[b]:
                        a += 1
                    else:
                        b += 1
    for z in range(n_z):
        for y in range(n_y):
            is_rim = z == 0 or y == 0 or z == n_z - 1 or y == n_y - 1
            for run in range(starts[z * n_y + y], starts[z * n_y + y + 1]):
                if is_rim or first[run] == 0 or last[run] == n_x - 1:
                    is_open[_root(parent, run)] = True
    n_filled = 0
    for z in range(n_z):
        for y in range(n_y):
            for run in range(starts[z * n_y + y], starts[z * n_y + y + 1]):
                if not is_open[_root(parent, run)]:
                    for x in range(first[run], last[run] + 1):
                        inside[z, y, x] = True
                    n_filled += last[run] + 1 - first[run]
    return n_filled
