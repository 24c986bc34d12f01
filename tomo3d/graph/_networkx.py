"""Networks from networkx and to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tomo3d.types import SpatialGraph

if TYPE_CHECKING:
    import networkx

_PLACE = ("z_nm", "y_nm", "x_nm")
_OWN = ("branch", "node_a", "node_b", "chord_nm", "line_nm", "line_widths_nm")


def from_networkx(graph: networkx.Graph, positions_nm: np.ndarray | Mapping[Hashable, Any]) -> SpatialGraph:
    """A network of straight branches from a networkx graph and positions of its nodes.

    Parameters
    ----------
    graph : networkx.Graph or networkx.MultiGraph
        Its nodes are whole numbers or texts. Attributes of nodes and edges become columns; what only some of them
        have is nan (or None, of texts) for the others.
    positions_nm : ndarray, shape (n_nodes, 3), or mapping of node to (z, y, x)
        Rows of an array are in the order of the nodes of the graph.

    Returns
    -------
    SpatialGraph
        `degree` counts ends of edges: a loop has two. `length_nm` is the edge's own attribute of that name where
        it has one, else the straight way between its nodes, `chord_nm`. A loop has a line without length.

    Raises
    ------
    ValueError
        If the graph has a direction, a node has no position, or a position is not three finite numbers.
    TypeError
        If a node is neither a whole number nor a text.
    """
    if graph.is_directed():
        raise ValueError("a network has no direction: pass graph.to_undirected().")
    names = list(graph.nodes)
    _check_names(names)
    positions = _positions(names, positions_nm)
    attributes = [
        {k: v for k, v in graph.nodes[name].items() if k not in (*_PLACE, "node")} for name in names
    ]
    nodes = pd.DataFrame({"node": pd.Series(names, dtype=None if names else np.int64)})
    for axis, column in enumerate(_PLACE):
        nodes[column] = positions[:, axis]
    degree = dict(graph.degree())
    nodes["degree"] = np.array([degree[name] for name in names], dtype=np.int64)
    rest = pd.DataFrame(attributes, index=nodes.index).drop(columns="degree", errors="ignore")
    row = {name: i for i, name in enumerate(names)}
    edges = list(graph.edges(data=True))
    ends = np.array([(row[a], row[b]) for a, b, _ in edges], dtype=np.int64).reshape(-1, 2)
    chords = np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1)
    branches = pd.DataFrame({"branch": np.arange(len(edges))})
    for column, end in (("node_a", 0), ("node_b", 1)):
        branches[column] = nodes["node"].to_numpy()[ends[:, end]]
    branches["length_nm"] = [
        float(data.get("length_nm", chord)) for (*_, data), chord in zip(edges, chords, strict=True)
    ]
    branches["length_nm"] = branches["length_nm"].astype(np.float64)
    branches["chord_nm"] = chords
    more = [{k: v for k, v in data.items() if k not in (*_OWN, "length_nm")} for *_, data in edges]
    return SpatialGraph(
        pd.concat([nodes, rest], axis=1),
        pd.concat([branches, pd.DataFrame(more, index=branches.index)], axis=1),
        [positions[[a, b]] for a, b in ends],
    )


def to_networkx(graph: SpatialGraph) -> networkx.MultiGraph:
    """A network as a networkx multigraph: nodes and edges by their numbers, columns as attributes.

    Parameters
    ----------
    graph : SpatialGraph

    Returns
    -------
    networkx.MultiGraph
        The key of an edge is the number of its branch. `from_networkx` with the positions of the nodes is its
        inverse, but for centre lines, which networkx has no place for.
    """
    return graph.to_networkx()


def _check_names(names: list[Hashable]) -> None:
    for name in names:
        if not isinstance(name, (int, np.integer, str)) or isinstance(name, bool):
            raise TypeError(
                f"nodes must be whole numbers or texts, got {name!r}: use networkx.convert_node_labels_to_integers."
            )


def _positions(names: list[Hashable], positions_nm: np.ndarray | Mapping[Hashable, Any]) -> np.ndarray:
    """Positions (n, 3) in the order of the names."""
    if isinstance(positions_nm, Mapping):
        missing = [name for name in names if name not in positions_nm]
        if missing:
            raise ValueError(f"positions_nm must have every node, missing {missing[:5]}.")
        rows: Any = [positions_nm[name] for name in names]
    else:
        rows = positions_nm
    try:
        array = (
            np.array(rows, dtype=np.float64).reshape(-1, 3)
            if len(rows) == 0
            else np.array(rows, dtype=np.float64)
        )
    except (TypeError, ValueError) as error:
        raise ValueError("positions_nm must hold three numbers (z, y, x) for each node.") from error
    if array.shape != (len(names), 3):
        raise ValueError(
            f"positions_nm must have shape (n_nodes, 3) with {len(names)} nodes, got {np.shape(rows)}."
        )
    if not np.isfinite(array).all():
        raise ValueError("positions_nm must be finite, got a position that is not.")
    return array
