"""Alignment without markers against the truth: a catalyst layer in trouble, axes off, slabs that fill the field.

Few series of each, as one takes 20 s; `python -m benchmarks.marker_free_full FILE` runs all that are wanted.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from benchmarks import misaligned
from benchmarks.cases import Target, Targets
from tomo3d import align, geometry
from tomo3d.types import Alignment, TiltSeries

_N_SERIES = 1
_N_AXES = 5
_N_SLABS = 6


def catalyst_limits_px(trouble: str, noise_fraction: float) -> tuple[float, float]:
    """Wanted across and along the axis: of a clean series, or with noise of 0.3 of the range; in trouble twice that."""
    across, along = (0.10, 0.03) if noise_fraction == 0.0 else (0.5, 0.3)
    factor = 1.0 if trouble == "none" else 2.0
    return factor * across, factor * along


class Catalyst:
    """A simulated catalyst layer: 300 x 300 pixels, 62 views, moved by up to 8 px; _N_SERIES of each."""

    params: ClassVar = (list(misaligned.TROUBLES), [0.0, 0.3], [48, misaligned.N_PIXELS])
    param_names: ClassVar = ("trouble", "noise_fraction", "edge_pixels")
    targets: ClassVar[Targets] = {
        name: {
            (trouble, noise, misaligned.N_PIXELS): Target(at_most=catalyst_limits_px(trouble, noise)[which])
            for trouble in misaligned.TROUBLES
            for noise in (0.0, 0.3)
        }
        for which, name in enumerate(("track_across_px", "track_along_px"))
    }

    def setup(self, trouble: str, noise_fraction: float, edge_pixels: int) -> None:
        self.runs = [
            catalyst_alignment(trouble, noise_fraction, seed, edge_pixels) for seed in range(_N_SERIES)
        ]

    def track_across_px(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """R.m.s. error across the axis, less a + b cos t + c sin t."""
        return _rms([errors[0] for errors, _, _ in self.runs])

    def track_along_px(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """R.m.s. error along the axis, less its mean."""
        return _rms([errors[1] for errors, _, _ in self.runs])

    def track_axis_error_deg(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """The largest."""
        return max(abs(axis) for _, axis, _ in self.runs)

    def track_marker_free_s(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """Mean of the runs."""
        return float(np.mean([seconds for _, _, seconds in self.runs]))

    def track_bound_px(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """Cramer-Rao bound of a shift across the axis against a perfect reference."""
        images = np.asarray(misaligned.catalyst(trouble, 0.0, 0, n_pixels=edge_pixels).series.images)
        return misaligned.bound_px(images, noise_fraction * float(np.ptp(images)))[0]


@functools.cache
def catalyst_alignment(
    trouble: str, noise_fraction: float, seed: int, edge_pixels: int
) -> tuple[tuple[np.ndarray, np.ndarray], float, float]:
    """Errors (across, along) of the views in pixels, that of the axis in degrees, and seconds."""
    acquired = misaligned.catalyst(trouble, noise_fraction, seed, n_pixels=edge_pixels)
    _, alignment, seconds = timed(acquired.series)
    axis = geometry.axis_difference_deg(alignment.tilt_axis_deg[0], acquired.alignment.tilt_axis_deg[0])
    return misaligned.errors_px(alignment, acquired), float(axis), seconds


class TiltAxis:
    """Nominal axes between 10 deg off to either side, noise of 0.1 of the range."""

    params, param_names = ([1, _N_AXES],), ("n_axes",)
    targets: ClassVar[Targets] = {
        "track_mean_error_deg": {(_N_AXES,): Target(at_most=0.05)},
        "track_largest_error_deg": {(_N_AXES,): Target(at_most=0.15)},
    }

    def setup(self, n_axes: int) -> None:
        self.errors = axis_errors(n_axes)

    def track_mean_error_deg(self, n_axes: int) -> float:
        return float(self.errors.mean())

    def track_largest_error_deg(self, n_axes: int) -> float:
        return float(self.errors.max())


@functools.cache
def axis_errors(n_axes: int) -> np.ndarray:
    """Absolute errors of the direction of the axis, in degrees."""
    return np.array([axis_error(number, n_axes) for number in range(n_axes)])


def axis_error(number: int, n_axes: int) -> float:
    """Absolute error, in degrees, of an axis that is as far off as its number says, of so many."""
    off = float(np.linspace(-10.0, 10.0, n_axes)[number])
    acquired = misaligned.with_axis_off(misaligned.catalyst("none", 0.1, number % 5), off)
    found = align.marker_free(acquired.series)
    return abs(float(geometry.axis_difference_deg(found.tilt_axis_deg[0], 0.0)))


class TexturedSlab:
    """Ice without beads that fills the field, 256^2, 41 views, var(signal) / var(noise) = 0.1 in the untilted view."""

    params, param_names = ([1, _N_SLABS],), ("n_slabs",)
    targets: ClassVar[Targets] = {
        "track_error_px": {(_N_SLABS,): Target(at_most=1.0)},
        "track_largest_error_px": {(_N_SLABS,): Target(at_most=1.0)},
        "track_covered_by_90_percent": {(_N_SLABS,): Target(at_least=0.85, at_most=0.95)},
    }

    def setup(self, n_slabs: int) -> None:
        self.errors, self.sigmas, self.seconds = slab_alignments(n_slabs)

    def track_error_px(self, n_slabs: int) -> float:
        """R.m.s. over all slabs, views and both directions."""
        return _rms(self.errors)

    def track_largest_error_px(self, n_slabs: int) -> float:
        """R.m.s. of the worst slab."""
        return max(_rms([each]) for each in self.errors)

    def track_covered_by_90_percent(self, n_slabs: int) -> float:
        """Share of shifts whose stated interval holds the truth."""
        held = [np.abs(error) <= 1.645 * sigma for error, sigma in zip(self.errors, self.sigmas, strict=True)]
        return float(np.mean(held))

    def track_marker_free_s(self, n_slabs: int) -> float:
        return float(np.median(self.seconds))


@functools.cache
def slab_alignments(n_slabs: int) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Errors and standard errors (2, n_views) in pixels, across and along, of each slab; and seconds."""
    errors, sigmas, times = zip(*(slab_alignment(seed) for seed in range(n_slabs)), strict=True)
    return list(errors), list(sigmas), list(times)


@functools.cache
def slab_alignment(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The same of one slab."""
    acquired = misaligned.textured_slab(seed)
    start = time.perf_counter()
    found = align.marker_free(acquired.series, thickness_nm=float(misaligned.ICE_THICKNESS))
    seconds = time.perf_counter() - start
    sigmas = found.evidence["projection_matching"][["sigma_x_nm", "sigma_y_nm"]].to_numpy().T
    return np.stack(misaligned.errors_px(found, acquired)), sigmas / acquired.series.pixel_size_nm, seconds


def _rms(errors: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate([each.ravel() for each in errors])))))


def timed(series: TiltSeries) -> tuple[TiltSeries, Alignment, float]:
    start = time.perf_counter()
    alignment = align.marker_free(series)
    return series, alignment, time.perf_counter() - start
