"""Discs of an image replaced by what surrounds them: the slope of their rim, and the texture of a place nearby."""

from __future__ import annotations

import math

import numpy as np
import scipy.spatial

_RIM_PX = 3  # width of the rim that the surroundings are judged by
_N_DIRECTIONS = 16
_DISTANCES = (1.0, 1.4, 1.9, 2.6)  # of places to copy from, in diameters of disc and rim


def erase_discs(
    image: np.ndarray, centres: np.ndarray, radius_px: float, rng: np.random.Generator
) -> np.ndarray:
    """A copy without the discs around `centres`, (n, 2) as (y, x); all else is bit-equal.

    Each disc takes the texture of a place nearby that is free of discs and whose rim resembles its own most,
    on the plane that fits its own rim; where there is no such place, normal noise of the rim's spread.
    """
    erased = image.copy()
    if not len(centres):
        return erased
    eraser = _Eraser(image, centres, radius_px)
    for k in range(len(centres)):
        eraser.erase(erased, k, rng)
    return erased


class _Eraser:
    def __init__(self, image: np.ndarray, centres: np.ndarray, radius_px: float) -> None:
        self._image, self._centres, self._radius = image, np.asarray(centres, dtype=float), radius_px
        self._reach = math.ceil(radius_px) + _RIM_PX + 1
        self._tree = scipy.spatial.cKDTree(self._centres)
        offset = np.arange(-self._reach, self._reach + 1)
        self._y, self._x = np.meshgrid(offset, offset, indexing="ij")
        self._taken = self._all_discs()

    def _all_discs(self) -> np.ndarray:
        taken = np.zeros(self._image.shape, dtype=bool)
        for centre in self._centres:
            rows, columns, inside = self._window(np.rint(centre))
            distance = np.hypot(rows - centre[0], columns - centre[1])
            hit = inside & (distance <= self._radius)
            taken[rows[hit], columns[hit]] = True
        return taken

    def _window(self, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, columns = self._y + int(middle[0]), self._x + int(middle[1])
        n_y, n_x = self._image.shape
        return rows, columns, (rows >= 0) & (rows < n_y) & (columns >= 0) & (columns < n_x)

    def erase(self, erased: np.ndarray, k: int, rng: np.random.Generator) -> None:
        """Fill disc `k` of `erased`."""
        centre = self._centres[k]
        middle = np.rint(centre)
        rows, columns, inside = self._window(middle)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        disc = inside & (distance <= self._radius)
        if not disc.any():
            return
        rim = inside & (distance > self._radius) & (distance <= self._radius + _RIM_PX)
        rim[rim] = ~self._taken[rows[rim], columns[rim]]
        if rim.sum() < 6:  # hemmed in: all that is free within the window
            rim = inside.copy()
            rim[rim] = ~self._taken[rows[rim], columns[rim]]
        if rim.sum() < 6:
            grey = np.median(self._image[~self._taken]) if not self._taken.all() else 0.0
            self._put(erased, rows[disc], columns[disc], np.full(int(disc.sum()), float(grey)))
            return
        y, x = self._y.astype(float), self._x.astype(float)
        own = np.asarray(self._image[rows[rim], columns[rim]], dtype=np.float64)
        plane = _plane(y[rim], x[rim], own)
        level = plane[0] + plane[1] * y + plane[2] * x
        texture = self._texture(middle, disc, rim, own - level[rim])
        if texture is None:
            texture = np.asarray(rng.normal(0.0, float((own - level[rim]).std()), int(disc.sum())))
        low, high = own.min() - np.ptp(own), own.max() + np.ptp(own)  # a slope is not to run away
        self._put(erased, rows[disc], columns[disc], np.clip(level[disc], low, high) + texture)

    def _texture(
        self, middle: np.ndarray, disc: np.ndarray, rim: np.ndarray, own: np.ndarray
    ) -> np.ndarray | None:
        """Texture of the free place nearby whose rim is most like `own`, above its own plane."""
        y, x = self._y.astype(float), self._x.astype(float)
        best = np.inf
        texture: np.ndarray | None = None
        for distance in _DISTANCES:
            for turn in range(_N_DIRECTIONS):
                angle = 2.0 * np.pi * (turn + 0.5 * distance) / _N_DIRECTIONS
                step = 2.0 * (self._radius + _RIM_PX) * distance
                place = np.rint(middle + step * np.array([np.sin(angle), np.cos(angle)]))
                rows, columns, inside = self._window(place)
                both = disc | rim
                if not inside[both].all() or self._taken[rows[both], columns[both]].any():
                    continue
                around = np.asarray(self._image[rows[rim], columns[rim]], dtype=np.float64)
                plane = _plane(y[rim], x[rim], around)
                misfit = float(((around - plane[0] - plane[1] * y[rim] - plane[2] * x[rim] - own) ** 2).sum())
                if misfit < best:
                    best = misfit
                    level = plane[0] + plane[1] * y[disc] + plane[2] * x[disc]
                    texture = np.asarray(self._image[rows[disc], columns[disc]], dtype=np.float64) - level
        return texture

    def _put(self, erased: np.ndarray, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        if erased.dtype.kind in "iu":
            limits = np.iinfo(erased.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        erased[rows, columns] = values.astype(erased.dtype)


def _plane(y: np.ndarray, x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Value at 0 and slopes of the plane that fits, outliers counting little."""
    base = np.column_stack((np.ones_like(y), y, x))
    weights: np.ndarray = np.ones(len(values))
    coefficients = np.zeros(3)
    for _ in range(4):
        coefficients = np.linalg.lstsq(base * weights[:, None], values * weights, rcond=None)[0]
        error = np.abs(values - base @ coefficients)
        spread = 1.4826 * float(np.median(error))
        if not spread > 0:
            break
        weights = np.sqrt(1.0 / np.maximum(1.0, error / (2.0 * spread)))
    return np.asarray(coefficients)
