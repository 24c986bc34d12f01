"""Curves of a table: one for each group, with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tomo3d.render import _style

_UNITS = {
    "_per_nm": "1/nm",
    "_nm3": "nm³",
    "_nm2": "nm²",
    "_nm": "nm",
    "_deg": "deg",
    "_percent": "%",
}
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1.5, 1, 1.5)))


@_style.styled
def curves(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    group: str | None = None,
    band: tuple[str, str] | None = None,
    is_logarithmic: bool = False,
) -> Figure:
    """One column of a table against another, a curve for each group: correlations, distributions, depth profiles.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `measure.two_point_correlation`, `size_distribution` or `chord_lengths`.
    x, y : str
        Columns to draw; the end of their names is their unit, as in distance_nm.
    group : str, optional
        Column whose values name the curves, as direction or axis. Default: one curve.
    band : (str, str), optional
        Columns of the lower and upper end of an interval of y, drawn as a band. Default: low and high, or y's own
        (as density_low and density_high), where there are.
    is_logarithmic : bool
        Whether x is logarithmic: points at 0 and below are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing or x or y holds no numbers, there are more than eight groups, or no point can be drawn.
    """
    wanted = [x, y, *([group] if group is not None else []), *(band or ())]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table must have the columns {wanted}, missing {missing} of {list(table.columns)}."
        )
    for name in (x, y):
        if getattr(table[name].dtype, "kind", "O") not in "fiu":
            raise ValueError(f"column {name!r} must hold numbers to be drawn, got {table[name].dtype}.")
    ends = band or _own_band(table, y)
    groups = (
        [("", table)]
        if group is None
        else [(str(key), rows) for key, rows in table.groupby(group, sort=False)]
    )
    if len(groups) > len(_style.PALETTE):
        raise ValueError(
            f"{group} must have at most {len(_style.PALETTE)} values to be told apart, got {len(groups)}."
        )
    figure = _style.new_figure(_style.COLUMN_IN, 2.6, layout="constrained")
    axes = figure.subplots()
    n_drawn = 0
    for i, (name, rows) in enumerate(groups):
        at, value = (rows[column].to_numpy(dtype=np.float64) for column in (x, y))
        is_drawn = np.isfinite(at) & np.isfinite(value) & ((at > 0) | (not is_logarithmic))
        order = np.argsort(at[is_drawn], kind="stable")
        colour = _style.PALETTE[(5, 4, 2, 3, 0, 1, 7, 6)[i]]
        axes.plot(
            at[is_drawn][order],
            value[is_drawn][order],
            color=colour,
            ls=_DASHES[i % len(_DASHES)],
            marker="o" if len(order) == 1 else "",
            label=name.replace("$", r"\$"),
            zorder=3,
        )
        if ends is not None:
            low, high = (rows[end].to_numpy(dtype=np.float64)[is_drawn][order] for end in ends)
            axes.fill_between(at[is_drawn][order], low, high, color=colour, alpha=0.18, lw=0)
        n_drawn += len(order)
    if n_drawn == 0:
        raise ValueError(f"at least one row must have a finite {x} and {y} to be drawn, got none.")
    axes.set(xlabel=_label(x), ylabel=_label(y))
    axes.margins(x=0)
    if is_logarithmic:
        axes.set_xscale("log")
    if float(np.nanmin(table[y].to_numpy(dtype=np.float64))) >= 0:
        axes.set_ylim(0, None)
    if group is not None:
        axes.legend(
            title=group.replace("_", " ").capitalize(), title_fontsize=7, alignment="left", loc="best"
        )
    return figure


def _own_band(table: pd.DataFrame, y: str) -> tuple[str, str] | None:
    """Columns of the interval of y, by their names, where they hold numbers."""
    stem = y.partition("_per_")[0].removesuffix("_nm")
    for low, high in ((f"{stem}_low", f"{stem}_high"), ("low", "high")):
        has_both = low in table.columns and high in table.columns
        if has_both and (low != "low" or y in ("probability", "value")) and table[low].notna().any():
            return low, high
    return None


def _label(column: str) -> str:
    """Name of an axis, with the unit that the column's name ends in."""
    for ending, unit in _UNITS.items():
        if column.endswith(ending):
            return f"{column.removesuffix(ending).replace('_', ' ').capitalize()} ({unit})"
    return column.replace("_", " ").capitalize()
