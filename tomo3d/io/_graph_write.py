"""Networks as GraphML, which networkx, Gephi, igraph and Cytoscape read, and as VTK polylines (.vtp) for ParaView."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pandas as pd

from tomo3d._version import __version__
from tomo3d.io._tables import check_plain
from tomo3d.io._write import check_output, write_bytes
from tomo3d.types import SpatialGraph

LINE, WIDTHS, RECORD = "line_nm", "line_widths_nm", "tomo3d_record"  # data of an edge, and of the whole graph
_TYPES = {"b": "boolean", "i": "long", "u": "long", "f": "double"}


def write_graph(graph: SpatialGraph, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a network to a GraphML or VTK file.

    Parameters
    ----------
    graph : SpatialGraph
    path : path
        Where to write it. The ending chooses the format: .graphml, which keeps everything and is read back exactly
        by `read_graph`; .vtp (VTK XML), the centre lines with the width at their points and the columns of their
        branches that are numbers. For CSV, write its tables with `write_table`.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If the ending is of neither format, a column has no name, or a value is no number, flag or text.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    In GraphML the columns of both tables are attributes, lengths in nm; `line_nm` of an edge holds its points, as
    "z,y,x z,y,x ...". In VTK positions are (x, y, z) in nm; branches without centre lines are drawn straight.
    """
    check_output(path, overwrite=overwrite)
    ending = Path(path).suffix.lower()
    if ending not in (".graphml", ".vtp"):
        raise ValueError(f"a network must be named *.graphml or *.vtp, got {Path(path).name!r}.")
    check_plain(graph.nodes, "the nodes")
    check_plain(graph.branches, "the branches")
    parts = _graphml(graph) if ending == ".graphml" else _vtp(graph)
    write_bytes(b"".join(parts), path, overwrite=overwrite)


def _graphml(graph: SpatialGraph) -> Iterator[bytes]:
    nodes = {name: _kind(graph.nodes[name]) for name in graph.nodes.columns}
    branches = {name: _kind(graph.branches[name]) for name in graph.branches.columns}
    edges = dict(branches)
    edges |= {LINE: "string"} if len(graph.lines_nm) else {}
    edges |= {WIDTHS: "string"} if len(graph.widths_nm) else {}
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<!-- tomo3d {__version__}, lengths in nm -->\n"
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    ).encode()
    for short, domain, kinds in (
        ("n", "node", nodes),
        ("e", "edge", edges),
        ("g", "graph", {RECORD: "string"}),
    ):
        for i, (name, kind) in enumerate(kinds.items()):
            yield (
                f'<key id="{short}{i}" for="{domain}" attr.name={quoteattr(name)} attr.type="{kind}"/>\n'
            ).encode()
    yield b'<graph edgedefault="undirected">\n'
    record = json.dumps(_plain(dict(graph.record)), ensure_ascii=False, allow_nan=True)
    yield f'<data key="g0">{_text(record)}</data>\n'.encode()
    rows = {name: row for row, name in enumerate(graph.nodes["node"].tolist())}
    for row, values in enumerate(graph.nodes.itertuples(index=False, name=None)):
        yield f'<node id="{row}">{_data("n", values, nodes)}</node>\n'.encode()
    ends = graph.branches[["node_a", "node_b"]].to_numpy()
    for row, values in enumerate(graph.branches.itertuples(index=False, name=None)):
        a, b = (rows[end] for end in ends[row].tolist())
        lines = (
            [" ".join(",".join(map(repr, p)) for p in np.asarray(graph.lines_nm[row], float).tolist())]
            if len(graph.lines_nm)
            else []
        )
        widths = (
            [" ".join(map(repr, np.asarray(graph.widths_nm[row], float).tolist()))]
            if len(graph.widths_nm)
            else []
        )
        data = _data("e", (*values, *lines, *widths), edges)
        yield f'<edge id="{row}" source="{a}" target="{b}">{data}</edge>\n'.encode()
    yield b"</graph>\n</graphml>\n"


def _kind(column: pd.Series) -> str:
    """The GraphML type of a column."""
    kind = _TYPES.get(getattr(column.dtype, "kind", "O"))
    if kind:
        return kind
    bad = [value for value in column if not isinstance(value, str) and not _is_missing(value)]
    if bad:
        raise ValueError(f"column {column.name!r} must hold numbers, flags or texts, got {bad[0]!r}.")
    return "string"


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _data(short: str, values: tuple[Any, ...], kinds: dict[str, str]) -> str:
    """The values of a row; a missing text has none."""
    found = []
    for i, (value, kind) in enumerate(zip(values, kinds.values(), strict=True)):
        if kind != "string" or not _is_missing(value):
            found.append(f'<data key="{short}{i}">{_text(_written(value, kind))}</data>')
    return "".join(found)


def _written(value: Any, kind: str) -> str:
    if kind == "boolean":
        return str(bool(value)).lower()
    if kind == "double":
        return repr(float(value))
    return str(int(value)) if kind == "long" else str(value)


def _text(text: str) -> str:
    """A text within XML, which cannot hold control characters."""
    bad = [c for c in text if ord(c) < 32 and c not in "\t\n"]
    if bad:
        raise ValueError(f"a text in a network must not hold control characters, got {text[:40]!r}.")
    return escape(text, {"\r": "&#13;"})


def _plain(value: Any) -> Any:
    """A record as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"the record of a network must hold numbers, flags, texts and lists of them, got {value!r}."
    )


def _vtp(graph: SpatialGraph) -> Iterator[bytes]:
    """PolyData of VTK's XML with one polyline per branch, values raw behind it."""
    from tomo3d.io._mesh_write import vtk_array

    lines = [np.asarray(line, dtype=np.float64) for line in (graph.lines_nm or _straight(graph))]
    counts = np.array([len(line) for line in lines], dtype="<i8")
    points = np.concatenate([np.empty((0, 3)), *lines])[:, ::-1]
    blocks: list[bytes] = []
    widths = np.concatenate([np.empty(0), *graph.widths_nm]) if len(graph.widths_nm) else None
    numeric = [name for name in graph.branches.columns if _kind(graph.branches[name]) != "string"]
    point_data = "" if widths is None else vtk_array("width_nm", widths.astype("<f8"), blocks)
    cell_data = "".join(vtk_array(name, _stored(graph.branches[name]), blocks) for name in numeric)
    places = vtk_array("Points", np.ascontiguousarray(points, dtype="<f4"), blocks)
    cells = vtk_array("connectivity", np.arange(len(points), dtype="<i8"), blocks)
    cells += vtk_array("offsets", np.cumsum(counts).astype("<i8"), blocks)
    yield (
        '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian"'
        f' header_type="UInt64">\n<!-- tomo3d {__version__}, lengths in nm -->\n<PolyData>'
        f'<Piece NumberOfPoints="{len(points)}" NumberOfLines="{len(lines)}"><PointData>{point_data}</PointData>'
        f"<CellData>{cell_data}</CellData><Points>{places}</Points><Lines>{cells}</Lines></Piece></PolyData>\n"
        '<AppendedData encoding="raw">_'
    ).encode()
    yield from blocks
    yield b"</AppendedData></VTKFile>\n"


def _straight(graph: SpatialGraph) -> list[np.ndarray]:
    """A straight line for each branch."""
    place = graph.nodes.set_index("node")[["z_nm", "y_nm", "x_nm"]]
    ends = [place.loc[graph.branches[name]].to_numpy(float) for name in ("node_a", "node_b")]
    return list(np.stack(ends, axis=1))


def _stored(column: pd.Series) -> np.ndarray:
    """A column of numbers or flags as VTK stores it."""
    kind = column.dtype.kind
    return column.to_numpy().astype({"b": "<u1", "f": "<f8"}.get(kind, "<i8"))
