"""Local thickness and distance transform of random blobs, beside their peers on the same mask."""

from __future__ import annotations

import functools
import gc
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from scipy import ndimage

from benchmarks.cases import Target
from benchmarks.memory import status_bytes
from benchmarks.thickness_peer import ThicknessPeer
from tomo3d import phantoms
from tomo3d.compute import subvoxel_thickness
from tomo3d.compute.distance import distance_to_background
from tomo3d.measure import local_thickness, local_thickness_voxel
from tomo3d.types import Labels, Volume

_BLOB_VOXELS = 20
_CUBE = (1.0, 1.0, 1.0)
# Package, its options, and the sizes it is run at.
_PEERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "localthickness": ("localthickness", {}, (48, 256, 400)),
    "porespy": ("porespy", {}, (48, 256, 400)),
    "porespy, method dt": ("porespy", {"method": "dt"}, (48, 256)),
    "porespy, every radius": ("porespy", {"method": "legacy", "sizes": "every"}, (48, 128)),
}
_OFF = (0.31, -0.22, 0.13)
_OBLIQUE = (0.71, 0.52, 0.47)
_BODIES: dict[str, tuple[phantoms.Solid, float, tuple[int, int, int]]] = {
    **{
        f"slab of {t} {name}": (
            phantoms.Slab(thickness_nm=t, normal=normal, centre_nm=_OFF),
            float(t),
            (24, 25, 26),
        )
        for t in (3, 4, 8)
        for name, normal in (("along z", (1, 0, 0)), ("oblique", _OBLIQUE))
    },
    "ball of 5.25": (phantoms.Ball(radius_nm=5.25, centre_nm=_OFF), 10.5, (16, 17, 18)),
    "ball of 20.25": (phantoms.Ball(radius_nm=20.25, centre_nm=_OFF), 40.5, (46, 47, 48)),
    "cylinder of 8.25": (
        phantoms.Cylinder(radius_nm=8.25, length_nm=1e3, axis=_OBLIQUE, centre_nm=_OFF),
        16.5,
        (30, 31, 32),
    ),
    "shell of 25 to 31": (
        phantoms.Shell(outer_radius_nm=31, thickness_nm=6, centre_nm=(31.2, 0.1, 0.3)),
        6.0,
        (34, 66, 66),
    ),
    "torus of 24 and 8": (
        phantoms.Torus(major_radius_nm=24, minor_radius_nm=8, centre_nm=_OFF, axis=(0.9, 0.2, 0.4)),
        16.0,
        (46, 67, 66),
    ),
}


def blobs(edge_voxels: int, blob_voxels: int = _BLOB_VOXELS) -> Labels:
    """Smoothed noise cut at its median: half structure, half background, features of about `blob_voxels`."""
    return Labels(blob_field(edge_voxels, blob_voxels) > 0, _CUBE)


def blob_field(edge_voxels: int, blob_voxels: int = _BLOB_VOXELS) -> np.ndarray:
    """Smoothed noise."""
    noise = np.random.default_rng(0).standard_normal((edge_voxels,) * 3, dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(noise, blob_voxels / 4, mode="wrap"))


class Thickness:
    """Our exact local thickness; accuracy is by definition, and held to brute force in the tests."""

    params, param_names = ([128, 256, 400], [20]), ("edge_voxels", "blob_voxels")

    def setup(self, edge_voxels: int, blob_voxels: int) -> None:
        self.mask = blobs(edge_voxels, blob_voxels)

    def time_local_thickness_voxel(self, edge_voxels: int, blob_voxels: int) -> None:
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


class BlockWise:
    """Slab by slab against the whole at once, with the same limit."""

    params, param_names = ([60, 300], ["mask", "grey"]), ("edge_voxels", "input")
    targets = {"track_voxels_that_differ": Target(at_most=0.0)}  # noqa: RUF012

    def track_voxels_that_differ(self, edge_voxels: int, input: str) -> float:
        field, limit = blob_field(edge_voxels), min(30.0, edge_voxels / 4)
        structure = Labels(field > 0, _CUBE) if input == "mask" else Volume(field, _CUBE)
        level = None if input == "mask" else 0.0
        found = []
        for depth in (edge_voxels, edge_voxels // 4):
            with mock.patch.object(subvoxel_thickness, "_depth_of_slabs", lambda *_, depth=depth: depth):
                found.append(local_thickness(structure, level=level, max_thickness_nm=limit).data)
        return float(np.count_nonzero(found[0] != found[1]))


class Bodies:
    """Error of the median thickness of bodies with a known one, centred off the grid."""

    params, param_names = (list(_BODIES), ["mask", "grey"]), ("body", "input")
    targets = {  # noqa: RUF012
        "track_error_percent": {
            (body, kind): Target(at_most=1.0 if kind == "grey" else 3.0)
            for body in _BODIES
            for kind in ("mask", "grey")
        }
    }

    def track_error_percent(self, body: str, input: str) -> float:
        solid, truth, shape = _BODIES[body]
        values = _thickness_of(solid, shape, input)
        if "slab" in body or "cylinder" in body:  # away from where the border cuts it
            values = values[4:-4, 4:-4, 4:-4]
        return float(abs(np.median(values[values > 0]) / truth - 1.0) * 100.0)


def _thickness_of(solid: phantoms.Solid, shape: tuple[int, int, int], input: str) -> np.ndarray:
    """Thickness map of a body in voxels of 1, from its mask or from the share of each voxel that it fills."""
    if input == "grey":
        return np.asarray(
            local_thickness(Volume(solid.fraction(shape, 1.0, samples_per_voxel=3), _CUBE), level=0.5).data
        )
    axes = [np.arange(n) - (n - 1) / 2 for n in shape]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return np.asarray(local_thickness(Labels(solid.depth_nm(positions) > 0, _CUBE)).data)


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
        self.errors = _random_slabs(thickness_voxels, input)

    def track_worst_error_percent(self, thickness_voxels: int, input: str) -> float:
        return float(self.errors.max())

    def track_median_error_percent(self, thickness_voxels: int, input: str) -> float:
        return float(np.median(self.errors))

    def track_share_right(self, thickness_voxels: int, input: str) -> float:
        return float((self.errors <= (1.0 if input == "grey" else 3.0)).mean())


@functools.cache
def _random_slabs(thickness_voxels: int, input: str) -> np.ndarray:
    """Errors of the median thickness of twenty plates, in per cent."""
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(20):
        slab = phantoms.Slab(
            thickness_nm=thickness_voxels,
            normal=tuple(rng.standard_normal(3)),
            centre_nm=tuple(rng.uniform(-0.5, 0.5, 3)),
        )
        inner = _thickness_of(slab, (26, 27, 28), input)[4:-4, 4:-4, 4:-4]
        errors.append(abs(np.median(inner[inner > 0]) / thickness_voxels - 1.0) * 100.0)
    return np.array(errors)


class Peer:
    """Other packages on the same mask, in the same run: ours by turns with theirs, medians of ours.

    PoreSpy counts whole radii only, and is a voxel off on the mean; with every radius it is as exact as ours.
    """

    params, param_names = ([48, 128, 256, 400], list(_PEERS)), ("edge_voxels", "package")
    targets = {  # noqa: RUF012
        "track_their_time_over_ours": {
            (256, "localthickness"): Target(at_least=5.0),
            (400, "localthickness"): Target(at_least=10.0),
            (256, "porespy"): Target(at_least=10.0),
            (400, "porespy"): Target(at_least=10.0),
            (256, "porespy, method dt"): Target(at_least=10.0),
            (128, "porespy, every radius"): Target(at_least=10.0),
        }
    }

    def setup(self, edge_voxels: int, package: str) -> None:
        if edge_voxels not in _PEERS[package][2]:
            raise NotImplementedError("it would take minutes, or tell nothing more")
        self.ours_s, self.theirs_s, self.error = _beside(edge_voxels, package)

    def track_their_time_over_ours(self, edge_voxels: int, package: str) -> float:
        return self.theirs_s / self.ours_s

    def track_their_seconds(self, edge_voxels: int, package: str) -> float:
        return self.theirs_s

    def track_mean_error_voxels(self, edge_voxels: int, package: str) -> float:
        """Mean of |diameter - exact diameter| over the structure."""
        return self.error


@functools.cache
def _beside(edge_voxels: int, package: str) -> tuple[float, float, float]:
    """Seconds of ours (median of three, one before theirs) and of theirs, and their mean error."""
    name, options, _ = _PEERS[package]
    mask = blobs(edge_voxels)
    inside = np.asarray(mask.data)
    local_thickness_voxel(blobs(32))
    ours = []

    def run() -> np.ndarray:
        start = time.perf_counter()
        exact = local_thickness_voxel(mask).data
        ours.append(time.perf_counter() - start)
        return np.asarray(exact)

    run()
    with ThicknessPeer(name, **options) as peer:
        theirs, diameter = peer.run(inside)
    run()
    error = float(np.abs(diameter[inside] - run()[inside]).mean())
    return float(np.median(ours)), theirs, error


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
