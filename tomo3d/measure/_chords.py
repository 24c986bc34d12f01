"""Chords: how long straight lines run in a phase."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.measure.bootstrap import blocks_of, resample
from tomo3d.measure.phase import AXES, check_axes, independent_edges, phase_voxels
from tomo3d.progress import track
from tomo3d.types import Labels


@dataclass(frozen=True, eq=False)
class ChordLengths:
    """Distribution of chords, and their means.

    Parameters
    ----------
    distribution : pandas.DataFrame
        Rows of `tomo3d.tables.CHORDS`.
    summary : pandas.DataFrame
        Rows of `tomo3d.tables.SUMMARY`.
    """

    distribution: pd.DataFrame
    summary: pd.DataFrame


def chord_lengths(labels: Labels, *, phase: int | str, axes: str = "zyx", seed: int = 0) -> ChordLengths:
    """Lengths of the runs of a phase along each axis; those that the border cuts are known to be at least so long.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        Class, by number or name.
    axes : str
        Axes, as "zyx" or "z".
    seed : int
        Of the resampling.

    Returns
    -------
    ChordLengths
        `distribution`: by axis and length, how many chords are complete, cut once and cut twice, and their share and
        survival. `summary`: chord_mean_AXIS, chord_cut_share_AXIS (of all chords, those that touch the border), and,
        where all three axes are asked for, specific_surface of the phase, area per volume of the whole.

    Raises
    ------
    ValueError
        If the phase has no voxel, no class has its name, or an axis is unknown.

    Notes
    -----
    To leave out cut chords favours short ones, and to keep them makes all too short. The mean is the length of the
    phase on the lines over half the number of ends inside the volume, which no border biases; in a random structure
    it is 4 V / S [1]_. It is inf where no line has an end. The distribution is that of Kaplan and Meier [2]_ over the
    chords with an end inside: one that is cut once is longer than it is seen. Where the longest are all cut, shares
    add up to less than 1.

    On voxels, chords along an axis have whole numbers of voxels, and their mean is that of the true structure, as long
    as no chord or gap is below a voxel. The specific surface is twice the number of ends per length, mean of three
    axes: right on average over orientations, while a face across one of the axes reads 2 / 3 of its area.

    References
    ----------
    .. [1] Underwood, Quantitative Stereology, Addison-Wesley (1970)
    .. [2] J. Am. Stat. Assoc. 53 (1958) 457-481, doi:10.1080/01621459.1958.10501452
    """
    inside = phase_voxels(labels, phase)
    chosen = check_axes(axes)
    parts, rows = [], []
    for axis in track(chosen, "chords", len(chosen)):
        counts = _counts(inside, axis)
        parts.append(_distribution(counts, AXES[axis], labels.voxel_size_nm[axis]))
        rows.append(
            {"n": int(counts.sum()), "cut": float(counts[1:].sum() / counts.sum()), "axis": AXES[axis]}
        )
    distribution = tables.check(pd.concat(parts, ignore_index=True), tables.CHORDS)
    means, (low, high), interval = _means(inside, chosen, labels.voxel_size_nm, seed)
    summary = []
    for i, row in enumerate(rows):
        mean = {"value": means[i], "low": low[i], "high": high[i], "unit": "nm", "interval": interval}
        summary.append({"quantity": f"chord_mean_{row['axis']}", "n": row["n"], **mean})
        summary.append(
            {"quantity": f"chord_cut_share_{row['axis']}", "value": row["cut"], "unit": "", "n": row["n"]}
        )
    if len(chosen) == 3:
        surface = {"value": means[3], "low": low[3], "high": high[3], "unit": "1/nm", "interval": interval}
        summary.append({"quantity": "specific_surface", "n": sum(row["n"] for row in rows), **surface})
    return ChordLengths(distribution, tables.summary(summary))


def _counts(inside: np.ndarray, axis: int) -> np.ndarray:
    """Number of chords by how often the border cuts them (0, 1, 2) and their length in voxels."""
    n = inside.shape[axis]
    counts = np.zeros((3, n + 1), dtype=np.int64)
    lines = np.moveaxis(inside, axis, -1)
    for plane in lines:
        padded = np.zeros((plane.shape[0], n + 2), dtype=np.int8)
        padded[:, 1:-1] = plane
        change = np.diff(padded, axis=1)
        _, first = np.nonzero(change == 1)
        _, last = np.nonzero(change == -1)
        n_cuts = (first == 0).astype(np.int64) + (last == n)
        counts += np.bincount(n_cuts * (n + 1) + last - first, minlength=counts.size).reshape(counts.shape)
    return counts


def _distribution(counts: np.ndarray, axis: str, size_nm: float) -> pd.DataFrame:
    """Kaplan and Meier's estimate: each complete chord is met from both of its ends, one that is cut from one.

    Whether a chord that is cut ends where it is last seen is not known: it is at risk for shorter lengths only.
    """
    complete, cut, cut_twice = counts
    ended = 2 * complete
    at_risk = np.cumsum((ended + cut)[::-1])[::-1] - cut
    hazard = np.divide(ended, at_risk, out=np.zeros(len(ended)), where=at_risk > 0)
    survival = np.cumprod(1.0 - hazard)
    share = np.append(1.0, survival[:-1]) * hazard
    length = np.flatnonzero(counts.any(axis=0))
    columns = {
        "axis": axis,
        "length_nm": length * size_nm,
        "n_complete": complete[length],
        "n_cut": cut[length],
        "n_cut_twice": cut_twice[length],
        "share": share[length],
        "survival": survival[length],
    }
    return pd.DataFrame(columns, index=range(len(length)))


def _means(
    inside: np.ndarray, axes: list[int], voxel_size_nm: tuple[float, float, float], seed: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], str]:
    """Mean chord along each axis in nm, then the specific surface in 1/nm, with their intervals."""
    blocks = blocks_of(inside.shape, independent_edges(inside))
    flat, n_blocks = blocks.of_column, blocks.n_blocks
    n_inside = np.bincount(flat.ravel(), weights=inside.sum(axis=0).ravel(), minlength=n_blocks)
    ends, pairs = [], []
    for axis in axes:
        differs = np.diff(inside, axis=axis)
        owner = flat if axis == 0 else flat.take(range(flat.shape[axis - 1] - 1), axis=axis - 1)
        ends.append(np.bincount(owner.ravel(), weights=differs.sum(axis=0).ravel(), minlength=n_blocks))
        pairs.append(np.bincount(owner.ravel(), minlength=n_blocks) * differs.shape[0])
    n_ends, n_pairs, sizes = np.array(ends), np.array(pairs), np.array([voxel_size_nm[axis] for axis in axes])

    def statistics(weights: np.ndarray) -> np.ndarray:
        fraction = float(weights @ n_inside) / float(weights @ blocks.n_voxels)
        per_length = (n_ends @ weights) / np.maximum(n_pairs @ weights, 1.0) / sizes
        means = np.divide(2.0 * fraction, per_length, out=np.full(len(sizes), math.inf), where=per_length > 0)
        return np.append(means, 2.0 * per_length.mean())

    intervals = resample(statistics, blocks, voxel_size_nm, seed)
    return statistics(np.ones(n_blocks)), intervals[0], intervals[1]
