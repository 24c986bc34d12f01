"""Pairs of voxels at each distance: correlation of two phases, and the surface between a phase and all else."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np
from scipy import fft
from scipy.spatial import SphericalVoronoi

from tomo3d.compute import backend


def pairs_by_lag(
    a: np.ndarray, b: np.ndarray, part: tuple[slice, slice], reach: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Number of pairs (p in a and in the part, p + lag in b), and of pairs at all, by lag.

    Parameters
    ----------
    a, b : ndarray of bool, shape (n_z, n_y, n_x)
    part : two slices
        Along y and x: where the first of the two points lies.
    reach : tuple of int
        Largest lag along each axis, less than the size of the grid.

    Returns
    -------
    two ndarrays of float64, shape (2 reach_z + 1, 2 reach_y + 1, 2 reach_x + 1)
        From lag -reach to reach. Beyond the volume there are no points: nothing is wrapped.
    """
    shape = a.shape
    first = [(0, shape[0]), *((s.start, s.stop) for s in part)]
    window = [(max(0, lo - r), min(n, hi + r)) for (lo, hi), r, n in zip(first, reach, shape, strict=True)]
    size = [fft.next_fast_len(hi - lo + r, real=True) for (lo, hi), r in zip(window, reach, strict=True)]
    here = a[tuple(slice(lo, hi) for lo, hi in first)].astype(np.float32)
    there = b[tuple(slice(lo, hi) for lo, hi in window)].astype(np.float32)
    n_workers = backend.n_threads()
    spectrum = fft.rfftn(there, size, workers=n_workers)
    spectrum *= np.conj(fft.rfftn(here, size, workers=n_workers))
    counts = fft.irfftn(spectrum, size, workers=n_workers, overwrite_x=True)
    # index i of `counts` is the lag i - (where `here` starts in the window), modulo the size
    for axis, ((lo, _), (from_, _), r) in enumerate(zip(first, window, reach, strict=True)):
        counts = counts.take(np.arange(-r, r + 1) + (lo - from_), axis=axis, mode="wrap")
    n_along = [
        np.array([max(0, min(hi, n - k) - max(lo, -k)) for k in range(-r, r + 1)], dtype=np.float64)
        for (lo, hi), r, n in zip(first, reach, shape, strict=True)
    ]
    n_pairs = n_along[0][:, None, None] * n_along[1][:, None] * n_along[2]
    return np.rint(counts).astype(np.float64), n_pairs


def neighbour_directions(
    voxel_size: tuple[float, float, float],
) -> Iterator[tuple[tuple[int, ...], float, float]]:
    """Offset, length and weight of the 13 directions to neighbours; weights are shares of the sphere nearest to each.

    Weights as by Ohser and Muecklich, Statistical Analysis of Microstructures (2000), for any voxel.
    """
    offsets, lengths, weights = _neighbours(voxel_size)
    for offset, length, weight in zip(offsets, lengths, weights, strict=True):
        if offset > (0, 0, 0):
            yield offset, length, 2.0 * weight


@functools.cache
def _neighbours(
    voxel_size: tuple[float, float, float],
) -> tuple[list[tuple[int, ...]], list[float], list[float]]:
    offsets = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if any(offset)]
    vectors = np.array(offsets) * np.array(voxel_size)
    lengths = np.linalg.norm(vectors, axis=1)
    cells = SphericalVoronoi(vectors / lengths[:, None])
    areas = cells.calculate_areas()
    return offsets, lengths.tolist(), (areas / areas.sum()).tolist()


def overlapping(offset: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where p and p + offset lie, for all p that have both in the volume."""
    here = tuple(slice(max(0, -d), min(0, -d) or None) for d in offset)
    there = tuple(slice(max(0, d), min(0, d) or None) for d in offset)
    return here, there
