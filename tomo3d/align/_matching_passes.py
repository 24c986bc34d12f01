"""The passes of projection matching at one size, held to what the halves of the views predict of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage

from tomo3d import geometry, progress
from tomo3d.align._linearised import Linearised, ScaledNormal, Step
from tomo3d.align._matching_level import Level, State
from tomo3d.align._working import moved
from tomo3d.compute.explained import Explanation
from tomo3d.types import Alignment

_TOLERANCE, _FINE_TOLERANCE = 0.05, 0.1  # of the gradient, to which a step is solved
_SMALL_MOVE = 0.01  # pixels r.m.s. of a level
_SUPPORTING_MOVE = 0.05  # pixels of a level
_LONGEST_STEP = 3.0  # pixels of a level
_TOLERATED_RISE = 1e-3  # of the held-out error: what rises more is undone, and the next step is held back
_ITERATIONS = (8, 24)  # of the volume: few for noisy series, more for clean ones
_FILLED_ITERATIONS = (8, 24, 60)  # where there is more to explain than the field shows
_BRIGHT = (
    0.15,
    0.05,
)  # of the 99.5 % quantile of the volume: what is brighter is specimen, if the views agree
_SUPPORT_MARGIN = 2  # voxels around it
_DAMPING = 0.01  # the first that is tried
_FILLED_DAMPING = 0.1  # where what lies beside the field would turn into shifts that vary slowly with tilt
_LEAST_EXCESS = 0.1  # of the view, that is always tolerated: at 45 deg the lattice of voxels makes 0.07
_HEAVIER = (
    1.02  # the power of the weights, for the norm of the projector to be looked for again: it has a margin
)
_SLOW_TURN = (0.5, 0.95)  # of the turn of the axis in the pass before: so much is left of it in every pass
_DISTRUST = 6.0  # median absolute deviations above the median error from which a view counts less


@dataclass(frozen=True, eq=False)
class _Best:
    """What predicts best so far at a level, and the support of the volume that did."""

    error: float
    view_errors: np.ndarray
    alignment: Alignment
    offsets: np.ndarray | None
    support: np.ndarray | None


def refine_level(level: Level, state: State, names: tuple[str, ...], n_passes: int) -> None:
    """Passes at one size, until the moves are small or the held-out error rises; what predicts worse is undone."""
    what = f"projection matching at {level.views.pixel_size_nm:.3g} nm"
    is_coarsest, is_last, best = state.choice is None, False, None
    support: np.ndarray | None = None
    turn = 0.0  # of the axis in the pass before
    norm, normed = math.nan, 0.0  # of the projector, and the power of the weights that it is for
    state.damping = _FILLED_DAMPING if state.is_filled else 0.0
    for number in range(n_passes + 1):
        progress.report(what, number, n_passes)
        images, weights = level.aligned(state)
        weighted = images * weights
        # at the coarsest level, as the views come to fit, and when all seems done
        if state.choice is None or (is_coarsest and (number % 3 == 1 or is_last)):
            choice = _choice(level, state, weighted, weights)
            if choice != state.choice:
                state.choice, best, support, is_last = choice, None, None, False
        # views that moved have the same norm; those that are trusted again have a larger one
        power = float(np.vdot(weights, weights))
        if power > _HEAVIER * normed:
            norm, normed = math.nan, power
        explanation = explained(level, state, weights, norm=norm)
        norm = explanation.norm
        if state.choice[1]:
            if support is None:
                support = support_of(explanation.split(weighted)[1], state.choice[1])
            explanation = replace(explanation, support=support)
        errors, total = held_out(explanation, weighted)
        is_worse = best is not None and total > best.error * (1.0 + _TOLERATED_RISE)
        if best is None or total < best.error:
            best = _Best(total, errors, state.alignment, state.offsets, support)
        if is_worse:
            errors, support = best.view_errors, best.support
            state.alignment, state.offsets = best.alignment, best.offsets
            state.damping = max(_DAMPING, 10.0 * state.damping)
        state.view_errors = errors
        if is_last or number == n_passes or state.damping > 1.0:
            break
        if is_worse:
            turn = 0.0
            continue
        state.view_weights = trust(errors)
        step, volume = _step(level, state, explanation, weighted, names, is_coarsest=is_coarsest)
        if state.is_filled:
            step, turn = _turned_on(step, turn)
        _take(step, level, state, total, support is not None)
        # errors can only be compared under one support: it is found anew once (from a volume that had one), and where
        # views moved enough to change it
        if support is not None and (number == 0 or _move_px(step) > _SUPPORTING_MOVE):
            support, best = support_of(volume, state.choice[1]), None
        # changes of tilt angles and magnification do not count: of clean views, the lattice of voxels draws those
        # near 45 deg on for ever, by degrees, while the others have settled
        is_last = max(_move_px(step), _axis_move_px(step, level)) < _SMALL_MOVE
    if support is not None:
        _tighten(level, state, support)
    progress.report(what, n_passes, n_passes)


def _step(
    level: Level,
    state: State,
    explanation: Explanation,
    weighted: np.ndarray,
    names: tuple[str, ...],
    *,
    is_coarsest: bool,
) -> tuple[Step, np.ndarray]:
    """The step that leaves least unexplained, and the volume that it was found with."""
    if explanation.support is not None:
        explanation = replace(explanation, norm=math.nan)
    rest, volume = explanation.split(weighted)
    linear = Linearised(explanation, volume, names, slice_step=level.slice_step)
    normal = ScaledNormal(linear, level.noise_power(rest, explanation.weights), state.damping)
    # what varies slowly with tilt, and takes most steps, is found at the coarsest level
    tolerance = _TOLERANCE if is_coarsest else _FINE_TOLERANCE
    return linear.step(_limited(linear, normal.solve(rest, tolerance=tolerance))), volume


def _turned_on(step: Step, before: float) -> tuple[Step, float]:
    """The step with the turn of the axis that the passes seem to lead to, and the turn that the next is compared with.

    What a volume leaves of a turned axis is little beside what it leaves of everything, which turns with the views and
    is counted as if it did not: each pass turns too little, by a share that the one before tells (A. C. Aitken,
    Proc. R. Soc. Edinburgh 46 (1926) 289-305).
    """
    share = step.tilt_axis / before if before else 0.0
    if not _SLOW_TURN[0] < share < _SLOW_TURN[1]:
        return step, step.tilt_axis
    return replace(step, tilt_axis=step.tilt_axis / (1.0 - share)), 0.0


def _take(step: Step, level: Level, state: State, error: float, has_support: bool) -> None:
    """Change the state by a step, and note it."""
    pixel_nm = level.views.pixel_size_nm
    state.last_move_nm = step.shifts_px * pixel_nm
    state.alignment = step.applied(state.alignment, pixel_nm)
    state.offsets = step.offsets if state.offsets is None else state.offsets + step.offsets
    state.passes.append(
        {
            "pixel_size_nm": pixel_nm,
            "n_iterations": state.choice[0] if state.choice else 0,
            "has_support": has_support,
            "error": error,
            "move_px": _move_px(step),
            "tilt_axis_deg": float(state.alignment.tilt_axis_deg[0]),
        }
    )


def _move_px(step: Step) -> float:
    return float(np.sqrt(np.mean(np.sum(step.shifts_px**2, axis=1))))


def _tighten(level: Level, state: State, support: np.ndarray) -> None:
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


def _axis_move_px(step: Step, level: Level) -> float:
    return abs(step.tilt_axis) * 0.3 * max(level.views.images.shape[1:])


def _limited(linear: Linearised, p: np.ndarray) -> np.ndarray:
    """Parameters scaled down so that no view moves further than where a linear model says anything."""
    step = linear.step(p)
    longest = float(np.abs(step.shifts_px).max())
    return p * min(1.0, _LONGEST_STEP / longest) if longest > 0 else p


def explained(level: Level, state: State, weights: np.ndarray, *, norm: float = math.nan) -> Explanation:
    """How the views are explained, without a support, by as many iterations as were chosen, or one.

    Where the specimen goes on beside the field, a volume can explain almost any turn of the axis and what varies slowly
    with tilt: that its explanation is positive matters there.
    """
    n_iterations = 1 if state.choice is None else state.choice[0]
    is_positive = bool(state.is_filled)
    projector = level.projector(state.alignment)
    return Explanation(projector, weights, n_iterations, norm=norm, is_positive=is_positive)


def _choice(level: Level, state: State, weighted: np.ndarray, weights: np.ndarray) -> tuple[int, float]:
    """How many iterations, and what counts as bright (0: no support), so that the halves predict each other best."""
    counts = _FILLED_ITERATIONS if state.is_filled else _ITERATIONS
    everywhere = replace(explained(level, state, weights), n_iterations=counts[-1])
    tried = []
    for n_iterations in counts:
        free = replace(everywhere, n_iterations=n_iterations)
        tried.append((held_out(free, weighted)[1], n_iterations, 0.0))
        if state.is_filled:
            continue
        volume = free.split(weighted)[1]
        for bright in _BRIGHT:
            confined = replace(free, support=support_of(volume, bright))
            tried.append((held_out(confined, weighted)[1], n_iterations, bright))
    return min(tried)[1:]


def support_of(volume: np.ndarray, bright: float) -> np.ndarray:
    """Where a volume (n_z, n_x, n_y) is bright, and a margin around it, uint8.

    `bright` is a share of the 99.5 % quantile.
    """
    smooth = scipy.ndimage.gaussian_filter(volume, 1.0)
    if smooth.sum() < 0:
        smooth = -smooth
    found = smooth > bright * np.quantile(smooth, 0.995)
    return scipy.ndimage.binary_dilation(found, iterations=_SUPPORT_MARGIN).astype(np.uint8)


def held_out(explanation: Explanation, weighted: np.ndarray) -> tuple[np.ndarray, float]:
    """What the other half of the views (every second tilt) fails to predict of each, and of all together.

    Root of the summed squares over those of the views; they are given with their weights.
    """
    order = np.argsort(explanation.projector.tilt_angles_deg, kind="stable")
    missed, power = np.zeros(len(order)), np.zeros(len(order))
    for known, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        part, own = explanation.part(known), np.ascontiguousarray(weighted[known])
        _, volume = part.split(own)
        prediction = explanation.projector.views(other).forward_inner(volume)
        prediction *= explanation.weights[other]
        prediction -= weighted[other]
        missed[other] = np.einsum("vuy,vuy->v", prediction, prediction)
        power[other] = np.einsum("vuy,vuy->v", weighted[other], weighted[other])
    return np.sqrt(missed / np.maximum(power, 1e-30)), float(np.sqrt(missed.sum() / power.sum()))


def trust(view_errors: np.ndarray) -> np.ndarray:
    """Weight of each view: 1, and less for one that is predicted far worse than the others."""
    middle = float(np.median(view_errors))
    spread = 1.4826 * float(np.median(np.abs(view_errors - middle)))
    limit = middle + max(_DISTRUST * spread, _LEAST_EXCESS)
    return np.minimum(1.0, (limit / np.maximum(view_errors, 1e-30)) ** 2)
