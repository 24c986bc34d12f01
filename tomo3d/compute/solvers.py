"""Reconstruction algorithms on plain arrays, in pixels, slab by slab along y."""

from __future__ import annotations

import numpy as np

from tomo3d import progress
from tomo3d.compute import filters
from tomo3d.compute.projector import SLAB, Projector

_LEAST_PATH = 0.05  # voxels; a ray or voxel that shares less with the slab or the views is left out


def wbp(images: np.ndarray, projector: Projector, *, window: filters.Window) -> np.ndarray:
    """Weighted back-projection of `images` (n_views, n_y, n_u): (n_z, n_y, n_x) float32."""
    n_y = images.shape[1]
    weights = filters.angle_weights(projector.tilt_angles_deg).astype(np.float32)
    volume = np.empty((projector.n_z, n_y, projector.n_x), dtype=np.float32)
    for y in progress.track(range(0, n_y, SLAB), "weighted back-projection", -(-n_y // SLAB)):
        filtered = filters.filter_rows(images[:, y : y + SLAB], window)
        filtered *= weights[:, None, None]
        volume[:, y : y + SLAB] = projector.back_inner(projector.padded(filtered)).transpose(0, 2, 1)
    return volume


def sirt(
    images: np.ndarray,
    projector: Projector,
    *,
    n_iterations: int,
    relaxation: float = 1.0,
    lower: float | None = None,
    upper: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """SIRT: x <- x + relaxation C A' R (b - A x), within bounds.

    Returns
    -------
    volume : ndarray, shape (n_z, n_y, n_x), float32
    residual_norms : ndarray, shape (n_iterations,)
        |b - A x| before each iteration.
    """
    n_y = images.shape[1]
    row_weights, column_weights = _sirt_weights(projector)
    volume = np.empty((projector.n_z, n_y, projector.n_x), dtype=np.float32)
    squares = np.zeros(n_iterations)
    n_slabs = -(-n_y // SLAB)
    for slab, y in enumerate(range(0, n_y, SLAB)):
        measured = projector.padded(images[:, y : y + SLAB])
        x = np.zeros((projector.n_z, projector.n_x, measured.shape[2]), dtype=np.float32)
        for i in range(n_iterations):
            residual = projector.forward_inner(x)
            np.subtract(measured, residual, out=residual)
            squares[i] += float(np.vdot(residual, residual))
            residual *= row_weights
            step = projector.back_inner(residual)
            step *= np.float32(relaxation) * column_weights
            x += step
            if lower is not None or upper is not None:
                np.clip(x, lower, upper, out=x)
            progress.report("SIRT", slab * n_iterations + i + 1, n_slabs * n_iterations)
        volume[:, y : y + SLAB] = x.transpose(0, 2, 1)
    return volume, np.sqrt(squares)


def _sirt_weights(projector: Projector) -> tuple[np.ndarray, np.ndarray]:
    """R (n_views, n_padded, 1) and C (n_z, n_x, 1): inverse row and column sums, the same for every slice."""
    ones = np.ones((projector.n_z, projector.n_x, 1), dtype=np.float32)
    rows = projector.forward_inner(ones)
    detector = np.ones((projector.n_views, 1, projector.n_u), dtype=np.float32)
    columns = projector.back_inner(projector.padded(detector))
    return _inverse(rows), _inverse(columns)


def _inverse(sums: np.ndarray) -> np.ndarray:
    """1 / sums, and 0 where there is next to nothing to divide by."""
    return np.where(sums > _LEAST_PATH, 1.0 / np.maximum(sums, _LEAST_PATH), 0.0).astype(np.float32)
