"""From the voxels of a curve skeleton to nodes and the chains of voxels between them."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from tomo3d.compute.voxel_list import Depths
from tomo3d.graph._network import Network

_HALF = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def voxel_graph(voxels: np.ndarray, depths: Depths, voxel_size: np.ndarray) -> Network:
    """The network of a curve skeleton: positions from the first voxel, radii from the depth below the surface.

    `voxels` (n, 3) are those of the skeleton in order.

    Touching voxels with three or more neighbours are one node; so are ends, voxels alone, and the deepest voxel of
    a ring that has no other node.
    """
    pairs = _touching(voxels, depths.mask.shape)
    n_neighbours = np.bincount(pairs.ravel(), minlength=len(voxels))
    deep = depths.at(voxels)
    is_node = n_neighbours != 2
    both = n_neighbours[pairs] >= 3
    node_of = _pieces(len(voxels), pairs[both.all(axis=1)])
    _add_nodes_to_rings(pairs, is_node, deep)
    nodes, node_of = np.unique(np.where(is_node, node_of, -1), return_inverse=True)
    if len(nodes) and nodes[0] == -1:
        node_of = node_of - 1
    network = Network()
    members = np.flatnonzero(is_node)
    members = members[np.argsort(node_of[members], kind="stable")]
    starts = np.searchsorted(node_of[members], np.arange(node_of.max(initial=-1) + 2))
    half = 0.5 * float(voxel_size.min())
    if len(members):
        places = np.add.reduceat(voxels[members], starts[:-1]) / np.diff(starts)[:, None] * voxel_size
        radii = np.maximum(np.maximum.reduceat(deep[members], starts[:-1]) - half, half)
        for place, radius in zip(places, radii.tolist(), strict=True):
            network.add_node(place, radius)
    for a, b, chain in _chains(pairs, is_node, node_of, len(voxels)):
        network.add_branch(a, b, voxels[chain] * voxel_size)
    return network


def _touching(voxels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pairs of rows, the lower first, of voxels that share a face, an edge or a corner; rows are in C order."""
    padded = np.array(shape) + 2
    flat = (
        np.ravel_multi_index(tuple((voxels + 1).T), tuple(padded)) if len(voxels) else np.empty(0, np.int64)
    )
    found = [np.empty((0, 2), dtype=np.int64)]
    for step in _HALF:
        wanted = flat + int(np.dot(step, [padded[1] * padded[2], padded[2], 1]))
        place = np.minimum(np.searchsorted(flat, wanted), max(len(flat) - 1, 0))
        rows = np.flatnonzero(flat[place] == wanted) if len(flat) else np.empty(0, np.int64)
        found.append(np.stack([rows, place[rows]], axis=1))
    return np.concatenate(found)


def _pieces(n: int, pairs: np.ndarray) -> np.ndarray:
    """Number of the connected piece of each of `n` rows."""
    links = sparse.coo_matrix((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(csgraph.connected_components(links, directed=False)[1])


def _add_nodes_to_rings(pairs: np.ndarray, is_node: np.ndarray, deep: np.ndarray) -> None:
    """Mark the deepest voxel of each piece that has no node."""
    if not len(is_node):
        return
    piece = _pieces(len(is_node), pairs)
    order = np.lexsort((np.arange(len(piece)), -deep, piece))
    firsts = order[np.flatnonzero(np.diff(piece[order], prepend=-1))]
    has_node = np.zeros(piece.max() + 1, dtype=bool)
    has_node[piece[is_node]] = True
    is_node[firsts[~has_node[piece[firsts]]]] = True


def _chains(
    pairs: np.ndarray, is_node: np.ndarray, node_of: np.ndarray, n: int
) -> list[tuple[int, int, list[int]]]:
    """Nodes at both ends and rows of the voxels between, of each chain."""
    keys = np.sort(np.concatenate([pairs @ [n, 1], pairs @ [1, n]]))
    starts = np.searchsorted(keys, np.arange(n + 1) * n).tolist()
    others = (keys % n).tolist()
    node = np.where(is_node, node_of, -1).tolist()
    found: list[tuple[int, int, list[int]]] = []
    seen = [False] * n
    for row in np.flatnonzero(is_node).tolist():
        for other in others[starts[row] : starts[row + 1]]:
            if node[other] >= 0:
                if node[other] != node[row] and other > row:
                    found.append((node[row], node[other], []))
                continue
            if seen[other]:
                continue
            chain, before, here = [], row, other
            while node[here] < 0:
                seen[here] = True
                chain.append(here)
                one, two = others[starts[here]], others[starts[here] + 1]
                before, here = here, two if one == before else one
            found.append((node[row], node[here], chain))
    return found
