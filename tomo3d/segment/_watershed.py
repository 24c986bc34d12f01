"""Watersheds: touching objects parted at their necks, and regions grown from markers up to the edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d.compute.watershed import part_at_necks
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import report
from tomo3d.segment.histogram import grey_range
from tomo3d.segment.markers import check_grids, marked_classes, masked
from tomo3d.types import Labels, Volume


def _plan(source: Sketch, *_: Any, **__: Any) -> Plan:
    result = Sketch("Labels", source.shape, "int32", source.pixel_size_nm)
    # Distance or gradient in float64, markers, and the sorted voxels of a reconstruction or of the queue.
    return Plan(result, result.n_bytes + 60 * math.prod(source.shape))


@planned(_plan)
def watershed(mask: Labels, *, h_nm: float) -> Labels:
    """Objects of a mask that touch, parted at their necks and numbered.

    Parameters
    ----------
    mask : Labels, shape (n_z, n_y, n_x)
        Structure; every non-zero voxel belongs to it.
    h_nm : float
        How much wider (in radius) than the neck both sides must be to count as two: maxima of the distance to the
        background of at least this height. Below a voxel edge, the grid itself parts smooth objects.

    Returns
    -------
    Labels, same grid, int32
        0 outside the structure, objects from 1 in the order of their first voxels. The record holds `n_objects`.

    Raises
    ------
    ValueError
        If the mask is empty or fills the volume, or `h_nm` is not positive.

    Notes
    -----
    Markers are the h-maxima of the distance to the nearest background voxel [1]_, and grow in the order of falling
    distance by flooding [2]_; every voxel of the structure belongs to an object. Two equal balls that overlap are
    parted at the plane between their centres to a voxel. Distances are in nm along each axis; beyond the
    volume counts as more of the same, so an object that the border cuts is as deep as it is wide there. Not local:
    the volume is held whole.

    References
    ----------
    .. [1] Vincent, IEEE Trans. Image Process. 2 (1993) 176-201, doi:10.1109/83.217222
    .. [2] Vincent and Soille, IEEE Trans. Pattern Anal. Mach. Intell. 13 (1991) 583-598, doi:10.1109/34.87344
    """
    if not (math.isfinite(h_nm) and h_nm > 0):
        raise ValueError(f"h_nm must be a positive length, got {h_nm:g} nm.")
    inside = np.asarray(mask.data) != 0
    if not inside.any() or inside.all():
        found = "one that fills the volume" if inside.all() else "none"
        raise ValueError(f"the structure must have a voxel and leave some background, got {found}.")
    data = part_at_necks(inside, mask.voxel_size_nm, h_nm)
    record = {"method": "watershed", "h_nm": h_nm, "n_objects": int(data.max()), "input": dict(mask.record)}
    return Labels(data, mask.voxel_size_nm, mask.origin_nm, record)


@planned(_plan)
def marker_watershed(
    volume: Volume, markers: Labels, *, sigma_nm: float = 0.0, mask: Labels | None = None
) -> Labels:
    """Regions that grow from markers and meet where grey values change most.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values.
    markers : Labels, same grid
        Some voxels of each region, numbered from 1; 0 where nothing is marked.
    sigma_nm : float
        Standard deviation of a Gaussian whose derivatives are taken; 0: differences between neighbours.
    mask : Labels, optional
        Where regions may grow. Default: everywhere.

    Returns
    -------
    Labels, same grid, int32
        The number of a marker everywhere (within the mask, what no marker reaches stays 0), with the names of the
        markers.

    Raises
    ------
    ValueError
        If no voxel is marked, all marks have one number, the grids differ, a grey value is not finite, the mask is
        empty, or `sigma_nm` is negative.

    Notes
    -----
    Flooding [1]_ of the length of the gradient per nm, along each axis with its own voxel edge.

    References
    ----------
    .. [1] Vincent and Soille, IEEE Trans. Pattern Anal. Mach. Intell. 13 (1991) 583-598, doi:10.1109/34.87344
    """
    from skimage.segmentation import watershed as flood

    if not (math.isfinite(sigma_nm) and sigma_nm >= 0):
        raise ValueError(f"sigma_nm must be zero or more, got {sigma_nm:g} nm.")
    check_grids(volume, markers, "markers")
    marked_classes(markers)
    grey_range(volume)
    inside = masked(volume, mask)
    slope = _gradient(volume, sigma_nm)
    report("marker watershed", 1, 2)
    data = flood(slope, np.asarray(markers.data).astype(np.int32), mask=inside, connectivity=1)
    report("marker watershed", 2, 2)
    record = {"method": "marker_watershed", "sigma_nm": sigma_nm}
    data = data.astype(np.int32, copy=False)
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, dict(markers.names))


def _gradient(volume: Volume, sigma_nm: float) -> np.ndarray:
    """Length of the gradient, grey values per nm."""
    data = np.asarray(volume.data).astype(np.float64)
    squared = np.zeros(data.shape)
    for axis, edge in enumerate(volume.voxel_size_nm):
        if data.shape[axis] == 1:
            continue
        if sigma_nm > 0:
            sigmas = [sigma_nm / voxel for voxel in volume.voxel_size_nm]
            order = [int(axis == other) for other in range(3)]
            slope = ndimage.gaussian_filter(data, sigmas, order=order) / edge
        else:
            slope = np.gradient(data, edge, axis=axis)
        squared += slope**2
    return np.sqrt(squared)
