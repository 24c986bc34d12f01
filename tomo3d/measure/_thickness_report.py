"""Thickness by several definitions, side by side, in the volume and at an interface."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import ndimage

from tomo3d import tables
from tomo3d.measure.bootstrap import Blocks, blocks_of, resample
from tomo3d.measure.censored import log_normal_mean
from tomo3d.types import Labels, Volume

_N_BINS = 2048
_QUANTILES = {"median": 0.5, "p05": 0.05, "p95": 0.95}
_STATISTICS = ("mean", "mean_above", *_QUANTILES, "share_below")
_NORMAL_SIGMA = 2.0  # voxels: the normal is that of the surface, not of its steps


def thickness_report(
    thickness: Mapping[str, Volume],
    *,
    labels: Labels | None = None,
    interface: int | None = None,
    cutoff_nm: float = 0.0,
    max_tilt_deg: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Thickness maps side by side: mean, median, quantiles and the share under a cut-off, with intervals.

    Parameters
    ----------
    thickness : mapping of str to Volume, shape (n_z, n_y, n_x)
        Maps in nm of one structure by name, as "local" and "distance"; 0, nan and inf are left out.
    labels : Labels, optional
        Classes on the same grid, for `interface`.
    interface : int, optional
        Class, as that of the support: each map is also sampled at its voxels with a face on this class.
    cutoff_nm : float
        Resolution: values under it count as under it, whatever they are.
    max_tilt_deg : float, optional
        Largest tilt about y: the interface is also sampled where its normal was, without `normal_in_wedge`.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`, NAME_WHERE_STATISTIC. WHERE is volume, interface or interface_sampled;
        STATISTIC is mean (of the log-normal distribution that is likeliest, values under the cut-off being known to be
        under it), mean_above (of those above, which papers print), median, p05, p95 (at least the cut-off), and
        share_below. n is the number of voxels.

    Raises
    ------
    ValueError
        If there is no map, a grid differs, `interface` comes without `labels` or `max_tilt_deg` without both, a
        sample is empty, `cutoff_nm` is negative, or `max_tilt_deg` not between 0 and 90.

    Notes
    -----
    A normal lies in the missing wedge if |n_z| > tan(max_tilt) |n_x|: such a surface was seen by no view. Normals come
    from the class of the interface, smoothed by a Gaussian of 2 voxels. Intervals as in `thickness_summary`.
    """
    if not thickness:
        raise ValueError("thickness must hold at least one map, got none.")
    if not (math.isfinite(cutoff_nm) and cutoff_nm >= 0):
        raise ValueError(f"cutoff_nm must be zero or a positive length, got {cutoff_nm:g} nm.")
    if interface is not None and labels is None:
        raise ValueError(f"labels must be given with interface, got class {interface} without them.")
    if max_tilt_deg is not None and not (interface is not None and 0 < max_tilt_deg < 90):
        raise ValueError(
            f"max_tilt_deg must lie between 0 and 90 deg and come with interface, got {max_tilt_deg:g} deg."
        )
    grids = {tuple(volume.data.shape) for volume in thickness.values()}
    if labels is not None:
        grids.add(tuple(labels.data.shape))
    if len(grids) > 1:
        raise ValueError(f"thickness and labels must be on one grid, got {sorted(grids)}.")
    samples = _places(labels, interface, max_tilt_deg)
    return tables.summary(
        row
        for name, volume in thickness.items()
        for where, place in samples.items()
        for row in _rows(f"{name}_{where}", volume, place, cutoff_nm, seed)
    )


def _places(
    labels: Labels | None, interface: int | None, max_tilt_deg: float | None
) -> dict[str, np.ndarray | None]:
    """Where to sample, by name: flags of voxels, or None for all."""
    places: dict[str, np.ndarray | None] = {"volume": None}
    if labels is None or interface is None:
        return places
    body = np.asarray(labels.data) == interface
    places["interface"] = ndimage.binary_dilation(body) & ~body
    if max_tilt_deg is not None:
        smooth = ndimage.gaussian_filter(body.astype(np.float32), _NORMAL_SIGMA, mode="nearest")
        n_z, n_x = (np.abs(np.gradient(smooth, edge, axis=axis)) if smooth.shape[axis] > 1 else 0.0 * smooth
                    for axis, edge in ((0, labels.voxel_size_nm[0]), (2, labels.voxel_size_nm[2])))  # fmt: skip
        in_wedge = n_z > math.tan(math.radians(max_tilt_deg)) * n_x
        places["interface_sampled"] = places["interface"] & ~in_wedge
    return places


def _rows(
    what: str, volume: Volume, place: np.ndarray | None, cutoff_nm: float, seed: int
) -> Iterator[dict[str, object]]:
    data = np.asarray(volume.data, dtype=np.float64)
    is_sample = np.isfinite(data) & (data > 0)
    if place is not None:
        is_sample &= place
    values_nm = data[is_sample]
    if values_nm.size == 0:
        raise ValueError(f"{what} must have at least one voxel with a positive thickness, got none.")
    _, size_y, size_x = volume.voxel_size_nm
    edge_nm = 4 * float(values_nm.mean())
    blocks = blocks_of(data.shape, (edge_nm / size_y, edge_nm / size_x))
    block = np.broadcast_to(blocks.of_column, data.shape)[is_sample]
    is_below = values_nm < cutoff_nm
    above, block_above = values_nm[~is_below], block[~is_below]
    bins_nm, counts = _histogram(np.maximum(values_nm, cutoff_nm), block, blocks)

    def per_block(weights: np.ndarray | None, of: np.ndarray) -> np.ndarray:
        return np.bincount(of, weights=weights, minlength=blocks.n_blocks)

    logs = np.log(above)
    below, n = per_block(None, block[is_below]), per_block(None, block_above)
    total, log1, log2 = (per_block(value, block_above) for value in (above, logs, logs**2))

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
    (low, high), interval = resample(statistics, blocks, volume.voxel_size_nm, seed)
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


def _histogram(values: np.ndarray, block: np.ndarray, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each bin that is not empty, (n_bins,), and number of values by block and bin."""
    low, high = float(values.min()), float(values.max())
    per_unit = (_N_BINS - 1) / (high - low) if high > low else 0.0
    entry = block * _N_BINS + ((values - low) * per_unit).astype(np.int64)
    size = blocks.n_blocks * _N_BINS
    counts = np.bincount(entry, minlength=size).reshape(-1, _N_BINS)
    sums = np.bincount(entry, weights=values, minlength=size).reshape(-1, _N_BINS)
    is_filled = counts.any(axis=0)
    counts, sums = counts[:, is_filled], sums[:, is_filled]
    return sums.sum(axis=0) / counts.sum(axis=0), counts.astype(np.float64)
