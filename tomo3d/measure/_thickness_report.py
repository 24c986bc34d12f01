"""Thickness by several definitions, side by side, in the volume, at an interface and on surfaces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.compute.wedge import checked_tilt_range
from tomo3d.measure.bootstrap import Blocks, blocks_of, resample
from tomo3d.measure.censored import log_normal_mean
from tomo3d.measure.thickness_samples import Sample, is_sampled, samples
from tomo3d.types import Labels, Surface, Volume

_N_BINS = 2048
_QUANTILES = {"median": 0.5, "p05": 0.05, "p95": 0.95}
_STATISTICS = ("mean", "mean_above", *_QUANTILES, "share_below")
_GRID = 256  # blocks are cut from so many columns along y and x: far finer than any block


def thickness_report(
    thickness: Mapping[str, Volume] | None = None,
    *,
    labels: Labels | None = None,
    interface: int | None = None,
    surfaces: Mapping[str, Surface] | None = None,
    cutoff_nm: float = 0.0,
    tilt_range_deg: tuple[float, float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Thickness by several definitions, side by side: mean, median, quantiles, share under a cut-off, with intervals.

    Parameters
    ----------
    thickness : mapping of str to Volume, shape (n_z, n_y, n_x), optional
        Maps in nm of one structure by name, as "local" and "distance"; 0, nan and inf are left out.
    labels : Labels, optional
        Classes on the same grid, for `interface`.
    interface : int, optional
        Class, as that of the support: each map is also sampled at its voxels with a face on this class.
    surfaces : mapping of str to Surface, optional
        Surfaces with `thickness_nm` by name, as "chord" and "profile": each point counts by its area.
    cutoff_nm : float
        Resolution: values under it count as under it, whatever they are.
    tilt_range_deg : tuple of float, optional
        Least and largest tilt about y: interfaces and surfaces are also sampled where a view saw them alone, their
        normal not in the missing wedge.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`, NAME_WHERE_STATISTIC. WHERE is volume, interface or surface, the last two also
        with _sampled; STATISTIC is mean (of the log-normal distribution that is likeliest, values under the cut-off
        being known to be under it), mean_above (of those above, which papers print), median, p05, p95 (at least the
        cut-off), and share_below. n is the number of voxels, or of points.

    Raises
    ------
    ValueError
        If there is nothing to sample, a grid differs, `interface` comes without `labels` or `tilt_range_deg` without an
        interface or a surface, a sample is empty, a surface holds no thickness, `cutoff_nm` is negative, or
        `tilt_range_deg` no ascending pair from -90 to 90.

    Notes
    -----
    Normals of an interface come from its class, smoothed by a Gaussian of 2 voxels. Centres of its voxels lie up to
    half a voxel from it: values are carried on to it by the slope of the map along the normal, from one voxel farther
    away, between 0 (even maps stay as they are) and 1 (a way is longer by what the interface is farther). A film of
    2, 3 or 6 voxels on a ball of 13 so reads its thickness to 0.12 voxels by `distance_thickness`, and along a
    diagonal of the grid to half the distance of two layers of voxels; a film of a single voxel has no slope, and
    reads half a voxel too little. Intervals as in
    `thickness_summary`: block bootstrap over the specimen. `thickness_by_angle` shows what the wedge does.
    """
    if not (math.isfinite(cutoff_nm) and cutoff_nm >= 0):
        raise ValueError(f"cutoff_nm must be zero or a positive length, got {cutoff_nm:g} nm.")
    if tilt_range_deg is not None:
        checked_tilt_range(tilt_range_deg)
        if interface is None and not surfaces:
            raise ValueError("tilt_range_deg must come with an interface or with surfaces, got neither.")
    found = samples(thickness, labels, interface, surfaces)
    if tilt_range_deg is not None:
        with_sampled = {}
        for name, sample in found.items():
            with_sampled[name] = sample
            if sample.normals is not None:
                with_sampled[f"{name}_sampled"] = sample.at(is_sampled(sample, tilt_range_deg))
        found = with_sampled
    return tables.summary(
        row for name, sample in found.items() for row in _rows(name, sample, cutoff_nm, seed)
    )


def _rows(what: str, sample: Sample, cutoff_nm: float, seed: int) -> Iterator[dict[str, object]]:
    values_nm, size = sample.values_nm, sample.weights
    if values_nm.size == 0:
        raise ValueError(
            f"{what} must have at least one value: no view saw a surface with any of these normals."
        )
    blocks, block, cell_nm = _blocks(sample)
    is_below = values_nm < cutoff_nm
    bins_nm, counts = _histogram(np.maximum(values_nm, cutoff_nm), size, block, blocks)

    def per_block(weights: np.ndarray) -> np.ndarray:
        return np.bincount(block, weights=weights, minlength=blocks.n_blocks)

    logs = np.where(is_below, 0.0, np.log(np.maximum(values_nm, 1e-300)))
    above = np.where(is_below, 0.0, size)
    below, n = per_block(size - above), per_block(above)
    total, log1, log2 = (per_block(above * value) for value in (values_nm, logs, logs**2))

    def statistics(weights: np.ndarray) -> np.ndarray:
        n_below, n_above = float(weights @ below), float(weights @ n)
        if n_below + n_above == 0:
            return np.full(len(_STATISTICS), np.nan)
        cumulative = np.cumsum(weights @ counts)
        ranks = np.searchsorted(cumulative, [share * cumulative[-1] for share in _QUANTILES.values()])
        mean_above = float(weights @ total) / n_above if n_above else math.nan
        if n_below:
            mean = log_normal_mean(n_below, cutoff_nm, n_above, float(weights @ log1), float(weights @ log2))
        else:
            mean = mean_above  # nothing is missing: no distribution need be assumed
        return np.array([mean, mean_above, *bins_nm[ranks], n_below / (n_below + n_above)])

    values = statistics(np.ones(blocks.n_blocks))
    (low, high), interval = resample(statistics, blocks, (1.0, *cell_nm), seed)
    for i, name in enumerate(_STATISTICS):
        yield {
            "quantity": f"{what}_{name}",
            "value": values[i],
            "low": low[i],
            "high": high[i],
            "unit": "" if name == "share_below" else "nm",
            "n": int(values_nm.size),
            "interval": interval,
        }


def _blocks(sample: Sample) -> tuple[Blocks, np.ndarray, tuple[float, float]]:
    """Blocks at least four times as wide as the mean thickness, the block of each value, and the cells they are of."""
    mean_nm = float(np.average(sample.values_nm, weights=sample.weights))
    cell_nm = (sample.extent_nm[0] / _GRID, sample.extent_nm[1] / _GRID)
    blocks = blocks_of((1, _GRID, _GRID), (4 * mean_nm / cell_nm[0], 4 * mean_nm / cell_nm[1]))
    index = ((sample.places_nm - np.array(sample.origin_nm)) / np.array(cell_nm)).astype(np.int64)
    y, x = np.clip(index, 0, _GRID - 1).T
    return blocks, blocks.of_column[y, x], cell_nm


def _histogram(
    values: np.ndarray, size: np.ndarray, block: np.ndarray, blocks: Blocks
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each bin that is not empty, (n_bins,), and what the values in it weigh, by block and bin."""
    low, high = float(values.min()), float(values.max())
    per_unit = (_N_BINS - 1) / (high - low) if high > low else 0.0
    entry = block * _N_BINS + ((values - low) * per_unit).astype(np.int64)
    n_entries = blocks.n_blocks * _N_BINS
    counts = np.bincount(entry, weights=size, minlength=n_entries).reshape(-1, _N_BINS)
    sums = np.bincount(entry, weights=size * values, minlength=n_entries).reshape(-1, _N_BINS)
    is_filled = counts.any(axis=0)
    counts, sums = counts[:, is_filled], sums[:, is_filled]
    return sums.sum(axis=0) / counts.sum(axis=0), counts
