"""Networks of struts whose nodes, branches, lengths and widths are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomo3d import geometry, tables
from tomo3d.phantoms import _sampling
from tomo3d.phantoms._round_solids import rotation_zyx
from tomo3d.phantoms._solid import Vector, length, vector
from tomo3d.progress import track
from tomo3d.types import Labels, SpatialGraph

_MARGIN = 3  # voxels of background around a network
_SEGMENT = 0.5  # voxels: pieces of a curve that is painted straight
_MAX_DEGREE = 6
_N_TRIES = 2000


@dataclass(frozen=True, eq=False)
class NetworkPhantom:
    """A network as voxels, and what is known of it.

    Parameters
    ----------
    mask : Labels
        Voxels whose centres are within a radius of a centre line.
    truth : SpatialGraph
        Nodes, branches and centre lines; columns as those of a measured network. The volume of a branch is that
        of a straight tube of its length.
    """

    mask: Labels
    truth: SpatialGraph


@dataclass(frozen=True)
class Strut:
    """A tube with round caps: `line_nm` (n_points, 3) from node `a` to node `b`."""

    a: int
    b: int
    line_nm: np.ndarray
    radius_nm: float


def straight_struts(
    nodes_nm: np.ndarray, pairs: Iterable[Sequence[int]], radii_nm: Iterable[float]
) -> list[Strut]:
    """Straight struts between pairs of nodes (n, 3)."""
    return [
        Strut(int(a), int(b), nodes_nm[[a, b]], float(radius))
        for (a, b), radius in zip(pairs, radii_nm, strict=True)
    ]


def network(
    nodes_nm: np.ndarray, struts: Sequence[Strut], *, voxel_size_nm: float | Vector = 1.0
) -> NetworkPhantom:
    """Struts as voxels, on a grid centred at (0, 0, 0) nm that holds them all with a rim of background.

    Parameters
    ----------
    nodes_nm : ndarray, shape (n_nodes, 3)
        Positions (z, y, x).
    struts : sequence of Strut
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If there is no strut, or a radius is not positive.
    """
    if not struts:
        raise ValueError("a network must have at least one strut, got none.")
    z, y, x = _sampling.voxel_edges(voxel_size_nm)
    edges = np.array([z, y, x])
    reach = np.array([np.abs(s.line_nm).max(axis=0) + length("radius_nm", s.radius_nm) for s in struts]).max(
        axis=0
    )
    n_z, n_y, n_x = (2 * (np.ceil(reach / edges).astype(int) + _MARGIN) + 1).tolist()
    inside = np.zeros((n_z, n_y, n_x), dtype=bool)
    for strut in track(struts, "paint the struts", len(struts)):
        paint_strut(inside, strut.line_nm, strut.radius_nm, edges)
    origin = geometry.centred_origin_nm(inside.shape, (z, y, x))
    return NetworkPhantom(Labels(inside, (z, y, x), origin), _truth(nodes_nm, struts))


def paint_strut(
    inside: np.ndarray, line_nm: np.ndarray, radius_nm: float, voxel_size_nm: float | np.ndarray = 1.0
) -> None:
    """Set the voxels whose centres lie within a radius of a line, on a grid (n_z, n_y, n_x) centred at (0, 0, 0) nm.

    Parameters
    ----------
    inside : ndarray of bool
        Written to.
    line_nm : ndarray, shape (n_points, 3)
        (z, y, x).
    radius_nm : float
    voxel_size_nm : float or ndarray, shape (3,)
    """
    edges = np.broadcast_to(np.asarray(voxel_size_nm, dtype=np.float64), (3,))
    centre = np.array([geometry.centre(n) for n in inside.shape])
    for start, end in itertools.pairwise(line_nm):
        low = np.maximum(np.floor((np.minimum(start, end) - radius_nm) / edges + centre).astype(int), 0)
        high = np.ceil((np.maximum(start, end) + radius_nm) / edges + centre).astype(int) + 1
        part = tuple(slice(a, min(b, n)) for a, b, n in zip(low, high, inside.shape, strict=True))
        axes = [
            (np.arange(span.start, span.stop) - c) * edge - s
            for span, c, edge, s in zip(part, centre, edges, start, strict=True)
        ]
        z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
        way = end - start
        along = (way[0] * z + way[1] * y + way[2] * x) / max(float(way @ way), 1e-30)
        np.clip(along, 0.0, 1.0, out=along)
        square = (z - along * way[0]) ** 2 + (y - along * way[1]) ** 2 + (x - along * way[2]) ** 2
        inside[part] |= square <= radius_nm**2


def _truth(nodes_nm: np.ndarray, struts: Sequence[Strut]) -> SpatialGraph:
    degree = np.bincount([end for s in struts for end in (s.a, s.b)], minlength=len(nodes_nm))
    largest = np.zeros(len(nodes_nm))
    for strut in struts:
        for end in (strut.a, strut.b):
            largest[end] = max(largest[end], strut.radius_nm)
    nodes = pd.DataFrame({"node": np.arange(len(nodes_nm))})
    for axis, name in enumerate(("z_nm", "y_nm", "x_nm")):
        nodes[name] = np.asarray(nodes_nm, dtype=np.float64)[:, axis]
    nodes["degree"], nodes["radius_nm"], nodes["touches_border"] = degree, largest, False
    branches = pd.DataFrame(
        [_branch(i, strut) for i, strut in enumerate(struts)], columns=tables.names(tables.GRAPH_BRANCHES)
    )
    return SpatialGraph(
        tables.check(nodes, tables.GRAPH_NODES),
        tables.check(branches, tables.GRAPH_BRANCHES),
        [strut.line_nm for strut in struts],
        widths_nm=[np.full(len(strut.line_nm), 2 * strut.radius_nm) for strut in struts],
    )


def _branch(number: int, strut: Strut) -> dict[str, object]:
    steps = np.diff(strut.line_nm, axis=0)
    sizes = np.linalg.norm(steps, axis=1)
    total = float(sizes.sum())
    chord = 0.0 if strut.a == strut.b else float(np.linalg.norm(strut.line_nm[-1] - strut.line_nm[0]))
    units = steps / sizes[:, None]
    turns = np.arccos(np.clip((units[1:] * units[:-1]).sum(axis=1), -1.0, 1.0))
    return {
        "branch": number,
        "node_a": strut.a,
        "node_b": strut.b,
        "length_nm": total,
        "chord_nm": chord,
        "tortuosity": total / chord if chord else math.nan,
        "mean_width_nm": 2 * strut.radius_nm,
        "minimum_width_nm": 2 * strut.radius_nm,
        "volume_nm3": math.pi * strut.radius_nm**2 * total,
        "curvature_per_nm": float(turns.sum()) / total,
        "touches_border": False,
    }


def capsule(
    *,
    length_nm: float = 30.0,
    radius_nm: float = 3.0,
    direction: Vector = (0.0, 0.0, 1.0),
    centre_nm: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A straight strut with round caps.

    Parameters
    ----------
    length_nm : float
        From the centre of one cap to that of the other.
    radius_nm : float
    direction : tuple of float
        (z, y, x), of any length.
    centre_nm : tuple of float
        (z, y, x) of the middle.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom
        Two nodes, one branch.

    Raises
    ------
    ValueError
        If a length is not positive, or the direction is none.
    """
    way = np.array(vector("direction", direction))
    if not way.any():
        raise ValueError("direction must be (z, y, x) other than (0, 0, 0).")
    half = 0.5 * length("length_nm", length_nm) * way / np.linalg.norm(way)
    ends = np.array([centre_nm - half, centre_nm + half])
    return network(ends, straight_struts(ends, [(0, 1)], [radius_nm]), voxel_size_nm=voxel_size_nm)


def helix(
    *,
    helix_radius_nm: float = 16.0,
    pitch_nm: float = 20.0,
    n_turns: float = 2.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A strut along a helix about z.

    Parameters
    ----------
    helix_radius_nm, pitch_nm : float
        Of the centre line: its distance from the axis, and its rise in one turn.
    n_turns : float
    radius_nm : float
        Of the strut.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom
        Two nodes, one branch.

    Raises
    ------
    ValueError
        If a length or the number of turns is not positive.
    """
    step = _SEGMENT * float(_sampling.voxel_edges(voxel_size_nm).min())
    turn = math.hypot(2 * math.pi * length("helix_radius_nm", helix_radius_nm), length("pitch_nm", pitch_nm))
    if not (math.isfinite(n_turns) and n_turns > 0):
        raise ValueError(f"n_turns must be a positive number, got {n_turns:g}.")
    t = np.linspace(-0.5 * n_turns, 0.5 * n_turns, math.ceil(n_turns * turn / step) + 1)
    angle = 2 * math.pi * t
    line = np.stack([pitch_nm * t, helix_radius_nm * np.sin(angle), helix_radius_nm * np.cos(angle)], axis=1)
    line = line @ rotation_zyx(vector("rotation_deg", rotation_deg)).T
    return network(line[[0, -1]], [Strut(0, 1, line, radius_nm)], voxel_size_nm=voxel_size_nm)


def ring(
    *,
    ring_radius_nm: float = 16.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A closed strut around z.

    Parameters
    ----------
    ring_radius_nm : float
        Of the centre line.
    radius_nm : float
        Of the strut, less than that of the ring.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom
        One branch, from its only node to the same.

    Raises
    ------
    ValueError
        If a length is not positive, or the strut leaves no hole.
    """
    if not length("radius_nm", radius_nm) < length("ring_radius_nm", ring_radius_nm):
        raise ValueError(
            f"radius_nm must be less than ring_radius_nm ({ring_radius_nm:g} nm), got {radius_nm:g} nm."
        )
    step = _SEGMENT * float(_sampling.voxel_edges(voxel_size_nm).min())
    angle = np.linspace(0.0, 2 * math.pi, math.ceil(2 * math.pi * ring_radius_nm / step) + 1)
    line = ring_radius_nm * np.stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)], axis=1)
    line = line @ rotation_zyx(vector("rotation_deg", rotation_deg)).T
    return network(line[:1], [Strut(0, 0, line, radius_nm)], voxel_size_nm=voxel_size_nm)


def cubic_network(
    *,
    n_nodes: int = 3,
    spacing_nm: float = 24.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A simple cubic lattice of struts; 3 nodes along each edge make 27 nodes and 54 branches.

    Parameters
    ----------
    n_nodes : int
        Along each edge, 2 or more.
    spacing_nm : float
        From node to node.
    radius_nm : float
        Of the struts.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If there are fewer than 2 nodes along an edge, or a length is not positive.
    """
    if n_nodes < 2:
        raise ValueError(f"n_nodes must be 2 or more along each edge, got {n_nodes}.")
    places = np.array(list(itertools.product(range(n_nodes), repeat=3)))
    return _lattice(places, 1.0, length("spacing_nm", spacing_nm), radius_nm, rotation_deg, voxel_size_nm)


def diamond_network(
    *,
    n_cells: int = 1,
    strut_nm: float = 24.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A diamond lattice of struts: four meet at each inner node.

    Parameters
    ----------
    n_cells : int
        Cubic cells along each edge. Nodes at its outside with two struts are left out, with their struts: they would
        be no junctions.
    strut_nm : float
        Length of a strut, node to node.
    radius_nm : float
        Of the struts.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If there is no cell, or a length is not positive.
    """
    if n_cells < 1:
        raise ValueError(f"n_cells must be 1 or more, got {n_cells}.")
    corners = ((0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0))
    cells = itertools.product(range(n_cells + 1), repeat=3)
    sites = {
        tuple(4 * c + o + shift for c, o in zip(cell, corner, strict=True))
        for cell in cells
        for corner in corners
        for shift in (0, 1)
    }
    places = np.array(sorted(site for site in sites if max(site) <= 4 * n_cells))
    unit = length("strut_nm", strut_nm) / math.sqrt(3.0)
    return _lattice(places, math.sqrt(3.0), unit, radius_nm, rotation_deg, voxel_size_nm)


def _lattice(
    places: np.ndarray,
    strut: float,
    unit_nm: float,
    radius_nm: float,
    rotation_deg: Vector,
    voxel_size_nm: float | Vector,
) -> NetworkPhantom:
    """Struts between all places that are `strut` units apart; places of degree 0 and 2 are left out."""
    while True:
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        pairs = np.argwhere(np.triu(np.abs(gaps - strut) < 1e-6))
        degree = np.bincount(pairs.ravel(), minlength=len(places))
        kept = (degree != 0) & (degree != 2)
        if kept.all():
            break
        places = places[kept]
    turn = rotation_zyx(vector("rotation_deg", rotation_deg))
    nodes = (places - 0.5 * (places.min(axis=0) + places.max(axis=0))) * unit_nm @ turn.T
    struts = straight_struts(nodes, pairs.tolist(), itertools.repeat(radius_nm, len(pairs)))
    return network(nodes, struts, voxel_size_nm=voxel_size_nm)


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
