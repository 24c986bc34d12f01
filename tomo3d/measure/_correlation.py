"""Two-point correlation of phases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.compute.two_point import neighbour_directions, overlapping, pairs_by_lag
from tomo3d.measure.bootstrap import Blocks, blocks_of, resample
from tomo3d.measure.phase import AXES, independent_edges, phase_number, phase_voxels
from tomo3d.progress import track
from tomo3d.types import Labels

_MIN_BLOCKS = 10  # as in the bootstrap: below, blocks are not worth their time


@dataclass(frozen=True, eq=False)
class TwoPoint:
    """Two-point correlation, and what follows from it.

    Parameters
    ----------
    curve : pandas.DataFrame
        Rows of `tomo3d.tables.CORRELATION`.
    summary : pandas.DataFrame
        Rows of `tomo3d.tables.SUMMARY`.
    """

    curve: pd.DataFrame
    summary: pd.DataFrame


def two_point_correlation(
    labels: Labels,
    *,
    phase: int | str,
    other: int | str | None = None,
    max_distance_nm: float | None = None,
    seed: int = 0,
) -> TwoPoint:
    """Probability that two points a distance apart both lie in a phase, or one in each of two phases.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        Class, by number or name.
    other : int or str, optional
        Class of the second point. Default: the same.
    max_distance_nm : float, optional
        Largest distance. Default: a quarter of the middle one of the three edges of the volume.
    seed : int
        Of the resampling.

    Returns
    -------
    TwoPoint
        `curve`: radial, in shells one voxel wide, and along each axis. `summary`: volume_fraction, specific_surface
        (area of the phase per volume, 1/nm) and correlation_length (nm); only for one phase with itself.

    Raises
    ------
    ValueError
        If a phase has no voxel, no class has its name, or `max_distance_nm` is below one voxel.

    Notes
    -----
    S2(r) = number of pairs in the phases over all pairs at r within the volume: no period is assumed, and every point
    counts [1]_. Two different phases count both ways round. The specific surface is -4 S2'(0) [2]_: from the first step
    in 13 directions, weighted by the share of all directions that are nearest to each. That is right on average over
    orientations; one flat face reads 7 % less to 2 % more on cubic voxels (20 % less to 10 % more on voxels of
    4 x 1 x 1), and clefts below a voxel are not seen. The correlation length is the integral of
    (S2 - f^2) / (f - f^2) over r, f being the volume fraction, to where it first falls to 0, or to the largest
    distance.
    Intervals: blocks along y and x hold the first point of a pair.

    References
    ----------
    .. [1] Torquato, Random Heterogeneous Materials, Springer (2002), doi:10.1007/978-1-4757-6355-3
    .. [2] Debye, Anderson and Brumberger, J. Appl. Phys. 28 (1957) 679-683, doi:10.1063/1.1722830
    """
    first = phase_voxels(labels, phase)
    number = phase_number(labels, phase) if other is None else phase_number(labels, other, "other")
    is_same = other is None or number == phase_number(labels, phase)
    second = first if is_same else phase_voxels(labels, number, "other")
    voxel = labels.voxel_size_nm
    edges_nm = sorted(n * size for n, size in zip(first.shape, voxel, strict=True))
    far_nm = 0.25 * edges_nm[1] if max_distance_nm is None else float(max_distance_nm)
    far_nm = max(far_nm, min(voxel)) if max_distance_nm is None else far_nm
    if not (math.isfinite(far_nm) and far_nm >= min(voxel)):
        raise ValueError(
            f"max_distance_nm must be at least one voxel ({min(voxel):g} nm), got {far_nm:g} nm."
        )
    reach = tuple(min(n - 1, int(far_nm / size + 1e-9)) for n, size in zip(first.shape, voxel, strict=True))
    blocks = _blocks(first, (reach[1], reach[2]))
    shells = _Shells((reach[0], reach[1], reach[2]), voxel, far_nm)
    counts, n_pairs = [], []
    for part in track(_parts(blocks), "two-point correlation", blocks.n_blocks):
        found, possible = pairs_by_lag(first, second, part, shells.reach)
        counts.append(shells.sums(found))
        n_pairs.append(shells.sums(possible))
    by_block, of_block = np.array(counts), np.array(n_pairs)

    def probabilities(weights: np.ndarray) -> np.ndarray:
        pairs = weights @ of_block
        return np.divide(weights @ by_block, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)

    values = probabilities(np.ones(blocks.n_blocks))
    (low, high), _ = resample(probabilities, blocks, voxel, seed)
    curve = pd.DataFrame(
        {
            "direction": shells.directions,
            "distance_nm": shells.distances_nm,
            "probability": values,
            "low": low,
            "high": high,
            "n_pairs": of_block.sum(axis=0),
        }
    )
    curve = tables.check(curve[curve["n_pairs"] > 0].reset_index(drop=True), tables.CORRELATION)
    summary = _summary(first, voxel, curve, blocks, seed) if is_same else tables.summary([])
    return TwoPoint(curve, summary)


class _Shells:
    """Lags sorted by distance: all directions in shells one voxel wide, and each axis by itself."""

    def __init__(
        self, reach: tuple[int, int, int], voxel_size_nm: tuple[float, float, float], far_nm: float
    ) -> None:
        self.reach = reach
        steps = [size * np.arange(-r, r + 1) for r, size in zip(reach, voxel_size_nm, strict=True)]
        distance = np.sqrt(steps[0][:, None, None] ** 2 + steps[1][:, None] ** 2 + steps[2] ** 2)
        self._shell = np.rint(distance / min(voxel_size_nm)).astype(np.int64)
        self._is_near = distance <= far_nm * (1 + 1e-9)
        self._n = int(self._shell[self._is_near].max()) + 1
        self.directions = ["radial"] * self._n
        n_lags = np.bincount(self._shell[self._is_near], minlength=self._n)
        total = np.bincount(self._shell[self._is_near], weights=distance[self._is_near], minlength=self._n)
        along = [size * np.arange(r + 1) for r, size in zip(reach, voxel_size_nm, strict=True)]
        for axis, distances in enumerate(along):
            self.directions += [AXES[axis]] * len(distances)
        self.distances_nm = np.concatenate([total / np.maximum(n_lags, 1), *along])

    def sums(self, by_lag: np.ndarray) -> np.ndarray:
        """Sums over the lags of each shell, then over +lag and -lag along each axis: both ways round."""
        near = self._is_near
        parts = [np.bincount(self._shell[near], weights=by_lag[near], minlength=self._n)]
        for axis, r in enumerate(self.reach):
            line = by_lag[tuple(slice(None) if i == axis else self.reach[i] for i in range(3))]
            parts.append(0.5 * (line[r:] + line[r::-1]))
        return np.concatenate(parts)


def _blocks(inside: np.ndarray, reach: tuple[int, int]) -> Blocks:
    """Blocks that are independent and not much smaller than the distances; one if there would be too few."""
    edges = independent_edges(inside)
    blocks = blocks_of(inside.shape, (max(edges[0], reach[0]), max(edges[1], reach[1])))
    return blocks if blocks.n_blocks >= _MIN_BLOCKS else blocks_of(inside.shape, inside.shape[1:])


def _parts(blocks: Blocks) -> list[tuple[slice, slice]]:
    """Slices along y and x of each block, in order."""
    ends = [
        [-(-width * i // n) for i in range(n + 1)]
        for width, n in zip(blocks.of_column.shape, blocks.per_axis, strict=True)
    ]
    return [
        (slice(ends[0][i], ends[0][i + 1]), slice(ends[1][j], ends[1][j + 1]))
        for i in range(blocks.per_axis[0])
        for j in range(blocks.per_axis[1])
    ]


def _summary(
    inside: np.ndarray,
    voxel_size_nm: tuple[float, float, float],
    curve: pd.DataFrame,
    blocks: Blocks,
    seed: int,
) -> pd.DataFrame:
    n_blocks, flat = blocks.n_blocks, blocks.of_column
    n_inside = np.bincount(flat.ravel(), weights=inside.sum(axis=0).ravel(), minlength=n_blocks)
    sums, factors, total = [], [], 0.0
    for offset, length, weight in neighbour_directions(voxel_size_nm):
        if any(abs(d) >= n for d, n in zip(offset, inside.shape, strict=True)):
            continue
        here, there = overlapping(offset)
        differs = inside[here] != inside[there]
        of_pair = flat[here[1:]].ravel()
        n_differ = np.bincount(of_pair, weights=differs.sum(axis=0).ravel(), minlength=n_blocks)
        n_pairs = np.bincount(of_pair, minlength=n_blocks) * differs.shape[0]
        sums.append((n_differ, n_pairs))
        factors.append(2.0 * weight / length)
        total += weight
    scale = 1.0 / total if total else 0.0  # the directions that a thin volume lacks
    radial = curve[curve["direction"] == "radial"]

    def statistics(weights: np.ndarray) -> np.ndarray:
        surface = sum(
            factor * float(weights @ n_differ) / max(float(weights @ n_pairs), 1.0)
            for factor, (n_differ, n_pairs) in zip(factors, sums, strict=True)
        )
        return np.array([float(weights @ n_inside) / float(weights @ blocks.n_voxels), scale * surface])

    values = statistics(np.ones(n_blocks))
    (low, high), interval = resample(statistics, blocks, voxel_size_nm, seed)
    rows = [
        {
            "quantity": name,
            "value": values[i],
            "low": low[i],
            "high": high[i],
            "unit": unit,
            "n": n,
            "interval": interval,
        }
        for i, (name, unit, n) in enumerate(
            [("volume_fraction", "", inside.size), ("specific_surface", "1/nm", int(n_inside.sum()))]
        )
    ]
    length_nm = _correlation_length(radial, float(values[0]))
    rows.append({"quantity": "correlation_length", "value": length_nm, "unit": "nm", "n": inside.size})
    return tables.summary(rows)


def _correlation_length(radial: pd.DataFrame, fraction: float) -> float:
    """Integral of the normalised correlation to its first zero; nan where the phase is everywhere."""
    if fraction >= 1.0:
        return math.nan
    distance = radial["distance_nm"].to_numpy()
    excess = (radial["probability"].to_numpy() - fraction**2) / (fraction - fraction**2)
    below = np.flatnonzero(excess <= 0)
    if len(below):
        end = int(below[0])
        zero = distance[end - 1] + (distance[end] - distance[end - 1]) * excess[end - 1] / (
            excess[end - 1] - excess[end]
        )
        distance, excess = np.append(distance[:end], zero), np.append(excess[:end], 0.0)
    return float(np.trapezoid(excess, distance))
