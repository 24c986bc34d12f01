"""Networks of struts whose nodes, branches, lengths and widths are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomo3d import geometry, tables
from tomo3d.phantoms import _sampling
from tomo3d.phantoms._solid import Vector, length
from tomo3d.progress import track
from tomo3d.types import Labels, SpatialGraph

_MARGIN = 3  # voxels of background around a network


@dataclass(frozen=True, eq=False)
class NetworkPhantom:
    """A network as voxels, and what is known of it.

    Parameters
    ----------
    mask : Labels
        Voxels whose centres are within a radius of a centre line.
    truth : SpatialGraph
        Nodes, branches and centre lines; columns as those of a measured network. The volume of a branch is that
        of a straight tube of its length.
    """

    mask: Labels
    truth: SpatialGraph


@dataclass(frozen=True)
class Strut:
    """A tube with round caps: `line_nm` (n_points, 3) from node `a` to node `b`."""

    a: int
    b: int
    line_nm: np.ndarray
    radius_nm: float


def straight_struts(
    nodes_nm: np.ndarray, pairs: Iterable[Sequence[int]], radii_nm: Iterable[float]
) -> list[Strut]:
    """Straight struts between pairs of nodes (n, 3)."""
    return [
        Strut(int(a), int(b), nodes_nm[[a, b]], float(radius))
        for (a, b), radius in zip(pairs, radii_nm, strict=True)
    ]


def network(
    nodes_nm: np.ndarray, struts: Sequence[Strut], *, voxel_size_nm: float | Vector = 1.0
) -> NetworkPhantom:
    """Struts as voxels, on a grid centred at (0, 0, 0) nm that holds them all with a rim of background.

    Parameters
    ----------
    nodes_nm : ndarray, shape (n_nodes, 3)
        Positions (z, y, x).
    struts : sequence of Strut
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If there is no strut, or a radius is not positive.
    """
    if not struts:
        raise ValueError("a network must have at least one strut, got none.")
    z, y, x = _sampling.voxel_edges(voxel_size_nm)
    edges = np.array([z, y, x])
    reach = np.array([np.abs(s.line_nm).max(axis=0) + length("radius_nm", s.radius_nm) for s in struts]).max(
        axis=0
    )
    n_z, n_y, n_x = (2 * (np.ceil(reach / edges).astype(int) + _MARGIN) + 1).tolist()
    inside = np.zeros((n_z, n_y, n_x), dtype=bool)
    for strut in track(struts, "paint the struts", len(struts)):
        paint_strut(inside, strut.line_nm, strut.radius_nm, edges)
    origin = geometry.centred_origin_nm(inside.shape, (z, y, x))
    return NetworkPhantom(Labels(inside, (z, y, x), origin), _truth(nodes_nm, struts))


def paint_strut(
    inside: np.ndarray, line_nm: np.ndarray, radius_nm: float, voxel_size_nm: float | np.ndarray = 1.0
) -> None:
    """Set the voxels whose centres lie within a radius of a line, on a grid (n_z, n_y, n_x) centred at (0, 0, 0) nm.

    Parameters
    ----------
    inside : ndarray of bool
        Written to.
    line_nm : ndarray, shape (n_points, 3)
        (z, y, x).
    radius_nm : float
    voxel_size_nm : float or ndarray, shape (3,)
    """
    edges = np.broadcast_to(np.asarray(voxel_size_nm, dtype=np.float64), (3,))
    centre = np.array([geometry.centre(n) for n in inside.shape])
    for start, end in itertools.pairwise(line_nm):
        low = np.maximum(np.floor((np.minimum(start, end) - radius_nm) / edges + centre).astype(int), 0)
        high = np.ceil((np.maximum(start, end) + radius_nm) / edges + centre).astype(int) + 1
        part = tuple(slice(a, min(b, n)) for a, b, n in zip(low, high, inside.shape, strict=True))
        axes = [
            (np.arange(span.start, span.stop) - c) * edge - s
            for span, c, edge, s in zip(part, centre, edges, start, strict=True)
        ]
        z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
        way = end - start
        along = (way[0] * z + way[1] * y + way[2] * x) / max(float(way @ way), 1e-30)
        np.clip(along, 0.0, 1.0, out=along)
        square = (z - along * way[0]) ** 2 + (y - along * way[1]) ** 2 + (x - along * way[2]) ** 2
        inside[part] |= square <= radius_nm**2


def _truth(nodes_nm: np.ndarray, struts: Sequence[Strut]) -> SpatialGraph:
    degree = np.bincount([end for s in struts for end in (s.a, s.b)], minlength=len(nodes_nm))
    largest = np.zeros(len(nodes_nm))
    for strut in struts:
        for end in (strut.a, strut.b):
            largest[end] = max(largest[end], strut.radius_nm)
    nodes = pd.DataFrame({"node": np.arange(len(nodes_nm))})
    for axis, name in enumerate(("z_nm", "y_nm", "x_nm")):
        nodes[name] = np.asarray(nodes_nm, dtype=np.float64)[:, axis]
    nodes["degree"], nodes["radius_nm"], nodes["touches_border"] = degree, largest, False
    branches = pd.DataFrame(
        [_branch(i, strut) for i, strut in enumerate(struts)], columns=tables.names(tables.GRAPH_BRANCHES)
    )
    return SpatialGraph(
        tables.check(nodes, tables.GRAPH_NODES),
        tables.check(branches, tables.GRAPH_BRANCHES),
        [strut.line_nm for strut in struts],
        widths_nm=[np.full(len(strut.line_nm), 2 * strut.radius_nm) for strut in struts],
    )


def _branch(number: int, strut: Strut) -> dict[str, object]:
    steps = np.diff(strut.line_nm, axis=0)
    sizes = np.linalg.norm(steps, axis=1)
    total = float(sizes.sum())
    chord = 0.0 if strut.a == strut.b else float(np.linalg.norm(strut.line_nm[-1] - strut.line_nm[0]))
    units = steps / sizes[:, None]
    turns = np.arccos(np.clip((units[1:] * units[:-1]).sum(axis=1), -1.0, 1.0))
    return {
        "branch": number,
        "node_a": strut.a,
        "node_b": strut.b,
        "length_nm": total,
        "chord_nm": chord,
        "tortuosity": total / chord if chord else math.nan,
        "mean_width_nm": 2 * strut.radius_nm,
        "minimum_width_nm": 2 * strut.radius_nm,
        "volume_nm3": math.pi * strut.radius_nm**2 * total,
        "curvature_per_nm": float(turns.sum()) / total,
        "touches_border": False,
    }
