"""How far an alignment can be trusted: the two halves of the field, along the axis, asked separately."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.stats

from tomo3d.align._linearised import Linearised, ScaledNormal, Step, solve_together
from tomo3d.compute.explained import Explanation

_LEAST_ROWS = 8  # of a half, to say anything
_TOLERANCE = 0.05  # of the gradient
_NEIGHBOURS = 9  # views, nearest in tilt, that share one estimate of the spread
_STUDENT = float(
    scipy.stats.t.ppf(0.95, _NEIGHBOURS) / scipy.stats.norm.ppf(0.95)
)  # what so few leave unsure
_KNOWN_PX = 0.1  # r.m.s. of the moves that are put in
_LEAST_GAIN = 0.15  # of a mode: what is hardly taken back is hardly known, but not by how little
_SEED = 0


@dataclass(frozen=True, eq=False)
class Views:
    """The views at some alignment, w b, what explains them, and the spectral density of their noise."""

    weighted: np.ndarray  # (n_views, n_u + padding, n_y)
    explanation: Explanation
    noise_power: float


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard errors: shifts (n_views, 2) in pixels as (y, x), and the axis in degrees; nan where unknown."""

    shifts_px: np.ndarray
    tilt_axis_deg: float


def field_spread(
    views_at: Callable[[np.ndarray], Views],
    names: tuple[str, ...],
    tilts_deg: np.ndarray,
    *,
    slice_step: int = 1,
) -> Spread:
    """Standard error of an alignment, from what each half of the field along the axis would change.

    `views_at` gives the views once their shifts (n_views, 2), in pixels as (y, x), are changed by so much.

    The halves show different parts of the specimen with different noise, so that the mean of both errs by half of
    their difference, whatever the reason. What only moves the specimen, or the axis across the field, is left out.

    One step asks for less than what is wrong: what no volume explains, noise for the most part, moves with the views,
    and is counted as if it did not. So known moves are put in, and the share of each mode (of a cosine transform over
    the tilts) that a step takes back is what its difference is divided by: near 0.9 for single views, and less for
    what varies slowly with tilt. Nine views tell how far one of them strays no better than nine draws would: standard
    errors are longer by Student's quantile over the normal one, so that 1.645 of them hold 90 %.
    """
    n_views = len(tilts_deg)
    views = views_at(np.zeros((n_views, 2)))
    rows = _halves(views.weighted)
    if rows is None:
        return Spread(np.full((n_views, 2), np.nan), np.nan)
    steps = _asked(views, rows, names, slice_step)
    order = np.argsort(tilts_deg, kind="stable")
    known = _known_moves(tilts_deg)
    taken_back = _mean_px(steps) - _mean_px(_asked(views_at(known), rows, names, slice_step))
    gain = _modes(_without_free(taken_back, tilts_deg)[order]) / _nonzero(_modes(known[order]))
    # a turn about the middle of a half moves all its views across the axis alike: that goes with the free modes
    difference = _without_free(0.5 * (steps[0].shifts_px - steps[1].shifts_px), tilts_deg)
    wrong = np.empty_like(difference)
    wrong[order] = _views_of(_modes(difference[order]) / np.clip(gain, _LEAST_GAIN, 1.0))
    wrong = _without_free(wrong, tilts_deg)
    near = np.abs(tilts_deg[:, None] - tilts_deg[None, :]).argsort(axis=1, kind="stable")[:, :_NEIGHBOURS]
    axis = 0.5 * abs(float(np.rad2deg(steps[0].tilt_axis - steps[1].tilt_axis)))
    shifts_px = _STUDENT * np.sqrt(np.mean(np.square(wrong[near]), axis=1))
    return Spread(shifts_px, axis if "tilt_axis" in names else np.nan)


def _halves(weighted: np.ndarray) -> tuple[slice, slice] | None:
    """Rows of equal power; None where there are too few."""
    n_y = weighted.shape[2]
    power = np.cumsum(np.einsum("vuy,vuy->y", weighted, weighted, dtype=np.float64))
    middle = int(np.searchsorted(power, 0.5 * power[-1]))
    if min(middle, n_y - middle) < _LEAST_ROWS:
        return None
    return slice(0, middle), slice(middle, n_y)


def _asked(
    views: Views, halves: tuple[slice, slice], names: tuple[str, ...], slice_step: int
) -> tuple[Step, Step]:
    """What each half asks for."""
    rest, volume = views.explanation.split(views.weighted)
    systems = []
    for rows in halves:
        part = np.ascontiguousarray(volume[:, :, rows])
        linear = Linearised(views.explanation.slices(rows), part, names, slice_step=slice_step)
        systems.append(ScaledNormal(linear, views.noise_power))
    found = solve_together(systems, [rest[:, :, rows] for rows in halves], tolerance=_TOLERANCE)
    first, second = (system.linear.step(p) for system, p in zip(systems, found, strict=True))
    return first, second


def _mean_px(steps: tuple[Step, Step]) -> np.ndarray:
    return 0.5 * (steps[0].shifts_px + steps[1].shifts_px)


def _known_moves(tilts_deg: np.ndarray) -> np.ndarray:
    """Moves (n_views, 2) with as much of every mode, at random signs, and nothing that is free."""
    signs = np.random.default_rng(_SEED).choice([-_KNOWN_PX, _KNOWN_PX], (len(tilts_deg), 2))
    moves = np.empty_like(signs)
    moves[np.argsort(tilts_deg, kind="stable")] = _views_of(signs)
    return _without_free(moves, tilts_deg)


def _modes(shifts: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.dct(shifts, axis=0, norm="ortho"))


def _views_of(modes: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.idct(modes, axis=0, norm="ortho"))


def _nonzero(values: np.ndarray) -> np.ndarray:
    """The values, none nearer to zero than a tenth of the known moves: those modes are free."""
    return np.where(np.abs(values) < 0.1 * _KNOWN_PX, np.inf, values)


def _without_free(shifts: np.ndarray, tilts_deg: np.ndarray) -> np.ndarray:
    """Shifts (n_views, 2) without a constant along the axis, and without a + b cos t + c sin t across it."""
    tilt = np.deg2rad(tilts_deg)
    modes = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
    across = shifts[:, 1] - modes @ np.linalg.lstsq(modes, shifts[:, 1], rcond=None)[0]
    return np.column_stack((shifts[:, 0] - shifts[:, 0].mean(), across))
