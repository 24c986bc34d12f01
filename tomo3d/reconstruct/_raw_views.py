"""Raw views that are never resampled: their alignment acts within the projector.

For counts, whose likelihood resampling would spoil, and for a series that needs a rotation of its own anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tomo3d import geometry
from tomo3d.compute.checks import require_finite
from tomo3d.compute.projector import Projector
from tomo3d.types import Alignment, TiltSeries


@dataclass(frozen=True, eq=False)
class RawViews:
    """Views in use, in the inner order, turned by quarters until the tilt axis is nearest y.

    Parameters
    ----------
    images : ndarray, shape (n_used, n_pixels_u, n_pixels_v), float32
    alignment : Alignment
        Of the turned views.
    pixel_nm : float
    """

    images: np.ndarray
    alignment: Alignment
    pixel_nm: float

    @property
    def image_shape(self) -> tuple[int, int]:
        """(n_y, n_x) of the aligned images."""
        return self.images.shape[2], self.images.shape[1]

    def projector(self, shape: tuple[int, int, int], voxel_nm: float) -> Projector:
        """From a grid (n_z, n_y, n_x) to these views, on pixels as large as its voxels."""
        n_z, n_y, n_x = shape
        alignment = self.alignment
        # a point of the aligned view, moved back and turned back, is where the raw view has it
        to_raw, _ = geometry.alignment_matrices(alignment, voxel_nm, (1, 1), (1, 1))
        shifts = -np.einsum("kij,kj->ki", to_raw, alignment.shifts_nm) / voxel_nm
        n_u, n_v = (math.ceil(n * self.pixel_nm / voxel_nm - 1e-6) for n in self.images.shape[1:])
        projector = Projector(
            alignment.tilt_angles_deg,
            n_u=n_u,
            n_x=n_x,
            n_z=n_z,
            shifts=shifts,
            rotations_deg=alignment.tilt_axis_deg,
            magnifications=alignment.magnification,
            distortions=geometry.undistortions_yx(alignment),
            z_shears=alignment.z_shear,
            x_tilt_deg=alignment.x_axis_tilt_deg or 0.0,
            n_y=n_y,
            n_v=n_v,
        )
        return replace(projector, n_y=None, n_v=None) if projector.is_separable else projector


def raw_views(series: TiltSeries, alignment: Alignment | None) -> RawViews:
    """The views in use of a series, and how they fit together.

    Raises
    ------
    ValueError
        If no view is in use, a used view holds NaN or infinity, the alignment is of another series, or
        the tilt axis is not y and there is no alignment to bring it there.
    """
    used = np.flatnonzero(series.used)
    if not len(used):
        raise ValueError("at least one view must be in use, got a series with all views excluded.")
    if alignment is None and series.tilt_axis_deg != 0.0:
        raise ValueError(
            "the tilt axis of the series must be 0 deg (along y) when no alignment is given, got "
            f"{series.tilt_axis_deg:g} deg: pass its alignment, or apply one first."
        )
    alignment = alignment or geometry.nominal_alignment(series)
    geometry.check_fits(series, alignment)
    require_finite(series.images, used)
    quarters = round(geometry.mean_axis_deg(alignment.tilt_axis_deg) / 90.0)
    raw = np.asarray(series.images[used] if len(used) < series.n_tilts else series.images, dtype=np.float32)
    turned = replace(
        geometry.rows(alignment, used),
        tilt_axis_deg=alignment.tilt_axis_deg[used] - 90.0 * quarters,
    )
    images = np.ascontiguousarray(np.rot90(raw, quarters, axes=(1, 2)).swapaxes(1, 2))
    return RawViews(images, turned, series.pixel_size_nm)
