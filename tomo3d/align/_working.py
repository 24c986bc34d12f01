"""The copy of a tilt series that alignment works on, and what its steps do with alignments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage

from tomo3d import geometry, progress
from tomo3d.compute import backend
from tomo3d.compute.checks import require_finite_view
from tomo3d.compute.resampling import bin_images
from tomo3d.planning import Plan, Sketch
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd


def planner(max_pixels: int) -> Callable[..., Plan]:
    """Plan of an alignment on working copies of up to `max_pixels`: views, their aligned copy, and two half volumes."""

    def plan(series: Sketch, *, max_pixels: int = max_pixels, **_: Any) -> Plan:
        n_views, n_y, n_x = series.shape
        edge = min(max(n_y, n_x), max_pixels)
        one_view = 4 * n_y * n_x
        return Plan(Sketch("Alignment"), one_view + 4 * edge**2 * (4 * n_views + 4 * edge))

    return plan


SMOOTHING = 1.5  # pixels of the working copy


def working_copy(series: TiltSeries, *, max_pixels: int, smooth: bool = False) -> TiltSeries:
    """The used views, binned until no side exceeds `max_pixels`, each about the median of its border.

    Smooth views have the same noise wherever they are resampled; otherwise an alignment that moves
    views by whole pixels leaves them noisier than one that does not, and looks worse.

    Raises
    ------
    ValueError
        If fewer than three views are in use, a pixel is not finite, or a view is blank.
    """
    used = np.flatnonzero(series.used)
    if len(used) < 3:
        raise ValueError(f"alignment needs at least three views in use, got {len(used)}.")
    factor = _factor(series, max_pixels)
    images = _binned(series, used, factor)
    if smooth:
        scipy.ndimage.gaussian_filter(
            images, sigma=(0.0, SMOOTHING, SMOOTHING), mode="nearest", output=images
        )
    border = np.ones(images.shape[1:], dtype=bool)
    width = max(1, min(images.shape[1:]) // 16)
    border[width:-width, width:-width] = False
    images -= np.median(images[:, border], axis=1)[:, None, None]
    blank = np.flatnonzero(images.reshape(len(images), -1).std(axis=1) == 0)
    if len(blank):
        raise ValueError(
            f"every view in use must show something, got view {int(used[blank[0]])} (0-based) blank: exclude it."
        )
    return TiltSeries(
        images, series.tilt_angles_deg[used], series.pixel_size_nm * factor, series.tilt_axis_deg
    )


def reduced(series: TiltSeries, *, max_pixels: int) -> TiltSeries:
    """The series on larger pixels, no side of it above `max_pixels`, read view by view; excluded views are left blank.

    What works on copies of this size or less can begin here, and reads the series once.

    Raises
    ------
    ValueError
        If a pixel of a view in use is not finite.
    """
    factor = _factor(series, max_pixels)
    if factor == 1:
        return series
    used = np.flatnonzero(series.used)
    n_y, n_x = (int(n) // factor for n in series.images.shape[1:])
    images = np.zeros((series.n_tilts, n_y, n_x), dtype=np.float32)
    images[used] = _binned(series, used, factor)
    return replace(series, images=images, pixel_size_nm=series.pixel_size_nm * factor)


def _factor(series: TiltSeries, max_pixels: int) -> int:
    """Edge, in pixels, of the blocks that make a copy of at most `max_pixels`."""
    return max(1, math.ceil(max(series.images.shape[1:]) / max_pixels))


def _binned(series: TiltSeries, used: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of the used views, each read, and checked for what is not finite, once."""
    n_y, n_x = (int(n) // factor for n in series.images.shape[1:])
    images = np.empty((len(used), n_y, n_x), dtype=np.float32)

    def bin_view(k: int) -> None:
        view = np.asarray(series.images[int(used[k])])
        require_finite_view(view, int(used[k]))
        images[k] = bin_images(view[None], factor)[0]

    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in progress.track(pool.map(bin_view, range(len(used))), "binning", len(used)):
            pass
    return images


def require_tilts(series: TiltSeries, what: str) -> None:
    """Raise ValueError unless at least six views are in use, over at least ten degrees and within 90 deg."""
    angles = series.tilt_angles_deg[series.used]
    beyond = np.flatnonzero(np.abs(series.tilt_angles_deg) > 90.0)
    beyond = beyond[series.used[beyond]]
    if len(beyond):
        raise ValueError(
            f"tilt angles must be from -90 to 90 deg, got {series.tilt_angles_deg[beyond[0]]:g} deg in view "
            f"{beyond[0]} (0-based): check their unit, or exclude it."
        )
    if len(angles) < 6:
        raise ValueError(f"{what} needs at least six views in use, got {len(angles)}.")
    if np.ptp(angles) < 10.0:
        raise ValueError(
            f"{what} needs views over at least 10 deg of tilt, got {float(np.ptp(angles)):g} deg: check the tilt "
            "angles and their unit."
        )


def require_thickness(thickness_nm: float | None) -> None:
    """Raise ValueError unless a thickness, where one is given, is a positive length."""
    if thickness_nm is not None and not (math.isfinite(thickness_nm) and thickness_nm > 0.0):
        raise ValueError(f"thickness_nm must be a positive length in nm, got {thickness_nm:g} nm.")


def require_different(views: TiltSeries) -> None:
    """Raise ValueError if all views are the same."""
    images = views.images
    if all(np.array_equal(images[0], image) for image in images[1:]):
        raise ValueError(
            f"views must differ from one another, got {len(images)} views that are all the same: check the file."
        )


def rows_in_use(series: TiltSeries, alignment: Alignment) -> Alignment:
    """The rows of an alignment that belong to the used views of a series."""
    geometry.check_fits(series, alignment)
    return geometry.rows(alignment, series.used)


def all_rows(
    series: TiltSeries, alignment: Alignment, evidence: Mapping[str, pd.DataFrame] | None = None
) -> Alignment:
    """An alignment of the used views, with a row for every view of the series.

    An excluded view takes the shift and axis of the used view nearest in tilt, and is not reliable.
    """
    used = np.flatnonzero(series.used)
    gap = np.abs(series.tilt_angles_deg[:, None] - series.tilt_angles_deg[used][None, :])
    nearest = gap.argmin(axis=1)
    nearest[used] = np.arange(len(used))
    angles = series.tilt_angles_deg.copy()
    angles[used] = alignment.tilt_angles_deg
    return replace(
        geometry.rows(alignment, nearest),
        tilt_angles_deg=angles,
        reliable=alignment.reliable[nearest] & series.used,
        evidence={**alignment.evidence, **(evidence or {})},
    )


def turned(alignment: Alignment, tilt_axis_deg: float) -> Alignment:
    """The same translations of the raw views, with another direction of the tilt axis."""
    shifts_nm = np.empty_like(alignment.shifts_nm)
    for i, (shift, axis) in enumerate(zip(alignment.shifts_nm, alignment.tilt_axis_deg, strict=True)):
        shifts_nm[i] = geometry.rotation_yx(-(tilt_axis_deg - float(axis))) @ shift
    return replace(
        alignment, shifts_nm=shifts_nm, tilt_axis_deg=np.full(alignment.n_tilts, float(tilt_axis_deg))
    )


def moved(alignment: Alignment, shifts_nm: np.ndarray) -> Alignment:
    """The alignment with `shifts_nm` (n_tilts, 2) or (2,) added."""
    return replace(alignment, shifts_nm=alignment.shifts_nm + shifts_nm)
