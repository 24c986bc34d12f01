"""Transforms of the frames of a movie, and the power of signal and noise that they show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft

from tomo3d import progress
from tomo3d.compute import backend, correlation

_EDGE = 0.08  # of each width, over which a frame falls to zero
_FLOOR = 0.01  # white noise of this share of the signal's power is taken for granted: no frame is perfect
_KEPT = 0.999  # of what the frequencies tell about shifts; the rest, above, is cut off
_SIGNIFICANT = 3.0  # standard errors by which signal must show in a ring of frequencies
_LEAST_OVERLAP = 0.1  # of the power of a frame: shifts with less are not compared fairly

Shape = tuple[int, int]
ReadFrame = Callable[[int], np.ndarray]
Field = tuple[slice, slice]


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
    """Transforms of one window of each frame, sampled twice as finely as the highest frequency that tells of shifts."""
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


def overlapping_powers(transforms: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
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


def spectra_of_frames(read: ReadFrame, n_frames: int) -> Spectra:
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


def spectra_of_aligned(stack: Stack, shifts: np.ndarray) -> Spectra:
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
