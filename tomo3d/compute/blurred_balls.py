"""Balls fitted to the grey values of numbered objects: blurred, stretched along z, each on a sloping background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import blurred_ball as kernels

_N_SWEEPS = 2  # over balls whose windows overlap
_CHUNK = 64  # balls that a thread takes at a time
_LONGER = 1.3  # a particle may be so much longer along z than its labels are wide
_FIRST_BLUR = 0.6  # voxels
_WELL_SEEN = 2.0  # radius over blur from which on a ball tells both
_MIN_SEEN = 5


@dataclass(frozen=True, eq=False)
class Balls:
    """Balls as fitted, lengths in the unit of the voxel size.

    Parameters
    ----------
    centre : ndarray, shape (n, 3)
        Index times voxel size.
    radius, blur, elongation, height : ndarray, shape (n,)
        Across z; standard deviation of the Gaussian across z; how many times longer ball and Gaussian are along z; grey
        value over the background. nan where nothing could be fitted.
    residual : ndarray, shape (n,)
        Root mean square of what is left.
    """

    centre: np.ndarray
    radius: np.ndarray
    blur: np.ndarray
    elongation: np.ndarray
    height: np.ndarray
    residual: np.ndarray


@dataclass(frozen=True, eq=False)
class Places:
    """Where the objects are: numbers (n,), index of the centre times voxel size (n, 3), first guess of the radius."""

    numbers: np.ndarray
    centre: np.ndarray
    radius: np.ndarray

    def windows(self, voxel: np.ndarray) -> np.ndarray:
        """Half widths, (n, 3), of the ellipsoids in which objects are fitted."""
        across = 1.25 * self.radius[:, None]
        return np.asarray(across * np.array([_LONGER, 1.0, 1.0]) + 3.0 * voxel)


def fit_balls(
    grey: np.ndarray,
    labels: np.ndarray,
    places: Places,
    voxel_size: tuple[float, float, float],
    *,
    blur: np.ndarray | None = None,
    start: Balls | None = None,
) -> Balls:
    """Fit a ball to each object, its blur too unless it is given, (n,); begin at the balls of an earlier fit.

    Height, background and its slopes, place, radius, elongation and blur by Levenberg and Marquardt in an ellipsoid
    around the object. Voxels of other objects and beside them do not count; where windows overlap the other
    balls are taken off, and the fit is repeated.
    """
    grey, labels = np.ascontiguousarray(grey, np.float32), np.ascontiguousarray(labels, np.int32)
    voxel = np.array(voxel_size, dtype=np.float64)
    n = len(places.numbers)
    windows = places.windows(voxel)
    is_free = np.ones(kernels.N_PARAMETERS, dtype=np.bool_)
    is_free[1] = blur is None
    first_guess = _guess(places, _FIRST_BLUR * voxel.mean() if blur is None else blur)
    balls, known, is_known = _beginning(first_guess, start)
    starts, others = _overlaps(places, windows, voxel)
    alone = np.zeros(n + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    residual, is_good, which = np.full(n, math.nan), np.zeros(n, dtype=np.bool_), np.arange(n)
    for sweep in range(_N_SWEEPS if len(others) else 1):
        if sweep:
            known, is_known = balls.copy(), is_good.copy()
            which = np.flatnonzero(np.diff(starts))
            again = which[~is_good[which]]
            balls[again] = first_guess[again]
        known[~is_known, 6] = 0.0  # nothing is taken off for what is not known
        lists = (starts, others) if is_known.any() else alone

        def fit(
            chunk: int,
            lists: tuple[np.ndarray, np.ndarray] = lists,
            known: np.ndarray = known,
            which: np.ndarray = which,
        ) -> None:
            part = which[chunk * _CHUNK : (chunk + 1) * _CHUNK]
            kernels.fit_all_cpu(
                grey, labels, places.numbers, places.centre, windows, voxel, *lists, known, is_free, part,
                balls, residual, is_good,
            )  # fmt: skip

        in_threads(fit, math.ceil(len(which) / _CHUNK), "fitting balls")
    balls[~is_good] = math.nan
    residual[~is_good] = math.nan
    radius, width, elongation = np.exp(balls[:, :3]).T
    return Balls(balls[:, 3:6], radius, width, elongation, balls[:, 6], residual)


def _guess(places: Places, blur: float | np.ndarray) -> np.ndarray:
    """Parameters of balls before any fit, (n, 11): the height is nan."""
    balls = np.zeros((len(places.numbers), kernels.N_PARAMETERS))
    balls[:, 0] = np.log(places.radius)
    balls[:, 1] = np.log(blur)
    balls[:, 2] = math.log(_LONGER) / 2
    balls[:, 3:6] = places.centre
    balls[:, 6] = math.nan
    return balls


def _beginning(guess: np.ndarray, start: Balls | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters to begin with, those of the balls as they are known so far, and which are known."""
    balls, known = guess.copy(), guess.copy()
    if start is None:
        return balls, known, np.zeros(len(guess), dtype=np.bool_)
    is_known = np.isfinite(start.radius)
    balls[is_known, 0] = np.log(start.radius[is_known])
    balls[is_known, 2] = np.log(start.elongation[is_known])
    balls[is_known, 3:6] = start.centre[is_known]
    known[is_known] = balls[is_known]
    known[is_known, 1] = np.log(start.blur[is_known])
    known[is_known, 6] = start.height[is_known]
    return balls, known, is_known


def shared_blur(fitted: Balls, radius: np.ndarray, blur: np.ndarray) -> float:
    """The blur that all objects share: the median of the values `blur` (n,) of those large enough to tell it.

    They are large against their blur as fitted; where fewer than five are, the five largest by `radius` (n,) count. nan
    without any.
    """
    is_known = np.isfinite(fitted.radius) & np.isfinite(blur)
    chosen = is_known & (fitted.radius > _WELL_SEEN * np.where(is_known, fitted.blur, 1.0))
    if chosen.sum() < _MIN_SEEN:
        known = np.flatnonzero(is_known)
        chosen = known[np.argsort(-radius[known], kind="stable")[:_MIN_SEEN]]
    return float(np.median(blur[chosen])) if is_known.any() else math.nan


def _overlaps(places: Places, windows: np.ndarray, voxel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each object, those whose balls reach into its window: starts (n + 1,), numbers."""
    from scipy.spatial import cKDTree

    n = len(places.numbers)
    reach = windows.max(axis=1)
    ball = _LONGER * places.radius + 2.0 * voxel.max()
    pairs = cKDTree(places.centre).query_pairs(float(reach.max() + ball.max()), output_type="ndarray")
    both = np.concatenate((pairs, pairs[:, ::-1]))
    offset = np.abs(places.centre[both[:, 0]] - places.centre[both[:, 1]])
    # within an ellipsoid of the half widths of the window and those of the ball together
    scaled = offset / (windows[both[:, 0]] + ball[both[:, 1], None])
    both = both[(scaled**2).sum(axis=1) < 1.0]
    both = both[np.argsort(both[:, 0], kind="stable")]
    return np.searchsorted(both[:, 0], np.arange(n + 1)), np.ascontiguousarray(both[:, 1])
