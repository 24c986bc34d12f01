"""Order of the unknowns of a network in space that keeps its sparse factors small, and factors in that order."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

_LEAF = 40  # nodes that are not divided further


def nested_dissection(positions: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Nodes in the order in which to eliminate them: halves of space first, then what parts them.

    Parameters
    ----------
    positions : ndarray, shape (n_nodes, 3)
    ends : ndarray of int, shape (n_branches, 2)

    Returns
    -------
    ndarray of int, shape (n_nodes,)

    Notes
    -----
    George, SIAM J. Numer. Anal. 10 (1973) 345, doi:10.1137/0710032; the parts by halving at the median along the
    longest edge, the separator the nodes of one half that have branches into the other.
    """
    n_nodes = len(positions)
    weights = np.ones(2 * len(ends))
    links = sparse.csr_array(
        (weights, (np.r_[ends[:, 0], ends[:, 1]], np.r_[ends[:, 1], ends[:, 0]])), shape=(n_nodes, n_nodes)
    )
    side = np.zeros(n_nodes, dtype=np.int8)
    order = np.empty(n_nodes, dtype=np.int64)
    stop = n_nodes
    pending = [np.arange(n_nodes)]
    while pending:
        part = pending.pop()
        if len(part) > _LEAF:
            places = positions[part]
            axis = int(np.ptp(places, axis=0).argmax())
            rank = np.argsort(places[:, axis], kind="stable")
            low, high = part[rank[: len(part) // 2]], part[rank[len(part) // 2 :]]
            side[high] = 1
            is_separator = (links[low] @ side) > 0
            side[high] = 0
            separator, low = low[is_separator], low[~is_separator]
            if len(separator) < len(part) // 3:
                pending += [low, high]
                part = separator
        order[stop - len(part) : stop] = part
        stop -= len(part)
    return order


def block_order(order: np.ndarray, block: int) -> np.ndarray:
    """Order of the unknowns where each node has `block` of them."""
    return np.asarray(order[:, None] * block + np.arange(block)).ravel()


def factorised(matrix: sparse.spmatrix | sparse.sparray, order: np.ndarray) -> SuperLU:
    """L U of a symmetric matrix with its rows and columns in an order, without a pivot off the diagonal."""
    arranged = sparse.csc_matrix(matrix)[order][:, order]
    options = {"SymmetricMode": True}
    return splu(arranged.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, options=options)
