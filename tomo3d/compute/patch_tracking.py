"""Patches followed from view to view by correlation, in aligned views."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from tomo3d.compute import correlation

_N_REFERENCE = 3  # views that make up the reference of a patch
_LOW, _HIGH = 2.0, 0.2  # of the band: periods in a patch, and cycles per pixel
_CHANCE = 4.5  # standard deviations of the correlation of patches that have nothing in common
_NULL_QUANTILE = 0.9  # of such correlations, where they are measured
_STRAY = (3.0, 1.5)  # robust standard deviations, and pixels, that a patch may stray from the others
_MAD = 1.4826


@dataclass(frozen=True, eq=False)
class Patches:
    """What was followed: `positions` (n_rows, 2) as (y, x) in pixels, `views`, `tracks` and `peaks` (n_rows,)."""

    tracks: np.ndarray
    views: np.ndarray
    positions: np.ndarray
    peaks: np.ndarray


class Follower:
    """Follows a grid of patches outward from one view."""

    def __init__(self, images: np.ndarray, tilts: np.ndarray, patch_px: int, grid: np.ndarray) -> None:
        self._splines = [scipy.ndimage.spline_filter(image, order=3, output=np.float32) for image in images]
        self._shape, self._cos, self._grid = images.shape[1:], np.cos(tilts), grid
        self._offset = np.arange(patch_px) - 0.5 * (patch_px - 1)
        self._size = patch_px
        self._band = correlation.band((patch_px, patch_px), low=_LOW / patch_px, high=_HIGH)
        share = float((self._band**2).mean()) ** 2 / max(float((self._band**4).mean()), 1e-12)
        self.least_peak = min(0.9, _CHANCE / math.sqrt(max(share * 0.6 * patch_px**2, 1.0)))

    def _window(self, view: int, position: np.ndarray, stretch: float) -> np.ndarray:
        rows = position[0] + self._offset[:, None] + 0.0 * self._offset[None, :]
        columns = position[1] + stretch * self._offset[None, :] + 0.0 * self._offset[:, None]
        window = scipy.ndimage.map_coordinates(
            self._splines[view], (rows, columns), order=3, mode="nearest", prefilter=False
        )
        return correlation.apodise(window)

    def holds(self, position: np.ndarray) -> bool:
        """Whether a patch lies in the image."""
        return bool(
            (position >= 0.5 * self._size - 1).all()
            and (position <= np.array(self._shape) - 0.5 * self._size).all()
        )

    def _found(
        self, view: int, guess: np.ndarray, past: list[tuple[int, np.ndarray]]
    ) -> tuple[np.ndarray, float]:
        """Where a patch is in a view, near a guess, by the last views that showed it."""
        reference = np.mean(
            [self._window(v, p, self._cos[v] / self._cos[view]) for v, p in past[-_N_REFERENCE:]], axis=0
        )
        position, peak = guess, 0.0
        for _ in range(2):  # the second time the windows show the same
            move, peak = correlation.translation(
                reference,
                self._window(view, position, 1.0),
                pass_band=self._band,
                max_shift=0.25 * self._size,
            )
            position = position - move
        return position, peak

    def learn_chance(self, view: int, start: int) -> None:
        """Raise the least peak to what patches of two views that show different places reach."""
        places = self._grid
        others = np.roll(np.arange(len(places)), len(places) // 2)
        peaks = [
            self._found(view, places[j], [(start, places[i])])[1]
            for i, j in enumerate(others)
            if np.abs(places[i] - places[j]).max() >= self._size
        ]
        if len(peaks) >= 4:
            self.least_peak = max(self.least_peak, min(0.9, float(np.quantile(peaks, _NULL_QUANTILE))))

    def follow(self, order: list[int], begin: int) -> list[tuple[int, int, np.ndarray, float]]:
        """Rows (patch, view, position, peak) along `order`, from the view `begin` on; a break makes a new patch number.

        A patch number is that of the grid plus the grid's size for each break.
        """
        centre = 0.5 * (self._shape[1] - 1)
        n = len(self._grid)
        past: list[list[tuple[int, np.ndarray]]] = [[(begin, place.copy())] for place in self._grid]
        names = np.arange(n)
        rows = []
        before, slow = begin, np.zeros((n, 2))
        for view in order:
            stretch = self._cos[view] / self._cos[before]
            guesses = np.array([each[-1][1] for each in past])
            guesses[:, 1] = centre + (guesses[:, 1] - centre) * stretch
            guesses += slow
            found = [
                self._found(view, guess, each) if self.holds(guess) else (guess, -1.0)
                for guess, each in zip(guesses, past, strict=True)
            ]
            places, peaks = np.array([p for p, _ in found]), np.array([p for _, p in found])
            sure = (peaks >= self.least_peak) & ~self._strays(places - guesses, peaks >= self.least_peak)
            common = np.median((places - guesses)[sure], axis=0) if sure.any() else np.zeros(2)
            for i in range(n):
                if sure[i]:
                    if len(past[i]) == 1 and names[i] >= n:  # the first sight of a track that began anew
                        rows.append((int(names[i]), past[i][0][0], past[i][0][1], 1.0))
                    rows.append((int(names[i]), view, places[i], float(peaks[i])))
                    past[i].append((view, places[i]))
                else:
                    if len(past[i]) > 1:
                        names[i] += n
                    past[i] = [(view, guesses[i] + common)]
            slow = np.tile(common, (n, 1)) * 0.5
            before = view
        return rows

    def _strays(self, moves: np.ndarray, sure: np.ndarray) -> np.ndarray:
        if sure.sum() < 4:
            return np.zeros(len(moves), dtype=bool)
        off = np.abs(moves - np.median(moves[sure], axis=0))
        spread = _MAD * np.median(off[sure], axis=0)
        return np.asarray((off > _STRAY[0] * spread + _STRAY[1]).any(axis=1))


def follow(images: np.ndarray, tilts: np.ndarray, *, patch_px: int, grid: np.ndarray, length: int) -> Patches:
    """Patches at the places `grid` (n, 2) of the lowest tilt, followed both ways; tracks of at most `length` views.

    A longer track is cut into tracks that share a third of their views with the next: errors add up from view to
    view, and are not to be taken for the specimen.
    """
    start = int(np.abs(tilts).argmin())
    order = np.argsort(tilts, kind="stable")
    at = int(np.flatnonzero(order == start)[0])
    follower = Follower(images, tilts, patch_px, grid)
    n = len(grid)
    follower.learn_chance(int(order[at + 1] if at + 1 < len(order) else order[at - 1]), start)
    sides = [follower.follow([int(v) for v in part], start) for part in (order[at + 1 :], order[:at][::-1])]
    tracks: dict[tuple[int, int], list[tuple[int, np.ndarray, float]]] = {}
    for side, rows in enumerate(sides):
        for name, view, place, peak in rows:
            key = (0, name) if name < n else (side + 1, name)  # both sides of the lowest tilt are one track
            tracks.setdefault(key, []).append((view, place, peak))
    for i in range(n):
        if (0, i) in tracks:
            tracks[0, i].append((start, grid[i], 1.0))
    result = []
    for rows_of in tracks.values():
        ordered = sorted(rows_of, key=lambda row: tilts[row[0]])
        result += [part for part in _cut(ordered, length) if len(part) >= 3]
    flat = [(k, view, place, peak) for k, part in enumerate(result) for view, place, peak in part]
    return Patches(
        np.array([row[0] for row in flat], dtype=int),
        np.array([row[1] for row in flat], dtype=int),
        np.array([row[2] for row in flat]).reshape(-1, 2),
        np.array([row[3] for row in flat], dtype=float),
    )


def _cut(rows: list[tuple[int, np.ndarray, float]], length: int) -> list[list[tuple[int, np.ndarray, float]]]:
    if len(rows) <= length:
        return [rows]
    step = max(1, length - length // 3)
    n_parts = math.ceil((len(rows) - length) / step) + 1
    firsts = np.rint(np.linspace(0, len(rows) - length, n_parts)).astype(int)
    return [rows[first : first + length] for first in firsts]
