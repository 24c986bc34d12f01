"""Networks of known numbers, for tests."""

import itertools

import networkx
import numpy as np

from tomo3d.graph import from_networkx
from tomo3d.types import SpatialGraph


def generic(graph, seed=0):
    """A network of a networkx graph at positions that are special in no way."""
    return from_networkx(graph, np.random.default_rng(seed).normal(size=(len(graph), 3)) * 10)


def double_banana():
    """Two bipyramids that share both tips: counted rigid, and floppy."""
    graph = networkx.Graph()
    for triangle in ((2, 3, 4), (5, 6, 7)):
        graph.add_edges_from(itertools.combinations(triangle, 2))
        graph.add_edges_from((tip, corner) for tip in (0, 1) for corner in triangle)
    return graph


def bars(positions, pairs, width=1.0, field=None, **columns):
    """A network of straight bars; `field` is its low and high corner."""
    graph = networkx.MultiGraph()
    graph.add_nodes_from(range(len(positions)))
    widths = np.broadcast_to(width, len(pairs))
    for i, (a, b) in enumerate(pairs):
        graph.add_edge(a, b, mean_width_nm=float(widths[i]), **{k: v[i] for k, v in columns.items()})
    found = from_networkx(graph, np.asarray(positions, dtype=np.float64))
    record = {} if field is None else {"field_nm": field}
    return SpatialGraph(found.nodes, found.branches, found.lines_nm, record=record)


def neighbours(positions, distance):
    """Pairs of places at a distance."""
    positions = np.asarray(positions)
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(positions)), 2)
        if abs(np.linalg.norm(positions[i] - positions[j]) - distance) < 1e-6
    ]


def octet_truss(n_cells, cell=10.0, width=0.5):
    """Bars between nearest neighbours of a face-centred lattice; shared faces and edges count by what is inside."""
    places = [p for p in itertools.product(range(2 * n_cells + 1), repeat=3) if sum(p) % 2 == 0]
    positions = np.array(places) * cell / 2
    pairs = neighbours(positions, cell / np.sqrt(2))
    size = n_cells * cell
    widths = []
    for a, b in pairs:
        on_faces = sum(
            positions[a][axis] == positions[b][axis] and positions[a][axis] in (0.0, size)
            for axis in range(3)
        )
        widths.append(width / np.sqrt(2.0**on_faces))
    return bars(positions, pairs, widths)


def spatial(n_nodes, n_neighbours, seed=0):
    """Places spread evenly, each joined to its nearest neighbours: positions and pairs."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    positions = rng.random((n_nodes, 3)) * n_nodes ** (1 / 3)
    near = cKDTree(positions).query(positions, n_neighbours + 1)[1][:, 1:]
    pairs = np.sort(np.stack([np.repeat(np.arange(n_nodes), n_neighbours), near.ravel()], axis=1), axis=1)
    return positions, np.unique(pairs, axis=0)
