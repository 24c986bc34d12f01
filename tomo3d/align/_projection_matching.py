"""Refinement without markers: each view on its prediction from the other half of the views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import progress
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._halves import Comparison, best_n_iterations, compare_halves
from tomo3d.align._working import all_rows, moved, rows_in_use, working_copy
from tomo3d.types import Alignment, TiltSeries

_COARSEST_PIXELS = 64
_MAX_PASSES = 8
_SMALL_MOVE = 0.02  # pixels r.m.s.
_GAIN = 1.4  # a view pulls the prediction along, so the measured shift is too small


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
        not reliable if its error is far above that of the others.

    Raises
    ------
    ValueError
        If fewer than six views are in use, `max_pixels` is below 32, a pixel is not finite, or a view is blank.

    Notes
    -----
    The even tilts are reconstructed and predict the odd ones, and the other way round, so that no view is matched
    with its own noise. The number of iterations is the one with the least held-out error, and a level ends when the
    moves are small or the held-out error stops falling [1]_.

    References
    ----------
    .. [1] D. Gursoy et al., Sci. Rep. 7 (2017) 11818, doi:10.1038/s41598-017-12141-9 (for the principle)
    """
    if int(series.used.sum()) < 6:
        raise ValueError(
            f"projection matching needs at least six views in use, got {int(series.used.sum())}."
        )
    if max_pixels < 32:
        raise ValueError(f"max_pixels must be at least 32, got {max_pixels}.")
    found = rows_in_use(series, alignment or cross_correlation(series))
    size = min(max_pixels, max(series.images.shape[1:]))
    sizes = sorted({size, *(size // 2**k for k in range(1, 8) if size // 2**k >= _COARSEST_PIXELS)})
    passes: list[dict[str, float]] = []
    last = None
    n_iterations = 0
    for size in sizes:
        views = working_copy(series, max_pixels=size)
        if not n_iterations:
            n_iterations = best_n_iterations(views, found, thickness_nm=thickness_nm)
        found, last = _refine(views, found, n_iterations, thickness_nm, passes)
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
    thickness_nm: float | None,
    passes: list[dict[str, float]],
) -> tuple[Alignment, Comparison]:
    """The best alignment of one level, and its comparison; what was done is added to `passes`."""
    current = start
    best: tuple[Alignment, Comparison] | None = None
    what = f"projection matching at {views.pixel_size_nm:.3g} nm"
    for number in range(_MAX_PASSES):
        progress.report(what, number, _MAX_PASSES)
        comparison = compare_halves(
            views, current, n_iterations=n_iterations, thickness_nm=thickness_nm, with_shifts=True
        )
        step_nm = comparison.shifts_nm.copy()
        step_nm[:, 0] -= step_nm[:, 0].mean()  # a common shift along the axis moves nothing but the volume
        move = float(np.sqrt(np.mean(np.sum(step_nm**2, axis=1)))) / views.pixel_size_nm
        passes.append(
            {
                "pixel_size_nm": views.pixel_size_nm,
                "n_iterations": n_iterations,
                "error": comparison.error,
                "move_px": move,
            }
        )
        if best is not None and comparison.error > best[1].error * 1.0005:
            break
        if best is None or comparison.error < best[1].error:
            best = (current, comparison)
        if move < _SMALL_MOVE:
            break
        current = moved(current, _GAIN * step_nm)
    progress.report(what, _MAX_PASSES, _MAX_PASSES)
    if best is None:
        raise RuntimeError("projection matching made no pass.")
    return best
