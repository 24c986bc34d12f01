"""Parity and speed of the voxel local thickness on a GPU, for `gpu_check`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d.compute import distance
from tomo3d.compute.kernels import thickness_cuda

EDGES_VOXELS = (256, 400)
QUICK_VOXELS = (16,)
_CUBE = (1.0, 1.0, 1.0)


def blobs(shape: tuple[int, int, int], size: float) -> np.ndarray:
    """Smoothed noise cut at its median."""
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(noise, size / 4, mode="wrap") > 0)


def parity(xp: Any, *, large: bool) -> dict[str, int]:
    """Voxels whose squared distance, ball or largest ball is not that of numba; arrays of `xp`, `large` for a GPU."""
    masks = {
        "blobs, 13 x 14 x 15": (blobs((13, 14, 15), 10), _CUBE),
        "flat voxels, 9 x 12 x 17": (blobs((9, 12, 17), 10), (2.0, 1.0, 1.0)),
        "voxels without a common length, 7 x 11 x 12": (blobs((7, 11, 12), 8), (np.pi, np.e, 1.0)),
    }
    if large:
        masks["blobs, 200 x 201 x 203"] = (blobs((200, 201, 203), 20), _CUBE)
        masks["thick blobs, 150 x 201 x 203"] = (blobs((150, 201, 203), 80), (1.5, 1.0, 1.0))
    return {name: _differences(mask, voxel, xp) for name, (mask, voxel) in masks.items()}


def _differences(mask: np.ndarray, voxel: tuple[float, float, float], xp: Any) -> int:
    metric = distance.integer_metric(mask.shape, voxel)
    squared = distance.squared_distance(mask, metric)
    largest = int(squared.max())
    balls = distance.medial_voxels(squared, metric, largest)
    there = thickness_cuda.squared_distance_cuda(xp.asarray(mask), metric.weights, metric.dtype)
    kept = xp.empty(mask.shape, dtype=np.bool_)
    thickness_cuda.mark_balls_cuda(there, *distance.ball_tables(metric, largest, mask.shape), kept)
    covered = thickness_cuda.paint_balls_cuda(kept, there, metric.weights)
    diameter = distance.largest_ball_diameter(mask, voxel)
    expected = np.rint((diameter.astype(np.float64) / (2.0 * metric.unit)) ** 2)
    # The diameter is float32, which tells whole squares apart up to 2^22.
    found = _on_host(covered).astype(np.float64)
    is_off = np.abs(found - expected) > np.maximum(0.0, 4e-7 * found)
    return int(
        np.count_nonzero(_on_host(there) != squared)
        + np.count_nonzero(_on_host(kept) != balls)
        + np.count_nonzero(is_off)
    )


def _on_host(array: Any) -> np.ndarray:
    return np.asarray(array.get() if hasattr(array, "get") else array)


def speed(
    cupy: Any,
    kernel_seconds: Callable[[Any, Callable[[], Any]], float],
    edges: tuple[int, ...] = EDGES_VOXELS,
) -> dict[str, float]:
    """Seconds of the whole thickness of blobs of 20 voxels, from a mask on the device to diameters there."""
    found = {}
    for edge in edges:
        mask = cupy.asarray(blobs((edge,) * 3, min(20.0, edge / 4)))
        found[f"{edge}^3"] = kernel_seconds(cupy, partial(distance.largest_ball_diameter, mask, _CUBE))
        del mask
        cupy.get_default_memory_pool().free_all_blocks()
    return found


def tables(differences: dict[str, int], seconds: dict[str, float]) -> list[str]:
    """Markdown: voxels that differ, and times."""
    lines = ["| local thickness: voxels that differ from numba's | | |", "|---|---|---|"]
    lines += [f"| {name} | {n} | {'ok' if n == 0 else '**MISSED**'} |" for name, n in differences.items()]
    if seconds:
        lines += ["", "| local thickness, blobs of 20 voxels | s |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in seconds.items()]
    return lines
