"""Frames of movies: their drift, and the views that they make together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tomo3d import progress, tables
from tomo3d.compute.checks import require_finite
from tomo3d.compute.frames import Drift, find_drift
from tomo3d.compute.resampling import moved_image
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.preprocess._movies import require_movies, series_of_movies
from tomo3d.types import TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_REACH = 0.25  # of the shorter side of a frame: the default of the largest drift


@dataclass(frozen=True, eq=False)
class AlignedFrames:
    """One view per movie, and what its frames were moved by."""

    series: TiltSeries
    shifts: pd.DataFrame  # tables.FRAMES
    pairs: pd.DataFrame  # tables.FRAME_PAIRS


def plan_frames(frames: Sketch, **_: object) -> Plan:
    """Up to forty frames of one movie are held as transforms at a time, and one view per movie comes out."""
    one = 4 * math.prod(frames.shape[1:])
    series = Sketch("TiltSeries", frames.shape, "float32", frames.pixel_size_nm)  # at most
    return Plan(
        {"series": series, "shifts": Sketch("DataFrame"), "pairs": Sketch("DataFrame")},
        series.n_bytes + 6 * min(frames.shape[0], 40) * one,
    )


@planned(plan_frames)
def align_frames(
    frames: TiltSeries,
    *,
    max_drift_nm: float | None = None,
    max_step_nm: float | None = None,
    combine: Literal["mean", "sum"] = "mean",
) -> AlignedFrames:
    """Align the frames of movies and combine them: one view per movie, whatever the specimen drifted by.

    Parameters
    ----------
    frames : TiltSeries, shape (n_frames, n_y, n_x)
        The frames of one movie or of a whole tilt series of them, in the order of time. Column movie of `views`
        says which movie a frame belongs to. Without it, frames that follow one another at one tilt angle are a movie.
        Correct the gain, and remove outliers, first: a pattern that stands still looks like a specimen without drift.
    max_drift_nm : float, optional
        Largest drift between any two frames of a movie along y or x. Default: a quarter of the shorter side.
    max_step_nm : float, optional
        Largest drift from one frame to the next along y or x. For a crystal, give less than half its period: lattices
        repeat, and only small steps tell which period is right. Default: `max_drift_nm`.
    combine : {"mean", "sum"}
        Mean of the frames, or their mean times their number.

    Returns
    -------
    AlignedFrames
        `series`: float32, one view per movie, in order; `views` holds what all frames of a movie share, and n_frames,
        n_frames_left_out and drift_nm (the largest distance between frames). A movie whose frames agree on nothing is
        not in use, its reason is in column flag, and its view is the plain mean.
        `shifts` (`tomo3d.tables.FRAMES`): how far each frame was moved. `pairs` (`FRAME_PAIRS`): the evidence.

    Raises
    ------
    ValueError
        If a movie has fewer than two frames in use, a pixel of one is not finite, a frame is constant, or a drift
        is not a positive length of at most half a side, or a step not one of at most the drift.

    Notes
    -----
    All pairs of frames are correlated (of more than forty frames, those 1, 2, 3, 5, 8, ... apart) and the shifts
    that most pairs agree on are kept [1]_. Pairs that disagree are searched again near what the others say, then
    left out; a frame is placed by at least three pairs. Each frequency has the weight of the estimator of least
    variance [2]_, from the power of signal and noise that the frames themselves show. The frames are then cut to
    windows that follow the content, correlated again, and each refined against the sum of all others.
    On 20 frames of 512 x 512 pixels, whose noise has 20 times the variance of the signal (features of a few
    pixels), and that drift by 3 px per frame, shifts are within 0.2 px r.m.s., up to a constant; the frame nearest
    the mean position is not moved. Two frames alone have nothing to agree with. Shifts of a
    lattice by a whole period can hardly be told from none: give `max_step_nm`.

    Frames are moved in Fourier space, once, and averaged where they were recorded: nothing is wrapped around.

    References
    ----------
    .. [1] B. H. Savitzky et al., Ultramicroscopy 191 (2018) 56-65, doi:10.1016/j.ultramic.2018.05.001
    .. [2] C. H. Knapp and G. C. Carter, IEEE Trans. Acoust. Speech Signal Process. 24 (1976) 320-327,
       doi:10.1109/TASSP.1976.1162830
    """
    movies = require_movies(frames, combine)
    reach, step = drift_pixels(frames, max_drift_nm, max_step_nm)
    require_finite(frames.images, np.flatnonzero(frames.used))
    n_y, n_x = frames.images.shape[1:]
    views = np.empty((len(movies), n_y, n_x), dtype=np.float32)
    shift_tables, pair_tables, drifts = [], [], []
    for movie, rows in enumerate(progress.track(movies, "movies", len(movies))):
        drift = find_drift(
            lambda k, rows=rows: frames.images[rows[k]],  # type: ignore[misc]
            len(rows),
            max_drift=reach,
            max_step=step,
        )
        views[movie] = averaged(frames, rows, drift)
        drifts.append(drift)
        shift_tables.append(shift_table(frames, movie, rows, drift))
        pair_tables.append(pair_table(frames, movie, rows, drift))
    import pandas as pd

    return AlignedFrames(
        series_of_movies(frames, movies, views, drifts, combine),
        tables.check(pd.concat(shift_tables, ignore_index=True), tables.FRAMES),
        tables.check(pd.concat(pair_tables, ignore_index=True), tables.FRAME_PAIRS),
    )


def drift_pixels(
    frames: TiltSeries, max_drift_nm: float | None, max_step_nm: float | None
) -> tuple[float, float]:
    """Largest drift between any two frames, and between two that follow one another, in pixels.

    Raises
    ------
    ValueError
        If the drift is not a positive length of at most half the shorter side, or the step not one of at most the
        drift.
    """
    side_nm = min(frames.images.shape[1:]) * frames.pixel_size_nm
    if max_drift_nm is None:
        max_drift_nm = _REACH * side_nm
    if not 0.0 < max_drift_nm <= 0.5 * side_nm:
        raise ValueError(
            f"max_drift_nm must be positive and at most half the shorter side of a frame ({0.5 * side_nm:g} nm), "
            f"got {max_drift_nm:g} nm."
        )
    if max_step_nm is None:
        max_step_nm = max_drift_nm
    if not 0.0 < max_step_nm <= max_drift_nm:
        raise ValueError(
            f"max_step_nm must be positive and at most max_drift_nm ({max_drift_nm:g} nm), got {max_step_nm:g} nm."
        )
    return max_drift_nm / frames.pixel_size_nm, max_step_nm / frames.pixel_size_nm


def averaged(frames: TiltSeries, rows: np.ndarray, drift: Drift) -> np.ndarray:
    """Mean of the placed frames where they were recorded; of all as they are, if none was placed."""
    shape = frames.images.shape[1:]
    total, weight = np.zeros(shape), np.zeros(shape)
    for k, row in enumerate(rows):
        if drift.placed[k] or not drift.placed.any():
            shift = drift.shifts[k] if drift.placed[k] else np.zeros(2)
            image, recorded = moved_image(np.asarray(frames.images[row], dtype=np.float32), shift)
            total[recorded] += image[recorded]
            weight[recorded] += 1.0
    return np.asarray(total / weight, dtype=np.float32)  # the frame that is not moved covers all


def shift_table(frames: TiltSeries, movie: int, rows: np.ndarray, drift: Drift) -> pd.DataFrame:
    """One row per frame of a movie: its shift, what its pairs leave, and whether it was placed (`tables.FRAMES`)."""
    import pandas as pd

    pairs, pixel = drift.pairs, frames.pixel_size_nm
    squares = (pairs.residual**2).sum(axis=1)
    residual, n_pairs = np.full(len(rows), math.nan), np.zeros(len(rows), dtype=int)
    for k in range(len(rows)):
        own = pairs.is_used & ((pairs.first == k) | (pairs.second == k))
        n_pairs[k] = own.sum()
        if n_pairs[k]:
            residual[k] = math.sqrt(squares[own].mean())
    return pd.DataFrame(
        {
            "movie": movie,
            "frame": rows,
            "tilt_angle_deg": frames.tilt_angles_deg[rows],
            "shift_y_nm": drift.shifts[:, 0] * pixel,
            "shift_x_nm": drift.shifts[:, 1] * pixel,
            "residual_nm": residual * pixel,
            "n_pairs": n_pairs,
            "is_reliable": drift.placed,
        }
    )


def pair_table(frames: TiltSeries, movie: int, rows: np.ndarray, drift: Drift) -> pd.DataFrame:
    """One row per pair of frames of a movie: measured shift, residual, and whether it counts (`tables.FRAME_PAIRS`)."""
    import pandas as pd

    pairs, pixel = drift.pairs, frames.pixel_size_nm
    return pd.DataFrame(
        {
            "movie": movie,
            "first": rows[pairs.first],
            "second": rows[pairs.second],
            "shift_y_nm": pairs.shift[:, 0] * pixel,
            "shift_x_nm": pairs.shift[:, 1] * pixel,
            "residual_y_nm": pairs.residual[:, 0] * pixel,
            "residual_x_nm": pairs.residual[:, 1] * pixel,
            "peak": pairs.peak,
            "is_second_search": pairs.is_second_search,
            "is_used": pairs.is_used,
        }
    )
