"""A film with crumples of known thickness and void, some of them bridged."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomo3d import geometry
from tomo3d.phantoms._solid import length
from tomo3d.types import Labels, SpatialGraph

_KINDS = ("dome", "dimpled dome", "tubule")
_MARGIN = 3  # voxels of background around the film


@dataclass(frozen=True, eq=False)
class MembranePhantom:
    """A crumpled film as voxels, and what is known of it.

    Parameters
    ----------
    mask : Labels
        The film: its flat base, crumples and bridges.
    crumples : Labels
        Film above the base by crumple, from 1; half of a bridge belongs to each of its crumples.
    truth : SpatialGraph
        Crumples as nodes, with `kind`, `height_nm` and `void_volume_nm3` (closed forms); bridges as branches. The
        record holds the thickness of the film.
    """

    mask: Labels
    crumples: Labels
    truth: SpatialGraph


@dataclass(frozen=True)
class _Crumple:
    """A crumple: a solid over the base at z = 0 with a void in it; lengths in nm."""

    kind: str
    y: float
    x: float
    radius: float
    rise: float  # of the centre of the ball, or of the cap of a tubule, above the base
    wall: float

    @property
    def height(self) -> float:
        """Of its highest point above the base."""
        if self.kind != "dimpled dome":
            return self.rise + self.radius
        rim = (self.radius**2 - self._dimple**2 + self._gap**2) / (2 * self._gap)
        return self.rise + rim

    @property
    def _dimple(self) -> float:
        """Radius of the ball that makes the dimple."""
        return 0.6 * self.radius

    @property
    def _gap(self) -> float:
        """Height of that ball above the centre of the dome."""
        return 1.1 * self.radius

    def is_inside(self, z: np.ndarray, y: np.ndarray, x: np.ndarray, below: float) -> np.ndarray:
        """Whether positions lie in the solid, `below` its surface."""
        across = np.hypot(y - self.y, x - self.x)
        if self.kind == "tubule":
            return np.hypot(across, np.maximum(z - self.rise, 0.0)) < self.radius - below
        inside = np.hypot(across, z - self.rise) < self.radius - below
        if self.kind == "dimpled dome":
            inside &= np.hypot(across, z - self.rise - self._gap) > self._dimple + below
        return inside

    @property
    def void_volume(self) -> float:
        """Volume of the void above the base."""
        inner = self.radius - self.wall
        if self.kind == "tubule":
            return math.pi * inner**2 * self.rise + 2 / 3 * math.pi * inner**3
        cut = inner - self.rise  # height of the cap of the ball that the base cuts off
        volume = 4 / 3 * math.pi * inner**3 - math.pi * cut**2 * (3 * inner - cut) / 3
        if self.kind == "dimpled dome":
            other, gap = self._dimple + self.wall, self._gap
            lens = (inner + other - gap) ** 2 * (
                gap**2 + 2 * gap * (inner + other) - 3 * (inner - other) ** 2
            )
            volume -= math.pi * lens / (12 * gap) if inner + other > gap else 0.0
        return volume


def crumpled_membrane(
    *,
    seed: int = 0,
    n_along: int = 3,
    cell_nm: float = 40.0,
    film_thickness_nm: float = 4.0,
    bridged: float = 0.5,
    voxel_size_nm: float = 1.0,
) -> MembranePhantom:
    """A flat film with domes, dimpled domes and tubules, each around a closed void, some joined by bridges.

    Parameters
    ----------
    seed : int
    n_along : int
        Crumples along y and along x, one in each square cell.
    cell_nm : float
        Edge of a cell.
    film_thickness_nm : float
        Of the base, of all walls, and the radius of bridges.
    bridged : float
        Share, 0 to 1, of the pairs of neighbours that are bridged.
    voxel_size_nm : float

    Returns
    -------
    MembranePhantom
        The front is up, z; the base ends at z = 0 nm, where the field of the crumples begins.

    Raises
    ------
    ValueError
        If a length or number is not positive, the share is none, or the film is too thick for a void in each crumple.
    """
    if n_along < 1:
        raise ValueError(f"n_along must be 1 or more, got {n_along}.")
    if not 0 <= bridged <= 1:
        raise ValueError(f"bridged must be a share, 0 to 1, got {bridged:g}.")
    wall = length("film_thickness_nm", film_thickness_nm)
    edge = length("voxel_size_nm", voxel_size_nm)
    if wall > 0.1 * length("cell_nm", cell_nm):
        raise ValueError(
            f"film_thickness_nm must be at most a tenth of cell_nm ({cell_nm:g} nm), got {wall:g} nm: no crumple "
            "would have a void."
        )
    rng = np.random.default_rng(seed)
    crumples = _placed(rng, n_along, cell_nm, wall)
    bridges = _bridges(rng, n_along, bridged)
    top = max(crumple.height for crumple in crumples)
    n_across = round(n_along * cell_nm / edge)
    n_below = math.ceil(wall / edge)
    z = (np.arange(-n_below - _MARGIN, math.ceil(top / edge) + _MARGIN) + 0.5) * edge
    y = x = geometry.coordinates(n_across) * edge
    film, owner = _painted(crumples, bridges, wall, z[:, None, None], y[None, :, None], x[None, None, :])
    grid = ((edge, edge, edge), (float(z[0]), float(y[0]), float(x[0])))
    names = {i: f"{crumple.kind} {i}" for i, crumple in enumerate(crumples, start=1)}
    return MembranePhantom(
        Labels(film, *grid),
        Labels(owner, *grid, names={0: "background", **names}),
        _truth(crumples, bridges, wall),
    )


def _placed(rng: np.random.Generator, n_along: int, cell: float, wall: float) -> list[_Crumple]:
    """One crumple in each cell, wholly within it, kinds by turns."""
    found = []
    for i, (row, column) in enumerate(itertools.product(range(n_along), repeat=2)):
        kind = _KINDS[(row + column) % 3 if n_along > 1 else i % 3]
        radius = rng.uniform(0.30, 0.34) * cell if kind != "tubule" else rng.uniform(0.2, 0.24) * cell
        room = 0.5 * cell - radius - 0.05 * cell
        y, x = ((place - 0.5 * (n_along - 1)) * cell + rng.uniform(-room, room) for place in (row, column))
        rise = rng.uniform(0.2, 0.4) * radius if kind != "tubule" else rng.uniform(0.4, 0.7) * cell
        found.append(_Crumple(kind, y, x, radius, rise, wall))
    return found


def _bridges(rng: np.random.Generator, n_along: int, share: float) -> list[tuple[int, int]]:
    """Pairs of crumples in cells side by side, a share of them, drawn without replacement."""
    pairs = []
    for row, column in itertools.product(range(n_along), repeat=2):
        here = row * n_along + column
        pairs += [(here, here + 1)] if column + 1 < n_along else []
        pairs += [(here, here + n_along)] if row + 1 < n_along else []
    drawn = rng.permutation(len(pairs))[: round(share * len(pairs))]
    return [pairs[i] for i in sorted(drawn.tolist())]


def _axis(crumples: list[_Crumple], pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the axis of a bridge: within the crumples, at a height where both have their walls."""
    a, b = (crumples[i] for i in pair)
    height = 0.4 * min(a.rise + a.radius, b.rise + b.radius)
    return np.array([height, a.y, a.x]), np.array([height, b.y, b.x])


def _painted(
    crumples: list[_Crumple],
    bridges: list[tuple[int, int]],
    wall: float,
    z: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The film, bool, and the crumple that each voxel above the base belongs to."""
    shape = np.broadcast_shapes(z.shape, y.shape, x.shape)
    owner = np.zeros(shape, dtype=np.uint16)
    void = np.zeros(shape, dtype=bool)
    above = np.broadcast_to(z > 0, shape)
    for i, crumple in enumerate(crumples, start=1):
        owner[crumple.is_inside(z, y, x, 0.0) & above] = i
        void |= crumple.is_inside(z, y, x, crumple.wall) & above
    for pair in bridges:
        start, end = _axis(crumples, pair)
        way = end - start
        along = ((z - start[0]) * way[0] + (y - start[1]) * way[1] + (x - start[2]) * way[2]) / (way @ way)
        near = np.clip(along, 0.0, 1.0)
        square = (z - start[0] - near * way[0]) ** 2
        square = square + (y - start[1] - near * way[1]) ** 2 + (x - start[2] - near * way[2]) ** 2
        bridge = (square < wall**2) & (owner == 0) & above
        middle = _middle(crumples, pair, start, end)
        owner[bridge & (along < middle)] = pair[0] + 1
        owner[bridge & (along >= middle)] = pair[1] + 1
    owner[void] = 0
    base = np.broadcast_to((z <= 0) & (z > -wall), shape)
    return (owner > 0) | base, owner


def _middle(crumples: list[_Crumple], pair: tuple[int, int], start: np.ndarray, end: np.ndarray) -> float:
    """Share of the axis of a bridge at the middle between the walls of its crumples."""
    t = np.linspace(0.0, 1.0, 513)
    z, y, x = start[:, None] + t * (end - start)[:, None]
    leaves = t[crumples[pair[0]].is_inside(z, y, x, 0.0)].max()
    enters = t[crumples[pair[1]].is_inside(z, y, x, 0.0)].min()
    return float(0.5 * (leaves + enters))


def _truth(crumples: list[_Crumple], bridges: list[tuple[int, int]], wall: float) -> SpatialGraph:
    ends = np.array(bridges, dtype=np.int64).reshape(-1, 2)
    nodes = pd.DataFrame(
        {
            "node": np.arange(1, len(crumples) + 1),
            "z_nm": [0.5 * crumple.height for crumple in crumples],
            "y_nm": [crumple.y for crumple in crumples],
            "x_nm": [crumple.x for crumple in crumples],
            "degree": np.bincount(ends.ravel(), minlength=len(crumples)),
            "kind": [crumple.kind for crumple in crumples],
            "height_nm": [crumple.height for crumple in crumples],
            "void_volume_nm3": [crumple.void_volume for crumple in crumples],
        }
    )
    lines = [np.array(_axis(crumples, pair)) for pair in bridges]
    branches = pd.DataFrame(
        {"branch": np.arange(len(bridges)), "node_a": ends[:, 0] + 1, "node_b": ends[:, 1] + 1}
    )
    branches["length_nm"] = np.array([np.linalg.norm(line[1] - line[0]) for line in lines], dtype=np.float64)
    return SpatialGraph(nodes, branches, lines, record={"film_thickness_nm": wall})
