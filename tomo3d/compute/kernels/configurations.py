"""Counting over a grid: configurations of 2 x 2 x 2 voxels, and neighbours of different classes; without the GIL."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def count_configurations_cpu(inside: np.ndarray, first: int, last: int, counts: np.ndarray) -> None:
    """counts[c] += number of cells of 2 x 2 x 2 voxels, lowest planes `first` to before `last`, of configuration c.

    Bit 4 dz + 2 dy + dx of c says whether that voxel is inside. `inside`, uint8 of 0 and 1, must be padded where the
    border counts.
    """
    n_z, n_y, n_x = inside.shape
    for z in range(first, min(last, n_z - 1)):
        for y in range(n_y - 1):
            a, b, c, d = inside[z, y], inside[z, y + 1], inside[z + 1, y], inside[z + 1, y + 1]
            column = 2 * int(a[0]) + 8 * int(b[0]) + 32 * int(c[0]) + 128 * int(d[0])
            for x in range(1, n_x):
                column = (column >> 1) & 0x55
                column += 2 * int(a[x]) + 8 * int(b[x]) + 32 * int(c[x]) + 128 * int(d[x])
                counts[column] += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def count_crossings_cpu(
    classes: np.ndarray,
    planes: tuple[int, int],
    steps: np.ndarray,
    weights: np.ndarray,
    block_of_column: np.ndarray,
    areas: np.ndarray,
    counts: np.ndarray,
) -> None:
    """areas[block, a, b] += the weights, and counts[a, b] += 1, of steps between classes a < b of the padded grid.

    `classes` (n_z + 2, n_y + 2, n_x + 2) is padded by the nearest voxel on each side, and a step with one end in the
    padding counts half. `steps` (n, 3) are (dz, dy, dx), one of each pair of opposite ones. `block_of_column` is padded
    too. `planes` are those of the padded grid.
    """
    n_z, n_y, n_x = classes.shape
    for z in range(planes[0], planes[1]):
        for y in range(n_y):
            for s in range(len(steps)):
                k, j, dx = z + steps[s, 0], y + steps[s, 1], steps[s, 2]
                if k < 0 or k >= n_z or j < 0 or j >= n_y:
                    continue
                starts_in = 0 < z < n_z - 1 and 0 < y < n_y - 1
                ends_in = 0 < k < n_z - 1 and 0 < j < n_y - 1
                if not (starts_in or ends_in):
                    continue
                here, there = classes[z, y], classes[k, j]
                for x in range(max(0, -dx), n_x - max(0, dx)):
                    a, b = here[x], there[x + dx]
                    if a == b:
                        continue
                    n_in = (starts_in and 0 < x < n_x - 1) + (ends_in and 0 < x + dx < n_x - 1)
                    if n_in == 0:
                        continue
                    low, high = min(a, b), max(a, b)
                    share = 0.25 * n_in * weights[s]
                    areas[block_of_column[y, x], low, high] += share
                    areas[block_of_column[j, x + dx], low, high] += share
                    counts[low, high] += 1
