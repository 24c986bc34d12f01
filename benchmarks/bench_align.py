"""Alignment without markers of the real needle, and views resampled by an alignment."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.ndimage

from benchmarks import needle
from benchmarks.cases import Target, Targets
from benchmarks.timing import median_ratio
from tomo3d import align, geometry
from tomo3d.types import Alignment, TiltSeries

_PATHS = {path.name: path for path in (needle.FULL, needle.CROP)}


@functools.cache
def needle_alignment(path: Path) -> tuple[TiltSeries, Alignment, float]:
    """A series of the needle, its alignment, and the seconds that took; once for all figures."""
    return _timed(needle.read(path))


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
    targets: ClassVar[Targets] = {
        "track_center_of_mass_px": {
            ("HAADF.mrc",): Target(at_most=0.06),
            ("needle.mrc",): Target(at_most=0.30),
        }
    }

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
    targets: ClassVar[Targets] = {
        "track_error_over_raw": Target(at_most=1 / 3),
        # 1.05 times what another program's alignment leaves
        "track_error": {
            (column,): Target(at_most=1.05 * other)
            for column, other in zip(needle.COLUMNS, (0.042, 0.048, 0.131), strict=True)
        },
    }

    def setup(self, column: int) -> None:
        path = _present(needle.FULL.name)
        self.raw, self.aligned = (plane_error(path, column, is_aligned) for is_aligned in (False, True))

    def track_raw_error(self, column: int) -> float:
        return self.raw

    def track_error(self, column: int) -> float:
        return self.aligned

    def track_error_over_raw(self, column: int) -> float:
        return self.aligned / self.raw


class Apply:
    """Two views, turned by 3 deg and moved, each resampled once by a cubic spline; scipy's does the same in turn."""

    params, param_names = ([128, 1024],), ("edge_pixels",)

    def setup(self, edge_pixels: int) -> None:
        rng = np.random.default_rng(0)
        images = rng.normal(size=(2, edge_pixels, edge_pixels)).astype(np.float32)
        self.series = TiltSeries(images, np.array([-10.0, 10.0]), pixel_size_nm=1.0)
        self.alignment = replace(
            geometry.nominal_alignment(self.series),
            shifts_nm=rng.uniform(-5.0, 5.0, (2, 2)),
            tilt_axis_deg=np.full(2, 3.0),
        )

    def track_scipy_over_ours(self, edge_pixels: int) -> float:
        return median_ratio(self._by_scipy, lambda: align.apply(self.series, self.alignment))

    def track_difference(self, edge_pixels: int) -> float:
        """The largest, over the standard deviation of the views."""
        ours = align.apply(self.series, self.alignment).images
        return float(np.abs(ours - self._by_scipy()).max() / np.std(self.series.images))

    def _by_scipy(self) -> np.ndarray:
        images = self.series.images
        shape = (images.shape[1], images.shape[2])
        maps = geometry.alignment_matrices(self.alignment, 1.0, shape, shape)

        def resample(k: int) -> np.ndarray:
            matrix, offset = (each[k] for each in maps)
            return np.asarray(
                scipy.ndimage.affine_transform(images[k], matrix, offset, shape, order=3, mode="nearest")
            )

        with ThreadPoolExecutor(2) as pool:
            return np.stack(list(pool.map(resample, range(len(images)))))


def _timed(series: TiltSeries) -> tuple[TiltSeries, Alignment, float]:
    start = time.perf_counter()
    alignment = align.marker_free(series)
    return series, alignment, time.perf_counter() - start


def _present(file: str) -> Path:
    if not _PATHS[file].exists():
        raise NotImplementedError(f"{file} is not here")
    return _PATHS[file]
