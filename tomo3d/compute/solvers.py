"""Reconstruction algorithms on plain arrays, in pixels, slab by slab along y."""

from __future__ import annotations

import numpy as np

from tomo3d import progress
from tomo3d.compute import filters
from tomo3d.compute.projector import SLAB, Projector

_LEAST_PATH = 0.05  # voxels; a ray or voxel that shares less with the slab or the views is left out


def wbp(
    images: np.ndarray, projector: Projector, *, window: filters.Window, pixel_size_nm: float = 1.0
) -> np.ndarray:
    """Weighted back-projection of `images` (n_views, n_y, n_u): (n_z, n_y, n_x) float32."""
    n_y, n_padded = images.shape[1], filters.padded_length(images.shape[2])
    response = filters.responses(projector.tilt_angles_deg, n_padded, window, pixel_size_nm=pixel_size_nm)
    volume = np.empty((projector.n_z, n_y, projector.n_x), dtype=np.float32)
    for y in progress.track(range(0, n_y, SLAB), "weighted back-projection", -(-n_y // SLAB)):
        filtered = filters.filter_rows(images[:, y : y + SLAB], response)
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


def cgls(images: np.ndarray, projector: Projector, *, n_iterations: int) -> np.ndarray:
    """Conjugate gradients on the least-squares problem of SIRT, every slice for itself: (n_z, n_y, n_x) float32.

    Minimises |R^(1/2) (b - A x)| with C as preconditioner, R and C being SIRT's weights: ten iterations
    do what fifty of SIRT do. Stopping early is the only regularisation
    (van der Sluis and van der Vorst, Linear Algebra Appl. 130 (1990) 257-303, doi:10.1016/0024-3795(90)90215-X).
    """
    n_y = images.shape[1]
    row_weights, column_weights = _sirt_weights(projector)
    volume = np.empty((projector.n_z, n_y, projector.n_x), dtype=np.float32)
    for y in range(0, n_y, SLAB):
        residual = projector.padded(images[:, y : y + SLAB])
        x = np.zeros((projector.n_z, projector.n_x, residual.shape[2]), dtype=np.float32)
        direction = np.zeros_like(x)
        last_power = np.zeros(residual.shape[2])
        for _ in range(n_iterations):
            gradient = projector.back_inner(row_weights * residual)
            step = column_weights * gradient
            power = np.einsum("zxy,zxy->y", gradient, step, dtype=np.float64)
            direction *= _ratio(power, last_power)
            direction += step
            change = projector.forward_inner(direction)
            length = _ratio(power, np.einsum("vuy,vuy->y", change, row_weights * change, dtype=np.float64))
            x += length * direction
            residual -= length * change
            last_power = power
        volume[:, y : y + SLAB] = x.transpose(0, 2, 1)
    return volume


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b in float32, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0).astype(np.float32)


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
