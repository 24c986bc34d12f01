"""Which frames belong to which movie, and the tilt series of the views that they make."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tomo3d.compute.frames import Drift
from tomo3d.preprocess._flags import add_flags
from tomo3d.types import TiltSeries

_log = logging.getLogger(__name__)


def require_movies(frames: TiltSeries, combine: str) -> list[np.ndarray]:
    """Rows of the frames in use of each movie, in the order of its first frame.

    Raises
    ------
    ValueError
        If a movie has fewer than two frames in use, or more than one angle, or a frame is constant.
    """
    if combine not in ("mean", "sum"):
        raise ValueError(f"combine must be 'mean' or 'sum', got {combine!r}.")
    movies = []
    for name, rows in _all_rows(frames):
        rows = rows[frames.used[rows]]
        if len(rows) < 2:
            raise ValueError(
                f"a movie must have at least two frames in use, got {len(rows)} in movie {name}: frames belong "
                "together by the column movie of views, or by following one another at one tilt angle."
            )
        if np.ptp(frames.tilt_angles_deg[rows]) > 0:
            raise ValueError(f"the frames of a movie must have one tilt angle, got several in movie {name}.")
        for row in rows:
            image = np.asarray(frames.images[row])
            if image.min() == image.max():
                raise ValueError(
                    f"a frame must hold more than one value, got {float(image.min()):g} everywhere in frame {row} "
                    "(0-based): exclude it."
                )
        movies.append(rows)
    return movies


def series_of_movies(
    frames: TiltSeries,
    movies: Sequence[np.ndarray],
    images: np.ndarray,
    drifts: Sequence[Drift],
    combine: str,
) -> TiltSeries:
    """One view per movie: angles, what all frames of a movie have in common, and how its frames were used."""
    first = np.array([rows[0] for rows in movies])
    table = pd.DataFrame(index=range(len(movies)))
    if frames.views is not None:
        for column in frames.views.columns:
            values = frames.views[column].to_numpy()
            if all((values[rows] == values[rows[0]]).all() for rows in movies):
                table[column] = values[first]
    table["n_frames"] = [len(rows) for rows in movies]
    table["n_frames_left_out"] = [int((~drift.placed).sum()) for drift in drifts]
    table["drift_nm"] = [_extent(drift) * frames.pixel_size_nm for drift in drifts]
    failed = np.array([not drift.placed.any() for drift in drifts])
    for movie in np.flatnonzero(failed):
        _log.warning(
            "movie %d: its frames agree on no shifts; its view is their plain mean, not in use", movie
        )
    table = add_flags(table, {int(movie): "frames not aligned" for movie in np.flatnonzero(failed)})
    if combine == "sum":
        images = images * np.array([len(rows) for rows in movies], dtype=np.float32)[:, None, None]
    return TiltSeries(
        images=images,
        tilt_angles_deg=frames.tilt_angles_deg[first],
        pixel_size_nm=frames.pixel_size_nm,
        tilt_axis_deg=frames.tilt_axis_deg,
        use=~failed if failed.any() else None,
        views=table,
        sources={**frames.sources, "frames": f"aligned, {combine}"},
    )


def _all_rows(frames: TiltSeries) -> list[tuple[int, np.ndarray]]:
    """Name and rows of each movie."""
    if frames.views is not None and "movie" in frames.views.columns:
        names = frames.views["movie"].to_numpy()
    else:
        names = np.concatenate(([0], np.cumsum(np.diff(frames.tilt_angles_deg) != 0)))
    _, order = np.unique(names, return_index=True)
    return [(names[row], np.flatnonzero(names == names[row])) for row in np.sort(order)]


def _extent(drift: Drift) -> float:
    """Largest distance between two placed frames, in pixels; nan where none is."""
    shifts = drift.shifts[drift.placed]
    if not len(shifts):
        return float("nan")
    return float(np.hypot(*(shifts[:, None] - shifts[None, :]).transpose(2, 0, 1)).max())
