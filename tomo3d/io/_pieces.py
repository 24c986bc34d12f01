"""What every writer of images does with values: take them in pieces, check them, change their type without loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tomo3d.io._images import release
from tomo3d.progress import track
from tomo3d.types import Array

SLAB_BYTES = 1 << 25
_EXACT = {"f2": 2**11, "f4": 2**24, "f8": 2**53}  # largest n such that every whole number up to it is exact


def check_in_main_memory(values: Array, what: str = "values") -> None:
    """Raise TypeError for an array on a GPU."""
    if hasattr(values, "__cuda_array_interface__"):
        raise TypeError(
            f"{what} must lie in main memory to be written, got a GPU array: move them to the CPU first."
        )


def slabs(values: Array, what: str) -> Iterator[tuple[int, np.ndarray]]:
    """First section and sections of each slab of about 32 MiB; a memory map gives its pages back behind each."""
    n_z, n_y, n_x = values.shape
    step = max(1, SLAB_BYTES // (n_y * n_x * np.dtype(values.dtype).itemsize))
    starts = range(0, n_z, step)
    for start in track(starts, what, len(starts)):
        yield start, np.asarray(values[start : start + step])
        release(values)


def converted(slab: np.ndarray, dtype: np.dtype, start: int = 0) -> np.ndarray:
    """The slab in the type of the file, C-ordered, if that loses nothing but the last digits of a float.

    Raises
    ------
    ValueError
        If a value does not fit: not finite, not whole or out of range for integers, an integer that is not exact
        as float. `start` is the number of the first section, for the sentence.
    """
    if dtype.kind != "f":
        _check_whole(slab, dtype)
        return np.ascontiguousarray(slab, dtype=dtype)
    exact = _EXACT[dtype.str[1:]]
    if slab.dtype.kind in "iu" and np.iinfo(slab.dtype).max > exact:
        beyond = (slab > exact) | (slab < -exact) if slab.dtype.kind == "i" else slab > exact
        if beyond.any():
            power = exact.bit_length() - 1
            raise ValueError(
                f"integers must lie within +-2^{power} to be exact as {dtype.name}, got {slab[beyond][0]}: "
                "scale them first."
            )
    with np.errstate(over="ignore"):  # an overflow is infinite, and said below
        result = np.ascontiguousarray(slab, dtype=dtype)
    check_finite(result, start)
    return result


def check_finite(slab: np.ndarray, start: int = 0) -> None:
    """Raise ValueError if a float value is nan or infinite."""
    if slab.dtype.kind != "f":
        return
    wrong = np.count_nonzero(~np.isfinite(slab), axis=(1, 2))
    if wrong.any():
        first = start + int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"values must be finite as {slab.dtype.name} to be written, got {int(wrong.sum()):,} that are not, "
            f"the first in section {first} (0-based)."
        )


def extremes(values: Array) -> tuple[int, int]:
    """Smallest and largest of whole numbers."""
    if np.dtype(values.dtype).kind == "b":
        return 0, 1
    check_in_main_memory(values, "labels")
    ends = [(int(slab.min()), int(slab.max())) for _, slab in slabs(values, "checking labels")]
    return min(low for low, _ in ends), max(high for _, high in ends)


def narrowest(low: int, high: int) -> np.dtype:
    """The smallest unsigned type, else signed one, that holds whole numbers from low to high.

    Raises
    ------
    ValueError
        If none of up to 32 bits does.
    """
    for name in ("u1", "u2", "u4") if low >= 0 else ("i1", "i2", "i4"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return np.dtype("<" + name)
    raise ValueError(f"labels must lie within -2^31 to 2^31, or 0 to 2^32, got {low} to {high}.")


def _check_whole(slab: np.ndarray, dtype: np.dtype) -> None:
    """Raise ValueError unless every value is a whole number in the range of an integer type."""
    limits = np.iinfo(dtype)
    if slab.dtype.kind == "b" or (slab.dtype.kind in "iu" and np.can_cast(slab.dtype, dtype)):
        return
    low, high = slab.min(), slab.max()
    if not (limits.min <= low and high <= limits.max):  # nan is not, either
        raise ValueError(
            f"values must lie within {limits.min} to {limits.max} to be stored as {dtype.name}, got {low} to {high}: "
            "scale them first, or choose another dtype."
        )
    if slab.dtype.kind == "f" and not (np.trunc(slab) == slab).all():
        raise ValueError(
            f"values must be whole numbers to be stored as {dtype.name}, got "
            f"{slab[np.trunc(slab) != slab][0]}: round them first, or choose another dtype."
        )


class Statistics:
    """Minimum, maximum, mean and r.m.s. deviation of values that come in slabs (Chan et al. 1979: stable merging)."""

    def __init__(self) -> None:
        self.minimum, self.maximum = math.inf, -math.inf
        self.n, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, slab: np.ndarray) -> None:
        """Count one more slab."""
        mean = float(slab.mean(dtype=np.float64))
        squares = float(slab.var(dtype=np.float64)) * slab.size
        delta, n = mean - self.mean, self.n + slab.size
        self.squares += squares + delta**2 * self.n * slab.size / n
        self.mean += delta * slab.size / n
        self.n = n
        self.minimum = min(self.minimum, float(slab.min()))
        self.maximum = max(self.maximum, float(slab.max()))

    @property
    def rms(self) -> float:
        """Root mean square deviation from the mean."""
        return math.sqrt(self.squares / self.n)
