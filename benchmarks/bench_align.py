"""Alignment without markers: the real needle, and a simulated catalyst layer with known truth."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks import needle
from benchmarks.cases import Target, Targets
from tomo3d import align, geometry
from tomo3d.phantoms import Acquisition, Microscope, acquire, catalyst_layer
from tomo3d.types import Alignment, TiltSeries

_PATHS = {path.name: path for path in (needle.FULL, needle.CROP)}
_PIXEL_NM = 2.0
_SHIFT_NM = 8.0
_AXIS_ERROR_DEG = 4.0


@functools.cache
def needle_alignment(path: Path) -> tuple[TiltSeries, Alignment, float]:
    """A series of the needle, its alignment, and the seconds that took; once for all figures."""
    return _timed(needle.read(path))


@functools.cache
def simulated_alignment(noise_fraction: float) -> tuple[Acquisition, Alignment, float]:
    """A catalyst layer as a microscope records it, its alignment, and the seconds that took."""
    microscope = Microscope(shift_nm=_SHIFT_NM, axis_error_deg=_AXIS_ERROR_DEG, noise_fraction=noise_fraction)
    acquired = acquire(catalyst_layer(), pixel_size_nm=_PIXEL_NM, microscope=microscope)
    _, alignment, seconds = _timed(acquired.series)
    return acquired, alignment, seconds


@functools.cache
def plane_error(path: Path, column: int, is_aligned: bool) -> float:
    """How badly the other views predict a view in one plane across the needle."""
    series, alignment, _ = needle_alignment(path)
    used = alignment if is_aligned else geometry.nominal_alignment(series)
    row = needle.aligned_row(series, used, column)
    return float(needle.leave_one_out(align.apply(series, used), [row])[0])


class Needle:
    """The whole series, 256 x 256 pixels, or the crop that is shipped: 77 views that jump by up to 39 pixels."""

    params, param_names = (list(_PATHS),), ("file",)
    targets: ClassVar[Targets] = {"track_center_of_mass_px": Target(at_most=0.30)}

    def setup(self, file: str) -> None:
        self.series, self.alignment, self.seconds = needle_alignment(_present(file))

    def track_marker_free_s(self, file: str) -> float:
        return self.seconds

    def track_raw_center_of_mass_px(self, file: str) -> float:
        return needle.center_of_mass_px(needle.unaligned(self.series))

    def track_center_of_mass_px(self, file: str) -> float:
        return needle.center_of_mass_px(align.apply(self.series, self.alignment))


class NeedlePlanes:
    """How badly the other views predict a view, in three planes across the needle of the whole series."""

    params, param_names = (list(needle.COLUMNS),), ("column",)
    targets: ClassVar[Targets] = {"track_error_over_raw": Target(at_most=1 / 3)}

    def setup(self, column: int) -> None:
        path = _present(needle.FULL.name)
        self.raw, self.aligned = (plane_error(path, column, is_aligned) for is_aligned in (False, True))

    def track_raw_error(self, column: int) -> float:
        return self.raw

    def track_error(self, column: int) -> float:
        return self.aligned

    def track_error_over_raw(self, column: int) -> float:
        return self.aligned / self.raw


class Simulated:
    """A catalyst layer, pixel 2 nm, views moved by up to 4 pixels, nominal axis 4 deg off.

    Targets are what `marker_free` claims.
    """

    params, param_names = ([0.0, 0.1, 0.3],), ("noise_fraction",)
    targets: ClassVar[Targets] = {
        name: {(0.0,): Target(at_most=0.2), (0.1,): Target(at_most=0.5), (0.3,): Target(at_most=0.5)}
        for name in ("track_shift_across_px", "track_shift_along_px")
    }

    def setup(self, noise_fraction: float) -> None:
        self.acquired, self.alignment, self.seconds = simulated_alignment(noise_fraction)
        error_nm = self.alignment.shifts_nm - self.acquired.alignment.shifts_nm
        self.along, self.across = error_nm.T / _PIXEL_NM

    def track_marker_free_s(self, noise_fraction: float) -> float:
        return self.seconds

    def track_shift_across_px(self, noise_fraction: float) -> float:
        """R.m.s. error across the axis, less a + b cos t + c sin t: where the specimen and its axis are is free."""
        tilt = np.deg2rad(self.acquired.series.tilt_angles_deg)
        orbit = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
        fit = orbit @ np.linalg.lstsq(orbit, self.across, rcond=None)[0]
        return float(np.sqrt(np.mean((self.across - fit) ** 2)))

    def track_shift_along_px(self, noise_fraction: float) -> float:
        """R.m.s. error along the axis, less its mean."""
        return float(self.along.std())

    def track_axis_error_deg(self, noise_fraction: float) -> float:
        found, true = (each.tilt_axis_deg for each in (self.alignment, self.acquired.alignment))
        return float(np.abs(geometry.axis_difference_deg(found, true)).max())


def _timed(series: TiltSeries) -> tuple[TiltSeries, Alignment, float]:
    start = time.perf_counter()
    alignment = align.marker_free(series)
    return series, alignment, time.perf_counter() - start


def _present(file: str) -> Path:
    if not _PATHS[file].exists():
        raise NotImplementedError(f"{file} is not here")
    return _PATHS[file]
