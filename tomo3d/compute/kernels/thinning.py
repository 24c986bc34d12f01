"""Thinning that keeps topology: simple voxels go, level by level, in volumes of one bit a voxel.

What is asked of a voxel needs nine words of a volume that lies in the caches. Of the words only those with voxels
that may go are looked at, 64 voxels at once. Kernels release the GIL.
"""

import numba
import numpy as np

from tomo3d.compute.kernels.bits import lowest_bit, neighbourhood
from tomo3d.compute.kernels.simple import CENTRE, grown, is_thin, known_simple

_0, _1, _6 = np.uint64(0), np.uint64(1), np.uint64(6)
_61, _63, _ALL = np.uint64(61), np.uint64(63), np.uint64(2**64 - 1)


@numba.njit(nogil=True, cache=True)
def count_levels_cpu(depth: np.ndarray, scale: np.float32, counts: np.ndarray) -> None:
    """counts[l] <- voxels at level l, the whole part of their depth times `scale` in float32."""
    for i in range(len(depth)):
        counts[int(depth[i] * scale)] += 1


@numba.njit(nogil=True, cache=True)
def by_levels_cpu(
    depth: np.ndarray, scale: np.float32, places: np.ndarray, ends: np.ndarray, by_level: np.ndarray
) -> None:
    """Places of voxels level by level, each in order.

    ends[l] is where level l begins in `by_level` before, and where it ends after.
    """
    for i in range(len(depth)):
        level = int(depth[i] * scale)
        by_level[ends[level]] = places[i]
        ends[level] += 1


@numba.njit(nogil=True, cache=True)
def mark_ridges_cpu(
    depth: np.ndarray,
    places: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    slope: float,
    is_ridge: np.ndarray,
) -> None:
    """is_ridge[i] <- whether the depth below the surface grows in no direction by `slope` per length or more.

    `depth` is flat; `offsets` lead from a place to the voxels that are compared, at `lengths`.
    """
    for i in range(len(places)):
        place = places[i]
        is_ridge[i] = True
        for k in range(len(offsets)):
            if depth[place + offsets[k]] - depth[place] >= slope * lengths[k]:
                is_ridge[i] = False
                break


@numba.njit(nogil=True, cache=True)
def _leaves_one_alone(apart, place, volume, row, plane):
    """Whether one of the background voxels `apart` around a voxel touches no other voxel of the object."""
    for k in range(27):
        if (apart >> k) & 1:
            step = (np.uint64(k // 9) * plane + np.uint64(k // 3 % 3) * row - plane - row) << _6
            other = place + step + np.uint64(k % 3) - _1
            if neighbourhood(volume, other, row, plane) & ~(1 << (26 - k)) == 0:
                return True
    return False


@numba.njit(nogil=True, cache=True, inline="always")
def _shade(volume, word, direction, row, plane):
    """Voxels of a word whose neighbour in a direction is one of the object."""
    if direction == 0:
        return volume[word - plane]
    if direction == 1:
        return volume[word + plane]
    if direction == 2:
        return volume[word - row]
    if direction == 3:
        return volume[word + row]
    if direction == 4:
        return (volume[word] << _1) | (volume[word - _1] >> _63)
    return (volume[word] >> _1) | (volume[word + _1] << _63)


@numba.njit(nogil=True, cache=True)
def _collect(
    volume, ridge, released, fixed, is_listed, listed, n_listed, candidates, direction, row, plane, answers
):
    """candidates[i] <- voxels of the i-th listed word that can go; words without any to test leave the list.

    Returns how many words are listed now, and how many candidates there are.
    """
    n_kept, n_candidates = 0, 0
    for i in range(n_listed):
        word = listed[i]
        active = volume[word] & released[word] & ~fixed[word]
        if active == _0:
            is_listed[word] = _0
            continue
        listed[n_kept] = word
        to_test = active & ~_shade(volume, word, direction, row, plane)
        chosen = _0
        while to_test:
            bit = to_test & (~to_test + _1)
            place = (word << _6) | lowest_bit(to_test)
            to_test ^= bit
            bits = neighbourhood(volume, place, row, plane) & ~CENTRE
            if (
                (bits & (bits - 1)) == 0
                or (len(ridge) > 0 and ridge[word] & bit and is_thin(bits))
                or not known_simple(bits, answers)
            ):
                fixed[word] |= bit
            else:
                chosen |= bit
                n_candidates += 1
        candidates[n_kept] = chosen
        n_kept += 1
    return n_kept, n_candidates


@numba.njit(nogil=True, cache=True)
def thin_level_cpu(
    volume: np.ndarray,
    ridge: np.ndarray,
    released: np.ndarray,
    fixed: np.ndarray,
    gone: np.ndarray,
    is_listed: np.ndarray,
    listed: np.ndarray,
    candidates: np.ndarray,
    level: np.ndarray,
    row: np.uint64,
    plane: np.uint64,
    answers: np.ndarray,
) -> int:
    """Remove what can go of a level and all that was released before it, direction by direction; how many went.

    Volumes are flat, of bits: the object, voxels that are ridges (or an empty array), and `released` (may go), `fixed`
    (cannot go until one of their neighbours has gone) and `gone` (in this pass), zero before the first level, as
    `is_listed`, all bits of a word or none. `listed` and `candidates` have room for all words that have voxels.
    `level` are the places of the voxels that may go from now on.

    A voxel stays if it has at most one neighbour; and if it is a ridge, where the object is one voxel thick along one
    of the axes as a pass begins. What goes in a pass touches what stays: so a pass takes a layer off, and cannot eat
    up a strand from its end. `answers` are `N_ANSWERS` integers, 0 before the first level, that carry what was found
    out to the next.
    """
    n_listed = 0
    for i in range(len(level)):
        place = np.uint64(level[i])
        word = place >> _6
        released[word] |= _1 << (place & _63)
        if is_listed[word] == _0:
            is_listed[word] = _ALL
            listed[n_listed] = word
            n_listed += 1
    removed, idle, direction = 0, 0, 0
    while idle < 6 and n_listed > 0:
        n_listed, n_candidates = _collect(
            volume,
            ridge,
            released,
            fixed,
            is_listed,
            listed,
            n_listed,
            candidates,
            direction,
            row,
            plane,
            answers,
        )
        before = removed
        n_words = n_listed if n_candidates else 0
        for i in range(n_words):
            word, waiting = listed[i], candidates[i]
            while waiting:
                bit = waiting & (~waiting + _1)
                place = (word << _6) | lowest_bit(waiting)
                waiting ^= bit
                bits = neighbourhood(volume, place, row, plane) & ~CENTRE
                around = neighbourhood(gone, place, row, plane)
                if around:  # its neighbourhood is not what it was
                    if (bits & (bits - 1)) == 0 or not known_simple(bits, answers):
                        continue
                    apart = around & ~grown(bits)
                    if apart and _leaves_one_alone(apart, place, volume, row, plane):
                        continue
                volume[word] ^= bit
                gone[word] |= bit
                removed += 1
                # What is around may be tested again.
                shift = (place - _1) & _63
                at = ((place - _1) >> _6) - plane - row
                unlisted = _0
                for k in range(9):
                    near = at + np.uint64(k // 3) * plane + np.uint64(k % 3) * row
                    three = np.uint64((bits >> (3 * k)) & 7)
                    fixed[near] &= ~(three << shift)
                    unlisted |= released[near] & (three << shift) & ~is_listed[near]
                    if shift > _61:
                        three = (three >> _1) >> (_63 - shift)
                        fixed[near + _1] &= ~three
                        unlisted |= released[near + _1] & three & ~is_listed[near + _1]
                if unlisted:
                    for k in range(18):
                        near = at + np.uint64(k // 6) * plane + np.uint64(k // 2 % 3) * row + np.uint64(k & 1)
                        three = np.uint64((bits >> (3 * (k // 2))) & 7)
                        part = (three >> _1) >> (_63 - shift) if k & 1 else three << shift
                        if released[near] & part & ~is_listed[near]:
                            is_listed[near] = _ALL
                            listed[n_listed] = near
                            n_listed += 1
        for i in range(n_words):
            gone[listed[i]] = _0
        idle = 0 if removed > before else idle + 1
        direction = (direction + 1) % 6
    for i in range(n_listed):
        is_listed[listed[i]] = _0
    return removed
