"""How particles are spread over a support, against random placement of the same sizes without overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.spatial import cKDTree

from tomo3d import tables
from tomo3d.compute.distance import distance_to_background, in_threads
from tomo3d.compute.envelopes import Envelope, global_envelope
from tomo3d.compute.kernels import patterns as kernels
from tomo3d.compute.objects import measure_objects
from tomo3d.compute.surface_paths import SurfacePaths, surface_height, surface_paths
from tomo3d.types import Labels

if TYPE_CHECKING:
    import pandas as pd

_N_CLASSES = 40
_N_TRIES = 1000  # places tried for a ball before a pattern is begun anew
_N_RESTARTS = 20
_SHARE_OF_FIELD = 0.25
_SMOOTHING = 0.2  # of the root of the area per particle: Stoyan's rule
_ROOM = 1.0  # voxels by which distances between voxel centres are off
_LAYER = 0.5  # voxels: how far from its own height above the support a particle may be placed

_Distances = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


@dataclass(frozen=True, eq=False)
class Dispersion:
    """How particles are spread.

    Parameters
    ----------
    curves : pandas.DataFrame
        Columns of `tomo3d.tables.DISPERSION`: g, K and nearest-neighbour distances with global envelopes.
    summary : pandas.DataFrame
        Rows of `tomo3d.tables.SUMMARY`: p values and nearest-neighbour distances.
    """

    curves: pd.DataFrame
    summary: pd.DataFrame


def dispersion(
    particles: pd.DataFrame,
    support: Labels,
    *,
    distance: Literal["euclidean", "geodesic"] = "euclidean",
    max_distance_nm: float | None = None,
    n_simulations: int = 999,
    seed: int = 0,
) -> Dispersion:
    """Whether particles are spread at random over a support, clustered or kept apart.

    Parameters
    ----------
    particles : DataFrame
        Columns z_nm, y_nm, x_nm and diameter_nm, as `particles` gives them; n rows.
    support : Labels, shape (n_z, n_y, n_x)
        What they sit on or in: every voxel that is not 0.
    distance : "euclidean" or "geodesic"
        Between centres, straight or along the surface of the support.
    max_distance_nm : float, optional
        Largest distance looked at. Default: a quarter of the longest edge of the box that holds the particles.
    n_simulations : int
        Random placements; from 39 up. The smallest p value is 1 / (n_simulations + 1).
    seed : int
        Of the placements.

    Returns
    -------
    Dispersion

    Raises
    ------
    ValueError
        If there are fewer than two particles, one lies outside the grid, a position or diameter is not finite, the
        support is empty or fills the volume, the particles find no room on it without overlap, `max_distance_nm` is
        not positive, or there are fewer than 39 simulations.

    Notes
    -----
    Each random placement puts every particle, with its diameter, at a random place at its own height above (or depth
    in) the support, to half a voxel, one after the other in a random order, and none closer to another than their radii
    allow: so the support's shape and the border are in the null model, and need no correction. Where observed
    particles are nearer than that (parts of a split one), all radii are shortened for it by one factor, which the
    summary states.

    g(r): pairs at this distance over those of independent places on the same sites, both smoothed by an Epanechnikov
    kernel of half width 0.2 times the root of the area per particle [2]_. K(r): mean number of other
    particles within r over their number per area, the area of the support being Crofton's; without correction at the
    border, as for the random placements. nearest(r): share of particles whose nearest neighbour is within r.

    Envelopes are global [1]_ (extreme rank lengths): the curve of a random placement lies wholly inside in 95 of 100
    cases, where a band of 95 % at each distance is left by half of them. p values are those of whole curves. As ranks
    do not say how far a curve lies outside, what shows at a single distance only is told with some 2500 simulations;
    K gathers what g spreads over distances, and tells clusters from fewer particles. The three functions look at
    the same pattern: decide beforehand which one counts, or multiply p by 3.

    Geodesic distances are lengths of paths over points on the surface, within 2 % on balls, between the points nearest
    to the centres; of 4000 points, evenly at random, where the surface has more.

    References
    ----------
    .. [1] Myllymaki et al., J. R. Stat. Soc. B 79 (2017) 381-404, doi:10.1111/rssb.12172
    .. [2] Stoyan and Stoyan, Fractals, Random Shapes and Point Fields, Wiley (1994)
    """
    centres, radii = _balls(particles, support)
    if n_simulations < 39:
        raise ValueError(f"n_simulations must be at least 39 for an envelope of 95 %, got {n_simulations}.")
    if distance not in ("euclidean", "geodesic"):
        raise ValueError(f"distance must be euclidean or geodesic, got {distance!r}.")
    inside = np.asarray(support.data) != 0
    if not inside.any() or inside.all():
        found = "one that fills the volume" if inside.all() else "none"
        raise ValueError(f"the support must have a voxel and leave some background, got {found}.")
    edge_nm = float(np.ptp(centres, axis=0).max())
    reach_nm = _SHARE_OF_FIELD * edge_nm if max_distance_nm is None else max_distance_nm
    if not (math.isfinite(reach_nm) and reach_nm > 0):
        raise ValueError(f"max_distance_nm must be a positive length, got {reach_nm:g} nm.")
    sites = _Sites.of(inside, support.voxel_size_nm, centres, radii)
    paths = None
    if distance == "geodesic":
        paths = surface_paths(inside, support.voxel_size_nm, reach_nm, seed=seed)
    measured = _measured(sites, centres, reach_nm, _distances(paths, reach_nm), n_simulations, seed)
    area_nm2 = float(measure_objects(inside.astype(np.uint8), support.voxel_size_nm).area[0])
    return _result(measured, reach_nm, distance, area_nm2, sites)


def _balls(particles: pd.DataFrame, support: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Centres from the first voxel of the support, (n, 3), and radii, (n,), after the checks."""
    needed = ["z_nm", "y_nm", "x_nm", "diameter_nm"]
    missing = [name for name in needed if name not in particles.columns]
    if missing:
        raise ValueError(f"particles must have the columns {needed}, missing {missing}.")
    values = particles[needed].to_numpy(dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"there must be at least two particles for a distance, got {len(values)}.")
    if not np.isfinite(values).all() or (values[:, 3] <= 0).any():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1) | ~(values[:, 3] > 0))
        raise ValueError(
            f"positions must be finite and diameters positive, got {values[bad[0]].tolist()} in row {bad[0]}."
        )
    centres = values[:, :3] - np.array(support.origin_nm)
    voxel = np.array(support.voxel_size_nm)
    beyond = ((centres < -0.5 * voxel) | (centres > (np.array(support.data.shape) - 0.5) * voxel)).any(axis=1)
    if beyond.any():
        raise ValueError(
            f"particles must lie within the grid of the support, got {int(beyond.sum())} outside, as row "
            f"{int(np.flatnonzero(beyond)[0])}: are both of one volume?"
        )
    return centres, 0.5 * values[:, 3]


@dataclass(frozen=True, eq=False)
class _Sites:
    """Where each particle may be placed: voxels in the order of their height, and which of them."""

    voxels: np.ndarray  # (m, 3)
    voxel_nm: np.ndarray  # (3,)
    first: np.ndarray  # (n,)
    last: np.ndarray  # (n,)
    radii: np.ndarray  # (n,), as they count for overlap
    factor: float

    @staticmethod
    def of(
        inside: np.ndarray, voxel_size_nm: Sequence[float], centres: np.ndarray, radii: np.ndarray
    ) -> _Sites:
        voxel = np.array(voxel_size_nm)
        size = (float(voxel[0]), float(voxel[1]), float(voxel[2]))
        near = np.where(inside, 0.0, distance_to_background(~inside, size)).astype(np.float32)
        near -= np.where(inside, distance_to_background(inside, size), 0.0)  # to a voxel or so
        height_of = surface_height(inside, size)
        own, layer = height_of(centres), _LAYER * voxel.mean()
        room = _ROOM * voxel.max() + layer
        places = np.argwhere((near >= own.min() - room) & (near <= own.max() + room))
        heights = height_of(places * voxel)
        order = np.argsort(heights, kind="stable")
        heights = heights[order]
        first, last = (
            np.searchsorted(heights, own - layer),
            np.searchsorted(heights, own + layer, side="right"),
        )
        empty = np.flatnonzero(last <= first)
        nearest = np.clip(np.searchsorted(heights, own[empty]), 0, len(heights) - 1)
        first[empty], last[empty] = nearest, nearest + 1
        pairs = cKDTree(centres).query_pairs(2.0 * float(radii.max()), output_type="ndarray")
        apart = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
        factor = min(1.0, float((apart / radii[pairs].sum(axis=1)).min(initial=1.0)))
        return _Sites(places[order].astype(np.float64), voxel, first, last, factor * radii, factor)

    def place(self, seed: int, *, apart: bool) -> np.ndarray:
        """A random pattern, (n, 3); which may overlap, unless they are to be `apart`."""
        positions = np.empty((len(self.radii), 3))
        most = 0
        rng = np.random.default_rng(seed)
        for _ in range(_N_RESTARTS):
            n_placed = kernels.place_balls_cpu(
                self.voxels, self.voxel_nm, self.first, self.last, self.radii, _N_TRIES if apart else 0,
                rng, positions,
            )  # fmt: skip
            if n_placed == len(self.radii):
                return positions
            most = max(most, n_placed)
        raise ValueError(
            f"the particles must find room on the support without overlap, got {most} of {len(self.radii)} placed "
            f"at best in {_N_RESTARTS} attempts: is the support smaller than what it carries?"
        )


def _distances(paths: SurfacePaths | None, reach_nm: float) -> _Distances:
    """What fills the counts of pairs and the nearest distances of a pattern."""
    if paths is None:

        def euclidean(positions: np.ndarray, counts: np.ndarray, nearest: np.ndarray) -> None:
            kernels.pairs_cpu(positions, reach_nm, counts, nearest)

        return euclidean
    tree = cKDTree(paths.places)

    def geodesic(positions: np.ndarray, counts: np.ndarray, nearest: np.ndarray) -> None:
        kernels.tabulated_pairs_cpu(tree.query(positions)[1], paths.lengths, reach_nm, counts, nearest)

    return geodesic


@dataclass(frozen=True, eq=False)
class _Measured:
    """Pairs by class of distance, (s + 1, m), the observed first, of independent places, and nearest distances."""

    counts: np.ndarray
    independent: np.ndarray
    nearest: np.ndarray  # (s + 1, n)


def _measured(
    sites: _Sites, centres: np.ndarray, reach_nm: float, distances: _Distances, n_simulations: int, seed: int
) -> _Measured:
    n = len(centres)
    counts = np.zeros((n_simulations + 1, _N_CLASSES), dtype=np.int64)
    independent = np.zeros((n_simulations, _N_CLASSES), dtype=np.int64)
    nearest = np.empty((n_simulations + 1, n))
    distances(centres, counts[0], nearest[0])
    seeds = np.random.default_rng(seed).integers(1 << 31, size=(n_simulations, 2))

    def simulate(i: int) -> None:
        distances(sites.place(int(seeds[i, 0]), apart=True), counts[i + 1], nearest[i + 1])
        distances(sites.place(int(seeds[i, 1]), apart=False), independent[i], np.empty(n))

    in_threads(simulate, n_simulations, "random placements")
    return _Measured(counts, independent, nearest)


def _result(
    measured: _Measured, reach_nm: float, distance: str, area_nm2: float, sites: _Sites
) -> Dispersion:
    import pandas as pd

    n_simulations, n = len(measured.independent), measured.nearest.shape[1]
    ends = reach_nm * np.arange(1, _N_CLASSES + 1) / _N_CLASSES
    middles = ends - 0.5 * ends[0]
    kernel = _kernel(middles, math.sqrt(area_nm2 / n))
    chance = np.maximum(kernel @ measured.independent.mean(axis=0), 0.5 / n_simulations)
    n_pairs = n * (n - 1) / 2
    functions = {
        "g": (middles, measured.counts @ kernel / chance),
        "K": (ends, area_nm2 * np.cumsum(measured.counts, axis=1) / n_pairs),
        "nearest": (ends, (measured.nearest[:, :, None] <= ends).mean(axis=1)),
    }
    rows, envelopes = [], {}
    for name, (r_nm, curves) in functions.items():
        envelopes[name] = global_envelope(curves)
        rows.append(
            pd.DataFrame(
                {
                    "function": name,
                    "distance": distance,
                    "r_nm": r_nm,
                    "observed": curves[0],
                    "expected": curves[1:].mean(axis=0),
                    "low": envelopes[name].low,
                    "high": envelopes[name].high,
                }
            )
        )
    curves_table = tables.check(pd.concat(rows, ignore_index=True), tables.DISPERSION)
    return Dispersion(curves_table, _summary(envelopes, measured.nearest, distance, sites, reach_nm))


def _kernel(r_nm: np.ndarray, spacing_nm: float) -> np.ndarray:
    """Weights of classes at one distance for the value at another, (m, m), symmetric."""
    width = max(_SMOOTHING * spacing_nm, 0.9 * (r_nm[1] - r_nm[0]))
    return np.maximum(1.0 - ((r_nm[:, None] - r_nm) / width) ** 2, 0.0)


def _summary(
    envelopes: dict[str, Envelope], nearest: np.ndarray, distance: str, sites: _Sites, reach_nm: float
) -> pd.DataFrame:
    n_simulations, n = len(nearest) - 1, nearest.shape[1]
    how = f"{n_simulations} random placements of the same sizes on the support, {distance} distances"
    rows: list[dict[str, object]] = [
        {
            "quantity": f"p_{name}",
            "value": envelope.p_value,
            "unit": "",
            "n": n,
            "interval": f"none: p of the whole curve to {reach_nm:.3g} nm, {how}",
        }
        for name, envelope in envelopes.items()
    ]
    far = np.where(np.isfinite(nearest), nearest, reach_nm)  # along a surface there may be none
    means = far.mean(axis=1)
    low, high = np.quantile(means[1:], (0.025, 0.975))
    rows += [
        {
            "quantity": "nearest_mean",
            "value": means[0],
            "low": low,
            "high": high,
            "unit": "nm",
            "n": n,
            "interval": f"95 % of {how}",
        },
        {
            "quantity": "nearest_over_random",
            "value": means[0] / means[1:].mean(),
            "low": low / means[1:].mean(),
            "high": high / means[1:].mean(),
            "unit": "",
            "n": n,
            "interval": f"95 % of {how}",
        },
        {"quantity": "overlap_factor", "value": sites.factor, "unit": "", "n": n},
    ]
    return tables.summary(rows)
