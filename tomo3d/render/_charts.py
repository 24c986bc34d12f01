"""Distributions, and measured numbers beside the truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tomo3d import tables
from tomo3d.render import _style
from tomo3d.types import Volume

_MAX_BINS = 60


@_style.styled
def thickness_histogram(
    thickness: Volume, *, label: str = "Local thickness", truth_nm: float | None = None
) -> Figure:
    """Distribution of a thickness over the volume of the structure, with mean and median.

    Parameters
    ----------
    thickness : Volume, shape (n_z, n_y, n_x)
        In nm; 0 outside the structure.
    label : str
        Name of the axis, without unit.
    truth_nm : float, optional
        Known thickness, marked by a line of its own.

    Returns
    -------
    matplotlib.figure.Figure
        Share of the structure's volume per nm of thickness: every voxel counts
        the same. Bins follow Freedman and Diaconis [1]_ but are never narrower
        than a voxel, within which thicknesses on a grid are few and uneven.

    Raises
    ------
    ValueError
        If no voxel has a thickness above 0.

    References
    ----------
    .. [1] Z. Wahrscheinlichkeitstheorie verw. Gebiete 57 (1981) 453-476, doi:10.1007/BF01025868
    """
    data = _style.host(thickness.data[:])
    values = data[data > 0]
    if values.size == 0:
        raise ValueError(
            "at least one voxel must have a thickness above 0 nm, got none: the structure is empty."
        )
    mean, median = float(values.mean(dtype=np.float64)), float(np.median(values))
    edges = _bin_edges(values, min(thickness.voxel_size_nm))
    counts, _ = np.histogram(values, bins=edges)
    share = 100 * counts / values.size / np.diff(edges)
    figure = _style.new_figure(_style.COLUMN_IN, 2.5, layout="constrained")
    axes = figure.subplots()
    axes.stairs(share, edges, fill=True, color="#b9cbd9")
    axes.stairs(share, edges, color="#5b7c95", lw=0.7)
    axes.axvline(mean, color=_style.INK, label=f"mean {mean:.3g} nm")
    axes.axvline(median, color=_style.INK, ls=(0, (4, 2)), label=f"median {median:.3g} nm")
    if truth_nm is not None:
        axes.axvline(
            truth_nm, color=_style.PALETTE[4], ls=(0, (1, 1)), lw=1.4, label=f"truth {truth_nm:.3g} nm"
        )
    axes.set(
        xlabel=f"{label} (nm)", ylabel="Volume (% per nm)", xlim=(min(0, edges[0]), None), ylim=(0, None)
    )
    axes.legend(title=f"n = {values.size:,} voxels", title_fontsize=7, loc="best", alignment="left")
    return figure


@_style.styled
def comparison(table: pd.DataFrame) -> Figure:
    """Relative errors of measured quantities against the truth.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns of `tomo3d.tables.COMPARISON`.

    Returns
    -------
    matplotlib.figure.Figure
        One row per quantity with a truth other than zero.

    Raises
    ------
    ValueError
        If a column is missing, or no row has a finite error in percent.
    """
    tables.check(table, tables.COMPARISON)
    rows = table[np.isfinite(table["error_percent"].to_numpy(dtype=float))]
    if rows.empty:
        raise ValueError("at least one row must have a finite error_percent, got none.")
    errors = rows["error_percent"].to_numpy(dtype=float)
    figure = _style.new_figure(_style.PAGE_IN, 0.7 + 0.36 * len(rows), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    axes.hlines(places, 0, errors, color=_style.PALETTE[5], lw=1.4)
    axes.plot(errors, places, "o", color=_style.PALETTE[5], ms=4)
    axes.axvline(0, color=_style.INK, lw=0.6)
    axes.set_yticks(places, labels=[_row_text(row) for _, row in rows.iterrows()])
    limit = 1.15 * max(float(np.abs(errors).max()), 1e-6)
    axes.set(xlim=(-limit, limit), ylim=(-0.6, len(rows) - 0.4), xlabel="Error (% of truth)")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _row_text(row: pd.Series) -> str:
    """Name, broken before what tells it from others of one truth, and both values."""
    unit = row["unit"] if isinstance(row["unit"], str) else ""  # an empty text is read from CSV as nan
    unit = f" {unit}".rstrip().replace("^2", "²").replace("^3", "³")
    name = str(row["quantity"]).replace("_", " ").replace("$", r"\$")  # a dollar sign would start a formula
    first, bracket, rest = name.partition(" (")
    values = " of ".join(
        f"{row[key]:,.0f}" if abs(row[key]) >= 1000 else f"{row[key]:.3g}" for key in ("measured", "truth")
    )
    return f"{first}: {values}{unit}" + (f"\n{bracket[1:]}{rest}" if bracket else "")


def _bin_edges(values: np.ndarray, voxel_nm: float) -> np.ndarray:
    """Edges on multiples of a round width of at least a voxel, around all values."""
    low, high = float(values.min()), float(values.max())
    quartiles = np.percentile(values, (25, 75))
    width = 2 * float(quartiles[1] - quartiles[0]) / values.size ** (1 / 3)
    width = max(width, voxel_nm, (high - low) / _MAX_BINS)
    first = math.floor(low / width) - 1
    last = math.ceil(high / width) + 1
    return np.asarray(width * np.arange(first, last + 1)).clip(min=0)[first < 0 :]
