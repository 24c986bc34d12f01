"""Voxels of a mask given to the nearest source, by the way within the mask. Kernels release the GIL."""

import numba
import numpy as np

_PART = 4096  # places of a ring at once


@numba.njit(nogil=True, cache=True)
def spread_cpu(
    offsets: np.ndarray,
    lengths: np.ndarray,
    sources: np.ndarray,
    owners: np.ndarray,
    owner: np.ndarray,
    unit: float,
) -> None:
    """owner <- that of the nearest source, along chamfer paths through the voxels where it is -1 before.

    `owner` is flat, with a rim of -2, as all that is in no path's way. Paths are counted in steps of `unit`; owner
    stays -1 where no source is reached. Of equally near sources, the first. While a voxel waits, owner is -3 less the
    shortest way to it that is known.
    """
    n_steps = np.empty(26, dtype=np.int64)
    longest = 0
    for k in range(26):
        n_steps[k] = max(1, int(lengths[k] / unit + 0.5))
        longest = max(longest, n_steps[k])
    n_rings = longest + 1
    rings = np.empty((n_rings, max(1024, 2 * len(sources))), dtype=np.int64)
    claims = np.empty(rings.shape, dtype=np.int32)
    filled = np.zeros(n_rings, dtype=np.int64)
    rings[0, : len(sources)] = sources
    claims[0, : len(sources)] = owners
    filled[0] = len(sources)
    empty = 0
    ring = 0
    while empty < n_rings:
        now = ring % n_rings
        empty = empty + 1 if filled[now] == 0 else 0
        done = 0
        while done < filled[now]:
            # In parts, so that no ring can overflow within one.
            part = min(filled[now] - done, _PART)
            if filled.max() + 26 * part > rings.shape[1]:
                rings = _widened(rings, 2 * rings.shape[1] + 26 * part)
                claims = _widened(claims, rings.shape[1])
            _spread_part(offsets, n_steps, ring, done, done + part, rings, claims, filled, owner)
            done += part
        filled[now] = 0
        ring += 1


@numba.njit(nogil=True, cache=True)
def _widened(rows, width):
    wider = np.empty((len(rows), width), dtype=rows.dtype)
    wider[:, : rows.shape[1]] = rows
    return wider


@numba.njit(nogil=True, cache=True)
def _spread_part(offsets, n_steps, ring, first, last, rings, claims, filled, owner):
    """From the places `first` up to `last` of a ring to their neighbours."""
    now = ring % len(rings)
    then = (ring + n_steps) % len(rings)
    waiting = -3 - ring - n_steps
    for i in range(first, last):
        place = rings[now, i]
        if owner[place] >= 0:
            continue
        claim = claims[now, i]
        owner[place] = claim
        for k in range(26):
            other = place + offsets[k]
            known = owner[other]
            if known == -1 or known < waiting[k]:
                owner[other] = waiting[k]
                at = filled[then[k]]
                rings[then[k], at] = other
                claims[then[k], at] = claim
                filled[then[k]] = at + 1


@numba.njit(nogil=True, cache=True)
def count_owned_cpu(owner: np.ndarray, inside: np.ndarray, counts: np.ndarray) -> None:
    """counts[i] <- voxels of the mask whose owner is i."""
    n_z, n_y, n_x = inside.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                if inside[z, y, x] and owner[z, y, x] >= 0:
                    counts[owner[z, y, x]] += 1
