"""Refinement without markers: the alignment that leaves least of the views unexplained by one volume."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import scipy.ndimage

from tomo3d import geometry, progress, tables
from tomo3d.align._apply import apply
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._field_halves import Spread, field_spread
from tomo3d.align._linearised import PARAMETERS, Linearised, ScaledNormal, Step
from tomo3d.align._working import (
    SMOOTHING,
    all_rows,
    moved,
    planner,
    require_different,
    require_tilts,
    rows_in_use,
    working_copy,
)
from tomo3d.compute.explained import Explanation
from tomo3d.compute.projector import Projector
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_log = logging.getLogger(__name__)
_NORMAL_90 = 1.645  # standard errors to either side hold 90 %
_COARSEST_PIXELS = 64
_MAX_PASSES = 10  # of the coarsest level
_MAX_FINE_PASSES = 3  # of the others, which begin where the one before ended
_TOLERANCE, _FINE_TOLERANCE = 0.05, 0.2  # of the gradient, to which a step is solved
_SMALL_MOVE = 0.02  # pixels r.m.s. of a level
_LONGEST_STEP = 3.0  # pixels of a level
_TOLERATED_RISE = 1e-3  # of the held-out error: what rises more is undone, and the next step is held back
_ITERATIONS = (8, 24)  # of the volume: few for noisy series, more for clean ones
_TAPER = 0.08  # of the width of a view over which its weight falls to zero at the border
_BRIGHT = 0.15  # of the 99.5 % quantile of the volume: what is brighter is specimen, if the views agree
_SUPPORT_MARGIN = 2  # voxels around it
_DAMPING = 0.01  # the first that is tried
_FILLED_DAMPING = 0.1  # where what lies beside the field would turn into shifts that vary slowly with tilt
_SIDE_SHARE = 0.4  # of the views' r.m.s. that their sides have where the specimen goes on beside the field
_SLOW = (
    30.0  # standard deviations of the low-pass across such views; the taper hides what it does at the border
)
_WIDEST = 1.6  # widths of the field
_DENSITY = (
    4.0 * math.pi * SMOOTHING**2
)  # of white noise that was smoothed: its spectral density over its mean square
_LEAST_EXCESS = 0.1  # of the view, that is always tolerated: at 45 deg the lattice of voxels makes 0.07
_NOTHING = 1.0  # error of a view of which the others predict nothing
_DISTRUST = 6.0  # median absolute deviations above the median error from which a view counts less


@planned(planner(256))
def projection_matching(
    series: TiltSeries,
    *,
    alignment: Alignment | None = None,
    thickness_nm: float | None = None,
    solve: str = "shifts,tilt_axis",
    max_pixels: int = 256,
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
        something else, a pixel is not finite, or a view is blank.

    Notes
    -----
    All parameters are refined together by Gauss-Newton steps on what no volume explains of the views: the volume is
    solved for as well, and eliminated (variable projection [1]_). A plain match with the reprojection [2]_ follows
    errors that vary slowly with tilt only a few per cent a pass, as the neighbours of a view share them; this finds
    them in a few passes. The grey value of nothing is solved for in each view. Where that lets the even tilts predict
    the odd ones better, and the other way round, the volume is confined to what is bright. That held-out error also
    chooses how many iterations the volume takes, and undoes a step that raises it. Views that the volume explains
    badly count less. Standard errors are half the difference of what the two halves of the field, along the axis,
    ask for. What moves, turns or scales the specimen as a whole is free.

    References
    ----------
    .. [1] G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432, doi:10.1137/0710036
    .. [2] D. Gursoy et al., Sci. Rep. 7 (2017) 11818, doi:10.1038/s41598-017-12141-9
    """
    require_tilts(series, "projection matching")
    if max_pixels < 32:
        raise ValueError(f"max_pixels must be at least 32, got {max_pixels}.")
    names = _names(solve)
    found = rows_in_use(series, alignment or cross_correlation(series))
    state = _State(found, thickness_nm)
    for number, size in enumerate(level_sizes(max(series.images.shape[1:]), max_pixels)):
        level = _Level.of(series, size, state)
        refine_level(level, state, names, _MAX_FINE_PASSES if number else _MAX_PASSES)
    return _with_evidence(series, state, _spread(level, state, names))


def level_sizes(n_pixels: int, max_pixels: int) -> list[int]:
    """Longest edges of the working copies, from coarse to fine, each about twice the one before."""
    factors = [math.ceil(n_pixels / max_pixels)]
    while n_pixels // (2 * factors[-1]) >= _COARSEST_PIXELS:
        factors.append(2 * factors[-1])
    return [math.ceil(n_pixels / factor) for factor in factors[::-1]]


def _names(solve: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in solve.split(",") if name.strip())
    unknown = [name for name in names if name not in PARAMETERS]
    if unknown or not names:
        raise ValueError(f"solve must name some of {', '.join(PARAMETERS)}, got {solve!r}.")
    return names


@dataclass(eq=False)
class _State:
    """What is known so far: the alignment of the views in use, how it was found, and how well it predicts."""

    alignment: Alignment
    thickness_nm: float | None
    is_filled: bool | None = None  # whether the specimen goes on beside the field
    damping: float = 0.0  # of what the views hardly fix; raised where a step made the halves agree less
    choice: tuple[int, bool] | None = None  # iterations of the volume, and whether it has a support
    view_weights: np.ndarray | None = None
    view_errors: np.ndarray | None = None
    offsets: np.ndarray | None = None  # grey values added to the views
    last_move_nm: np.ndarray | None = None
    passes: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Level:
    """Working copies of one size."""

    views: TiltSeries
    taper: np.ndarray  # (n_y, n_x) weight of a raw pixel
    n_x: int
    n_z: int

    @classmethod
    def of(cls, series: TiltSeries, size: int, state: _State) -> _Level:
        views = working_copy(series, max_pixels=size, smooth=True)
        require_different(views)
        n_y, n_x = views.images.shape[1:]
        taper = np.outer(_fall(n_y), _fall(n_x)).astype(np.float32)
        n_u = geometry.aligned_shape((n_y, n_x), float(state.alignment.tilt_axis_deg[0]))[1]
        n_z = n_u
        if state.thickness_nm is not None:
            n_z = max(1, round(state.thickness_nm / views.pixel_size_nm))
        if state.is_filled is None:
            state.is_filled = _is_filled(apply(views, state.alignment))
        if not state.is_filled:
            return cls(views, taper, n_u, n_z)
        # what varies slowly cannot be told from what lies beside the field; to leave it out of all views alike
        # leaves it out of the volume
        slow = scipy.ndimage.gaussian_filter(views.images, (0.0, n_y / _SLOW, n_x / _SLOW), mode="nearest")
        steepest = math.radians(min(float(np.abs(state.alignment.tilt_angles_deg).max()), 80.0))
        seen = (n_u + n_z * math.sin(steepest)) / math.cos(steepest)
        n_seen = math.ceil(min(seen, _WIDEST * n_u))
        return cls(replace(views, images=views.images - slow), taper, n_seen, n_z)

    def aligned(self, state: _State) -> tuple[np.ndarray, np.ndarray]:
        """(views, weights) in the inner order, n_views x (n_u + padding) x n_y."""
        alignment, view_weights = state.alignment, state.view_weights
        projector = self.projector(alignment)
        images = np.array(apply(self.views, alignment).images)
        if state.offsets is not None:
            images += state.offsets[:, None, None].astype(np.float32)
        shape = (len(images), *self.taper.shape)
        tapers = apply(replace(self.views, images=np.broadcast_to(self.taper, shape)), alignment)
        weights = np.clip(np.asarray(tapers.images), 0.0, 1.0)
        if view_weights is not None:
            weights *= view_weights[:, None, None].astype(np.float32)
        return projector.padded(images), projector.padded(weights)

    def projector(self, alignment: Alignment) -> Projector:
        n_u = geometry.aligned_shape(self.views.images.shape[1:], float(alignment.tilt_axis_deg[0]))[1]
        return Projector(alignment.tilt_angles_deg, n_u, self.n_x, self.n_z)


def _is_filled(aligned: TiltSeries) -> bool:
    """Whether aligned views, about the level of their border, show something at either side.

    Neighbouring tilts are multiplied: they share what they show, and not their noise.
    """
    images = np.asarray(aligned.images)[np.argsort(aligned.tilt_angles_deg, kind="stable")]
    width = max(1, images.shape[2] // 16)
    sides = np.concatenate((images[:, :, :width], images[:, :, -width:]), axis=2)
    shared = [float(np.mean(each[:-1] * each[1:])) for each in (sides, images)]
    return shared[0] > _SIDE_SHARE**2 * max(shared[1], 0.0)


def _fall(n: int) -> np.ndarray:
    """1, falling to 0 at both ends."""
    edge = max(2, round(_TAPER * n))
    ramp = np.ones(n)
    fall = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    ramp[:edge], ramp[n - edge :] = fall, fall[::-1]
    return ramp


def refine_level(level: _Level, state: _State, names: tuple[str, ...], n_passes: int) -> None:
    """Passes at one size, until the moves are small or the held-out error rises; what predicts worse is undone."""
    pixel_nm = level.views.pixel_size_nm
    what = f"projection matching at {pixel_nm:.3g} nm"
    support: np.ndarray | None = None
    best = (math.inf, state.alignment, np.zeros(0), state.offsets)
    is_coarsest, is_last = state.choice is None, False
    state.damping = _FILLED_DAMPING if state.is_filled else 0.0
    for number in range(n_passes + 1):
        progress.report(what, number, n_passes)
        images, weights = level.aligned(state)
        weighted = images * weights
        # at the coarsest level, as the views come to fit, and when all seems done
        if state.choice is None or (is_coarsest and (number % 3 == 1 or is_last)):
            choice = _choice(level, state, weighted, weights)
            if choice != state.choice:
                state.choice, best, support, is_last = choice, (math.inf, *best[1:]), None, False
        explanation = Explanation(level.projector(state.alignment), weights, state.choice[0])
        if state.choice[1]:
            support = _support(explanation.split(weighted)[1]) if support is None else support
            explanation = replace(explanation, support=support)
        errors, total = held_out(explanation, weighted)
        is_worse = total > best[0] * (1.0 + _TOLERATED_RISE)
        if is_worse:
            state.alignment, errors, state.offsets = best[1:]
            state.damping = max(_DAMPING, 10.0 * state.damping)
        elif total < best[0]:
            best = (total, state.alignment, errors, state.offsets)
        state.view_errors = errors
        if is_last or number == n_passes or state.damping > 1.0:
            break
        if is_worse:
            continue
        state.view_weights = _trust(errors)
        if support is not None:
            explanation = replace(explanation, norm=math.nan)
        rest, volume = explanation.split(weighted)
        linear = Linearised(explanation, volume, names)
        noise_power = _DENSITY * _mean_square(rest, weights)
        # what varies slowly with tilt, and takes most steps, is found at the coarsest level
        tolerance = _TOLERANCE if is_coarsest else _FINE_TOLERANCE
        normal = ScaledNormal(linear, noise_power, state.damping)
        step = linear.step(_limited(linear, normal.solve(rest, tolerance=tolerance)))
        move = float(np.sqrt(np.mean(np.sum(step.shifts_px**2, axis=1))))
        state.last_move_nm = step.shifts_px * pixel_nm
        state.alignment = step.applied(state.alignment, pixel_nm)
        state.offsets = step.offsets if state.offsets is None else state.offsets + step.offsets
        state.passes.append(
            {
                "pixel_size_nm": pixel_nm,
                "n_iterations": explanation.n_iterations,
                "has_support": support is not None,
                "error": total,
                "move_px": move,
                "tilt_axis_deg": float(state.alignment.tilt_axis_deg[0]),
            }
        )
        if support is not None:
            support = _support(volume)
        is_last = move < _SMALL_MOVE and _axis_move_px(step, level) < _SMALL_MOVE
    if support is not None:
        _tighten(level, state, support)
    progress.report(what, n_passes, n_passes)


def _tighten(level: _Level, state: _State, support: np.ndarray) -> None:
    """Move the specimen to the middle of the slab, and make the slab as thin as it may be."""
    filled = np.flatnonzero(support.any(axis=(1, 2)))
    if not len(filled) or not len(np.flatnonzero(~support.any(axis=(1, 2)))):
        return
    pixel_nm = level.views.pixel_size_nm
    middle_nm = (0.5 * (filled[0] + filled[-1]) - geometry.centre(len(support))) * pixel_nm
    tilt = np.deg2rad(state.alignment.tilt_angles_deg)
    state.alignment = moved(
        state.alignment, np.column_stack((np.zeros_like(tilt), -middle_nm * np.sin(tilt)))
    )
    state.thickness_nm = (filled[-1] - filled[0] + 1 + 2 * _SUPPORT_MARGIN) * pixel_nm


def _axis_move_px(step: Step, level: _Level) -> float:
    return abs(step.tilt_axis) * 0.3 * max(level.views.images.shape[1:])


def _limited(linear: Linearised, p: np.ndarray) -> np.ndarray:
    """Parameters scaled down so that no view moves further than where a linear model says anything."""
    step = linear.step(p)
    longest = float(np.abs(step.shifts_px).max())
    return p * min(1.0, _LONGEST_STEP / longest) if longest > 0 else p


def _choice(level: _Level, state: _State, weighted: np.ndarray, weights: np.ndarray) -> tuple[int, bool]:
    """How many iterations, and with a support or without, so that the halves predict each other best."""
    everywhere = Explanation(level.projector(state.alignment), weights, _ITERATIONS[-1])
    tried = []
    for n_iterations in _ITERATIONS:
        free = replace(everywhere, n_iterations=n_iterations)
        supports = [None] if state.is_filled else [None, _support(free.split(weighted)[1])]
        for support in supports:
            error = held_out(replace(free, support=support), weighted)[1]
            tried.append((error, n_iterations, support is not None))
    return min(tried)[1:]


def _support(volume: np.ndarray) -> np.ndarray:
    """Where a volume (n_z, n_x, n_y) is bright, and a margin around it, uint8."""
    smooth = scipy.ndimage.gaussian_filter(volume, 1.0)
    if smooth.sum() < 0:
        smooth = -smooth
    bright = smooth > _BRIGHT * np.quantile(smooth, 0.995)
    return scipy.ndimage.binary_dilation(bright, iterations=_SUPPORT_MARGIN).astype(np.uint8)


def held_out(explanation: Explanation, weighted: np.ndarray) -> tuple[np.ndarray, float]:
    """What the other half of the views (every second tilt) fails to predict of each, and of all together.

    Root of the summed squares over those of the views; they are given with their weights.
    """
    order = np.argsort(explanation.projector.tilt_angles_deg, kind="stable")
    missed, power = np.zeros(len(order)), np.zeros(len(order))
    for known, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        _, volume = explanation.part(known).split(np.ascontiguousarray(weighted[known]))
        prediction = explanation.projector.views(other).forward_inner(volume)
        prediction *= explanation.weights[other]
        prediction -= weighted[other]
        missed[other] = np.einsum("vuy,vuy->v", prediction, prediction)
        power[other] = np.einsum("vuy,vuy->v", weighted[other], weighted[other])
    return np.sqrt(missed / np.maximum(power, 1e-30)), float(np.sqrt(missed.sum() / power.sum()))


def _trust(view_errors: np.ndarray) -> np.ndarray:
    """Weight of each view: 1, and less for one that is predicted far worse than the others."""
    middle = float(np.median(view_errors))
    spread = 1.4826 * float(np.median(np.abs(view_errors - middle)))
    limit = middle + max(_DISTRUST * spread, _LEAST_EXCESS)
    return np.minimum(1.0, (limit / np.maximum(view_errors, 1e-30)) ** 2)


def _mean_square(rest: np.ndarray, weights: np.ndarray) -> float:
    """Of what is unexplained, per pixel."""
    return float(np.vdot(rest, rest)) / max(float(np.vdot(weights, weights)), 1e-30)


def _spread(level: _Level, state: _State, names: tuple[str, ...]) -> Spread:
    """Standard errors in nm and degrees, by the halves of the field."""
    if state.choice is None:
        raise RuntimeError("projection matching made no pass.")
    images, weights = level.aligned(state)
    weighted = images * weights
    explanation = Explanation(level.projector(state.alignment), weights, state.choice[0])
    rest, volume = explanation.split(weighted)
    if state.choice[1]:
        explanation = replace(explanation, support=_support(volume))
    found = field_spread(explanation, weighted, names, _DENSITY * _mean_square(rest, weights))
    return replace(found, shifts_px=found.shifts_px * level.views.pixel_size_nm)


def _with_evidence(series: TiltSeries, state: _State, spread: Spread) -> Alignment:
    """The alignment of all views, with what supports it; `spread` in nm."""
    found, errors, residual = state.alignment, state.view_errors, state.last_move_nm
    if errors is None or residual is None:
        raise RuntimeError("projection matching made no pass.")
    found = replace(
        found,
        residual_nm=float(np.sqrt(np.mean(np.sum(residual**2, axis=1)))),
        reliable=(_trust(errors) == 1.0) & (errors < _NOTHING),
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
