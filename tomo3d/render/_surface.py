"""Shaded surfaces, drawn off screen: VTK draws the mesh in its box, matplotlib all that is text.

Parallel projection, so that one scale bar holds at every depth; z points up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tomo3d.progress import report
from tomo3d.render import _mesh, _style
from tomo3d.render._opengl import require_opengl
from tomo3d.types import Labels, Surface, Volume

_AZIMUTH_DEG, _ELEVATION_DEG = -62.0, 22.0  # where the camera stands: x to the right, y away, z up
_PIXELS = 1800  # along the longer side: 300 dpi at 6 inches
_PLAIN = "#a9bccb"
_UNKNOWN = "#bbbbbb"


@_style.styled
def iso_surface(
    volume: Volume | Labels,
    *,
    level: float | None = None,
    colour_by: Volume | None = None,
    label: str = "Local thickness (nm)",
) -> Figure:
    """Shaded surface of a volume or a mask, off screen, with its size and a scale bar.

    Parameters
    ----------
    volume : Volume or Labels, shape (n_z, n_y, n_x)
        Of a Labels, the surface around all classes together. More than about
        256**3 voxels are binned first.
    level : float, optional
        Grey value of the surface. Default: Otsu's level; the boundary, of a Labels.
    colour_by : Volume, optional
        Values to colour the surface by, on any grid in the same frame; where
        they are 0 (a thickness, outside its structure) they take no part.
    label : str
        Title of the colour bar, with its unit.

    Returns
    -------
    matplotlib.figure.Figure
        Parallel projection, z up: the scale bar holds for lengths in the plane
        of the picture, the lengths at the box for its edges.

    Raises
    ------
    OpenGLError
        If this machine cannot draw off screen; the message says what is missing.
    ValueError
        If no value lies on one side of the level, or a grey value is not finite.
    """
    require_opengl()
    report("drawing the surface", 0, 3)
    iso = _mesh.iso_mesh(volume, level=level)
    report("drawing the surface", 1, 3)
    colours = None if colour_by is None else _mesh.sampled(colour_by, iso.surface.vertices_nm)
    report("drawing the surface", 2, 3)
    view = _View.of(volume)
    limits = _limits(colours)
    picture = _render(iso.surface, colours, limits, view)
    figure = _compose(picture, view, limits if colours is not None else None, label)
    report("drawing the surface", 3, 3)
    return figure


@dataclass(frozen=True)
class _View:
    """Camera of a parallel projection: what it looks at, along what, and how much it sees. Points are (x, y, z)."""

    low: np.ndarray
    high: np.ndarray
    right: np.ndarray
    up: np.ndarray
    towards: np.ndarray  # from the scene to the camera
    half_size_nm: tuple[float, float]  # of the picture: across, up

    @classmethod
    def of(cls, grid: Volume | Labels) -> _View:
        """A view of the whole box of a grid, from its front right and above."""
        voxel, origin = np.array(grid.voxel_size_nm)[::-1], np.array(grid.origin_nm)[::-1]
        low = origin - 0.5 * voxel
        return cls.around(low, low + np.array(grid.data.shape)[::-1] * voxel)

    @classmethod
    def around(cls, low: np.ndarray, high: np.ndarray) -> _View:
        """A view of the box between two corners (x, y, z)."""
        azimuth, elevation = math.radians(_AZIMUTH_DEG), math.radians(_ELEVATION_DEG)
        towards = np.array(
            [
                math.cos(elevation) * math.cos(azimuth),
                math.cos(elevation) * math.sin(azimuth),
                math.sin(elevation),
            ]
        )
        right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
        up = np.cross(towards, right)
        corners = np.array(list(itertools.product(*zip(low, high, strict=True)))) - 0.5 * (low + high)
        half = [float(np.abs(corners @ axis).max()) for axis in (right, up)]
        margin = 0.02 * max(half)
        return cls(low, high, right, up, towards, (half[0] + margin, half[1] + margin))

    def box_edges(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ends of the edges of the box, without the three at the corner nearest to the camera."""
        corners = [np.array(c) for c in itertools.product(*zip(self.low, self.high, strict=True))]
        nearest = max(corners, key=lambda corner: float(corner @ self.towards))
        return [
            (a, b)
            for a, b in itertools.combinations(corners, 2)
            if (a != b).sum() == 1 and not ((a == nearest).all() or (b == nearest).all())
        ]

    def project(self, points: np.ndarray) -> np.ndarray:
        """(across, up) in nm from the middle of the picture, of points (x, y, z), shape (..., 2)."""
        centred = np.asarray(points) - 0.5 * (self.low + self.high)
        return np.stack([centred @ self.right, centred @ self.up], axis=-1)


def _limits(colours: np.ndarray | None) -> tuple[float, float]:
    if colours is None or not np.isfinite(colours).any():
        return (0.0, 1.0)
    finite = colours[np.isfinite(colours)]
    low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5)))
    if low < 0 < high:  # of both signs: as far to each side of zero
        return (-max(-low, high), max(-low, high))
    low = 0.0 if low >= 0 else low  # a thickness starts at zero, so that twice as bright is twice as thick
    return (low, high) if high > low else (low, low + 1.0)


def _colours_of(limits: tuple[float, float]) -> str:
    return "RdBu_r" if limits[0] < 0 else "viridis"


def _render(
    surface: Surface, colours: np.ndarray | None, limits: tuple[float, float], view: _View
) -> np.ndarray:
    """The scene of one surface without any text, (n_rows, n_columns, 3) uint8, top row first."""
    mesh = shaded(surface)
    look: dict[str, Any] = {"color": _PLAIN}
    if colours is not None:
        mesh.point_data["colour"] = colours
        look = {"scalars": "colour", "cmap": _colours_of(limits), "clim": limits, "nan_color": _UNKNOWN}
    return scene(view, [(mesh, look)])


def shaded(surface: Surface) -> Any:
    """A surface as VTK draws it, with its normals."""
    import pyvista

    mesh = pyvista.PolyData.from_regular_faces(surface.vertices_nm[:, ::-1], surface.faces)
    return mesh.compute_normals(split_vertices=False, consistent_normals=False, cell_normals=False)


def scene(view: _View, meshes: list[tuple[Any, dict[str, Any]]]) -> np.ndarray:
    """Meshes, each with its look, in the box of a view, without text: (n_rows, n_columns, 3) uint8, top row first.

    A translucent one comes last: what is behind it is drawn already.
    """
    import pyvista

    across, upward = view.half_size_nm
    scale = _PIXELS / max(across, upward)
    size = [max(2, round(scale * across)), max(2, round(scale * upward))]
    middle = 0.5 * (view.low + view.high)
    distance = 2 * float(np.linalg.norm(view.high - view.low))
    material: dict[str, Any] = {"smooth_shading": True, "specular": 0.1, "specular_power": 15, "ambient": 0.3,
                                "diffuse": 0.75, "show_scalar_bar": False}  # fmt: skip
    with _quiet_vtk():
        plotter = pyvista.Plotter(off_screen=True, window_size=size, lighting="light kit")
        try:
            plotter.background_color = pyvista.Color("white")
            for mesh, look in meshes:
                plotter.add_mesh(mesh, **(material | look))
            for start, end in view.box_edges():
                plotter.add_mesh(pyvista.Line(start, end), color="#9a9a9a", line_width=2.5, lighting=False)
            plotter.camera.focal_point = middle
            plotter.camera.position = middle + distance * view.towards
            plotter.camera.up = (0, 0, 1)
            plotter.camera.parallel_projection = True
            plotter.camera.parallel_scale = upward
            plotter.reset_camera_clipping_range()
            plotter.enable_anti_aliasing("msaa", multi_samples=4)  # 8 take twice as long in software
            return np.asarray(plotter.screenshot(return_img=True))
        finally:
            plotter.close()


def _compose(picture: np.ndarray, view: _View, limits: tuple[float, float] | None, label: str) -> Figure:
    """The picture in nm of its own plane, with scale bar, axes, lengths of the box, and colour bar."""
    across, upward = view.half_size_nm
    right_in, below_in = (0.85 if limits else 0.1), 0.45
    width_in = 6.0
    height_in = width_in * upward / across
    if height_in > 6.5:
        width_in, height_in = width_in * 6.5 / height_in, 6.5
    nm_per_in = 2 * across / width_in
    left_in = 0.2  # room for the length of the z edge
    figure = _style.new_figure(width_in + left_in + right_in, height_in + below_in + 0.15)
    total_in = figure.get_size_inches()
    axes = figure.add_axes(
        (
            left_in / total_in[0],
            0.05 / total_in[1],
            width_in / total_in[0],
            (height_in + below_in) / total_in[1],
        )
    )
    axes.imshow(
        picture, extent=(-across, across, -upward, upward), aspect="equal", interpolation="antialiased"
    )
    axes.set(xlim=(-across, across), ylim=(-upward - below_in * nm_per_in, upward))
    axes.set_axis_off()
    _style.add_scale_bar(axes, dark=True, fraction=0.2)
    _edge_lengths(axes, view)
    _triad(axes, view, nm_per_in)
    if limits:
        bar_axes = figure.add_axes(
            ((left_in + width_in + 0.1) / total_in[0], 0.3, 0.1 / total_in[0], 0.5), label="bar"
        )
        mappable = ScalarMappable(Normalize(*limits), _colours_of(limits))
        figure.colorbar(mappable, cax=bar_axes).set_label(label)
    return figure


def _edge_lengths(axes: Axes, view: _View) -> None:
    """Lengths of the three edges in front, written beside their middles."""
    (x0, y0, z0), (x1, y1, z1) = view.low, view.high
    edges = {
        "x": ((x0, y0, z0), (x1, y0, z0), "top"),
        "y": ((x1, y0, z0), (x1, y1, z0), "top"),
        "z": ((x0, y0, z0), (x0, y0, z1), "side"),
    }
    for name, (start, end, place) in edges.items():
        ends = view.project(np.array([start, end]))
        middle = ends.mean(axis=0)
        run = ends[1] - ends[0]
        rotation = math.degrees(math.atan2(run[1], run[0]))
        length = float(np.linalg.norm(np.subtract(end, start)))
        away = np.array([run[1], -run[0]]) / np.hypot(*run) * (-1 if place == "side" else 1)
        axes.annotate(
            f"{name} {float(f'{length:.3g}'):g} nm",
            middle,
            xytext=tuple(7 * away),
            textcoords="offset points",
            rotation=rotation,
            rotation_mode="anchor",
            ha="center",
            va="center",
            fontsize=7,
            color=_style.QUIET,
            annotation_clip=False,
        )


def _triad(axes: Axes, view: _View, nm_per_in: float) -> None:
    """Directions of x, y and z as the camera sees them, at the lower right."""
    bottom, _ = axes.get_ylim()
    start = np.array([view.half_size_nm[0] - 0.45 * nm_per_in, bottom + 0.15 * nm_per_in])
    for name, axis in zip("xyz", np.eye(3), strict=True):
        arm = 0.32 * nm_per_in * np.array([axis @ view.right, axis @ view.up])
        axes.annotate(
            "",
            tuple(start + arm),
            xytext=tuple(start),
            arrowprops={"arrowstyle": "-|>,head_width=0.12,head_length=0.25", "lw": 0.8, "color": _style.INK,
                        "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )  # fmt: skip
        axes.text(
            start[0] + 1.3 * arm[0],
            start[1] + 1.3 * arm[1],
            name,
            fontsize=7,
            ha="center",
            va="center",
            gid=f"axis {name}",
        )


@contextmanager
def _quiet_vtk() -> Iterator[None]:
    """Without VTK's warnings on the terminal of each kind of window that it tries and does not get."""
    from vtkmodules.vtkCommonCore import vtkLogger

    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)
