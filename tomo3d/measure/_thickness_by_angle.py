"""Thickness against the angle of the normal: what the missing wedge does to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.compute.wedge import checked_tilt_range, normal_elevation_deg
from tomo3d.measure.thickness_samples import Sample, is_sampled, samples
from tomo3d.types import Labels, Surface, Volume

_QUANTILES = (0.5, 0.25, 0.75)


def thickness_by_angle(
    thickness: Mapping[str, Volume] | None = None,
    *,
    labels: Labels | None = None,
    interface: int | None = None,
    surfaces: Mapping[str, Surface] | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    n_bins: int = 9,
) -> pd.DataFrame:
    """Thickness against the angle of the normal to the plane across the beam.

    Parameters
    ----------
    thickness : mapping of str to Volume, shape (n_z, n_y, n_x), optional
        Maps in nm of one structure by name; sampled at the interface.
    labels : Labels, optional
        Classes on the same grid.
    interface : int, optional
        Class, as that of the support, at whose voxels the maps are sampled.
    surfaces : mapping of str to Surface, optional
        Surfaces with `thickness_nm` by name.
    tilt_range_deg : tuple of float, optional
        Least and largest tilt about y, for the share that no view saw.
    n_bins : int
        Bins from 0 (the surface stands along the beam) to 90 deg (it lies across).

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.THICKNESS_BY_ANGLE`, for each sample and each bin that is not empty.

    Raises
    ------
    ValueError
        As `thickness_report`; if there is neither an interface nor a surface, or `n_bins` is below 1.

    Notes
    -----
    Under a missing wedge surfaces are the more blurred the steeper their normal, within the sampled directions too:
    a thickness that rises with the angle is that of the point-spread function.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}.")
    if tilt_range_deg is not None:
        checked_tilt_range(tilt_range_deg)
    if interface is None and not surfaces:
        raise ValueError("an interface or surfaces must be given, which have normals, got neither.")
    found = samples(thickness, labels, interface, surfaces)
    rows = [
        row
        for name, sample in found.items()
        if sample.normals is not None
        for row in _rows(name, sample, tilt_range_deg, np.linspace(0.0, 90.0, n_bins + 1))
    ]
    table = pd.DataFrame(rows, columns=tables.names(tables.THICKNESS_BY_ANGLE))
    return tables.check(table, tables.THICKNESS_BY_ANGLE)


def _rows(
    name: str, sample: Sample, tilt_range_deg: tuple[float, float] | None, edges: np.ndarray
) -> list[tuple[object, ...]]:
    assert sample.normals is not None
    elevation, whole = normal_elevation_deg(sample.normals), float(sample.weights.sum())
    hidden = None if tilt_range_deg is None else ~is_sampled(sample, tilt_range_deg)
    rows: list[tuple[object, ...]] = []
    for low, high in itertools.pairwise(edges):
        here = (elevation >= low) & ((elevation < high) | (high == edges[-1]))
        if not here.any():
            continue
        order = np.argsort(sample.values_nm[here])
        values, weights = sample.values_nm[here][order], sample.weights[here][order]
        cumulative = np.cumsum(weights)
        total = float(cumulative[-1])
        quantiles = values[np.searchsorted(cumulative, [share * total for share in _QUANTILES])]
        in_wedge = math.nan if hidden is None else float(sample.weights[here & hidden].sum()) / total
        rows.append((name, 0.5 * (low + high), *quantiles, total / whole, in_wedge, int(here.sum())))
    return rows
