"""Coarse alignment: each view on its neighbour."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import geometry, progress
from tomo3d.align._apply import apply
from tomo3d.align._working import all_rows, planner, rows_in_use, working_copy
from tomo3d.compute import correlation
from tomo3d.compute.resampling import affine_images
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_MAX_PIXELS = 256


@planned(planner(256))
def cross_correlation(series: TiltSeries, *, alignment: Alignment | None = None) -> Alignment:
    """Coarse shifts by cross-correlation of neighbouring tilts, outward from the lowest one.

    Parameters
    ----------
    series : TiltSeries
        In any order of tilts.
    alignment : Alignment, optional
        Where to start from; its tilt axis is trusted, and views are stretched by the ratio of the
        cosines of their tilts across it. Default: no shifts and no stretch.

    Returns
    -------
    Alignment
        Evidence "cross_correlation": view, tilt_angle_deg, peak (1 for equal images). A view is
        reliable if its peak is above 0.1.

    Raises
    ------
    ValueError
        If fewer than three views are in use, a pixel is not finite, or a view is blank.

    Notes
    -----
    Jumps of up to half the image are found. Errors add up from view to view (a random walk):
    refine with `projection_matching`, or run `marker_free`, which does.

    References
    ----------
    .. [1] R. Guckenberger, Ultramicroscopy 9 (1982) 167-173, doi:10.1016/0304-3991(82)90239-X
    """
    views = working_copy(series, max_pixels=_MAX_PIXELS)
    start = rows_in_use(series, alignment or geometry.nominal_alignment(series))
    images = views.images if alignment is None else apply(views, start).images
    n_y, n_x = images.shape[1:]
    pass_band = correlation.band((n_y, n_x), low=2.0 / max(n_y, n_x), high=0.15)
    order = np.argsort(views.tilt_angles_deg, kind="stable")
    first = int(np.abs(views.tilt_angles_deg[order]).argmin())
    moves = np.zeros((views.n_tilts, 2))
    peaks = np.ones(views.n_tilts)
    pairs = [(order[i - 1], order[i]) for i in range(first + 1, len(order))]
    pairs += [(order[i + 1], order[i]) for i in range(first - 1, -1, -1)]
    for reference, view in progress.track(pairs, "cross-correlation", len(pairs)):
        stretch = 1.0
        if alignment is not None:
            tilts = np.deg2rad(views.tilt_angles_deg[[reference, view]])
            stretch = float(np.clip(math.cos(tilts[0]) / math.cos(tilts[1]), 0.5, 2.0))
        step, peaks[view] = correlation.translation(
            correlation.apodise(images[reference]),
            correlation.apodise(_stretched(images[view], stretch)),
            pass_band=pass_band,
            max_shift=0.5 * max(n_y, n_x),
        )
        # the stretched view matched the reference where it was before its own shift: that one is stretched too
        moves[view] = step / (1.0, stretch) + moves[reference] / (1.0, stretch)
    shifts_nm = moves * views.pixel_size_nm
    if alignment is None:
        shifts_nm = shifts_nm @ geometry.rotation_yx(-series.tilt_axis_deg).T
    evidence = pd.DataFrame(
        {
            "view": np.flatnonzero(series.used),
            "tilt_angle_deg": views.tilt_angles_deg,
            "peak": peaks,
        }
    )
    found = replace(
        start, shifts_nm=start.shifts_nm + shifts_nm, residual_nm=math.nan, reliable=peaks > 0.1, evidence={}
    )
    return all_rows(series, found, {"cross_correlation": evidence})


def _stretched(image: np.ndarray, stretch: float) -> np.ndarray:
    """The image stretched along x about its centre."""
    if stretch == 1.0:
        return image
    matrix = np.diag([1.0, 1.0 / stretch])
    middle = np.array([geometry.centre(n) for n in image.shape])
    return affine_images(image[None], matrix[None], (middle - matrix @ middle)[None], image.shape)[0]
