"""Projector and reconstructions on the workloads of an electron tomographer, beside scikit-image.

A workload of edge n: 61 views of n x n pixels from -60 to 60 deg, into n slices of n x n / 2 voxels. GUPS are
10^9 voxel-updates (voxels x views) a second.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from skimage.transform import iradon

from benchmarks.cases import Target, Targets
from benchmarks.timing import median_ratio, median_seconds
from tomo3d import geometry
from tomo3d.compute.projector import SLAB, Projector
from tomo3d.reconstruct import sirt, wbp
from tomo3d.types import TiltSeries

_TILTS_DEG = np.linspace(-60.0, 60.0, 61)
_RADIUS = 80.0  # pixels, of the unit disc
_MARGIN = 4.0  # pixels about its edge that count neither as inside nor as outside
_N_ITERATIONS = 5


def noise_series(edge_pixels: int) -> TiltSeries:
    """Views that no code path can take a short cut on."""
    shape = (len(_TILTS_DEG), edge_pixels, edge_pixels)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    return TiltSeries(images, _TILTS_DEG, pixel_size_nm=1.0)


def half_cube(edge_pixels: int) -> Projector:
    """The projector of a workload."""
    return Projector(_TILTS_DEG, n_u=edge_pixels, n_x=edge_pixels, n_z=edge_pixels // 2)


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


class Kernels:
    """Speed of the projector on one slab, in the order that the solvers work in.

    Targets: what the best trial reached on two cores with AVX-512 (performance.md of the design).
    """

    params, param_names = ([256, 512],), ("edge_pixels",)
    targets: ClassVar[Targets] = {
        "track_back_gups": Target(at_least=24.0),
        "track_forward_gups": Target(at_least=19.4),
        "track_adjoint_difference": Target(at_most=1e-6),
    }

    def setup(self, edge_pixels: int) -> None:
        self.projector = half_cube(edge_pixels)
        self.images = self.projector.padded(noise_series(edge_pixels).images[:, :SLAB])
        shape = (self.projector.n_z, self.projector.n_x, SLAB)
        self.slab = np.random.default_rng(1).random(shape, dtype=np.float32)
        self.giga_updates = 1e-9 * self.slab.size * self.projector.n_views

    def track_back_gups(self, edge_pixels: int) -> float:
        return self.giga_updates / median_seconds(lambda: self.projector.back_inner(self.images))[0]

    def track_forward_gups(self, edge_pixels: int) -> float:
        return self.giga_updates / median_seconds(lambda: self.projector.forward_inner(self.slab))[0]

    def track_adjoint_difference(self, edge_pixels: int) -> float:
        """|<A x, y> - <x, A' y>| / |<A x, y>|."""
        projected = self.projector.forward_inner(self.slab)
        forward = np.vdot(projected.astype(np.float64), self.images)
        back = np.vdot(self.slab.astype(np.float64), self.projector.back_inner(self.images))
        return float(abs(forward - back) / abs(forward))


class Jobs:
    """Whole reconstructions of a series. Targets: the same trial."""

    params, param_names = ([256, 512],), ("edge_pixels",)
    targets: ClassVar[Targets] = {
        "time_wbp": {(256,): Target(at_most=0.092), (512,): Target(at_most=0.435)},
        "track_sirt_iteration_s": {(256,): Target(at_most=0.060), (512,): Target(at_most=0.500)},
    }

    def setup(self, edge_pixels: int) -> None:
        self.series = noise_series(edge_pixels)
        self.thickness_nm = 0.5 * edge_pixels

    def time_wbp(self, edge_pixels: int) -> None:
        wbp(self.series, thickness_nm=self.thickness_nm)

    def track_sirt_iteration_s(self, edge_pixels: int) -> float:
        """What an iteration adds: six less one, over five."""

        def duration_s(n_iterations: int) -> float:
            return median_seconds(
                lambda: sirt(self.series, thickness_nm=self.thickness_nm, n_iterations=n_iterations)
            )[0]

        return (duration_s(1 + _N_ITERATIONS) - duration_s(1)) / _N_ITERATIONS

    def peakmem_wbp(self, edge_pixels: int) -> None:
        wbp(self.series, thickness_nm=self.thickness_nm)

    def peakmem_sirt(self, edge_pixels: int) -> None:
        sirt(self.series, thickness_nm=self.thickness_nm, n_iterations=2)


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
