"""Flooding from seeds in the order of falling height: the widest way to each voxel. Kernels release the GIL."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def flood_cpu(
    height: np.ndarray, offsets: np.ndarray, n_heights: int, following: np.ndarray, reached: np.ndarray
) -> None:
    """reached <- the largest over all paths from a seed of the least height on the path.

    Seeds are the voxels where `reached` is not 0 when it comes; heights are 0 (a wall) to n_heights. A bucket for
    each height holds the voxels to visit, chained by `following`.
    """
    n_z, n_y, n_x = height.shape
    head = np.full(n_heights + 1, -1, following.dtype)
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                level = reached[z, y, x]
                if level > 0:
                    voxel = (z * n_y + y) * n_x + x
                    following[voxel] = head[level]
                    head[level] = voxel
    for level in range(n_heights, 0, -1):
        while head[level] >= 0:
            voxel = head[level]
            head[level] = following[voxel]
            x = voxel % n_x
            y = (voxel // n_x) % n_y
            z = voxel // (n_x * n_y)
            for j in range(offsets.shape[0]):
                k, i, h = z + offsets[j, 0], y + offsets[j, 1], x + offsets[j, 2]
                if not (0 <= k < n_z and 0 <= i < n_y and 0 <= h < n_x):
                    continue
                if height[k, i, h] == 0 or reached[k, i, h] > 0:
                    continue
                found = min(height[k, i, h], level)
                reached[k, i, h] = found
                near = (k * n_y + i) * n_x + h
                following[near] = head[found]
                head[found] = near
