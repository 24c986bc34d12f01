"""Spots of a specimen, its views and the axis moved together to where the views are brightest about the spots.

No spot is looked for in a single view, and none is assigned to another: a view says by its slopes, about where the
geometry expects a spot, which way and how far it is, and all spots together say how the views have to move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.ndimage
import scipy.sparse

from tomo3d import geometry
from tomo3d.compute.bright_spots import Spots, SpotViews

_FOLLOWED = 0.25  # of the views, that see a spot, for it to count
_BESIDE = 0.5  # pixels, at which slopes and curvatures are taken
_ROUNDS, _REWEIGHTED = 4, 6
_LEAST_CURVATURE = (
    0.15,
    0.3,
)  # brightness over squared width: less is no spot; and the least that is counted on
_REACH = 2.0  # widths: a spot that seems farther off says nothing
_CUTOFF = 4.0  # of Tukey's weights, in standard deviations
_LEAST_SCATTER = 0.05  # pixels
_MEDIAN_LENGTH = 1.1774  # of a normal vector (y, x) of unit variance
_STIFFNESS = (1.0, 0.3)  # observations that hold a view, and a spot, where they are
_LONGEST = (2.0, 3.0)  # widths, that a view and a spot may move in a round
_FEWEST = 50  # observations
_FAR = 6.0  # widths, from which a view is brought back
_FEW_SPOTS = 4  # of a view
_OUTSHINES = 1.5  # times the mean brightness of a spot
_BETTER = 1.25  # times as bright, for a view to be moved
_ROUNDING, _FREE = 1e-9, 1e-6  # of the largest diagonal element, that keep the matrix regular


@dataclass(frozen=True, eq=False)
class Settled:
    """Spots and views where they agree best.

    Parameters
    ----------
    positions : ndarray, shape (n_spots, 3)
        (z, y, x) in pixels from the middle.
    shifts : ndarray, shape (n_views, 2)
        (y, x) in pixels: where the middle lands in each view.
    turn : float
        Direction of the tilt axis in the views, radians, counter-clockwise.
    brightness : ndarray, shape (n_spots,)
        Mean over the views.
    weights : ndarray, shape (n_spots, n_views)
        Of each observation, 0 where there is none.
    residuals : ndarray, shape (n_spots, n_views, 2)
        (y, x) in pixels.
    deviations : ndarray, shape (n_views, 2)
        Standard deviations of the shifts in pixels, up to what only moves the specimen or the axis across the field.
    turn_deviation : float
        Likewise, of the axis, in radians; nan where it was not solved for.
    """

    positions: np.ndarray
    shifts: np.ndarray
    turn: float
    brightness: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    deviations: np.ndarray
    turn_deviation: float

    def some(self, spots: np.ndarray | slice) -> Settled:
        """The same with some of the spots."""
        return replace(
            self,
            **{
                name: getattr(self, name)[spots]
                for name in ("positions", "brightness", "weights", "residuals")
            },
        )


def placed(spots: Spots, n_views: int) -> Settled:
    """Spots as they were found, and views as they are."""
    n = len(spots.positions)
    return Settled(
        spots.positions,
        np.zeros((n_views, 2)),
        0.0,
        np.zeros(n),
        np.zeros((n, n_views)),
        np.zeros((n, n_views, 2)),
        np.full((n_views, 2), np.inf),
        np.nan,
    )


def settle(views: SpotViews, start: Settled, *, solve_turn: bool = True) -> Settled | None:
    """Move spots, views and the axis to where the views are brightest about the spots; None where too few are seen.

    A spot in a view is as far off as the slope over the curvature, which is that of its mean over the views, as a
    single view has noise. Then all moves are solved together, with Tukey's weights: Gauss-Newton steps of the sum of
    brightness over spots and views. Spots that few views see, or that are none in the mean, are dropped.
    """
    found = start
    for _ in range(_ROUNDS):
        seen = _observed(views, found)
        found, seen = found.some(seen.is_spot), seen.some(seen.is_spot)
        spots, of = np.nonzero(seen.inside)
        if len(spots) < _FEWEST:
            return None
        found = _moved(views, found, seen, spots, of, solve_turn=solve_turn)
    return found


def apart(views: SpotViews, found: Settled) -> tuple[float, float]:
    """Half of what every second spot and the others differ by: shifts, r.m.s. over views in pixels, and the turn.

    Up to what only moves the specimen or the axis across the field; infinite where a half has too few spots.
    """
    first, second = (settle(views, found.some(slice(k, None, 2))) for k in range(2))
    if first is None or second is None:
        return np.inf, np.inf
    half = not_free(0.5 * (first.shifts - second.shifts), views.tilts)
    return float(np.sqrt(np.mean(np.sum(half**2, axis=1)))), 0.5 * abs(first.turn - second.turn)


def not_free(shifts: np.ndarray, tilts: np.ndarray) -> np.ndarray:
    """Shifts (n_views, 2) as (y, x) without what only moves the specimen, or the axis across the field."""
    return np.stack([keep @ shifts[:, k] for k, keep in enumerate(_without_free(tilts))], axis=1)


def relocated(views: SpotViews, found: Settled) -> tuple[Settled, int]:
    """Views that show the spots better some pixels away moved there, and how many of them there are.

    A view that is farther off than the width of a spot sees others where some are expected, and stays with them.
    """
    reach = math.ceil(_FAR * views.width)
    offsets = np.arange(-reach, reach + 1)
    shifts, n_moved = found.shifts.copy(), 0
    expected = np.rint(_landing(views, found)).astype(int)
    for view, (image, inside) in enumerate(zip(views.images, views.inside, strict=True)):
        y, x = (expected[:, view, k] for k in range(2))
        own = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
        if own.sum() < _FEW_SPOTS:
            continue
        shown = np.pad(np.where(inside, image, 0.0), reach)
        rows = y[own][:, None, None] + reach + offsets[:, None]
        columns = x[own][:, None, None] + reach + offsets[None, :]
        # what is brighter than a spot is something else behind it
        least, most = 0.0, _OUTSHINES * np.maximum(found.brightness[own], 0.0)[:, None, None]
        total = np.clip(shown[rows, columns], least, most).sum(axis=0)
        best = np.unravel_index(int(total.argmax()), total.shape)
        if total[best] > _BETTER * total[reach, reach]:
            shifts[view] += offsets[list(best)]
            n_moved += 1
    return replace(found, shifts=shifts), n_moved


@dataclass(frozen=True, eq=False)
class _Observed:
    """What the views show about spots: each (n_spots, n_views, ...), or (n_spots,)."""

    inside: np.ndarray
    brightness: np.ndarray
    off: np.ndarray  # (y, x) in pixels
    curvature: np.ndarray
    is_spot: np.ndarray

    def some(self, spots: np.ndarray) -> _Observed:
        return _Observed(
            *(each[spots] for each in (self.inside, self.brightness, self.off, self.curvature, self.is_spot))
        )


def _sights(tilts: np.ndarray) -> np.ndarray:
    """Where (z, y, x) land in a view (y, u), (n_views, 2, 3)."""
    sights = np.zeros((len(tilts), 2, 3))
    sights[:, 0, 1] = 1.0
    sights[:, 1, 0], sights[:, 1, 2] = np.sin(tilts), np.cos(tilts)
    return sights


def _landing(views: SpotViews, found: Settled) -> np.ndarray:
    """Where the spots are expected in the views, (y, x) in pixel indices, (n_spots, n_views, 2)."""
    turned = geometry.rotation_yx(float(np.rad2deg(found.turn)))
    level = np.einsum("vij,pj->pvi", _sights(views.tilts), found.positions)
    return np.asarray(level @ turned.T + found.shifts + views.centre)


def _observed(views: SpotViews, found: Settled) -> _Observed:
    at = _landing(views, found)
    near = np.rint(at).astype(int)
    shape = np.array(views.splines.shape[1:])
    inside = ((near >= 2) & (near < shape - 2)).all(axis=2)
    y, x = (np.clip(near[..., k], 0, shape[k] - 1) for k in range(2))
    inside &= views.inside[np.arange(len(views.tilts)), y, x]
    beside = _BESIDE * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
    values = np.zeros((5, *inside.shape))
    for view, spline in enumerate(views.splines):
        own = inside[:, view]
        points = at[own, view] + beside[:, None]
        values[:, own, view] = scipy.ndimage.map_coordinates(
            spline, np.moveaxis(points, -1, 0), order=3, prefilter=False
        )
    slope = np.stack((values[1] - values[2], values[3] - values[4]), axis=2) / (2.0 * _BESIDE)
    n_seen = inside.sum(axis=1)
    mean, beside_mean = (
        each.sum(axis=-1) / np.maximum(n_seen, 1) for each in (values[0], values[1:].sum(axis=0))
    )
    curvature = (4.0 * mean - beside_mean) / (2.0 * _BESIDE**2)
    usual = mean / views.width**2
    is_spot = (
        (n_seen >= _FOLLOWED * len(views.tilts)) & (mean > 0.0) & (curvature > _LEAST_CURVATURE[0] * usual)
    )
    curvature = np.where(is_spot, np.maximum(curvature, _LEAST_CURVATURE[1] * usual), 1.0)
    return _Observed(inside, mean, slope / curvature[:, None, None], curvature, is_spot)


def _moved(
    views: SpotViews,
    found: Settled,
    seen: _Observed,
    spots: np.ndarray,
    of: np.ndarray,
    *,
    solve_turn: bool,
) -> Settled:
    """One step, from observations of `spots` in the views `of`."""
    n_views, n_spots = len(views.tilts), len(found.positions)
    jacobian = _jacobian(views.tilts, found, spots, of, solve_turn=solve_turn)
    off = seen.off[spots, of]
    trust = (seen.curvature[spots] / np.median(seen.curvature)) ** 2  # noise of slopes is the same for all
    held = np.zeros(jacobian.shape[1])
    held[: 2 * n_views] = _STIFFNESS[0]
    held[2 * n_views : 2 * n_views + 3 * n_spots] = _STIFFNESS[1]
    reach = _REACH * views.width
    tukey = (np.hypot(*off.T) < reach).astype(np.float64)
    scatter = reach
    for _ in range(_REWEIGHTED):
        weighted = jacobian.multiply(np.repeat(tukey * trust, 2)[:, None]).tocsr()
        normal = (weighted.T @ jacobian).toarray()
        factor = _factor(normal, held + _ROUNDING * normal.diagonal().max())
        step = scipy.linalg.cho_solve(factor, weighted.T @ off.ravel())
        rest = off - (jacobian @ step).reshape(-1, 2)
        length = np.hypot(*rest.T) * np.sqrt(trust)
        scatter = max(float(np.median(length[tukey > 0.0])) / _MEDIAN_LENGTH, _LEAST_SCATTER)
        cutoff = min(_CUTOFF * scatter, reach)
        tukey = np.where(length < cutoff, (1.0 - (length / cutoff) ** 2) ** 2, 0.0)
    free = _factor(normal, _FREE * normal.diagonal().max())  # what is held moves on in the next step
    longest = [share * views.width for share in _LONGEST]
    shifts = step[: 2 * n_views].reshape(-1, 2)
    points = step[2 * n_views : 2 * n_views + 3 * n_spots].reshape(-1, 3)
    weights, residuals = np.zeros(seen.inside.shape), np.zeros((*seen.inside.shape, 2))
    weights[spots, of], residuals[spots, of] = tukey, rest
    return Settled(
        found.positions + np.clip(points, -longest[1], longest[1]),
        found.shifts + np.clip(shifts, -longest[0], longest[0]),
        found.turn + (float(step[-1]) if solve_turn else 0.0),
        seen.brightness,
        weights,
        residuals,
        scatter * _deviations(views.tilts, free),
        scatter * _last_deviation(free) if solve_turn else np.nan,
    )


def _factor(normal: np.ndarray, held: np.ndarray | float) -> tuple[np.ndarray, bool]:
    """Cholesky's, of the matrix with more on its diagonal."""
    stiff = normal.copy()
    stiff[np.diag_indices_from(stiff)] += held
    return scipy.linalg.cho_factor(stiff)


def _jacobian(
    tilts: np.ndarray, found: Settled, spots: np.ndarray, of: np.ndarray, *, solve_turn: bool
) -> scipy.sparse.csr_array:
    """Of the observed (y, x), by shifts, positions and the turn, (2 n, unknowns)."""
    n, n_views = len(spots), len(tilts)
    row = 2 * np.arange(n)[:, None] + np.arange(2)  # (n, 2)
    sights = _sights(tilts)[of]
    first = 2 * n_views + 3 * spots
    parts = [(row, 2 * of[:, None] + np.arange(2), np.ones((n, 2)))]
    parts += [
        (row, np.broadcast_to((first + k)[:, None], (n, 2)), np.ascontiguousarray(sights[:, :, k]))
        for k in range(3)
    ]
    n_unknowns = 2 * n_views + 3 * len(found.positions)
    if solve_turn:
        level = np.einsum("nij,nj->ni", sights, found.positions[spots])
        turned = level @ geometry.rotation_yx(float(np.rad2deg(found.turn))).T
        parts.append((row, np.full((n, 2), n_unknowns), np.column_stack((turned[:, 1], -turned[:, 0]))))
        n_unknowns += 1
    rows, columns, values = (np.concatenate([part[k].ravel() for part in parts]) for k in range(3))
    return scipy.sparse.csr_array((values, (rows, columns)), shape=(2 * n, n_unknowns))


def _deviations(tilts: np.ndarray, factor: tuple[np.ndarray, bool]) -> np.ndarray:
    """Standard deviations of the shifts for unit noise, (n_views, 2), without what is free."""
    n_views = len(tilts)
    unit = np.eye(len(factor[0]), 2 * n_views)
    covariance = scipy.linalg.cho_solve(factor, unit)[: 2 * n_views]
    variances = [
        np.einsum("ij,jk,ik->i", keep, covariance[k::2, k::2], keep)
        for k, keep in enumerate(_without_free(tilts))
    ]
    return np.sqrt(np.maximum(np.stack(variances, axis=1), 0.0))


def _last_deviation(factor: tuple[np.ndarray, bool]) -> float:
    """Standard deviation of the last unknown for unit noise."""
    unit = np.zeros(len(factor[0]))
    unit[-1] = 1.0
    return float(np.sqrt(max(scipy.linalg.cho_solve(factor, unit)[-1], 0.0)))


def _without_free(tilts: np.ndarray) -> list[np.ndarray]:
    """Projections (n_views, n_views) of shifts along and across the axis onto what is not free."""
    one = np.ones(len(tilts))
    kept = []
    for modes in ([one], [one, np.cos(tilts), np.sin(tilts)]):
        base, _ = np.linalg.qr(np.stack(modes, axis=1))
        kept.append(np.eye(len(tilts)) - base @ base.T)
    return kept
