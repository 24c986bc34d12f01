"""Three orthogonal slices through a volume, at one scale: grey, with outlines of a mask, or a thickness map.

y and z run up, x runs to the right, and in the zy slice z runs to the right. All
three share one scale in nm, so one scale bar serves them; the ticks on the
frames are where the other two slices cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tomo3d.geometry import index_to_nm, nm_to_index
from tomo3d.render import _style
from tomo3d.types import Labels, Volume

_PLANES = {"xy": (1, 2), "xz": (0, 2), "zy": (1, 0)}  # (vertical, horizontal) as axes of a (z, y, x) array
_NAMES = "zyx"
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
        Unit of the grey values, for the grey bar.

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
        _check_same_grid(volume, mask, "mask")
    index = _index(volume, position_nm)
    cuts = _cuts(volume.data, index)
    black, white = _style.grey_range(_values(cuts), contrast)
    classes: list[int] = []
    if mask is not None:
        outlines = _cuts(mask.data, index)
        classes = [int(c) for c in np.unique(_values(outlines)) if c != 0]
    layout = _Layout.of(volume, legend=bool(classes))
    figure, panels = layout.draw(volume, index)
    for name, axes in panels.items():
        image = axes.imshow(
            cuts[name],
            cmap="gray",
            vmin=black,
            vmax=white,
            origin="lower",
            extent=_extent(volume, name),
            aspect="equal",
        )
        if classes:
            _outline(axes, volume, name, outlines[name], classes)
    bar = figure.colorbar(image, cax=layout.bar_axes(figure))
    bar.set_label(f"grey value ({unit})" if unit else "grey value")
    _style.add_scale_bar(panels["xy"])
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
        _check_same_grid(thickness, grey, "grey volume")
    if upper_nm is not None and not upper_nm > 0:
        raise ValueError(f"upper_nm must be a positive thickness, got {upper_nm:g} nm.")
    index = _index(thickness, position_nm)
    cuts = {name: np.ma.masked_equal(cut, 0) for name, cut in _cuts(thickness.data, index).items()}
    largest = max(float(cut.max()) for cut in cuts.values() if cut.count()) if _any(cuts) else 1.0
    under = {} if grey is None else _cuts(grey.data, index)
    layout = _Layout.of(thickness, legend=False)
    figure, panels = layout.draw(thickness, index)
    for name, axes in panels.items():
        extent = _extent(thickness, name)
        axes.set_facecolor(_style.PAPER)
        if under:
            black, white = _style.grey_range(_values(under), (0.5, 99.5))
            axes.imshow(
                under[name], cmap="gray", vmin=black, vmax=white, origin="lower", extent=extent, aspect="equal"
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
    _style.add_scale_bar(panels["xy"], dark=grey is None)
    return figure


@dataclass(frozen=True)
class _Layout:
    """Places of the panels in inches, from the lower left."""

    width: float
    height: float
    panels: dict[str, tuple[float, float, float, float]]  # left, bottom, width, height
    legend_top: float

    @classmethod
    def of(cls, grid: Volume | Labels, *, legend: bool) -> _Layout:
        """The largest layout at one scale that fits on a page."""
        size_nm = np.array(grid.data.shape) * grid.voxel_size_nm
        left, bottom, gap_x, gap_y, right, top = 0.3, 0.3, 0.35, 0.45, 0.9, 0.25 + 0.22 * legend
        scale = min(
            (_style.PAGE_IN - left - gap_x - right) / (size_nm[2] + size_nm[0]),
            (7.5 - bottom - gap_y - top) / (size_nm[1] + size_nm[0]),
        )
        depth, height, width = (float(v) for v in scale * size_nm)
        xy_bottom = bottom + depth + gap_y
        zy_left = left + width + gap_x
        return cls(
            width=max(zy_left + depth + right, _style.COLUMN_IN),
            height=xy_bottom + height + top,
            panels={
                "xy": (left, xy_bottom, width, height),
                "xz": (left, bottom, width, depth),
                "zy": (zy_left, xy_bottom, depth, height),
            },
            legend_top=xy_bottom + height + top - 0.03,
        )

    def draw(self, grid: Volume | Labels, index: np.ndarray) -> tuple[Figure, dict[str, Axes]]:
        """A figure with the three empty panels, named and in nm."""
        figure = _style.new_figure(self.width, self.height)
        at_nm = index_to_nm(grid, index)
        panels = {}
        for name, (left, bottom, width, height) in self.panels.items():
            axes = figure.add_axes(
                (left / self.width, bottom / self.height, width / self.width, height / self.height), label=name
            )
            _style.picture_axes(axes)
            vertical, horizontal = _PLANES[name]
            x0, x1, y0, y1 = _extent(grid, name)
            axes.set(xlim=(x0, x1), ylim=(y0, y1), xlabel=_NAMES[horizontal], ylabel=_NAMES[vertical])
            axes.set_xticks([at_nm[horizontal]], labels=[""])
            axes.set_yticks([at_nm[vertical]], labels=[""])
            axes.tick_params(top=True, right=True, color=_style.QUIET)
            across = 3 - vertical - horizontal
            axes.set_title(f"{_NAMES[across]} = {_nm_text(at_nm[across])}", loc="left")
            panels[name] = axes
        return figure, panels

    def bar_axes(self, figure: Figure) -> Axes:
        """Axes for the colour bar, right of the zy panel; as high as all panels where one is too low."""
        left, bottom, width, height = self.panels["zy"]
        if height < 1.2:
            bottom, height = self.panels["xz"][1], bottom + height - self.panels["xz"][1]
        return figure.add_axes(
            ((left + width + 0.15) / self.width, bottom / self.height, 0.1 / self.width, height / self.height),
            label="bar",
        )


def _index(grid: Volume | Labels, position_nm: tuple[float, float, float] | None) -> np.ndarray:
    """Voxel (z, y, x) that the slices pass through."""
    shape = np.array(grid.data.shape)
    if position_nm is None:
        return shape // 2
    index = np.rint(nm_to_index(grid, np.array(position_nm, dtype=float)))
    if index.shape != (3,) or not ((index >= 0) & (index < shape)).all():
        first, last = index_to_nm(grid, np.zeros(3)), index_to_nm(grid, shape - 1)
        raise ValueError(
            "position_nm must be a point (z, y, x) inside the volume, "
            f"{_point_text(first)} to {_point_text(last)} nm, got {_point_text(np.array(position_nm))} nm."
        )
    return index.astype(int)


def _cuts(data: Any, index: np.ndarray) -> dict[str, np.ndarray]:
    """The three slices, rows along the vertical axis of each."""
    z, y, x = (int(i) for i in index)
    return {
        "xy": _style.host(data[z]),
        "xz": _style.host(data[:, y]),
        "zy": _style.host(data[:, :, x]).T,
    }


def _values(cuts: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(cut) for cut in cuts.values()])


def _any(cuts: dict[str, Any]) -> bool:
    return any(cut.count() for cut in cuts.values())


def _extent(grid: Volume | Labels, name: str) -> tuple[float, float, float, float]:
    """Edges of a slice in nm: left, right, bottom, top."""
    edges = []
    for axis in reversed(_PLANES[name]):
        voxel, origin = grid.voxel_size_nm[axis], grid.origin_nm[axis]
        edges += [origin - 0.5 * voxel, origin + (grid.data.shape[axis] - 0.5) * voxel]
    return (edges[0], edges[1], edges[2], edges[3])


def _outline(axes: Axes, grid: Volume, name: str, cut: np.ndarray, classes: list[int]) -> None:
    if min(cut.shape) < 2:
        return  # one row of voxels has no outline
    vertical, horizontal = (
        grid.origin_nm[axis] + np.arange(n) * grid.voxel_size_nm[axis]
        for axis, n in zip(_PLANES[name], cut.shape, strict=True)
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


def _legend(figure: Figure, layout: _Layout, mask: Labels, classes: list[int]) -> None:
    names = [mask.names.get(c, "mask" if mask.data.dtype == bool else f"class {c}") for c in classes]
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


def _check_same_grid(volume: Volume, other: Volume | Labels, what: str) -> None:
    same = tuple(volume.data.shape) == tuple(other.data.shape) and np.allclose(
        (volume.voxel_size_nm, volume.origin_nm),
        (other.voxel_size_nm, other.origin_nm),
        rtol=1e-5,
        atol=1e-3 * min(volume.voxel_size_nm),
    )
    if not same:
        raise ValueError(
            f"the {what} must be on the grid of the volume ({_grid_text(volume)}), got {_grid_text(other)}."
        )


def _grid_text(grid: Volume | Labels) -> str:
    return (
        f"shape {tuple(grid.data.shape)}, voxels {_point_text(np.array(grid.voxel_size_nm))} nm, "
        f"origin {_point_text(np.array(grid.origin_nm))} nm"
    )


def _point_text(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{float(v):g}" for v in np.ravel(point)) + ")"


def _nm_text(value: float) -> str:
    return f"{value + 0.0:.4g} nm"  # + 0.0: no minus before zero
