"""Local thickness and distance transform of random blobs, beside their peers on the same mask."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.cases import Target
from benchmarks.memory import status_bytes
from benchmarks.thickness_peer import ThicknessPeer
from tomo3d import phantoms
from tomo3d.compute.distance import distance_to_background
from tomo3d.measure import local_thickness, local_thickness_voxel
from tomo3d.types import Labels, Volume

_BLOB_VOXELS = 20
_CUBE = (1.0, 1.0, 1.0)


def blobs(edge_voxels: int, blob_voxels: int = _BLOB_VOXELS) -> Labels:
    """Smoothed noise cut at its median: half structure, half background, features of about `blob_voxels`."""
    return Labels(blob_field(edge_voxels, blob_voxels) > 0, _CUBE)


def blob_field(edge_voxels: int, blob_voxels: int = _BLOB_VOXELS) -> np.ndarray:
    """Smoothed noise."""
    noise = np.random.default_rng(0).standard_normal((edge_voxels,) * 3, dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(noise, blob_voxels / 4, mode="wrap"))


class Thickness:
    """Our exact local thickness; accuracy is by definition, and held to brute force in the tests."""

    params, param_names = ([128, 256], [20, 80]), ("edge_voxels", "blob_voxels")

    def setup(self, edge_voxels: int, blob_voxels: int) -> None:
        self.mask = blobs(edge_voxels, blob_voxels)

    def time_local_thickness_voxel(self, edge_voxels: int, blob_voxels: int) -> None:
        local_thickness_voxel(self.mask)

    def track_mean_thickness_voxels(self, edge_voxels: int, blob_voxels: int) -> float:
        thickness = local_thickness_voxel(self.mask).data
        return float(thickness[thickness > 0].mean(dtype=np.float64))

    def peakmem_local_thickness_voxel(self, edge_voxels: int, blob_voxels: int) -> None:
        local_thickness_voxel(self.mask)


class BytesPerVoxel:
    """Memory that the exact local thickness takes beyond its input."""

    params, param_names = ([64, 256],), ("edge_voxels",)
    targets = {"track_bytes_per_voxel": {(256,): Target(at_most=12.0)}}  # noqa: RUF012

    def track_bytes_per_voxel(self, edge_voxels: int) -> float:
        mask = blobs(edge_voxels)
        local_thickness_voxel(blobs(32))
        gc.collect()
        before = status_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        local_thickness_voxel(mask)
        return (status_bytes("VmHWM") - before) / edge_voxels**3


class SubVoxel:
    """Local thickness with a surface between voxels, and its time over that of the exact voxel definition."""

    params, param_names = ([48, 256], ["mask", "grey"]), ("edge_voxels", "input")
    targets = {  # noqa: RUF012
        "track_time_over_voxel": {(256, "mask"): Target(at_most=3.0), (256, "grey"): Target(at_most=3.0)}
    }

    def setup(self, edge_voxels: int, input: str) -> None:
        self.mask = blobs(edge_voxels)
        self.structure = self.mask if input == "mask" else Volume(blob_field(edge_voxels), _CUBE)
        self.level = None if input == "mask" else 0.0
        local_thickness_voxel(blobs(32))
        small = blobs(32) if input == "mask" else Volume(blob_field(32), _CUBE)
        local_thickness(small, level=self.level)

    def track_time_over_voxel(self, edge_voxels: int, input: str) -> float:
        voxel, between = [], []
        for _ in range(3):
            start = time.perf_counter()
            local_thickness_voxel(self.mask)
            middle = time.perf_counter()
            local_thickness(self.structure, level=self.level)
            voxel.append(middle - start)
            between.append(time.perf_counter() - middle)
        return float(np.median(between) / np.median(voxel))


class RandomSlabs:
    """Plates at random directions and places: the share of them whose median thickness is right, and the worst."""

    params, param_names = ([3, 4, 8], ["mask", "grey"]), ("thickness_voxels", "input")
    targets = {  # noqa: RUF012
        "track_worst_error_percent": {
            (t, kind): Target(at_most=1.0 if kind == "grey" else 3.0)
            for t in (3, 4, 8)
            for kind in ("mask", "grey")
        }
    }

    def setup(self, thickness_voxels: int, input: str) -> None:
        rng = np.random.default_rng(3)
        shape = (26, 27, 28)
        axes = [np.arange(n) - (n - 1) / 2 for n in shape]
        positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        errors = []
        for _ in range(20):
            slab = phantoms.Slab(
                thickness_nm=thickness_voxels,
                normal=tuple(rng.standard_normal(3)),
                centre_nm=tuple(rng.uniform(-0.5, 0.5, 3)),
            )
            if input == "mask":
                thickness = local_thickness(Labels(slab.depth_nm(positions) > 0, _CUBE)).data
            else:
                grey = slab.fraction(shape, 1.0, samples_per_voxel=3)
                thickness = local_thickness(Volume(grey, _CUBE), level=0.5).data
            inner = thickness[4:-4, 4:-4, 4:-4]
            errors.append(abs(np.median(inner[inner > 0]) / thickness_voxels - 1.0) * 100.0)
        self.errors = np.array(errors)

    def track_worst_error_percent(self, thickness_voxels: int, input: str) -> float:
        return float(self.errors.max())

    def track_median_error_percent(self, thickness_voxels: int, input: str) -> float:
        return float(np.median(self.errors))

    def track_share_right(self, thickness_voxels: int, input: str) -> float:
        return float((self.errors <= (1.0 if input == "grey" else 3.0)).mean())


class Peer:
    """Other packages on the same mask, in the same run: ours and theirs by turns, medians of three."""

    params, param_names = ([48, 256], ["localthickness", "porespy"]), ("edge_voxels", "package")
    # PoreSpy's default is a faster approximation: its time is told, with its error.
    targets = {  # noqa: RUF012
        "track_their_time_over_ours": {(256, "localthickness"): Target(at_least=5.0)},
    }

    def setup(self, edge_voxels: int, package: str) -> None:
        self.peer = ThicknessPeer(package)
        self.mask = blobs(edge_voxels)
        self.inside = np.asarray(self.mask.data)
        local_thickness_voxel(blobs(32))

    def teardown(self, edge_voxels: int, package: str) -> None:
        self.peer.close()

    def track_their_time_over_ours(self, edge_voxels: int, package: str) -> float:
        ours, theirs = [], []
        for _ in range(3):
            start = time.perf_counter()
            local_thickness_voxel(self.mask)
            ours.append(time.perf_counter() - start)
            theirs.append(self.peer.run(self.inside)[0])
        return float(np.median(theirs) / np.median(ours))

    def track_their_seconds(self, edge_voxels: int, package: str) -> float:
        return self.peer.run(self.inside)[0]

    def track_mean_error_voxels(self, edge_voxels: int, package: str) -> float:
        """Mean of |diameter - exact diameter| over the structure."""
        exact = local_thickness_voxel(self.mask).data[self.inside]
        return float(np.abs(self.peer.run(self.inside)[1][self.inside] - exact).mean())


class Distance:
    """Distance to the background."""

    params, param_names = ([128, 256], ["tomo3d", "scipy"]), ("edge_voxels", "program")

    def setup(self, edge_voxels: int, program: str) -> None:
        self.inside = np.asarray(blobs(edge_voxels).data)

    def time_distance(self, edge_voxels: int, program: str) -> None:
        self._distance(program)

    def track_largest_error_voxels(self, edge_voxels: int, program: str) -> float:
        return float(np.abs(self._distance(program) - ndimage.distance_transform_edt(self.inside)).max())

    def _distance(self, program: str) -> np.ndarray:
        if program == "tomo3d":
            return distance_to_background(self.inside, _CUBE)
        return np.asarray(ndimage.distance_transform_edt(self.inside))
