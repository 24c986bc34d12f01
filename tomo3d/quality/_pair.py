"""Two volumes that are to be compared: on one grid, finite, and both with something in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d.compute import backend, fourier_shell
from tomo3d.types import Array, Labels, Volume

if TYPE_CHECKING:
    import pandas as pd

_EDGE_VOXELS = 4.0  # width of the soft edge of a mask where none is asked for
_SAME = 1e-4  # voxel edges that differ by less, relatively, are the same: as far as a file header can tell
_PLACE = 0.01  # origins may differ by so many voxels


@dataclass(frozen=True, eq=False)
class Pair:
    """Arrays of two volumes on one grid, and the weight of a mask (None without one)."""

    first: Array
    second: Array
    weight: Array | None
    shape: fourier_shell.Shape
    voxel_nm: fourier_shell.Vector

    def extent_nm(self, axis: int) -> float:
        """Edge of the grid along an axis."""
        return self.shape[axis] * self.voxel_nm[axis]

    def transforms(self, *, masked: bool) -> tuple[Array, Array]:
        """Transforms of both, of what the mask shows where `masked`."""
        weight = self.weight if masked else None
        return fourier_shell.transform(self.first, weight), fourier_shell.transform(self.second, weight)


def pair(first: Volume, second: Volume, mask: Labels | None, soft_edge_nm: float | None) -> Pair:
    """Check two volumes and their mask.

    Raises
    ------
    ValueError
        If the grids differ, a voxel is not finite, a volume is constant, the mask is empty or the soft edge negative.
    TypeError
        If the arrays live on different devices.
    """
    _check_grid(first, second, "the second volume")
    if mask is not None:
        _check_grid(first, mask, "the mask")
    for volume, name in ((first, "the first volume"), (second, "the second volume")):
        _check_values(volume.data, name)
    weight = None if mask is None else _weight(mask, soft_edge_nm)
    shape: Any = tuple(int(n) for n in first.data.shape)
    return Pair(first.data, second.data, weight, shape, first.voxel_size_nm)


def resolution_nm(curve: pd.DataFrame, threshold: float) -> float:
    """Period at which a curve falls below a threshold: inf if it never reaches it, nan if it never leaves it."""
    frequency, correlation, n_voxels = (
        curve[name].to_numpy() for name in ("frequency_per_nm", "correlation", "n_voxels")
    )
    place = fourier_shell.crossing(frequency, correlation, n_voxels, threshold)
    return float("inf") if place == 0.0 else 1.0 / place


def _check_grid(first: Volume, other: Volume | Labels, name: str) -> None:
    ours, theirs = tuple(first.data.shape), tuple(other.data.shape)
    if ours != theirs:
        raise ValueError(f"{name} must be on the grid of the first, {ours} voxels, got {theirs}.")
    if not np.allclose(first.voxel_size_nm, other.voxel_size_nm, rtol=_SAME, atol=0.0):
        raise ValueError(
            f"{name} must have the voxel size of the first, {first.voxel_size_nm} nm, got {other.voxel_size_nm} nm."
        )
    apart = np.subtract(first.origin_nm, other.origin_nm) / np.array(first.voxel_size_nm)
    if np.abs(apart).max() > _PLACE:
        raise ValueError(
            f"{name} must have the origin of the first, {first.origin_nm} nm (z, y, x), got {other.origin_nm} nm: "
            "bring both to one place, or give both the same origin."
        )
    if backend.namespace(first.data) is not backend.namespace(other.data):
        raise TypeError(
            f"{name} must live on the device of the first, got one on the GPU and one on the CPU."
        )


def _check_values(data: Array, name: str) -> None:
    xp = backend.namespace(data)
    lowest, highest = float("inf"), float("-inf")
    for z in range(data.shape[0]):
        plane = xp.asarray(data[z])
        low, high = float(plane.min()), float(plane.max())  # nan if one voxel is
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"every voxel must be finite, got NaN or infinity in {name}, slice z = {z}.")
        lowest, highest = min(lowest, low), max(highest, high)
    if lowest == highest:
        raise ValueError(
            f"{name} must hold more than one value, got {lowest:g} everywhere: it has no detail."
        )


def _weight(mask: Labels, soft_edge_nm: float | None) -> Array:
    if soft_edge_nm is None:
        soft_edge_nm = _EDGE_VOXELS * max(mask.voxel_size_nm)
    if not (np.isfinite(soft_edge_nm) and soft_edge_nm >= 0):
        raise ValueError(f"soft_edge_nm must be 0 (a hard edge) or a length, got {soft_edge_nm:g} nm.")
    xp = backend.namespace(mask.data)
    inside = xp.asarray(mask.data) != 0
    if not bool(inside.any()):
        raise ValueError("the mask must hold at least one voxel, got an empty mask.")
    return fourier_shell.soft_edge(inside, mask.voxel_size_nm, soft_edge_nm)
