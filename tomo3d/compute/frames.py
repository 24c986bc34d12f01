"""Drift of the frames of a movie: all pairs are correlated, and only what they agree on is believed.

Shifts are (y, x) in pixels: how far the content of a frame must move. The weight of each frequency is that of the
estimator of least variance for a signal in noise, and the spectra of both are measured on the frames themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.fft

from tomo3d import progress
from tomo3d.compute import backend, correlation
from tomo3d.compute.consistency import consistent_shifts

_EDGE = 0.08  # of each width, over which a frame falls to zero
_FLOOR = 0.01  # white noise of this share of the signal's power is taken for granted: no frame is perfect
_KEPT = 0.999  # of what the frequencies tell about shifts; the rest, above, is cut off
_SIGNIFICANT = 3.0  # standard errors by which signal must show in a ring of frequencies
_NEAR = 3.0  # pixels around the agreed shift, where a pair that disagreed is searched again
_ALL_PAIRS = 40  # frames; of more, each is compared with neighbours that are farther and farther apart
_LEAST_OVERLAP = 0.1  # of the power of a frame: shifts with less are not compared fairly
_RESEMBLING = 0.3  # of the usual correlation of a frame with others: with less, it shows something else
_N_ROUNDS = 3  # of the joint refinement

Shape = tuple[int, int]
ReadFrame = Callable[[int], np.ndarray]
Field = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What was measured between pairs of frames: `shift` takes the second onto the first."""

    first: np.ndarray  # (n_pairs,) int
    second: np.ndarray
    shift: np.ndarray  # (n_pairs, 2)
    peak: np.ndarray  # (n_pairs,) normalised correlation
    residual: (
        np.ndarray
    )  # (n_pairs, 2) measured minus what the shifts of the frames say; nan where there are none
    is_second_search: np.ndarray  # (n_pairs,) bool: near what the other pairs agreed on
    is_used: np.ndarray  # (n_pairs,) bool


@dataclass(frozen=True, eq=False)
class Drift:
    """Shifts of the frames, and the pairs behind them."""

    shifts: (
        np.ndarray
    )  # (n_frames, 2); the placed frame nearest their mean is not moved; nan where not placed
    placed: np.ndarray  # (n_frames,) bool: enough pairs agree on where the frame is
    pairs: Pairs
    spectra: Spectra


def find_drift(read: ReadFrame, n_frames: int, *, max_drift: float, max_step: float) -> Drift:
    """How far each of at least two frames, `read(k)` of one shape, must move to match the others.

    No two frames are farther apart than `max_drift` pixels on either axis, and no two that follow one another farther
    than `max_step`. If that is less, pairs are searched within it of what the steps add up to.
    """
    n_y, n_x = (int(n) for n in read(0).shape)
    spectra = _spectra_of_frames(read, n_frames)
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
    spectra = _spectra_of_aligned(stack, drift.shifts[kept] - moved)
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


@dataclass(frozen=True, eq=False)
class Spectra:
    """Power of signal and noise in rings of frequency, evenly from 0 to 1/2 cycle per pixel."""

    signal: np.ndarray
    noise: np.ndarray

    def weight(self, frequency: np.ndarray, n_frames: int = 2) -> np.ndarray:
        """Weight of the products of transforms at these frequencies, when `n_frames` are compared at once, float32."""
        signal, noise = self.signal, self.noise
        weight = signal / (noise * (noise + n_frames * signal))
        weight[0] = 0.0  # the mean
        ring = np.rint(frequency * 2 * (len(signal) - 1)).astype(int)
        known = np.append(weight / weight.max(), 0.0)
        return np.asarray(known[np.minimum(ring, len(signal))], dtype=np.float32)

    def highest(self) -> float:
        """Frequency below which lies almost all that tells of shifts."""
        ring = np.arange(len(self.signal))
        told = np.cumsum(ring**3 * self.signal**2 / (self.noise * (self.noise + 2 * self.signal)))
        return float(np.searchsorted(told, _KEPT * told[-1]) + 1) / (2 * (len(ring) - 1))


@dataclass(frozen=True, eq=False)
class Stack:
    """Transforms of windows of frames, without the frequencies that tell nothing."""

    transforms: np.ndarray  # (n_frames, n_y, n_x // 2 + 1) complex64
    shape: Shape  # (n_y, n_x) of the images that these are transforms of
    scale: np.ndarray  # (2,) pixels of the frames per pixel of these

    @property
    def frequency(self) -> np.ndarray:
        """In cycles per pixel of the frames."""
        y, x = scipy.fft.fftfreq(self.shape[0]), scipy.fft.rfftfreq(self.shape[1])
        return np.hypot(y[:, None] / self.scale[0], x[None, :] / self.scale[1])

    def moved(self, k: int, shift: np.ndarray) -> np.ndarray:
        """Transform k with its content moved."""
        y, x = -2j * np.pi * np.asarray(shift) / self.scale
        turn_y = np.exp(y * scipy.fft.fftfreq(self.shape[0])).astype(np.complex64)
        turn_x = np.exp(x * scipy.fft.rfftfreq(self.shape[1])).astype(np.complex64)
        moved: np.ndarray = self.transforms[k] * turn_y[:, None] * turn_x[None, :]
        return moved

    def peak(
        self, cross: np.ndarray, reach: float, around: np.ndarray, norm: np.ndarray | None = None
    ) -> tuple[np.ndarray, float]:
        """As `correlation.peak`, in pixels of the frames."""
        far = max(1.0, math.ceil(reach / self.scale.min()))
        shift, height = correlation.peak(
            cross, self.shape, reach=far, around=tuple(around / self.scale), norm=norm
        )
        return shift * self.scale, height


def read_stack(read: ReadFrame, fields: list[Field], spectra: Spectra) -> Stack:
    size = [int(f.stop - f.start) for f in fields[0]]
    top = spectra.highest()
    small_y, small_x = (
        min(n, scipy.fft.next_fast_len(max(16, 4 * math.ceil(top * n) + 2), real=True)) for n in size
    )
    transforms = np.empty((len(fields), small_y, small_x // 2 + 1), dtype=np.complex64)
    half = (small_y - 1) // 2
    for k in progress.track(range(len(fields)), "transforms of frames", len(fields)):
        window = np.asarray(read(k)[fields[k]], dtype=np.float32)
        full = scipy.fft.rfft2(correlation.apodise(window, edge=_EDGE), workers=backend.n_threads())
        transforms[k] = 0.0
        transforms[k, : half + 1] = full[: half + 1, : small_x // 2 + 1]
        transforms[k, -half:] = full[-half:, : small_x // 2 + 1]
    return Stack(transforms, (small_y, small_x), np.array([size[0] / small_y, size[1] / small_x]))


def _overlapping_powers(transforms: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Sum of squares of each frame within the window of another, by the shift of the other and by its own.

    A correlation that is not divided by the roots of these favours small shifts, and in a lattice finds them.
    """
    window = correlation.soft_window(shape, edge=_EDGE).astype(np.float32)
    window_transform = scipy.fft.rfft2(window)
    powers = np.empty((2, len(transforms), *shape), dtype=np.float32)
    for k, each in enumerate(transforms):
        square = scipy.fft.irfft2(each, shape, workers=backend.n_threads()) ** 2 / np.maximum(window, 0.05)
        product = scipy.fft.rfft2(square) * np.conj(window_transform)
        for which, transform in enumerate((product, np.conj(product))):
            shared = scipy.fft.irfft2(transform, shape, workers=backend.n_threads())
            powers[which, k] = np.maximum(shared, _LEAST_OVERLAP * shared[0, 0])
    return powers[0], powers[1]


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
    of_first, of_second = _overlapping_powers(weighted, stack.shape)
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
    of_first, of_second = _overlapping_powers(weighted, stack.shape)
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


def _spectra_of_frames(read: ReadFrame, n_frames: int) -> Spectra:
    """Before anything is aligned: noise is white, at the level of the highest frequencies."""
    total, count = np.zeros(1), np.ones(1)
    for k in progress.track(range(n_frames), "spectra of frames", n_frames):
        image = correlation.apodise(np.asarray(read(k), dtype=np.float32), edge=_EDGE)
        transform = scipy.fft.rfft2(image, workers=backend.n_threads())
        if k == 0:
            n_rings = min(image.shape) // 2 + 1
            ring = _rings(_frequency(image.shape), n_rings)
            count = np.maximum(np.bincount(ring, minlength=n_rings + 1)[:n_rings], 1)
            total = np.zeros(n_rings)
        power = transform.real**2 + transform.imag**2
        total += np.bincount(ring, weights=power.ravel(), minlength=n_rings + 1)[: len(total)]
    mean = total / count / n_frames
    noise = np.full_like(mean, np.median(mean[-max(2, len(mean) // 4) :]))
    return _significant(mean - noise, noise, mean / np.sqrt(count * n_frames), count)


def _spectra_of_aligned(stack: Stack, shifts: np.ndarray) -> Spectra:
    """What all frames share, and what they do not."""
    n_frames = len(shifts)
    total = np.zeros(stack.transforms.shape[1:], dtype=np.complex128)
    power = np.zeros(total.shape)
    for k in range(n_frames):
        total += stack.moved(k, shifts[k])
        power += np.abs(stack.transforms[k]) ** 2
    shared = (np.abs(total) ** 2 - power) / (n_frames * (n_frames - 1))
    n_rings = round(min(np.array(stack.shape) * stack.scale)) // 2 + 1
    ring = _rings(stack.frequency, n_rings)
    inside = power.ravel() > 0  # rows beyond those that were kept are empty
    sums = [
        np.bincount(ring, weights=values.ravel() * inside, minlength=n_rings + 1)[:n_rings]
        for values in (np.ones(shared.shape), shared, power / n_frames)
    ]
    count = np.maximum(sums[0], 1.0)
    signal, whole = sums[1] / count, sums[2] / count
    noise = np.maximum(whole - signal, 0.0)
    error = whole * math.sqrt(2.0 / (n_frames * (n_frames - 1))) / np.sqrt(count)
    return _significant(signal, np.where(sums[0] > 0, noise, noise.max()), error, count)


def _significant(signal: np.ndarray, noise: np.ndarray, error: np.ndarray, count: np.ndarray) -> Spectra:
    """Signal only where it shows, and noise never quite absent."""
    signal = np.where(signal > _SIGNIFICANT * error, signal, 0.0)
    signal[0] = 0.0
    if not signal.any():  # nothing shows: whatever there is lies rather at low frequencies
        signal = np.where(np.arange(len(signal)) < len(signal) // 2, error, 0.0)
    floor = _FLOOR * float((signal * count).sum()) / float(count.sum())
    return Spectra(signal, np.maximum(noise, max(floor, 1e-30)))


def _frequency(shape: tuple[int, ...]) -> np.ndarray:
    return np.hypot(scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :])


def _rings(frequency: np.ndarray, n_rings: int) -> np.ndarray:
    """Ring of each frequency, flat; those beyond 1/2 cycle per pixel are in ring `n_rings`."""
    return np.minimum(np.rint(frequency * 2 * (n_rings - 1)).astype(int), n_rings).ravel()
