"""Patches of the views followed over tilts, where there are no beads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import geometry, tables
from tomo3d.align._apply import apply
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._solve_tracks import solve, with_evidence
from tomo3d.align._working import require_tilts, rows_in_use
from tomo3d.compute import patch_tracking
from tomo3d.compute.checks import require_finite
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_SHORTEST = 12  # views of a track, and a third of those in use where that is more


def _plan(series: Sketch, **_: Any) -> Plan:
    return Plan(Sketch("DataFrame"), 12 * math.prod(series.shape))


def _plan_alignment(series: Sketch, **_: Any) -> Plan:
    return Plan(Sketch("Alignment"), 12 * math.prod(series.shape))


@planned(_plan)
def track_patches(
    series: TiltSeries, *, patch_nm: float, spacing_nm: float, alignment: Alignment | None = None
) -> pd.DataFrame:
    """Follow square patches of the views over the tilts by their texture.

    Parameters
    ----------
    series : TiltSeries
        In any order of tilts.
    patch_nm : float
        Edge of a patch, from 16 pixels to half the image.
    spacing_nm : float
        Between the centres of neighbouring patches in the view of the lowest tilt, at least two pixels.
    alignment : Alignment, optional
        Where the views are, within an eighth of a patch, and the axis. Default: `cross_correlation`.

    Returns
    -------
    pandas.DataFrame
        `tables.PATCH_TRACKS`: track, view, y_nm, x_nm (pixel index times pixel size in the raw view) and
        correlation. A track has at least three views.

    Raises
    ------
    ValueError
        If a length is out of range, fewer than six views are in use, a pixel is not finite, or a view is blank.

    Notes
    -----
    Outward from the lowest tilt, each patch is correlated with the mean of the last three views that showed it, all
    stretched across the axis to the tilt of the view, within a band. A track breaks where the correlation is what
    chance makes of patches that have nothing in common, or where a patch strays from the others; a new one begins
    there. Tracks are at most a third of the views long, and overlap the next by a third.
    """
    require_tilts(series, "tracking patches")
    pixel_nm, shape = series.pixel_size_nm, series.images.shape[1:]
    largest_nm = 0.5 * min(shape) * pixel_nm
    if not (math.isfinite(patch_nm) and 16.0 * pixel_nm <= patch_nm <= largest_nm):
        raise ValueError(
            f"patch_nm must lie between 16 pixels ({16.0 * pixel_nm:g} nm) and half the image ({largest_nm:g} nm), "
            f"got {patch_nm:g} nm."
        )
    if not (math.isfinite(spacing_nm) and spacing_nm >= 2.0 * pixel_nm):
        raise ValueError(
            f"spacing_nm must be at least two pixels ({2.0 * pixel_nm:g} nm), got {spacing_nm:g} nm."
        )
    used = np.flatnonzero(series.used)
    require_finite(series.images, used)
    start = cross_correlation(series) if alignment is None else alignment
    start = rows_in_use(series, start)
    views = TiltSeries(
        series.images[used], series.tilt_angles_deg[used], pixel_nm, tilt_axis_deg=series.tilt_axis_deg
    )
    aligned = apply(views, start).images
    patch_px = round(patch_nm / pixel_nm)
    grid = _grid(aligned.shape[1:], patch_px, spacing_nm / pixel_nm)
    length = max(_SHORTEST, math.ceil(len(used) / 3))
    found = patch_tracking.follow(
        aligned, np.deg2rad(start.tilt_angles_deg), patch_px=patch_px, grid=grid, length=length
    )
    return _table(found, start, used, pixel_nm, (shape[0], shape[1]), aligned.shape[1:])


def _grid(shape: tuple[int, ...], patch_px: int, spacing_px: float) -> np.ndarray:
    """Centres of patches that lie in the image, about its middle, (n, 2)."""
    axes = []
    for n in shape:
        half = int(max(0.0, 0.5 * (n - patch_px)) // spacing_px)
        axes.append(geometry.centre(n) + spacing_px * np.arange(-half, half + 1))
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.column_stack((y.ravel(), x.ravel()))


def _table(
    found: patch_tracking.Patches,
    start: Alignment,
    used: np.ndarray,
    pixel_nm: float,
    raw_shape: tuple[int, int],
    out_shape: tuple[int, ...],
) -> pd.DataFrame:
    import pandas as pd

    matrices, offsets = geometry.alignment_matrices(start, pixel_nm, raw_shape, (out_shape[0], out_shape[1]))
    raw = np.einsum("nij,nj->ni", matrices[found.views], found.positions) + offsets[found.views]
    if start.local_shifts_nm is not None:
        raw = geometry.without_local_shifts(start.local_shifts_nm / pixel_nm, raw, found.views, raw_shape)
    inside = ((raw >= 0) & (raw <= np.array(raw_shape) - 1)).all(axis=1)
    table = pd.DataFrame(
        {
            "track": found.tracks[inside],
            "view": used[found.views[inside]].astype(np.int64),
            "y_nm": raw[inside, 0] * pixel_nm,
            "x_nm": raw[inside, 1] * pixel_nm,
            "correlation": found.peaks[inside],
        }
    )
    return tables.check(table, tables.PATCH_TRACKS)


@planned(_plan_alignment)
def with_patches(
    series: TiltSeries,
    *,
    patch_nm: float,
    spacing_nm: float,
    alignment: Alignment | None = None,
    local: bool = False,
) -> Alignment:
    """Align a tilt series by patches of its views: followed, and solved as beads are.

    Parameters
    ----------
    series, patch_nm, spacing_nm, alignment
        As in `track_patches`.
    local : bool
        True to look for local shifts as well, as `local_alignment` does.

    Returns
    -------
    Alignment
        With the evidence of `with_fiducials`; the points are "patches".

    Raises
    ------
    ValueError
        As `track_patches`, or if fewer than three patches can be followed.
    """
    tracks = track_patches(series, patch_nm=patch_nm, spacing_nm=spacing_nm, alignment=alignment)
    axis_deg = series.tilt_axis_deg if alignment is None else geometry.mean_axis_deg(alignment.tilt_axis_deg)
    found = solve(series, tracks, axis_deg, "patches", local=local)
    return with_evidence(series, tracks, found, "patches")
