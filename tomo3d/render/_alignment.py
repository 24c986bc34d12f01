"""How the views of a series were aligned: shifts, tilt axis and evidence over the tilt angle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tomo3d import geometry
from tomo3d.render import _style
from tomo3d.types import Alignment

_Y, _X = _style.PALETTE[5], _style.PALETTE[4]
_COLOURS = (_Y, _X, _style.PALETTE[2], _style.PALETTE[3])
_NOT_DRAWN = {"track", "weight"}  # columns that are neither lengths nor errors
_SEEN = 0.02  # of the range of the shifts: half a marker
_TITLES = {
    "tilt_axis": "Search for the tilt axis",
    "views": "Median of each view",
    "residuals": "Every observation",
    "residual_per_view": "Mean of each view",
}


@_style.styled
def alignment(alignment: Alignment) -> Figure:
    """Shifts, tilt axis and residuals of an alignment over the tilt angle.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    matplotlib.figure.Figure
        Open markers: views whose alignment the method distrusts. Bands about the shifts: one standard error,
        where the evidence has it. The direction of the axis has a panel where it differs between views, and is
        else in the heading. Each table of `evidence` with a tilt angle or a view in it, or whose first number
        is an angle, has a panel for each unit; where the axis was searched for, a dashed line marks the one found.
    """
    charts = _charts(alignment)
    turns = float(np.ptp(alignment.tilt_axis_deg)) >= 1e-3  # less: rounding errors, magnified
    n_panels = 1 + turns + len(charts)
    n_rows, n_columns = math.ceil(n_panels / 2), min(n_panels, 2)
    figure = _style.new_figure(_style.PAGE_IN, 0.25 + 2.2 * n_rows, layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in panels[n_panels:]:
        axes.remove()
    _shifts(panels.pop(0), alignment)
    if turns:
        axes = panels.pop(0)
        _over_tilt(axes, alignment.tilt_angles_deg, alignment.tilt_axis_deg, alignment.reliable, _style.INK)
        axes.set(ylabel="Direction of the tilt axis (°)", xlabel="Tilt angle (°)")
    for axes, chart in zip(panels, charts, strict=False):
        _evidence(axes, chart, alignment)
    figure.suptitle(_heading(alignment, turns), fontsize=8, x=0.01, ha="left")
    return figure


@dataclass(frozen=True)
class _Chart:
    """Some columns of a table, all of one unit."""

    name: str
    table: pd.DataFrame
    columns: Sequence[str]


def _heading(alignment: Alignment, turns: bool) -> str:
    n_distrusted = int((~alignment.reliable).sum())
    axis_deg = geometry.mean_axis_deg(alignment.tilt_axis_deg)
    axis = f"tilt axis {'about ' if turns else ''}{axis_deg:.2f}°".replace("-", "−")
    residual = f"{alignment.residual_nm:.3g} nm" if math.isfinite(alignment.residual_nm) else "not available"
    distrusted = f"{n_distrusted} distrusted" + (" (open markers)" if n_distrusted else "")
    return f"{alignment.n_tilts} views, {distrusted}; {axis}; r.m.s. residual {residual}"


def _shifts(axes: Axes, alignment: Alignment) -> None:
    angles, order = alignment.tilt_angles_deg, np.argsort(alignment.tilt_angles_deg, kind="stable")
    axes.axhline(0, color=_style.QUIET, lw=0.4)
    sigma_nm = _standard_errors(alignment)
    for i, (name, colour) in enumerate((("y", _Y), ("x", _X))):
        values = alignment.shifts_nm[:, i]
        if sigma_nm is not None:
            axes.fill_between(
                angles[order],
                (values - sigma_nm[:, i])[order],
                (values + sigma_nm[:, i])[order],
                color=colour,
                alpha=0.3,
                lw=0,
            )
        _over_tilt(axes, angles, values, alignment.reliable, colour, name)
    axes.set(ylabel="Shift of the content (nm)", xlabel="Tilt angle (°)")
    if sigma_nm is not None:
        seen = np.nanmax(sigma_nm) > _SEEN * max(float(np.ptp(alignment.shifts_nm)), 1e-30)
        words = "Bands: ±1 standard error" if seen else "Standard errors: within the markers"
        axes.set_title(words, loc="left")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)


def _standard_errors(alignment: Alignment) -> np.ndarray | None:
    """(y, x) of each view in nm, nan where there is none; None if no table has them."""
    wanted = ["sigma_y_nm", "sigma_x_nm"]
    for table in alignment.evidence.values():
        if {"view", *wanted} <= set(table.columns) and _names_views(table, alignment.n_tilts):
            sigma_nm = np.full((alignment.n_tilts, 2), np.nan)
            sigma_nm[table["view"].to_numpy(dtype=int)] = table[wanted].to_numpy(dtype=float)
            return sigma_nm if np.isfinite(sigma_nm).any() else None
    return None


def _over_tilt(
    axes: Axes, angles: np.ndarray, values: np.ndarray, reliable: np.ndarray, colour: str, label: str = ""
) -> None:
    order = np.argsort(angles, kind="stable")
    axes.plot(angles[order], values[order], color=colour, lw=0.6, alpha=0.6)
    axes.plot(angles[reliable], values[reliable], "o", color=colour, label=label)
    if not reliable.all():
        axes.plot(angles[~reliable], values[~reliable], "o", mfc="white", mec=colour)


def _charts(alignment: Alignment) -> list[_Chart]:
    """What the evidence has to draw: positions of tracks, and means beside medians, are left out."""
    known = set(alignment.evidence)
    left_out = {"tracks", "left_out"} | ({"residual_per_view"} if "views" in known else set())
    return [
        _Chart(name, table, columns)
        for name, table in alignment.evidence.items()
        if name not in left_out and _drawable(table)
        for columns in _by_unit(table)
    ]


def _drawable(table: pd.DataFrame) -> bool:
    if len(table) < 2:
        return False
    numeric = table.select_dtypes("number")
    if "tilt_angle_deg" in table.columns or "view" in table.columns:
        return True
    return numeric.shape[1] > 1 and str(numeric.columns[0]).endswith("_deg")


def _place_columns(table: pd.DataFrame) -> list[str]:
    """The columns that say where a row is drawn: its tilt angle or view, else its first number."""
    numeric = table.select_dtypes("number")
    return [key for key in ("tilt_angle_deg", "view") if key in numeric.columns] or [str(numeric.columns[0])]


def _by_unit(table: pd.DataFrame) -> list[list[str]]:
    """The other numeric columns, those of one unit together, four at most: one axis has one unit.

    Standard errors are apart from what they belong to, and so are counts from shares. Where a view has many
    rows, what was left out would hide the residuals.
    """
    groups: dict[str, list[str]] = {}
    is_cloud = "view" in table.columns and not table["view"].is_unique
    for column in map(str, table.select_dtypes("number").columns):
        if column in _place_columns(table) or column in _NOT_DRAWN:
            continue
        if is_cloud and column.startswith("left_out"):
            continue
        words, unit = _split_unit(column)
        key = f"{words.partition(' ')[0]} {unit}" if words.startswith("sigma") or not unit else unit
        groups.setdefault(key, []).append(column)
    return [columns[:4] for columns in groups.values()]


def _names_views(table: pd.DataFrame, n_views: int) -> bool:
    return bool(table["view"].between(0, n_views - 1).all())


def _evidence(axes: Axes, chart: _Chart, alignment: Alignment) -> None:
    """Columns of one table over the tilt angle where it has one, else over its first column."""
    table, keys = chart.table, _place_columns(chart.table)
    by_view = "view" in keys and _names_views(table, alignment.n_tilts)
    views = table["view"].to_numpy(dtype=int) if by_view else None
    if "tilt_angle_deg" in keys:
        place, label = table["tilt_angle_deg"].to_numpy(), "Tilt angle (°)"
    elif views is not None:
        place, label = alignment.tilt_angles_deg[views], "Tilt angle (°)"
    else:
        place, label = table[keys[0]].to_numpy(), _column_text(keys[0])
    trusted = np.ones(len(table), dtype=bool) if views is None else alignment.reliable[views]
    names = _shared_words(chart.columns)
    is_cloud = len(np.unique(place)) < len(place)  # many at one place are no curve
    for column, name, colour in zip(chart.columns, names[1], _COLOURS, strict=False):
        values = table[column].to_numpy(dtype=float)
        if is_cloud:
            axes.plot(place, values, "o", color=colour, ms=2, mew=0, alpha=0.5, label=name)
        else:
            _over_tilt(axes, place, values, trusted, colour, name)
    axes.set(xlabel=label, ylabel=names[0])
    if all(table[column].dtype.kind in "iu" for column in chart.columns):
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    words = chart.name.replace("_", " ").capitalize()
    is_length = all(_split_unit(column)[1] for column in chart.columns)  # counts are no medians
    title = _TITLES.get(chart.name, words) if is_length or chart.name == "tilt_axis" else words
    axes.set_title(title, loc="left")
    if len(chart.columns) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    if keys[0] == "tilt_axis_deg":
        _mark_axis(axes, place, alignment)


def _mark_axis(axes: Axes, tried_deg: np.ndarray, alignment: Alignment) -> None:
    """The direction that was found, at the turn by 180 deg nearest to those that were tried."""
    axis_deg = geometry.mean_axis_deg(alignment.tilt_axis_deg)
    axis_deg += 180.0 * round((0.5 * (tried_deg.min() + tried_deg.max()) - axis_deg) / 180.0)
    axes.axvline(axis_deg, color=_style.QUIET, lw=0.8, ls=(0, (4, 3)), zorder=1)


def _shared_words(columns: Sequence[str]) -> tuple[str, list[str]]:
    """The label of an axis, and what tells its columns apart: residual_y_nm, residual_x_nm -> Residual (nm); y, x."""
    if len(columns) == 1:
        return _column_text(columns[0]), [_column_text(columns[0])]
    split = [_split_unit(column) for column in columns]
    unit, first = split[0][1], {words.split(" ")[0] for words, _ in split}
    if len(first) == 1 and all(" " in words for words, _ in split):
        return _text(first.pop(), unit), [words.partition(" ")[2] for words, _ in split]
    is_residual = all(words in ("y", "x", "residual", "left out") for words, _ in split)
    names = ["in the fit" if words == "residual" and is_residual else words for words, _ in split]
    return _text("residual" if is_residual else "", unit), names


def _column_text(name: str) -> str:
    """A column's name as words, its unit in parentheses: residual_nm -> Residual (nm)."""
    return _text(*_split_unit(name))


def _text(words: str, unit: str) -> str:
    words = words.replace("sigma", "standard error").replace("n tracks", "number of tracks")
    bracket = f"({unit})" if words and unit else unit
    return f"{words[:1].upper()}{words[1:]} {bracket}".strip()


def _split_unit(name: str) -> tuple[str, str]:
    units = {"nm": "nm", "deg": "°", "percent": "%", "px": "px"}
    words = name.split("_")
    unit = units.get(words[-1], "") if len(words) > 1 else ""
    return " ".join(words[:-1] if unit else words), unit
