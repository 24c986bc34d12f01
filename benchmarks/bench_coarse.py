"""Coarse alignment of a catalyst layer, by what all views share and by neighbours: how far off refinement starts."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import ClassVar

import numpy as np

from benchmarks import misaligned
from tomo3d import align, geometry
from tomo3d.phantoms import Acquisition
from tomo3d.types import Alignment

_TROUBLES = ("none", "jumps of 40 px", "truncated")


@functools.cache
def acquired(trouble: str, noise_fraction: float, edge_pixels: int) -> Acquisition:
    return misaligned.catalyst(trouble, noise_fraction, 0, n_pixels=edge_pixels)


@functools.cache
def by_common_lines(trouble: str, noise_fraction: float, edge_pixels: int) -> tuple[Alignment, float]:
    """Alignment, and the seconds that it took."""
    series = acquired(trouble, noise_fraction, edge_pixels).series
    start = time.perf_counter()
    return align.common_lines(series), time.perf_counter() - start


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


class CommonLines:
    """Views of 300 x 300 pixels moved by up to 8 px. Along the axis less a constant, across it less three modes."""

    params: ClassVar = (list(_TROUBLES), [0.0, 0.3], [48, misaligned.N_PIXELS])
    param_names: ClassVar = ("trouble", "noise_fraction", "edge_pixels")

    def setup(self, trouble: str, noise_fraction: float, edge_pixels: int) -> None:
        self.acquired = acquired(trouble, noise_fraction, edge_pixels)
        self.found, self.seconds = by_common_lines(trouble, noise_fraction, edge_pixels)

    def track_along_px(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        return _rms(misaligned.errors_px(self.found, self.acquired)[1])

    def track_axis_error_deg(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        truth = self.acquired.alignment.tilt_axis_deg[0]
        return abs(float(geometry.axis_difference_deg(self.found.tilt_axis_deg[0], truth)))

    def track_axis_reach_deg(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """Half of the interval that is stated for the axis; nan if it stands out nowhere."""
        table = self.found.evidence["axis"].set_index("quantity")
        return 0.5 * float(table["high"]["tilt_axis"] - table["low"]["tilt_axis"])

    def track_neighbours_along_px(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """By correlation of neighbours, along the true axis."""
        truth = self.acquired.alignment
        unmoved = replace(truth, shifts_nm=np.zeros_like(truth.shifts_nm))
        given = align.cross_correlation(self.acquired.series, alignment=unmoved)
        return _rms(misaligned.errors_px(given, self.acquired)[1])

    def track_mass_across_px(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        """Across the axis, by the centre of mass of slabs, from the shifts along it found here."""
        found = align.center_of_mass(self.acquired.series, alignment=self.found)
        return _rms(misaligned.errors_px(found, self.acquired)[0])

    def track_common_lines_s(self, trouble: str, noise_fraction: float, edge_pixels: int) -> float:
        return self.seconds
