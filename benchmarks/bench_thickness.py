"""Local thickness and distance transform of random blobs, beside their peers on the same mask."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d.compute.distance import distance_to_background
from tomo3d.measure import local_thickness_voxel
from tomo3d.types import Labels

_BLOB_VOXELS = 20
_CUBE = (1.0, 1.0, 1.0)


def blobs(edge_voxels: int, blob_voxels: int = _BLOB_VOXELS) -> Labels:
    """Smoothed noise cut at its median: half structure, half background, features of about `blob_voxels`."""
    noise = np.random.default_rng(0).standard_normal((edge_voxels,) * 3, dtype=np.float32)
    field = ndimage.gaussian_filter(noise, blob_voxels / 4, mode="wrap")
    return Labels(field > 0, _CUBE)


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


class Peer:
    """Other programs on the same mask; a package that is not installed is skipped."""

    params, param_names = ([128, 256], ["localthickness", "porespy"]), ("edge_voxels", "package")

    def setup(self, edge_voxels: int, package: str) -> None:
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise NotImplementedError(f"{package} is not installed") from error
        self.local_thickness: Any = (
            module.local_thickness if package == "localthickness" else module.filters.local_thickness
        )
        self.mask = blobs(edge_voxels)
        self.inside = np.asarray(self.mask.data)

    def time_local_thickness(self, edge_voxels: int, package: str) -> None:
        self.local_thickness(self.inside)

    def track_mean_error_voxels(self, edge_voxels: int, package: str) -> float:
        """Mean of |diameter - exact diameter| over the structure; peers return radii."""
        exact = local_thickness_voxel(self.mask).data[self.inside]
        return float(np.abs(2.0 * np.asarray(self.local_thickness(self.inside))[self.inside] - exact).mean())


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
