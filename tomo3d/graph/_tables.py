"""The tables of a network alone, for files and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomo3d.types import SpatialGraph

if TYPE_CHECKING:
    import pandas as pd


def node_table(graph: SpatialGraph) -> pd.DataFrame:
    """Nodes of a network, one row each.

    Parameters
    ----------
    graph : SpatialGraph

    Returns
    -------
    DataFrame
        Its nodes, as `tables.GRAPH_NODES` or `tables.CONTACT_NODES` says.
    """
    return graph.nodes.copy()


def branch_table(graph: SpatialGraph) -> pd.DataFrame:
    """Branches of a network, one row each.

    Parameters
    ----------
    graph : SpatialGraph

    Returns
    -------
    DataFrame
        Its branches, as `tables.GRAPH_BRANCHES` or `tables.CONTACTS` says.
    """
    return graph.branches.copy()
