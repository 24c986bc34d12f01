"""Alignment by small bright things that the specimen has anyway, as platinum on carbon: no bead is needed."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomo3d import geometry, progress
from tomo3d.align._apply import apply
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._particle_evidence import (
    APART_PX,
    MOST_LEFT,
    Found,
    particle_tables,
    scale_table,
    uncertainty,
)
from tomo3d.align._working import (
    all_rows,
    moved,
    require_different,
    require_thickness,
    require_tilts,
    rows_in_use,
    working_copy,
)
from tomo3d.compute import bright_spots, spot_motion
from tomo3d.compute.bright_spots import Spots, SpotViews
from tomo3d.compute.spot_motion import Settled
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

Polarity = Literal["auto", "bright", "dark"]
_SIGNS: dict[str, tuple[str, ...]] = {"auto": ("bright", "dark"), "bright": ("bright",), "dark": ("dark",)}
_MAX_PIXELS = 1024  # of the working copy
_DIAMETER_PX = 5.0  # of a particle in it, at least, where views have such pixels
_WIDTHS = (0.5, 0.34, 0.25)  # of the diameter: Gaussians that the views are smoothed by, coarse to fine
_LEAST_PIXELS = 32
_COARSER = 2  # pixels of the copy on which the offset of the axis is looked for
_OFFSETS, _OFFSET_STEP_PX = 0.3, 2.0  # of the width, to either side, and pixels of that copy
_N_REPEATS = 3  # that spots are looked for anew, in the volume of the views that moved
_SETTLED_PX = 0.02
_BORDER = 2.0  # widths at the border of a view that the smoothing draws in from beside it
_KNOWN_MOVE_PX = 0.75
_FEW_IN_VIEW = 3
_FEWEST = 6  # particles


def _plan(series: Sketch, **_: Any) -> Plan:
    n_views, n_y, n_x = series.shape
    edge = min(max(n_y, n_x), _MAX_PIXELS)
    return Plan(Sketch("Alignment"), 4 * n_y * n_x + 4 * edge**2 * (6 * n_views + 8 * 80))


@planned(_plan)
def with_particles(
    series: TiltSeries,
    *,
    diameter_nm: float,
    polarity: Polarity = "auto",
    alignment: Alignment | None = None,
    thickness_nm: float | None = None,
) -> Alignment:
    """Align a tilt series by many small particles that the specimen has anyway, as platinum on carbon.

    Parameters
    ----------
    series : TiltSeries
        In any order of tilts.
    diameter_nm : float
        Of the particles, about: half and twice as large ones are found as well. At least two pixels, of at most 1024
        along a side of the image, to which larger views are binned; at most a tenth of the image.
    polarity : str
        "bright" or "dark" particles, as against their surroundings; "auto" takes those that stand out more.
    alignment : Alignment, optional
        Where the views are, within half a diameter, and the axis, within 2 deg; its offset across the field is looked
        for. Default: `cross_correlation`, and the nominal axis.
    thickness_nm : float, optional
        Thickness of the specimen along the beam. Default: the width of the image.

    Returns
    -------
    Alignment
        Shifts, and one direction of the axis; magnifications and the like as in the start. `residual_nm` is r.m.s. over
        all observations. A view that shows fewer than three particles is not reliable. Evidence:

        - "particles": particle, z_nm, y_nm, x_nm (from the middle of the volume), n_views, residual_nm (median);
        - "particle_views": view, tilt_angle_deg, n_particles, residual_nm (median), sigma_y_nm, sigma_x_nm (standard
          errors, up to what only moves the specimen or the axis across the field);
        - "particle_scales": polarity, width_nm (of the Gaussian that views were smoothed by), n_particles, apart_nm
          (r.m.s. half difference of shifts by halves of the particles), is_chosen;
        - "axis_offset": offset_nm, brightness; and "uncertainty" of the axis.

    Raises
    ------
    ValueError
        If the diameter is out of range, the polarity is none, fewer than six views are in use, or over less than
        10 deg, a pixel is not finite, a view is blank, the thickness is not positive, or the particles are too few, or
        not sure: halves of them do not agree on the shifts, or known moves are not taken back.

    Notes
    -----
    What is small looks the same from all sides, and moves with the tilt as a point does. A point cannot be drawn out
    to follow a wrong alignment, as the free volume of `projection_matching` can where the specimen goes on beside the
    field. But no particle need be found in any single view, as beads must be (`with_fiducials`): they are found in the
    mean over all views of what is as small as they are, for the offset of the axis where that is brightest. From there,
    or from the start where that leads nowhere, particles, views and axis move together to where the views are brightest
    about the particles, from wide to narrow smoothing; a view that shows them better some way off is moved there. How
    far the views move by one half of the particles and by the other says how well they are known, and which smoothing
    serves best. As noise has bright spots, too, which lie where the alignment put them, views are put out of place by
    known moves, and must come back.

    On balls of 4 to 6 pixels among larger ones that all borders cut, 31 views of 97 x 88 pixels, shifts are right
    within 0.1 px r.m.s., and 0.25 px with Gaussian noise of 0.3 of the range, up to a constant along the axis, and
    a + b cos t + c sin t across it.
    """
    require_tilts(series, "alignment by particles")
    require_thickness(thickness_nm)
    if polarity not in _SIGNS:
        raise ValueError(f"polarity must be one of {', '.join(map(repr, _SIGNS))}, got {polarity!r}.")
    largest_nm = 0.1 * min(series.images.shape[1:]) * series.pixel_size_nm
    least_nm = 2.0 * series.pixel_size_nm * math.ceil(max(series.images.shape[1:]) / _MAX_PIXELS)
    if not (math.isfinite(diameter_nm) and least_nm <= diameter_nm <= largest_nm):
        raise ValueError(
            f"diameter_nm must lie between two pixels, of at most {_MAX_PIXELS} along a side ({least_nm:g} nm), and a "
            f"tenth of the image ({largest_nm:g} nm), got {diameter_nm:g} nm."
        )
    start = rows_in_use(series, cross_correlation(series) if alignment is None else alignment)
    found = by_particles(series, start, diameter_nm, polarity, thickness_nm)
    if found is None:
        raise ValueError(
            f"alignment needs at least {_FEWEST} particles that a quarter of the views see, got fewer of "
            f"{diameter_nm:g} nm: check diameter_nm, polarity and the alignment to start from."
        )
    if not found.is_sure:
        raise ValueError(
            f"halves of the particles must agree on the shifts within {APART_PX * found.pixel_nm:.3g} nm, and at most "
            f"{MOST_LEFT:g} of known moves be left, got {found.apart_nm:.3g} nm and {found.left:.2g}: check "
            "diameter_nm, polarity and the alignment to start from."
        )
    return all_rows(series, found.alignment, found.evidence)


def by_particles(
    series: TiltSeries,
    start: Alignment,
    diameter_nm: float,
    polarity: Polarity = "auto",
    thickness_nm: float | None = None,
    *,
    least_contrast: float = 0.0,
) -> Found | None:
    """The alignment of the views in use by particles; None where there are too few. `start` has their rows.

    None, too, where what seems to be particles stands out by less than `least_contrast` (`bright_spots.Spots`).
    """
    factor = max(1, int(diameter_nm / (_DIAMETER_PX * series.pixel_size_nm)))
    max_pixels = min(_MAX_PIXELS, max(_LEAST_PIXELS, math.ceil(max(series.images.shape[1:]) / factor)))
    views = working_copy(series, max_pixels=max_pixels)
    require_different(views)
    coarse = working_copy(series, max_pixels=max(_LEAST_PIXELS, max_pixels // _COARSER))
    widths_px = np.array(_WIDTHS) * diameter_nm / views.pixel_size_nm
    tried = []
    for name in _SIGNS[polarity]:
        centred, offsets = _centred(_signed(coarse, name), start, diameter_nm, thickness_nm)
        spots = _spots(_signed(views, name), centred, widths_px[-1], thickness_nm)[2]
        _log.info("%s particles stand out by %.1f standard deviations", name, spots.contrast)
        tried.append((spots.contrast, name, centred, offsets))
    contrast, name, centred, offsets = max(tried, key=lambda each: each[0])
    if contrast < least_contrast:
        return None
    best: Found | None = None
    # where views are far off, spots may be brightest for a wrong offset
    for alignment in (centred, start):
        found = _followed(series, _signed(views, name), alignment, name, widths_px, thickness_nm)
        if found is not None and (best is None or found.left < best.left):
            best = replace(found, evidence={**found.evidence, "axis_offset": offsets})
        if best is not None and best.is_sure:
            break
    return best


def _followed(
    series: TiltSeries,
    views: TiltSeries,
    alignment: Alignment,
    name: str,
    widths_px: np.ndarray,
    thickness_nm: float | None,
) -> Found | None:
    """The alignment by bright particles, from wide to narrow smoothing; None where there are too few."""
    best: tuple[float, Alignment, Settled] | None = None
    rows: list[tuple[str, float, int, float]] = []
    for width in progress.track(widths_px, f"alignment by {name} particles", len(widths_px)):
        refined = _refined(views, alignment, width, thickness_nm)
        if refined is None:
            break
        alignment, settled, apart = refined
        rows.append((name, width * views.pixel_size_nm, len(settled.positions), apart * views.pixel_size_nm))
        _log.info("%d %s particles, whose halves are %.3f px apart", len(settled.positions), name, apart)
        if best is not None and apart >= best[0]:
            break
        best = (apart, alignment, settled)
    if best is None or not math.isfinite(best[0]) or len(best[2].positions) < _FEWEST:
        return None
    apart, alignment, settled = best
    left = _left(views, alignment, widths_px[: len(rows)], thickness_nm)
    _log.info("%.3f of known moves is left", left)
    # halves tell of what particles that pull together, as neighbours do, add to their scatter
    scattered = float(np.sqrt(np.mean(np.sum(settled.deviations**2, axis=1))))
    sigma_nm = settled.deviations * max(1.0, apart / scattered) * views.pixel_size_nm
    evidence = {
        **particle_tables(series, views, settled, sigma_nm),
        "particle_scales": scale_table(rows),
        "uncertainty": uncertainty(float(alignment.tilt_axis_deg[0]), settled),
    }
    seen = settled.weights > 0.0
    residual = float(np.sqrt(np.mean(np.sum(settled.residuals[seen] ** 2, axis=1))))
    return Found(
        replace(
            alignment,
            reliable=seen.sum(axis=0) >= _FEW_IN_VIEW,
            residual_nm=residual * views.pixel_size_nm,
            evidence={},
        ),
        sigma_nm,
        apart * views.pixel_size_nm,
        left,
        views.pixel_size_nm,
        evidence,
    )


def _signed(views: TiltSeries, name: str) -> TiltSeries:
    """The views with particles that are bright."""
    return views if name == "bright" else replace(views, images=-np.asarray(views.images))


def _left(views: TiltSeries, found: Alignment, widths_px: np.ndarray, thickness_nm: float | None) -> float:
    """How much of known moves, by which the views are put out of place, is left after they are aligned again.

    What noise makes bright lies where the alignment put it, and says that it is right, whatever it is.
    """
    tilt = np.asarray(found.tilt_angles_deg)
    phase = 2.0 * np.pi * (tilt - tilt.min()) / np.ptp(tilt)
    moves = np.random.default_rng(0).normal(0.0, _KNOWN_MOVE_PX, (len(tilt), 2))
    moves[:, 1] += 1.4 * _KNOWN_MOVE_PX * np.sin(phase)
    pixel_nm = views.pixel_size_nm
    alignment = moved(found, moves * pixel_nm)
    for width in widths_px:
        refined = _refined(views, alignment, width, thickness_nm)
        if refined is None:
            return math.inf
        alignment = refined[0]
    turn_deg = float(found.tilt_axis_deg[0] - alignment.tilt_axis_deg[0])
    there = alignment.shifts_nm @ geometry.rotation_yx(-turn_deg).T
    off = spot_motion.not_free((there - found.shifts_nm) / pixel_nm, np.deg2rad(tilt))
    known = spot_motion.not_free(moves, np.deg2rad(tilt))
    return float(np.sqrt(np.mean(off**2) / np.mean(known**2)))


def _band(views: TiltSeries, alignment: Alignment, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Aligned views in the band, and where they show something, (n_views, n_y, n_x) each."""
    n_views, n_y, n_x = views.images.shape
    border = math.ceil(_BORDER * width)
    inside = np.zeros((n_y, n_x), dtype=np.float32)
    inside[border : n_y - border, border : n_x - border] = 1.0
    images = bright_spots.band_passed(views.images, width)
    aligned = np.asarray(apply(replace(views, images=images), alignment).images)
    shown = apply(replace(views, images=np.broadcast_to(inside, (n_views, n_y, n_x))), alignment).images
    return aligned, np.asarray(shown) > 0.99


def _spots(
    views: TiltSeries, alignment: Alignment, width: float, thickness_nm: float | None
) -> tuple[np.ndarray, np.ndarray, Spots]:
    images, inside = _band(views, alignment, width)
    n_z = images.shape[2] if thickness_nm is None else max(1, round(thickness_nm / views.pixel_size_nm))
    spots = bright_spots.find(images, inside, alignment.tilt_angles_deg, width=width, n_z=n_z)
    return images, inside, spots


def _centred(
    views: TiltSeries, start: Alignment, diameter_nm: float, thickness_nm: float | None
) -> tuple[Alignment, pd.DataFrame]:
    """The start with the offset of the axis for which spots are brightest, and the brightness of all tried."""
    import pandas as pd

    width = max(1.0, _WIDTHS[0] * diameter_nm / views.pixel_size_nm)
    reach = int(_OFFSETS * max(views.images.shape[1:]) / _OFFSET_STEP_PX)
    offsets_nm = _OFFSET_STEP_PX * views.pixel_size_nm * np.arange(-reach, reach + 1)
    candidates = [moved(start, np.array([0.0, offset])) for offset in offsets_nm]
    brightness = [
        _spots(views, each, width, thickness_nm)[2].mean_brightness
        for each in progress.track(candidates, "offset of the axis by particles", len(candidates))
    ]
    table = pd.DataFrame({"offset_nm": offsets_nm, "brightness": brightness})
    return candidates[int(np.argmax(brightness))], table


def _refined(
    views: TiltSeries, alignment: Alignment, width: float, thickness_nm: float | None
) -> tuple[Alignment, Settled, float] | None:
    """The alignment for which views smoothed by `width` pixels are brightest about the spots.

    With the spots, and how far apart, in pixels, one half of them and the other see the views.
    """
    for _ in range(_N_REPEATS):
        seen = _settled(views, alignment, width, thickness_nm)
        if seen is None:
            return None
        spot_views, settled = seen
        alignment = _moved(alignment, settled, views.pixel_size_nm)
        if float(np.sqrt(np.mean(settled.shifts**2))) < _SETTLED_PX:
            break
    apart, turn = spot_motion.apart(spot_views, settled)
    return alignment, replace(settled, turn_deviation=max(turn, settled.turn_deviation)), apart


def _settled(
    views: TiltSeries, alignment: Alignment, width: float, thickness_nm: float | None
) -> tuple[SpotViews, Settled] | None:
    """The views in the band, and spots found in them as they are, views and axis settled together."""
    images, inside, spots = _spots(views, alignment, width, thickness_nm)
    tilts = np.deg2rad(alignment.tilt_angles_deg)
    spot_views = SpotViews.of(images, inside, tilts, width)
    settled = spot_motion.settle(spot_views, spot_motion.placed(spots, len(tilts)))
    if settled is None:
        return None
    settled, n_far = spot_motion.relocated(spot_views, settled)
    if n_far:
        settled = spot_motion.settle(spot_views, settled) or settled
    return spot_views, settled


def _moved(alignment: Alignment, settled: Settled, pixel_nm: float) -> Alignment:
    """The alignment that brings the middle of the spots back to the middle of the views."""
    turn_deg = float(np.rad2deg(settled.turn))
    there = moved(alignment, -settled.shifts * pixel_nm)
    return replace(
        there,
        shifts_nm=there.shifts_nm @ geometry.rotation_yx(-turn_deg).T,
        tilt_axis_deg=there.tilt_axis_deg + turn_deg,
    )
