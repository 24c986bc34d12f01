"""Preparation: drift of noisy frames, outliers that were put there, and the time that both take."""

from __future__ import annotations

import functools
import math
from typing import ClassVar

import numpy as np
import scipy.fft

from benchmarks.cases import Target, Targets
from tomo3d import preprocess
from tomo3d.types import TiltSeries

_N_FRAMES = 20
_DRIFT_PX = 3.0
_SEEDS = range(5)
_SPECIMENS = ("amorphous", "particles", "coarse")


@functools.cache
def specimen(kind: str, edge: int, seed: int) -> np.ndarray:
    """Image of variance 1, periodic over `edge` pixels.

    "amorphous": noise of features from 4 pixels up. "particles": 1 per 650 pixels, radii of 2 to 6, as thick as they
    are wide. "coarse": power falling with the cube of the frequency, which leaves little to see a shift by.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(scipy.fft.fftfreq(edge)[:, None], scipy.fft.rfftfreq(edge)[None, :])
    if kind == "particles":
        image = np.zeros((edge, edge))
        y, x = np.indices((17, 17))
        for _ in range(edge * edge // 650):
            top, left = rng.integers(0, edge - 17, 2)
            (cy, cx), radius = rng.uniform(7, 9, 2), rng.uniform(2, 6)
            disc = np.clip(radius + 0.5 - np.hypot(y - cy, x - cx), 0, 1) * radius
            image[top : top + 17, left : left + 17] += disc
    else:
        response = (
            np.exp(-((4.0 * frequency) ** 2)) / np.sqrt(np.maximum(frequency, 4 / edge))
            if kind == "amorphous"
            else np.maximum(frequency, 3 / edge) ** -1.5 * (frequency < 0.25)
        )
        white = scipy.fft.rfft2(rng.standard_normal((edge, edge)))
        image = scipy.fft.irfft2(white * response, (edge, edge))
    return np.asarray((image - image.mean()) / image.std())


@functools.cache
def frames(kind: str, edge: int, ratio: float, seed: int) -> tuple[TiltSeries, np.ndarray, np.ndarray]:
    """A movie of var(signal) / var(noise) = `ratio`, where its content is in each frame, and a frame without noise."""
    rng = np.random.default_rng(seed + 100)
    angle = rng.uniform(0, 2 * np.pi)
    where = np.arange(_N_FRAMES)[:, None] * _DRIFT_PX * np.array([np.sin(angle), np.cos(angle)])
    where = where + rng.normal(0, 0.5, where.shape)
    where -= where.mean(axis=0)
    wide = 2 * edge
    transform = scipy.fft.rfft2(specimen(kind, wide, seed))
    y, x = scipy.fft.fftfreq(wide)[:, None], scipy.fft.rfftfreq(wide)[None, :]
    inner = slice(edge // 2, edge // 2 + edge)
    images = np.empty((_N_FRAMES, edge, edge), dtype=np.float32)
    clean = scipy.fft.irfft2(transform, (wide, wide))[inner, inner]
    sigma = math.sqrt(float(clean.var()) / ratio)
    for k, (down, right) in enumerate(where):
        moved = scipy.fft.irfft2(transform * np.exp(-2j * np.pi * (y * down + x * right)), (wide, wide))
        images[k] = moved[inner, inner] + rng.normal(0, sigma, (edge, edge))
    return TiltSeries(images, np.zeros(_N_FRAMES), 1.0), where, clean


def bound_px(clean: np.ndarray, ratio: float, where: np.ndarray) -> float:
    """The least r.m.s. error, as a distance in the plane, of an unbiased estimate of the shifts (Cramer and Rao).

    Of frames of white noise whose specimen is not known: where n frames see it, each frequency counts for its power
    over that of the noise (S / N) / (1 + N / (n S)), times the area. What all shifts have in common is free.
    """
    window = np.hanning(clean.shape[0])[:, None] * np.hanning(clean.shape[1])[None, :]
    power = np.abs(scipy.fft.fft2(clean * window)) ** 2 / float((window**2).sum())  # per pixel
    signal = power / (float(clean.var()) / ratio)  # over the noise, per frequency
    y, x = (2 * np.pi * scipy.fft.fftfreq(n) for n in clean.shape)
    of_n = {}  # what a field says of shifts along y and x, where n frames see it
    for n in range(2, len(where) + 1):
        told = signal**2 * n / (1.0 + n * signal)
        of_n[n] = np.array([float((told * square).sum()) for square in (y[:, None] ** 2, x[None, :] ** 2)])
    information = np.zeros((2, len(where), len(where)))
    for seen, share in _seen_together(where, clean.shape):
        n = int(seen.sum())
        information += (
            share * of_n[n][:, None, None] * (np.diag(seen.astype(float)) - np.outer(seen, seen) / n)
        )
    variances = [np.linalg.pinv(each, rcond=1e-9, hermitian=True) for each in information]
    return math.sqrt(sum(float(np.trace(each)) for each in variances) / len(where))


def _seen_together(where: np.ndarray, shape: tuple[int, ...]) -> list[tuple[np.ndarray, float]]:
    """Which frames see a part of the specimen, and its size in fields; no parts that fewer than two see."""
    reach = int(np.ceil(np.abs(where).max()))
    seen = [
        (np.arange(-reach, n + reach) + shift >= 0) & (np.arange(-reach, n + reach) + shift < n)
        for n, shifts in zip(shape, where.T, strict=True)
        for shift in shifts[:, None]
    ]
    rows, columns = np.array(seen[: len(where)]), np.array(seen[len(where) :])
    sets = [np.unique(each, axis=1, return_counts=True) for each in (rows, columns)]
    return [
        (row & column, n_rows * n_columns / float(np.prod(shape)))
        for row, n_rows in zip(sets[0][0].T, sets[0][1], strict=True)
        for column, n_columns in zip(sets[1][0].T, sets[1][1], strict=True)
        if (row & column).sum() > 1
    ]


class Frames:
    """20 frames that drift by 3 pixels each, in noise of 20 times the variance of the signal: five movies each.

    Where the specimen is coarse, the bound itself is above the target.
    """

    params, param_names = (list(_SPECIMENS), [256, 512], [0.05]), ("specimen", "edge_px", "var_ratio")
    targets: ClassVar[Targets] = {
        "track_error_px": {(kind, 512, 0.05): Target(at_most=0.2) for kind in _SPECIMENS}
    }

    def setup(self, kind: str, edge: int, ratio: float) -> None:
        self.movies = [frames(kind, edge, ratio, seed) for seed in _SEEDS]

    def track_error_px(self, kind: str, edge: int, ratio: float) -> float:
        """R.m.s. distance in the plane over all frames of the movies, less a constant each; nan if one is left out."""
        squares = []
        for movie, where, _ in self.movies:
            made = preprocess.align_frames(movie)
            error = made.shifts[["shift_y_nm", "shift_x_nm"]].to_numpy() + where
            squares.append(((error - error.mean(axis=0)) ** 2).sum(axis=1))
        return float(np.sqrt(np.mean(squares)))

    def track_bound_px(self, kind: str, edge: int, ratio: float) -> float:
        """The bound of Cramer and Rao beside it."""
        return math.sqrt(np.mean([bound_px(clean, ratio, where) ** 2 for _, where, clean in self.movies]))

    def time_align_frames(self, kind: str, edge: int, ratio: float) -> None:
        preprocess.align_frames(self.movies[0][0])


class Outliers:
    """11 views of discs, from 3 pixels across, with x-ray hits in single views and pixels that are always bright."""

    params, param_names = ([512, 1024],), ("edge_px",)
    targets: ClassVar[Targets] = {
        "track_spikes_found": Target(at_least=0.98),
        "track_fixed_found": Target(at_least=0.98),
        "track_false_per_million": Target(at_most=1.0),
    }

    def setup(self, edge: int) -> None:
        rng = np.random.default_rng(edge)
        n_views, n_spikes, n_fixed = 11, edge // 8, edge // 8
        images = np.empty((n_views, edge, edge), dtype=np.float32)
        self.is_spike = np.zeros(images.shape, dtype=bool)
        self.is_fixed = np.zeros((edge, edge), dtype=bool)
        self.is_fixed[tuple(rng.integers(4, edge - 4, (2, n_fixed)))] = True
        y, x = np.indices((25, 25)) - 12.0
        for k in range(n_views):
            images[k] = rng.normal(100.0, 3.0, (edge, edge))
            for _ in range(edge * edge // 2000):
                top, left = rng.integers(0, edge - 25, 2)
                away = np.hypot(y - rng.uniform(-0.5, 0.5), x - rng.uniform(-0.5, 0.5))
                radius = rng.choice([1.5, 3.0, 8.0])
                images[k, top : top + 25, left : left + 25] += 60.0 * np.clip(radius + 0.5 - away, 0, 1)
            for _ in range(n_spikes):
                top, left = rng.integers(4, edge - 4, 2)
                place = (k, slice(top, top + rng.integers(1, 3)), slice(left, left + rng.integers(1, 3)))
                images[place] += rng.uniform(300.0, 3000.0)
                self.is_spike[place] = True
            images[k][self.is_fixed] += 20.0
        self.series = TiltSeries(images, np.arange(float(n_views)), 1.0)

    def track_spikes_found(self, edge: int) -> float:
        """Share of the pixels that were hit."""
        return float(self._changed()[self.is_spike & ~self.is_fixed].mean())

    def track_fixed_found(self, edge: int) -> float:
        """Share of the pixels that are always bright, by under seven standard deviations of the noise."""
        return float(self._changed()[:, self.is_fixed].mean())

    def track_false_per_million(self, edge: int) -> float:
        """Pixels that were changed for nothing."""
        return float(self._changed()[~(self.is_spike | self.is_fixed)].mean()) * 1e6

    def time_remove_outliers(self, edge: int) -> None:
        preprocess.remove_outliers(self.series)

    def _changed(self) -> np.ndarray:
        made = preprocess.remove_outliers(self.series).images
        return np.asarray(made != self.series.images)


class Binning:
    """61 views on pixels four times as large."""

    params, param_names = ([512, 1024], ["mean", "fourier"]), ("edge_px", "mode")

    def setup(self, edge: int, mode: str) -> None:
        images = np.random.default_rng(0).random((61, edge, edge), dtype=np.float32)
        self.series = TiltSeries(images, np.arange(61.0), 1.0)

    def time_bin_views(self, edge: int, mode: str) -> None:
        preprocess.bin_views(self.series, factor=4, mode=mode)  # type: ignore[arg-type]
