"""The projector alone: speed on one slab in the order that the solvers work in, and what it is of the machine's best.

GUPS are 10^9 voxel-updates (voxels x views) a second; an update is two multiply-adds, 4 operations. Workloads S, M
and L are those of `benchmarks.workloads`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import ClassVar

import numba
import numpy as np

from benchmarks import workloads
from benchmarks.cases import Target, Targets
from benchmarks.peak import peak_gflops
from benchmarks.timing import median_ratio, median_seconds, seconds
from tomo3d.compute.projector import SLAB, Projector

_FIRST_CALL = """
import time
import numpy as np
from tomo3d.reconstruct import sirt, wbp
from tomo3d.types import TiltSeries
series = TiltSeries(np.ones((9, 64, 64), np.float32), np.linspace(-60.0, 60.0, 9), 1.0)
start = time.perf_counter()
{call}
print(time.perf_counter() - start)
"""
_CALLS = {
    "wbp": "wbp(series, thickness_nm=32.0)",
    "sirt": "sirt(series, thickness_nm=32.0, n_iterations=1)",
}


class Kernels:
    """Back-projection and projection of one slab, with all threads."""

    params, param_names = ([256, 512, 1024],), ("edge_pixels",)
    targets: ClassVar[Targets] = {
        "track_back_gups": {(1024,): Target(at_least=19.0)},
        "track_forward_gups": {(1024,): Target(at_least=12.0)},
        "track_adjoint_difference": Target(at_most=1e-6),
    }

    def setup(self, edge_pixels: int) -> None:
        self.projector = workloads.projector(edge_pixels)
        series = np.random.default_rng(0).random((61, SLAB, edge_pixels), dtype=np.float32)
        self.images = self.projector.padded(series)
        self.slab = self.projector.back_inner(self.images)
        self.slab[...] = np.random.default_rng(1).random(self.slab.shape, dtype=np.float32)
        self.room = np.zeros_like(self.images), np.zeros_like(self.slab)
        self.giga_updates = 1e-9 * self.slab.size * self.projector.n_views

    def _back(self) -> None:
        self.projector.back_inner(self.images, out=self.room[1])

    def _forward(self) -> None:
        self.projector.forward_inner(self.slab, out=self.room[0])

    def track_back_gups(self, edge_pixels: int) -> float:
        return self.giga_updates / median_seconds(self._back)[0]

    def track_forward_gups(self, edge_pixels: int) -> float:
        return self.giga_updates / median_seconds(self._forward)[0]

    def track_back_share_of_peak(self, edge_pixels: int) -> float:
        return 4.0 * self.track_back_gups(edge_pixels) / peak_gflops(numba.get_num_threads())

    def track_forward_share_of_peak(self, edge_pixels: int) -> float:
        return 4.0 * self.track_forward_gups(edge_pixels) / peak_gflops(numba.get_num_threads())

    def track_one_thread_over_all(self, edge_pixels: int) -> float:
        """Time of a step back and one forward with one thread, over that with all."""
        threads = numba.get_num_threads()

        def run(n_threads: int) -> None:
            numba.set_num_threads(n_threads)
            self._back()
            self._forward()

        try:
            return median_ratio(lambda: run(1), lambda: run(threads))
        finally:
            numba.set_num_threads(threads)

    def track_adjoint_difference(self, edge_pixels: int) -> float:
        """|<A x, y> - <x, A' y>| / |<A x, y>|."""
        projected = self.projector.forward_inner(self.slab)
        forward = np.vdot(projected.astype(np.float64), self.images)
        back = np.vdot(self.slab.astype(np.float64), self.projector.back_inner(self.images))
        return float(abs(forward - back) / abs(forward))


class Geometries:
    """The projector where slices are not independent: residual rotation alone, and with all else."""

    params, param_names = ([256], ["rotation", "all"]), ("edge_pixels", "geometry")
    targets: ClassVar[Targets] = {"track_adjoint_difference": Target(at_most=1e-6)}

    def setup(self, edge_pixels: int, geometry: str) -> None:
        rng = np.random.default_rng(2)
        n_views, n_z = len(workloads.TILTS_DEG), workloads.THICKNESS[edge_pixels] // 2
        rotations_deg = rng.uniform(-1.0, 1.0, n_views)
        if geometry == "rotation":
            self.projector = Projector(
                workloads.TILTS_DEG, edge_pixels, edge_pixels, n_z, rotations_deg=rotations_deg
            )
        else:
            self.projector = Projector(
                workloads.TILTS_DEG,
                edge_pixels,
                edge_pixels,
                n_z,
                shifts=rng.uniform(-3.0, 3.0, (n_views, 2)),
                rotations_deg=rotations_deg,
                magnifications=rng.uniform(0.98, 1.02, n_views),
                x_tilt_deg=3.0,
                specimen_offset=(1.5, -2.25, 0.75),
            )
        self.volume = rng.random((n_z, edge_pixels, edge_pixels), dtype=np.float32)
        self.images = rng.random((n_views, edge_pixels, edge_pixels), dtype=np.float32)
        self.giga_updates = 1e-9 * self.volume.size * n_views

    def track_back_gups(self, edge_pixels: int, geometry: str) -> float:
        return self.giga_updates / median_seconds(lambda: self.projector.back(self.images))[0]

    def track_forward_gups(self, edge_pixels: int, geometry: str) -> float:
        return self.giga_updates / median_seconds(lambda: self.projector.forward(self.volume))[0]

    def track_adjoint_difference(self, edge_pixels: int, geometry: str) -> float:
        forward = np.vdot(self.projector.forward(self.volume).astype(np.float64), self.images)
        back = np.vdot(self.volume.astype(np.float64), self.projector.back(self.images))
        return float(abs(forward - back) / abs(forward))


class InPlane:
    """Views turned by up to 1 deg, magnified by up to 0.5 % and moved both ways, over views that move across alone."""

    params, param_names = ([256, 512],), ("edge_pixels",)
    targets: ClassVar[Targets] = {
        "track_forward_over_separable": {(512,): Target(at_most=1.3)},
        "track_back_over_separable": {(512,): Target(at_most=1.3)},
        "track_adjoint_difference": Target(at_most=1e-6),
    }

    def setup(self, edge_pixels: int) -> None:
        rng = np.random.default_rng(2)
        tilts_deg, n_z = workloads.TILTS_DEG, workloads.THICKNESS[edge_pixels]
        shifts = rng.uniform(-3.0, 3.0, (len(tilts_deg), 2))
        self.separable = Projector(tilts_deg, edge_pixels, edge_pixels, n_z, shifts[:, 1])
        self.projector = Projector(
            tilts_deg,
            edge_pixels,
            edge_pixels,
            n_z,
            shifts,
            rotations_deg=rng.uniform(-1.0, 1.0, len(tilts_deg)),
            magnifications=rng.uniform(0.995, 1.005, len(tilts_deg)),
        )
        self.volume = rng.random((n_z, edge_pixels, edge_pixels), dtype=np.float32)
        self.images = rng.random((len(tilts_deg), edge_pixels, edge_pixels), dtype=np.float32)

    def track_forward_over_separable(self, edge_pixels: int) -> float:
        return median_ratio(
            lambda: self.projector.forward(self.volume), lambda: self.separable.forward(self.volume)
        )

    def track_back_over_separable(self, edge_pixels: int) -> float:
        return median_ratio(
            lambda: self.projector.back(self.images), lambda: self.separable.back(self.images)
        )

    def track_adjoint_difference(self, edge_pixels: int) -> float:
        forward = np.vdot(self.projector.forward(self.volume).astype(np.float64), self.images)
        back = np.vdot(self.volume.astype(np.float64), self.projector.back(self.images))
        return float(abs(forward - back) / abs(forward))


class FirstReconstruction:
    """The first call of a new installation, which compiles, and of a new process, which finds that done."""

    params, param_names = (["wbp", "sirt"],), ("method",)

    def setup(self, method: str) -> None:
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self, method: str) -> None:
        self.folder.cleanup()

    def _call(self, method: str) -> float:
        command = [sys.executable, "-c", _FIRST_CALL.format(call=_CALLS[method])]
        environment = {**os.environ, "NUMBA_CACHE_DIR": self.folder.name}
        answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return float(answer.stdout)

    def track_cold_s(self, method: str) -> float:
        return self._call(method)

    def track_cached_s(self, method: str) -> float:
        self._call(method)
        return self._call(method)


class Peak:
    """Fused multiply-adds in float32: what the shares above are of."""

    params, param_names = (["one", "all"],), ("threads",)

    def track_gflops(self, threads: str) -> float:
        return peak_gflops(1 if threads == "one" else numba.get_num_threads())

    def track_copy_gb_per_s(self, threads: str) -> float:
        """Memory read and written while an array beyond the cache is copied."""
        source = np.ones(1 << 27, dtype=np.float32)
        target = np.empty_like(source)
        np.copyto(target, source)
        return 2e-9 * source.nbytes / min(seconds(lambda: np.copyto(target, source)) for _ in range(5))
