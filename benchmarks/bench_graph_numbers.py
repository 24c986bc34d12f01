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
    """With three neighbours each a network is floppy, with five stiff in parts, with nine stiff."""

    params: ClassVar = [[1_000, 10_000], [3, 5, 9]]
    param_names: ClassVar = ["n_nodes", "n_neighbours"]
    targets: ClassVar[Targets] = {"track_seconds": {(10_000, n): Target(at_most=20.0) for n in (3, 5, 9)}}

    def track_seconds(self, n_nodes: int, n_neighbours: int) -> float:
        return seconds(rigidity, spatial(n_nodes, n_neighbours))

    def track_floppy_fraction(self, n_nodes: int, n_neighbours: int) -> float:
        return float(rigidity(spatial(n_nodes, n_neighbours)).floppy_fraction[0])


class Stiffness:
    """Three branches a node under uniform strain: 33,000 nodes have 99,815 branches."""

    params: ClassVar = [[1_000, 33_000], ["rigid", "pinned"]]
    param_names: ClassVar = ["n_nodes", "joints"]
    targets: ClassVar[Targets] = {
        "track_seconds": {(33_000, joints): Target(at_most=30.0) for joints in ("rigid", "pinned")}
    }

    def setup(self, n_nodes: int, joints: Literal["rigid", "pinned"]) -> None:
        self.network = spatial(n_nodes, 5)

    def track_seconds(self, n_nodes: int, joints: Literal["rigid", "pinned"]) -> float:
        return seconds(stiffness, self.network, youngs_modulus=1.0, joints=joints)

    def peakmem_stiffness(self, n_nodes: int, joints: Literal["rigid", "pinned"]) -> None:
        stiffness(self.network, youngs_modulus=1.0, joints=joints)


class Others:
    """Descriptors, centralities, and flow."""

    params, param_names = ([1_000, 10_000],), ("n_nodes",)

    def track_descriptors_seconds(self, n_nodes: int) -> float:
        return seconds(descriptors, spatial(n_nodes, 3))

    def track_centralities_seconds(self, n_nodes: int) -> float:
        return seconds(centralities, spatial(n_nodes, 3))

    def track_flow_seconds(self, n_nodes: int) -> float:
        return seconds(transport, spatial(n_nodes, 5))


class BesideNetworkx:
    """Betweenness, closeness and harmonic centrality, networkx's time over ours."""

    params, param_names = ([200, 1_000],), ("n_nodes",)

    def setup(self, n_nodes: int) -> None:
        self.network = spatial(n_nodes, 3)
        self.graph = networkx.Graph(self.network.to_networkx())

    def track_ratio(self, n_nodes: int) -> float:
        centralities(self.network)
        ours = min(seconds(centralities, self.network) for _ in range(3))
        return seconds(self._by_networkx) / ours

    def _by_networkx(self) -> None:
        for function in (
            networkx.betweenness_centrality,
            networkx.closeness_centrality,
            networkx.harmonic_centrality,
        ):
            function(self.graph)
