"""Two tilt series of one specimen, turned about the beam between them, as one projector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.inner_order import to_inner, zeros_beside
from tomo3d.compute.projector import Projector
from tomo3d.compute.registration import RigidTransform, rotation_about_beam

Array = Any


@dataclass(frozen=True, eq=False)
class MovedProjector(Projector):
    """A projector of a specimen that was turned and moved as a whole before it was tilted.

    Parameters
    ----------
    rotation : ndarray, shape (3, 3)
        Takes positions (z, y, x) of the volume to those of the specimen as it was tilted.
    move : tuple of float
        (z, y, x) in voxels, after the rotation.
    """

    rotation: np.ndarray | None = None
    move: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_separable(self) -> bool:
        """Never: slices of the volume are not slices of the specimen as it was tilted."""
        return False

    @property
    def is_planar(self) -> bool:
        """Never, as the specimen is turned in space."""
        return False

    def affine(self, n_v: int) -> np.ndarray:
        """(n_views, 2, 4): detector indices (u, v) = affine @ (x, y, z, 1), in voxels from the grid's centre."""
        tilted = super().affine(n_v)
        rotation = np.eye(3) if self.rotation is None else self.rotation
        linear = tilted[:, :, :3] @ rotation[::-1, ::-1]  # from (z, y, x) to (x, y, z)
        constant = tilted[:, :, 3] + tilted[:, :, :3] @ np.array(self.move[::-1])
        return np.ascontiguousarray(np.concatenate((linear, constant[:, :, None]), axis=2))


@dataclass(frozen=True, eq=False)
class JointProjector:
    """The linear map from one volume to the views of two series, the first's before the second's.

    It is used as a `Projector` is. The second works on the volume turned by quarters, so that its rows run along
    its own tilt axis, where projection is fast. Images are as large as the larger detector; views of a smaller one
    take their first pixels.

    Parameters
    ----------
    first : Projector
        With its `n_y` and `n_v`.
    second : MovedProjector
        Likewise, of the volume turned by `n_quarters`.
    n_quarters : int
        Quarter turns about the beam, counter-clockwise.
    """

    first: Projector
    second: MovedProjector
    n_quarters: int
    is_separable: bool = False

    @property
    def parts(self) -> tuple[Projector, Projector]:
        """Both projectors."""
        return self.first, self.second

    @property
    def absolute(self) -> JointProjector:
        """The same of `Projector.absolute`: the second has no negative weight."""
        first = self.first.absolute
        return self if first is self.first else replace(self, first=first)

    @property
    def n_views(self) -> int:
        """Number of views of both."""
        return self.first.n_views + self.second.n_views

    @property
    def n_x(self) -> int:
        """Width of the volume."""
        return self.first.n_x

    @property
    def n_y(self) -> int:
        """Slices of the volume."""
        return int(self.first.n_y or 0)

    @property
    def n_z(self) -> int:
        """Thickness of the volume."""
        return self.first.n_z

    @property
    def n_u(self) -> int:
        """Width of the larger detector."""
        return max(part.n_u for part in self.parts)

    @property
    def n_v(self) -> int:
        """Rows of the larger detector."""
        return max(int(part.n_v or 0) for part in self.parts)

    @property
    def inside(self) -> slice:
        """All pixels: there is no padding."""
        return slice(0, self.n_u)

    def views(self, indices: Any) -> JointProjector:
        """The projector of some of the views; those of the first series must come first."""
        chosen = np.asarray(indices)
        is_second = chosen >= self.first.n_views
        if np.any(np.diff(is_second.astype(int)) < 0):
            raise ValueError(
                "views of the first series must come before those of the second, got them mixed."
            )
        first, second = chosen[~is_second], chosen[is_second] - self.first.n_views
        seconds: Any = self.second.views(second)
        return replace(self, first=self.first.views(first), second=seconds)

    def padded(self, images: Array) -> Array:
        """Images (n_views, n_v, n_u) in the inner order (n_views, n_u, n_v)."""
        return to_inner(images)

    def forward_inner(self, volume: Array, out: Array | None = None) -> Array:
        """Line integrals of `volume` (n_z, n_x, n_y): (n_views, n_u, n_v); 0 where there is no detector."""
        if out is None:
            out = zeros_beside(volume, (self.n_views, self.n_u, self.n_v))
        else:
            out[...] = 0
        for part, place, source in zip(self.parts, self._places(), self._seen(volume), strict=True):
            if _is_whole(part, out[place]):
                part.forward_inner(source, out=out[place])
            else:
                out[place] = part.forward_inner(source)[:, part.inside]
        return out

    def back_inner(self, images: Array, out: Array | None = None) -> Array:
        """Transpose of `forward_inner`: (n_z, n_x, n_y)."""
        first, second = (
            _own_images(part, images[place]) for part, place in zip(self.parts, self._places(), strict=True)
        )
        out = self.first.back_inner(first, out=out)
        turned = self.second.back_inner(second)
        out += backend.namespace(images).rot90(turned, -self.n_quarters, axes=(1, 2))
        return out

    def _seen(self, volume: Array) -> tuple[Array, Array]:
        """The volume as each series sees it; in the inner order a turn from x to y is one from axis 1 to 2."""
        xp = backend.namespace(volume)
        return volume, xp.ascontiguousarray(xp.rot90(volume, self.n_quarters, axes=(1, 2)))

    def _places(self) -> list[tuple[slice, slice, slice]]:
        """Where the images of each series are among the joined ones, in the inner order."""
        views = slice(0, self.first.n_views), slice(self.first.n_views, None)
        return [
            (view, slice(0, part.n_u), slice(0, part.n_v))
            for view, part in zip(views, self.parts, strict=True)
        ]


def _is_whole(part: Projector, images: Array) -> bool:
    """Whether images out of the joined ones are as the projector of their series wants them."""
    return part.inside == slice(0, images.shape[1]) and bool(images.flags.c_contiguous)


def _own_images(part: Projector, images: Array) -> Array:
    """The images of one series out of the joined ones, in the inner order, copied only where they must be."""
    if _is_whole(part, images):
        return images
    own = part.empty_images(images, images.shape[2])
    own[:, part.inside] = images
    return own


def joint_projector(
    first: Projector, second: Projector, transform: RigidTransform, *, n_y: int
) -> JointProjector:
    """Both series from one volume of `n_y` slices in the frame of the first.

    `transform` takes positions of the volume to the frame of the second; n_x and n_z are those of the first.
    """
    first = replace(first, n_y=n_y, n_v=first.n_v or n_y)
    angle_deg = np.rad2deg(np.arctan2(transform.rotation[1, 2], transform.rotation[2, 2]))
    n_quarters = round(float(angle_deg) / 90.0)
    slices, width = (n_y, first.n_x) if n_quarters % 2 == 0 else (first.n_x, n_y)
    moved = MovedProjector(
        second.tilt_angles_deg,
        n_u=second.n_u,
        n_x=width,
        n_z=first.n_z,
        shifts=second.shifts,
        rotations_deg=second.rotations_deg,
        magnifications=second.magnifications,
        distortions=second.distortions,
        z_shears=second.z_shears,
        x_tilt_deg=second.x_tilt_deg,
        specimen_offset=second.specimen_offset,
        local_shifts=second.local_shifts,
        n_y=slices,
        n_v=second.n_v or n_y,
        rotation=transform.rotation @ rotation_about_beam(-90.0 * n_quarters),
        move=tuple(float(value) for value in transform.shift),  # type: ignore[arg-type]
    )
    return JointProjector(first, moved, n_quarters)
