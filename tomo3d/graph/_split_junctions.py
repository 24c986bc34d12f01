"""Junctions that thinning took apart: struts that leave a node side by side part later than they should.

Two struts of radius r at an angle t run as one for r / sin(t / 2): at 30 deg nearly four radii. The skeleton has a
junction where they part, which is no node: their lines, followed back, meet where the others do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomo3d.graph._lines import meeting_point, path_lengths
from tomo3d.graph._network import Network

_REACH = 6.0  # radii of the larger junction: longer chains are struts
_TOLERANCE = 0.6  # radii of a strut: how near its line must pass to where all lines meet
_CONTEXT = 4.0  # radii of a strut: the part of it, beyond the junction, that says where it comes from
_CONTEXT_VOXELS = 8.0  # and so many voxels of it, whose steps blur the direction
_OPEN = 1.5  # radii of a strut that must lie in the open to say so
_LEAST = 4  # points

Ray = tuple[np.ndarray, np.ndarray, float]


def join_split_junctions(
    network: Network,
    radius_at: Callable[[np.ndarray], np.ndarray],
    within: Callable[[np.ndarray], np.ndarray],
    voxel: float,
    merge_radii: float,
) -> int:
    """Make one node of junctions whose lines all meet in one point; how many were joined.

    `radius_at` tells the radius of the structure at points (n, 3). Junctions that come nearer to each other than
    `merge_radii` as others move are one, too. `within` puts points beyond the border of the volume onto it: lines that
    meet beyond it, where the border cuts a network, are not joined. `voxel` is the shortest edge.
    """
    n_joined = 0
    waiting = set(network.chains)
    known: dict[tuple[int, int], Ray | None] = {}
    while waiting:
        ranked = sorted((network.closeness(chain), chain) for chain in waiting if chain in network.chains)
        waiting = set()
        for _, chain in ranked:
            if chain not in network.chains or network.closeness(chain) >= _REACH:
                continue
            meeting = _common_point(network, chain, voxel, radius_at, known)
            if meeting is not None and not np.array_equal(within(meeting), meeting):
                meeting = None
            if meeting is None and network.closeness(chain) >= merge_radii:
                continue
            if not network.is_compact(chain, merge_radii if meeting is None else _REACH, meeting):
                continue
            c = network.chains[chain]
            known = {key: ray for key, ray in known.items() if key[1] not in (c.a, c.b)}
            node = network.contract(chain, _REACH if meeting is not None else merge_radii)
            if meeting is not None:
                network.nodes[node].position = meeting
                network.close_loops(node, _REACH)
                for other in network.at(node):
                    network.trim(other, node, _REACH * network.nodes[node].radius)
            n_joined += 1
            waiting |= {
                far for other in network.at(node) for end in network.ends(other) for far in network.at(end)
            }
    return n_joined


def _common_point(
    network: Network,
    chain: int,
    voxel: float,
    radius_at: Callable[[np.ndarray], np.ndarray],
    known: dict[tuple[int, int], Ray | None],
) -> np.ndarray | None:
    """Where the lines at both ends of a chain meet, if all do; the chain itself and short ones do not count."""
    ends = network.ends(chain)
    rays = []
    for node in ends:
        for other in network.at(node):
            if other == chain or len(set(network.ends(other))) == 1:
                continue
            if set(network.ends(other)) == set(ends) and network.closeness(other) < _REACH:
                continue  # the gap between struts that touch again further out
            if (other, node) not in known:
                known[other, node] = _ray(network, other, node, voxel, radius_at)
            ray = known[other, node]
            if ray is not None:
                rays.append(ray)
    if len(rays) < 2:
        return None
    positions = [network.nodes[node].position for node in ends]
    meeting = meeting_point(
        [(point, direction) for point, direction, _ in rays], np.mean(positions, axis=0), 1e-2
    )
    for point, direction, radius in rays:
        gap = meeting - point
        if np.linalg.norm(gap - (gap @ direction) * direction) > _TOLERANCE * radius + 0.5 * voxel:
            return None
    reach = _REACH * max(network.nodes[node].radius for node in ends)
    return meeting if all(np.linalg.norm(meeting - position) < reach for position in positions) else None


def _ray(
    network: Network, chain: int, node: int, voxel: float, radius_at: Callable[[np.ndarray], np.ndarray]
) -> Ray | None:
    """A point of a chain beyond a junction, its direction there, and its radius; None of a chain too short to tell."""
    path = network.path(chain)
    path = path if network.chains[chain].a == node else path[::-1]
    other = network.nodes[network.other_end(chain, node)].radius
    along = path_lengths(path)
    is_open = (along >= network.nodes[node].radius) & (along <= along[-1] - 0.5 * other)
    beyond = path[is_open]
    if len(beyond) < _LEAST:
        return None
    radius = float(np.median(radius_at(beyond)))
    ways = path_lengths(beyond)
    if ways[-1] < _OPEN * radius:
        return None
    near = beyond[ways <= _CONTEXT * radius + _CONTEXT_VOXELS * voxel]
    near = near if len(near) >= _LEAST else beyond[:_LEAST]
    middle = near.mean(axis=0)
    return middle, np.linalg.svd(near - middle)[2][0], radius
