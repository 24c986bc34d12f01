"""Fourier shell correlation: curves with their thresholds, and the resolution where they cross."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomo3d import tables
from tomo3d.compute import fourier_shell
from tomo3d.render import _style

_THRESHOLDS = (0.5, 0.143)
_WITHOUT_CORRECTION = {
    "correlation_masked": ("masked, not corrected", (0, (4, 2))),
    "correlation_unmasked": ("whole grid", (0, (1, 1))),
    "correlation_random_phases": ("random phases", (0, (4, 1, 1, 1))),
}
_DIRECTIONS = {"x": _style.PALETTE[5], "y": _style.PALETTE[2], "z": _style.PALETTE[4]}


@_style.styled
def fourier_shell_correlation(curve: pd.DataFrame) -> Figure:
    """Fourier shell correlation over spatial frequency, with the resolution at 0.5 and 0.143.

    Parameters
    ----------
    curve : pandas.DataFrame
        Columns of `tomo3d.tables.SHELLS`. Those of `MASKED_SHELLS` are drawn as thin lines, and
        with a column `direction` (`DIRECTIONAL_SHELLS`) each direction is a curve of its own.

    Returns
    -------
    matplotlib.figure.Figure
        Below, the frequency in 1/nm, above, the period in nm. A dot marks where a curve first falls below a
        threshold; the legend says the period there. Shells that hold too few voxels to decide are faint.

    Raises
    ------
    ValueError
        If a column is missing, or there is no shell.
    """
    tables.check(curve, tables.SHELLS)
    if curve.empty:
        raise ValueError("the curve must have at least one shell to be drawn, got none.")
    n_lines = curve["direction"].nunique() if "direction" in curve.columns else len(curve.columns) - 3
    figure = _style.new_figure(_style.COLUMN_IN, 2.7 + 0.15 * n_lines, layout="constrained")
    axes = figure.subplots()
    for threshold in _THRESHOLDS:
        axes.axhline(threshold, color=_style.QUIET, lw=0.6, ls=(0, (3, 2)), zorder=1)
        axes.annotate(
            f"{threshold:g}", (1, threshold), xycoords=("axes fraction", "data"), xytext=(2, 0),
            textcoords="offset points", va="center", fontsize=7, color=_style.QUIET, annotation_clip=False,
        )  # fmt: skip
    axes.axhline(0, color=_style.QUIET, lw=0.4, zorder=1)
    if "direction" in curve.columns:
        for direction, part in curve.groupby("direction", sort=True):
            _curve(axes, part, str(direction), _DIRECTIONS.get(str(direction), _style.INK))
    else:
        for column, (label, dashes) in _WITHOUT_CORRECTION.items():
            if column in curve.columns and curve[column].notna().any():
                axes.plot(
                    curve["frequency_per_nm"],
                    curve[column],
                    color=_style.QUIET,
                    lw=0.8,
                    ls=dashes,
                    label=label,
                )
        _curve(axes, curve, "corrected" if "correlation_masked" in curve.columns else "", _style.PALETTE[5])
    _frame(axes, curve)
    figure.legend(loc="outside lower left", ncols=1)
    return figure


def _curve(axes: Axes, part: pd.DataFrame, name: str, colour: str) -> None:
    """One curve, faint where its shells do not decide, with a dot at each crossing."""
    frequency, correlation, n_voxels = (
        part[column].to_numpy() for column in ("frequency_per_nm", "correlation", "n_voxels")
    )
    start = fourier_shell.n_undecided(n_voxels)
    axes.plot(frequency[: start + 1], correlation[: start + 1], color=colour, lw=0.8, alpha=0.4)
    words = []
    for threshold in _THRESHOLDS:
        place = fourier_shell.crossing(frequency, correlation, n_voxels, threshold)
        if place > 0:
            axes.plot([place], [threshold], "o", color=colour, mec="white", mew=0.6, ms=5, zorder=4)
            words.append(f"{1 / place:.3g} nm at {threshold:g}")
        elif math.isnan(place):
            words.append(f"above {threshold:g} throughout")
        else:
            words.append(f"below {threshold:g} throughout")
    label = f"{name}: {', '.join(words)}" if name else ", ".join(words)
    axes.plot(frequency[start:], correlation[start:], color=colour, lw=1.3, label=label, zorder=3)


def _frame(axes: Axes, curve: pd.DataFrame) -> None:
    highest = float(curve["frequency_per_nm"].max())
    lowest = float(min(-0.1, 1.1 * curve["correlation"].min()))
    axes.set(
        xlim=(0, highest), ylim=(max(lowest, -1.05), 1.05), xlabel="Spatial frequency (1/nm)",
        ylabel="Fourier shell correlation",
    )  # fmt: skip
    top = axes.secondary_xaxis("top")
    # round periods (1, 2, 5), down to the finest and up to where they would touch
    periods = {_style.round_length(p) for p in np.geomspace(1.0 / highest, 14.0 / highest, 20)}
    shown = sorted(period for period in periods if 1.0 / highest * (1 - 1e-6) <= period)
    top.set_xticks([1.0 / period for period in shown], labels=[f"{period:g}" for period in shown])
    top.set_xlabel("Period (nm)")
