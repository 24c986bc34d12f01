"""Frames of movies whose specimen does not move as a whole."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from tomo3d import geometry, progress, tables
from tomo3d.compute.checks import require_finite
from tomo3d.compute.frames import Drift, find_drift
from tomo3d.compute.local_motion import LocalMotion, find_local_motion, resampled
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.preprocess._align_frames import averaged, drift_pixels, pair_table, plan_frames, shift_table
from tomo3d.preprocess._movies import require_movies, series_of_movies
from tomo3d.types import TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)
_LEAST = 3  # frames, without which motion has no time to be smooth in


@dataclass(frozen=True, eq=False)
class LocallyAlignedFrames:
    """One view per movie, what its frames were moved by in the middle, and how patches moved beside that."""

    series: TiltSeries
    shifts: pd.DataFrame  # tables.FRAMES
    pairs: pd.DataFrame  # tables.FRAME_PAIRS
    patches: pd.DataFrame  # tables.FRAME_PATCHES


def _plan(frames: Sketch, **options: object) -> Plan:
    whole = plan_frames(frames, **options)
    results = {name: Sketch("DataFrame") for name in ("shifts", "pairs", "patches")}
    series = Sketch("TiltSeries", frames.shape, "float32", frames.pixel_size_nm)  # at most
    return Plan({"series": series, **results}, whole.peak_bytes + 120 * frames.shape[1] * frames.shape[2])


@planned(_plan)
def align_frames_locally(
    frames: TiltSeries,
    *,
    max_drift_nm: float | None = None,
    max_step_nm: float | None = None,
    n_patches: int = 5,
    combine: Literal["mean", "sum"] = "mean",
) -> LocallyAlignedFrames:
    """Align the frames of movies as `align_frames`, then undo what places in the image moved otherwise.

    Parameters
    ----------
    frames, max_drift_nm, max_step_nm, combine
        As in `align_frames`.
    n_patches : int
        Patches along each edge, 3 to 15, which overlap by half. Smaller ones follow finer motion in more noise.

    Returns
    -------
    LocallyAlignedFrames
        As of `align_frames`, with `shifts` those in the middle of the image, and `patches`
        (`tomo3d.tables.FRAME_PATCHES`): the shifts that were measured beside those of the smooth field.

    Raises
    ------
    ValueError
        As in `align_frames`, or if the number of patches is out of range or patches would be under 32 pixels.

    Notes
    -----
    The shift of a frame is one offset and a field that is quadratic in space and cubic in time [1]_, 0 at the frame
    that is not moved. Each patch of each frame is refined against the sum of the others, along the field found so
    far, three times, and the field is fitted by least squares with Tukey's weights. On 12 frames of 256 x 256
    pixels whose noise has the variance of the signal, with a field that is itself such a polynomial of up to 4 px,
    it is found within 0.1 px r.m.s. Frames are resampled once, by a cubic spline. A movie of fewer than three
    placed frames, or whose frames share less than a third of a side, is aligned as a whole.

    References
    ----------
    .. [1] S. Q. Zheng et al., Nat. Methods 14 (2017) 331-332, doi:10.1038/nmeth.4193
    """
    import pandas as pd

    movies = require_movies(frames, combine)
    reach, step = drift_pixels(frames, max_drift_nm, max_step_nm)
    n_y, n_x = (int(n) for n in frames.images.shape[1:])
    if not 3 <= n_patches <= 15 or 2 * min(n_y, n_x) < 32 * (n_patches + 1):
        raise ValueError(
            "n_patches must be from 3 to 15, and patches at least 32 pixels, "
            f"got {n_patches} along {min(n_y, n_x)} pixels."
        )
    require_finite(frames.images, np.flatnonzero(frames.used))
    views = np.empty((len(movies), n_y, n_x), dtype=np.float32)
    drifts, shift_tables, pair_tables = [], [], []
    patch_tables = [pd.DataFrame(columns=tables.names(tables.FRAME_PATCHES))]
    for movie, rows in enumerate(progress.track(movies, "movies", len(movies))):
        drift = find_drift(
            lambda k, rows=rows: frames.images[rows[k]],  # type: ignore[misc]
            len(rows),
            max_drift=reach,
            max_step=step,
        )
        kept = np.flatnonzero(drift.placed)
        motion = None
        if len(kept) >= _LEAST:
            placed = replace(drift, shifts=drift.shifts[kept])
            motion = find_local_motion(
                lambda k, rows=rows[kept]: frames.images[rows[k]],  # type: ignore[misc]
                placed,
                (n_y, n_x),
                n_patches,
            )
        if motion is None:
            _log.warning("movie %d is aligned as a whole: too few of its frames show the same", movie)
            views[movie] = averaged(frames, rows, drift)
        else:
            views[movie] = _averaged(frames, rows[kept], motion)
            drift = _with_offsets(drift, kept, motion)
            patch_tables.append(_patch_table(frames, movie, rows[kept], motion))
        drifts.append(drift)
        shift_tables.append(shift_table(frames, movie, rows, drift))
        pair_tables.append(pair_table(frames, movie, rows, drift))
    patches = pd.concat(patch_tables[1:] or patch_tables, ignore_index=True)
    return LocallyAlignedFrames(
        series_of_movies(frames, movies, views, drifts, combine),
        tables.check(pd.concat(shift_tables, ignore_index=True), tables.FRAMES),
        tables.check(pd.concat(pair_tables, ignore_index=True), tables.FRAME_PAIRS),
        tables.check(patches, tables.FRAME_PATCHES),
    )


def _averaged(frames: TiltSeries, rows: np.ndarray, motion: LocalMotion) -> np.ndarray:
    """Mean of the frames where they were recorded."""
    total, weight = np.zeros(motion.shape), np.zeros(motion.shape)
    for k, row in enumerate(progress.track(rows, "resampling", len(rows))):
        image, recorded = resampled(np.asarray(frames.images[row], dtype=np.float32), motion, k)
        total += np.where(recorded, image, 0.0)
        weight += recorded
    return np.asarray(total / weight, dtype=np.float32)  # the still frame covers all


def _with_offsets(drift: Drift, kept: np.ndarray, motion: LocalMotion) -> Drift:
    """The drift with the shifts in the middle of the image."""
    shifts = drift.shifts.copy()
    shifts[kept] = motion.offsets
    return replace(drift, shifts=shifts)


def _patch_table(frames: TiltSeries, movie: int, rows: np.ndarray, motion: LocalMotion) -> pd.DataFrame:
    import pandas as pd

    pixel = frames.pixel_size_nm
    n_patches, n_frames = motion.weights.shape
    y, x = motion.positions.T
    fitted = np.stack([motion.shifts(k, y, x).T for k in range(n_frames)], axis=1)
    place = [at - geometry.centre(n) for at, n in zip((y, x), motion.shape, strict=True)]
    return pd.DataFrame(
        {
            "movie": movie,
            "frame": np.tile(rows, n_patches),
            "y_nm": np.repeat(place[0], n_frames) * pixel,
            "x_nm": np.repeat(place[1], n_frames) * pixel,
            "shift_y_nm": motion.measured[..., 0].ravel() * pixel,
            "shift_x_nm": motion.measured[..., 1].ravel() * pixel,
            "fitted_y_nm": fitted[..., 0].ravel() * pixel,
            "fitted_x_nm": fitted[..., 1].ravel() * pixel,
            "weight": motion.weights.ravel(),
        }
    )
