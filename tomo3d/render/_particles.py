"""Particles: how large they are, how they are spread, where they lie, and which would have been found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

from tomo3d import tables
from tomo3d.render import _panels, _style
from tomo3d.types import Volume

_FUNCTIONS = {
    "g": "Pair correlation g(r)",
    "K": "K(r) (nm²)",
    "nearest": "Have a neighbour within r (share)",
}
_BAND = "#c9d6df"


@_style.styled
def particle_sizes(sizes: pd.DataFrame, *, label: str = "Diameter") -> Figure:
    """Distribution of particle sizes, corrected for the border, with intervals.

    Parameters
    ----------
    sizes : pandas.DataFrame
        Columns of `tomo3d.tables.PARTICLE_SIZES`.
    label : str
        Name of the axis, without unit.

    Returns
    -------
    matplotlib.figure.Figure
        Share of the particles per nm, and 95 % intervals where the table has them.

    Raises
    ------
    ValueError
        If a column is missing or the table has no particle.
    """
    tables.check(sizes, tables.PARTICLE_SIZES)
    n = int(sizes["n"].sum())
    if n == 0:
        raise ValueError("the table must hold at least one particle, got none.")
    low, high = (sizes[name].to_numpy(dtype=float) for name in ("from_nm", "to_nm"))
    width = high - low
    share, bottom, top = (
        100 * sizes[name].to_numpy(dtype=float) / width for name in ("share", "low", "high")
    )
    edges = np.append(low, high[-1])
    figure = _style.new_figure(_style.COLUMN_IN, 2.5, layout="constrained")
    axes = figure.subplots()
    axes.stairs(share, edges, fill=True, color=_BAND)
    axes.stairs(share, edges, color="#5b7c95", lw=0.7)
    has = np.isfinite(bottom) & (sizes["n"].to_numpy() > 0)
    axes.vlines(
        0.5 * (low + high)[has], bottom[has], top[has], color=_style.INK, lw=0.8, label="95 % interval"
    )
    axes.set(xlabel=f"{label} (nm)", ylabel="Particles (% per nm)", ylim=(0, None))
    axes.set_xlim(edges[0] - 0.3 * width[0], edges[-1] + 0.3 * width[-1])
    if has.any():
        figure.legend(loc="outside upper right")
    axes.set_title(f"n = {n:,} clear of the border", loc="left")
    return figure


@_style.styled
def dispersion(curves: pd.DataFrame, *, summary: pd.DataFrame | None = None) -> Figure:
    """How particles are spread: g, K and nearest neighbours, with the global envelopes of random placement.

    Parameters
    ----------
    curves : pandas.DataFrame
        Columns of `tomo3d.tables.DISPERSION`.
    summary : pandas.DataFrame, optional
        Rows of `tomo3d.tables.SUMMARY` of the same, whose p values are then drawn.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per function. What lies outside the band is marked.

    Raises
    ------
    ValueError
        If a column is missing or the table is empty.
    """
    tables.check(curves, tables.DISPERSION)
    names = [name for name in _FUNCTIONS if (curves["function"] == name).any()]
    if not names:
        raise ValueError(f"the table must hold one of the functions {', '.join(_FUNCTIONS)}, got none.")
    p_values = {} if summary is None else dict(zip(summary["quantity"], summary["value"], strict=True))
    figure = _style.new_figure(_style.PAGE_IN, 2.8, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        rows = curves[curves["function"] == name]
        r_nm, observed, low, high = (
            rows[column].to_numpy(dtype=float) for column in ("r_nm", "observed", "low", "high")
        )
        axes.fill_between(r_nm, low, high, color=_BAND, lw=0, label="random, 95 % (global)")
        axes.plot(r_nm, rows["expected"], color="#5b7c95", ls=(0, (4, 2)), lw=0.8, label="random, mean")
        axes.plot(r_nm, observed, color=_style.INK, label="particles")
        is_out = (observed < low) | (observed > high)
        if is_out.any():
            axes.plot(r_nm[is_out], observed[is_out], "o", color=_style.PALETTE[4], ms=3, label="outside")
        if name == "g":
            axes.axhline(1.0, color=_style.QUIET, lw=0.5, zorder=0)
        where = "along the surface" if (rows["distance"] == "geodesic").all() else "straight"
        axes.set(xlabel=f"r, {where} (nm)", ylabel=_FUNCTIONS[name], xlim=(0, r_nm[-1]), ylim=(0, None))
        if f"p_{name}" in p_values:
            axes.set_title(f"p = {p_values[f'p_{name}']:.3g}", loc="left")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for axes in figure.axes[1:]:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            if text not in labels:
                handles.append(handle)
                labels.append(text)
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


@_style.styled
def particles(
    volume: Volume,
    table: pd.DataFrame,
    *,
    column: str = "diameter_nm",
    position_nm: tuple[float, float, float] | None = None,
    contrast: tuple[float, float] = (0.5, 99.5),
) -> Figure:
    """Three orthogonal slices of a volume, and where they cut the particles of a table.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
    table : pandas.DataFrame
        Columns of `tomo3d.tables.PARTICLES`: a particle is a ball of this diameter about z_nm, y_nm, x_nm.
    column : str
        Diameter in nm: diameter_nm or diameter_xy_nm. Those that are nan are not drawn.
    position_nm : tuple of float, optional
        Point (z, y, x) in nm that the slices pass through (the nearest voxel). Default: the centre of the volume.
    contrast : tuple of float
        Percentiles of the grey values of the three slices drawn black and white.

    Returns
    -------
    matplotlib.figure.Figure
        Circles are cuts through the balls: orange, and dotted blue where a particle touches the border.

    Raises
    ------
    ValueError
        If a column is missing, the position is outside the volume, or no grey value is finite.
    """
    needed = ["z_nm", "y_nm", "x_nm", "touches_border", column]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(f"the table must have the columns {needed}, missing {missing}.")
    index = _panels.voxel_at(volume, position_nm)
    cuts = _panels.slices_at(volume.data, index)
    black, white = _style.grey_range(_panels.grey_values(cuts), contrast)
    layout = _panels.Layout.of(volume, legend=False)
    figure, panels = layout.draw(volume, index)
    centres = table[["z_nm", "y_nm", "x_nm"]].to_numpy(dtype=float)
    radii = 0.5 * table[column].to_numpy(dtype=float)
    at_border = table["touches_border"].to_numpy(dtype=bool)
    here = np.array(volume.origin_nm) + np.array(index) * np.array(volume.voxel_size_nm)
    for name, axes in panels.items():
        image = axes.imshow(
            cuts[name],
            cmap="gray",
            vmin=black,
            vmax=white,
            origin="lower",
            extent=_panels.extent_nm(volume, name),
            aspect="equal",
        )
        vertical, horizontal = _panels.PLANES[name]
        across = 3 - vertical - horizontal
        squared = radii**2 - (centres[:, across] - here[across]) ** 2
        for is_one, colour, style in (
            (~at_border, _style.PALETTE[0], "-"),
            (at_border, _style.PALETTE[1], ":"),
        ):
            chosen = is_one & (squared > 0)  # false for nan
            widths = 2.0 * np.sqrt(squared[chosen])
            circles = EllipseCollection(
                widths, widths, np.zeros(len(widths)), units="xy", facecolors="none", edgecolors=colour,
                linewidths=0.8, linestyles=style,
                offsets=centres[chosen][:, [horizontal, vertical]], transOffset=axes.transData,
            )  # fmt: skip
            axes.add_collection(circles)
    figure.colorbar(image, cax=layout.bar_axes(figure)).set_label("Grey value")
    _style.add_scale_bar(max(panels.values(), key=lambda axes: axes.get_position().width))
    return figure


@_style.styled
def detection_limit(table: pd.DataFrame, *, summary: pd.DataFrame | None = None) -> Figure:
    """Share of inserted balls that were found, by diameter, with the fitted curve.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns of `tomo3d.tables.INSERTED`.
    summary : pandas.DataFrame, optional
        Rows of `tomo3d.tables.SUMMARY` of the same: diameters found with 50 and 95 %, marked with their intervals.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are 95 % intervals of the shares (Wilson).

    Raises
    ------
    ValueError
        If a column is missing or the table is empty.
    """
    tables.check(table, tables.INSERTED)
    if table.empty:
        raise ValueError("the table must hold at least one diameter, got none.")
    size, n, share, fitted = (
        table[name].to_numpy(dtype=float) for name in ("diameter_nm", "n_inserted", "probability", "fitted")
    )
    middle = (share + 1.92 / n) / (1 + 3.84 / n)  # Wilson
    half = 1.96 / (1 + 3.84 / n) * np.sqrt(share * (1 - share) / n + 0.96 / n**2)
    figure = _style.new_figure(_style.COLUMN_IN, 2.5, layout="constrained")
    axes = figure.subplots()
    odds = np.log(np.clip(fitted, 1e-9, 1 - 1e-9) / np.clip(1 - fitted, 1e-9, 1))
    fine = np.geomspace(size[0], size[-1], 200)
    curve = 1 / (1 + np.exp(-np.interp(np.log(fine), np.log(size), odds)))  # straight in the log odds
    axes.plot(fine, 100 * curve, color="#5b7c95", label="logistic curve")
    axes.vlines(size, 100 * (middle - half), 100 * (middle + half), color=_style.INK, lw=0.8)
    axes.plot(size, 100 * share, "o", color=_style.INK, label="found")
    if summary is not None:
        for i, probability in enumerate((50, 95)):
            row = summary[summary["quantity"] == f"diameter_found_{probability}"]
            if len(row) and np.isfinite(row["value"].iloc[0]):
                value, low, high = (float(row[name].iloc[0]) for name in ("value", "low", "high"))
                text = f"{probability} %: {value:.3g} nm ({low:.3g} to {high:.3g})"
                colour = _style.PALETTE[4 + i]
                axes.plot([low, high], [probability] * 2, color=colour, lw=2.0, alpha=0.6)
                axes.plot(value, probability, "D", color=colour, ms=4, label=text)
    axes.set(xlabel="Diameter (nm)", ylabel="Found (%)", ylim=(-3, 103))
    axes.legend(loc="lower right", title=f"{int(n.sum())} balls", title_fontsize=7, alignment="left")
    return figure
