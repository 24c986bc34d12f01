"""The pose of a flat specimen: offset of the tilt angles, pitch and thickness of slabs of blobs at known poses."""

from __future__ import annotations

import functools
import time
from typing import ClassVar

import pandas as pd

from benchmarks.cases import Target, Targets
from benchmarks.slabs import blob_slab
from tomo3d import align

_HEIGHT_NM = 5.0


@functools.cache
def pose(
    offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float
) -> tuple[pd.DataFrame, float]:
    """What is found, by quantity, and the seconds that took; once for all figures."""
    series = blob_slab(
        offset_deg=offset_deg,
        pitch_deg=pitch_deg,
        thickness=thickness_nm,
        height=_HEIGHT_NM,
        n_pixels=256,
        noise=noise,
        seed=round(100 + offset_deg + 10 * pitch_deg + 100 * thickness_nm),
    )
    start = time.perf_counter()
    found = align.level_slab(series)
    return found.evidence["slab"].set_index("quantity"), time.perf_counter() - start


class Slab:
    """256 x 256 pixels of 1 nm, 41 views over +-60 deg, a slab that goes on beside the field, 5 nm off the centre.

    Noise is in standard deviations of the untilted view: 3 is var(signal) / var(noise) of 0.11.
    """

    params: ClassVar[tuple[list[float], ...]] = (
        [-15.0, -7.0, 4.0, 15.0],
        [-3.0, 2.0],
        [25.0, 50.0],
        [0.0, 3.0],
    )
    param_names = ("offset_deg", "pitch_deg", "thickness_nm", "noise")
    targets: ClassVar[Targets] = {
        "track_offset_error_deg": Target(at_most=0.3),
        "track_pitch_error_deg": Target(at_most=0.2),
        "track_thickness_error_percent": Target(at_most=3.0),
    }

    def setup(self, offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float) -> None:
        self.found, self.seconds = pose(offset_deg, pitch_deg, thickness_nm, noise)

    def track_offset_error_deg(
        self, offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float
    ) -> float:
        return abs(float(self.found.value["tilt_offset"]) - offset_deg)

    def track_pitch_error_deg(
        self, offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float
    ) -> float:
        return abs(float(self.found.value["x_axis_tilt"]) - pitch_deg)

    def track_thickness_error_percent(
        self, offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float
    ) -> float:
        return 100.0 * abs(float(self.found.value["thickness"]) / thickness_nm - 1.0)

    def track_height_error_nm(
        self, offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float
    ) -> float:
        return abs(float(self.found.value["centre_z"]) - _HEIGHT_NM)

    def track_level_slab_s(
        self, offset_deg: float, pitch_deg: float, thickness_nm: float, noise: float
    ) -> float:
        return self.seconds
