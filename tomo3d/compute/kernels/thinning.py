"""Thinning that keeps topology: (26, 6) simple voxels, found exactly, by arithmetic on 27 bits.

A neighbourhood of 3 x 3 x 3 voxels is an integer: voxel (z, y, x), each 0 to 2, is bit 9 z + 3 y + x. Growing a set of
voxels to its neighbours is then a few shifts, and no table of 2^26 answers is needed. Volumes are flat, of bytes, with
a rim of zeros. Kernels release the GIL.

G. Bertrand and G. Malandain, Pattern Recognition Letters 15 (1994) 169-175, doi:10.1016/0167-8655(94)90046-9
"""

import numba
import numpy as np

# What a byte of the volume says of its voxel; FIXED: it cannot go until one of its neighbours has gone.
OBJECT, RELEASED, QUEUED, RIDGE, GONE, FIXED = 1, 2, 4, 8, 16, 32


def _bits(keep) -> int:
    return sum(
        1 << (9 * z + 3 * y + x)
        for z in range(3)
        for y in range(3)
        for x in range(3)
        if keep(z - 1, y - 1, x - 1)
    )


_PART = 4096  # places of a ring at once
N_ANSWERS = 1 << 14  # a power of 2; so many answers lie in the nearest caches
_CENTRE = 1 << 13
_ALL = (1 << 27) - 1
_N18 = _bits(lambda z, y, x: 1 <= abs(z) + abs(y) + abs(x) <= 2)
_N6 = _bits(lambda z, y, x: abs(z) + abs(y) + abs(x) == 1)
# Sets that may move by one along an axis without leaving the cube.
_X_UP, _X_DOWN = _bits(lambda z, y, x: x < 1), _bits(lambda z, y, x: x > -1)
_Y_UP, _Y_DOWN = _bits(lambda z, y, x: y < 1), _bits(lambda z, y, x: y > -1)
_Z_PAIR, _Y_PAIR, _X_PAIR = (1 << 4) | (1 << 22), (1 << 10) | (1 << 16), (1 << 12) | (1 << 14)


@numba.njit(nogil=True, cache=True)
def _is_simple(bits):
    """Whether the voxel in the middle can go without a change of topology; `bits` are its neighbours."""
    background = ~bits & _N18
    faces = background & _N6
    if faces == 0 or bits == 0:
        return False
    reached = bits & -bits
    while True:
        grown = reached | ((reached & _X_UP) << 1) | ((reached & _X_DOWN) >> 1)
        grown |= ((grown & _Y_UP) << 3) | ((grown & _Y_DOWN) >> 3)
        grown |= ((grown << 9) & _ALL) | (grown >> 9)
        grown &= bits
        if grown == reached:
            break
        reached = grown
    if reached != bits:
        return False
    reached = faces & -faces
    while True:
        grown = reached | ((reached & _X_UP) << 1) | ((reached & _X_DOWN) >> 1)
        grown |= (
            ((reached & _Y_UP) << 3) | ((reached & _Y_DOWN) >> 3) | ((reached << 9) & _ALL) | (reached >> 9)
        )
        grown &= background
        if grown == reached:
            break
        reached = grown
    return (faces & ~reached) == 0


@numba.njit(nogil=True, cache=True, inline="always")
def _known_simple(bits, answers):
    """As `_is_simple`, by the answers given before: bits and answer of the last neighbourhood of each hash."""
    slot = ((bits * 0x9E3779B1) >> 16) & (N_ANSWERS - 1)
    known = answers[slot]
    if known >> 1 == bits:
        return (known & 1) == 1
    is_simple = _is_simple(bits)
    answers[slot] = (bits << 1) | (1 if is_simple else 0)
    return is_simple


@numba.njit(nogil=True, cache=True)
def are_simple_cpu(neighbourhoods: np.ndarray, simple: np.ndarray) -> None:
    """simple[i] <- whether the middle of neighbourhoods[i], 27 bits, is a simple voxel."""
    for i in range(len(neighbourhoods)):
        simple[i] = _is_simple(neighbourhoods[i] & ~_CENTRE)


@numba.njit(nogil=True, cache=True, inline="always")
def _neighbours(volume, place, offsets):
    """Bits of the object's voxels around a place; `offsets` are those of the 27 voxels."""
    bits = 0
    for k in range(27):
        bits |= (volume[place + offsets[k]] & 1) << k
    return bits & ~_CENTRE


@numba.njit(nogil=True, cache=True, inline="always")
def _is_thin(bits):
    """Whether both neighbours along one of the axes are background."""
    return (bits & _Z_PAIR) == 0 or (bits & _Y_PAIR) == 0 or (bits & _X_PAIR) == 0


@numba.njit(nogil=True, cache=True)
def _leaves_none_alone(volume, place, offsets):
    """Whether all voxels around that went in this pass touch another voxel of the object than this one."""
    for k in range(27):
        other = place + offsets[k]
        if volume[other] & GONE:
            touches = False
            for j in range(27):
                near = other + offsets[j]
                if near != place and volume[near] & OBJECT:
                    touches = True
                    break
            if not touches:
                return False
    return True


@numba.njit(nogil=True, cache=True)
def _release_neighbours(volume, place, offsets, active, n_active):
    """What is around a voxel that has gone may go: queue those that are released; how many are queued now."""
    for k in range(27):
        other = place + offsets[k]
        state = volume[other]
        if not state & OBJECT:
            continue
        if state & FIXED:
            state &= ~FIXED & 255
            volume[other] = state
        if state & (RELEASED | QUEUED) == RELEASED:
            active[n_active] = other
            n_active += 1
            volume[other] = state | QUEUED
    return n_active


@numba.njit(nogil=True, cache=True)
def count_levels_cpu(inside: np.ndarray, depth: np.ndarray, scale: np.float32, counts: np.ndarray) -> None:
    """counts[l] <- voxels of the mask at level l, the whole part of their depth times `scale` in float32."""
    n_z, n_y, n_x = inside.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                if inside[z, y, x]:
                    counts[int(depth[z, y, x] * scale)] += 1


@numba.njit(nogil=True, cache=True)
def list_levels_cpu(
    inside: np.ndarray, depth: np.ndarray, scale: np.float32, rim: int, ends: np.ndarray, places: np.ndarray
) -> None:
    """Places of the voxels of the mask in a flat volume with a rim, level by level, each in order.

    ends[l] is where level l begins in `places` before, and where it ends after.
    """
    n_z, n_y, n_x = inside.shape
    for z in range(n_z):
        for y in range(n_y):
            row = ((z + rim) * (n_y + 2 * rim) + y + rim) * (n_x + 2 * rim) + rim
            for x in range(n_x):
                if inside[z, y, x]:
                    level = int(depth[z, y, x] * scale)
                    places[ends[level]] = row + x
                    ends[level] += 1


@numba.njit(nogil=True, cache=True)
def count_owned_cpu(owner: np.ndarray, inside: np.ndarray, counts: np.ndarray) -> None:
    """counts[i] <- voxels of the mask whose owner is i."""
    n_z, n_y, n_x = inside.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                if inside[z, y, x] and owner[z, y, x] >= 0:
                    counts[owner[z, y, x]] += 1


@numba.njit(nogil=True, cache=True)
def thin_level_cpu(volume: np.ndarray, level: np.ndarray, offsets: np.ndarray, answers: np.ndarray) -> int:
    """Remove what can go of a level and all that was released before it, direction by direction; how many went.

    `level` are the places of the voxels that may go from now on. A voxel stays if it has at most one neighbour; and if
    it is marked as a RIDGE, where the object is one voxel thick along one of the axes as a pass begins. What goes in a
    pass touches what stays: so a pass takes a layer off, and cannot eat up a strand from its end. `answers` are
    `N_ANSWERS` integers, 0 before the first level, that carry what was found out to the next.
    """
    steps = np.array([offsets[4], offsets[22], offsets[10], offsets[16], offsets[12], offsets[14]])
    active = np.empty(max(16, 2 * len(level)), dtype=np.int64)
    n_active = len(level)
    for i in range(n_active):
        active[i] = level[i]
        volume[level[i]] |= RELEASED | QUEUED
    removed = 0
    idle = 0
    direction = 0
    while idle < 6 and n_active > 0:
        n_candidates = 0
        candidates = np.empty(n_active, dtype=np.int64)
        step = steps[direction]
        for i in range(n_active):
            place = active[i]
            state = volume[place]
            if state & (OBJECT | FIXED) != OBJECT or volume[place + step] & OBJECT:
                continue
            bits = _neighbours(volume, place, offsets)
            if (
                (bits & (bits - 1)) == 0
                or (state & RIDGE and _is_thin(bits))
                or not _known_simple(bits, answers)
            ):
                volume[place] = state | FIXED
                continue
            candidates[n_candidates] = place
            n_candidates += 1
        before = removed
        for i in range(n_candidates):
            place = candidates[i]
            bits = 0
            gone = 0
            for k in range(27):
                state = int(volume[place + offsets[k]])
                bits |= (state & 1) << k
                gone |= state & GONE
            if gone:  # its neighbourhood is not what it was
                bits &= ~_CENTRE
                if (bits & (bits - 1)) == 0 or not _known_simple(bits, answers):
                    continue
                if not _leaves_none_alone(volume, place, offsets):
                    continue
            volume[place] = (volume[place] & (~OBJECT & 255)) | GONE
            removed += 1
            if n_active + 27 > len(
                active
            ):  # here, not in the loop below, that must not hold the array anew each time
                larger = np.empty(2 * (n_active + 27), dtype=np.int64)
                larger[:n_active] = active[:n_active]
                active = larger
            n_active = _release_neighbours(volume, place, offsets, active, n_active)
        for i in range(n_candidates):
            volume[candidates[i]] &= ~GONE & 255
        idle = 0 if removed > before else idle + 1
        direction = (direction + 1) % 6
        if removed > before:
            kept = 0
            for i in range(n_active):
                if volume[active[i]] & OBJECT:
                    active[kept] = active[i]
                    kept += 1
            n_active = kept
    for i in range(n_active):
        volume[active[i]] &= ~QUEUED & 255
    return removed


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
def mark_ridges_cpu(
    volume: np.ndarray,
    depth: np.ndarray,
    places: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    slope: float,
) -> None:
    """Mark voxels from which the depth below the surface grows in no direction by `slope` per length or more.

    `depth` is flat as `volume`; `offsets` lead to the voxels that are compared, at `lengths`.
    """
    for i in range(len(places)):
        place = places[i]
        is_ridge = True
        for k in range(len(offsets)):
            if depth[place + offsets[k]] - depth[place] >= slope * lengths[k]:
                is_ridge = False
                break
        if is_ridge:
            volume[place] |= RIDGE
