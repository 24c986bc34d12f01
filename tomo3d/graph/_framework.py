"""A network as arrays: places of its nodes, ends of its branches, and which nodes lie at the faces of its field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from tomo3d.types import SpatialGraph

AXES = ("z", "y", "x")
_EPSILON = 1e-6  # of the extent: a node this near to a face lies on it


@dataclass(frozen=True, eq=False)
class Framework:
    """Arrays of a network, in the order of its tables.

    Parameters
    ----------
    positions_nm : ndarray, shape (n_nodes, 3)
    ends : ndarray of int, shape (n_branches, 2)
        Rows of the nodes that each branch ends at.
    lengths_nm : ndarray, shape (n_branches,)
    """

    positions_nm: np.ndarray
    ends: np.ndarray
    lengths_nm: np.ndarray

    @classmethod
    def of(cls, graph: SpatialGraph) -> Framework:
        """Arrays of a network.

        Raises
        ------
        ValueError
            If a position or a length is not finite.
        """
        positions = graph.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy(dtype=np.float64)
        lengths = graph.branches["length_nm"].to_numpy(dtype=np.float64)
        if not (np.isfinite(positions).all() and np.isfinite(lengths).all()):
            raise ValueError("positions and lengths of a network must be finite, got nan or inf.")
        row = {name: i for i, name in enumerate(graph.nodes["node"])}
        ends = [[row[a], row[b]] for a, b in graph.branches[["node_a", "node_b"]].itertuples(index=False)]
        return cls(positions, np.array(ends, dtype=np.int64).reshape(-1, 2), lengths)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.positions_nm)

    @property
    def n_branches(self) -> int:
        """Number of branches, loops and parallel ones too."""
        return len(self.ends)

    @property
    def is_loop(self) -> np.ndarray:
        """Branches that end where they begin, (n_branches,)."""
        return np.asarray(self.ends[:, 0] == self.ends[:, 1])

    @property
    def chords_nm(self) -> np.ndarray:
        """Straight ways between the ends of the branches, (n_branches,)."""
        return np.asarray(
            np.linalg.norm(self.positions_nm[self.ends[:, 1]] - self.positions_nm[self.ends[:, 0]], axis=1)
        )

    def simple_ends(self) -> np.ndarray:
        """Pairs of nodes with a branch between them, each once, without loops, (n_pairs, 2)."""
        pairs = np.sort(self.ends[~self.is_loop], axis=1)
        return np.unique(pairs, axis=0) if len(pairs) else pairs

    def adjacency(self, weights: np.ndarray | None = None) -> sparse.csr_array:
        """Symmetric matrix (n_nodes, n_nodes): 1, or the least weight, where nodes have a branch between them."""
        if weights is None:
            pairs = self.simple_ends()
            values = np.ones(len(pairs))
        else:
            inner = ~self.is_loop
            pairs, values = np.sort(self.ends[inner], axis=1), weights[inner]
            order = np.lexsort((values, pairs[:, 1], pairs[:, 0]))
            pairs, values = pairs[order], values[order]
            is_first = np.ones(len(pairs), dtype=bool)
            is_first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
            pairs, values = pairs[is_first], values[is_first]
        rows, columns = np.r_[pairs[:, 0], pairs[:, 1]], np.r_[pairs[:, 1], pairs[:, 0]]
        return sparse.csr_array((np.r_[values, values], (rows, columns)), shape=(self.n_nodes, self.n_nodes))

    def components(self) -> np.ndarray:
        """Number of the connected piece of each node, (n_nodes,)."""
        if self.n_nodes == 0:
            return np.zeros(0, dtype=np.int64)
        return np.asarray(csgraph.connected_components(self.adjacency(), directed=False)[1], dtype=np.int64)


def field_of(graph: SpatialGraph) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner (z, y, x) in nm of the field of the network: the box of its nodes, if unknown."""
    if "field_nm" in graph.record:
        low, high = np.array(graph.record["field_nm"], dtype=np.float64)
        return low, high
    positions = graph.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy(dtype=np.float64)
    if len(positions) == 0:
        return np.zeros(3), np.zeros(3)
    return positions.min(axis=0), positions.max(axis=0)


def at_faces(graph: SpatialGraph) -> np.ndarray:
    """Which nodes lie at the faces of the field, bool, (n_nodes, 3, 2): by axis (z, y, x), low and high.

    A node lies at a face if the ball of its `radius_nm`, where the table has one, reaches it. An axis along which the
    field has no extent has no faces.
    """
    low, high = field_of(graph)
    positions = graph.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy(dtype=np.float64)
    reach = np.zeros(len(positions))
    if "radius_nm" in graph.nodes:
        reach = np.nan_to_num(graph.nodes["radius_nm"].to_numpy(dtype=np.float64))
    extent = high - low
    reach = reach[:, None] + _EPSILON * extent
    faces = np.stack([positions - low <= reach, high - positions <= reach], axis=2)
    return np.asarray(faces & (extent > 0)[:, None])
