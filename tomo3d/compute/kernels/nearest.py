"""Exact distance to the background and which background voxel is nearest, separable, in integers.

As `distance`, with the nearest voxel carried along: its index in the flattened array. Where two are equally near,
which one is given depends on their places relative to the voxel only. Kernels release the GIL.
"""

import numba
import numpy as np

from tomo3d.compute.kernels.distance import _is_hidden

_COLUMNS = 16


@numba.njit(nogil=True, cache=True, error_model="numpy")
def nearest_along_x_cpu(
    inside: np.ndarray, first: int, weight: int, unreached: int, squared: np.ndarray, nearest: np.ndarray
) -> None:
    """weight * (distance along x)^2 to the nearest voxel of the row that is not inside, and its index; else
    `unreached` and -1. `first` is the index of inside[0, 0, 0]."""
    n_z, n_y, n_x = inside.shape
    for z in range(n_z):
        for y in range(n_y):
            row = first + (z * n_y + y) * n_x
            last = -1
            for x in range(n_x):
                if inside[z, y, x]:
                    squared[z, y, x] = weight * (x - last) * (x - last) if last >= 0 else unreached
                    nearest[z, y, x] = row + last if last >= 0 else -1
                else:
                    squared[z, y, x] = 0
                    nearest[z, y, x] = row + x
                    last = x
            if last < 0:
                continue
            following = -1
            for x in range(n_x - 1, -1, -1):
                if squared[z, y, x] == 0:
                    following = x
                elif following >= 0:
                    d2 = weight * (following - x) * (following - x)
                    if d2 < squared[z, y, x]:
                        squared[z, y, x] = d2
                        nearest[z, y, x] = row + following


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _nearest_envelope(
    line: np.ndarray,
    voxel: np.ndarray,
    weight: int,
    unreached: int,
    site: np.ndarray,
    height: np.ndarray,
    source: np.ndarray,
) -> None:
    """line[i] <- min over j of line[j] + weight (i - j)^2, voxel[i] <- voxel[j] of that j; in place."""
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
        source[top] = voxel[i]
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
        voxel[i] = source[k]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def nearest_envelopes_cpu(
    squared: np.ndarray, nearest: np.ndarray, along_z: bool, plane: int, weight: int, unreached: int
) -> None:
    """The envelope of every line of a plane, in place: along z in the plane of one y, or along y in that of one z."""
    n_x = squared.shape[2]
    n = squared.shape[0 if along_z else 1]
    lines = np.empty((_COLUMNS, n), squared.dtype)
    voxels = np.empty((_COLUMNS, n), nearest.dtype)
    site = np.empty(n, np.int64)
    height = np.empty(n, np.int64)
    source = np.empty(n, nearest.dtype)
    for x0 in range(0, n_x, _COLUMNS):
        n_columns = min(_COLUMNS, n_x - x0)
        for i in range(n):
            z, y = (i, plane) if along_z else (plane, i)
            for x in range(n_columns):
                lines[x, i] = squared[z, y, x0 + x]
                voxels[x, i] = nearest[z, y, x0 + x]
        for x in range(n_columns):
            _nearest_envelope(lines[x], voxels[x], weight, unreached, site, height, source)
        for i in range(n):
            z, y = (i, plane) if along_z else (plane, i)
            for x in range(n_columns):
                squared[z, y, x0 + x] = lines[x, i]
                nearest[z, y, x0 + x] = voxels[x, i]
