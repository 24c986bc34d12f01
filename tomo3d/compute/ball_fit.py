"""Balls fitted to an image, each on its own sloping background, neighbours taken off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomo3d.compute.ball_image import BallImage

_N_STEPS = 6
_N_SWEEPS = 3  # over balls that overlap
_LONGEST_STEP = 0.7  # pixels


@dataclass(frozen=True, eq=False)
class Fit:
    """Balls as fitted.

    Parameters
    ----------
    positions : ndarray, shape (n, 2)
        (y, x) in pixels.
    contrast : ndarray, shape (n,)
        Grey value at the centre less that of the background: negative for a dark ball.
    correlation : ndarray, shape (n,)
        Of the ball and the image less its background, within the window.
    """

    positions: np.ndarray
    contrast: np.ndarray
    correlation: np.ndarray


def fit(image: np.ndarray, start: np.ndarray, ball: BallImage) -> Fit:
    """Fit a ball at each place of `start`, (n, 2), whose pixel lies in the image.

    Position and height, with a plane below, by Gauss and Newton in a round window; pixels beyond the image do not
    count. Where windows overlap, the other balls are taken off and the fit is repeated.
    """
    n = len(start)
    if not n:
        return Fit(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    windows = _Windows(image, start, ball)
    positions, heights = start.astype(np.float64).copy(), np.zeros(n)
    others = np.zeros_like(windows.grey)
    pairs = _neighbours(start, 2.0 * ball.window_px)
    for sweep in range(_N_SWEEPS if len(pairs) else 1):
        if sweep:
            others = windows.of_others(pairs, positions, heights)
        positions, heights, correlation = windows.solve(windows.grey - others, positions)
    return Fit(positions, heights, correlation)


def _neighbours(positions: np.ndarray, reach: float) -> np.ndarray:
    """Ordered pairs (i, j) of different places nearer than `reach`, (m, 2)."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(positions).query_pairs(reach, output_type="ndarray")
    return np.concatenate((pairs, pairs[:, ::-1]))


class _Windows:
    """Squares of an image around places, and the ball seen in them."""

    def __init__(self, image: np.ndarray, places: np.ndarray, ball: BallImage) -> None:
        self._ball, reach = ball, ball.window_px
        self._corner = np.rint(places).astype(np.intp)
        offset = np.arange(-reach, reach + 1)
        rows, columns = self._corner[:, :1] + offset, self._corner[:, 1:] + offset
        inside = ((rows >= 0) & (rows < image.shape[0]))[:, :, None]
        inside = inside & ((columns >= 0) & (columns < image.shape[1]))[:, None, :]
        self.grey = np.asarray(
            image[
                np.clip(rows, 0, image.shape[0] - 1)[:, :, None],
                np.clip(columns, 0, image.shape[1] - 1)[:, None, :],
            ],
            dtype=np.float64,
        )
        self._y, self._x = offset[:, None].astype(float), offset[None, :].astype(float)
        self.weight = inside * np.clip(reach + 0.5 - np.hypot(self._y, self._x), 0.0, 1.0)

    def _ball_at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ball in each window, and its derivatives by its y and x."""
        off = positions - self._corner
        dy, dx = self._y - off[:, :1, None], self._x - off[:, 1:, None]
        distance = np.hypot(dy, dx)
        slope = self._ball.slope(distance) / np.maximum(distance, 1e-9)
        return self._ball.value(distance), -slope * dy, -slope * dx

    def of_others(self, pairs: np.ndarray, positions: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """What the other balls add to each window."""
        total = np.zeros_like(self.grey)
        for i, j in pairs:
            dy = self._y + (self._corner[i, 0] - positions[j, 0])
            dx = self._x + (self._corner[i, 1] - positions[j, 1])
            total[i] += heights[j] * self._ball.value(np.hypot(dy, dx))
        return total

    def solve(self, grey: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, heights and correlations."""
        n, positions = len(grey), start.copy()
        weight = self.weight.reshape(n, -1)
        plane = np.broadcast_to(
            np.stack((np.ones_like(self._y + self._x), self._y + 0 * self._x, self._x + 0 * self._y)),
            (n, 3, *grey.shape[1:]),
        ).reshape(n, 3, -1)
        values = grey.reshape(n, -1)
        height = np.zeros(n)
        for _ in range(_N_STEPS):
            ball, by_y, by_x = (each.reshape(n, -1) for each in self._ball_at(positions))
            base = np.concatenate((ball[:, None], plane), axis=1)
            linear = _least_squares(base, weight, values)
            rest = values - np.einsum("nk,nkp->np", linear, base)
            height = linear[:, 0]
            whole = np.concatenate((by_y[:, None], by_x[:, None], base), axis=1)
            step = _least_squares(whole, weight, rest)[:, :2]
            step = step / np.where(np.abs(height) > 1e-12, height, np.inf)[:, None]
            length = np.hypot(step[:, 0], step[:, 1])
            positions += step * np.minimum(1.0, _LONGEST_STEP / np.maximum(length, 1e-12))[:, None]
        flat = ball - np.einsum("nk,nkp->np", _least_squares(plane, weight, ball), plane)
        level = values - np.einsum("nk,nkp->np", linear[:, 1:], plane)
        level = level - np.einsum("nk,nkp->np", _least_squares(plane, weight, level), plane)
        product = (weight * flat * level).sum(axis=1)
        norms = np.sqrt((weight * flat**2).sum(axis=1) * (weight * level**2).sum(axis=1))
        return positions, height, np.abs(product) / np.maximum(norms, 1e-30)


def _least_squares(base: np.ndarray, weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients (n, k) of bases (n, k, p), weights (n, p), for values (n, p)."""
    weighted = base * weight[:, None]
    normal = weighted @ base.transpose(0, 2, 1)
    size = normal.shape[1]
    normal[:, np.arange(size), np.arange(size)] += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None] / size
    return np.asarray(np.linalg.solve(normal, np.einsum("nkp,np->nk", weighted, values)[:, :, None])[:, :, 0])
