"""Numbers of large networks: how long they take, beside networkx."""

from __future__ import annotations

import functools
import time
from typing import ClassVar, Literal

import networkx
import numpy as np
from scipy.spatial import cKDTree

from benchmarks.cases import Target, Targets
from tomo3d.graph import centralities, descriptors, from_networkx, rigidity, stiffness, transport
from tomo3d.types import SpatialGraph


@functools.cache
def spatial(n_nodes: int, n_neighbours: int) -> SpatialGraph:
    """Places spread evenly in a cube, each joined to its nearest neighbours by struts a fifth as wide as long."""
    rng = np.random.default_rng(0)
    positions = rng.random((n_nodes, 3)) * n_nodes ** (1 / 3)
    near = cKDTree(positions).query(positions, n_neighbours + 1)[1][:, 1:]
    pairs = np.sort(np.stack([np.repeat(np.arange(n_nodes), n_neighbours), near.ravel()], axis=1), axis=1)
    graph = networkx.Graph()
    graph.add_nodes_from(range(n_nodes), radius_nm=0.5)
    for a, b in np.unique(pairs, axis=0).tolist():
        graph.add_edge(a, b, mean_width_nm=0.2 * float(np.linalg.norm(positions[a] - positions[b])))
    return from_networkx(graph, positions)


def seconds(work: object, *arguments: object, **options: object) -> float:
    """Time of one run."""
    start = time.perf_counter()
    work(*arguments, **options)  # type: ignore[operator]
    return time.perf_counter() - start


class Rigidity:
    """10,000 nodes: with three neighbours each floppy, with five stiff in parts, with nine stiff."""

    params, param_names = ([3, 5, 9],), ("n_neighbours",)
    targets: ClassVar[Targets] = {"track_seconds": Target(at_most=20.0)}

    def track_seconds(self, n_neighbours: int) -> float:
        return seconds(rigidity, spatial(10_000, n_neighbours))

    def track_floppy_fraction(self, n_neighbours: int) -> float:
        return float(rigidity(spatial(10_000, n_neighbours)).floppy_fraction[0])


class Stiffness:
    """About 100,000 branches under uniform strain."""

    params: ClassVar = [["rigid", "pinned"]]
    param_names: ClassVar = ["joints"]
    targets: ClassVar[Targets] = {"track_seconds": Target(at_most=30.0)}

    def setup(self, joints: str) -> None:
        self.network = spatial(33_000, 5)
        assert len(self.network.branches) > 99_000

    def track_seconds(self, joints: Literal["rigid", "pinned"]) -> float:
        return seconds(stiffness, self.network, youngs_modulus=1.0, joints=joints)

    def peakmem_stiffness(self, joints: Literal["rigid", "pinned"]) -> None:
        stiffness(self.network, youngs_modulus=1.0, joints=joints)


class Others:
    """Descriptors and centralities of 10,000 nodes, and flow through 100,000 branches."""

    def track_descriptors_seconds(self) -> float:
        return seconds(descriptors, spatial(10_000, 3))

    def track_centralities_seconds(self) -> float:
        return seconds(centralities, spatial(10_000, 3))

    def track_flow_seconds(self) -> float:
        return seconds(transport, spatial(33_000, 5))


class BesideNetworkx:
    """Betweenness, closeness and harmonic centrality of 1,000 nodes."""

    def setup(self) -> None:
        self.network = spatial(1_000, 3)
        self.graph = networkx.Graph(self.network.to_networkx())

    def track_ratio(self) -> float:
        """networkx's time over ours."""
        centralities(self.network)
        ours = min(seconds(centralities, self.network) for _ in range(3))
        theirs = min(seconds(self._by_networkx) for _ in range(2))
        return theirs / ours

    def _by_networkx(self) -> None:
        for function in (
            networkx.betweenness_centrality,
            networkx.closeness_centrality,
            networkx.harmonic_centrality,
        ):
            function(self.graph)
