"""How one image lies over another that shows the same: shift, rotation, and magnification along two directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomo3d.compute import correlation
from tomo3d.compute.resampling import affine_images

_N_PATCHES = 5  # along each edge
_PATCH = 1 / 3  # of each edge
_LEAST = 24  # pixels: smaller patches tell nothing
_EDGE = 0.25  # of each patch, over which it falls to zero
_LOW, _HIGH = 1.5, 0.25  # band: periods over a patch, cycles per pixel
_N_ROUNDS = 4
_REACH = 0.15  # of a patch: how far its content may lie from where the last round says, in the first


@dataclass(frozen=True, eq=False)
class Affinity:
    """Index q of the second image, `matrix` @ p + `offset`, shows what index p (y, x) of the first shows."""

    matrix: np.ndarray  # (2, 2)
    offset: np.ndarray  # (2,)
    error: np.ndarray  # (2, 2) standard errors of the matrix, in the frame of `axes`
    n_patches: int

    def along(self, axes: np.ndarray) -> np.ndarray:
        """The matrix in a frame whose axes are the rows of `axes`."""
        return np.asarray(axes @ self.matrix @ axes.T)


def register_affine(first: np.ndarray, second: np.ndarray, axes: np.ndarray, *, max_shift: float) -> Affinity:
    """Affinity of two images of one shape, from the shifts of patches, in rounds.

    Shifts of patches are fitted by a shift, a rotation, and one magnification along each of the `axes`,
    with Tukey's weights; the second image is then resampled and compared again.
    """
    shape = first.shape
    band = correlation.band(shape, low=_LOW / min(shape), high=_HIGH)
    whole, _ = correlation.translation(
        correlation.apodise(first), correlation.apodise(second), pass_band=band, max_shift=max_shift
    )
    matrix, offset = np.eye(2), -whole
    error, n_used = np.zeros((2, 2)), 0
    middle = 0.5 * (np.array(shape) - 1)
    reach = _REACH
    for _ in range(_N_ROUNDS):
        resampled = affine_images(second[None], matrix[None], offset[None], shape)[0]
        inside = _inside(matrix, offset, shape)
        places, moves, weights = _patch_shifts(first, resampled, inside, reach)
        if len(places) < 6:
            break
        move, stretch, error, n_used = _fit(places - middle, moves, weights, axes)
        step = np.eye(2) - stretch
        offset = matrix @ (stretch @ middle - move) + offset
        matrix = matrix @ step
        reach = max(0.05, reach / 2)
    return Affinity(matrix, offset, error, n_used)


def _inside(matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where the second image was recorded, on the grid of the first."""
    y, x = np.indices(shape)
    at = np.einsum("ij,jyx->iyx", matrix, np.stack((y, x))) + offset[:, None, None]
    return np.asarray(((at >= 0) & (at <= np.array(shape)[:, None, None] - 1)).all(axis=0))


def _patch_shifts(
    first: np.ndarray, second: np.ndarray, inside: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (n, 2) of patches, how far the second must move to match the first there, and their peaks."""
    size = [min(n, max(_LEAST, round(_PATCH * n))) for n in first.shape]
    starts = [
        np.linspace(0, n - m, _N_PATCHES).round().astype(int) for n, m in zip(first.shape, size, strict=True)
    ]
    band = correlation.band((size[0], size[1]), low=_LOW / min(size), high=_HIGH)
    places, moves, peaks = [], [], []
    for y in np.unique(starts[0]):
        for x in np.unique(starts[1]):
            box = (slice(y, y + size[0]), slice(x, x + size[1]))
            if inside[box].mean() < 0.95:
                continue
            a, b = (correlation.apodise(image[box], edge=_EDGE) for image in (first, second))
            move, peak = correlation.translation(a, b, pass_band=band, max_shift=max(2.0, reach * min(size)))
            places.append((y + 0.5 * (size[0] - 1), x + 0.5 * (size[1] - 1)))
            moves.append(move)
            peaks.append(max(peak, 0.0))
    return np.array(places).reshape(-1, 2), np.array(moves).reshape(-1, 2), np.array(peaks)


def _fit(
    places: np.ndarray, moves: np.ndarray, weights: np.ndarray, axes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Shift at the middle, stretch (2, 2), standard errors of the magnifications and the rotation, and patches used."""
    a, b = axes @ places.T
    zero, one = np.zeros_like(a), np.ones_like(a)
    along = np.column_stack((one, zero, a, zero, -b))
    across = np.column_stack((zero, one, zero, b, a))
    columns, values = np.concatenate((along, across)), (axes @ moves.T).ravel()
    base = np.tile(weights**2, 2)
    robust = np.ones_like(base)
    for _ in range(10):
        root = np.sqrt(base * robust)
        found = np.linalg.lstsq(columns * root[:, None], values * root, rcond=None)[0]
        off = values - columns @ found
        limit = 4.685 * max(1.4826 * float(np.median(np.abs(off))), 1e-3)
        distance = np.hypot(off[: len(a)], off[len(a) :])
        robust = np.tile(np.clip(1.0 - (distance / (1.5 * limit)) ** 2, 0.0, None) ** 2, 2)
    weight = base * robust
    # patches overlap about twofold on each axis: their errors are not independent
    n_free = max(float((robust > 0.1).sum()) / 4.0 - 5.0, 1.0)
    variance = float((weight * off**2).sum() / weight.mean()) / 4.0 / n_free
    normal = np.linalg.pinv(columns.T @ (columns * (weight / weight.mean())[:, None]) / 4.0)
    errors = np.sqrt(np.maximum(np.diag(normal) * variance, 0.0))
    stretch = axes.T @ np.array([[found[2], -found[4]], [found[4], found[3]]]) @ axes
    error = np.array([[errors[2], errors[4]], [errors[4], errors[3]]])
    return axes.T @ found[:2], stretch, error, int((robust[: len(a)] > 0.1).sum())
