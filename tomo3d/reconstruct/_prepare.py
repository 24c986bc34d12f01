"""What every reconstruction does first: the aligned views in use, and the projector that fits them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.aligned_views import ResampledViews, SelectedViews
from tomo3d.compute.bending import bends
from tomo3d.compute.checks import require_finite
from tomo3d.compute.coarse_views import CoarseViews
from tomo3d.compute.projector import Projector
from tomo3d.compute.sampling import crowther_limit_nm, psf_elongation
from tomo3d.memory import check_held
from tomo3d.types import Alignment, ArraySink, TiltSeries, Volume

_SAME = 1e-6  # of a pixel, and of a pixel per pixel: no more than rounding


@dataclass(frozen=True, eq=False)
class Prepared:
    """Aligned views in use, their projector, and the voxel they are reconstructed on."""

    images: Any  # (n_used, n_y, n_x), read as images[:, first:last]
    projector: Projector
    shape: tuple[int, int, int]
    voxel_nm: float

    def volume(self, data: Any, method: str, **parameters: Any) -> Volume:
        """The reconstruction as a Volume: density per nm, centred, with a record of how it was made."""
        angles = self.projector.tilt_angles_deg
        voxel_size_nm = (self.voxel_nm,) * 3
        record = {
            "method": method,
            "quantity": "density",
            "unit": "grey value per nm",
            **parameters,
            "n_views": len(angles),
            "tilt_range_deg": [float(angles.min()), float(angles.max())],
            **_sampling(angles, self.shape[0] * self.voxel_nm),
        }
        return Volume(data, voxel_size_nm, geometry.centred_origin_nm(self.shape, voxel_size_nm), record)


def _sampling(tilt_angles_deg: np.ndarray, thickness_nm: float) -> dict[str, float]:
    """What the angles allow at best: elongation of the point-spread function, resolution by their mean step."""
    tilt_range_deg = float(np.ptp(tilt_angles_deg))
    if not 0.0 < tilt_range_deg <= 180.0:
        return {}
    return {
        "psf_elongation": psf_elongation(tilt_range_deg),
        "crowther_limit_nm": crowther_limit_nm(thickness_nm, len(tilt_angles_deg), tilt_range_deg),
    }


def prepare(
    series: TiltSeries,
    thickness_nm: float,
    alignment: Alignment | None,
    *,
    voxel_size_nm: float | None = None,
    continued: bool = True,
) -> Prepared:
    """Check the input, and fit views and projector to the alignment.

    Views that only move, across the axis by any length and along it by whole pixels, are not resampled: the projector
    does it. Others are, once, local shifts included, a slab at a time as they are read; x-axis tilt and a shear with
    height are left to the projector.
    Voxels larger than the pixels are reconstructed from views without what such voxels cannot hold.
    Pixels from beyond a view are NaN (not measured), or with `continued` the value at its nearest edge.

    Raises
    ------
    ValueError
        If the thickness is under one voxel or the voxel under one pixel, no view is in use, a used view holds NaN or
        infinity, or the tilt axis is not y and there is no alignment to bring it there.
    """
    used, found = used_views(series, alignment)
    voxel_nm = voxel_edge_nm(voxel_size_nm, series.pixel_size_nm)
    if voxel_nm != series.pixel_size_nm:
        coarse = CoarseViews(series.images, voxel_nm / series.pixel_size_nm)
        raw_images, series = series.images, replace(series, images=coarse, pixel_size_nm=voxel_nm)
    else:
        raw_images = series.images
    n_y, n_x = (int(n) for n in series.images.shape[1:])
    out_shape = geometry.aligned_shape((n_y, n_x), geometry.mean_axis_deg(found.tilt_axis_deg))
    shape = geometry.reconstruction_shape(out_shape, thickness_nm, voxel_nm)
    require_finite(raw_images, used)
    matrices, offsets = geometry.alignment_matrices(found, series.pixel_size_nm, (n_y, n_x), out_shape)
    matrices, offsets = matrices[used], offsets[used]
    views: SelectedViews | ResampledViews
    shifts = None
    rows = np.rint(offsets[:, 0])
    bent = bends(found.local_shifts_nm, series.pixel_size_nm, (n_y, n_x))
    is_moved_only = np.allclose(matrices, np.eye(2), atol=_SAME) and np.allclose(
        offsets[:, 0], rows, atol=_SAME
    )
    if is_moved_only and bent is None:
        views = SelectedViews(series.images, used, rows.astype(int), continued=continued)
        shifts = offsets[:, 1] if np.any(np.abs(offsets[:, 1]) > _SAME) else None
    else:
        views = ResampledViews(
            series.images, used, matrices, offsets, out_shape, continued, bent.views(used) if bent else None
        )
    projector = Projector(
        found.tilt_angles_deg[used],
        n_u=out_shape[1],
        n_x=shape[2],
        n_z=shape[0],
        shifts=shifts,
        x_tilt_deg=found.x_axis_tilt_deg or 0.0,
        z_shears=None if found.z_shear is None else found.z_shear[used],
    )
    return Prepared(views, projector, shape, voxel_nm)


def used_views(series: TiltSeries, alignment: Alignment | None) -> tuple[np.ndarray, Alignment]:
    """Indices of the views in use, and how all views fit together.

    Raises
    ------
    ValueError
        If no view is in use, the alignment is of another series, or the tilt axis is not y and there is no
        alignment to bring it there.
    """
    used = np.flatnonzero(series.used)
    if not len(used):
        raise ValueError("at least one view must be in use, got a series with all views excluded.")
    if alignment is None and series.tilt_axis_deg != 0.0:
        raise ValueError(
            "the tilt axis of the series must be 0 deg (along y) when no alignment is given, got "
            f"{series.tilt_axis_deg:g} deg: pass its alignment, or apply one first."
        )
    found = geometry.nominal_alignment(series) if alignment is None else alignment
    geometry.check_fits(series, found)
    return used, found


def check_out(out: ArraySink | None, prepared: Prepared) -> None:
    """Raise ValueError unless the reconstruction fits `out`, or memory where there is none.

    Raises
    ------
    TypeError
        If `out` is on a GPU and the images are not.
    """
    if out is None:
        thickness = f"a thickness of {prepared.shape[0]:.10g} voxels of {prepared.voxel_nm:g} nm"
        check_held(4 * math.prod(prepared.shape), thickness)
    elif tuple(out.shape) != prepared.shape:
        raise ValueError(
            f"out must have the shape of the reconstruction, {prepared.shape} (n_z, n_y, n_x), got {tuple(out.shape)}."
        )
    elif (dtype := np.dtype(getattr(out, "dtype", np.float32))).kind != "f":
        raise TypeError(
            f"out must hold floating-point densities, got {dtype}: whole numbers would cut them off."
        )
    elif isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError(
            "out must be writeable, got a read-only array: open the memory map with mode 'r+' or 'w+'."
        )
    elif backend.namespace(out) not in (np, backend.namespace(prepared.images)):
        raise TypeError("out must live on the CPU where the images do, got one on the GPU.")


def voxel_edge_nm(voxel_size_nm: float | None, pixel_size_nm: float) -> float:
    """The edge of a voxel: the pixel, or what is asked for.

    Raises
    ------
    ValueError
        If it is smaller than the pixel.
    """
    if voxel_size_nm is None or math.isclose(voxel_size_nm, pixel_size_nm, rel_tol=_SAME):
        return pixel_size_nm
    if not voxel_size_nm > pixel_size_nm:
        raise ValueError(
            f"voxel_size_nm must be at least one pixel ({pixel_size_nm:g} nm), got {voxel_size_nm:g} nm: "
            "smaller voxels would hold nothing more."
        )
    return float(voxel_size_nm)
