"""Tracks as a bundle adjustment takes them: checked, and without what tells nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from tomo3d import tables

if TYPE_CHECKING:
    import pandas as pd

_LEAST_RANGE_DEG = 1.0  # of the tilts that a point is seen at


@dataclass(frozen=True, eq=False)
class Seen:
    """Observations in use, by track and view, and what was left out.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
        Rows of the table of tracks.
    views, points : ndarray of int, shape (n,)
        Index into `used_views` and `used_tracks`.
    used_views, used_tracks : ndarray of int
    left_out : list of dict
        Rows of `tables.TRACKS_LEFT_OUT`.
    """

    rows: np.ndarray
    views: np.ndarray
    points: np.ndarray
    used_views: np.ndarray
    used_tracks: np.ndarray
    left_out: list[dict[str, object]]


def check_tracks(tracks: pd.DataFrame, n_views: int) -> None:
    """Raise ValueError unless the table has tracks of a series of `n_views` views."""
    tables.check(tracks, tables.TRACKS)
    if not len(tracks):
        raise ValueError("the tracks must hold at least one observation, got an empty table.")
    view = tracks["view"].to_numpy()
    if not ((view >= 0) & (view < n_views)).all():
        raise ValueError(
            f"the views of the tracks must be rows of the series, 0 to {n_views - 1}, got {view.min()} to {view.max()}."
        )
    for name in ("y_nm", "x_nm"):
        finite = np.isfinite(tracks[name].to_numpy(dtype=np.float64))
        if not finite.all():
            raise ValueError(
                f"positions of tracks must be finite, got {name} in row {int(np.argmin(finite))}."
            )
    repeated = tracks.duplicated(["track", "view"]).to_numpy()
    if repeated.any():
        first = tracks.iloc[int(np.argmax(repeated))]
        raise ValueError(
            f"a track must be seen at most once in a view, got track {int(first['track'])} twice in view "
            f"{int(first['view'])} (0-based)."
        )


def check_angles(tilt_angles_deg: np.ndarray) -> np.ndarray:
    """The tilt angles as float64, if each is finite and within 90 deg."""
    angles = np.asarray(tilt_angles_deg, dtype=np.float64)
    if angles.ndim != 1:
        raise ValueError(f"tilt_angles_deg must hold one angle per view, got shape {angles.shape}.")
    wrong = ~(np.abs(angles) < 90.0)
    if wrong.any():
        view = int(np.argmax(wrong))
        raise ValueError(
            f"tilt angles must lie between -90 and 90 deg (exclusive), got {angles[view]:g} deg in view {view} "
            "(0-based)."
        )
    return angles


def select(tracks: pd.DataFrame, tilt_angles_deg: np.ndarray, n_per_view: int) -> Seen:
    """The observations that tell something, leaving out views and tracks until none is left that does not.

    A view needs `n_per_view` observations, a track two views at least 1 deg apart in tilt.

    Raises
    ------
    ValueError
        If fewer than three views or three tracks are left.
    """
    view, track = tracks["view"].to_numpy(), tracks["track"].to_numpy()
    use = np.ones(len(tracks), dtype=bool)
    left_out: list[dict[str, object]] = []
    while True:
        found = [*_short_tracks(track, view, use, tilt_angles_deg), *_poor_views(view, use, n_per_view)]
        if not found:
            break
        for what, number, reason in found:
            left_out.append({"what": what, "number": number, "reason": reason})
            use &= (track if what == "track" else view) != number
    used_views, views = np.unique(view[use], return_inverse=True)
    used_tracks, points = np.unique(track[use], return_inverse=True)
    told = f" ({left_out[0]['what']} {left_out[0]['number']}: {left_out[0]['reason']})" if left_out else ""
    if len(used_views) < 3:
        raise ValueError(
            f"a bundle adjustment needs at least three views with {n_per_view} tracks each, got {len(used_views)}"
            f"{told}."
        )
    if len(used_tracks) < 3:
        raise ValueError(f"a bundle adjustment needs at least three tracks, got {len(used_tracks)}{told}.")
    _require_joined(views, points, used_views, len(used_tracks))
    return Seen(np.flatnonzero(use), views, points, used_views, used_tracks, left_out)


def _require_joined(views: np.ndarray, points: np.ndarray, used_views: np.ndarray, n_points: int) -> None:
    """Raise ValueError if some views share no track with the others: nothing says how the parts lie."""
    n = len(used_views) + n_points
    graph = scipy.sparse.coo_array((np.ones(len(views)), (views, len(used_views) + points)), shape=(n, n))
    n_parts, part = scipy.sparse.csgraph.connected_components(graph, directed=False)
    if n_parts > 1:
        apart = used_views[part[: len(used_views)] != part[0]]
        raise ValueError(
            f"tracks must join all views, got {len(apart)} views that share none with view {used_views[0]} (0-based), "
            f"as view {apart[0]}: track across the break."
        )


def _short_tracks(
    track: np.ndarray, view: np.ndarray, use: np.ndarray, tilt_angles_deg: np.ndarray
) -> list[tuple[str, int, str]]:
    found = []
    for number in np.unique(track[use]):
        angles = tilt_angles_deg[view[use & (track == number)]]
        if len(angles) < 2:
            found.append(("track", int(number), "seen in one view only"))
        elif np.ptp(angles) < _LEAST_RANGE_DEG:
            found.append(("track", int(number), f"seen over {np.ptp(angles):.2g} deg of tilt only"))
    return found


def _poor_views(view: np.ndarray, use: np.ndarray, n_per_view: int) -> list[tuple[str, int, str]]:
    numbers, counts = np.unique(view[use], return_counts=True)
    return [
        ("view", int(number), f"shows {count} usable tracks, fewer than {n_per_view}")
        for number, count in zip(numbers, counts, strict=True)
        if count < n_per_view
    ]
