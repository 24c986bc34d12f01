"""Shortest ways through a network, in branches, from every node, and how many of them pass through each node."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(parallel=True, cache=True)
def hops_cpu(starts, neighbours, n_parts):
    """Sums over all shortest ways (Brandes, J. Math. Sociol. 25 (2001) 163, doi:10.1080/0022250X.2001.9990249).

    Parameters
    ----------
    starts : ndarray of int64, shape (n_nodes + 1,)
        Where the neighbours of each node begin.
    neighbours : ndarray of int64
    n_parts : int
        Shares of the work, each with sums of its own.

    Returns
    -------
    far : ndarray, shape (n_nodes,)
        Sum of the distances to all nodes that can be reached.
    near : ndarray, shape (n_nodes,)
        Sum of their reciprocals.
    reached : ndarray of int64, shape (n_nodes,)
        Number of nodes that can be reached.
    between : ndarray, shape (n_parts, n_nodes)
        Share of the shortest ways between any two others, both directions, that pass a node, summed over pairs.
    """
    n_nodes = len(starts) - 1
    far, near = np.zeros(n_nodes), np.zeros(n_nodes)
    reached = np.zeros(n_nodes, dtype=np.int64)
    between = np.zeros((n_parts, n_nodes))
    for part in numba.prange(n_parts):
        distance = np.empty(n_nodes, dtype=np.int64)
        ways, share = np.empty(n_nodes), np.empty(n_nodes)
        queue = np.empty(n_nodes, dtype=np.int64)
        for source in range(part, n_nodes, n_parts):
            distance[:] = -1
            ways[:] = 0.0
            share[:] = 0.0
            distance[source], ways[source] = 0, 1.0
            queue[0] = source
            head, tail = 0, 1
            while head < tail:
                node = queue[head]
                head += 1
                for i in range(starts[node], starts[node + 1]):
                    other = neighbours[i]
                    if distance[other] < 0:
                        distance[other] = distance[node] + 1
                        queue[tail] = other
                        tail += 1
                    if distance[other] == distance[node] + 1:
                        ways[other] += ways[node]
            for k in range(1, tail):
                far[source] += distance[queue[k]]
                near[source] += 1.0 / distance[queue[k]]
            reached[source] = tail - 1
            for k in range(tail - 1, 0, -1):
                node = queue[k]
                for i in range(starts[node], starts[node + 1]):
                    other = neighbours[i]
                    if distance[other] == distance[node] - 1:
                        share[other] += ways[other] / ways[node] * (1.0 + share[node])
                between[part, node] += share[node]
    return far, near, reached, between
