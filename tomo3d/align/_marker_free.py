"""The chain that a user runs without knowing any of its parts."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import geometry
from tomo3d.align._apply import apply
from tomo3d.align._center_of_mass import about_center_of_mass
from tomo3d.align._common_lines import common_lines
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._halves import compare_halves
from tomo3d.align._matching_level import is_filled
from tomo3d.align._particle_evidence import Found
from tomo3d.align._projection_matching import projection_matching
from tomo3d.align._tilt_axis import best_offset, refined_offset, tilt_axis
from tomo3d.align._with_particles import by_particles
from tomo3d.align._working import (
    all_rows,
    moved,
    planner,
    reduced,
    require_different,
    require_thickness,
    require_tilts,
    rows_in_use,
    working_copy,
)
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_log = logging.getLogger(__name__)
_N_ITERATIONS = 8
_MAX_PIXELS = 256  # of the copy that all parts work on
_PIXELS = 96  # where candidates are compared
_OFFSET_PIXELS = 64
_PARTICLE_PX = 5.0  # diameter of the particles that are looked for
_LEAST_CONTRAST = 8.4  # standard deviations: texture and noise reach 7.5
_FAST_PIXELS = 128  # of the views that tell what varies fast: twice as many tell it no better
_SLOW_DEG = 4.0  # of tilt: what varies less from view to view a volume knows less of than particles do
_KNOWN_DEG = 2.0  # to either side: known better than a volume knows it beside which the specimen goes on


@planned(planner(_MAX_PIXELS))
def marker_free(series: TiltSeries, *, thickness_nm: float | None = None) -> Alignment:
    """Align a tilt series without fiducials: shifts, and the direction and offset of the tilt axis.

    Parameters
    ----------
    series : TiltSeries
        In any order of tilts; shifts may jump from view to view, and the nominal axis may be wrong.
    thickness_nm : float, optional
        Thickness of the specimen along the beam, for flat specimens that fill the image. Default: the
        width of the image.

    Returns
    -------
    Alignment
        With evidence of every part: "candidates", "tilt_axis", "common_lines", "projection_matching", "convergence",
        "uncertainty"; and that of `with_particles`, where they were followed.
        On a simulated catalyst layer in views of 300 pixels shifts are right within 0.1 px across the axis and 0.03 px
        along it, and within 0.5 and 0.3 px with Gaussian noise of 0.3 of the range; on three bodies in views of 56
        pixels within 0.2 px, and 0.5 px with noise, where the axis may be off by 1 and 9 deg. That is up to a shift of
        the specimen as a whole, and the offset of the axis: over 120 deg, a shift of the specimen imitates four
        fifths of it.

    Raises
    ------
    ValueError
        If fewer than six views are in use, or over less than 10 deg, a pixel is not finite, a view is blank,
        all views are the same, a tilt angle is beyond 90 deg, or the thickness is not positive.

    Notes
    -----
    A view is read once, and all is done on pixels so large that no side has more than 256.

    Neighbouring views are correlated and the axis is searched over 180 deg. Then the shifts found so far, those
    after a second correlation of views stretched across the axis, and those of the centre of mass compete with those
    about the axis of `common_lines`, if it stands out, and along it; the ones whose two halves predict each other best
    are refined by `projection_matching`, shifts and axis together.

    Where the specimen goes on beside the field, that explains almost any turn of the axis, and shifts that vary slowly
    with tilt. If it has small particles there, as platinum on carbon, axis and shifts come from them
    (`with_particles`), and only what of the shifts varies over less than some degrees from projection matching. If not,
    and common lines know the axis within 2 deg, the axis and its interval stay theirs.

    The hand of the volume is that of the nominal axis: images cannot tell an axis from its reverse.
    """
    require_tilts(series, "alignment without markers")
    require_thickness(thickness_nm)
    series = reduced(series, max_pixels=_MAX_PIXELS)
    views = working_copy(series, max_pixels=_PIXELS, smooth=True)
    require_different(views)
    found = tilt_axis(series, alignment=cross_correlation(series), thickness_nm=thickness_nm)
    candidates = {
        "neighbours": found,
        "neighbours, stretched": cross_correlation(series, alignment=found),
        "centre of mass": about_center_of_mass(series, found),
    }
    lines = common_lines(series)
    keeps_axis = False
    if _is_distinguished(lines):
        joined = _with_shifts_across(series, lines, thickness_nm)
        candidates["common lines"] = joined
        candidates["common lines, centre of mass"] = about_center_of_mass(series, joined)
        # what lies beside the field explains almost any turn of the axis
        keeps_axis = _reach_deg(lines) <= _KNOWN_DEG and is_filled(apply(views, rows_in_use(series, joined)))
        if keeps_axis:
            candidates = {name: candidate for name, candidate in candidates.items() if "lines" in name}
    errors = {
        name: compare_halves(
            views, rows_in_use(series, candidate), n_iterations=_N_ITERATIONS, thickness_nm=thickness_nm
        ).error
        for name, candidate in candidates.items()
    }
    chosen = min(errors, key=errors.__getitem__)
    _log.info("coarse alignment by %s: held-out error %.3f", chosen, errors[chosen])
    evidence = {
        "candidates": pd.DataFrame({"candidate": list(errors), "error": list(errors.values())}),
    }
    start = rows_in_use(series, candidates[chosen])
    particles = _particles(series, start, thickness_nm) if is_filled(apply(views, start)) else None
    if particles is not None:
        result = _with_slow_part(series, particles, thickness_nm)
        refined = result.evidence
    else:
        result = projection_matching(
            series,
            alignment=candidates[chosen],
            solve="shifts" if keeps_axis else "shifts, tilt_axis",
            thickness_nm=thickness_nm,
        )
        refined = {**result.evidence, "uncertainty": _axis_of(lines)} if keeps_axis else result.evidence
    evidence["tilt_axis"] = found.evidence["tilt_axis"]
    evidence["common_lines"] = lines.evidence["common_lines"]
    off_deg = float(geometry.axis_difference_deg(float(result.tilt_axis_deg[0]), series.tilt_axis_deg))
    if abs(off_deg) > 20.0:
        _log.warning(
            "the tilt axis was found %.1f deg away from the nominal %.1f deg: the hand of the volume is not known",
            off_deg,
            series.tilt_axis_deg,
        )
    # one shift along the axis for all is free: the one that keeps the usual view where it was recorded
    usual_nm = float(np.median(result.shifts_nm[series.used, 0]))
    return replace(moved(result, np.array([-usual_nm, 0.0])), evidence={**evidence, **refined})


def _particles(series: TiltSeries, start: Alignment, thickness_nm: float | None) -> Found | None:
    """The alignment of the views in use by particles, if there are any that are surely seen."""
    diameter_nm = _PARTICLE_PX * series.pixel_size_nm
    found = by_particles(
        series, start, diameter_nm, thickness_nm=thickness_nm, least_contrast=_LEAST_CONTRAST
    )
    if found is None or not found.is_sure:
        return None
    _log.info("aligned by particles of about %.3g nm", diameter_nm)
    return found


def _with_slow_part(series: TiltSeries, particles: Found, thickness_nm: float | None) -> Alignment:
    """Shifts by projection matching, but for what varies slowly with tilt, which only the particles know here."""
    known = particles.alignment
    result = projection_matching(
        series,
        alignment=all_rows(series, known),
        solve="shifts",
        thickness_nm=thickness_nm,
        max_pixels=_FAST_PIXELS,
        is_near=True,
    )
    found = rows_in_use(series, result)
    smoothing = _smoothing(found.tilt_angles_deg)
    slow_nm = smoothing @ (known.shifts_nm - found.shifts_nm)
    table = result.evidence["projection_matching"].copy()
    for k, name in enumerate(("sigma_y_nm", "sigma_x_nm")):
        # both err where the volume knows all but the slow part; each view's particles err by themselves
        slow_sigma_nm = np.sqrt(smoothing**2 @ particles.sigma_nm[:, k] ** 2)
        table[name] = np.hypot(np.minimum(table[name], particles.sigma_nm[:, k]), slow_sigma_nm)
    evidence = {**result.evidence, **particles.evidence, "projection_matching": table}
    return all_rows(series, replace(moved(found, slow_nm), evidence={}), evidence)


def _smoothing(tilt_angles_deg: np.ndarray) -> np.ndarray:
    """(n_views, n_views): straight lines fitted about the tilt of each view, with Gaussian weights."""
    tilt = np.asarray(tilt_angles_deg)
    rows = []
    for at in tilt:
        weights = np.exp(-0.5 * ((tilt - at) / _SLOW_DEG) ** 2)
        base = np.column_stack((np.ones_like(tilt), tilt - at))
        rows.append(np.linalg.pinv(base * np.sqrt(weights)[:, None])[0] * np.sqrt(weights))
    return np.array(rows)


def _is_distinguished(lines: Alignment) -> bool:
    """Whether common lines stand out along one direction."""
    facts = lines.evidence["axis"].set_index("quantity")["value"]
    return bool(facts["is_distinguished"] == 1.0)


def _reach_deg(lines: Alignment) -> float:
    """How far the interval of the axis reaches to either side."""
    axis = _axis_of(lines).iloc[0]
    return 0.5 * float(axis["high"] - axis["low"])


def _axis_of(lines: Alignment) -> pd.DataFrame:
    """The axis of common lines, with its interval, as `projection_matching` states its own."""
    axis = lines.evidence["axis"]
    return axis[axis["quantity"] == "tilt_axis"].reset_index(drop=True)


def _with_shifts_across(series: TiltSeries, lines: Alignment, thickness_nm: float | None) -> Alignment:
    """Common lines know the axis and the shifts along it; those across it come from correlation, and its offset."""
    correlated = cross_correlation(series, alignment=lines)
    shifts_nm = np.column_stack((lines.shifts_nm[:, 0], correlated.shifts_nm[:, 1]))
    start = replace(correlated, shifts_nm=shifts_nm)
    views = working_copy(series, max_pixels=_OFFSET_PIXELS, smooth=True)
    found = best_offset(views, rows_in_use(series, start), thickness_nm)
    found = refined_offset(views, found, 2.0 * views.pixel_size_nm, thickness_nm)
    return all_rows(series, found)
