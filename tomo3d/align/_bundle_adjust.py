"""Bundle adjustment: the geometry of every view, from beads or patches that were tracked."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import geometry
from tomo3d.align import _bundle_results as results
from tomo3d.align._tilt_model import TiltModel
from tomo3d.align._tracks import Seen, check_angles, check_tracks, select
from tomo3d.compute import bundle, tilt_model
from tomo3d.compute.bundle_errors import errors
from tomo3d.types import Alignment

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)
_ON_A_LINE = 0.02  # second extent of the points over the first


@dataclass(frozen=True, eq=False)
class BundleAdjustment:
    """What a bundle adjustment found.

    Parameters
    ----------
    alignment : Alignment
        With residuals in its evidence; a view that was left out continues its neighbours and is not reliable.
    points_nm : pandas.DataFrame
        `tables.POINTS`: where the beads or patches are in the specimen.
    residuals : pandas.DataFrame
        `tables.TRACK_RESIDUALS`: measured minus predicted, in the raw views.
    uncertainties : pandas.DataFrame
        `tables.VIEW_PARAMETERS`: every parameter of every view in use, with its standard deviation.
    thinning : pandas.DataFrame
        `tables.THINNING`: thickness of the specimen over the views, as it shrinks under the beam; no rows where it was
        not solved.
    left_out : pandas.DataFrame
        `tables.TRACKS_LEFT_OUT`: tracks and views that were left out, and why.
    mean_residual_nm, mean_left_out_nm : float
        Mean length of a residual, and of one to the prediction by all other observations.
    n_unknowns, n_observations : int
        Points, shifts and parameters, less three for the position of the specimen; and coordinates measured.
    """

    alignment: Alignment
    points_nm: pd.DataFrame
    residuals: pd.DataFrame
    uncertainties: pd.DataFrame
    thinning: pd.DataFrame
    left_out: pd.DataFrame
    mean_residual_nm: float
    mean_left_out_nm: float
    n_unknowns: int
    n_observations: int


def bundle_adjust(
    tracks: pd.DataFrame,
    tilt_angles_deg: np.ndarray,
    *,
    image_shape: tuple[int, int],
    pixel_size_nm: float,
    tilt_axis_deg: float = 0.0,
    model: TiltModel | str = "rotation=free, tilt=groups:5, magnification=free",
    tukey_cutoff: float = 5.1,
) -> BundleAdjustment:
    """Solve axis, tilts, magnifications, shifts and distortions of the views from tracked beads or patches.

    Parameters
    ----------
    tracks : pandas.DataFrame
        Columns track, view (0-based), y_nm and x_nm: pixel index times pixel size in the raw view. A track may have
        gaps.
    tilt_angles_deg : ndarray, shape (n_views,)
        Nominal tilt angle of every view.
    image_shape : tuple of int
        (n_y, n_x) of the raw views.
    pixel_size_nm : float
        Of the raw views.
    tilt_axis_deg : float
        Where to look for the tilt axis, from +y, counter-clockwise; 30 deg off is near enough. The axis 180 deg from it
        fits as well, and mirrors the volume.
    model : TiltModel or str
        What is solved, as "rotation=free, tilt=groups:5".
    tukey_cutoff : float
        Length, in standard deviations of a coordinate, from which a residual counts for nothing; inf for least
        squares.

    Returns
    -------
    BundleAdjustment

    Raises
    ------
    ValueError
        If a track is twice in a view, a position is not finite, a view does not exist, an angle is not within 90 deg,
        fewer than three views or tracks are usable, the points lie on one line, there are more unknowns than
        coordinates, or the tracks do not tell the parameters apart.
    ConvergenceError
        If the residuals still fall after 200 steps.

    Notes
    -----
    The model is that of IMOD's tiltalign (Mastronarde, in Frank (ed.), Electron Tomography, 2006, p. 163,
    doi:10.1007/978-0-387-69008-7_6), in its order; `tomo3d.compute.tilt_model` has the formula. Points are eliminated
    (Schur complement), so that the cost is linear in their number. Weights are Tukey's (Technometrics 16, 147, 1974, as
    Beaton and Tukey, doi:10.1080/00401706.1974.10489171); at the default cutoff, least squares would need 5 % fewer
    observations if the noise were normal. The noise is measured by the upper quartile of the residuals: outliers must
    be fewer than a quarter. On normal noise, truth lies within 1.645 standard deviations in 90 % of cases.
    Leaving an observation out is by its leverage, to first order: within 1 % of fitting anew, on average.
    What no tracks tell is held, as `TiltModel` says. The alignment carries the solution exactly, with stretch, skew and
    a shear with height where they were solved: a thinning f at tilt t is a tilt t', tan t' = f tan t, and a stretch.
    """
    solved = solve_bundle(
        tracks, tilt_angles_deg, image_shape, pixel_size_nm, tilt_axis_deg, model, tukey_cutoff
    )
    return bundle_result(tracks, solved)


@dataclass(frozen=True, eq=False)
class SolvedBundle:
    """A bundle adjustment as it was solved: what was seen of which views, and the problem with its solution."""

    seen: Seen
    angles_deg: np.ndarray
    centre_nm: np.ndarray
    problem: bundle.Problem
    state: bundle.State
    cutoff: float


def solve_bundle(
    tracks: pd.DataFrame,
    tilt_angles_deg: np.ndarray,
    image_shape: tuple[int, int],
    pixel_size_nm: float,
    tilt_axis_deg: float,
    model: TiltModel | str,
    tukey_cutoff: float,
) -> SolvedBundle:
    """The work of `bundle_adjust`, with its arguments and errors."""
    angles = check_angles(tilt_angles_deg)
    model = TiltModel.parse(model) if isinstance(model, str) else model
    centre_nm = _centre_nm(image_shape, pixel_size_nm)
    if not (math.isfinite(tilt_axis_deg) and tukey_cutoff > 0):
        raise ValueError(
            "tilt_axis_deg must be finite and tukey_cutoff positive, got "
            f"{tilt_axis_deg:g} deg and {tukey_cutoff:g}."
        )
    check_tracks(tracks, len(angles))
    n_free = list(vars(model).values()).count("free")
    seen = select(tracks, angles, max(2, math.ceil((2 + n_free) / 2)))
    for row in seen.left_out:
        _log.warning("%s %s is left out: %s.", row["what"], row["number"], row["reason"])
    problem = _problem(tracks, seen, angles, centre_nm, tilt_axis_deg, model)
    state = _checked(problem, bundle.structure(problem))
    state = bundle.robust(problem, state, tukey_cutoff)
    _require_told_apart(problem, state)
    return SolvedBundle(seen, angles, centre_nm, problem, state, tukey_cutoff)


def _centre_nm(image_shape: tuple[int, int], pixel_size_nm: float) -> np.ndarray:
    if not (len(image_shape) == 2 and min(image_shape) > 0):
        raise ValueError(f"image_shape must be two positive numbers of pixels (y, x), got {image_shape}.")
    if not (math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"pixel_size_nm must be a positive length in nm, got {pixel_size_nm}.")
    return np.array([geometry.centre(n) for n in image_shape]) * pixel_size_nm


def _problem(
    tracks: pd.DataFrame,
    seen: Seen,
    angles_deg: np.ndarray,
    centre_nm: np.ndarray,
    axis_deg: float,
    model: TiltModel,
) -> bundle.Problem:
    used_angles = angles_deg[seen.used_views]
    start = np.tile(tilt_model.NEUTRAL, (len(used_angles), 1))
    start[:, tilt_model.PARAMETERS.index("rotation")] = np.deg2rad(axis_deg)
    start[:, tilt_model.PARAMETERS.index("tilt")] = np.deg2rad(used_angles)
    positions = tracks[["y_nm", "x_nm"]].to_numpy(dtype=np.float64)[seen.rows] - centre_nm
    designs = model.designs(used_angles)
    problem = bundle.Problem(positions, seen.views, seen.points, start, designs, len(seen.used_tracks))
    if problem.n_unknowns >= 2 * len(positions):
        raise ValueError(
            "a bundle adjustment needs more measured coordinates than unknowns, got "
            f"{2 * len(positions)} coordinates and {problem.n_unknowns} unknowns: group or fix parameters of the "
            "model, or track more."
        )
    return problem


def _checked(problem: bundle.Problem, state: bundle.State) -> bundle.State:
    """The state, if its points span more than a line."""
    extents = np.linalg.svd(state.points - state.points.mean(axis=0), compute_uv=False)
    if extents[1] < _ON_A_LINE * extents[0]:
        raise ValueError(
            "tracked points must not lie on one line, got points "
            f"{extents[1] / extents[0]:.2g} times as wide as long: track others beside it."
        )
    _require_told_apart(problem, state)
    return state


def _require_told_apart(problem: bundle.Problem, state: bundle.State) -> None:
    unclear = [tilt_model.PARAMETERS[index] for index in bundle.undetermined(problem, state)]
    if unclear:
        which = "one of them" if unclear[1:] else "it"
        raise ValueError(
            f"the tracks must tell the parameters apart, which they do not for {' and '.join(unclear)}: fix {which} in "
            'the model, or group views ("groups:5").'
        )


def bundle_result(tracks: pd.DataFrame, solved: SolvedBundle) -> BundleAdjustment:
    """What a bundle adjustment of tracks found, as tables and an alignment."""
    seen, angles_deg, problem, state = solved.seen, solved.angles_deg, solved.problem, solved.state
    doubt = errors(problem, state, solved.cutoff)
    error = bundle.residuals(problem, state)
    parameters = problem.parameters(state.unknowns)
    observed = tracks.iloc[seen.rows]
    residuals = results.residual_table(observed, error, doubt.left_out, state.weights)
    per_view = results.view_table(residuals, angles_deg)
    left_out = results.left_out_table(seen.left_out)
    found = results.Solution(parameters, state.shifts, state.points, seen.used_views, angles_deg)
    alignment, points = results.in_frame(
        found,
        residual_nm=float(np.sqrt((error**2).sum(axis=1).mean())),
        weights=np.bincount(seen.views, state.weights) / np.bincount(seen.views),
        evidence={"residual_per_view": per_view, "left_out": left_out}
        if len(left_out)
        else {"residual_per_view": per_view},
    )
    return BundleAdjustment(
        alignment=alignment,
        points_nm=results.point_table(seen.used_tracks, points, doubt.points, residuals),
        residuals=residuals,
        uncertainties=results.parameter_table(seen.used_views, parameters, doubt.parameters),
        thinning=results.thinning_table(found, doubt.parameters, problem.solved),
        left_out=left_out,
        mean_residual_nm=float(np.hypot(error[:, 0], error[:, 1]).mean()),
        mean_left_out_nm=float(np.nanmean(np.hypot(doubt.left_out[:, 0], doubt.left_out[:, 1]))),
        n_unknowns=problem.n_unknowns,
        n_observations=2 * len(error),
    )
