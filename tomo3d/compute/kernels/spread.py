"""Voxels of a mask given to the nearest source, by the way within the mask. Kernels release the GIL."""

import numba
import numpy as np

from tomo3d.compute.kernels.bits import lowest_bit, neighbourhood

_PART = 4096  # places of a ring at once
_1, _6, _63 = np.uint64(1), np.uint64(6), np.uint64(63)


@numba.njit(nogil=True, cache=True)
def spread_cpu(
    offsets: np.ndarray,
    lengths: np.ndarray,
    reached: np.ndarray,
    sources: np.ndarray,
    owners: np.ndarray,
    waiting: np.ndarray,
    counted: np.ndarray,
    border: np.ndarray,
    row: np.uint64,
    plane: np.uint64,
    counts: np.ndarray,
    on_border: np.ndarray,
) -> None:
    """Give each voxel that is `waiting` to the owner of the nearest source, along chamfer paths through such voxels.

    Volumes are of bits; none is waiting after but what no source reaches. `offsets` lead to the 27 voxels around one,
    itself too; those of the bits reached[j] are lengths[j] steps away, whole numbers that ascend. counts[i] <- voxels
    of owner i that are `counted`, bits too; on_border[i] <- whether one of them is in `border`.

    A voxel waits in a ring until its nearest neighbours are due, which are given to its owner if they are nobody's
    yet, and then for the next nearest: so it is visited once for each length at most, and needs no distance kept.
    """
    n_rings = lengths.max() + 1
    rings = np.empty((n_rings, max(1024, 2 * len(sources))), dtype=np.int64)
    claims = np.empty(rings.shape, dtype=np.int32)
    stages = np.empty(rings.shape, dtype=np.int8)
    filled = np.zeros(n_rings, dtype=np.int64)
    for i in range(len(sources)):
        place = np.uint64(sources[i])
        word, bit = place >> _6, _1 << (place & _63)
        if counted[word] & waiting[word] & bit:
            counts[owners[i]] += 1
            on_border[owners[i]] |= border[word] & bit != 0
        waiting[word] &= ~bit
    first = lengths[0] % n_rings
    rings[first, : len(sources)] = sources
    claims[first, : len(sources)] = owners
    stages[first, : len(sources)] = 0
    filled[first] = len(sources)
    empty = 0
    ring = 0
    while empty < n_rings:
        now = ring % n_rings
        empty = empty + 1 if filled[now] == 0 else 0
        done = 0
        while done < filled[now]:
            # In parts, so that no ring can overflow within one.
            part = min(filled[now] - done, _PART)
            if filled.max() + 27 * part > rings.shape[1]:
                rings = _widened(rings, 2 * rings.shape[1] + 27 * part)
                claims = _widened(claims, rings.shape[1])
                stages = _widened(stages, rings.shape[1])
            _spread_part(
                offsets, lengths, reached, ring, done, done + part, rings, claims, stages, filled, waiting, counted,
                border, row, plane, counts, on_border,
            )  # fmt: skip
            done += part
        filled[now] = 0
        ring += 1


@numba.njit(nogil=True, cache=True)
def _widened(rows, width):
    wider = np.empty((len(rows), width), dtype=rows.dtype)
    wider[:, : rows.shape[1]] = rows
    return wider


@numba.njit(nogil=True, cache=True)
def _spread_part(
    offsets,
    lengths,
    reached,
    ring,
    first,
    last,
    rings,
    claims,
    stages,
    filled,
    waiting,
    counted,
    border,
    row,
    plane,
    counts,
    on_border,
):
    """From the places `first` up to `last` of a ring to those of their neighbours that are due."""
    now = ring % len(rings)
    ahead = (ring + lengths[0]) % len(rings)
    for i in range(first, last):
        place, claim, stage = rings[now, i], claims[now, i], stages[now, i]
        around = neighbourhood(waiting, np.uint64(place), row, plane)
        due = np.uint64(around & reached[stage])
        while due:
            k = lowest_bit(due)
            due &= due - _1
            other = place + offsets[k]
            word, bit = np.uint64(other) >> _6, _1 << (np.uint64(other) & _63)
            waiting[word] ^= bit
            if counted[word] & bit:
                counts[claim] += 1
                if border[word] & bit:
                    on_border[claim] = True
            at = filled[ahead]
            rings[ahead, at] = other
            claims[ahead, at] = claim
            stages[ahead, at] = 0
            filled[ahead] = at + 1
        if around & ~reached[stage]:
            later = (ring + lengths[stage + 1] - lengths[stage]) % len(rings)
            at = filled[later]
            rings[later, at] = place
            claims[later, at] = claim
            stages[later, at] = stage + 1
            filled[later] = at + 1
