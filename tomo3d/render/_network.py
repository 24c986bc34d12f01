"""Networks: tubes and balls within their surface, and how long and wide their branches are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tomo3d.progress import report
from tomo3d.render import _mesh, _style, _surface
from tomo3d.render._arrows import Arrows
from tomo3d.render._opengl import require_opengl
from tomo3d.types import Labels, SpatialGraph

_TUBE = 0.25  # radius of a tube over the width that it stands for: the surface stays visible around it
_THINNEST = 0.004  # of the field
_DEGREES = 5  # from so many on, nodes look the same
_BALL = (1.3, 0.2)  # radius of a node over that of the tubes: at degree 0, and more for each degree
_WARM = ("#ffffff", "#fbe3b5", "#f6b36b", "#e2703a", "#b3242b", "#4d0c1a")  # by degree
_SKIN = "#9fb3c4"
_ARROW = "#1c4f9c"
_LONGEST = 0.125  # of the diagonal of the field: the longest arrow


@_style.styled
def network(
    graph: SpatialGraph,
    *,
    mask: Labels | None = None,
    branch_values: pd.DataFrame | None = None,
    moves: pd.DataFrame | None = None,
    mode: int = 0,
    colour_by: str = "width",
    label: str = "",
) -> Figure:
    """A network off screen: branches as tubes by width, nodes as balls by degree, within the surface of its mask.

    Parameters
    ----------
    graph : SpatialGraph
    mask : Labels, optional
        Structure whose surface is drawn translucent around it.
    branch_values : DataFrame, optional
        More columns by `branch`: the energies of `graph.stiffness`, the flows of `graph.transport`.
    moves : DataFrame, optional
        Motions of nodes that are drawn as arrows: the displacements of `graph.stiffness`, or `graph.floppy_modes`.
    mode : int
        Which floppy mode.
    colour_by : str
        "width" colours a branch by its width along its line; else the name of a column of its branches, as
        "area_nm2", or of `branch_values`, as "energy_aj".
    label : str
        Title of the colour bar, with its unit. Default: made of the name.

    Returns
    -------
    matplotlib.figure.Figure
        Tubes are half as wide as their branches, or all alike where widths are not known. The longest arrow is an
        eighth of the diagonal of the field; the legend says how much larger than true it is. Parallel projection, z up.

    Raises
    ------
    OpenGLError
        If this machine cannot draw off screen; the message says what is missing.
    ValueError
        If the network has no node, there is no such column of numbers, a table has no row of a branch or knows none
        of the nodes, or there is no such mode.
    """
    require_opengl()
    if not len(graph.nodes):
        raise ValueError("a network must have at least one node to be drawn, got none.")
    graph = _with_values(graph, branch_values)
    values = _values(graph, colour_by)
    report("drawing the network", 0, 3)
    view = _surface._View.of(mask if mask is not None else _field(graph))
    span = float(np.linalg.norm(view.high - view.low))
    meshes: list[tuple[Any, dict[str, Any]]] = []
    limits = None
    if len(graph.branches):
        radii = _radii(graph, _THINNEST * span)
        limits = _surface._limits(None if values is None else np.concatenate(values))
        look: dict[str, Any] = {"color": _style.QUIET}
        if values is not None:
            look = {"scalars": "colour", "cmap": "viridis", "clim": limits, "nan_color": _surface._UNKNOWN}
        meshes.append((_tubes(graph, radii, values), look))
    meshes += _balls(graph, _THINNEST * span)
    arrows = None if moves is None else Arrows.of(graph, moves, mode, _LONGEST * span)
    if arrows is not None:
        meshes.append((arrows.mesh(), {"color": _ARROW}))
    report("drawing the network", 1, 3)
    if mask is not None:
        skin = _surface.shaded(_mesh.iso_mesh(mask, level=None).surface)
        meshes.append((skin, {"color": _SKIN, "opacity": 0.22, "specular": 0.0}))
    picture = _surface.scene(view, meshes)
    report("drawing the network", 2, 3)
    shown = limits if values is not None else None
    figure = _surface._compose(picture, view, shown, label or _label(colour_by))
    _add_legend(figure, graph, arrows)
    report("drawing the network", 3, 3)
    return figure


def _with_values(graph: SpatialGraph, table: pd.DataFrame | None) -> SpatialGraph:
    """The network with the columns of a table added to its branches."""
    if table is None:
        return graph
    if "branch" not in table or not set(graph.branches["branch"]) <= set(table["branch"]):
        raise ValueError(
            "branch_values must have a row for each branch of the network, by its column 'branch'."
        )
    new = [column for column in table.columns if column == "branch" or column not in graph.branches]
    branches = graph.branches.merge(table[new].drop_duplicates("branch"), on="branch", how="left")
    return SpatialGraph(graph.nodes, branches, graph.lines_nm, graph.widths_nm, graph.record)


def _values(graph: SpatialGraph, colour_by: str) -> list[np.ndarray] | None:
    """What colours each point of each line, nan where it is not known; None where nothing does."""
    lines = _lines(graph)
    if colour_by == "width":
        if not len(graph.widths_nm):
            return None
        return [_filled(np.asarray(widths, dtype=np.float64)) for widths in graph.widths_nm]
    numbers = [c for c in graph.branches.columns if getattr(graph.branches[c].dtype, "kind", "O") in "iufb"]
    if colour_by not in numbers:
        raise ValueError(f"colour_by must be 'width' or a column of numbers, {numbers}, got {colour_by!r}.")
    column = graph.branches[colour_by].to_numpy(dtype=np.float64)
    return [np.full(len(line), value) for line, value in zip(lines, column, strict=True)]


def _filled(widths: np.ndarray) -> np.ndarray:
    """Widths with those of the nearest known points where they are not known."""
    known = np.flatnonzero(np.isfinite(widths))
    return np.interp(np.arange(len(widths)), known, widths[known]) if len(known) else widths


def _lines(graph: SpatialGraph) -> list[np.ndarray]:
    """Centre lines, straight where there are none."""
    if len(graph.lines_nm):
        return [np.asarray(line, dtype=np.float64) for line in graph.lines_nm]
    place = graph.nodes.set_index("node")[["z_nm", "y_nm", "x_nm"]]
    ends = [place.loc[graph.branches[name]].to_numpy(float) for name in ("node_a", "node_b")]
    return list(np.stack(ends, axis=1))


def _radii(graph: SpatialGraph, least: float) -> list[np.ndarray]:
    """Radius of the tube at each point of each line."""
    if not len(graph.widths_nm):
        return [np.full(len(line), 1.5 * least) for line in _lines(graph)]
    widths = [_filled(np.asarray(w, dtype=np.float64)) for w in graph.widths_nm]
    return [np.maximum(_TUBE * np.nan_to_num(w), least) for w in widths]


def _tubes(graph: SpatialGraph, radii: list[np.ndarray], values: list[np.ndarray] | None) -> Any:
    """All branches as one mesh."""
    import pyvista

    lines = _lines(graph)
    counts = [len(line) for line in lines]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    cells = np.concatenate([np.r_[n, np.arange(s, s + n)] for n, s in zip(counts, starts, strict=True)])
    mesh = pyvista.PolyData(np.concatenate(lines)[:, ::-1].copy(), lines=cells)
    mesh.point_data["radius"] = np.concatenate(radii)
    if values is not None:
        mesh.point_data["colour"] = np.concatenate(values)
    return mesh.tube(scalars="radius", absolute=True, n_sides=16, capping=True)


def _balls(graph: SpatialGraph, least: float) -> list[tuple[Any, dict[str, Any]]]:
    """A ball for each node, by its degree."""
    import pyvista

    degree = np.minimum(_degree(graph), _DEGREES)
    unit, most = 1.5 * least, 2.5 * least
    if len(graph.widths_nm):
        widths = np.concatenate(graph.widths_nm)
        known = widths[np.isfinite(widths)]
        unit = min(max(unit, _TUBE * float(np.median(known))), most) if len(known) else unit
    points = graph.nodes[["x_nm", "y_nm", "z_nm"]].to_numpy(dtype=np.float64)
    found = []
    for number in np.unique(degree):
        cloud = pyvista.PolyData(points[degree == number])
        ball = pyvista.Sphere(
            radius=unit * (_BALL[0] + _BALL[1] * max(1, number)), theta_resolution=24, phi_resolution=24
        )
        found.append((cloud.glyph(geom=ball, scale=False, orient=False), {"color": _WARM[int(number)]}))
    return found


def _degree(graph: SpatialGraph) -> np.ndarray:
    """Ends of branches at each node, in the order of the nodes."""
    ends = np.concatenate([graph.branches["node_a"].to_numpy(), graph.branches["node_b"].to_numpy()])
    names, counts = np.unique(ends, return_counts=True)
    known = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return np.array([known.get(name, 0) for name in graph.nodes["node"].tolist()])


def _add_legend(figure: Figure, graph: SpatialGraph, arrows: Arrows | None) -> None:
    """What the colours of the nodes and the arrows say, at the upper left."""
    degree = np.minimum(_degree(graph), _DEGREES)
    marks = [
        Line2D([], [], marker="o", ls="", ms=3 + 0.6 * number, markerfacecolor=_WARM[number],
               markeredgecolor=_style.INK, markeredgewidth=0.4,
               label=f"{number}{' or more' if number == _DEGREES else ''} ({int((degree == number).sum())})")
        for number in np.unique(degree).tolist()
    ]  # fmt: skip
    if arrows is not None:
        marks.append(Line2D([], [], marker=r"$\rightarrow$", ls="", ms=9, color=_ARROW, label=arrows.words))
    figure.axes[0].legend(
        handles=marks, title="Branches at a node", title_fontsize=7, loc="upper left", borderaxespad=0.0,
        handletextpad=0.3, alignment="left",
    )  # fmt: skip


def _label(name: str) -> str:
    """A column as a title with its unit: mean_width_nm is Mean width (nm)."""
    for ending, unit in (("_per_nm", "1/nm"), ("_aj", "aJ"), ("_nm3", "nm³"), ("_nm2", "nm²"), ("_nm", "nm")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ').capitalize()} ({unit})"
    return "Width (nm)" if name == "width" else name.replace("_", " ").capitalize()


def _field(graph: SpatialGraph) -> Labels:
    """A volume of one voxel as large as the field, or as what the network takes."""
    if "field_nm" in graph.record:
        low, high = (np.array(corner, dtype=np.float64) for corner in graph.record["field_nm"])
    else:
        names = ["z_nm", "y_nm", "x_nm"]
        points = np.concatenate([graph.nodes[names].to_numpy(dtype=np.float64), *_lines(graph)])
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.05 * max(float((high - low).max()), 1.0)
        low, high = low - margin, high + margin
    size, middle = (high - low).tolist(), (0.5 * (low + high)).tolist()
    return Labels(np.ones((1, 1, 1), dtype=bool), tuple(size), tuple(middle))


@_style.styled
def branch_histograms(graph: SpatialGraph) -> Figure:
    """Distributions of the lengths and widths of the branches of a network.

    Parameters
    ----------
    graph : SpatialGraph
        Its branches have `length_nm`, and `mean_width_nm` where widths were measured.

    Returns
    -------
    matplotlib.figure.Figure
        Number of branches; those that the border of the volume cuts, whose lengths are too short, are shown on top
        in a paler colour and take no part in the medians.

    Raises
    ------
    ValueError
        If the network has no branch.
    """
    if not len(graph.branches):
        raise ValueError("a network must have at least one branch to have a distribution, got none.")
    names = [name for name in ("length_nm", "mean_width_nm") if name in graph.branches.columns]
    is_cut = np.zeros(len(graph.branches), dtype=bool)
    if "touches_border" in graph.branches.columns:
        is_cut = graph.branches["touches_border"].to_numpy(dtype=bool)
    figure = _style.new_figure(_style.COLUMN_IN * len(names), 2.3, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _histogram(axes, graph.branches[name].to_numpy(dtype=np.float64), is_cut, _label(name))
    return figure


def _histogram(axes: Axes, values: np.ndarray, is_cut: np.ndarray, label: str) -> None:
    known = np.isfinite(values)
    values, is_cut = values[known], is_cut[known]
    edges = _bin_edges(values)
    whole, cut = (np.histogram(values[flags], edges)[0] for flags in (~is_cut, is_cut))
    axes.stairs(whole, edges, fill=True, color="#5b7c95", label=f"whole ({int(whole.sum())})")
    if is_cut.any():
        axes.stairs(
            whole + cut,
            edges,
            baseline=whole,
            fill=True,
            color="#c9d6e0",
            label=f"cut by the border ({int(cut.sum())})",
        )
    if (~is_cut).any():
        median = float(np.median(values[~is_cut]))
        axes.axvline(median, color=_style.INK, ls=(0, (4, 2)), label=f"median {median:.3g} nm")
    axes.set(xlabel=label, ylabel="Branches", ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))


def _bin_edges(values: np.ndarray) -> np.ndarray:
    """Twice the cube root of the number of values over their range, or over a tenth of them if they are alike."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    middle = 0.5 * (low + high)
    half = max(0.5 * (high - low), 0.05 * abs(middle))
    # An odd number of bins where all values are alike, so that none lies on an edge.
    n_bins = 5 if high - low <= 1e-6 * abs(middle) else min(60, max(5, round(2 * len(values) ** (1 / 3))))
    return np.linspace(middle - half, middle + half, n_bins + 1) if half > 0 else np.linspace(-0.5, 0.5, 6)
