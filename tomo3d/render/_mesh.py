"""Iso-surfaces for pictures: plain functions; those of masks are smoothed by VTK, without a window.

These meshes are made to be looked at. Areas that are reported come from `tomo3d.measure`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d.compute.iso_surface import iso_surface
from tomo3d.geometry import nm_to_index
from tomo3d.render import _style
from tomo3d.types import Labels, Surface, Volume

MAX_VOXELS = 256**3  # beyond this the mesh has more triangles than the picture has pixels


@dataclass(frozen=True)
class _Iso:
    """An iso-surface, the level it was taken at, and by how much the volume was binned for it."""

    surface: Surface
    level: float
    binning: int


def iso_mesh(grid: Volume | Labels, *, level: float | None, max_voxels: int = MAX_VOXELS) -> _Iso:
    """Closed surface around what is at or above the level; around all non-zero labels of a Labels.

    Where the structure leaves the volume it is closed by the faces of the outermost voxels.

    Raises
    ------
    ValueError
        If a grey value is not finite, or the level is not between the smallest and the largest.
    """
    binning = binning_for(grid.data.shape, max_voxels)
    data = binned(grid.data, binning, is_mask=isinstance(grid, Labels))
    if not np.isfinite(data).all():
        n_bad = int((~np.isfinite(data)).sum())
        raise ValueError(f"all grey values must be finite to find a surface, got {n_bad} that are not.")
    low, high = float(data.min()), float(data.max())
    if isinstance(grid, Labels):
        level = 0.5
    elif level is None:
        level = _otsu_level(data, low, high)
    if not low < level < high:
        raise ValueError(
            f"a surface needs values on both sides of its level ({level:.4g}), got {low:.4g} to {high:.4g}"
            + (": the mask is empty." if isinstance(grid, Labels) and high == 0 else ".")
        )
    voxel = binning * np.array(grid.voxel_size_nm)
    # the centre of a block of n voxels is (n - 1) / 2 voxels beyond the centre of its first
    origin = np.array(grid.origin_nm) + 0.5 * (binning - 1) * np.array(grid.voxel_size_nm)
    smooth = isinstance(grid, Labels) and binning == 1  # a binned mask has grey levels of its own
    return _Iso(_contour(data, level, voxel, origin, smooth=smooth), level, binning)


def binning_for(shape: tuple[int, ...], max_voxels: int = MAX_VOXELS) -> int:
    """Smallest binning that leaves at most about `max_voxels` voxels, and no axis empty."""
    return max(1, min(math.ceil((math.prod(shape) / max_voxels) ** (1 / 3)), *shape))


def binned(data: Any, binning: int, *, is_mask: bool = False, ignore_zero: bool = False) -> np.ndarray:
    """Means over blocks of binning**3 voxels, slab by slab; a far edge that fills no block is left out.

    With `is_mask`, the share of non-zero voxels; with `ignore_zero`, the mean of the others than zero.
    """
    n_z, n_y, n_x = (n // binning for n in data.shape)
    out = np.empty((n_z, n_y, n_x), dtype=np.float32)
    for z in range(n_z):
        slab = _style.host(data[z * binning : (z + 1) * binning, : n_y * binning, : n_x * binning])
        slab = (slab != 0 if is_mask else slab).astype(np.float32, copy=False)
        blocks = slab.reshape(binning, n_y, binning, n_x, binning)
        if ignore_zero:
            n = (blocks != 0).sum(axis=(0, 2, 4))
            out[z] = blocks.sum(axis=(0, 2, 4)) / np.maximum(n, 1)
        else:
            out[z] = blocks.mean(axis=(0, 2, 4))
    return out


def sampled(values: Volume, positions_nm: np.ndarray, *, max_voxels: int = MAX_VOXELS) -> np.ndarray:
    """Values at positions (z, y, x) in nm, from the voxels around that are neither 0 nor outside; else nan.

    A thickness is 0 outside its structure, and a surface runs between the two: zeros take no part. The eight
    voxels around a position are weighted as in linear interpolation; where they are all zero (smoothing
    moves vertices by a fraction of a voxel) those within two voxels are, by distance.
    """
    binning = binning_for(values.data.shape, max_voxels)
    data = binned(values.data, binning, ignore_zero=True)
    index = nm_to_index(values, positions_nm)
    index = (index - 0.5 * (binning - 1)) / binning
    result = _weighted(data, index, reach=1)
    missing = np.isnan(result)
    if missing.any():
        result[missing] = _weighted(data, index[missing], reach=2)
    return result


def _weighted(data: np.ndarray, index: np.ndarray, *, reach: int) -> np.ndarray:
    base = np.floor(index).astype(int)
    total, weights = np.zeros(len(index)), np.zeros(len(index))
    steps = range(1 - reach, reach + 1)
    for offset in ((z, y, x) for z in steps for y in steps for x in steps):
        corner = base + offset
        inside = ((corner >= 0) & (corner < data.shape)).all(axis=1)
        z, y, x = np.where(inside[:, None], corner, 0).T
        value = np.where(inside, data[z, y, x], 0.0)
        near = np.clip(1 - np.abs(corner - index) / reach, 0, None).prod(axis=1)
        weight = np.where(value != 0, near, 0.0)
        total += weight * value
        weights += weight
    return np.divide(total, weights, out=np.full(len(index), np.nan), where=weights > 0)


def _otsu_level(data: np.ndarray, low: float, high: float) -> float:
    from skimage.filters import threshold_otsu

    if low == high:
        raise ValueError(f"a level can be found only in grey values that differ, got {low:g} everywhere.")
    return float(threshold_otsu(data))


def _contour(
    data: np.ndarray, level: float, voxel_nm: np.ndarray, origin_nm: np.ndarray, *, smooth: bool
) -> Surface:
    vertices, faces = iso_surface(data, level, tuple(voxel_nm), tuple(origin_nm), is_closed=True)
    if smooth and len(faces):
        import pyvista

        # windowed sinc: takes the steps of the voxels off, and balls and films keep their size (faces move by less
        # than 0.15 voxel), also those one voxel thick, which a Gaussian would lose; a sharp edge bulges by up to half a
        # voxel
        mesh = pyvista.PolyData.from_regular_faces(vertices, faces)
        mesh = mesh.smooth_taubin(n_iter=40, pass_band=0.05, normalize_coordinates=True)
        vertices = np.asarray(mesh.points, dtype=np.float64)
    return Surface(vertices, faces)
