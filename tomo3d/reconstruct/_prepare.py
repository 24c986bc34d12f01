"""What every reconstruction does first: the aligned views in use, and the projector that fits them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute.checks import require_finite
from tomo3d.compute.projector import Projector
from tomo3d.compute.resampling import affine_images
from tomo3d.planning import Plan, Sketch
from tomo3d.types import Alignment, TiltSeries, Volume


@dataclass(frozen=True, eq=False)
class Prepared:
    """Aligned views in use, their projector, and the voxel they are reconstructed on."""

    images: np.ndarray  # (n_used, n_y, n_x)
    projector: Projector
    shape: tuple[int, int, int]
    voxel_nm: float

    def volume(self, data: np.ndarray, method: str, **parameters: Any) -> Volume:
        """The reconstruction as a Volume: density per nm, centred, with a record of how it was made."""
        data /= np.float32(self.voxel_nm)  # line integrals are per nm, the solvers count in voxels
        angles = self.projector.tilt_angles_deg
        voxel_size_nm = (self.voxel_nm,) * 3
        record = {
            "method": method,
            "quantity": "density",
            "unit": "grey value per nm",
            **parameters,
            "n_views": len(angles),
            "tilt_range_deg": [float(angles.min()), float(angles.max())],
        }
        return Volume(data, voxel_size_nm, geometry.centred_origin_nm(self.shape, voxel_size_nm), record)


def prepare(series: TiltSeries, thickness_nm: float, alignment: Alignment | None) -> Prepared:
    """Check the input, and apply the alignment.

    Raises
    ------
    ValueError
        If the thickness is under one pixel, no view is in use, a used view holds NaN or infinity, or
        the tilt axis is not y and there is no alignment to bring it there.
    """
    used = np.flatnonzero(series.used)
    if not len(used):
        raise ValueError("at least one view must be in use, got a series with all views excluded.")
    n_y, n_x = (int(n) for n in series.images.shape[1:])
    if alignment is None:
        if series.tilt_axis_deg != 0.0:
            raise ValueError(
                "the tilt axis of the series must be 0 deg (along y) when no alignment is given, got "
                f"{series.tilt_axis_deg:g} deg: pass alignment=..., or apply one first."
            )
        out_shape = (n_y, n_x)
        angles_deg = series.tilt_angles_deg[used]
    else:
        geometry.check_fits(series, alignment)
        out_shape = geometry.aligned_shape((n_y, n_x), geometry.mean_axis_deg(alignment.tilt_axis_deg))
        angles_deg = alignment.tilt_angles_deg[used]
    shape = geometry.reconstruction_shape(out_shape, thickness_nm, series.pixel_size_nm)
    require_finite(series.images, used)
    if alignment is None:
        images = series.images if len(used) == series.n_tilts else series.images[used]
    else:
        matrices, offsets = geometry.alignment_matrices(
            alignment, series.pixel_size_nm, (n_y, n_x), out_shape
        )
        raw = series.images if len(used) == series.n_tilts else series.images[used]
        images = affine_images(raw, matrices[used], offsets[used], out_shape)
    projector = Projector(angles_deg, n_u=out_shape[1], n_x=shape[2], n_z=shape[0])
    return Prepared(images, projector, shape, series.pixel_size_nm)


def planner(n_slabs: int) -> Callable[..., Plan]:
    """Plan of a reconstruction that holds `n_slabs` slabs of volume and four of images besides its result."""

    def plan(series: Sketch, *, thickness_nm: float, alignment: Sketch | None = None, **_: Any) -> Plan:
        n_views, n_y, n_x = series.shape
        voxel_nm = series.pixel_size_nm or 1.0
        n_z = max(1, round(thickness_nm / voxel_nm))
        result = Sketch("Volume", (n_z, n_y, n_x), "float32", series.pixel_size_nm)
        aligned = 4 * n_views * n_y * n_x if alignment is not None else 0
        slab = min(64, n_y)
        working = 4 * slab * n_x * (n_slabs * n_z + 8 * n_views)
        return Plan(result, result.n_bytes + aligned + working)

    return plan
