"""How well the lines of all views agree along directions, and which direction stands out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage

from tomo3d import geometry, progress
from tomo3d.compute import common_line, correlation
from tomo3d.compute.common_line import Agreement
from tomo3d.types import TiltSeries

Criterion = Callable[..., float]
Z90 = 1.645
_TAPER = 0.2  # of a side, where the border cuts the specimen
_SMOOTH = 1.0 / 16.0  # of the longer side: what is smoother is taken away there
_BORDER = 0.15  # of the strongest block inside: with more beside the border, it does
_N_BLOCKS = 8
_ELSEWHERE_DEG = 20.0  # a direction that is another one
_DISTINGUISHED = 2.0  # standard errors between the best direction and the best elsewhere
_LEAST_ADVANTAGE = 0.01
_LEAST_SCORE = 0.5  # of noise it is 0.4 at most, as shifts are chosen for it
_N_GROUPS = 10  # of neighbouring tilts, left out in turn


@dataclass(frozen=True, eq=False)
class Scan:
    """Agreement of the lines along some directions, all with the same weights."""

    axes_deg: np.ndarray
    agreements: list[Agreement]
    groups: list[np.ndarray]  # of views, neighbours in tilt

    def each(self, criterion: Criterion) -> np.ndarray:
        return np.array([criterion(each) for each in self.agreements])

    def without(self, criterion: Criterion) -> np.ndarray:
        """The criterion without each group of views, (n_groups, n_axes)."""
        kept = [np.setdiff1d(np.arange(len(self.agreements[0].shifts)), group) for group in self.groups]
        return np.array([[criterion(each, rest) for each in self.agreements] for rest in kept])

    def best_deg(self, criterion: Criterion) -> float:
        return float(self.axes_deg[self.each(criterion).argmax()])


@dataclass(frozen=True)
class Rival:
    """The best direction far from the best of all, and by how much that one is better, of its `score`."""

    direction_deg: float
    score: float
    advantage: float
    standard_error: float

    @property
    def is_beaten(self) -> bool:
        least = max(_DISTINGUISHED * self.standard_error, _LEAST_ADVANTAGE)
        return self.advantage > least and self.is_signal

    @property
    def left(self) -> float:
        """Share of the variance of the lines that their mean leaves along the best direction."""
        return math.exp(-self.score)

    @property
    def left_there(self) -> float:
        """The same along this one."""
        return math.exp(self.advantage - self.score)

    @property
    def is_signal(self) -> bool:
        """Whether lines have more in common than noise has."""
        return self.score > _LEAST_SCORE


def scanned(views: TiltSeries, axes_deg: np.ndarray, *, robust: bool = False) -> Scan:
    """How well the lines of all views agree along each of the axes, (n,) in degrees."""
    images = np.asarray(views.images)
    frequency = common_line.frequencies(images.shape[1:])
    sampled = np.stack([common_line.lines(images, float(axis), frequency) for axis in axes_deg])
    spectra = common_line.spectra(images, sampled)
    agreements = [
        common_line.agreement(each, spectra, robust=robust)
        for each in progress.track(sampled, "common lines", len(sampled))
    ]
    groups = np.array_split(np.argsort(views.tilt_angles_deg, kind="stable"), min(_N_GROUPS, len(images)))
    return Scan(axes_deg, agreements, groups)


def _jackknife_error(values: np.ndarray) -> np.ndarray:
    """Standard error from values without each group, (n_groups, ...)."""
    n = len(values)
    return np.asarray(np.sqrt((n - 1) / n * np.square(values - values.mean(axis=0)).sum(axis=0)))


def rival_of(scan: Scan) -> Rival:
    """The best direction far from the best of all, and by how much it is worse, with a jackknife error."""
    scores = scan.each(Agreement.score)
    best = int(scores.argmax())
    is_far = np.abs(geometry.axis_difference_deg(scan.axes_deg, scan.axes_deg[best])) > _ELSEWHERE_DEG
    other = int(np.where(is_far, scores, -np.inf).argmax())
    without = scan.without(Agreement.score)
    error = float(_jackknife_error(without[:, best] - without[:, other]))
    return Rival(float(scan.axes_deg[other]), float(scores[best]), float(scores[best] - scores[other]), error)


def doubt_deg(scans: Sequence[Scan], axis_deg: float) -> float:
    """How far from an axis the farthest direction is that is not clearly worse; beyond 20 deg it is another one."""
    farthest = 0.0
    for scan in scans:
        scores, without = scan.each(Agreement.score), scan.without(Agreement.score)
        best = int(scores.argmax())
        behind = scores[best] - scores
        error = _jackknife_error(without[:, best, None] - without)
        off = np.abs(geometry.axis_difference_deg(scan.axes_deg, axis_deg))
        rivals = off[(behind < Z90 * error) & (off <= _ELSEWHERE_DEG)]
        farthest = max(farthest, float(rivals.max(initial=0.0)))
    return farthest


def vertex(scan: Scan) -> tuple[float, float]:
    """Where the parabola through all scores is highest, and its standard error; never beyond the directions tried.

    Noise draws the score, the surer one, to directions of strong signal, and not the fit: what they differ by is part
    of the error.
    """
    middle = float(scan.axes_deg.mean())
    steps = scan.axes_deg - middle

    def highest(scores: np.ndarray) -> float:
        curvature, slope, _ = np.polyfit(steps, scores, 2)
        if curvature >= 0:
            return float(steps[scores.argmax()])
        return float(np.clip(-slope / (2.0 * curvature), steps[0], steps[-1]))

    best, by_fit = highest(scan.each(Agreement.score)), highest(scan.each(Agreement.fit))
    error = float(_jackknife_error(np.array([highest(scores) for scores in scan.without(Agreement.score)])))
    return middle + best, math.hypot(error, best - by_fit)


def is_truncated(images: np.ndarray) -> bool:
    """Whether blocks beside the border are bright or dark in half of the views, by more than their noise."""
    n_y, n_x = images.shape[1:]
    rows, columns = (np.linspace(0, n, _N_BLOCKS + 1).astype(int)[:-1] for n in (n_y, n_x))
    strip = max(1, min(n_y, n_x) // 32)
    inside = np.abs(np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2))
    inside /= np.diff(np.append(rows, n_y))[:, None] * np.diff(np.append(columns, n_x))
    sides = [images[:, :strip], images[:, -strip:], images[:, :, :strip], images[:, :, -strip:]]
    beside = [
        np.abs(np.add.reduceat(side.mean(axis=axis), blocks, axis=1)) / np.diff(np.append(blocks, n))
        for side, axis, blocks, n in zip(
            sides, (1, 1, 2, 2), (columns, columns, rows, rows), (n_x, n_x, n_y, n_y), strict=True
        )
    ]
    noise = np.sqrt(common_line.noise_powers(images) / (strip * min(n_y, n_x) / _N_BLOCKS))
    strongest = np.concatenate(beside, axis=1).max(axis=1)
    strongest -= math.sqrt(2.0 * math.log(4 * _N_BLOCKS)) * noise  # the largest of so many means of noise
    return bool(np.median(strongest / inside.max(axis=(1, 2))) > _BORDER)


def prepared(views: TiltSeries, *, tapered: bool) -> TiltSeries:
    """The views, tapered and high-passed where the border cuts the specimen."""
    if not tapered:
        return views
    n_y, n_x = views.images.shape[1:]
    sigma = _SMOOTH * max(n_y, n_x)
    images = views.images - scipy.ndimage.gaussian_filter(views.images, (0.0, sigma, sigma), mode="nearest")
    return replace(views, images=images * correlation.soft_window((n_y, n_x), edge=_TAPER).astype(np.float32))
