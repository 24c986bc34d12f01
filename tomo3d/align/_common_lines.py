"""Common lines: shifts along the tilt axis, and its direction, from what all views share."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import geometry, tables
from tomo3d.align._directions import (
    Z90,
    Rival,
    Scan,
    doubt_deg,
    is_truncated,
    prepared,
    rival_of,
    scanned,
    vertex,
)
from tomo3d.align._working import all_rows, planner, require_tilts, rows_in_use, turned, working_copy
from tomo3d.compute import common_line
from tomo3d.compute.common_line import Agreement
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_log = logging.getLogger(__name__)
_COARSE_PIXELS = 64
_FINE_PIXELS = 256
_COARSE_STEP_DEG = 2.0
_NEAR_DEG = np.linspace(-4.0, 4.0, 9)  # about the best of the coarse ones, and of these
_FINE_DEG = np.linspace(-1.0, 1.0, 9)
_N_CLIMBS = 4
_LEAST_REACH_DEG = 0.05  # of an interval: pixels have errors, too
_RESEMBLING = 0.5  # of the usual correlation of a view with the others: with less, it shows something else
_AGREEING = 0.3  # of the pairs of a view, for a shift to be believed


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
    are tried: the best is never on the edge of a range. It stands out if it is better than any more than 20 deg away by
    two standard errors, from leaving out tenths of the tilts (jackknife): one ball agrees with itself along any
    direction, and noise along none. The interval spans the directions nearer by that are not clearly worse, and holds
    at least what the jackknife says; in eight of ten noisy series it held the truth.

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
    cut = is_truncated(coarse.images)
    scan = scanned(prepared(coarse, tapered=cut), nominal + np.arange(-90.0, 90.0, _COARSE_STEP_DEG))
    rival = rival_of(scan)
    views = prepared(working_copy(series, max_pixels=_FINE_PIXELS), tapered=cut)
    near = _climbed(views, scan.best_deg(Agreement.score))
    fine = scanned(views, near.best_deg(Agreement.score) + _FINE_DEG, robust=True)
    # in noise the parabola over many directions is the surer one, without it that near the sharp peak
    axis_deg, error_deg = min(vertex(near), vertex(fine), key=lambda each: each[1])
    reach_deg = max(Z90 * error_deg, doubt_deg((scan, near), axis_deg), _LEAST_REACH_DEG)
    axis_deg = nominal + float(geometry.axis_difference_deg(axis_deg, nominal))
    found = max(fine.agreements, key=Agreement.score)
    if not rival.is_beaten:
        _log.warning(
            "no direction of the tilt axis stands out: %.2f of the variance of the lines is left along %.1f deg, and "
            "%.2f along %.1f deg; the axis stays at %.1f deg",
            *(rival.left, axis_deg, rival.left_there, rival.direction_deg, nominal),
        )
    final = scanned(views, np.array([axis_deg if rival.is_beaten else nominal]), robust=True)
    evidence = {
        "common_lines": _by_view(series, views, final),
        "tilt_axis": _by_direction((scan, near, fine)),
        "axis": _summary(axis_deg, reach_deg, rival, found, cut),
    }
    at_axis = turned(start, float(final.axes_deg[0]))
    shifts_nm = at_axis.shifts_nm.copy()
    shifts_nm[:, 0] = final.agreements[0].shifts * views.pixel_size_nm + shifts_nm[:, 0].mean()
    result = replace(
        at_axis,
        shifts_nm=shifts_nm,
        residual_nm=float(np.sqrt(np.mean(evidence["common_lines"]["residual_nm"] ** 2))),
        reliable=_reliable(final.agreements[0]) & rival.is_signal,
        evidence={},
    )
    return all_rows(series, result, evidence)


def _climbed(views: TiltSeries, direction_deg: float) -> Scan:
    """Directions about the best one near here."""
    for _ in range(_N_CLIMBS):
        near = scanned(views, direction_deg + _NEAR_DEG, robust=True)
        before, direction_deg = direction_deg, near.best_deg(Agreement.score)
        if abs(direction_deg - before) < _NEAR_DEG[-1]:
            return near
    _log.warning(
        "the direction of the tilt axis lies on the edge of those tried about it, at %.1f deg", direction_deg
    )
    return near


def _reliable(found: Agreement) -> np.ndarray:
    correlations = found.correlations()
    resembles = correlations > _RESEMBLING * np.median(correlations)
    return np.asarray(resembles & (found.pairs_agreeing > _AGREEING))


def _by_view(series: TiltSeries, views: TiltSeries, scan: Scan) -> pd.DataFrame:
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


def _by_direction(scans: Sequence[Scan]) -> pd.DataFrame:
    tried = {
        float(axis): math.exp(-score)
        for scan in scans
        for axis, score in zip(scan.axes_deg, scan.each(Agreement.score), strict=True)
    }
    return pd.DataFrame(sorted(tried.items()), columns=["tilt_axis_deg", "error"])


def _summary(axis_deg: float, reach_deg: float, rival: Rival, found: Agreement, cut: bool) -> pd.DataFrame:
    known = rival.is_beaten
    rows = (
        ("tilt_axis", axis_deg, reach_deg if known else math.nan, "deg", "jackknife, and directions as good"),
        ("best_elsewhere", rival.direction_deg, math.nan, "deg", ""),
        ("advantage", rival.advantage, Z90 * rival.standard_error, "", "90 %, jackknife over tilts"),
        ("variance_left", math.exp(-found.score()), math.nan, "", ""),
        ("pairs_agreeing", float(found.pairs_agreeing.mean()), math.nan, "", ""),
        ("is_distinguished", float(known), math.nan, "", ""),
        ("is_truncated", float(cut), math.nan, "", ""),
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
