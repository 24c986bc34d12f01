"""Random patterns of balls without overlap, and distances between points. Kernels release the GIL."""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def place_balls_cpu(
    sites: np.ndarray,
    voxel: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    radii: np.ndarray,
    n_tries: int,
    rng: np.random.Generator,
    positions: np.ndarray,
) -> int:
    """Place balls one after the other at random sites that leave them apart; how many could be placed.

    Ball i takes one of the voxels `sites[first[i] : last[i]]` (n, 3) evenly, at an even place in it: `positions` (n, 3)
    is index times `voxel`. Balls come in a random order. With `n_tries` 0 they may overlap.
    """
    n = len(radii)
    order = rng.permutation(n)
    for k in range(n):
        i = order[k]
        is_placed = False
        for _ in range(max(n_tries, 1)):
            site = sites[rng.integers(first[i], last[i])]
            z = (site[0] + rng.random() - 0.5) * voxel[0]
            y = (site[1] + rng.random() - 0.5) * voxel[1]
            x = (site[2] + rng.random() - 0.5) * voxel[2]
            is_placed = True
            if n_tries > 0:
                for m in range(k):
                    j = order[m]
                    least = radii[i] + radii[j]
                    dz, dy, dx = z - positions[j, 0], y - positions[j, 1], x - positions[j, 2]
                    if dz * dz + dy * dy + dx * dx < least * least:
                        is_placed = False
                        break
            if is_placed:
                positions[i, 0], positions[i, 1], positions[i, 2] = z, y, x
                break
        if not is_placed:
            return k
    return n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def pairs_cpu(positions: np.ndarray, reach: float, counts: np.ndarray, nearest: np.ndarray) -> None:
    """Pairs of points (n, 3) in each of equal classes of distance up to `reach`, and distance to the nearest point."""
    n, n_bins = len(positions), len(counts)
    counts[:] = 0
    nearest[:] = np.inf
    for i in range(n):
        for j in range(i):
            dz = positions[i, 0] - positions[j, 0]
            dy = positions[i, 1] - positions[j, 1]
            dx = positions[i, 2] - positions[j, 2]
            distance = math.sqrt(dz * dz + dy * dy + dx * dx)
            nearest[i] = min(nearest[i], distance)
            nearest[j] = min(nearest[j], distance)
            if distance < reach:
                counts[int(distance / reach * n_bins)] += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def tabulated_pairs_cpu(
    where: np.ndarray, lengths: np.ndarray, reach: float, counts: np.ndarray, nearest: np.ndarray
) -> None:
    """The same of points at the places `where` (n,), between which `lengths` (m, m) are known."""
    n, n_bins = len(where), len(counts)
    counts[:] = 0
    nearest[:] = np.inf
    for i in range(n):
        for j in range(i):
            distance = lengths[where[i], where[j]]
            nearest[i] = min(nearest[i], distance)
            nearest[j] = min(nearest[j], distance)
            if distance < reach:
                counts[int(distance / reach * n_bins)] += 1
