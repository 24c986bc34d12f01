"""Networks from GraphML."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from tomo3d.errors import FormatError
from tomo3d.io._graph_write import LINE, RECORD, WIDTHS
from tomo3d.io._input import existing_file
from tomo3d.types import SpatialGraph

_TYPES: dict[str, Callable[[str], Any]] = {
    "boolean": lambda text: {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()],
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
}
_PLACE = ("z_nm", "y_nm", "x_nm")
_MARK = b"<graphml"


def read_graph(path: str | os.PathLike[str]) -> SpatialGraph:
    """Read a network from a GraphML file.

    Parameters
    ----------
    path : path
        GraphML as `write_graph` writes it, exactly; or of another program, if its nodes have the attributes z_nm,
        y_nm and x_nm. Nodes without a number of their own are numbered, branches without a length are straight.

    Returns
    -------
    SpatialGraph

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is damaged or no GraphML, is directed, or a node has no position.
    """
    file = existing_file(path)
    content = file.read_bytes()
    if _MARK not in content[:4096] or b"<!DOCTYPE" in content[:4096] or b"<!ENTITY" in content:
        raise FormatError(f"{file} must be a GraphML file, without definitions of its own (DOCTYPE).")
    try:
        root = ElementTree.fromstring(content)
        return _graph(root)
    except ElementTree.ParseError as error:
        raise FormatError(f"{file} must be a whole GraphML file: {error}.") from error
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise FormatError(f"{file} must hold a network: {error}.") from error


def _graph(root: ElementTree.Element) -> SpatialGraph:
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    keys = {key.get("id", ""): key for key in root.iter(f"{space}key")}
    graph = root.find(f"{space}graph")
    if graph is None:
        raise ValueError("there is no graph in it")
    if graph.get("edgedefault") == "directed":
        raise ValueError("it is directed, and a network has no direction")

    def data(element: ElementTree.Element) -> dict[str, Any]:
        found = {}
        for item in element.findall(f"{space}data"):
            key = keys[item.get("key", "")]
            kind = key.get("attr.type", "string")
            if kind not in _TYPES:
                raise ValueError(f"attribute type {kind!r} is not known")
            found[key.get("attr.name", "")] = _TYPES[kind](item.text or "")
        return found

    elements = graph.findall(f"{space}node")
    nodes = [data(element) for element in elements]
    for i, (element, values) in enumerate(zip(elements, nodes, strict=True)):
        if not all(name in values for name in _PLACE):
            raise ValueError(f"node {element.get('id')!r} has no position (z_nm, y_nm, x_nm)")
        values.setdefault("node", i)
    names = {element.get("id", ""): values["node"] for element, values in zip(elements, nodes, strict=True)}
    place = {values["node"]: np.array([values[name] for name in _PLACE], dtype=float) for values in nodes}
    edges, lines, widths = [], [], []
    for i, element in enumerate(graph.findall(f"{space}edge")):
        values = data(element)
        ends = {"node_a": names[element.get("source", "")], "node_b": names[element.get("target", "")]}
        line, width = values.pop(LINE, None), values.pop(WIDTHS, None)
        chord = float(np.linalg.norm(place[ends["node_a"]] - place[ends["node_b"]]))
        edges.append({"branch": i} | ends | {"length_nm": chord} | values)
        lines += [] if line is None else [_points(line)]
        widths += [] if width is None else [np.array(width.split(), dtype=float)]
    columns = _columns(keys, "node", ("node", *_PLACE))
    more = [
        c
        for c in _columns(keys, "edge", ("branch", "node_a", "node_b", "length_nm"))
        if c not in (LINE, WIDTHS)
    ]
    record = json.loads(data(graph).get(RECORD, "{}"))
    if not isinstance(record, dict):
        raise ValueError("its record is no table")
    kinds = {key.get("attr.name", ""): key.get("attr.type", "string") for key in keys.values()}
    tables = _table(nodes, columns, kinds), _table(edges, more, kinds)
    return SpatialGraph(*tables, lines, widths_nm=widths, record=record)


def _points(text: str) -> np.ndarray:
    return np.array([point.split(",") for point in text.split()], dtype=float)


def _columns(keys: dict[str, ElementTree.Element], domain: str, first: tuple[str, ...]) -> list[str]:
    """Names of the attributes of nodes or edges in the order of the file; those that must be there in front."""
    named = [key.get("attr.name", "") for key in keys.values() if key.get("for") in (domain, "all")]
    return [name for name in first if name not in named] + list(dict.fromkeys(named))


def _table(rows: list[dict[str, Any]], columns: list[str], kinds: dict[str, str]) -> pd.DataFrame:
    """Rows as a table; without rows, its columns with their kinds."""
    if rows:
        return pd.DataFrame(rows, columns=columns)
    empty = {
        name: _EMPTY.get(kinds.get(name, "double" if name.endswith("_nm") else "long"), object)
        for name in columns
    }
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in empty.items()})


_EMPTY: dict[str, type] = {
    "boolean": np.bool_, "int": np.int64, "long": np.int64, "float": np.float64, "double": np.float64,
}  # fmt: skip
