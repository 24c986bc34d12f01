"""What a ball looks like in a view: its projection, blurred, as a function of the distance from its centre."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.special

_STEP = 0.05  # pixels between tabulated distances
_PIXEL_VARIANCE = 1.0 / 12.0  # of a pixel's own width: it averages what falls on it


@dataclass(frozen=True, eq=False)
class BallImage:
    """The projection 2 sqrt(r^2 - d^2) of a ball, blurred, over its value at the centre.

    Parameters
    ----------
    diameter_px, blur_px : float
        Of the ball, and the standard deviation of a Gaussian that blurs it beyond the pixel itself.
    """

    diameter_px: float
    blur_px: float = 0.5

    @property
    def reach_px(self) -> float:
        """Distance beyond which it is nothing."""
        return 0.5 * self.diameter_px + 3.0 * math.sqrt(self.blur_px**2 + _PIXEL_VARIANCE)

    @property
    def window_px(self) -> int:
        """Half width of a square that holds it and as much background as a fit needs."""
        return math.ceil(0.5 * self.diameter_px + max(2.5, 0.25 * self.diameter_px))

    def value(self, distance: np.ndarray) -> np.ndarray:
        """At distances in pixels; 1 at the centre."""
        table, _ = _tables(self.diameter_px, self.blur_px, self.reach_px)
        return _looked_up(table, distance)

    def slope(self, distance: np.ndarray) -> np.ndarray:
        """Derivative by the distance."""
        _, table = _tables(self.diameter_px, self.blur_px, self.reach_px)
        return _looked_up(table, distance)


def _looked_up(table: np.ndarray, distance: np.ndarray) -> np.ndarray:
    position = np.minimum(np.asarray(distance) / _STEP, len(table) - 1.001)
    below = position.astype(np.intp)
    part = position - below
    return np.asarray(table[below] * (1.0 - part) + table[below + 1] * part)


@lru_cache(maxsize=16)
def _tables(diameter_px: float, blur_px: float, reach_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope at multiples of the step, up to the reach and a zero beyond.

    The transform of a ball's projection is that of the ball, 3 j1(k r) / (k r); a Gaussian multiplies it;
    the inverse is a Hankel transform.
    """
    radius, variance = 0.5 * diameter_px, blur_px**2 + _PIXEL_VARIANCE
    highest = 6.0 / math.sqrt(variance)
    n = math.ceil(highest * (reach_px + radius) * 4.0) + 64
    k = (np.arange(n) + 0.5) * (highest / n)
    spectrum = 3.0 * scipy.special.spherical_jn(1, k * radius) / (k * radius) * np.exp(-0.5 * variance * k**2)
    distances = np.arange(math.ceil(reach_px / _STEP) + 1) * _STEP
    angle = np.outer(distances, k)
    value = scipy.special.j0(angle) @ (spectrum * k)
    slope = -scipy.special.j1(angle) @ (spectrum * k**2)
    return np.append(value, 0.0) / value[0], np.append(slope, 0.0) / value[0]
