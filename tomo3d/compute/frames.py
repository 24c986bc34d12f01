"""Drift of the frames of a movie: all pairs are correlated, and only what they agree on is believed.

Shifts are (y, x) in pixels: how far the content of a frame must move. The weight of each frequency is that of the
estimator of least variance for a signal in noise, and the spectra of both are measured on the frames themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tomo3d import progress
from tomo3d.compute.consistency import consistent_shifts
from tomo3d.compute.frame_stack import (
    Field,
    ReadFrame,
    Shape,
    Spectra,
    Stack,
    overlapping_powers,
    read_stack,
    spectra_of_aligned,
    spectra_of_frames,
)

_NEAR = 3.0  # pixels around the agreed shift, where a pair that disagreed is searched again
_ALL_PAIRS = 40  # frames; of more, each is compared with neighbours that are farther and farther apart
_RESEMBLING = 0.3  # of the usual correlation of a frame with others: with less, it shows something else
_N_ROUNDS = 3  # of the joint refinement


@dataclass(frozen=True, eq=False)
class Pairs:
    """What was measured between pairs of frames: `shift` takes the second onto the first."""

    first: np.ndarray  # (n_pairs,) int
    second: np.ndarray
    shift: np.ndarray  # (n_pairs, 2)
    peak: np.ndarray  # (n_pairs,) normalised correlation
    # (n_pairs, 2) measured minus what the shifts of the frames say; nan where there are none
    residual: np.ndarray
    is_second_search: np.ndarray  # (n_pairs,) bool: near what the other pairs agreed on
    is_used: np.ndarray  # (n_pairs,) bool


@dataclass(frozen=True, eq=False)
class Drift:
    """Shifts of the frames, and the pairs behind them."""

    # (n_frames, 2); the placed frame nearest their mean is not moved; nan where not placed
    shifts: np.ndarray
    placed: np.ndarray  # (n_frames,) bool: enough pairs agree on where the frame is
    pairs: Pairs
    spectra: Spectra


def find_drift(read: ReadFrame, n_frames: int, *, max_drift: float, max_step: float) -> Drift:
    """How far each of at least two frames, `read(k)` of one shape, must move to match the others.

    No two frames are farther apart than `max_drift` pixels on either axis, and no two that follow one another farther
    than `max_step`. If that is less, pairs are searched within it of what the steps add up to.
    """
    n_y, n_x = (int(n) for n in read(0).shape)
    spectra = spectra_of_frames(read, n_frames)
    stack = read_stack(read, [(slice(0, n_y), slice(0, n_x))] * n_frames, spectra)
    near = min(_NEAR, max_step)
    if max_step < max_drift:
        drift = _from_pairs(stack, spectra, near, _added_up(stack, spectra, max_step), near)
    else:
        drift = _from_pairs(stack, spectra, max_drift, np.zeros((n_frames, 2)), near)
    kept = np.flatnonzero(drift.placed)
    fields = common_fields(drift.shifts[kept], (n_y, n_x)) if len(kept) > 1 else None
    if fields is None:
        return drift
    # once more, in windows that follow the content: fixed ones pull every shift towards zero
    stack = read_stack(lambda k: read(int(kept[k])), fields, spectra)
    moved = np.array([[f.start for f in fields[0]]]) - [[f.start for f in field] for field in fields]
    spectra = spectra_of_aligned(stack, drift.shifts[kept] - moved)
    fine = _from_pairs(stack, spectra, near, drift.shifts[kept] - moved, near)
    if not fine.placed.all():
        return drift
    shifts = np.full((n_frames, 2), math.nan)
    shifts[kept] = moved + refine_jointly(stack, spectra, fine.shifts)
    shifts -= shifts[_reference(shifts)]
    return Drift(shifts, drift.placed, _merged(drift.pairs, fine.pairs, kept, moved, shifts), spectra)


def common_fields(shifts: np.ndarray, shape: Shape) -> list[Field] | None:
    """For each frame the window that holds what all frames show; None if it is under a third of a side."""
    whole = np.rint(shifts).astype(int)
    low, high = whole.min(axis=0), whole.max(axis=0)
    size = np.array(shape) - (high - low)
    if (3 * size < np.array(shape)).any():
        return None
    return [
        (slice(y, y + int(size[0])), slice(x, x + int(size[1]))) for y, x in (high - whole).tolist()
    ]  # content that moves up by its shift is found below by as much


def _pairs_of(n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs; of many frames, those 1, 2, 3, 5, 8, ... apart."""
    lags, following = [1, 2], 3
    while following < n_frames:
        lags.append(following)
        following = lags[-1] + lags[-2]
    chosen = [
        (i, j) for i, j in combinations(range(n_frames), 2) if n_frames <= _ALL_PAIRS or j - i in set(lags)
    ]
    first, second = np.array(chosen).T
    return first, second


def _added_up(stack: Stack, spectra: Spectra, max_step: float) -> np.ndarray:
    """Shifts from each frame to the next, added up, (n_frames, 2)."""
    weighted = stack.transforms * np.sqrt(spectra.weight(stack.frequency))
    of_first, of_second = overlapping_powers(weighted, stack.shape)
    shifts = np.zeros((len(weighted), 2))
    for k in range(len(weighted) - 1):
        cross = weighted[k] * np.conj(weighted[k + 1])
        step, _ = stack.peak(cross, max_step, np.zeros(2), np.sqrt(of_first[k] * of_second[k + 1]))
        shifts[k + 1] = shifts[k] + step
    return shifts


def _from_pairs(stack: Stack, spectra: Spectra, reach: float, around: np.ndarray, near: float) -> Drift:
    """Shifts from all pairs, each searched up to `reach` pixels around what `around` (n_frames, 2) says.

    Those that disagree are searched again, up to `near` pixels around what the others say.
    """
    first, second = _pairs_of(len(stack.transforms))
    weighted = stack.transforms * np.sqrt(spectra.weight(stack.frequency))
    of_first, of_second = overlapping_powers(weighted, stack.shape)
    shift, peak = np.empty((len(first), 2)), np.empty(len(first))

    def search(k: int, reach: float, around: np.ndarray) -> None:
        i, j = first[k], second[k]
        norm = np.sqrt(of_first[i] * of_second[j])
        shift[k], height = stack.peak(weighted[i] * np.conj(weighted[j]), reach, around, norm)
        y, x = np.rint(shift[k] / stack.scale).astype(int)
        peak[k] = height / norm[y % stack.shape[0], x % stack.shape[1]]

    for k in progress.track(range(len(first)), "pairs of frames", len(first)):
        search(k, reach, around[second[k]] - around[first[k]])
    usable = _resembling(first, second, peak)
    fit = consistent_shifts(first, second, shift, usable=usable)
    again = ~fit.agrees & fit.placed[first] & fit.placed[second]
    for k in np.flatnonzero(again).tolist():
        search(k, near, fit.shifts[second[k]] - fit.shifts[first[k]])
    fit = consistent_shifts(first, second, shift, usable=usable, start=fit)
    shifts = fit.shifts - fit.shifts[_reference(fit.shifts)] if fit.placed.any() else fit.shifts
    residual = shift - (shifts[second] - shifts[first])
    return Drift(shifts, fit.placed, Pairs(first, second, shift, peak, residual, again, fit.agrees), spectra)


def _resembling(first: np.ndarray, second: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Pairs of frames that resemble the others about as much as those resemble one another, (n_pairs,) bool.

    What is not the specimen can still agree with all others on where it resembles the specimen most.
    """
    n_frames = int(second.max()) + 1
    level = np.array([np.median(peak[(first == k) | (second == k)]) for k in range(n_frames)])
    good = level >= _RESEMBLING * np.median(level)
    return np.asarray(good[first] & good[second])


def refine_jointly(
    stack: Stack, spectra: Spectra, shifts: np.ndarray, *, n_rounds: int = _N_ROUNDS
) -> np.ndarray:
    """Each frame against the sum of all others, in turn: the most likely shifts of all frames together."""
    n_frames = len(shifts)
    weight = spectra.weight(stack.frequency, n_frames)
    for _ in range(n_rounds):
        total = sum(stack.moved(k, shifts[k]) for k in range(n_frames))
        moves = np.empty_like(shifts)
        for k in range(n_frames):
            own = stack.moved(k, shifts[k])
            moves[k], _height = stack.peak((total - own) * np.conj(own) * weight, 1.0, np.zeros(2))
        shifts = shifts + np.clip(moves, -_NEAR, _NEAR)
    return shifts


def _merged(coarse: Pairs, fine: Pairs, kept: np.ndarray, moved: np.ndarray, shifts: np.ndarray) -> Pairs:
    """The pairs of the second round, with those of frames that were not in it; residuals of the final shifts."""
    table = {(i, j): k for k, (i, j) in enumerate(zip(kept[fine.first], kept[fine.second], strict=True))}
    shift, peak = coarse.shift.copy(), coarse.peak.copy()
    again, used = coarse.is_second_search.copy(), coarse.is_used.copy()
    for k, pair in enumerate(zip(coarse.first, coarse.second, strict=True)):
        row = table.get(pair)
        if row is not None:
            shift[k] = fine.shift[row] + moved[fine.second[row]] - moved[fine.first[row]]
            peak[k], again[k] = fine.peak[row], again[k] or fine.is_second_search[row]
            used[k] = fine.is_used[row]
    residual = shift - (shifts[coarse.second] - shifts[coarse.first])
    return Pairs(coarse.first, coarse.second, shift, peak, residual, again, used)


def _reference(shifts: np.ndarray) -> int:
    """The placed frame that is nearest the mean of all."""
    return int(np.nanargmin(((shifts - np.nanmean(shifts, axis=0)) ** 2).sum(axis=1)))
