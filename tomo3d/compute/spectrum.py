"""Numbers of the Laplacian of a network."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import eigsh

from tomo3d.compute.dissection import factorised, nested_dissection
from tomo3d.progress import report

_DENSE = 1500  # nodes: up to here all eigenvalues are computed
_BATCH = 256  # right sides at a time


def algebraic_connectivity(adjacency: sparse.csr_array) -> float:
    """Second smallest eigenvalue of the Laplacian of a connected network of two nodes or more."""
    n_nodes = adjacency.shape[0]
    laplacian = sparse.csgraph.laplacian(adjacency)
    if n_nodes <= _DENSE:
        return float(linalg.eigvalsh(laplacian.toarray(), subset_by_index=(1, 1))[0])
    # Shift and invert just below zero: the two smallest are the two largest of the inverse.
    start = np.random.default_rng(0).standard_normal(n_nodes)
    smallest = eigsh(laplacian.tocsc(), k=2, sigma=-1e-4, v0=start, return_eigenvectors=False)
    return float(np.sort(smallest)[1])


def kirchhoff_index(adjacency: sparse.csr_array, positions: np.ndarray) -> float:
    """Sum over all pairs of nodes of the resistance between them, of a connected network with branches of 1.

    Notes
    -----
    Klein and Randic, J. Math. Chem. 12 (1993) 81, doi:10.1007/BF01164627: the number of nodes times the trace of the
    pseudoinverse of the Laplacian. With G the inverse of the Laplacian without one node that trace is tr(G) - 1'G1 / n.
    """
    n_nodes = adjacency.shape[0]
    if n_nodes < 2:
        return 0.0
    laplacian = sparse.csgraph.laplacian(adjacency).tocsc()
    if n_nodes <= _DENSE:
        eigenvalues = linalg.eigvalsh(laplacian.toarray())[1:]
        return float(n_nodes * (1 / eigenvalues).sum())
    coordinates = sparse.triu(adjacency).tocoo()
    ends = np.stack([coordinates.row, coordinates.col], axis=1)
    order = nested_dissection(positions, ends)[:-1]
    grounded = factorised(laplacian, order)
    n_grounded = n_nodes - 1
    trace = 0.0
    for start in range(0, n_grounded, _BATCH):
        report("resistances of the network", start, n_grounded)
        stop = min(start + _BATCH, n_grounded)
        unit = np.zeros((n_grounded, stop - start))
        unit[np.arange(start, stop), np.arange(stop - start)] = 1.0
        trace += float(np.trace(grounded.solve(unit)[start:stop]))
    report("resistances of the network", n_grounded, n_grounded)
    whole = float(grounded.solve(np.ones(n_grounded)).sum())
    return float(n_nodes * (trace - whole / n_nodes))
