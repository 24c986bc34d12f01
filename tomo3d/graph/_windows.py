"""A network cut into windows of equal size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tomo3d.graph._framework import Framework, field_of
from tomo3d.types import SpatialGraph


def windows(graph: SpatialGraph, window_nm: Sequence[float]) -> Iterator[SpatialGraph]:
    """The parts of a network in windows of equal size, branches cut where they leave.

    Parameters
    ----------
    graph : SpatialGraph
    window_nm : sequence of two or three floats
        Edges (y, x), through the whole of z, or (z, y, x). As many windows as fit in the field, centred.

    Yields
    ------
    SpatialGraph
        Its record has the `field_nm` of the window. Nodes that a cut makes are numbered on from the last one and
        have `is_cut` set; branches keep their columns, but for ends and lengths.

    Raises
    ------
    ValueError
        If there are not two or three positive lengths, or not one window fits.
    """
    low, high = field_of(graph)
    edges = [float(edge) for edge in window_nm]
    if len(edges) not in (2, 3) or not all(math.isfinite(edge) and edge > 0 for edge in edges):
        raise ValueError(
            f"window_nm must be two (y, x) or three (z, y, x) positive lengths, got {window_nm}."
        )
    if len(edges) == 2:
        edges = [float(high[0] - low[0]), *edges]
    size = np.array(edges)
    counts = [
        int(extent / edge + 1e-9) if edge > 0 else 1 for extent, edge in zip(high - low, edges, strict=True)
    ]
    if min(counts) < 1:
        raise ValueError(
            f"window_nm must fit in the field of {np.round(high - low, 3)} nm (z, y, x), got {window_nm}."
        )
    first = low + 0.5 * (high - low - counts * size)
    pieces = _lines(graph)
    for index in itertools.product(*(range(n) for n in counts)):
        corner = first + np.array(index) * size
        yield _cut(graph, pieces, corner, corner + size)


def _lines(graph: SpatialGraph) -> list[np.ndarray]:
    """Line of every branch, (n_points, 3): the straight way where the network has none."""
    if len(graph.lines_nm):
        return [np.asarray(line, dtype=np.float64) for line in graph.lines_nm]
    framework = Framework.of(graph)
    return [framework.positions_nm[pair] for pair in framework.ends]


def _cut(graph: SpatialGraph, lines: list[np.ndarray], low: np.ndarray, high: np.ndarray) -> SpatialGraph:
    positions = graph.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy(dtype=np.float64)
    inside = np.asarray(((positions >= low) & (positions < high)).all(axis=1))
    names = graph.nodes["node"].to_numpy()
    is_kept = dict(zip(names.tolist(), inside.tolist(), strict=True))
    next_name = int(max(names, default=-1)) + 1 if np.issubdtype(np.asarray(names).dtype, np.integer) else 0
    new_nodes: list[dict[str, object]] = []
    rows: list[dict[Any, Any]] = []
    kept_lines: list[np.ndarray] = []
    records: list[dict[Any, Any]] = graph.branches.to_dict("records")
    for row, line in zip(records, lines, strict=True):
        if (line < low).all(axis=0).any() or (line >= high).all(axis=0).any():
            continue
        for part, starts, stops in _parts_inside(line, low, high):
            ends = []
            for is_end, name, point in ((starts, row["node_a"], part[0]), (stops, row["node_b"], part[-1])):
                if is_end and is_kept[name]:
                    ends.append(name)
                    continue
                ends.append(next_name + len(new_nodes))
                place = dict(zip(("z_nm", "y_nm", "x_nm"), point.tolist(), strict=True))
                new_nodes.append({"node": ends[-1], **place, "degree": 1, "is_cut": True})
            length = float(np.linalg.norm(np.diff(part, axis=0), axis=1).sum())
            whole = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
            true_length = float(row["length_nm"]) * length / whole if whole > 0 else 0.0
            rows.append(
                {**row, "branch": len(rows), "node_a": ends[0], "node_b": ends[1], "length_nm": true_length}
            )
            kept_lines.append(part)
    nodes = graph.nodes[inside].assign(is_cut=False)
    if new_nodes:
        nodes = pd.concat([nodes, pd.DataFrame(new_nodes)], ignore_index=True)
    branches = pd.DataFrame(rows, columns=list(graph.branches.columns))
    record = {**graph.record, "field_nm": [low.tolist(), high.tolist()]}
    return SpatialGraph(nodes.reset_index(drop=True), branches, kept_lines, record=record)


def _parts_inside(
    line: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Iterator[tuple[np.ndarray, bool, bool]]:
    """Parts of a line within a box, and whether each begins and ends where the line does."""
    part: list[np.ndarray] = []
    begins = False
    for i, (start, stop) in enumerate(itertools.pairwise(line)):
        enter, leave = _clip(start, stop, low, high)
        if enter >= leave:
            continue
        if not part:
            part, begins = [start + enter * (stop - start)], i == 0 and enter == 0
        part.append(start + leave * (stop - start))
        if leave < 1:
            yield np.array(part), begins, False
            part = []
    if part:
        yield np.array(part), begins, True


def _clip(start: np.ndarray, stop: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Where a step, from 0 to 1, enters and leaves a box (Liang and Barsky 1984); never, if enter >= leave."""
    enter, leave = 0.0, 1.0
    for a, step, bottom, top in zip(start, stop - start, low, high, strict=True):
        if step == 0:
            if not bottom <= a < top:
                return 1.0, 0.0
            continue
        first, last = (bottom - a) / step, (top - a) / step
        if first > last:
            first, last = last, first
        enter, leave = max(enter, float(first)), min(leave, float(last))
    return enter, leave
