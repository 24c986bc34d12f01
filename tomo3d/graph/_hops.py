"""Distances in branches between all nodes, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tomo3d.compute.kernels.hops import hops_cpu
from tomo3d.compute.kernels.threads import threads_for

_N_PARTS = 16


@dataclass(frozen=True, eq=False)
class Hops:
    """Sums over the shortest ways from each node, (n_nodes,) each: see `hops_cpu`; pairs counted once in `between`."""

    far: np.ndarray
    near: np.ndarray
    reached: np.ndarray
    between: np.ndarray

    @classmethod
    def of(cls, adjacency: sparse.csr_array) -> Hops:
        """All shortest ways of a network."""
        n_nodes = adjacency.shape[0]
        starts = adjacency.indptr.astype(np.int64)
        with threads_for(float(n_nodes) * (n_nodes + adjacency.nnz)):
            far, near, reached, between = hops_cpu(starts, adjacency.indices.astype(np.int64), _N_PARTS)
        return cls(far, near, reached, between.sum(axis=0) / 2)

    @property
    def efficiency(self) -> float:
        """Mean reciprocal distance over pairs; 0 of a network with fewer than two nodes (Latora and Marchiori 2001)."""
        n = len(self.near)
        return float(self.near.sum() / (n * (n - 1))) if n > 1 else 0.0

    @property
    def closeness(self) -> np.ndarray:
        """Reciprocal mean distance times the share of nodes in reach (Wasserman and Faust 1994)."""
        n = len(self.far)
        found = np.zeros(n)
        has = self.far > 0
        found[has] = self.reached[has] / self.far[has] * self.reached[has] / (n - 1)
        return found

    @property
    def betweenness(self) -> np.ndarray:
        """Share of the pairs of other nodes whose shortest ways pass the node."""
        n = len(self.between)
        return self.between / ((n - 1) * (n - 2) / 2) if n > 2 else np.zeros(n)
