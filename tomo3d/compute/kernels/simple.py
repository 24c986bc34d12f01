"""Simple voxels, (26, 6), found exactly, by arithmetic on 27 bits.

A neighbourhood of 3 x 3 x 3 voxels is an integer: voxel (z, y, x), each 0 to 2, is bit 9 z + 3 y + x. Growing a set of
voxels to its neighbours is then a few shifts, and no table of 2^26 answers is needed. Kernels release the GIL.

G. Bertrand and G. Malandain, Pattern Recognition Letters 15 (1994) 169-175, doi:10.1016/0167-8655(94)90046-9
"""

import numba
import numpy as np


def _bits(keep) -> int:
    return sum(
        1 << (9 * z + 3 * y + x)
        for z in range(3)
        for y in range(3)
        for x in range(3)
        if keep(z - 1, y - 1, x - 1)
    )


N_ANSWERS = 1 << 14  # a power of 2; so many answers lie in the nearest caches
CENTRE = 1 << 13
_ALL = (1 << 27) - 1
_N18 = _bits(lambda z, y, x: 1 <= abs(z) + abs(y) + abs(x) <= 2)
_N6 = _bits(lambda z, y, x: abs(z) + abs(y) + abs(x) == 1)
# Sets that may move by one along an axis without leaving the cube.
_X_UP, _X_DOWN = _bits(lambda z, y, x: x < 1), _bits(lambda z, y, x: x > -1)
_Y_UP, _Y_DOWN = _bits(lambda z, y, x: y < 1), _bits(lambda z, y, x: y > -1)
_Z_PAIR, _Y_PAIR, _X_PAIR = (1 << 4) | (1 << 22), (1 << 10) | (1 << 16), (1 << 12) | (1 << 14)


@numba.njit(nogil=True, cache=True, inline="always")
def grown(bits):
    """Voxels of a neighbourhood and what touches them."""
    larger = bits | ((bits & _X_UP) << 1) | ((bits & _X_DOWN) >> 1)
    larger |= ((larger & _Y_UP) << 3) | ((larger & _Y_DOWN) >> 3)
    return larger | ((larger << 9) & _ALL) | (larger >> 9)


@numba.njit(nogil=True, cache=True)
def is_simple(bits):
    """Whether the voxel in the middle can go without a change of topology; `bits` are its neighbours."""
    background = ~bits & _N18
    faces = background & _N6
    if faces == 0 or bits == 0:
        return False
    reached = bits & -bits
    while True:
        larger = grown(reached) & bits
        if larger == reached:
            break
        reached = larger
    if reached != bits:
        return False
    reached = faces & -faces
    while True:
        larger = reached | ((reached & _X_UP) << 1) | ((reached & _X_DOWN) >> 1)
        larger |= (
            ((reached & _Y_UP) << 3) | ((reached & _Y_DOWN) >> 3) | ((reached << 9) & _ALL) | (reached >> 9)
        )
        larger &= background
        if larger == reached:
            break
        reached = larger
    return (faces & ~reached) == 0


@numba.njit(nogil=True, cache=True, inline="always")
def known_simple(bits, answers):
    """As `is_simple`, by the answers given before: bits and answer of the last neighbourhood of each hash."""
    slot = ((bits * 0x9E3779B1) >> 16) & (N_ANSWERS - 1)
    known = answers[slot]
    if known >> 1 == bits:
        return (known & 1) == 1
    can_go = is_simple(bits)
    answers[slot] = (bits << 1) | (1 if can_go else 0)
    return can_go


@numba.njit(nogil=True, cache=True)
def are_simple_cpu(neighbourhoods: np.ndarray, simple: np.ndarray) -> None:
    """simple[i] <- whether the middle of neighbourhoods[i], 27 bits, is a simple voxel."""
    for i in range(len(neighbourhoods)):
        simple[i] = is_simple(neighbourhoods[i] & ~CENTRE)


@numba.njit(nogil=True, cache=True, inline="always")
def is_thin(bits):
    """Whether both neighbours along one of the axes are background."""
    return (bits & _Z_PAIR) == 0 or (bits & _Y_PAIR) == 0 or (bits & _X_PAIR) == 0
