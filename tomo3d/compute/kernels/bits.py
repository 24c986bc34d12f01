"""Volumes of one bit a voxel: rows along x in whole words of 64 bits, flat.

Bit s of word w is voxel 64 w + s of the flat volume. Around the voxels that are asked for lies a rim of zeros: one
plane, one row, and one bit at each end of a row. Words and steps between them are uint64, as numba would make floats of
signed and unsigned. Kernels release the GIL.
"""

import numba
import numpy as np

_1, _7 = np.uint64(1), np.uint64(7)
_6, _63 = np.uint64(6), np.uint64(63)
_DE_BRUIJN, _58 = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
_2, _4, _56 = np.uint64(2), np.uint64(4), np.uint64(56)
_ODD, _PAIRS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_NIBBLES, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_LOWEST = np.zeros(64, dtype=np.uint64)  # number of the lowest bit, by the product with a de Bruijn sequence
for _i in range(64):
    _LOWEST[((int(_DE_BRUIJN) << _i) & (2**64 - 1)) >> 58] = _i


@numba.njit(nogil=True, cache=True, inline="always")
def lowest_bit(word):
    """Number of the lowest bit of a word that is not 0."""
    return _LOWEST[((word & (~word + _1)) * _DE_BRUIJN) >> _58]


@numba.njit(nogil=True, cache=True, inline="always")
def _three(words, word, shift, rest):
    """Three bits from `shift` of a word on, that may go on in the next word; `rest` is 63 - shift."""
    return np.int64(((words[word] >> shift) | ((words[word + _1] << _1) << rest)) & _7)


@numba.njit(nogil=True, cache=True, inline="always")
def neighbourhood(words, place, row, plane):
    """The 27 bits around a voxel and its own, as an integer: voxel (z, y, x), each 0 to 2, is bit 9 z + 3 y + x.

    `row` and `plane` are the steps to the next in words. There is no branch, and no call: calls count references.
    """
    first = place - _1
    shift = first & _63
    rest = _63 - shift
    b = first >> _6
    a, c = b - plane, b + plane
    return (
        _three(words, a - row, shift, rest)
        | _three(words, a, shift, rest) << 3
        | _three(words, a + row, shift, rest) << 6
        | _three(words, b - row, shift, rest) << 9
        | _three(words, b, shift, rest) << 12
        | _three(words, b + row, shift, rest) << 15
        | _three(words, c - row, shift, rest) << 18
        | _three(words, c, shift, rest) << 21
        | _three(words, c + row, shift, rest) << 24
    )


@numba.njit(nogil=True, cache=True)
def set_bits_cpu(words: np.ndarray, places: np.ndarray) -> None:
    """Set the bits at places of the flat volume."""
    for i in range(len(places)):
        place = np.uint64(places[i])
        words[place >> _6] |= _1 << (place & _63)


@numba.njit(nogil=True, cache=True)
def count_bits_cpu(words: np.ndarray, starts: np.ndarray) -> None:
    """starts[i] <- number of bits that are 1 in the words before i; one more than there are words."""
    starts[0] = 0
    for i in range(len(words)):
        word = words[i]
        word -= (word >> _1) & _ODD
        word = (word & _PAIRS) + ((word >> _2) & _PAIRS)
        word = (word + (word >> _4)) & _NIBBLES
        starts[i + 1] = starts[i] + np.int64((word * _BYTES) >> _56)


@numba.njit(nogil=True, cache=True)
def list_bits_cpu(words: np.ndarray, first: int, last: int, places: np.ndarray, start: int) -> None:
    """Places of the bits that are 1, from the word `first` up to `last`, in order: in `places` from `start` on."""
    n = start
    for i in range(first, last):
        word = words[i]
        while word:
            places[n] = 64 * i + np.int64(lowest_bit(word))
            word &= word - _1
            n += 1
