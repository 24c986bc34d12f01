"""A tilt series at a glance: views, tilt axis and sinogram."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomo3d.geometry import centre, is_transposed
from tomo3d.progress import track
from tomo3d.render import _style
from tomo3d.types import TiltSeries

_N_VIEWS = 5
_MAX_PIXELS = 1000  # a panel is 1.3 inches wide: more pixels than this are not seen
_GAP = 1.5  # a view stands for the angles around it, up to 1.5 median steps apart; beyond is a gap


@_style.styled
def tilt_series(series: TiltSeries) -> Figure:
    """Five views of a tilt series with their angles, and the sinogram of the central row.

    Parameters
    ----------
    series : TiltSeries

    Returns
    -------
    matplotlib.figure.Figure
        Above: views from the lowest to the highest tilt, each in its own grey
        range; the dashed line is the nominal tilt axis through the centre.
        Below: the central line of pixels across the tilt axis (the central row,
        or the central column where the axis is nearer 90 than 0 deg) against
        the tilt angle; views that are missing or excluded leave white gaps.

    Raises
    ------
    ValueError
        If no view is in use.
    """
    used = np.flatnonzero(series.used)
    if used.size == 0:
        raise ValueError("at least one view must be in use to be drawn, got none: see TiltSeries.use.")
    order = used[np.argsort(series.tilt_angles_deg[used], kind="stable")]
    shown = _spread(series.tilt_angles_deg[order], order)
    _, n_y, n_x = series.images.shape
    height_in = float(np.clip((_style.PAGE_IN / len(shown) - 0.1) * n_y / n_x, 0.5, 2.8)) + 0.25
    figure = _style.new_figure(_style.PAGE_IN, height_in + 2.6, layout="constrained")
    top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[height_in, 2.6]).ravel()
    panels = np.atleast_1d(top.subplots(1, len(shown), squeeze=True))
    level = min(shown, key=lambda i: abs(series.tilt_angles_deg[i]))
    for axes, i in zip(panels, shown, strict=True):
        _view(axes, series, i)
        if i == level:
            _axis_line(axes, series)
    figure.canvas.draw()  # the scale bar needs the final size of its axes
    _style.add_scale_bar(panels[0], fraction=0.45)
    _sinogram(below.subplots(), series, order)
    return figure


def _spread(angles: np.ndarray, order: np.ndarray) -> list[int]:
    """Views nearest to evenly spread angles, ascending, each once."""
    wanted = np.linspace(angles[0], angles[-1], _N_VIEWS)
    nearest = sorted({int(np.argmin(np.abs(angles - angle))) for angle in wanted})
    return [int(order[i]) for i in nearest]


def _view(axes: Axes, series: TiltSeries, i: int) -> None:
    image = _style.host(series.images[i])
    step = max(1, math.ceil(max(image.shape) / _MAX_PIXELS))
    image = _binned(image, step)
    black, white = _style.grey_range(image, (0.5, 99.5))
    half_y, half_x = (0.5 * n * step * series.pixel_size_nm for n in image.shape)
    axes.imshow(
        image,
        cmap="gray",
        vmin=black,
        vmax=white,
        origin="lower",
        extent=(-half_x, half_x, -half_y, half_y),
        aspect="equal",
    )
    _style.picture_axes(axes)
    axes.set_title(f"{_style.signed(float(series.tilt_angles_deg[i]))}°", loc="left")


def _axis_line(axes: Axes, series: TiltSeries) -> None:
    """The nominal tilt axis through the centre of the view."""
    angle = math.radians(series.tilt_axis_deg)  # from +y, counter-clockwise: (y, x) = (cos, -sin)
    limits = (axes.get_xlim(), axes.get_ylim())
    axes.axline((0, 0), (-math.sin(angle), math.cos(angle)), color=_style.PALETTE[0], lw=0.9, ls=(0, (5, 4)))
    axes.set(xlim=limits[0], ylim=limits[1])


def _sinogram(axes: Axes, series: TiltSeries, order: np.ndarray) -> None:
    column = is_transposed(series.tilt_axis_deg)
    n = series.images.shape[1 if column else 2]
    # floor(centre): for an even n the lower of the two central lines
    line = math.floor(centre(series.images.shape[2 if column else 1]))
    rows = np.empty((len(order), n), dtype=np.float32)
    for row, i in enumerate(track(order, "drawing the sinogram", len(order))):
        rows[row] = _style.host(series.images[i, :, line] if column else series.images[i, line, :])
    angles = series.tilt_angles_deg[order]
    image, low, high = _over_angles(rows, angles)
    black, white = _style.grey_range(rows, (0.5, 99.5))
    half = 0.5 * n * series.pixel_size_nm
    axes.imshow(
        image,
        cmap=_style.colour_map("gray"),
        vmin=black,
        vmax=white,
        origin="lower",
        extent=(-half, half, low, high),
        aspect="auto",
        interpolation="nearest" if n < _MAX_PIXELS else None,
    )
    across = "y" if column else "x"
    what = "column" if column else "row"
    n_left = series.n_tilts - len(order)
    left = f", {n_left} excluded" if n_left else ""
    axes.set(xlabel=f"{across} (nm)", ylabel="Tilt angle (°)")
    axes.set_title(f"Sinogram of the central {what}: {len(order)} views{left}", loc="left")


def _over_angles(rows: np.ndarray, angles: np.ndarray) -> tuple[Any, float, float]:
    """Rows at ascending angles on a fine even grid of angles, masked in gaps; with its lowest and highest edge."""
    steps = np.diff(angles)
    steps = steps[steps > 0]
    step = float(np.median(steps)) if steps.size else 1.0
    low, high = float(angles[0]) - 0.5 * step, float(angles[-1]) + 0.5 * step
    n_grid = int(np.clip(round(4 * (high - low) / step), 4, 2000))
    grid = low + (np.arange(n_grid) + 0.5) * (high - low) / n_grid
    right = np.clip(np.searchsorted(angles, grid), 0, len(angles) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(angles[left] - grid) < np.abs(angles[right] - grid), left, right)
    gap = np.abs(angles[nearest] - grid) > 0.5 * _GAP * step
    return np.ma.array(rows[nearest], mask=np.repeat(gap[:, None], rows.shape[1], axis=1)), low, high


def _binned(image: np.ndarray, step: int) -> np.ndarray:
    """Means over step x step pixels; what does not fill a square at the far edges is left out."""
    if step == 1:
        return image
    n_y, n_x = (n // step for n in image.shape)
    part = image[: n_y * step, : n_x * step]
    return np.asarray(part.reshape(n_y, step, n_x, step).mean(axis=(1, 3), dtype=np.float32))
