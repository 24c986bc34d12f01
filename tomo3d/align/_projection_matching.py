"""Refinement without markers: the alignment that leaves least of the views unexplained by one volume."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._field_halves import Spread, Views, field_spread
from tomo3d.align._linearised import PARAMETERS
from tomo3d.align._matching_level import Level, State, level_sizes
from tomo3d.align._matching_passes import explained, refine_level, support_of, trust
from tomo3d.align._working import (
    all_rows,
    moved,
    planner,
    reduced,
    require_thickness,
    require_tilts,
    rows_in_use,
)
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_log = logging.getLogger(__name__)
_NORMAL_90 = 1.645  # standard errors to either side hold 90 %
_MAX_PASSES = 10  # of the coarsest level
_MAX_FINE_PASSES = 3  # of the others, which begin where the one before ended
_NOTHING = 1.0  # error of a view of which the others predict nothing


@planned(planner(256))
def projection_matching(
    series: TiltSeries,
    *,
    alignment: Alignment | None = None,
    thickness_nm: float | None = None,
    solve: str = "shifts,tilt_axis",
    max_pixels: int = 256,
    is_near: bool = False,
) -> Alignment:
    """Refine an alignment until one volume explains all views as well as it can, coarse to fine.

    Parameters
    ----------
    series : TiltSeries
    alignment : Alignment, optional
        Where to start from. Default: `cross_correlation` and the nominal axis.
    thickness_nm : float, optional
        Thickness of the specimen along the beam, for flat specimens that fill the image. Default: the
        width of the image.
    solve : str
        What is refined, separated by commas: shifts, tilt_axis (one direction for all views), tilt_angles and
        magnification (one for each view).
    max_pixels : int
        Views are binned until no side exceeds this; more is slower and finer.
    is_near : bool
        True where the alignment is right within a pixel of views so binned: coarser ones are left out.

    Returns
    -------
    Alignment
        `residual_nm` is the r.m.s. move that the last pass still asked for. Evidence "projection_matching": view,
        tilt_angle_deg, view_error (what the other half of the views fails to predict, r.m.s. over that of the view),
        residual_y_nm, residual_x_nm, sigma_y_nm, sigma_x_nm (standard errors, up to what only moves the specimen or the
        axis across the field); "convergence": pixel_size_nm, n_iterations, has_support, error (as view_error, over all
        views), move_px, tilt_axis_deg of every pass; and "uncertainty" of the axis. A view is not reliable if its error
        is far above that of the others; the outermost tilts, which the other half does not enclose, may be so on good
        series, too.

    Raises
    ------
    ValueError
        If fewer than six views are in use, or over less than 10 deg, `max_pixels` is below 32, `solve` names
        something else, a pixel is not finite, a view is blank, or the thickness is not positive.

    Notes
    -----
    All parameters are refined together by Gauss-Newton steps on what no volume explains of the views: the volume is
    solved for as well, and eliminated (variable projection [1]_). A plain match with the reprojection [2]_ follows
    errors that vary slowly with tilt only a few per cent a pass, as the neighbours of a view share them; this finds
    them in a few passes. The grey value of nothing is solved for in each view. Where that lets the even tilts predict
    the odd ones better, and the other way round, the volume is confined to what is bright. That held-out error also
    chooses how many iterations the volume takes, and undoes a step that raises it. Views that the volume explains
    badly count less. Where the specimen goes on beside the field, a volume can explain shifts across the axis that
    vary slowly with tilt almost as well as the right ones, and leaves them as they are.
    Standard errors are half the difference of what the two halves of the field, along the axis, ask for, over the share
    of known moves that is asked back. What moves, turns or scales the specimen as a whole is free.

    References
    ----------
    .. [1] G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432, doi:10.1137/0710036
    .. [2] D. Gursoy et al., Sci. Rep. 7 (2017) 11818, doi:10.1038/s41598-017-12141-9
    """
    require_tilts(series, "projection matching")
    require_thickness(thickness_nm)
    if max_pixels < 32:
        raise ValueError(f"max_pixels must be at least 32, got {max_pixels}.")
    names = _names(solve)
    series = reduced(series, max_pixels=max_pixels)
    found = rows_in_use(series, alignment or cross_correlation(series))
    state = State(found, thickness_nm)
    sizes = level_sizes(max(series.images.shape[1:]), max_pixels)[-1 if is_near else 0 :]
    for number, size in enumerate(sizes):
        level = Level.of(series, size, state)
        refine_level(
            level,
            state,
            _names_at(names, state, is_finest=number == len(sizes) - 1),
            _MAX_FINE_PASSES if number or is_near else _MAX_PASSES,
        )
    return _with_evidence(series, state, _spread(level, state, names))


def _names(solve: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in solve.split(",") if name.strip())
    unknown = [name for name in names if name not in PARAMETERS]
    if unknown or not names:
        raise ValueError(f"solve must name some of {', '.join(PARAMETERS)}, got {solve!r}.")
    return names


def _spread(level: Level, state: State, names: tuple[str, ...]) -> Spread:
    """Standard errors in nm and degrees, by the halves of the field."""
    if state.choice is None:
        raise RuntimeError("projection matching made no pass.")
    pixel_nm = level.views.pixel_size_nm
    support: np.ndarray | None = None

    def views_at(shifts_px: np.ndarray) -> Views:
        nonlocal support
        there = replace(state, alignment=moved(state.alignment, shifts_px * pixel_nm))
        images, weights = level.aligned(there)
        explanation, weighted = explained(level, there, weights), images * weights
        rest, volume = explanation.split(weighted)
        if state.choice is not None and state.choice[1]:
            support = support_of(volume, state.choice[1]) if support is None else support
            explanation = replace(explanation, support=support)
        return Views(weighted, explanation, level.noise_power(rest, weights))

    found = field_spread(views_at, names, state.alignment.tilt_angles_deg, slice_step=level.slice_step)
    return replace(found, shifts_px=found.shifts_px * pixel_nm)


def _names_at(names: tuple[str, ...], state: State, *, is_finest: bool) -> tuple[str, ...]:
    """What is solved for at a level: where the specimen goes on beside the field, the axis at the finest only.

    There, coarse views say so little of the axis that what the volume fails to explain turns it.
    """
    others = tuple(name for name in names if name != "tilt_axis")
    return others if others and state.is_filled and not is_finest else names


def _with_evidence(series: TiltSeries, state: State, spread: Spread) -> Alignment:
    """The alignment of all views, with what supports it; `spread` in nm."""
    found, errors, residual = state.alignment, state.view_errors, state.last_move_nm
    if errors is None or residual is None:
        raise RuntimeError("projection matching made no pass.")
    found = replace(
        found,
        residual_nm=float(np.sqrt(np.mean(np.sum(residual**2, axis=1)))),
        reliable=(trust(errors) == 1.0) & (errors < _NOTHING),
        evidence={},
    )
    if not found.reliable.any():
        _log.warning("the views do not predict one another: they show noise, or the alignment went wrong.")
    axis_deg = float(found.tilt_axis_deg[0])
    reach = _NORMAL_90 * spread.tilt_axis_deg
    evidence = {
        "projection_matching": pd.DataFrame(
            {
                "view": np.flatnonzero(series.used),
                "tilt_angle_deg": found.tilt_angles_deg,
                "view_error": errors,
                "residual_y_nm": residual[:, 0],
                "residual_x_nm": residual[:, 1],
                "sigma_y_nm": spread.shifts_px[:, 0],
                "sigma_x_nm": spread.shifts_px[:, 1],
            }
        ),
        "convergence": pd.DataFrame(state.passes),
        "uncertainty": tables.summary(
            [
                {
                    "quantity": "tilt_axis",
                    "value": axis_deg,
                    "low": axis_deg - reach,
                    "high": axis_deg + reach,
                    "unit": "deg",
                    "n": 2,
                    "interval": "90 %, from the halves of the field along the axis",
                }
            ]
        ),
    }
    return all_rows(series, found, evidence)
