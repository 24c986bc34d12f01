"""Raw views that are resampled by local shifts alone: their alignment acts within the projector.

For counts, whose likelihood resampling would spoil, and for a series that needs a rotation of its own anyway.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.bending import Bends, bends
from tomo3d.compute.binned_projector import area_weights
from tomo3d.compute.checks import require_finite
from tomo3d.compute.projector import Projector
from tomo3d.reconstruct._prepare import used_views
from tomo3d.types import Alignment, Array, TiltSeries


@dataclass(frozen=True, eq=False)
class RawViews:
    """Views in use, turned by quarters until the tilt axis is nearest y, each read when it is asked for.

    Parameters
    ----------
    recorded : array, shape (n_tilts, n_rows, n_columns)
        As recorded; a memory map or Zarr array stays where it is.
    indices : ndarray of int, shape (n_used,)
        The views in use.
    n_quarters : int
        Turns by 90 deg, counter-clockwise.
    alignment : Alignment
        Of the turned views.
    pixel_nm : float
    bends : Bends, optional
        Local shifts of all views as recorded: a view is resampled by them when it is read, and by nothing else.
    """

    recorded: Array
    indices: np.ndarray
    n_quarters: int
    alignment: Alignment
    pixel_nm: float
    bends: Bends | None = None

    @property
    def n_views(self) -> int:
        """Number of views in use."""
        return len(self.indices)

    @property
    def image_shape(self) -> tuple[int, int]:
        """(n_y, n_x) of the aligned images."""
        n_rows, n_columns = (int(n) for n in self.recorded.shape[1:])
        return (n_columns, n_rows) if self.n_quarters % 2 else (n_rows, n_columns)

    def view(self, k: int) -> Array:
        """View k of those in use, (n_y, n_x) float32."""
        xp = backend.namespace(self.recorded)
        raw = xp.asarray(self.recorded[int(self.indices[k])], dtype=xp.float32)
        if self.bends is not None:
            raw = self.bends.straightened(raw, int(self.indices[k]))
        return xp.rot90(raw, self.n_quarters)

    @functools.cached_property
    def images(self) -> Array:
        """All of them in the inner order, (n_used, n_x, n_y) float32, held from the first use on."""
        n_y, n_x = self.image_shape
        images = backend.namespace(self.recorded).empty((self.n_views, n_x, n_y), dtype=np.float32)
        for k in range(self.n_views):
            images[k] = self.view(k).T
        return images

    def binned(self, factor: int) -> RawViews:
        """Views on larger pixels, about exactly the same centre, held."""
        if factor == 1:
            return replace(self)  # whose images are let go of with it
        xp = backend.namespace(self.recorded)
        along, across = (xp.asarray(area_weights(max(1, n // factor), n, factor)) for n in self.image_shape)
        views = xp.stack([along @ self.view(k) @ across.T for k in range(self.n_views)])
        return RawViews(views, np.arange(self.n_views), 0, self.alignment, self.pixel_nm * factor)

    def projector(self, shape: tuple[int, int, int], voxel_nm: float) -> Projector:
        """From a grid (n_z, n_y, n_x) to these views, on pixels as large as its voxels."""
        n_z, n_y, n_x = shape
        alignment = self.alignment
        # a point of the aligned view, moved back and turned back, is where the raw view has it
        to_raw, _ = geometry.alignment_matrices(alignment, voxel_nm, (1, 1), (1, 1))
        shifts = -np.einsum("kij,kj->ki", to_raw, alignment.shifts_nm) / voxel_nm
        n_u, n_v = (math.ceil(n * self.pixel_nm / voxel_nm - 1e-6) for n in self.image_shape[::-1])
        projector = Projector(
            alignment.tilt_angles_deg,
            n_u=n_u,
            n_x=n_x,
            n_z=n_z,
            shifts=shifts,
            rotations_deg=alignment.tilt_axis_deg,
            magnifications=alignment.magnification if np.any(alignment.magnification != 1) else None,
            distortions=geometry.undistortions_yx(alignment),
            z_shears=alignment.z_shear,
            x_tilt_deg=alignment.x_axis_tilt_deg or 0.0,
            n_y=n_y,
            n_v=n_v,
        )
        return replace(projector, n_y=None, n_v=None) if projector.is_separable else projector


@dataclass(frozen=True, eq=False)
class JoinedViews:
    """Views of several series in one array (n_views, n_v, n_u), made when read; NaN where there is no detector."""

    parts: tuple[RawViews, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """All views, on the larger detector."""
        n_v, n_u = (max(lengths) for lengths in zip(*(part.image_shape for part in self.parts), strict=True))
        return sum(part.n_views for part in self.parts), n_v, n_u

    def __getitem__(self, key: tuple[slice, slice]) -> Array:
        joined = backend.namespace(self.parts[0].recorded).full(self.shape, np.nan, dtype=np.float32)
        first = 0
        for part in self.parts:
            n_v, n_u = part.image_shape
            for k in range(part.n_views):
                joined[first + k, :n_v, :n_u] = part.view(k)
            first += part.n_views
        return joined[key]


def raw_views(series: TiltSeries, alignment: Alignment | None) -> RawViews:
    """The views in use of a series, and how they fit together.

    Raises
    ------
    ValueError
        If no view is in use, a used view holds NaN or infinity, the alignment is of another series, or
        the tilt axis is not y and there is no alignment to bring it there.
    """
    used, found = used_views(series, alignment)
    require_finite(series.images, used)
    n_quarters = round(geometry.mean_axis_deg(found.tilt_axis_deg) / 90.0)
    turned = replace(
        geometry.rows(found, used),
        tilt_axis_deg=found.tilt_axis_deg[used] - 90.0 * n_quarters,
        local_shifts_nm=None,
    )
    shape = (int(series.images.shape[1]), int(series.images.shape[2]))
    bent = bends(found.local_shifts_nm, series.pixel_size_nm, shape)
    return RawViews(series.images, used, n_quarters, turned, series.pixel_size_nm, bent)
