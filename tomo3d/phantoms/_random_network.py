"""Random networks of struts that meet at known nodes alone."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tomo3d.phantoms import _sampling
from tomo3d.phantoms._networks import NetworkPhantom, network, straight_struts
from tomo3d.phantoms._solid import Vector, length

_MAX_DEGREE = 6
_N_TRIES = 2000


def random_network(
    *,
    seed: int = 0,
    n_nodes: int = 30,
    size_nm: float = 120.0,
    radius_nm: tuple[float, float] = (2.0, 4.0),
    min_angle_deg: float = 30.0,
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """Straight struts between random nodes that are six of the largest radii or more apart.

    Struts that do not share a node keep clear of each other, and no node has two struts, which would be a bend.

    Parameters
    ----------
    seed : int
    n_nodes : int
        Nodes that are placed; those that no strut reaches are left out.
    size_nm : float
        Edge of the cube that they lie in.
    radius_nm : tuple of float
        Smallest and largest radius of a strut.
    min_angle_deg : float
        Least angle between two struts at a node.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If the nodes do not find room, or the radii are not ascending positive lengths.
    """
    low, high = (float(value) for value in radius_nm)
    if not 0 < low <= high < math.inf:
        raise ValueError(
            f"radius_nm must be two positive lengths, the smaller first, in nm, got {radius_nm}."
        )
    gap = 2.0 * float(_sampling.voxel_edges(voxel_size_nm).max())
    rng = np.random.default_rng(seed)
    nodes = _apart(rng, n_nodes, length("size_nm", size_nm), 6 * high)
    pairs = _without_bends(_clear_pairs(nodes, 2 * high + gap, math.cos(math.radians(min_angle_deg))))
    used = np.unique(pairs)
    if not len(used):
        raise ValueError(
            "no strut found room: choose a larger size_nm, or a smaller radius_nm or min_angle_deg."
        )
    rows = np.searchsorted(used, pairs)
    struts = straight_struts(nodes[used], rows.tolist(), rng.uniform(low, high, len(rows)))
    return network(nodes[used], struts, voxel_size_nm=voxel_size_nm)


def _apart(rng: np.random.Generator, n: int, size_nm: float, least_nm: float) -> np.ndarray:
    """Random positions in a cube about 0 that are `least_nm` or more apart."""
    found = np.empty((0, 3))
    for _ in range(_N_TRIES * n):
        if len(found) == n:
            return found
        place = rng.uniform(-0.5 * size_nm, 0.5 * size_nm, 3)
        if (np.linalg.norm(found - place, axis=1) >= least_nm).all():
            found = np.concatenate([found, place[None]])
    raise ValueError(
        f"{n} nodes that are {least_nm:g} nm apart must find room in {size_nm:g} nm, got {len(found)}: choose fewer, "
        "or a larger size_nm."
    )


def _clear_pairs(nodes: np.ndarray, gap_nm: float, most_cosine: float) -> list[tuple[int, int]]:
    """Pairs, the nearest first, whose straight ways keep clear of others and of nodes, at wide enough angles."""
    gaps = np.linalg.norm(nodes[:, None] - nodes[None], axis=2)
    order = sorted((float(gaps[a, b]), a, b) for a, b in itertools.combinations(range(len(nodes)), 2))
    furthest = 3.0 * float(np.median(np.sort(gaps, axis=1)[:, 1]))
    found: list[tuple[int, int]] = []
    ways: list[list[np.ndarray]] = [[] for _ in nodes]
    for gap, a, b in order:
        if gap > furthest:
            break
        way = (nodes[b] - nodes[a]) / gap
        if max(len(ways[a]), len(ways[b])) >= _MAX_DEGREE:
            continue
        if any(w @ way > most_cosine for w in ways[a]) or any(w @ -way > most_cosine for w in ways[b]):
            continue
        others = [(c, d) for c, d in found if not {a, b} & {c, d}]
        others += [(c, c) for c in range(len(nodes)) if c not in (a, b)]
        if others and _least_gap(nodes, (a, b), np.array(others)) < gap_nm:
            continue
        found.append((a, b))
        ways[a].append(way)
        ways[b].append(-way)
    return found


def _least_gap(nodes: np.ndarray, pair: tuple[int, int], others: np.ndarray) -> float:
    """Least distance of a straight way from others, found on points along it."""
    t = np.linspace(0.0, 1.0, 65)[:, None]
    points = nodes[pair[0]] + t * (nodes[pair[1]] - nodes[pair[0]])
    starts, steps = nodes[others[:, 0]], nodes[others[:, 1]] - nodes[others[:, 0]]
    to_points = points[:, None] - starts
    along = (to_points * steps).sum(axis=2) / np.maximum((steps**2).sum(axis=1), 1e-30)
    gaps = np.linalg.norm(to_points - np.clip(along, 0.0, 1.0)[..., None] * steps, axis=2)
    return float(gaps.min())


def _without_bends(pairs: list[tuple[int, int]]) -> np.ndarray:
    """The pairs without the longest ones (the last) of nodes that have two."""
    kept = list(pairs)
    while True:
        ends = [end for pair in kept for end in pair]
        bends = {end for end in ends if ends.count(end) == 2}
        if not bends:
            return np.array(kept, dtype=np.int64).reshape(-1, 2)
        node = min(bends)
        kept.remove([pair for pair in kept if node in pair][-1])
