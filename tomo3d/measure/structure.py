"""What a structure is given by: grey values with the level of its surface, or a mask."""

from __future__ import annotations

import logging
import math

import numpy as np
from scipy import ndimage

from tomo3d.compute.placed_surface import Field, Grid, grey_field, mask_field
from tomo3d.types import Array, Labels, Volume

_MOST_LOST = 0.01  # of the voxels of a mask
_log = logging.getLogger(__name__)


def is_mask(structure: Volume | Labels, level: float | None) -> bool:
    """Whether the structure is every voxel that is not zero: labels, or integers (as files give them) without a level.

    Raises
    ------
    ValueError
        If a level comes with labels, is missing for grey values or outside of them, or if one is not finite.
    """
    if isinstance(structure, Labels):
        if level is not None:
            raise ValueError(f"level must not be given for labels, which are already divided, got {level:g}.")
        return True
    if level is None and np.dtype(structure.data.dtype).kind in "iub":
        return True
    check_level(structure.data, level)
    return False


def check_level(data: Array, level: float | None) -> None:
    """Raise ValueError unless the level lies between finite grey values."""
    if level is None:
        raise ValueError(
            "level must be given for grey values: that of the surface, from tomo3d.segment.otsu, say."
        )
    low, high = math.inf, -math.inf
    for plane in data:
        plane = np.asarray(plane)
        if not np.isfinite(plane).all():
            raise ValueError("grey values must be finite, got nan or inf. Replace them, or crop the volume.")
        low, high = min(low, float(plane.min())), max(high, float(plane.max()))
    if not low < level < high:
        raise ValueError(
            f"level must lie between the least and the largest grey value ({low:g} and {high:g}), got {level:g}."
        )


def check_mask(inside: np.ndarray) -> None:
    """Raise ValueError unless there is some structure and some background."""
    if not inside.any():
        raise ValueError("the structure must have at least one voxel, got none.")
    if inside.all():
        raise ValueError("the structure must leave some background in the volume, got one that fills it.")


def grid_of(structure: Volume | Labels) -> Grid:
    """Voxels and place of a volume."""
    return Grid(structure.voxel_size_nm, structure.origin_nm, tuple(structure.data.shape))


def inside_of(structure: Volume | Labels, level: float | None) -> np.ndarray:
    """Flags of the voxels whose centre is in the structure, checked."""
    if is_mask(structure, level):
        inside = np.asarray(structure.data) != 0
        check_mask(inside)
        return inside
    return np.asarray(structure.data) > level


def field_of(structure: Volume | Labels, level: float | None, smoothing_nm: float | None) -> Field:
    """The field that the surface of a structure is taken from, checked."""
    if smoothing_nm is not None and not (math.isfinite(smoothing_nm) and smoothing_nm >= 0):
        raise ValueError(f"smoothing_nm must be zero or a positive length, got {smoothing_nm:g} nm.")
    grid = grid_of(structure)
    if is_mask(structure, level):
        inside = np.asarray(structure.data) != 0
        check_mask(inside)
        field = mask_field(grid, inside, smoothing_nm)
        _warn_of_lost(inside, field)
        return field
    assert level is not None
    return grey_field(grid, structure.data, level, smoothing_nm or 0.0)


def _warn_of_lost(inside: np.ndarray, field: Field) -> None:
    """Say how much of a mask lies further than a voxel from what its smoothing left."""
    kept = field.values > field.level
    n_inside, n_lost = np.count_nonzero(inside), np.count_nonzero(inside & ~kept)
    if n_lost > _MOST_LOST * n_inside:  # at rims, perhaps
        n_lost = np.count_nonzero(inside & ~ndimage.binary_dilation(kept, np.ones((3, 3, 3))))
    if n_lost > _MOST_LOST * n_inside:
        share = 100.0 * n_lost / n_inside
        _log.warning(
            "%.0f %% of the mask is as thin as its smoothing and has no surface: use grey values, or smooth less.",
            share,
        )
