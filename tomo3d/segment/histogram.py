"""Grey values of a volume, slab by slab, so that a memory map is never held whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tomo3d import progress
from tomo3d.types import Array, Volume

_SLAB_VOXELS = 1 << 22


def slabs(data: Array, what: str) -> Iterator[tuple[slice, np.ndarray]]:
    """(slices, array) of consecutive z ranges of some 4 million voxels, with progress reports."""
    n_z, n_y, n_x = data.shape
    depth = max(1, _SLAB_VOXELS // (n_y * n_x))
    starts = range(0, n_z, depth)
    for z in progress.track(starts, what, len(starts)):
        part = slice(z, min(n_z, z + depth))
        yield part, np.asarray(data[part])


def grey_range(volume: Volume) -> tuple[float, float]:
    """Smallest and largest grey value.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    low, high = np.inf, -np.inf
    for part, slab in slabs(volume.data, "grey range"):
        slab_low, slab_high = float(slab.min()), float(slab.max())  # nan passes through both
        if not (np.isfinite(slab_low) and np.isfinite(slab_high)):
            raise ValueError(
                f"the grey values must be finite, got nan or inf in slices {part.start} to {part.stop - 1}. "
                "Crop the volume to where it was reconstructed."
            )
        low, high = min(low, slab_low), max(high, slab_high)
    return low, high


def grey_histogram(volume: Volume, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts, shape (n_bins,), and edges, shape (n_bins + 1,).

    Integers of at most `n_bins` values have one bin a value, with its edges half way
    between; all else has `n_bins` equal bins from the smallest to the largest value.

    Raises
    ------
    ValueError
        If a value is not finite, or all are the same.
    """
    low, high = grey_range(volume)
    if low == high:
        raise ValueError(f"a constant volume has no threshold, got {low:g} everywhere.")
    if np.dtype(volume.data.dtype).kind in "iub" and high - low < n_bins:
        edges = np.arange(low, high + 2) - 0.5
    else:
        edges = np.linspace(low, high, n_bins + 1)
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    for _, slab in slabs(volume.data, "grey histogram"):
        counts += np.histogram(slab.astype(np.float64), bins=len(counts), range=(edges[0], edges[-1]))[0]
    return counts, edges


def check_level(name: str, level: float, bounds: tuple[float, float]) -> None:
    """Refuse a level that puts all voxels on one side.

    Raises
    ------
    ValueError
        If no grey value, or every one, reaches the level.
    """
    low, high = bounds
    if not low < level <= high:
        found = "none" if level > high else "every voxel"
        raise ValueError(
            f"{name} must be above the smallest and at most the largest grey value ({low:g} to {high:g}), "
            f"got {level:g}: {found} would reach it."
        )
