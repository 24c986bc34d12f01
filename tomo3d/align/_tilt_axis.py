"""Direction and offset of the tilt axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import geometry, progress
from tomo3d.align._apply import apply
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._halves import compare_halves
from tomo3d.align._working import (
    all_rows,
    moved,
    planner,
    reduced,
    require_thickness,
    require_tilts,
    rows_in_use,
    turned,
    working_copy,
)
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_READ_PIXELS = 256  # of the copy that the others are made of
_COARSE_PIXELS = 48
_FINE_PIXELS = 64
_STEP_DEG = 15.0
_N_ITERATIONS = 8


@planned(planner(256))
def tilt_axis(
    series: TiltSeries, *, alignment: Alignment | None = None, thickness_nm: float | None = None
) -> Alignment:
    """Direction of the tilt axis over the full 180 degrees, and where it lies across the image.

    Parameters
    ----------
    series : TiltSeries
    alignment : Alignment, optional
        Shifts to start from. Default: those of `cross_correlation`.
    thickness_nm : float, optional
        Thickness of the reconstructions that are compared. Default: the width of the image.

    Returns
    -------
    Alignment
        With the axis in every row, and its offset as a constant added to the shifts across it. Of the
        two directions that differ by 180 deg (mirrored volumes, which images cannot tell apart), the one nearer the
        nominal axis. Evidence "tilt_axis": tilt_axis_deg and error, the share of the views' root mean
        square that their prediction from the other half of the views leaves.

    Raises
    ------
    ValueError
        If fewer than six views are in use, or over less than 10 deg, a pixel is not finite, a view is blank, or the
        thickness is not positive.
    """
    require_tilts(series, "the tilt axis")
    require_thickness(thickness_nm)
    series = reduced(series, max_pixels=_READ_PIXELS)
    start = rows_in_use(series, alignment or cross_correlation(series))
    tried: dict[float, float] = {}
    coarse = working_copy(series, max_pixels=_COARSE_PIXELS, smooth=True)
    middle = geometry.mean_axis_deg(start.tilt_axis_deg)
    axes = middle + np.arange(-90.0, 90.0, _STEP_DEG)
    # an object far from the centre blurs about every axis but those near it: try it in the centre, too
    starts = (start, moved(start, -_centre_nm(coarse, start)))
    scanned = [
        (_error(coarse, turned(each, axis), thickness_nm), float(axis), number)
        for axis in progress.track(axes, "tilt axis", len(axes))
        for number, each in enumerate(starts)
    ]
    for error, axis, _ in scanned:
        tried[axis] = min(error, tried.get(axis, error))
    _, axis, number = min(scanned)
    found = best_offset(coarse, turned(starts[number], axis), thickness_nm)
    fine = working_copy(series, max_pixels=_FINE_PIXELS, smooth=True)
    for reach_deg in (10.0, 5.0):
        found = best_direction(fine, found, reach_deg, thickness_nm, tried)
        found = refined_offset(fine, found, 2.0 * fine.pixel_size_nm, thickness_nm)
    nominal = series.tilt_axis_deg
    axis = nominal + float(geometry.axis_difference_deg(float(found.tilt_axis_deg[0]), nominal))
    evidence = pd.DataFrame(sorted(tried.items()), columns=["tilt_axis_deg", "error"])
    return all_rows(series, replace(turned(found, axis), evidence={}), {"tilt_axis": evidence})


def best_direction(
    views: TiltSeries,
    alignment: Alignment,
    reach_deg: float,
    thickness_nm: float | None,
    tried: dict[float, float],
) -> Alignment:
    """The direction with the least held-out error within `reach_deg`; what was tried is noted in `tried`."""
    axis = float(alignment.tilt_axis_deg[0])

    def error(step_deg: float) -> float:
        tried[axis + step_deg] = _error(views, turned(alignment, axis + step_deg), thickness_nm)
        return tried[axis + step_deg]

    return turned(alignment, axis + _minimum(error, reach_deg, 5))


def refined_offset(
    views: TiltSeries, alignment: Alignment, reach_nm: float, thickness_nm: float | None
) -> Alignment:
    """The offset across the axis with the least held-out error within `reach_nm`."""

    def error(step_nm: float) -> float:
        return _error(views, moved(alignment, np.array([0.0, step_nm])), thickness_nm)

    return moved(alignment, np.array([0.0, _minimum(error, reach_nm, 3)]))


def best_offset(views: TiltSeries, alignment: Alignment, thickness_nm: float | None) -> Alignment:
    """The offset across the axis with the least held-out error, up to a quarter of the image away."""
    n_x = geometry.aligned_shape(views.images.shape[1:], float(alignment.tilt_axis_deg[0]))[1]
    steps_nm = np.arange(-(n_x // 4), n_x // 4 + 1, 2) * views.pixel_size_nm
    errors = [_error(views, moved(alignment, np.array([0.0, step])), thickness_nm) for step in steps_nm]
    return moved(alignment, np.array([0.0, steps_nm[int(np.argmin(errors))]]))


def _centre_nm(views: TiltSeries, alignment: Alignment) -> np.ndarray:
    """(y, x) of the centre of mass of the bright part of the mean aligned view."""
    mean = np.mean(apply(views, alignment).images, axis=0)
    mean = np.where(mean > 0.2 * np.quantile(mean, 0.999), mean, 0.0)
    if not mean.sum() > 0:
        return np.zeros(2)
    y, x = (geometry.coordinates(n) for n in mean.shape)
    return np.array([mean.sum(axis=1) @ y, mean.sum(axis=0) @ x]) / mean.sum() * views.pixel_size_nm


def _error(views: TiltSeries, alignment: Alignment, thickness_nm: float | None) -> float:
    return compare_halves(views, alignment, n_iterations=_N_ITERATIONS, thickness_nm=thickness_nm).error


def _minimum(function: Callable[[float], float], reach: float, n_points: int) -> float:
    """Where a parabola through `n_points` within `reach` of 0 is least; never beyond the reach."""
    steps = np.linspace(-reach, reach, n_points)
    values = np.array([function(float(step)) for step in steps])
    curvature, slope, _ = np.polyfit(steps, values, 2)
    if curvature <= 0:
        return float(steps[values.argmin()])
    return float(np.clip(-slope / (2 * curvature), -reach, reach))
