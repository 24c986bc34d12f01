"""Positions from differences between pairs, many of which may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_TOLERANCE = 0.75  # pixels: pairs that are off by less always agree
_N_SIGMA = 3.5  # robust standard deviations: pairs that are off by more never do
_CORE = 3  # pairs that must agree on a frame: any two are in agreement with something
_SHRINK = 1.4  # of the scale of the robust fit, from one round to the next
_FIRST_SCALE = 6.0  # pixels: of that fit
_N_LAST = 10  # rounds at the last scale


@dataclass(frozen=True, eq=False)
class Fit:
    """Positions that pairs agree on."""

    shifts: np.ndarray  # (n, 2); nan where not placed
    placed: np.ndarray  # (n,) bool
    agrees: np.ndarray  # (n_pairs,) bool


def consistent_shifts(
    first: np.ndarray,
    second: np.ndarray,
    measured: np.ndarray,
    *,
    usable: np.ndarray,
    start: Fit | None = None,
) -> Fit:
    """Shifts (n, 2) whose differences, second minus first, are those that most pairs measured.

    Pairs start with a weight for every triangle that they close. Least squares with Geman and McClure's weights follow,
    whose scale shrinks to a pixel (graduated non-convexity): more than half of the pairs may be wrong, if they are
    wrong in different ways. Then those who
    agree are fitted alone, and only what at least three agreeing pairs tie to the others is placed (all other frames,
    where there are fewer than four).

    Parameters
    ----------
    first, second : ndarray of int, shape (n_pairs,)
    measured : ndarray, shape (n_pairs, 2)
        Shift of `second` minus shift of `first`.
    usable : ndarray of bool, shape (n_pairs,)
        False for pairs that are not to be believed, however well they agree.
    start : Fit, optional
        An earlier fit, to start from.
    """
    n = int(max(first.max(), second.max())) + 1
    if start is None or not start.placed.any():
        weight = _support(n, first, second, measured) * usable
        scale = _FIRST_SCALE if weight.any() else math.inf
        weight = weight if weight.any() else usable.astype(float)
    else:
        scale = _TOLERANCE
        weight = _weights(_off(start.shifts, first, second, measured), scale) * usable
    n_last = 0
    shifts = np.zeros((n, 2))
    while n_last < _N_LAST:
        shifts = _least_squares(n, first, second, measured, weight)
        off = _off(shifts, first, second, measured)
        scale = max(_TOLERANCE, min(scale, 2.0 * float(off[usable].max())) / _SHRINK)
        n_last += scale == _TOLERANCE
        weight = _weights(off, scale) * usable
    agrees = _agreeing(off) & usable
    placed = _core(n, first, second, agrees)
    agrees &= placed[first] & placed[second]
    if placed.any():
        shifts = _least_squares(n, first, second, measured, agrees.astype(float))
        agrees = _agreeing(_off(shifts, first, second, measured)) & usable & placed[first] & placed[second]
    shifts[~placed] = math.nan
    return Fit(shifts, placed, agrees)


def _support(n: int, first: np.ndarray, second: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """For each pair, how many third positions it agrees on with the two pairs that lead there and back."""
    between = np.full((n, n, 2), math.nan)
    between[first, second] = measured
    between[second, first] = -measured
    support = np.zeros(len(first))
    for third in range(n):
        detour = between[first, third] + between[third, second]
        support += np.hypot(*(detour - measured).T) < 2 * _TOLERANCE  # false where there is no such pair
    return support


def _off(shifts: np.ndarray, first: np.ndarray, second: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Distance between what each pair measured and what the shifts say; inf where a shift is unknown."""
    off = np.hypot(*(measured - (shifts[second] - shifts[first])).T)
    return np.where(np.isfinite(off), off, math.inf)


def _weights(off: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray((1.0 + (off / scale) ** 2) ** -2.0)


def _agreeing(off: np.ndarray) -> np.ndarray:
    """Pairs within the tolerance, which follows the spread of those within it."""
    limit = _TOLERANCE
    for _ in range(3):
        near = off[off <= limit]
        spread = (
            float(np.median(near)) / 1.1774 if len(near) else 0.0
        )  # of a normal distribution in the plane
        limit = max(_TOLERANCE, _N_SIGMA * spread)
    return np.asarray(off <= limit)


def _least_squares(
    n: int, first: np.ndarray, second: np.ndarray, measured: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Shifts of least weighted squares, of mean zero in each set that pairs connect."""
    laplacian, right = np.zeros((n, n)), np.zeros((n, 2))
    np.add.at(laplacian, (first, first), weight)
    np.add.at(laplacian, (second, second), weight)
    np.add.at(laplacian, (first, second), -weight)
    np.add.at(laplacian, (second, first), -weight)
    np.add.at(right, second, weight[:, None] * measured)
    np.add.at(right, first, -weight[:, None] * measured)
    return np.asarray(np.linalg.pinv(laplacian, rcond=1e-10, hermitian=True) @ right)


def _core(n: int, first: np.ndarray, second: np.ndarray, agrees: np.ndarray) -> np.ndarray:
    """The largest connected set in which each has at least three agreeing pairs with others of the set."""
    needed = min(_CORE, n - 1)
    linked = np.zeros((n, n), dtype=bool)
    linked[first[agrees], second[agrees]] = linked[second[agrees], first[agrees]] = True
    inside = np.ones(n, dtype=bool)
    while True:
        keep = inside & ((linked & inside[None, :]).sum(axis=1) >= needed)
        if (keep == inside).all():
            break
        inside = keep
    largest = np.zeros(n, dtype=bool)
    rest = inside.copy()
    while rest.any():
        members = np.zeros(n, dtype=bool)
        members[np.flatnonzero(rest)[0]] = True
        while (grown := inside & (members | linked[members].any(axis=0))).sum() > members.sum():
            members = grown
        rest &= ~members
        if members.sum() > largest.sum():
            largest = members
    return largest
