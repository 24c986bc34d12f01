"""Parallel-beam projector of a slab, and its exact transpose, in pixels.

u = x cos t + z sin t, v = y (see `tomo3d.geometry`). While only tilts and shifts along u are
asked for, slices along y are independent, and arrays may hold any run of them. With a residual
rotation, a magnification, a shift along v or a tilt about x they are not: arrays then hold all of y.

`Projector.forward` and `.back` take and give the public order (z, y, x) and (view, y, u). Inside, y is
the last axis, so that one interpolation weight serves a row of slices; the solvers stay in this inner order
for a whole slab. Arrays live where they are given: NumPy or CuPy.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.detector_plane import PlaneMap, plane_map
from tomo3d.compute.inner_order import is_on_cpu, to_inner, to_public, zeros_beside
from tomo3d.compute.kernels import affine, projection, projection_cuda
from tomo3d.compute.view_geometry import ViewGeometry

Array = Any
SLAB = projection.SLICES  # slices along y that are worked on together


@dataclass(frozen=True, eq=False)
class Projector(ViewGeometry):
    """The linear map from a slab (n_z, n_y, n_x) to its images (n_views, n_v, n_u), lengths in pixels.

    Its parameters are those of `ViewGeometry`.

    Notes
    -----
    A voxel shares its value linearly between pixels. Where slices along y are independent those are the two
    nearest. Views that are turned, magnified or moved along v are such views, seen at other places: interpolated by
    cubics (R. Keys, IEEE Trans. Acoust. 29 (1981) 1153-1160, doi:10.1109/TASSP.1981.1163711) between 4 x 4
    pixels, some of whose weights are negative. That is nearer to closed-form projections of ellipsoids than
    sharing among four pixels, which is done with an x-axis tilt, `z_shears` or `is_positive`, at a tenth of the speed.
    Back-projection has the same weights, so that <A x, y> = <x, A' y> within 1e-6 in float32.
    A magnified view holds the same line integrals on more pixels: a voxel's in all magnification^2 times as much,
    within 2.3 (magnification - 1)^2 of that, as the weights of a cubic waver from place to place on such a lattice.
    At 45 deg the lattice of voxels shows as a ripple of 7 % from pixel to pixel, at other angles less.
    """

    @property
    def absolute(self) -> Projector:
        """A projector without negative weights, none of which is smaller than that of this one in size.

        Its row sums r and column sums c bound steps: sum_i (sum_j a_ij x_j)^2 / r_i <= sum_j c_j x_j^2, as
        (T. Pock and A. Chambolle, ICCV (2011) 1762-1769, doi:10.1109/ICCV.2011.6126441) |a_ij| add up to no more.
        """
        return dataclasses.replace(self, is_absolute=True) if self.is_planar else self

    def forward(self, volume: Array) -> Array:
        """Line integrals of `volume` (n_z, n_y, n_x) in voxels: (n_views, n_v, n_u) float32."""
        n_y = volume.shape[1]
        n_v = n_y if self.n_v is None else self.n_v
        images = backend.namespace(volume).empty((self.n_views, n_v, self.n_u), dtype=np.float32)
        if self.is_planar and backend.namespace(volume) is np:
            to_public(self._forward_planar(volume, n_v), images)
            return images
        for y in range(0, n_y, SLAB if self.is_separable else n_y):
            slab = slice(y, y + SLAB) if self.is_separable else slice(None)
            inner = to_inner(volume[:, slab])
            to_public(self.forward_inner(inner), images[:, slab], before=self.inside.start)
        return images

    def back(self, images: Array) -> Array:
        """Transpose of `forward`: (n_z, n_y, n_x) float32 from `images` (n_views, n_v, n_u)."""
        n_v = images.shape[1]
        n_y = n_v if self.n_y is None else self.n_y
        volume = backend.namespace(images).empty((self.n_z, n_y, self.n_x), dtype=np.float32)
        if self.is_planar and backend.namespace(images) is np:
            self.back_to_public(self.padded(images), volume)
            return volume
        for y in range(0, n_y, SLAB if self.is_separable else n_y):
            slab = slice(y, y + SLAB) if self.is_separable else slice(None)
            self.back_to_public(self.padded(images[:, slab]), volume[:, slab])
        return volume

    # In the inner order, y last: images (n_views, n_u + padding, n_v), zero in the padding.

    @property
    def inside(self) -> slice:
        """The detector pixels within the padding."""
        before = projection.PAD_BEFORE if self.is_separable else 0
        return slice(before, before + self.n_u)

    def padded(self, images: Array, out: Array | None = None) -> Array:
        """Images (n_views, n_v, n_u) in the inner order, zero-padded; into `out` where given, padded already."""
        inner = self.empty_images(images, images.shape[1]) if out is None else out
        return to_inner(images, inner, before=self.inside.start)

    def forward_inner(self, volume: Array, out: Array | None = None) -> Array:
        """`forward` in the inner order, from (n_z, n_x, n_y) float32; into `out` where given."""
        n_y = volume.shape[2]
        if out is None:
            out = self.empty_images(volume, n_y if self.n_v is None else self.n_v)
        else:
            out[...] = 0
        on_cpu = is_on_cpu(volume)
        if self.is_separable:
            project = projection.forward_cpu if on_cpu else projection_cuda.forward_cuda
            project(volume, *self.tilts(), out)
        elif self.is_planar:
            plain, plane = self.on_plane(n_y, out.shape[2])
            plane.forward(plain.forward_inner(volume), out)
        else:
            project_any = affine.forward_affine_cpu if on_cpu else projection_cuda.forward_affine_cuda
            project_any(volume, self.affine(out.shape[2]), out)
            self._to_line_integrals(out)
        return out

    def back_inner(self, images: Array, out: Array | None = None) -> Array:
        """`back` in the inner order: (n_z, n_x, n_y) float32; into `out` where given."""
        if out is None:
            n_y = images.shape[2] if self.n_y is None else self.n_y
            out = zeros_beside(images, (self.n_z, self.n_x, n_y))
        else:
            out[...] = 0
        on_cpu = is_on_cpu(images)
        if self.is_separable:
            backproject = projection.back_cpu if on_cpu else projection_cuda.back_cuda
            backproject(images, *self.tilts(), out)
        elif self.is_planar:
            plain, planes = self._to_plane(images)
            plain.back_inner(planes, out=out)
        else:
            backproject_any = affine.back_affine_cpu if on_cpu else projection_cuda.back_affine_cuda
            if self.areas() is not None:
                images = images.copy()
                self._to_line_integrals(images)
            backproject_any(images, self.affine(images.shape[2]), out)
        return out

    def back_step(
        self, images: Array, weights: Array, x: Array, *, lower: float = -np.inf, upper: float = np.inf
    ) -> None:
        """x <- x + weights * back-projection of `images`, within bounds, in the inner order and in place.

        `weights` is (n_z, n_x, 1). On a CPU, where slices are independent, nothing of the size of x is held besides.
        """
        on_cpu = backend.namespace(images) is np
        if self.is_separable and on_cpu:
            projection.back_step_cpu(images, *self.tilts(), weights[:, :, 0], lower, upper, x)
        elif self.is_planar and on_cpu:
            plain, planes = self._to_plane(images)
            plain.back_step(planes, weights, x, lower=lower, upper=upper)
        else:
            x += weights * self.back_inner(images)
            backend.namespace(x).clip(x, lower, upper, out=x)

    def back_to_public(self, images: Array, out: Array) -> None:
        """`back_inner`, written to a slab `out` (n_z, n_y, n_x) float32 in the public order."""
        on_cpu = backend.namespace(images) is np
        if self.is_separable and on_cpu:
            projection.back_to_public_cpu(images, *self.tilts(), out)
        elif self.is_planar and on_cpu:
            plain, planes = self._to_plane(images)
            for y in range(0, out.shape[1], SLAB):  # slabs stay in cache
                part = planes[:, :, y : y + SLAB]
                slab = zeros_beside(images, part.shape)
                slab[...] = part
                plain.back_to_public(slab, out[:, y : y + SLAB])
        else:
            to_public(self.back_inner(images), out)

    def on_plane(self, n_y: int, n_v: int) -> tuple[Projector, PlaneMap]:
        """The separable projector onto the plane that the detector sees, and the map from that to the detector."""
        z, y, x = self.specimen_offset
        plane = plane_map(
            self.turns(),
            self.shifts_yx(),
            (n_v, self.n_u),
            n_y,
            y,
            local_shifts=self.local_shifts,
            is_absolute=self.is_absolute,
        )
        plain = Projector(
            self.tilt_angles_deg,
            plane.n_plane_u,
            self.n_x,
            self.n_z,
            plane.moves[:, 1],
            specimen_offset=(z, 0.0, x),
        )
        return plain, plane

    def _forward_planar(self, volume: Array, n_v: int) -> Array:
        """`forward`, slab by slab onto the plane, in the inner order."""
        n_y = volume.shape[1]
        plain, plane = self.on_plane(n_y, n_v)
        planes = plain.empty_images(volume, n_y)
        for y in range(0, n_y, SLAB):
            planes[:, :, y : y + SLAB] = plain.forward_inner(to_inner(volume[:, y : y + SLAB]))
        out = self.empty_images(volume, n_v)
        plane.forward(planes, out)
        return out

    def _to_plane(self, images: Array) -> tuple[Projector, Array]:
        """That projector, and images taken back to its plane."""
        n_v = images.shape[2]
        n_y = n_v if self.n_y is None else self.n_y
        plain, plane = self.on_plane(n_y, n_v)
        planes = plain.empty_images(images, n_y)
        plane.back(images, planes)
        return plain, planes

    def _to_line_integrals(self, images: Array) -> None:
        """Multiply by what a view is magnified in area, in place: the kernels share a voxel among more pixels."""
        areas = self.areas()
        if areas is not None:
            images *= backend.namespace(images).asarray(areas.astype(np.float32))[:, None, None]

    def empty_images(self, beside: Array, n_v: int) -> Array:
        """Zeros for images in the inner order, with their padding, where `beside` lives."""
        padding = projection.PAD if self.is_separable else 0
        return zeros_beside(beside, (self.n_views, self.n_u + padding, n_v))
