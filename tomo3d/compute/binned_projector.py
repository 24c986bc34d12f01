"""The projector seen by a detector with other pixels, in shadow: the model of one channel of several.

All channels are reconstructed on one grid. A channel with larger pixels than the grid sees the same
projections averaged over its pixels, so its data are never resampled, and the transpose is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.projector import Projector

Array = Any
_SLACK = 0.01  # grid pixels by which a pixel may look past the field of the grid
_LEAST_PATH = 0.05  # voxels; a ray that shares less with the slab says nothing


def area_weights(n_pixels: int, n_fine: int, ratio: float, offset: float = 0.0) -> np.ndarray:
    """Share of each fine pixel in the mean over each large one, (n_pixels, n_fine) float32.

    Parameters
    ----------
    n_pixels, n_fine : int
        Number of pixels of either kind; their centres coincide but for `offset`.
    ratio : float
        Edge of a large pixel in fine ones; need not be whole, and may be below 1.
    offset : float
        How far the large pixels are moved, in fine ones.

    Returns
    -------
    ndarray
        Rows sum to 1 where the large pixel lies within the fine ones, and to its covered part elsewhere.
    """
    low = (geometry.coordinates(n_pixels) - 0.5) * ratio + offset
    fine = geometry.coordinates(n_fine) - 0.5
    overlap = np.minimum.outer(low + ratio, fine + 1.0) - np.maximum.outer(low, fine)
    return np.asarray(np.maximum(overlap, 0.0) / ratio, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class BinnedProjector:
    """The linear map S B A from a volume to the images of a channel, and its exact transpose.

    A projects on the grid's pixels, B averages over the channel's, S multiplies by the part that the
    detector sees. Arrays have y, and v, last: volume (n_z, n_x, n_y), images (n_views, n_pixels_u, n_pixels_v).

    Parameters
    ----------
    projector : Projector
        A, in pixels of the grid.
    weights_u : ndarray, shape (n_pixels_u, n_u), or None
        B across the tilt axis (see `area_weights`); None where the pixels are those of the grid.
    weights_v : ndarray, shape (n_pixels_v, n_v), or None
        B along the tilt axis.
    seen : ndarray, shape (n_views, 1, 1) or that of the images
        S: 1 for a detector in full view of the specimen, 0 where nothing was measured.
    """

    projector: Projector
    weights_u: Array | None
    weights_v: Array | None
    seen: Array

    def forward(self, volume: Array) -> Array:
        """Images (n_views, n_pixels_u, n_pixels_v) of `volume` (n_z, n_x, n_y), float32."""
        projector = self.projector
        images = projector.forward_inner(volume)[: projector.n_views, projector.inside]
        if self.weights_u is not None:
            images = self.weights_u @ images
        if self.weights_v is not None:
            images = images @ self.weights_v.T
        return images * self.seen

    def back(self, images: Array) -> Array:
        """Transpose of `forward`: (n_z, n_x, n_y)."""
        images = images * self.seen
        if self.weights_v is not None:
            images = images @ self.weights_v
        if self.weights_u is not None:
            images = self.weights_u.T @ images
        return self.projector.back_inner(self.projector.padded(images.transpose(0, 2, 1)))


def binned_projector(
    projector: Projector, n_y: int, image_shape: tuple[int, int], ratio: float, shadowing: Array
) -> BinnedProjector:
    """The operator of a channel of `image_shape` (n_pixels_u, n_pixels_v) with pixels of `ratio` grid pixels.

    Pixels that reach beyond the field of the grid, or whose ray passes it by, count as not measured.
    `shadowing` (n_views,) decides by its kind of array where the operator works.
    """
    xp = backend.namespace(shadowing)
    n_u, n_v = projector.n_u, n_y if projector.n_v is None else projector.n_v
    weights_u, weights_v = (
        None if (ratio, n_pixels) == (1.0, n) else area_weights(n_pixels, n, ratio)
        for n_pixels, n in zip(image_shape, (n_u, n_v), strict=True)
    )
    factors = xp.asarray(shadowing, dtype=xp.float32)[:, None, None]
    plain = BinnedProjector(
        projector,
        None if weights_u is None else xp.asarray(weights_u),
        None if weights_v is None else xp.asarray(weights_v),
        xp.ones((1, 1, 1), dtype=xp.float32),
    )
    path = plain.forward(xp.ones((projector.n_z, projector.n_x, n_y), dtype=xp.float32))
    within = xp.asarray(_within_field(projector, n_y, image_shape, ratio))
    seen = factors * (within & (path > _LEAST_PATH))
    return BinnedProjector(projector, plain.weights_u, plain.weights_v, seen)


def _within_field(projector: Projector, n_y: int, image_shape: tuple[int, int], ratio: float) -> np.ndarray:
    """Whether a pixel, taken to where the axes of detector and grid agree, lies within n_x by n_y: (n_views, u, v)."""
    n_views = projector.n_views
    shifts = np.zeros((n_views, 2)) if projector.shifts is None else np.asarray(projector.shifts)
    if shifts.ndim == 1:
        shifts = np.stack((np.zeros(n_views), shifts), axis=1)
    angles = np.zeros(n_views) if projector.rotations_deg is None else projector.rotations_deg
    scales = np.ones(n_views) if projector.magnifications is None else projector.magnifications
    u, v = (ratio * geometry.coordinates(n) for n in image_shape)
    inside = np.empty((n_views, *image_shape), dtype=bool)
    for k in range(n_views):
        raw = np.stack(np.broadcast_arrays(v[None, :], u[:, None])) - shifts[k][:, None, None]
        back = geometry.rotation_yx(-angles[k])
        if projector.distortions is not None:
            back = np.linalg.inv(projector.distortions[k]) @ back
        y, x = np.tensordot(back, raw, axes=1) / scales[k]
        reach = 0.5 * ratio / scales[k] - _SLACK
        inside[k] = (abs(y) + reach <= 0.5 * n_y) & (abs(x) + reach <= 0.5 * projector.n_x)
    return inside
