"""Reconstructions on the workloads of an electron tomographer, beside ASTRA and scikit-image.

Workloads S, M and L are those of `benchmarks.workloads`. The projector alone is in `bench_engine`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
from skimage.transform import iradon

from benchmarks import workloads
from benchmarks.astra_peer import Astra as AstraWorker
from benchmarks.cases import Target, Targets
from benchmarks.timing import median_ratio, median_seconds, seconds
from tomo3d import geometry
from tomo3d.compute.projector import SLAB
from tomo3d.reconstruct import sirt, wbp
from tomo3d.types import TiltSeries

_RADIUS = 80.0  # pixels, of the unit disc
_MARGIN = 4.0  # pixels about its edge that count neither as inside nor as outside
_N_PAIRS = 5
_N_ITERATIONS = 4  # whose time is taken
_N_ERROR = 20  # iterations after which errors are compared


def sirt_iteration_s(series: TiltSeries, thickness_nm: float) -> float:
    """What an iteration of SIRT adds: five less one, over four."""

    def run(n_iterations: int) -> None:
        sirt(series, thickness_nm=thickness_nm, n_iterations=n_iterations)

    return (seconds(lambda: run(1 + _N_ITERATIONS)) - seconds(lambda: run(1))) / _N_ITERATIONS


def disc_rows(n_pixels: int, n_views: int) -> np.ndarray:
    """Projections of a centred unit disc, (n_views, 1, n_pixels): the mean chord over each pixel."""
    edges = np.clip((np.arange(n_pixels + 1) - 0.5 * n_pixels) / _RADIUS, -1.0, 1.0)
    area = _RADIUS**2 * (edges * np.sqrt(1.0 - edges**2) + np.arcsin(edges))  # of the disc left of each edge
    return np.broadcast_to(np.diff(area).astype(np.float32), (n_views, 1, n_pixels))


def disc_errors(section: np.ndarray) -> tuple[float, float]:
    """Mean inside a disc of density 1 less 1, and mean outside it, on a square section."""
    axis = geometry.coordinates(len(section))
    radius = np.hypot(*np.meshgrid(axis, axis))
    inside = section[radius < _RADIUS - _MARGIN].mean(dtype=np.float64) - 1.0
    outside = section[(radius > _RADIUS + _MARGIN) & (radius < 0.5 * len(section))].mean(dtype=np.float64)
    return float(inside), float(outside)


class Jobs:
    """Whole reconstructions of a series. Targets: what a trial reached on another machine."""

    params, param_names = ([256, 512, 1024],), ("edge_pixels",)
    targets: ClassVar[Targets] = {
        "time_wbp": {
            (256,): Target(at_most=0.092),
            (512,): Target(at_most=0.435),
            (1024,): Target(at_most=1.62),
        },
        "track_sirt_iteration_s": {
            (256,): Target(at_most=0.060),
            (512,): Target(at_most=0.500),
            (1024,): Target(at_most=2.54),
        },
    }

    def setup(self, edge_pixels: int) -> None:
        self.series = workloads.ellipse_series(edge_pixels)
        self.thickness_nm = float(workloads.THICKNESS[edge_pixels])

    def time_wbp(self, edge_pixels: int) -> None:
        wbp(self.series, thickness_nm=self.thickness_nm)

    def track_sirt_iteration_s(self, edge_pixels: int) -> float:
        return statistics.median(
            sirt_iteration_s(self.series, self.thickness_nm) for _ in range(1 if edge_pixels > 512 else 5)
        )


class Memory:
    """Peak above the resident size after import and compilation, over input and output together."""

    params, param_names = ([256, 512, 1024], ["wbp", "sirt"]), ("edge_pixels", "method")
    targets: ClassVar[Targets] = {
        "track_peak_over_input_and_output": {
            (1024, "wbp"): Target(at_most=1.15),
            (1024, "sirt"): Target(at_most=1.15),
        }
    }

    def track_peak_over_input_and_output(self, edge_pixels: int, method: str) -> float:
        command = [sys.executable, "-m", "benchmarks.memory", str(edge_pixels), method]
        answer = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
        )
        return float(answer.stdout)


class Astra:
    """ASTRA's CPU code (linear projector, two processes over slices) on slices of the same series, timed in turn.

    Its slices are independent, and a share of them does for its time: ratios are per slice. Errors are those of
    a slice after the best scaling, relative to the truth.
    """

    params, param_names = ([256, 512, 1024], ["wbp", "sirt"]), ("edge_pixels", "method")
    targets: ClassVar[Targets] = {
        "track_astra_time_over_ours": {
            (512, "wbp"): Target(at_least=20.0),
            (1024, "wbp"): Target(at_least=25.0),
            (512, "sirt"): Target(at_least=40.0),
            (1024, "sirt"): Target(at_least=45.0),
        },
        "track_error_over_astras": Target(at_most=1.0),
    }

    def setup(self, edge_pixels: int, method: str) -> None:
        self.astra = AstraWorker(n_processes=2)
        self.n_slices = {256: 64, 512: 32, 1024: 16}[edge_pixels]
        self.series = workloads.ellipse_series(edge_pixels)
        self.thickness_nm = float(workloads.THICKNESS[edge_pixels])
        self.astra.load(
            self.series.images[:, : self.n_slices], workloads.TILTS_DEG, workloads.THICKNESS[edge_pixels]
        )

    def teardown(self, edge_pixels: int, method: str) -> None:
        self.astra.close()

    def track_astra_time_over_ours(self, edge_pixels: int, method: str) -> float:
        wbp(self.series, thickness_nm=self.thickness_nm)
        sirt_iteration_s(self.series, self.thickness_nm)
        ratios = []
        for _ in range(_N_PAIRS):
            if method == "wbp":
                theirs = self.astra.seconds("FBP")
                ours = seconds(lambda: wbp(self.series, thickness_nm=self.thickness_nm))
            else:
                theirs = (self.astra.seconds("SIRT", 3) - self.astra.seconds("SIRT", 1)) / 2
                ours = sirt_iteration_s(self.series, self.thickness_nm)
            ratios.append(theirs / self.n_slices / (ours / edge_pixels))
        return statistics.median(ratios)

    def track_astra_error(self, edge_pixels: int, method: str) -> float:
        algorithm, n_iterations = ("FBP", 1) if method == "wbp" else ("SIRT", _N_ERROR)
        section = self.astra.slices(algorithm, n_iterations)[:, 0]
        return workloads.relative_error(section, workloads.ellipse_section(edge_pixels))

    def track_our_error(self, edge_pixels: int, method: str) -> float:
        few = workloads.ellipse_series(edge_pixels, self.n_slices)
        if method == "wbp":
            volume = wbp(few, thickness_nm=self.thickness_nm)
        else:
            volume = sirt(few, thickness_nm=self.thickness_nm, n_iterations=_N_ERROR)
        return workloads.relative_error(volume.data[:, 0], workloads.ellipse_section(edge_pixels))

    def track_error_over_astras(self, edge_pixels: int, method: str) -> float:
        return self.track_our_error(edge_pixels, method) / self.track_astra_error(edge_pixels, method)


class Disc:
    """Densities of a disc of radius 80 pixels and density 1 in 256 x 256, by the plain ramp.

    180 views over 180 deg.
    """

    params, param_names = ([256], ["wbp", "iradon"]), ("edge_pixels", "program")
    targets: ClassVar[Targets] = {
        "track_inside_error": {(256, "wbp"): Target(at_least=-1e-3, at_most=1e-3)},
        "track_outside_mean": {(256, "wbp"): Target(at_least=-1e-3, at_most=1e-3)},
    }

    def setup(self, edge_pixels: int, program: str) -> None:
        tilts_deg = np.arange(-90.0, 90.0)
        rows = disc_rows(edge_pixels, len(tilts_deg))
        self.section = _sections(program, rows, tilts_deg)[:, 0]

    def track_inside_error(self, edge_pixels: int, program: str) -> float:
        return disc_errors(self.section)[0]

    def track_outside_mean(self, edge_pixels: int, program: str) -> float:
        return disc_errors(self.section)[1]


class Peer:
    """scikit-image on the same 180 views and square slices, with the same filter and interpolation.

    We reconstruct a slab of 64 slices, as we are made for, scikit-image one: times are per slice. Both are
    timed in turn.
    """

    params, param_names = ([256],), ("edge_pixels",)

    def setup(self, edge_pixels: int) -> None:
        self.tilts_deg = np.arange(-90.0, 90.0)
        row = disc_rows(edge_pixels, len(self.tilts_deg))
        self.slab = np.repeat(row, SLAB, axis=1)
        self.row = self.slab[:, :1]

    def track_iradon_time_over_wbp(self, edge_pixels: int) -> float:
        ratio = median_ratio(
            lambda: _sections("iradon", self.row, self.tilts_deg),
            lambda: _sections("wbp", self.slab, self.tilts_deg),
        )
        return ratio * SLAB

    def time_iradon_per_slice(self, edge_pixels: int) -> None:
        _sections("iradon", self.row, self.tilts_deg)

    def track_wbp_per_slice_s(self, edge_pixels: int) -> float:
        return median_seconds(lambda: _sections("wbp", self.slab, self.tilts_deg))[0] / SLAB


def _sections(program: str, rows: np.ndarray, tilts_deg: np.ndarray) -> np.ndarray:
    """Square slices (n_z, n_y, n_x) of rows (n_views, n_y, n_u) by one of the programs."""
    if program == "wbp":
        return wbp(TiltSeries(rows, tilts_deg, pixel_size_nm=1.0), thickness_nm=rows.shape[2]).data
    sections = [
        iradon(rows[:, y].T, theta=tilts_deg, filter_name="ramp", interpolation="linear", circle=True)
        for y in range(rows.shape[1])
    ]
    return np.stack(sections, axis=1)
