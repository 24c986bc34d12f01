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

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.detector_plane import PlaneMap, plane_map
from tomo3d.compute.kernels import affine, layout, projection, projection_cuda

Array = Any
SLAB = projection.SLICES  # slices along y that are worked on together
_LINE = 64  # bytes; rows that begin on a cache line are a quarter faster


@dataclass(frozen=True, eq=False)
class Projector:
    """The linear map from a slab (n_z, n_y, n_x) to its images (n_views, n_v, n_u), lengths in pixels.

    Parameters
    ----------
    tilt_angles_deg : ndarray, shape (n_views,)
    n_u, n_x, n_z : int
        Width of the detector, width and thickness of the slab.
    shifts : ndarray, shape (n_views,) or (n_views, 2), optional
        Where the point that all axes go through lands, in pixels from the centre of the detector: along u,
        or as (y, x), along v and u.
    rotations_deg : ndarray, shape (n_views,), optional
        Direction of the tilt axis on the detector, from +y, counter-clockwise.
    magnifications : ndarray, shape (n_views,), optional
        Size on the detector over size in the specimen.
    distortions : ndarray, shape (n_views, 2, 2), optional
        What happens to (y, x) on the detector before that turn and magnification: a stretch, a skew.
    z_shears : ndarray, shape (n_views,), optional
        How far a point lands along v per height.
    x_tilt_deg : float
        Tilt of the specimen about x, before the tilt series' own: IMOD's x-axis tilt.
    specimen_offset : tuple of float
        (z, y, x) of the grid's centre from the point that all axes go through, in voxels.
    n_y, n_v : int, optional
        Slices of the volume and rows of the detector, where they differ. Default: as many as the argument has.
    is_positive : bool
        Keep every weight at least 0, as counts need: cubics are not, so the slower general kernel turns the views.
    local_shifts : ndarray, shape (n_views, n_nodes_v, n_nodes_u, 2), optional
        What a view moves besides, as (y, x) in pixels, on the middles of equal parts of the detector and by cubics
        between them: a pixel shows what would be at its place less the move, were there none.

    Raises
    ------
    ValueError
        If `local_shifts` has another shape, or comes with `x_tilt_deg`, `z_shears` or `is_positive`.

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

    tilt_angles_deg: np.ndarray
    n_u: int
    n_x: int
    n_z: int
    shifts: np.ndarray | None = None
    rotations_deg: np.ndarray | None = None
    magnifications: np.ndarray | None = None
    x_tilt_deg: float = 0.0
    specimen_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    n_y: int | None = None
    n_v: int | None = None
    distortions: np.ndarray | None = None
    z_shears: np.ndarray | None = None
    is_positive: bool = False
    local_shifts: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.local_shifts is None:
            return
        shape = np.shape(self.local_shifts)
        if len(shape) != 4 or shape[0] != self.n_views or shape[3] != 2 or 0 in shape:
            raise ValueError(
                f"local_shifts must have the shape ({self.n_views}, n_nodes_v, n_nodes_u, 2), got {shape}."
            )
        if not (self.is_separable or self.is_planar):
            raise ValueError(
                "local_shifts must come without x-axis tilt, z_shears and is_positive, got them with one of these: "
                "resample the views instead."
            )

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.tilt_angles_deg)

    @property
    def is_separable(self) -> bool:
        """Whether slices along y are independent, so that any run of them can be projected."""
        is_turned = self.rotations_deg is not None and np.any(self.rotations_deg)
        is_scaled = self.magnifications is not None and np.any(np.asarray(self.magnifications) != 1)
        is_distorted = self.distortions is not None and np.any(self.distortions != np.eye(2))
        is_sheared = self.z_shears is not None and np.any(self.z_shears)
        has_shift_v = self.shifts is not None and np.ndim(self.shifts) == 2 and np.any(self.shifts[:, 0])
        is_offset = self.specimen_offset[1] != 0 or (
            self.n_y is not None and self.n_v is not None and self.n_y != self.n_v
        )
        is_bent = self.local_shifts is not None and np.any(self.local_shifts)
        return not (
            is_turned
            or is_scaled
            or is_distorted
            or is_sheared
            or has_shift_v
            or is_offset
            or is_bent
            or self.x_tilt_deg
        )

    @property
    def is_planar(self) -> bool:
        """Whether views are those of a separable projector, seen at other places of their own plane."""
        is_sheared = self.z_shears is not None and np.any(self.z_shears)
        return not (self.is_separable or is_sheared or self.x_tilt_deg or self.is_positive)

    def views(self, indices: Any) -> Projector:
        """The projector of some of the views."""
        chosen = {
            name: np.asarray(value)[indices]
            for name in (
                "tilt_angles_deg",
                "shifts",
                "rotations_deg",
                "magnifications",
                "distortions",
                "z_shears",
                "local_shifts",
            )
            if (value := getattr(self, name)) is not None
        }
        return dataclasses.replace(self, **chosen)

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
        on_cpu = _check_inner(volume)
        if self.is_separable:
            project = projection.forward_cpu if on_cpu else projection_cuda.forward_cuda
            project(volume, *self._tilts(), out)
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
        on_cpu = _check_inner(images)
        if self.is_separable:
            backproject = projection.back_cpu if on_cpu else projection_cuda.back_cuda
            backproject(images, *self._tilts(), out)
        elif self.is_planar:
            plain, planes = self._to_plane(images)
            plain.back_inner(planes, out=out)
        else:
            backproject_any = affine.back_affine_cpu if on_cpu else projection_cuda.back_affine_cuda
            if self.magnifications is not None or self.distortions is not None:
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
            projection.back_step_cpu(images, *self._tilts(), weights[:, :, 0], lower, upper, x)
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
            projection.back_to_public_cpu(images, *self._tilts(), out)
        elif self.is_planar and on_cpu:
            plain, planes = self._to_plane(images)
            for y in range(0, out.shape[1], SLAB):  # slabs stay in cache
                part = planes[:, :, y : y + SLAB]
                slab = zeros_beside(images, part.shape)
                slab[...] = part
                plain.back_to_public(slab, out[:, y : y + SLAB])
        else:
            to_public(self.back_inner(images), out)

    def affine(self, n_v: int) -> np.ndarray:
        """(n_views, 2, 4): detector indices (u, v) = affine @ (x, y, z, 1), in voxels from the grid's centre."""
        tilt = np.deg2rad(np.asarray(self.tilt_angles_deg, dtype=np.float64))
        pitch = np.deg2rad(self.x_tilt_deg)
        u = np.stack((np.cos(tilt), np.sin(pitch) * np.sin(tilt), np.cos(pitch) * np.sin(tilt)), axis=1)
        v = np.tile([0.0, np.cos(pitch), -np.sin(pitch)], (self.n_views, 1))
        if self.z_shears is not None:
            v = v + np.asarray(self.z_shears)[:, None] * np.array([0.0, np.sin(pitch), np.cos(pitch)])
        on_plane = np.stack((v, u), axis=1)  # (view, (v, u), (x, y, z))
        linear = self._turns() @ on_plane
        z, y, x = self.specimen_offset
        centre = np.array([geometry.centre(n_v), geometry.centre(self.n_u)])
        constant = linear @ np.array([x, y, z]) + self._shifts_yx() + centre
        return np.ascontiguousarray(np.concatenate((linear, constant[:, :, None]), axis=2)[:, ::-1])

    def _turns(self) -> np.ndarray:
        """(n_views, 2, 2): magnification, rotation and distortion of each view, of (y, x)."""
        ones = np.ones(self.n_views)
        rotations = 0.0 * ones if self.rotations_deg is None else self.rotations_deg
        scales = ones if self.magnifications is None else self.magnifications
        pairs = zip(scales, rotations, strict=True)
        turns = np.stack([float(scale) * geometry.rotation_yx(float(angle)) for scale, angle in pairs])
        return turns if self.distortions is None else turns @ self.distortions

    def on_plane(self, n_y: int, n_v: int) -> tuple[Projector, PlaneMap]:
        """The separable projector onto the plane that the detector sees, and the map from that to the detector."""
        z, y, x = self.specimen_offset
        plane = plane_map(
            self._turns(), self._shifts_yx(), (n_v, self.n_u), n_y, y, local_shifts=self.local_shifts
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
        areas = np.ones(self.n_views)
        if self.magnifications is not None:
            areas = np.square(np.asarray(self.magnifications, dtype=np.float64))
        if self.distortions is not None:
            areas = areas * np.linalg.det(self.distortions)
        if self.magnifications is not None or self.distortions is not None:
            images *= backend.namespace(images).asarray(areas.astype(np.float32))[:, None, None]

    def _shifts_yx(self) -> np.ndarray:
        shifts = np.zeros((self.n_views, 2))
        if self.shifts is not None:
            given = np.asarray(self.shifts, dtype=np.float64)
            shifts[:, 1 if given.ndim == 1 else slice(None)] = given
        return shifts

    def _tilts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """cos, sin and detector index of the grid's centre for each view."""
        tilt = np.deg2rad(np.asarray(self.tilt_angles_deg, dtype=np.float64))
        cos, sin = np.cos(tilt), np.sin(tilt)
        z, _, x = self.specimen_offset
        return cos, sin, geometry.centre(self.n_u) + self._shifts_yx()[:, 1] + x * cos + z * sin

    def empty_images(self, beside: Array, n_v: int) -> Array:
        """Zeros for images in the inner order, with their padding, where `beside` lives."""
        padding = projection.PAD if self.is_separable else 0
        return zeros_beside(beside, (self.n_views, self.n_u + padding, n_v))


def _check_inner(array: Array) -> bool:
    """Whether an array in the inner order lives on the CPU; TypeError unless the kernels can read it."""
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise TypeError(
            f"arrays in the inner order must be C-contiguous float32, got {array.dtype}, "
            f"{'contiguous' if array.flags.c_contiguous else 'not contiguous'}."
        )
    return backend.namespace(array) is np


def zeros_beside(array: Array, shape: tuple[int, ...]) -> Array:
    """Zeros in float32 where `array` lives, beginning on a cache line."""
    xp = backend.namespace(array)
    if xp is not np:
        return xp.zeros(shape, dtype=np.float32)
    n_bytes = 4 * int(np.prod(shape, dtype=np.int64))
    memory = np.zeros(n_bytes + _LINE, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + n_bytes].view(np.float32).reshape(shape)


def takes_slabs_directly(out: Any, xp: Any) -> bool:
    """Whether a kernel may write to `out`: an array of module `xp`, float32, its rows along x without gaps."""
    return isinstance(out, xp.ndarray) and out.dtype == np.float32 and out.strides[-1] == out.itemsize


def to_inner(public: Array, out: Array | None = None, *, before: int = 0) -> Array:
    """(a, n_y, b) in the inner order, out[:, before:before + b] = (a, b, n_y) float32."""
    n_a, n_y, n_b = public.shape
    if out is None:
        out = zeros_beside(public, (n_a, n_b, n_y))
    if backend.namespace(public) is np:
        rows = np.asarray(public, dtype=np.float32)
        layout.to_inner_cpu(
            rows if rows.strides[-1] == rows.itemsize else np.ascontiguousarray(rows), out, before
        )
    else:
        out[:, before : before + n_b] = public.transpose(0, 2, 1)
    return out


def to_public(inner: Array, out: Array, *, before: int = 0, scale: float = 1.0) -> None:
    """out = scale * inner[:, before:before + b] turned to the public order, out being (a, n_y, b) float32."""
    if backend.namespace(inner) is np:
        layout.to_public_cpu(inner, before, scale, out)
    else:
        turned = inner[:, before : before + out.shape[2]].transpose(0, 2, 1)
        backend.namespace(inner).multiply(turned, scale, out=out)
