"""Distributions of sizes: by volume from a map of diameters, and a table of objects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from tomo3d import tables
from tomo3d.measure.bootstrap import blocks_of, resample
from tomo3d.types import Labels, Volume

if TYPE_CHECKING:
    import pandas as pd

_WIDTHS_PER_BLOCK = 4
_MAX_BINS = 10_000


def size_distribution(thickness: Volume, *, bin_nm: float | None = None, seed: int = 0) -> pd.DataFrame:
    """Distribution of the size of pores or particles by volume, from a map of diameters.

    Parameters
    ----------
    thickness : Volume, shape (n_z, n_y, n_x)
        Diameter in nm at each point: of `local_thickness`, `local_thickness_voxel` (granulometry: what openings by
        balls leave) or `porosimetry` (what balls enter from outside); 0 outside.
    bin_nm : float, optional
        Width of the bins. Default: the smallest voxel edge.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SIZES`, bin after bin from 0: density, with its interval, and share_wider.

    Raises
    ------
    ValueError
        If no voxel is above 0, a value is negative or not finite, or `bin_nm` is not positive or makes more than
        10,000 bins.

    Notes
    -----
    Every voxel above 0 counts alike. Interval: 2.5 % and 97.5 % quantiles over 1000 draws of blocks along y and x, at
    least four times as wide as the mean diameter; below 10 blocks none is given: nan.
    """
    import pandas as pd

    width = min(thickness.voxel_size_nm) if bin_nm is None else float(bin_nm)
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"bin_nm must be a positive length, got {width:g} nm.")
    data = np.asarray(thickness.data)
    if not (np.isfinite(data).all() and data.min() >= 0):
        raise ValueError("thickness must be finite and zero or more everywhere, got a value that is not.")
    where = data > 0
    values = data[where].astype(np.float64)
    if values.size == 0:
        raise ValueError(
            "thickness must be above 0 nm in at least one voxel, got none: the structure is empty."
        )
    n_bins = math.floor(float(values.max()) / width * (1 + 1e-6)) + 1
    if n_bins > _MAX_BINS:
        raise ValueError(f"bin_nm must make at most {_MAX_BINS} bins, got {n_bins} of {width:g} nm.")
    edge_nm = _WIDTHS_PER_BLOCK * float(values.mean())
    _, size_y, size_x = thickness.voxel_size_nm
    blocks = blocks_of(data.shape, (edge_nm / size_y, edge_nm / size_x))
    block = np.broadcast_to(blocks.of_column, data.shape)[where]
    entry = block * n_bins + (values / width * (1 + 1e-6)).astype(
        np.int64
    )  # a diameter on an edge is rounded to it
    counts = np.bincount(entry, minlength=blocks.n_blocks * n_bins).reshape(-1, n_bins).astype(np.float64)

    def densities(weights: np.ndarray) -> np.ndarray:
        n = weights @ counts
        return np.asarray(n / (n.sum() * width)) if n.any() else np.full(n_bins, np.nan)

    (low, high), _ = resample(densities, blocks, thickness.voxel_size_nm, seed)
    n_voxels = counts.sum(axis=0)
    edges = width * np.arange(n_bins + 1)
    columns = {
        "diameter_nm": 0.5 * (edges[:-1] + edges[1:]),
        "from_nm": edges[:-1],
        "to_nm": edges[1:],
        "density_per_nm": densities(np.ones(blocks.n_blocks)),
        "density_low": low,
        "density_high": high,
        "share_wider": np.cumsum(n_voxels[::-1])[::-1] / values.size,
        "n_voxels": n_voxels.astype(np.int64),
    }
    return tables.check(pd.DataFrame(columns), tables.SIZES)


def object_sizes(labels: Labels) -> pd.DataFrame:
    """Size and place of each object of a label image, as the watershed leaves them: pores or particles.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        A number for each object, joined or not; 0 is none.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.OBJECTS`, by number; none where there is no object.

    Raises
    ------
    ValueError
        If a number is negative.
    """
    import pandas as pd

    data = np.asarray(labels.data)
    if data.dtype.kind != "b" and data.min() < 0:
        raise ValueError(f"labels must be zero or positive, got {data.min()}.")
    numbers, dense = np.unique(data, return_inverse=True)
    dense = dense.reshape(data.shape) + (numbers[0] != 0)
    numbers = numbers[numbers != 0]
    n_voxels = np.bincount(dense.ravel(), minlength=len(numbers) + 1)[1:]
    boxes = ndimage.find_objects(dense)
    voxel = np.array(labels.voxel_size_nm)
    volume = n_voxels * voxel.prod()
    extents = np.array([[part.stop - part.start for part in box] for box in boxes]).reshape(-1, 3) * voxel
    centres = np.array(labels.origin_nm) + voxel * _centres(dense, len(numbers))
    shape = data.shape
    is_cut = [any(p.start == 0 or p.stop == n for p, n in zip(box, shape, strict=True)) for box in boxes]
    columns = {
        "object": numbers.astype(np.int64),
        "n_voxels": n_voxels,
        "volume_nm3": volume,
        "diameter_nm": np.cbrt(6.0 * volume / math.pi),
        **{f"{letter}_nm": centres[:, axis] for axis, letter in enumerate("zyx")},
        **{f"extent_{letter}_nm": extents[:, axis] for axis, letter in enumerate("zyx")},
        "touches_border": np.array(is_cut, dtype=bool),
    }
    return tables.check(pd.DataFrame(columns), tables.OBJECTS)


def _centres(dense: np.ndarray, n_objects: int) -> np.ndarray:
    """Mean index along each axis of the objects 1, 2, ..., (n_objects, 3)."""
    centres = np.empty((n_objects, 3))
    for axis in range(3):
        # how many voxels of each object each plane holds
        planes = np.moveaxis(dense, axis, 0)
        sums, counts = np.zeros(n_objects + 1), np.zeros(n_objects + 1)
        for i, plane in enumerate(planes):
            n = np.bincount(plane.ravel(), minlength=n_objects + 1)
            sums += i * n
            counts += n
        centres[:, axis] = sums[1:] / np.maximum(counts[1:], 1)
    return centres
