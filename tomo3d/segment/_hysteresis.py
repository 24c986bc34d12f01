"""Threshold with two levels: a weak one that only counts where it reaches a strong one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d.planning import Plan, Sketch, planned
from tomo3d.segment.histogram import check_level, grey_range, slabs
from tomo3d.types import Labels, Volume

_CORNERS = ndimage.generate_binary_structure(3, 3)


def _plan(volume: Sketch, **_: Any) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    return Plan(result, result.n_bytes + 5 * math.prod(volume.shape) + (1 << 27))  # a mask and its components


@planned(_plan)
def hysteresis(volume: Volume, *, low: float, high: float) -> Labels:
    """Mask of what reaches a low level and is connected to a voxel that reaches a high one.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    low : float
        Smallest grey value of the structure.
    high : float
        Grey value that a component must reach somewhere to be kept.

    Returns
    -------
    Labels, same grid, uint8
        1 in the components of {grey value >= low} (voxels that touch by face, edge
        or corner) with a voxel of at least `high`. The record holds both levels.

    Raises
    ------
    ValueError
        If the volume holds a value that is not finite, `low` exceeds `high`, or a level lies
        outside the grey values, so that the mask would be empty or fill the volume.

    Notes
    -----
    Between the mask of either level: it contains {grey value >= high}, and is contained in {grey value >= low} [1]_.

    References
    ----------
    .. [1] Canny, IEEE Trans. Pattern Anal. Mach. Intell. 8 (1986) 679-698, doi:10.1109/TPAMI.1986.4767851
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"low must not exceed high, both finite, got {low:g} and {high:g}.")
    bounds = grey_range(volume)
    check_level("low", low, bounds)
    check_level("high", high, bounds)
    weak = np.empty(volume.data.shape, dtype=bool)
    for part, slab in slabs(volume.data, "low level"):
        weak[part] = slab >= low
    components = np.empty(weak.shape, dtype=np.int32)
    n_components = ndimage.label(weak, structure=_CORNERS, output=components)
    del weak
    is_kept = np.zeros(int(n_components) + 1, dtype=bool)
    for part, slab in slabs(volume.data, "high level"):
        is_kept[components[part][slab >= high]] = True
    record = {"method": "hysteresis", "levels": [low, high], "n_components": int(n_components),
              "n_kept": int(is_kept.sum())}  # fmt: skip
    data = np.take(is_kept, components).view(np.uint8)
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, {1: "foreground"})
