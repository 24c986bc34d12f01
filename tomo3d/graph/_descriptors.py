"""What a network is like, in numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import sparse, stats
from scipy.sparse import csgraph

from tomo3d import tables
from tomo3d.compute.spectrum import algebraic_connectivity, kirchhoff_index
from tomo3d.graph._framework import AXES, Framework, at_faces, field_of
from tomo3d.graph._hops import Hops
from tomo3d.graph._rigidity import rigidity
from tomo3d.graph._windows import windows
from tomo3d.progress import report
from tomo3d.types import SpatialGraph

Row = tuple[str, float, str]


def descriptors(graph: SpatialGraph) -> pd.DataFrame:
    """Size, connectivity, ways and lengths of a network, as numbers of the whole and per volume, area and node.

    Parameters
    ----------
    graph : SpatialGraph

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`, without intervals (`descriptors_in_windows` has them):

        - of the network: n_nodes, n_branches, n_components, largest_component_share (of the nodes), degree_mean
          (2 E / N), degree_max, dead_end_share (nodes with one branch), density (2 E / (N (N - 1))), cycle_rank
          (E - N + components), clustering (mean over nodes), global_efficiency (mean reciprocal distance),
          closeness_mean, betweenness_max, algebraic_connectivity (0 if in pieces), kirchhoff_index (inf if in pieces);
        - of its shape: length_total, length_mean, tortuosity_mean (length over chord, without loops), and
          for each axis percolates_AXIS (1 or 0) and tortuosity_AXIS: shortest way from the low face of the field to
          the high one over the extent, mean over the nodes at the low face that have one; nan if there is none;
        - intensive: nodes_per_volume, branches_per_volume, length_per_volume, nodes_per_area and length_per_area (of
          the field seen along z), cycles_per_node, floppy_fraction (of `rigidity`).

        A number that does not exist (a density of one node) is nan; those per volume are nan where the field has none.

    Raises
    ------
    ValueError
        If the network has no node, a position is not finite, or two joined nodes lie at one place.

    Notes
    -----
    Loops count as branches, two ends of one node, and so do parallel branches; distances, clustering and the Laplacian
    see a branch or none between two nodes. The field is that of the record, or the box of the nodes.

    References
    ----------
    .. [1] Latora and Marchiori, Phys. Rev. Lett. 87 (2001) 198701, doi:10.1103/PhysRevLett.87.198701 (efficiency)
    .. [2] Fiedler, Czech. Math. J. 23 (1973) 298-305, doi:10.21136/CMJ.1973.101168 (algebraic connectivity)
    .. [3] Klein and Randic, J. Math. Chem. 12 (1993) 81-95, doi:10.1007/BF01164627 (Kirchhoff index)
    """
    if len(graph.nodes) == 0:
        raise ValueError("the network must have at least one node, got none.")
    framework = Framework.of(graph)
    rows = [*_connectivity(framework), *_shape(graph, framework), *_intensive(graph, framework)]
    n = framework.n_nodes
    return tables.summary(
        {"quantity": name, "value": value, "unit": unit, "n": n} for name, value, unit in rows
    )


def descriptors_in_windows(graph: SpatialGraph, *, window_nm: Sequence[float]) -> pd.DataFrame:
    """Intensive numbers of a network, with the interval over windows of equal area or volume.

    Parameters
    ----------
    graph : SpatialGraph
    window_nm : sequence of float
        Edges (y, x) of windows through the whole of z, or (z, y, x); several times the length of a branch.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`: the mean over windows with its 95 % interval (Student's t), `n` windows, of
        nodes_per_volume, branches_per_volume and length_per_volume, nodes_per_area, length_per_area, degree_mean,
        dead_end_share, cycles_per_node (branches less nodes, per node), length_mean and tortuosity_mean (branches with
        their middle in the window); and, of the nodes inside with the branches between them, global_efficiency and
        floppy_fraction, which depend on the size of a window.

    Raises
    ------
    ValueError
        If fewer than two windows fit, or as `descriptors`.

    Notes
    -----
    Nothing is biased by the border of a window: a node counts with all its branches, a branch where its middle
    is, and a length where it runs. Windows without a node have no degree and are left out of it.
    """
    framework = Framework.of(graph)
    degree = np.bincount(framework.ends.ravel(), minlength=framework.n_nodes)
    middles = _middles(graph, framework)
    found: dict[str, tuple[str, list[float]]] = {}
    parts = list(windows(graph, window_nm))
    if len(parts) < 2:
        raise ValueError(f"window_nm must fit twice or more in the field, got {len(parts)} window.")
    for i, part in enumerate(parts):
        report("descriptors in windows", i, len(parts))
        for name, value, unit in _of_window(part, graph, framework, degree, middles):
            found.setdefault(name, (unit, []))[1].append(value)
    report("descriptors in windows", len(parts), len(parts))
    return tables.summary(
        _over_windows(name, unit, np.array(values)) for name, (unit, values) in found.items()
    )


def _connectivity(framework: Framework) -> Iterator[Row]:
    n, e = framework.n_nodes, framework.n_branches
    adjacency = framework.adjacency()
    pieces = np.bincount(framework.components())
    degree = np.bincount(framework.ends.ravel(), minlength=n)
    hops = Hops.of(adjacency)
    is_whole = len(pieces) == 1
    yield "n_nodes", n, ""
    yield "n_branches", e, ""
    yield "n_components", len(pieces), ""
    yield "largest_component_share", pieces.max() / n, ""
    yield "degree_mean", 2 * e / n, ""
    yield "degree_max", degree.max(), ""
    yield "dead_end_share", float((degree == 1).mean()), ""
    yield "density", 2 * e / (n * (n - 1)) if n > 1 else math.nan, ""
    yield "cycle_rank", e - n + len(pieces), ""
    yield "clustering", _clustering(adjacency), ""
    yield "global_efficiency", hops.efficiency, ""
    yield "closeness_mean", float(hops.closeness.mean()), ""
    yield "betweenness_max", float(hops.betweenness.max()), ""
    connectivity = math.nan if n < 2 else algebraic_connectivity(adjacency) if is_whole else 0.0
    yield "algebraic_connectivity", connectivity, ""
    yield "kirchhoff_index", kirchhoff_index(adjacency, framework.positions_nm) if is_whole else math.inf, ""


def _clustering(adjacency: sparse.csr_array) -> float:
    """Mean over nodes of the share of pairs of neighbours that are neighbours (Watts and Strogatz 1998)."""
    degree = np.diff(adjacency.indptr)
    closed = np.asarray((adjacency @ adjacency).multiply(adjacency).sum(axis=1)).ravel()
    pairs = degree * (degree - 1)
    return float(np.divide(closed, pairs, out=np.zeros(len(degree)), where=pairs > 0).mean())


def _shape(graph: SpatialGraph, framework: Framework) -> Iterator[Row]:
    lengths = framework.lengths_nm
    chords = framework.chords_nm
    is_open = chords > 0
    yield "length_total", float(lengths.sum()), "nm"
    yield "length_mean", float(lengths.mean()) if len(lengths) else math.nan, "nm"
    yield (
        "tortuosity_mean",
        float((lengths[is_open] / chords[is_open]).mean()) if is_open.any() else math.nan,
        "",
    )
    faces = at_faces(graph)
    low, high = field_of(graph)
    for axis, name in enumerate(AXES):
        ways = _ways_across(framework, faces[:, axis, 0], faces[:, axis, 1])
        yield f"percolates_{name}", float(len(ways) > 0), ""
        yield f"tortuosity_{name}", float(ways.mean() / (high - low)[axis]) if len(ways) else math.nan, ""


def _ways_across(framework: Framework, at_low: np.ndarray, at_high: np.ndarray) -> np.ndarray:
    """Length of the shortest way from each node at one face to the other face, where there is one."""
    if not (at_low.any() and at_high.any()):
        return np.zeros(0)
    # Zero would be no branch: a branch without length is one of next to none.
    weights = np.maximum(framework.lengths_nm, 1e-12)
    matrix = framework.adjacency(weights)
    ways = csgraph.dijkstra(matrix, directed=False, indices=np.flatnonzero(at_high), min_only=True)[at_low]
    return np.asarray(ways[np.isfinite(ways)])


def _intensive(graph: SpatialGraph, framework: Framework) -> Iterator[Row]:
    n, e = framework.n_nodes, framework.n_branches
    low, high = field_of(graph)
    area, volume = float(np.prod((high - low)[1:])), float(np.prod(high - low))
    length = float(framework.lengths_nm.sum())
    n_pieces = int(framework.components().max()) + 1
    yield from _per_size(n, e, length, area, volume)
    yield "cycles_per_node", (e - n + n_pieces) / n, ""
    yield "floppy_fraction", float(rigidity(graph).floppy_fraction[0]), ""


def _per_size(n: float, e: float, length: float, area: float, volume: float) -> Iterator[Row]:
    yield "nodes_per_volume", n / volume if volume > 0 else math.nan, "1/nm^3"
    yield "branches_per_volume", e / volume if volume > 0 else math.nan, "1/nm^3"
    yield "length_per_volume", length / volume if volume > 0 else math.nan, "1/nm^2"
    yield "nodes_per_area", n / area if area > 0 else math.nan, "1/nm^2"
    yield "length_per_area", length / area if area > 0 else math.nan, "1/nm"


def _middles(graph: SpatialGraph, framework: Framework) -> np.ndarray:
    """Point half way along each branch, (n_branches, 3)."""
    if not len(graph.lines_nm):
        return np.asarray(framework.positions_nm[framework.ends].mean(axis=1)).reshape(-1, 3)
    middles = []
    for line in graph.lines_nm:
        along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
        middles.append([np.interp(0.5 * along[-1], along, np.asarray(line)[:, axis]) for axis in range(3)])
    return np.array(middles).reshape(-1, 3)


def _of_window(
    part: SpatialGraph, graph: SpatialGraph, framework: Framework, degree: np.ndarray, middles: np.ndarray
) -> Iterator[Row]:
    low, high = field_of(part)
    inside = np.asarray(((framework.positions_nm >= low) & (framework.positions_nm < high)).all(axis=1))
    with_middle = ((middles >= low) & (middles < high)).all(axis=1)
    n, e = int(inside.sum()), int(with_middle.sum())
    length = float(part.branches["length_nm"].sum())
    yield from _per_size(n, e, length, float(np.prod((high - low)[1:])), float(np.prod(high - low)))
    yield "degree_mean", float(degree[inside].mean()) if n else math.nan, ""
    yield "dead_end_share", float((degree[inside] == 1).mean()) if n else math.nan, ""
    yield "cycles_per_node", (e - n) / n if n else math.nan, ""
    lengths, chords = framework.lengths_nm[with_middle], framework.chords_nm[with_middle]
    is_open = chords > 0
    yield "length_mean", float(lengths.mean()) if e else math.nan, "nm"
    yield (
        "tortuosity_mean",
        float((lengths[is_open] / chords[is_open]).mean()) if is_open.any() else math.nan,
        "",
    )
    both = inside[framework.ends].all(axis=1) if len(framework.ends) else np.zeros(0, dtype=bool)
    induced = SpatialGraph(graph.nodes.loc[inside], graph.branches.loc[both])
    yield "global_efficiency", Hops.of(Framework.of(induced).adjacency()).efficiency if n else math.nan, ""
    yield "floppy_fraction", float(rigidity(induced).floppy_fraction[0]) if n else math.nan, ""


def _over_windows(name: str, unit: str, values: np.ndarray) -> dict[str, object]:
    values = values[np.isfinite(values)]
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    words = f"95 %, Student's t over {n} windows" if n > 1 else "none: fewer than two windows have a value"
    return {"quantity": name, "value": mean, "low": mean - half, "high": mean + half, "unit": unit, "n": n,
            "interval": words}  # fmt: skip
