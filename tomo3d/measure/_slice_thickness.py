"""Thickness of two-dimensional slices, for comparison with papers that measure it so."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tomo3d.measure._local_thickness import local_thickness
from tomo3d.progress import track
from tomo3d.types import Labels, Volume

_AXES = {"z": 0, "y": 1, "x": 2}


def slice_thickness(mask: Labels, *, axis: Literal["z", "y", "x"] = "z") -> Volume:
    """Local thickness of each slice by itself: diameter of the largest disc in the slice that contains the point.

    Parameters
    ----------
    mask : Labels, shape (n_z, n_y, n_x)
        Structure; every non-zero voxel belongs to it.
    axis : {"z", "y", "x"}
        Axis that the slices are perpendicular to.

    Returns
    -------
    Volume, same grid, float32
        Thickness in nm; 0 outside the structure, nan in slices that the structure fills, where no disc ends.

    Raises
    ------
    ValueError
        If the structure is empty or fills the volume, or `axis` is none of these.

    Notes
    -----
    Discs are found as the balls of `local_thickness`, in slices that go on unchanged beyond themselves.

    Not the thickness of the object: films at random directions read (4 / pi) t on average over the length of their
    traces, where t is their thickness, since most slices cut them at a slope; weighted by area, (pi / 2) t. For
    comparison with the literature.
    """
    if axis not in _AXES:
        raise ValueError(f"axis must be z, y or x, got {axis!r}.")
    data = np.asarray(mask.data) != 0
    if not data.any():
        raise ValueError("the structure must have at least one voxel, got none.")
    if data.all():
        raise ValueError("the structure must leave some background in the volume, got one that fills it.")
    along = _AXES[axis]
    thickness_nm = np.zeros(data.shape, dtype=np.float32)
    edges_nm = (mask.voxel_size_nm[along], *np.delete(mask.voxel_size_nm, along))
    slices, results = np.moveaxis(data, along, 0), np.moveaxis(thickness_nm, along, 0)
    for plane, result in track(zip(slices, results, strict=True), "slice thickness", len(slices)):
        if plane.all():
            result[:] = np.nan
        elif plane.any():
            # Beyond the volume counts as structure, and the border repeats: one slice is an endless prism.
            result[:] = local_thickness(Labels(plane[None], edges_nm)).data[0]
    record = {"method": "slice_thickness", "axis": axis, "input": dict(mask.record)}
    return Volume(thickness_nm, mask.voxel_size_nm, mask.origin_nm, record)
