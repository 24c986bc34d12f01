"""Parallel-beam projector of a slab, and its exact transpose, in pixels.

u = x cos t + z sin t, v = y (see `tomo3d.geometry`). Slices along y are
independent, so arrays may hold any run of them. Inside, y is the last axis:
`Projector.forward` and `.back` take and give the public order (z, y, x) and
(view, y, u); the solvers stay in the inner order for a whole slab.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomo3d import geometry
from tomo3d.compute.kernels import projection

SLAB = 64  # slices along y that are worked on together
_VIEWS = 4  # the kernels take views in fours


@dataclass(frozen=True, eq=False)
class Projector:
    """The linear map from a slab (n_z, n_y, n_x) to its images (n_views, n_y, n_u), lengths in pixels.

    Parameters
    ----------
    tilt_angles_deg : ndarray, shape (n_views,)
    n_u, n_x, n_z : int
        Width of the detector, width and thickness of the slab.
    shifts : ndarray, shape (n_views,), optional
        Where the axis of rotation lands, in pixels from the centre of the detector.
    """

    tilt_angles_deg: np.ndarray
    n_u: int
    n_x: int
    n_z: int
    shifts: np.ndarray | None = None

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.tilt_angles_deg)

    def forward(self, volume: np.ndarray) -> np.ndarray:
        """Line integrals of `volume` (n_z, n_y, n_x) in voxels: (n_views, n_y, n_u) float32."""
        n_y = volume.shape[1]
        images = np.empty((self.n_views, n_y, self.n_u), dtype=np.float32)
        for y in range(0, n_y, SLAB):
            inner = np.ascontiguousarray(volume[:, y : y + SLAB].transpose(0, 2, 1), dtype=np.float32)
            images[:, y : y + SLAB] = self.forward_inner(inner)[:, self.inside].transpose(0, 2, 1)[
                : self.n_views
            ]
        return images

    def back(self, images: np.ndarray) -> np.ndarray:
        """Transpose of `forward`: (n_z, n_y, n_x) float32 from `images` (n_views, n_y, n_u)."""
        n_y = images.shape[1]
        volume = np.empty((self.n_z, n_y, self.n_x), dtype=np.float32)
        for y in range(0, n_y, SLAB):
            inner = self.back_inner(self.padded(images[:, y : y + SLAB]))
            volume[:, y : y + SLAB] = inner.transpose(0, 2, 1)
        return volume

    # In the inner order, y last: images (n_views rounded up to 4, n_u + padding, n_y), zero in the padding.

    @property
    def inside(self) -> slice:
        """The detector pixels within the padding."""
        return slice(projection.PAD_BEFORE, projection.PAD_BEFORE + self.n_u)

    def padded(self, images: np.ndarray) -> np.ndarray:
        """Images (n_views, n_y, n_u) in the inner order, zero-padded."""
        inner = self._empty_images(images.shape[1])
        inner[: self.n_views, self.inside] = images.transpose(0, 2, 1)
        return inner

    def forward_inner(self, volume: np.ndarray) -> np.ndarray:
        """`forward` in the inner order, from (n_z, n_x, n_y) float32."""
        images = self._empty_images(volume.shape[2])
        projection.forward_cpu(volume, *self._geometry(), images)
        images[:, : self.inside.start] = 0
        images[:, self.inside.stop :] = 0
        images[self.n_views :] = 0
        return images

    def back_inner(self, images: np.ndarray) -> np.ndarray:
        """`back` in the inner order: (n_z, n_x, n_y) float32."""
        volume = np.zeros((self.n_z, self.n_x, images.shape[2]), dtype=np.float32)
        projection.back_cpu(images, *self._geometry(), volume)
        return volume

    def _empty_images(self, n_y: int) -> np.ndarray:
        n_views = -(-self.n_views // _VIEWS) * _VIEWS
        return np.zeros((n_views, self.n_u + projection.PAD, n_y), dtype=np.float32)

    def _geometry(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """cos, sin and detector index of the axis for each view, filled up to a multiple of four."""
        n_missing = -self.n_views % _VIEWS
        tilt = np.deg2rad(np.pad(self.tilt_angles_deg.astype(np.float64), (0, n_missing)))
        offset = np.full(len(tilt), geometry.centre(self.n_u))
        if self.shifts is not None:
            offset[: self.n_views] += self.shifts
        return np.cos(tilt), np.sin(tilt), offset
