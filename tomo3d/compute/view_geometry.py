"""Where a parallel beam takes the points of a slab: the parameters of a projector, and the maps that they make.

u = x cos t + z sin t, v = y (see `tomo3d.geometry`), lengths in pixels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tomo3d import geometry


@dataclass(frozen=True, eq=False)
class ViewGeometry:
    """Views of a slab: their tilts, and what else happens to them on the detector.

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
    is_absolute : bool
        Take the weights of cubics by their size: the sums that bound the steps of an iteration (`Projector.absolute`).
    local_shifts : ndarray, shape (n_views, n_nodes_v, n_nodes_u, 2), optional
        What a view moves besides, as (y, x) in pixels, on the middles of equal parts of the detector and by cubics
        between them: a pixel shows what would be at its place less the move, were there none.

    Raises
    ------
    ValueError
        If `local_shifts` has another shape, or comes with `x_tilt_deg`, `z_shears` or `is_positive`.
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
    is_absolute: bool = False

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

    def views(self, indices: Any) -> Self:
        """The same of some of the views."""
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

    def affine(self, n_v: int) -> np.ndarray:
        """(n_views, 2, 4): detector indices (u, v) = affine @ (x, y, z, 1), in voxels from the grid's centre."""
        tilt = np.deg2rad(np.asarray(self.tilt_angles_deg, dtype=np.float64))
        pitch = np.deg2rad(self.x_tilt_deg)
        u = np.stack((np.cos(tilt), np.sin(pitch) * np.sin(tilt), np.cos(pitch) * np.sin(tilt)), axis=1)
        v = np.tile([0.0, np.cos(pitch), -np.sin(pitch)], (self.n_views, 1))
        if self.z_shears is not None:
            v = v + np.asarray(self.z_shears)[:, None] * np.array([0.0, np.sin(pitch), np.cos(pitch)])
        on_plane = np.stack((v, u), axis=1)  # (view, (v, u), (x, y, z))
        linear = self.turns() @ on_plane
        z, y, x = self.specimen_offset
        centre = np.array([geometry.centre(n_v), geometry.centre(self.n_u)])
        constant = linear @ np.array([x, y, z]) + self.shifts_yx() + centre
        return np.ascontiguousarray(np.concatenate((linear, constant[:, :, None]), axis=2)[:, ::-1])

    def turns(self) -> np.ndarray:
        """(n_views, 2, 2): magnification, rotation and distortion of each view, of (y, x)."""
        ones = np.ones(self.n_views)
        rotations = 0.0 * ones if self.rotations_deg is None else self.rotations_deg
        scales = ones if self.magnifications is None else self.magnifications
        pairs = zip(scales, rotations, strict=True)
        turns = np.stack([float(scale) * geometry.rotation_yx(float(angle)) for scale, angle in pairs])
        return turns if self.distortions is None else turns @ self.distortions

    def shifts_yx(self) -> np.ndarray:
        """Shifts along v and u, (n_views, 2)."""
        shifts = np.zeros((self.n_views, 2))
        if self.shifts is not None:
            given = np.asarray(self.shifts, dtype=np.float64)
            shifts[:, 1 if given.ndim == 1 else slice(None)] = given
        return shifts

    def tilts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """cos, sin and detector index of the grid's centre for each view."""
        tilt = np.deg2rad(np.asarray(self.tilt_angles_deg, dtype=np.float64))
        cos, sin = np.cos(tilt), np.sin(tilt)
        z, _, x = self.specimen_offset
        return cos, sin, geometry.centre(self.n_u) + self.shifts_yx()[:, 1] + x * cos + z * sin

    def areas(self) -> np.ndarray | None:
        """What each view is magnified in area, (n_views,); None where none is."""
        if self.magnifications is None and self.distortions is None:
            return None
        areas = np.ones(self.n_views)
        if self.magnifications is not None:
            areas = np.square(np.asarray(self.magnifications, dtype=np.float64))
        if self.distortions is not None:
            areas = areas * np.linalg.det(self.distortions)
        return areas
