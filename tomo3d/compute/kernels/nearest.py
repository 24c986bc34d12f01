"""Exact distance to the background and which site is nearest, separable, in integers.

As `distance`, with the nearest background voxel carried along: it has a face to the structure, and is known by its
number in the list of such sites, row by row. Where two are equally near, which one is given depends on their places
relative to the voxel only. Kernels release the GIL.
"""

import numba
import numpy as np

from tomo3d.compute.kernels.distance import _is_hidden
from tomo3d.compute.kernels.feet import mark_sites

_COLUMNS = 16


@numba.njit(nogil=True, cache=True, error_model="numpy")
def nearest_along_x_cpu(
    inside: np.ndarray,
    z: int,
    starts: np.ndarray,
    weight: int,
    unreached: int,
    squared: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """weight * (distance along x)^2 to the nearest background voxel of each row of slice z, and its number.

    Else `unreached` and -1. The sites of row y are numbered from starts[y]; other voxels of the background have -1.
    """
    _, n_y, n_x = inside.shape
    is_site = np.empty(n_x, np.bool_)
    for y in range(n_y):
        mark_sites(inside, z, y, is_site)
        last, site = -1, starts[y] - 1
        for x in range(n_x):
            if inside[z, y, x]:
                squared[z, y, x] = weight * (x - last) * (x - last) if last >= 0 else unreached
                nearest[z, y, x] = site if last >= 0 else -1
            else:
                squared[z, y, x] = 0
                nearest[z, y, x] = -1
                if is_site[x]:
                    site += 1
                    nearest[z, y, x] = site
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
                    nearest[z, y, x] = nearest[z, y, following]


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
