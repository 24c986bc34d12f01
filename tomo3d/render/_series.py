"""A tilt series at a glance: views, tilt axis and sinogram; and how its views were aligned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomo3d.geometry import centre, is_transposed
from tomo3d.progress import track
from tomo3d.render import _style
from tomo3d.types import Alignment, TiltSeries

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


@_style.styled
def alignment(alignment: Alignment) -> Figure:
    """Shifts, tilt axis and residuals of an alignment over the tilt angle.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    matplotlib.figure.Figure
        Open markers: views whose alignment the method distrusts. Each table of
        `evidence` with a tilt angle or a view in it, or whose first number is an angle,
        has a panel for each unit.
    """
    drawn = [
        (name, table, columns)
        for name, table in alignment.evidence.items()
        if _drawable(table)
        for columns in _by_unit(table)
    ]
    n_rows = 1 + math.ceil(len(drawn) / 2)
    figure = _style.new_figure(_style.PAGE_IN, 2.3 * n_rows, layout="constrained")
    panels = figure.subplots(n_rows, 2, squeeze=False).ravel()
    angles = alignment.tilt_angles_deg
    names = ("y", "x")
    for i, name in enumerate(names):
        _over_tilt(
            panels[0], angles, alignment.shifts_nm[:, i], alignment.reliable, _style.PALETTE[5 - i], name
        )
    panels[0].set(ylabel="Shift of the content (nm)", xlabel="Tilt angle (°)")
    panels[0].axhline(0, color=_style.QUIET, lw=0.4)
    panels[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    _over_tilt(panels[1], angles, alignment.tilt_axis_deg, alignment.reliable, _style.INK, "")
    panels[1].set(ylabel="Direction of the tilt axis (°)", xlabel="Tilt angle (°)")
    middle = float(np.mean(alignment.tilt_axis_deg))
    if np.ptp(alignment.tilt_axis_deg) < 1e-3:  # one axis for all views: no magnified rounding errors
        panels[1].set_ylim(middle - 1, middle + 1)
        panels[1].ticklabel_format(useOffset=False)
    residual = f"{alignment.residual_nm:.3g} nm" if math.isfinite(alignment.residual_nm) else "not available"
    n_distrusted = int((~alignment.reliable).sum())
    figure.suptitle(
        f"{alignment.n_tilts} views, {n_distrusted} distrusted; r.m.s. residual {residual}",
        fontsize=8,
        x=0.01,
        ha="left",
    )
    for axes, (name, table, columns) in zip(panels[2:], drawn, strict=False):
        _evidence(axes, name, table, columns, angles)
    for axes in panels[2 + len(drawn) :]:
        axes.remove()
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


def _over_tilt(
    axes: Axes, angles: np.ndarray, values: np.ndarray, reliable: np.ndarray, colour: str, label: str
) -> None:
    order = np.argsort(angles, kind="stable")
    axes.plot(angles[order], values[order], color=colour, lw=0.6, alpha=0.6)
    axes.plot(angles[reliable], values[reliable], "o", color=colour, label=label)
    axes.plot(angles[~reliable], values[~reliable], "o", mfc="white", mec=colour)


def _drawable(table: pd.DataFrame) -> bool:
    numeric = table.select_dtypes("number")
    if _places(table):
        return len(table) > 1
    return len(table) > 1 and numeric.shape[1] > 1 and str(numeric.columns[0]).endswith("_deg")


def _places(table: pd.DataFrame) -> bool:
    return "tilt_angle_deg" in table.columns or "view" in table.columns


def _place_columns(table: pd.DataFrame) -> list[str]:
    """The columns that say where a row is drawn: its tilt angle or view, else its first number."""
    numeric = table.select_dtypes("number")
    return [key for key in ("tilt_angle_deg", "view") if key in numeric.columns] or [str(numeric.columns[0])]


def _by_unit(table: pd.DataFrame) -> list[list[str]]:
    """The other numeric columns, those of one unit together, four at most: one axis has one unit."""
    groups: dict[str, list[str]] = {}
    for column in table.select_dtypes("number").columns:
        if column not in _place_columns(table):
            _, bracket, unit = _column_text(str(column)).partition(" (")
            groups.setdefault(bracket + unit, []).append(str(column))
    return [columns[:4] for columns in groups.values()]


def _evidence(axes: Axes, name: str, table: pd.DataFrame, columns: list[str], angles: np.ndarray) -> None:
    """Columns of one table over the tilt angle where it has one, else over its first column."""
    numeric = table.select_dtypes("number")
    keys = _place_columns(table)
    if "tilt_angle_deg" in keys:
        place, label = numeric["tilt_angle_deg"].to_numpy(), "Tilt angle (°)"
    elif "view" in keys and numeric["view"].between(0, len(angles) - 1).all():
        place, label = angles[numeric["view"].to_numpy(dtype=int)], "Tilt angle (°)"
    else:
        place, label = numeric[keys[0]].to_numpy(), _column_text(keys[0])
    order = np.argsort(place, kind="stable")
    colours = (_style.PALETTE[5], _style.PALETTE[4], _style.PALETTE[2], _style.PALETTE[3])
    marker = "o-" if len(np.unique(place)) == len(place) else "o"  # many at one place: a cloud, not a curve
    for column, colour in zip(columns, colours, strict=False):
        values = numeric[column].to_numpy()
        axes.plot(place[order], values[order], marker, color=colour, lw=0.6, label=_column_text(str(column)))
    axes.set(xlabel=label)
    axes.set_title(name.replace("_", " ").capitalize(), loc="left")
    if len(columns) == 1:
        axes.set_ylabel(_column_text(str(columns[0])))
    else:
        axes.legend()


def _column_text(name: str) -> str:
    """A column's name as words, its unit in parentheses: residual_nm -> Residual (nm)."""
    units = {"nm": "nm", "deg": "°", "percent": "%", "px": "px"}
    words = name.split("_")
    unit = units.get(words[-1], "") if len(words) > 1 else ""
    text = " ".join(words[:-1] if unit else words)
    return f"{text[:1].upper()}{text[1:]}" + (f" ({unit})" if unit else "")


def _binned(image: np.ndarray, step: int) -> np.ndarray:
    """Means over step x step pixels; what does not fill a square at the far edges is left out."""
    if step == 1:
        return image
    n_y, n_x = (n // step for n in image.shape)
    part = image[: n_y * step, : n_x * step]
    return np.asarray(part.reshape(n_y, step, n_x, step).mean(axis=(1, 3), dtype=np.float32))
