"""Where the three slices through a volume lie on the page, and what they show: at one scale, in nm.

y and z run up, x runs to the right, and in the zy slice z runs to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomo3d.geometry import index_to_nm, nm_to_index
from tomo3d.render import _style
from tomo3d.types import Labels, Volume

PLANES = {"xy": (1, 2), "xz": (0, 2), "zy": (1, 0)}  # (vertical, horizontal) as axes of a (z, y, x) array
_NAMES = "zyx"


@dataclass(frozen=True)
class Layout:
    """Places of the panels in inches, from the lower left."""

    width: float
    height: float
    panels: dict[str, tuple[float, float, float, float]]  # left, bottom, width, height
    legend_top: float

    @classmethod
    def of(cls, grid: Volume | Labels, *, legend: bool) -> Layout:
        """The largest layout at one scale that fits on a page."""
        size_nm = np.array(grid.data.shape) * grid.voxel_size_nm
        left, bottom, gap_x, gap_y, right, top = 0.3, 0.27, 0.35, 0.45, 0.8, 0.25 + 0.15 * legend
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
                (left / self.width, bottom / self.height, width / self.width, height / self.height),
                label=name,
            )
            _style.picture_axes(axes)
            vertical, horizontal = PLANES[name]
            x0, x1, y0, y1 = extent_nm(grid, name)
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
            (
                (left + width + 0.15) / self.width,
                bottom / self.height,
                0.1 / self.width,
                height / self.height,
            ),
            label="bar",
        )


def voxel_at(grid: Volume | Labels, position_nm: tuple[float, float, float] | None) -> np.ndarray:
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


def slices_at(data: Any, index: np.ndarray) -> dict[str, np.ndarray]:
    """The three slices, rows along the vertical axis of each."""
    z, y, x = (int(i) for i in index)
    return {
        "xy": _style.host(data[z]),
        "xz": _style.host(data[:, y]),
        "zy": _style.host(data[:, :, x]).T,
    }


def grey_values(cuts: dict[str, np.ndarray]) -> np.ndarray:
    """All values of the slices in one row."""
    return np.concatenate([np.ravel(cut) for cut in cuts.values()])


def extent_nm(grid: Volume | Labels, name: str) -> tuple[float, float, float, float]:
    """Edges of a slice in nm: left, right, bottom, top."""
    edges = []
    for axis in reversed(PLANES[name]):
        voxel, origin = grid.voxel_size_nm[axis], grid.origin_nm[axis]
        edges += [origin - 0.5 * voxel, origin + (grid.data.shape[axis] - 0.5) * voxel]
    return (edges[0], edges[1], edges[2], edges[3])


def check_same_grid(volume: Volume, other: Volume | Labels, what: str) -> None:
    """Raise ValueError unless two volumes have the same shape, voxels and origin."""
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
    return f"{value + 0.0:.4g} nm".replace("-", "−")  # + 0.0: no minus before zero
