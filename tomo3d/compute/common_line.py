"""The line that all views of a single-axis series share: their projection onto the tilt axis.

In Fourier space it is the central line along the axis. Shifts are in pixels along it: how far the content of a view
must move. Weights are those of the estimator of least variance for a signal in noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.fft

from tomo3d import geometry
from tomo3d.compute.consistency import consistent_shifts

_HIGHEST = 0.2  # cycles per pixel: of the lines
_LOWEST = 1.5  # cycles per image: slower waves are background
_ALL_PAIRS = 64  # views; of more, each is compared with neighbours that are farther and farther apart
_STEPS = np.linspace(-1.5, 1.5, 25)  # pixels around a shift, in a round of the joint refinement
_N_ROUNDS = 8
_CONVERGED = 1e-3  # pixels
_LEAST_SIGNAL = 1e-3  # of the power of a line
_MISFIT = 0.02  # of the power of the signal: by so much views differ without noise
_LEAST_LEFT = 1e-3  # of the variance: what pixels do to lines that are the same


@dataclass(frozen=True, eq=False)
class Spectra:
    """What lines are made of, on the mean over directions and views: power of signal and noise per frequency."""

    frequency: np.ndarray  # (n_k,) cycles per pixel, in steps of half a cycle per image
    brightness: np.ndarray  # (n_views,) of the signal of each view; powers are those of lines divided by it
    signal: np.ndarray  # (n_k,)
    white: float  # noise
    length: int  # pixels

    def weight(self, n_views: int) -> np.ndarray:
        """Of the square of the sum of so many lines, in the likelihood of a signal that they share, (n_k,)."""
        noise = self.white + _MISFIT * self.signal
        return np.asarray(self.signal / (noise * (noise + n_views * self.signal)))


@dataclass(frozen=True, eq=False)
class Agreement:
    """Shifts along a direction, and how well the lines of the views agree once shifted."""

    shifts: np.ndarray  # (n_views,) of mean zero
    lines: np.ndarray  # (n_views, n_k) shifted, and divided by the brightness of the view
    spectra: Spectra
    pairs_agreeing: np.ndarray  # (n_views,) share of the pairs of each view that its shift agrees with

    @property
    def weighted(self) -> np.ndarray:
        return np.asarray(self.lines * np.sqrt(self.spectra.weight(len(self.lines))))

    def score(self, kept: np.ndarray | slice = slice(None)) -> float:
        """Mean over frequencies of log(total / what the mean line leaves) of the variance of the lines.

        Half of the logarithm of the likelihood ratio of one line in all views to unrelated ones, per view and
        frequency, if signal and noise are Gaussian, whatever their spectra. 0 for noise.
        """
        total, left = self.variances(kept)
        return float(-np.log(left / total + _LEAST_LEFT).mean())

    def fit(self, kept: np.ndarray | slice = slice(None)) -> float:
        """As `score`, with the usual total: of neighbouring directions not the one with most signal in noise wins."""
        _, left = self.variances(kept)
        spectra = self.spectra
        return float(-np.log(left / (spectra.signal + spectra.white) + _LEAST_LEFT).mean())

    def variances(self, kept: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Power of the mean view, and of what differs from the mean line, per frequency, (n_k,) each."""
        lines = self.lines[kept]
        n = len(lines)
        power = np.square(np.abs(lines)).sum(axis=0)
        left = power - np.square(np.abs(lines.sum(axis=0))) / n
        return power / n, left / (n - 1)

    def correlations(self) -> np.ndarray:
        """Of each weighted line with the sum of the others, (n_views,); noise lowers it."""
        weighted = self.weighted
        others = weighted.sum(axis=0) - weighted
        products = (np.conj(weighted) * others).real.sum(axis=1)
        norms = np.linalg.norm(weighted, axis=1) * np.linalg.norm(others, axis=1)
        return np.asarray(products / np.maximum(norms, np.finfo(float).tiny))


def frequencies(shape: tuple[int, int]) -> np.ndarray:
    """Frequencies of the lines of images of this shape, in steps of half a cycle per longer side."""
    length = max(shape)
    return np.arange(math.ceil(2 * _LOWEST), int(2 * _HIGHEST * length) + 1) / (2.0 * length)


def lines(images: np.ndarray, direction_deg: float, frequency: np.ndarray) -> np.ndarray:
    """Transform of each image's projection onto a direction, counter-clockwise from +y, (n_views, n_k).

    By direct sums, about the centre: the Fourier transform of the image on a central line, not interpolated.
    """
    n_views, n_y, n_x = images.shape
    from_y, from_x = geometry.rotation_yx(-direction_deg)[0]
    along_x = np.exp(-2j * np.pi * np.outer(geometry.coordinates(n_x) * from_x, frequency))
    along_y = np.exp(-2j * np.pi * np.outer(frequency, geometry.coordinates(n_y) * from_y))
    basis = np.concatenate((along_x.real, along_x.imag), axis=1).astype(np.float32)
    sums = (images.reshape(-1, n_x) @ basis).reshape(n_views, n_y, 2, len(frequency))
    rows = sums[:, :, 0] + 1j * sums[:, :, 1]
    return np.einsum("vyk,ky->vk", rows, along_y)


def spectra(images: np.ndarray, sampled: np.ndarray) -> Spectra:
    """Of images, and of `sampled` lines (..., n_views, n_k) of theirs in some directions, in white noise."""
    n_y, n_x = images.shape[1:]
    noise = noise_powers(images) * (n_y * n_x)
    power = np.square(np.abs(sampled)).reshape(-1, *sampled.shape[-2:]).mean(axis=0)  # (n_views, n_k)
    signal = np.maximum(power - noise[:, None], _LEAST_SIGNAL * power)
    brightness = np.sqrt((signal / signal.mean(axis=0)).mean(axis=1))
    bright = np.square(brightness)[:, None]
    mean = (power / bright).mean(axis=0)
    noise_power = float((noise / bright[:, 0]).mean())
    shared = np.maximum(mean - noise_power, _LEAST_SIGNAL * mean)
    return Spectra(frequencies((n_y, n_x)), brightness, shared, noise_power, max(n_y, n_x))


def noise_powers(images: np.ndarray) -> np.ndarray:
    """Variance of the white noise of each image, (n_views,).

    From the median of its power beyond 0.4 cycles per pixel, which is ln 2 of the mean of an exponential distribution.
    """
    n_y, n_x = images.shape[1:]
    beyond = np.hypot(scipy.fft.fftfreq(n_y)[:, None], scipy.fft.rfftfreq(n_x)[None]) > 0.4
    medians = [np.median(np.square(np.abs(scipy.fft.rfft2(image)[beyond]))) for image in images]
    return np.array(medians) / (math.log(2.0) * n_y * n_x)


def agreement(transforms: np.ndarray, spectra: Spectra, *, robust: bool) -> Agreement:
    """Shifts of the lines (n_views, n_k) from pairs of them, then of each against the sum of all others.

    Robust: what most of all pairs agree on; else the shifts against the one line that resembles the others most.
    """
    n_views = len(transforms)
    bright = transforms / spectra.brightness[:, None]
    first, second, measured, height = _pairs(bright * np.sqrt(spectra.weight(2)), spectra)
    agreeing = np.full(n_views, math.nan)
    if robust:
        both = np.column_stack((measured, np.zeros_like(measured)))
        fit = consistent_shifts(first, second, both, usable=height > 0)
        counts = [
            np.bincount(np.append(first[p], second[p]), minlength=n_views) for p in (fit.agrees, slice(None))
        ]
        agreeing = counts[0] / counts[1]
        shifts = np.where(fit.placed, fit.shifts[:, 0], 0.0)
    else:
        shifts = _from_hub(n_views, first, second, measured, height)
    weighted = bright * np.sqrt(spectra.weight(n_views))
    shifts = _refined(weighted, spectra.frequency, shifts)
    return Agreement(shifts, bright * _phases(shifts, spectra.frequency), spectra, agreeing)


def between_halves(found: Agreement, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far apart a line fits the sum of the first half of the views, and that of the second, best, (n_views,)."""
    weighted = found.weighted
    steps = []
    for half in (first, second):
        own = np.isin(np.arange(len(weighted)), half)[:, None] * weighted
        steps.append(_best_step(weighted, weighted[half].sum(axis=0) - own, found.spectra.frequency))
    return np.asarray(np.abs(steps[0] - steps[1]))


def standard_errors(found: Agreement) -> np.ndarray:
    """Of the shift of each view, from how its line differs from that of the others, frequency by frequency."""
    k, weighted = 2.0 * np.pi * found.spectra.frequency, found.weighted
    others = (weighted.sum(axis=0) - weighted) / (len(weighted) - 1)
    power = np.square(np.abs(others))
    gain = (np.conj(others) * weighted).real.sum(axis=1) / power.sum(axis=1)
    left = np.square(np.abs(weighted - gain[:, None] * others))
    curvature = np.abs(gain) * (k**2 * power).sum(axis=1)
    # the real part of the noise is half of it; steps of half a cycle per image make two of each independent sample
    return np.asarray(
        np.sqrt((k**2 * power * left).sum(axis=1)) / np.maximum(curvature, np.finfo(float).tiny)
    )


def _pairs(weighted: np.ndarray, spectra: Spectra) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First and second of each pair, shift of the second minus that of the first, and correlation there."""
    n_views = len(weighted)
    lags, following = {1, 2}, 3
    while following < n_views:
        lags.add(following)
        following = following + max(lags - {max(lags)})
    first, second = np.array(
        [(i, j) for i, j in combinations(range(n_views), 2) if n_views <= _ALL_PAIRS or j - i in lags]
    ).T
    # samples of the correlation, one pixel or less apart, over twice the length: nothing wraps around
    n = scipy.fft.next_fast_len(2 * spectra.length, real=True)
    step = 2.0 * spectra.length / n
    index = np.rint(spectra.frequency * 2.0 * spectra.length).astype(int)
    shift, height = np.empty(len(first)), np.empty(len(first))
    for chunk in np.array_split(np.arange(len(first)), max(1, len(first) // 2000)):
        cross = np.zeros((len(chunk), n // 2 + 1), dtype=np.complex64)
        cross[:, index] = weighted[first[chunk]] * np.conj(weighted[second[chunk]])
        correlation = scipy.fft.irfft(cross, n, axis=1)
        top = correlation.argmax(axis=1)
        rows = np.arange(len(chunk))
        left, middle, right = (correlation[rows, (top + o) % n].astype(float) for o in (-1, 0, 1))
        shift[chunk] = (np.where(top > n // 2, top - n, top) + _vertex(left, middle, right)) * step
        height[chunk] = middle
    return first, second, shift, height


def _from_hub(
    n_views: int, first: np.ndarray, second: np.ndarray, shift: np.ndarray, height: np.ndarray
) -> np.ndarray:
    heights, shifts = np.zeros((n_views, n_views)), np.zeros((n_views, n_views))
    heights[first, second] = heights[second, first] = height
    shifts[first, second], shifts[second, first] = shift, -shift
    return np.asarray(shifts[heights.sum(axis=1).argmax()])


def _phases(shifts: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-2j * np.pi * np.outer(shifts, frequency)))


def _refined(weighted: np.ndarray, frequency: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Each line against the sum of all others, again and again."""
    for _ in range(_N_ROUNDS):
        moved = weighted * _phases(shifts, frequency)
        step = _best_step(moved, moved.sum(axis=0) - moved, frequency)
        shifts = shifts + step
        shifts -= shifts.mean()
        if np.abs(step).max() < _CONVERGED:
            break
    return shifts


def _best_step(moved: np.ndarray, reference: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    products = ((np.conj(moved) * reference) @ np.exp(2j * np.pi * np.outer(frequency, _STEPS))).real
    top = np.clip(products.argmax(axis=1), 1, len(_STEPS) - 2)
    rows = np.arange(len(moved))
    vertex = _vertex(*(products[rows, top + o] for o in (-1, 0, 1)))
    return np.asarray(_STEPS[top] + vertex * (_STEPS[1] - _STEPS[0]))


def _vertex(left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where parabolas through three samples are highest, in steps from the middle one, at most one away."""
    curvature = left - 2.0 * middle + right
    safe = np.where(curvature < 0, curvature, -1.0)
    return np.asarray(np.where(curvature < 0, np.clip(0.5 * (left - right) / safe, -1.0, 1.0), 0.0))
