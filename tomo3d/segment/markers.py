"""Voxels that a person, or a rule, has given a class: checks that all functions that grow from them share."""

from __future__ import annotations

import numpy as np

from tomo3d.types import Labels, Volume


def check_grids(volume: Volume | Labels, labels: Labels, name: str) -> None:
    """Refuse labels on another grid than the volume.

    Raises
    ------
    ValueError
        If shape or voxel size differ.
    """
    same_shape = tuple(volume.data.shape) == tuple(labels.data.shape)
    if not (same_shape and np.allclose(volume.voxel_size_nm, labels.voxel_size_nm, rtol=1e-3, atol=0)):
        raise ValueError(
            f"{name} must be on the grid of {tuple(volume.data.shape)} voxels of {volume.voxel_size_nm} nm, "
            f"got {tuple(labels.data.shape)} of {labels.voxel_size_nm} nm."
        )


def marked_classes(markers: Labels) -> list[int]:
    """Numbers of the classes that are marked, ascending.

    Raises
    ------
    ValueError
        If there are not at least two, or one is negative.
    """
    numbers = [int(number) for number in np.unique(np.asarray(markers.data)) if number != 0]
    if len(numbers) < 2:
        raise ValueError(
            f"at least two classes must be marked, with numbers from 1, got {numbers or 'no marked voxel'}: "
            "mark the background too, with a number of its own (0 is where nothing is marked)."
        )
    if numbers[0] < 0:
        raise ValueError(f"marked classes must have numbers from 1, got {numbers[0]}.")
    return numbers


def masked(volume: Volume, mask: Labels | None) -> np.ndarray | None:
    """Where a mask allows regions to grow; None for everywhere.

    Raises
    ------
    ValueError
        If the mask is on another grid or empty.
    """
    if mask is None:
        return None
    check_grids(volume, mask, "mask")
    inside = np.asarray(mask.data) != 0
    if not inside.any():
        raise ValueError("mask must have at least one voxel, got none.")
    return inside
