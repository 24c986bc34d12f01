"""Three orthogonal slices through a volume, at one scale: grey, with outlines of a mask, or a thickness map.

y and z run up, x runs to the right, and in the zy slice z runs to the right. All
three share one scale in nm, so one scale bar serves them; the ticks on the
frames are where the other two slices cut.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tomo3d.render import _panels, _style
from tomo3d.types import Labels, Volume

_MAX_LEGEND = 8  # more classes than colours: instances, whose names say nothing


@_style.styled
def slices(
    volume: Volume,
    *,
    mask: Labels | None = None,
    position_nm: tuple[float, float, float] | None = None,
    contrast: tuple[float, float] = (0.5, 99.5),
    unit: str = "",
) -> Figure:
    """Three orthogonal slices of a volume, with outlines of a mask if one is given.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
    mask : Labels, same grid, optional
        Each class is outlined in a colour of its own.
    position_nm : tuple of float, optional
        Point (z, y, x) in nm that the slices pass through (the nearest voxel).
        Default: the centre of the volume.
    contrast : tuple of float
        Percentiles of the grey values of the three slices drawn black and white.
    unit : str
        Unit of the grey values, for the grey bar. Default: the one that the
        volume's record names, if any.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the mask is on another grid, the position is outside the volume, or
        no grey value is finite.
    """
    if mask is not None:
        _panels.check_same_grid(volume, mask, "mask")
    index = _panels.voxel_at(volume, position_nm)
    cuts = _panels.slices_at(volume.data, index)
    black, white = _style.grey_range(_panels.grey_values(cuts), contrast)
    classes: list[int] = []
    if mask is not None:
        outlines = _panels.slices_at(mask.data, index)
        classes = [int(c) for c in np.unique(_panels.grey_values(outlines)) if c != 0]
    layout = _panels.Layout.of(volume, legend=bool(classes))
    figure, panels = layout.draw(volume, index)
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
        if classes:
            _outline(axes, volume, name, outlines[name], classes)
    bar = figure.colorbar(image, cax=layout.bar_axes(figure))
    bar.set_label(_grey_text(volume, unit))
    _style.add_scale_bar(_widest(panels))
    if mask is not None and classes:
        _legend(figure, layout, mask, classes)
    return figure


@_style.styled
def thickness_map(
    thickness: Volume,
    *,
    grey: Volume | None = None,
    position_nm: tuple[float, float, float] | None = None,
    label: str = "Local thickness",
    upper_nm: float | None = None,
) -> Figure:
    """Three orthogonal slices of a thickness in colour; where it is 0 nothing is drawn.

    Parameters
    ----------
    thickness : Volume, shape (n_z, n_y, n_x)
        In nm; 0 outside the structure.
    grey : Volume, same grid, optional
        Drawn underneath.
    position_nm : tuple of float, optional
        Point (z, y, x) in nm that the slices pass through (the nearest voxel).
        Default: the centre of the volume.
    label : str
        Title of the colour bar, without unit.
    upper_nm : float, optional
        Thickness at the bright end of the colours, so that figures can be
        compared; thicker places take the same colour. Default: the largest in the slices.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the grey volume is on another grid, the position is outside the
        volume, or `upper_nm` is not positive.
    """
    if grey is not None:
        _panels.check_same_grid(thickness, grey, "grey volume")
    if upper_nm is not None and not upper_nm > 0:
        raise ValueError(f"upper_nm must be a positive thickness, got {upper_nm:g} nm.")
    index = _panels.voxel_at(thickness, position_nm)
    cuts = {
        name: np.ma.masked_equal(cut, 0) for name, cut in _panels.slices_at(thickness.data, index).items()
    }
    largest = max((float(cut.max()) for cut in cuts.values() if cut.count()), default=1.0)
    under = {} if grey is None else _panels.slices_at(grey.data, index)
    layout = _panels.Layout.of(thickness, legend=False)
    figure, panels = layout.draw(thickness, index)
    for name, axes in panels.items():
        extent = _panels.extent_nm(thickness, name)
        axes.set_facecolor(_style.PAPER)
        if under:
            black, white = _style.grey_range(_panels.grey_values(under), (0.5, 99.5))
            axes.imshow(
                under[name],
                cmap="gray",
                vmin=black,
                vmax=white,
                origin="lower",
                extent=extent,
                aspect="equal",
            )
        image = axes.imshow(
            cuts[name],
            cmap=_style.colour_map("viridis"),
            vmin=0,
            vmax=largest if upper_nm is None else upper_nm,
            origin="lower",
            extent=extent,
            aspect="equal",
            interpolation="nearest",  # means of neighbours would be thicknesses that no voxel has
        )
    over = "max" if upper_nm is not None and largest > upper_nm else "neither"
    bar = figure.colorbar(image, cax=layout.bar_axes(figure), extend=over)
    bar.set_label(f"{label} (nm)")
    _style.add_scale_bar(_widest(panels), dark=grey is None)
    return figure


def _widest(panels: dict[str, Axes]) -> Axes:
    """The panel with most room for a scale bar: xy, or zy where the volume is deeper than it is wide."""
    return max((panels["xy"], panels["zy"]), key=lambda axes: float(np.ptp(axes.get_xlim())))


def _outline(axes: Axes, grid: Volume, name: str, cut: np.ndarray, classes: list[int]) -> None:
    if min(cut.shape) < 2:
        return  # one row of voxels has no outline
    vertical, horizontal = (
        grid.origin_nm[axis] + np.arange(n) * grid.voxel_size_nm[axis]
        for axis, n in zip(_panels.PLANES[name], cut.shape, strict=True)
    )
    for i, value in enumerate(classes):
        inside = cut == value
        if inside.any() and not inside.all():
            axes.contour(
                horizontal,
                vertical,
                inside.astype(np.float32),
                levels=[0.5],
                colors=[_style.PALETTE[i % len(_style.PALETTE)]],
                linewidths=0.8,
            )


def _grey_text(volume: Volume, unit: str) -> str:
    """What the grey values are, as the record of the volume says, and their unit."""
    name = str(volume.record.get("quantity", "grey value"))
    unit = unit or str(volume.record.get("unit", ""))
    text = f"{name[:1].upper()}{name[1:]}" + (f" ({unit})" if unit else "")
    return text.replace("$", r"\$")  # a dollar sign would start a formula


def _legend(figure: Figure, layout: _panels.Layout, mask: Labels, classes: list[int]) -> None:
    unnamed = {c: "mask" if mask.data.dtype == bool else f"class {c}" for c in classes}
    names = [str(mask.names.get(c, unnamed[c])).replace("$", r"\$") for c in classes]
    if len(classes) > _MAX_LEGEND:
        names = [f"{len(classes)} classes"]
    lines = [Line2D([], [], color=colour) for colour in _style.PALETTE[: len(names)]]
    figure.legend(
        lines,
        names,
        loc="upper left",
        bbox_to_anchor=(layout.panels["xy"][0] / layout.width, layout.legend_top / layout.height),
        ncols=len(names),
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.2,
    )
