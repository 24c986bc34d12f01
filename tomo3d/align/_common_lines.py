"""Common lines: shifts along the tilt axis, and its direction, from what all views share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.ndimage

from tomo3d import geometry, progress, tables
from tomo3d.align._working import all_rows, planner, require_tilts, rows_in_use, turned, working_copy
from tomo3d.compute import common_line, correlation
from tomo3d.compute.common_line import Agreement
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

Criterion = Callable[..., float]
_log = logging.getLogger(__name__)
_COARSE_PIXELS = 64
_FINE_PIXELS = 256
_COARSE_STEP_DEG = 2.0
_NEAR_DEG = np.linspace(-4.0, 4.0, 9)  # about the best of the coarse ones, and of these
_FINE_DEG = np.linspace(-1.0, 1.0, 9)
_N_CLIMBS = 4
_TAPER = 0.2  # of a side, where the border cuts the specimen
_SMOOTH = 1.0 / 16.0  # of the longer side: what is smoother is taken away there
_BORDER = 0.15  # of the strongest block inside: with more beside the border, it does
_N_BLOCKS = 8
_ELSEWHERE_DEG = 20.0  # a direction that is another one
_DISTINGUISHED = 2.0  # standard errors between the best direction and the best elsewhere
_LEAST_ADVANTAGE = 0.01
_LEAST_SCORE = 0.5  # of noise it is 0.4 at most, as shifts are chosen for it
_N_GROUPS = 10  # of neighbouring tilts, left out in turn
_RESEMBLING = 0.5  # of the usual correlation of a view with the others: with less, it shows something else
_AGREEING = 0.3  # of the pairs of a view, for a shift to be believed
_Z90 = 1.645


@planned(planner(_FINE_PIXELS))
def common_lines(series: TiltSeries, *, alignment: Alignment | None = None) -> Alignment:
    """Shifts along the tilt axis, and its direction over 180 deg, from the line that all views share.

    Parameters
    ----------
    series : TiltSeries
        In any order of tilts; shifts may jump by up to half the image, and the axis may be anywhere.
    alignment : Alignment, optional
        Where to start from: its shifts across the axis are kept. Default: the nominal axis and no shifts.

    Returns
    -------
    Alignment
        With the axis in every row (of the two directions that differ by 180 deg, the one nearer the start), and shifts
        along it with the mean of the start's. A view is reliable if its line resembles the others and three in ten of
        its pairs agree on its shift; none is where lines share next to nothing. If no direction stands out, the axis
        is that of the start, and a warning says so.
        Evidence:

        - "common_lines": view, tilt_angle_deg, correlation (of its line with the sum of the others), pairs_agreeing
          (a share), residual_nm (half of what its shifts against each half of the other views differ by), sigma_nm
          (standard error);
        - "tilt_axis": tilt_axis_deg and error, for every direction tried: the share of the variance of the lines that
          their mean leaves (geometric mean over frequencies);
        - "axis": a summary of tilt_axis (with an interval), best_elsewhere (the best direction more than 20 deg away),
          advantage (of the best direction over that one, in the logarithm of the error, with an interval),
          variance_left (along the best), pairs_agreeing, is_distinguished and is_truncated (1 or 0).

    Raises
    ------
    ValueError
        If fewer than six views are in use, or over less than 10 deg, a pixel is not finite, or a view is blank.

    Notes
    -----
    Whatever the tilt, a specimen has the same projection onto its axis [1]_: along the axis, the transforms of all
    views agree but for shifts, and for brightness, which is divided out. For 90 directions, and finer ones about the
    best, all pairs of lines are correlated, the shifts are found that most pairs agree on, and each line is refined
    against the sum of all others. The direction is that where the mean line leaves least of the variance. All 180 deg
    are tried: the best is never on the edge of a range. Its interval comes from leaving out tenths of the tilts
    (jackknife) and from two criteria, which noise draws apart; in strong noise it may be too narrow by a factor of two.
    It stands out if it is better than any elsewhere by two standard errors: one ball agrees with itself along
    any direction, and noise along none.

    Where the border cuts the specimen, views do not show the same mass. Then a taper over a fifth of each side, and a
    high-pass, leave the lines that the middle of the field has in common: less exact, but seldom wrong.

    On ellipsoids within the field shifts are right within 0.03 px r.m.s. and the axis within 0.1 deg; with Gaussian
    noise of 0.05 of the range, in views of 64 pixels, within 0.25 px and 3 deg; on a film of balls that all borders
    cut, in views of 96 pixels, within 0.15 px and 3 deg.

    References
    ----------
    .. [1] Y. Liu, P. A. Penczek, B. F. McEwen, J. Frank, Ultramicroscopy 58 (1995) 393-402,
       doi:10.1016/0304-3991(95)00006-M
    """
    require_tilts(series, "the tilt axis")
    start = rows_in_use(series, alignment or geometry.nominal_alignment(series))
    nominal = geometry.mean_axis_deg(start.tilt_axis_deg)
    coarse = working_copy(series, max_pixels=_COARSE_PIXELS)
    is_truncated = _is_truncated(coarse.images)
    scan = _scan(_prepared(coarse, is_truncated), nominal + np.arange(-90.0, 90.0, _COARSE_STEP_DEG))
    rival = _rival(scan)
    views = _prepared(working_copy(series, max_pixels=_FINE_PIXELS), is_truncated)
    best = scan.best_deg(Agreement.score)
    for _ in range(_N_CLIMBS):
        near = _scan(views, best + _NEAR_DEG, robust=True)
        before, best = best, near.best_deg(Agreement.score)
        is_inside = abs(best - before) < _NEAR_DEG[-1]
        if is_inside:
            break
    fine = _scan(views, best + _FINE_DEG, robust=True)
    # in noise the parabola over many directions is the surer one, without it that near the sharp peak
    axis_deg, error_deg = min(_vertex(near), _vertex(fine), key=lambda each: each[1])
    axis_deg = nominal + float(geometry.axis_difference_deg(axis_deg, nominal))
    found = max(fine.agreements, key=Agreement.score)
    if not rival.is_beaten:
        _log.warning(
            "no direction of the tilt axis stands out: the mean line leaves %.2f of the variance along %.1f deg, and "
            "%.2f along %.1f deg; the axis stays at %.1f deg",
            *(
                math.exp(-rival.score),
                axis_deg,
                math.exp(rival.advantage - rival.score),
                rival.direction_deg,
                nominal,
            ),
        )
    final = _scan(views, np.array([axis_deg if rival.is_beaten else nominal]), robust=True)
    evidence = {
        "common_lines": _by_view(series, views, final),
        "tilt_axis": _by_direction((scan, near, fine)),
        "axis": _summary(axis_deg, error_deg, rival, found, is_truncated),
    }
    at_axis = turned(start, float(final.axes_deg[0]))
    shifts_nm = at_axis.shifts_nm.copy()
    shifts_nm[:, 0] = final.agreements[0].shifts * views.pixel_size_nm + shifts_nm[:, 0].mean()
    result = replace(
        at_axis,
        shifts_nm=shifts_nm,
        residual_nm=float(np.sqrt(np.mean(evidence["common_lines"]["residual_nm"] ** 2))),
        reliable=_reliable(final.agreements[0]) & (rival.score > _LEAST_SCORE),
        evidence={},
    )
    return all_rows(series, result, evidence)


@dataclass(frozen=True, eq=False)
class _Scan:
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
class _Rival:
    """The best direction far from the best of all, and by how much that one is better, of its `score`."""

    direction_deg: float
    score: float
    advantage: float
    standard_error: float

    @property
    def is_beaten(self) -> bool:
        least = max(_DISTINGUISHED * self.standard_error, _LEAST_ADVANTAGE)
        return self.advantage > least and self.score > _LEAST_SCORE


def _is_truncated(images: np.ndarray) -> bool:
    """Whether blocks beside the border are bright or dark in half of the views; blocks, as noise leaves their means."""
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
    share = np.concatenate(beside, axis=1).max(axis=1) / inside.max(axis=(1, 2))
    return bool(np.median(share) > _BORDER)


def _prepared(views: TiltSeries, is_truncated: bool) -> TiltSeries:
    if not is_truncated:
        return views
    n_y, n_x = views.images.shape[1:]
    sigma = _SMOOTH * max(n_y, n_x)
    images = views.images - scipy.ndimage.gaussian_filter(views.images, (0.0, sigma, sigma), mode="nearest")
    return replace(views, images=images * correlation.soft_window((n_y, n_x), edge=_TAPER).astype(np.float32))


def _scan(views: TiltSeries, axes_deg: np.ndarray, *, robust: bool = False) -> _Scan:
    images = np.asarray(views.images)
    frequency = common_line.frequencies(images.shape[1:])
    sampled = np.stack([common_line.lines(images, float(axis), frequency) for axis in axes_deg])
    spectra = common_line.spectra(images, sampled)
    agreements = [
        common_line.agreement(each, spectra, robust=robust)
        for each in progress.track(sampled, "common lines", len(sampled))
    ]
    groups = np.array_split(np.argsort(views.tilt_angles_deg, kind="stable"), min(_N_GROUPS, len(images)))
    return _Scan(axes_deg, agreements, groups)


def _jackknife_error(values: np.ndarray) -> np.ndarray:
    """Standard error from values without each group, (n_groups, ...)."""
    n = len(values)
    return np.asarray(np.sqrt((n - 1) / n * np.square(values - values.mean(axis=0)).sum(axis=0)))


def _rival(scan: _Scan) -> _Rival:
    scores = scan.each(Agreement.score)
    best = int(scores.argmax())
    is_far = np.abs(geometry.axis_difference_deg(scan.axes_deg, scan.axes_deg[best])) > _ELSEWHERE_DEG
    other = int(np.where(is_far, scores, -np.inf).argmax())
    without = scan.without(Agreement.score)
    error = float(_jackknife_error(without[:, best] - without[:, other]))
    return _Rival(
        float(scan.axes_deg[other]), float(scores[best]), float(scores[best] - scores[other]), error
    )


def _vertex(scan: _Scan) -> tuple[float, float]:
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


def _reliable(found: Agreement) -> np.ndarray:
    correlations = found.correlations()
    resembles = correlations > _RESEMBLING * np.median(correlations)
    return np.asarray(resembles & (found.pairs_agreeing > _AGREEING))


def _by_view(series: TiltSeries, views: TiltSeries, scan: _Scan) -> pd.DataFrame:
    found = scan.agreements[0]
    order = np.argsort(views.tilt_angles_deg, kind="stable")
    apart = common_line.between_halves(found, order[::2], order[1::2])
    return pd.DataFrame(
        {
            "view": np.flatnonzero(series.used),
            "tilt_angle_deg": views.tilt_angles_deg,
            "correlation": found.correlations(),
            "pairs_agreeing": found.pairs_agreeing,
            "residual_nm": 0.5 * apart * views.pixel_size_nm,
            "sigma_nm": common_line.standard_errors(found) * views.pixel_size_nm,
        }
    )


def _by_direction(scans: Sequence[_Scan]) -> pd.DataFrame:
    tried = {
        float(axis): math.exp(-score)
        for scan in scans
        for axis, score in zip(scan.axes_deg, scan.each(Agreement.score), strict=True)
    }
    return pd.DataFrame(sorted(tried.items()), columns=["tilt_axis_deg", "error"])


def _summary(
    axis_deg: float, error_deg: float, rival: _Rival, found: Agreement, is_truncated: bool
) -> pd.DataFrame:
    known = rival.is_beaten
    rows = (
        ("tilt_axis", axis_deg, _Z90 * error_deg if known else math.nan, "deg", "90 %, jackknife over tilts"),
        ("best_elsewhere", rival.direction_deg, math.nan, "deg", ""),
        ("advantage", rival.advantage, _Z90 * rival.standard_error, "", "90 %, jackknife over tilts"),
        ("variance_left", math.exp(-found.score()), math.nan, "", ""),
        ("pairs_agreeing", float(found.pairs_agreeing.mean()), math.nan, "", ""),
        ("is_distinguished", float(known), math.nan, "", ""),
        ("is_truncated", float(is_truncated), math.nan, "", ""),
    )
    return tables.summary(
        {
            "quantity": name,
            "value": value,
            "low": value - reach,
            "high": value + reach,
            "unit": unit,
            "n": len(found.shifts),
            "interval": interval,
        }
        for name, value, reach, unit, interval in rows
    )
