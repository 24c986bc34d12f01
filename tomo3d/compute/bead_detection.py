"""Beads in the views of a tilt series: what looks like a ball, fitted, and told from what the background makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from tomo3d import geometry, progress
from tomo3d.compute import backend, ball_fit
from tomo3d.compute.ball_filter import BallFilter, Peaks
from tomo3d.compute.ball_image import BallImage
from tomo3d.compute.resampling import bin_images

_COARSE_PX = 12.0  # a ball of twice this diameter is looked for on binned views
_NULL_QUANTILE = 0.998  # of the background's scores, pooled over views
_ABOVE_NULL = 1.15
_CLEARLY = 1.4  # beads' median score over that floor
_OF_MEDIAN = 0.45  # of the median score of beads: what is lower is none
_WEAK = 0.5  # of the score of a bead: what may be one where one is expected
_CONTRAST = (0.4, 0.3)  # share of the median contrast that a bead may lack, or have beyond it
_SPREADS = 3.5  # robust standard deviations of the contrast, likewise, where they are more
_MIN_CORRELATION = 0.65  # of the median one
_MAD = 1.4826
_N_SIGN_VIEWS, _N_SIGN_PEAKS = 3, 5
_MAX_FITS = 1500


@dataclass(frozen=True, eq=False)
class Beads:
    """What may be beads in one view, best first.

    Parameters
    ----------
    positions : ndarray, shape (n, 2)
        (y, x) in pixel indices.
    score, contrast, correlation : ndarray, shape (n,)
        As in `ball_filter.Peaks` and `ball_fit.Fit`.
    sure : ndarray of bool, shape (n,)
        Beads by themselves; the others only where one is expected.
    """

    positions: np.ndarray
    score: np.ndarray
    contrast: np.ndarray
    correlation: np.ndarray
    sure: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def taken(self, keep: np.ndarray) -> Beads:
        """Some of them."""
        return Beads(
            *(each[keep] for each in (self.positions, self.score, self.contrast, self.correlation, self.sure))
        )


NONE = Beads(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))


class Detector:
    """Looks for balls of one diameter in images of one shape."""

    def __init__(self, shape: tuple[int, int], diameter_px: float) -> None:
        self.ball = BallImage(diameter_px)
        self._shape = shape
        self._factor = max(1, int(diameter_px / _COARSE_PX))
        small = (shape[0] // self._factor, shape[1] // self._factor)
        self._filter = BallFilter(small, BallImage(diameter_px / self._factor))

    def peaks(self, image: np.ndarray, sign: int) -> tuple[Peaks, Peaks]:
        """Places like a bead of a sign, and of the other, in pixels of the image."""
        factor = self._factor
        small = image if factor == 1 else bin_images(image[None], factor)[0]
        first = [(n - n // factor * factor) // 2 + geometry.centre(factor) for n in self._shape]
        bright, dark = self._filter.peaks(small, sign)
        return tuple(  # type: ignore[return-value]
            replace(each, positions=each.positions * factor + first) for each in (bright, dark)
        )

    def sign(self, images: Sequence[np.ndarray]) -> int:
        """1 if beads are brighter than their surroundings, else -1, by a few views."""
        scores = np.zeros(2)
        for image in images:
            for k, found in enumerate(self.peaks(image, 1)):
                best = found.score[:_N_SIGN_PEAKS]
                scores[k] += best.mean() if len(best) else 0.0
        return 1 if scores[0] >= scores[1] else -1

    def fitted(self, image: np.ndarray, peaks: Peaks, sign: int) -> Beads:
        """Peaks after a fit, without those that lie across the edge or ran away; the better of two that met."""
        fit = ball_fit.fit(image, peaks.positions, self.ball)
        margin = 0.5 * self.ball.diameter_px
        size = np.array(self._shape) - 1.0
        moved = np.hypot(*(fit.positions - peaks.positions).T)
        keep = (moved < max(1.5 * self._factor, 0.5 * self.ball.diameter_px)) & (sign * fit.contrast > 0)
        keep &= ((fit.positions >= margin) & (fit.positions <= size - margin)).all(axis=1)
        beads = Beads(
            fit.positions, peaks.score, fit.contrast, fit.correlation, np.zeros(len(peaks.score), dtype=bool)
        ).taken(keep)
        return beads.taken(_apart(beads.positions, 0.4 * self.ball.diameter_px))


def _apart(positions: np.ndarray, distance: float) -> np.ndarray:
    """Flags of places that no earlier one is nearer to than `distance`."""
    from scipy.spatial import cKDTree

    keep = np.ones(len(positions), dtype=bool)
    if len(positions) > 1:
        for i, j in sorted(map(tuple, cKDTree(positions).query_pairs(distance, output_type="ndarray"))):
            if keep[i]:
                keep[j] = False
    return keep


def detect(
    view_of: Callable[[int], np.ndarray],
    views: np.ndarray,
    shape: tuple[int, int],
    *,
    diameter_px: float,
    sign: int | None,
    sign_views: np.ndarray,
) -> dict[int, Beads]:
    """Beads of the `views`, which `view_of` gives one at a time; without a sign, that of the `sign_views`.

    What the background makes is learnt from places of the other sign; a bead's score lies above all but the
    highest of those, and is not far below that of the other beads of its view.
    """
    detector = Detector(shape, diameter_px)
    if sign is None:
        sign = detector.sign([view_of(int(view)) for view in sign_views[:_N_SIGN_VIEWS]])

    def look(view: int) -> tuple[Beads, np.ndarray]:
        image = view_of(view)
        found, null = detector.peaks(image, sign)
        least = 0.3 * found.score[: min(5, len(found.score))].mean() if len(found.score) else 0.0
        n = min(_MAX_FITS, max(200, int((found.score > least).sum())))
        alone = null.score[~_is_ring(null, found, 2.0 * diameter_px)]
        return detector.fitted(image, Peaks(found.positions[:n], found.score[:n]), sign), alone

    with ThreadPoolExecutor(backend.n_threads()) as pool:
        looked = progress.track(pool.map(look, map(int, views)), "looking for beads", len(views))
        results = dict(zip(map(int, views), looked, strict=True))
    null = np.concatenate([null for _, null in results.values()] or [np.zeros(0)])
    floor = _ABOVE_NULL * float(np.quantile(null, _NULL_QUANTILE)) if len(null) else 0.0
    beads = {view: _told_apart(each, floor) for view, (each, _) in results.items()}
    scores = np.concatenate([each.score[each.sure] for each in beads.values()])
    if len(scores) and np.median(scores) < _CLEARLY * floor:  # a tail of the background
        return {view: replace(each, sure=np.zeros(len(each), dtype=bool)) for view, each in beads.items()}
    return beads


def _is_ring(null: Peaks, found: Peaks, reach: float) -> np.ndarray:
    """Flags of places of the other sign that a stronger one within `reach` makes: a filter rings."""
    from scipy.spatial import cKDTree

    if not len(null.score) or not len(found.score):
        return np.zeros(len(null.score), dtype=bool)
    near = cKDTree(found.positions).query_ball_point(null.positions, reach)
    return np.array(
        [
            any(found.score[k] > 2.0 * score for k in each)
            for each, score in zip(near, null.score, strict=True)
        ],
        dtype=bool,
    )


def _upper_median(scores: np.ndarray) -> float:
    """Median of the upper of two groups, where their logarithms part best (Otsu 1979)."""
    ordered = np.sort(np.log(scores))
    n = len(ordered)
    if n < 4:
        return float(np.median(scores))
    below = np.arange(1, n)
    low = np.cumsum(ordered)[:-1] / below
    high = (ordered.sum() - np.cumsum(ordered)[:-1]) / (n - below)
    best = int(np.argmax(below * (n - below) * (high - low) ** 2)) + 1
    return float(np.exp(np.median(ordered[best:])))


def _told_apart(beads: Beads, floor: float) -> Beads:
    """The same, with those marked that are surely beads, and without those that hardly can be."""
    above = beads.score > floor
    if not above.any():
        return beads.taken(beads.score > _WEAK * floor)
    least = max(floor, _OF_MEDIAN * _upper_median(beads.score[above]))
    above = beads.score > least
    contrast = np.abs(beads.contrast)
    middle = float(np.median(contrast[above]))
    spread = _SPREADS * _MAD * float(np.median(np.abs(contrast[above] - middle)))
    lacking, beyond = (max(share * middle, min(spread, 0.5 * middle)) for share in _CONTRAST)
    alike = (contrast > middle - lacking) & (contrast < middle + beyond)
    alike &= beads.correlation > _MIN_CORRELATION * float(np.median(beads.correlation[above]))
    sure = above & alike
    keep = sure | (alike & (beads.score > _WEAK * least))
    return replace(beads, sure=sure).taken(keep)
