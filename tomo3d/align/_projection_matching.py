"""Refinement without markers: each view on its prediction from the other half of the views."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import progress
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._halves import Comparison, best_n_iterations, compare_halves
from tomo3d.align._working import all_rows, planner, require_tilts, rows_in_use, working_copy
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_COARSEST_PIXELS = 64
_MAX_PASSES = 16  # of a coarse level
_MAX_FINE_PASSES = 4  # of the finest level, where a pass is dear and little is left to do
_SMALL_MOVE = 0.003  # pixels r.m.s.: what varies slowly with tilt answers with a few per cent of its error
_MEMORY = 10  # passes that the acceleration remembers
_LEAST_MIXING = 1e-3  # directions of the memory with singular values below this share are noise
_TOLERATED_RISE = 5e-4  # of the held-out error, from pass to pass


@planned(planner(256))
def projection_matching(
    series: TiltSeries,
    *,
    alignment: Alignment | None = None,
    thickness_nm: float | None = None,
    max_pixels: int = 256,
) -> Alignment:
    """Refine the shifts by matching each view with its reprojection, coarse to fine.

    Parameters
    ----------
    series : TiltSeries
    alignment : Alignment, optional
        Where to start from. Default: `cross_correlation` and the nominal axis.
    thickness_nm : float, optional
        Thickness of the reconstructions. Default: the width of the image.
    max_pixels : int
        Views are binned until no side exceeds this; more is slower and finer.

    Returns
    -------
    Alignment
        Axis and angles as given. `residual_nm` is the r.m.s. move that the last comparison still asked for.
        Evidence "projection_matching": view, tilt_angle_deg, peak, view_error, residual_y_nm, residual_x_nm;
        and "convergence": pixel_size_nm, n_iterations, error, move_px of every pass. A view is
        not reliable if its error is far above that of the others; the outermost tilts, which the other
        half does not enclose, may be so on good series, too.

    Raises
    ------
    ValueError
        If fewer than six views are in use, or over less than 10 deg, `max_pixels` is below 32, a pixel is not finite,
        or a view is blank.

    Notes
    -----
    The even tilts are reconstructed and predict the odd ones, and the other way round, so that no view is matched
    with its own noise. The number of iterations is the one with the least held-out error, and a level ends when the
    moves are small or the held-out error stops falling [1]_.

    References
    ----------
    .. [1] D. Gursoy et al., Sci. Rep. 7 (2017) 11818, doi:10.1038/s41598-017-12141-9 (for the principle)
    """
    require_tilts(series, "projection matching")
    if max_pixels < 32:
        raise ValueError(f"max_pixels must be at least 32, got {max_pixels}.")
    found = rows_in_use(series, alignment or cross_correlation(series))
    size = min(max_pixels, max(series.images.shape[1:]))
    sizes = sorted({size, *(size // 2**k for k in range(1, 8) if size // 2**k >= _COARSEST_PIXELS)})
    passes: list[dict[str, float]] = []
    last = None
    n_iterations = 0
    for size in sizes:
        views = working_copy(series, max_pixels=size, smooth=True)
        if not n_iterations:
            n_iterations = best_n_iterations(views, found, thickness_nm=thickness_nm)
        n_passes = _MAX_FINE_PASSES if size == sizes[-1] and len(sizes) > 1 else _MAX_PASSES
        found, last = _refine(views, found, n_iterations, n_passes, thickness_nm, passes)
    if last is None:
        raise RuntimeError("projection matching made no pass.")
    residual = last.shifts_nm - last.shifts_nm.mean(axis=0)
    spread = 1.4826 * float(np.median(np.abs(last.view_errors - np.median(last.view_errors))))
    found = replace(
        found,
        residual_nm=float(np.sqrt(np.mean(np.sum(residual**2, axis=1)))),
        reliable=last.view_errors <= np.median(last.view_errors) + max(6.0 * spread, 0.1),
        evidence={},
    )
    evidence = {
        "projection_matching": pd.DataFrame(
            {
                "view": np.flatnonzero(series.used),
                "tilt_angle_deg": found.tilt_angles_deg,
                "peak": last.peaks,
                "view_error": last.view_errors,
                "residual_y_nm": residual[:, 0],
                "residual_x_nm": residual[:, 1],
            }
        ),
        "convergence": pd.DataFrame(passes),
    }
    return all_rows(series, found, evidence)


def _refine(
    views: TiltSeries,
    start: Alignment,
    n_iterations: int,
    n_passes: int,
    thickness_nm: float | None,
    passes: list[dict[str, float]],
) -> tuple[Alignment, Comparison]:
    """The best alignment of one level, and its comparison; what was done is added to `passes`."""
    current = start
    best: tuple[Alignment, Comparison] | None = None
    what = f"projection matching at {views.pixel_size_nm:.3g} nm"
    history: list[tuple[np.ndarray, np.ndarray]] = []  # shifts, and the steps they were answered with
    for number in range(n_passes):
        progress.report(what, number, n_passes)
        comparison = compare_halves(
            views, current, n_iterations=n_iterations, thickness_nm=thickness_nm, with_shifts=True
        )
        step_nm = free_step(comparison.shifts_nm, current.tilt_angles_deg)
        move = float(np.sqrt(np.mean(np.sum(step_nm**2, axis=1)))) / views.pixel_size_nm
        passes.append(
            {
                "pixel_size_nm": views.pixel_size_nm,
                "n_iterations": n_iterations,
                "error": comparison.error,
                "move_px": move,
            }
        )
        if best is None or comparison.error < best[1].error:
            best = (current, comparison)
        elif comparison.error > best[1].error * (1.0 + _TOLERATED_RISE):
            break
        if move < _SMALL_MOVE:
            break
        history.append((current.shifts_nm, step_nm))
        current = replace(current, shifts_nm=accelerated(history[-_MEMORY:], limit=2.0 * views.pixel_size_nm))
    progress.report(what, n_passes, n_passes)
    if best is None:
        raise RuntimeError("projection matching made no pass.")
    return best


def free_step(shifts_nm: np.ndarray, tilt_angles_deg: np.ndarray) -> np.ndarray:
    """What each view should move, (n_tilts, 2), without what moves nothing but the specimen.

    A view is compared with the volume of the other half of the views. What a whole half asks for as one body (a
    constant along the axis; a + b cos t + c sin t across it) moves its volume: of what the halves ask for against
    each other each does one half, or they would swap places for ever. What they ask for together is the
    position of the specimen, which is free, and the offset a of the axis, which is kept.
    """
    order = np.argsort(tilt_angles_deg, kind="stable")
    tilt = np.deg2rad(tilt_angles_deg)
    across = np.column_stack((np.ones(len(tilt)), np.cos(tilt), np.sin(tilt)))
    halves = (order[::2], order[1::2])
    step_nm = shifts_nm.copy()
    for axis, modes, kept in ((0, across[:, :1], np.array([0.0])), (1, across, np.array([1.0, 0.0, 0.0]))):
        fits = [np.linalg.lstsq(modes[half], shifts_nm[half, axis], rcond=None)[0] for half in halves]
        common = 0.5 * (fits[0] + fits[1])
        for half, fit in zip(halves, fits, strict=True):
            step_nm[half, axis] += modes[half] @ (kept * common + 0.5 * (fit - common) - fit)
    return step_nm


def accelerated(history: list[tuple[np.ndarray, np.ndarray]], *, limit: float) -> np.ndarray:
    """Next point of x -> x + f(x), from the last points and steps, by Anderson's mixing.

    Errors that vary slowly with tilt hardly show in the comparison of neighbouring views, and would take
    dozens of passes. No value moves by more than `limit`.
    (D. G. Anderson, J. ACM 12 (1965) 547-560, doi:10.1145/321296.321305)
    """
    x, f = history[-1]
    step = f
    if len(history) > 1:
        dx = np.stack([(b[0] - a[0]).ravel() for a, b in itertools.pairwise(history)], axis=1)
        df = np.stack([(b[1] - a[1]).ravel() for a, b in itertools.pairwise(history)], axis=1)
        mixing, *_ = np.linalg.lstsq(df, f.ravel(), rcond=_LEAST_MIXING)
        step = f - ((dx + df) @ mixing).reshape(f.shape)
    return x + np.clip(step, -limit, limit)
