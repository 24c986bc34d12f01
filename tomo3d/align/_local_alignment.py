"""Local alignment: where the content of a view lies beside what one rigid specimen explains."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import geometry, tables
from tomo3d.align._bundle_adjust import BundleAdjustment, SolvedBundle, bundle_result, solve_bundle
from tomo3d.align._bundle_results import view_table
from tomo3d.align._tilt_model import TiltModel
from tomo3d.compute import bundle
from tomo3d.compute.local_field import Fit, Fitter, Smoothness
from tomo3d.progress import report

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)
_NONE = Smoothness(math.inf, math.inf, 0.0)
_LENGTHS = (1.0, 0.5, 0.3)  # of the edge of a view; from the first values on, one after the other is varied
_TILTS_DEG = (30.0, 10.0, math.inf, 0.0)
_STRENGTHS = (3.0, 1.0, 10.0)
_N_CANDIDATES = len(_LENGTHS) + len(_TILTS_DEG) + len(_STRENGTHS) - 2
_GAIN = 0.98  # of the error of tracks that are left out, below which local terms are taken
_ROUNDS = 3
_FEWEST_PLACES = 8
_CUTOFF = 5.1  # as in `bundle_adjust`
_MOST_NODES = 32


def local_alignment(
    tracks: pd.DataFrame,
    tilt_angles_deg: np.ndarray,
    *,
    image_shape: tuple[int, int],
    pixel_size_nm: float,
    tilt_axis_deg: float = 0.0,
    model: TiltModel | str = "rotation=free, tilt=groups:5, magnification=free",
    n_nodes: tuple[int, int] = (5, 5),
) -> BundleAdjustment:
    """Bundle adjustment with local shifts: a smooth field for each view, where that predicts tracks better.

    Parameters
    ----------
    tracks, tilt_angles_deg, image_shape, pixel_size_nm, tilt_axis_deg, model
        As in `bundle_adjust`.
    n_nodes : tuple of int
        (y, x), nodes of the field over the raw view, 1 to 32 each.

    Returns
    -------
    BundleAdjustment
        As `bundle_adjust` finds it, with `local_shifts_nm` in its alignment, and residuals, points and errors of tracks
        without these; `n_unknowns` has what the field is worth. Uncertainties are those for this field.
        Evidence: "local_models" (`tables.LOCAL_MODELS`: what was tried, and the error of tracks that were left out),
        "local_tracks" (`tables.LOCAL_TRACKS`: that error of each track, without and with the field), and
        "local_shifts" (`tables.LOCAL_SHIFTS`). Where no field lowers the error by 2 %, or there are tracks at fewer
        than eight places, it stays global: no local shifts, and a line in the log.

    Raises
    ------
    ValueError
        As `bundle_adjust`, or if there are fewer nodes than 1 or more than 32.
    ConvergenceError
        As `bundle_adjust`.

    Notes
    -----
    For what beams do to specimens and lenses to images, as the local alignments of IMOD (Mastronarde, J. Struct. Biol.
    120 (1997) 343-352, doi:10.1006/jsbi.1997.3919). The field is a Gaussian process over a view and over the tilts; it
    is solved for together with all views and points. How smooth and how strong it is, is what best predicts
    each track from those at other places, its own point fitted. What a shift of the specimen's points explains as well
    is left to them: a field that is constant over the tilts along the axis, or a cos t + b sin t across it, stays.
    On 31 views with noise of 0.2 px in 60 tracks, a field of 1.5 px comes out within 0.12 px r.m.s., up to that.
    """
    if not (len(n_nodes) == 2 and all(1 <= n <= _MOST_NODES for n in n_nodes)):
        raise ValueError(f"n_nodes must be two numbers (y, x) from 1 to {_MOST_NODES}, got {n_nodes}.")
    shape = (int(image_shape[0]), int(image_shape[1]))

    def solved_from(given: pd.DataFrame) -> SolvedBundle:
        return solve_bundle(given, tilt_angles_deg, shape, pixel_size_nm, tilt_axis_deg, model, _CUTOFF)

    rigid = solved_from(tracks)
    view_nm = np.array(shape) * pixel_size_nm
    places = _places(tracks, rigid, view_nm, pixel_size_nm)
    fitter = _fitter(rigid, places, view_nm)
    if fitter.n_places < _FEWEST_PLACES:
        _log.info("tracks at %d places are too few for local alignment: it stays global", fitter.n_places)
        return bundle_result(tracks, rigid)
    before = _fit(fitter, _NONE, rigid, n_nodes)
    chosen, models = _chosen(fitter, rigid, n_nodes, before.error)
    evidence: dict[str, pd.DataFrame] = {"local_models": models}
    if not chosen.strength:
        _log.info("local terms predict no tracks better (%.3g nm left out): it stays global", before.error)
        return _with_evidence(bundle_result(tracks, rigid), evidence)
    after = _fit(fitter, chosen, rigid, n_nodes)
    for _ in range(_ROUNDS):  # the fit is linear about the adjustment
        nodes = after.nodes
        field = geometry.local_shifts(nodes, places, tracks["view"].to_numpy())
        moved = tracks.assign(y_nm=tracks["y_nm"] - field[:, 0], x_nm=tracks["x_nm"] - field[:, 1])
        solved = solved_from(moved)
        places = _places(tracks, solved, view_nm, pixel_size_nm)
        after = _fit(_fitter(solved, places, view_nm, field), chosen, solved, n_nodes)
    same_weights = replace(solved, state=replace(solved.state, weights=rigid.state.weights))
    judged = _fit(_fitter(same_weights, places, view_nm, field), chosen, solved, n_nodes)
    _log.info("local terms predict tracks to %.3g nm, without them %.3g nm", judged.error, before.error)
    evidence["local_tracks"] = _track_table(rigid, before, judged)
    evidence["local_shifts"] = _shift_table(nodes, solved.angles_deg, view_nm, pixel_size_nm)
    found = _with_left_out(bundle_result(moved, solved), after, solved.angles_deg)
    found = replace(found, alignment=replace(found.alignment, local_shifts_nm=-nodes))
    return _with_evidence(found, evidence)


def _places(tracks: pd.DataFrame, solved: SolvedBundle, view_nm: np.ndarray, pixel_nm: float) -> np.ndarray:
    """Where tracks were expected, as fractions of the view; where they were seen, if they are not in use.

    At the places that were measured the field would know their noise: one that only shrinks all views would make
    all residuals smaller, those of tracks that are left out, too.
    """
    at_nm = tracks[["y_nm", "x_nm"]].to_numpy(dtype=np.float64, copy=True)
    at_nm[solved.seen.rows] -= bundle.residuals(solved.problem, solved.state)
    return np.asarray((at_nm + 0.5 * pixel_nm) / view_nm)


def _fitter(
    solved: SolvedBundle, places: np.ndarray, view_nm: np.ndarray, field: np.ndarray | None = None
) -> Fitter:
    """Fields for tracks expected at `places`, from which `field` was taken before they were solved."""
    rows = solved.seen.rows
    edges = (float(view_nm[0]), float(view_nm[1]))
    return Fitter(solved.problem, solved.state, places[rows], edges, None if field is None else field[rows])


def _fit(fitter: Fitter, smoothness: Smoothness, solved: SolvedBundle, n_nodes: tuple[int, int]) -> Fit:
    return fitter.fit(smoothness, solved.angles_deg, solved.seen.used_views, n_nodes)


def _chosen(
    fitter: Fitter, solved: SolvedBundle, n_nodes: tuple[int, int], global_error: float
) -> tuple[Smoothness, pd.DataFrame]:
    """The smoothness that predicts tracks best, or none; and `tables.LOCAL_MODELS`."""
    import pandas as pd

    tried = [(_NONE, global_error)]
    best, n_tried = Smoothness(_LENGTHS[0], _TILTS_DEG[0], _STRENGTHS[0]), 0
    for name, values in (("length", _LENGTHS), ("tilt_deg", _TILTS_DEG), ("strength", _STRENGTHS)):
        for value in values[1:] if n_tried else values:  # the first of the others is in what was best so far
            candidate = replace(best, **{name: value})
            tried.append((candidate, _fit(fitter, candidate, solved, n_nodes).error))
            n_tried += 1
            report("local alignment", n_tried, _N_CANDIDATES)
        best = min(tried[1:], key=lambda pair: pair[1])[0]
    best, error = min(tried, key=lambda pair: pair[1])
    if error > _GAIN * global_error:
        best = _NONE
    rows = [
        (each.length, each.tilt_deg, each.strength * fitter.noise, error, each is best)
        for each, error in tried
    ]
    table = pd.DataFrame(rows, columns=tables.names(tables.LOCAL_MODELS))
    return best, tables.check(table, tables.LOCAL_MODELS)


def _with_left_out(found: BundleAdjustment, fit: Fit, angles_deg: np.ndarray) -> BundleAdjustment:
    """The adjustment with observations left out of its field, too."""
    residuals = found.residuals.assign(left_out_y_nm=fit.left_out[:, 0], left_out_x_nm=fit.left_out[:, 1])
    evidence = {**found.alignment.evidence, "residual_per_view": view_table(residuals, angles_deg)}
    return replace(
        found,
        alignment=replace(found.alignment, evidence=evidence),
        residuals=residuals,
        mean_left_out_nm=float(np.nanmean(np.hypot(fit.left_out[:, 0], fit.left_out[:, 1]))),
        n_unknowns=found.n_unknowns + math.ceil(fit.n_unknowns),
    )


def _with_evidence(found: BundleAdjustment, evidence: dict[str, pd.DataFrame]) -> BundleAdjustment:
    both = {**found.alignment.evidence, **evidence}
    return replace(found, alignment=replace(found.alignment, evidence=both))


def _track_table(solved: SolvedBundle, before: Fit, after: Fit) -> pd.DataFrame:
    import pandas as pd

    columns = {
        "track": solved.seen.used_tracks,
        "global_left_out_nm": before.held_out,
        "local_left_out_nm": after.held_out,
    }
    return tables.check(pd.DataFrame(columns), tables.LOCAL_TRACKS)


def _shift_table(
    nodes: np.ndarray, angles_deg: np.ndarray, view_nm: np.ndarray, pixel_nm: float
) -> pd.DataFrame:
    import pandas as pd

    view, row, column = (index.ravel() for index in np.indices(nodes.shape[:3]))
    n_y, n_x = nodes.shape[1:3]
    columns = {
        "view": view,
        "tilt_angle_deg": angles_deg[view],
        "y_nm": (row + 0.5) / n_y * view_nm[0] - 0.5 * pixel_nm,
        "x_nm": (column + 0.5) / n_x * view_nm[1] - 0.5 * pixel_nm,
        "shift_y_nm": -nodes[..., 0].ravel(),
        "shift_x_nm": -nodes[..., 1].ravel(),
    }
    return tables.check(pd.DataFrame(columns), tables.LOCAL_SHIFTS)
