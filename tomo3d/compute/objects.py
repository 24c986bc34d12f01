"""Numbered objects on a grid: place, extent, moments and surface area of each."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tomo3d.compute.kernels import objects as kernels

_N_SAMPLES = 40_000  # directions on the sphere


@dataclass(frozen=True, eq=False)
class Objects:
    """What is known of n objects, in the order of their numbers; lengths in voxels but for the area.

    Parameters
    ----------
    numbers, n_voxels : ndarray of int, shape (n,)
    centre : ndarray, shape (n, 3)
        Mean index (z, y, x).
    covariance : ndarray, shape (n, 3, 3)
        Of the indices, over the voxels of the object.
    first, last : ndarray of int, shape (n, 3)
        Corners of the box that holds it.
    area : ndarray, shape (n,)
        Surface by Crofton's formula in 13 directions, in the unit of the voxel size squared, without what the border
        of the grid cuts.
    """

    numbers: np.ndarray
    n_voxels: np.ndarray
    centre: np.ndarray
    covariance: np.ndarray
    first: np.ndarray
    last: np.ndarray
    area: np.ndarray


def measure_objects(labels: np.ndarray, voxel_size: tuple[float, float, float]) -> Objects:
    """Measure every object of `labels`, (n_z, n_y, n_x) of integers from 0, which is none."""
    labels = np.ascontiguousarray(labels, np.int32)
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    n = len(numbers)
    row_of = np.full(int(numbers[-1]) + 1 if n else 1, -1, dtype=np.int64)
    row_of[numbers] = np.arange(n)
    sums = np.zeros((n, kernels.N_SUMS))
    boxes = np.zeros((n, 9), dtype=np.int64)
    crossings = np.zeros((n, kernels.N_DIRECTIONS), dtype=np.int64)
    offsets, weights = _directions(voxel_size)
    kernels.objects_cpu(labels, row_of, offsets, sums, boxes, crossings)
    count = np.maximum(sums[:, :1], 1.0)
    mean = sums[:, 1:4] / count
    squares = sums[:, 4:] / count
    covariance = np.empty((n, 3, 3))
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        covariance[:, i, j] = covariance[:, j, i] = squares[:, k] - mean[:, i] * mean[:, j]
    return Objects(
        numbers.astype(np.int64),
        sums[:, 0].astype(np.int64),
        mean + boxes[:, 6:],
        covariance,
        boxes[:, 0:6:2],
        boxes[:, 1:6:2],
        crossings @ weights,
    )


@lru_cache(maxsize=16)
def _directions(voxel_size: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """One of each pair of opposite neighbours, (13, 3), and the area that a crossing along each stands for.

    Crofton: the area of a surface is twice the mean over all directions of the number of its crossings by lines,
    of which one passes each cell of v / l, v the volume of a voxel and l the distance to the neighbour. A direction
    stands for the share of the sphere that is nearest to it (Ohser and Muecklich, Statistical Analysis of
    Microstructures in Materials Science, Wiley (2000)).
    """
    offsets = np.array([d for d in itertools.product((0, 1, -1), repeat=3) if _is_first(d)])
    steps = offsets * np.array(voxel_size)
    lengths = np.linalg.norm(steps, axis=1)
    # points of a Fibonacci lattice: even over the sphere
    i = np.arange(_N_SAMPLES) + 0.5
    z, angle = 1.0 - 2.0 * i / _N_SAMPLES, math.pi * (1.0 + math.sqrt(5.0)) * i
    root = np.sqrt(1.0 - z * z)
    sphere = np.stack((z, root * np.cos(angle), root * np.sin(angle)), axis=1)
    nearest = np.abs(sphere @ (steps / lengths[:, None]).T).argmax(axis=1)
    shares = np.bincount(nearest, minlength=len(offsets)) / _N_SAMPLES
    if np.allclose(voxel_size, voxel_size[0]):  # equal by symmetry, which the samples meet only nearly
        kind = np.abs(offsets).sum(axis=1)
        shares = np.array([shares[kind == k].mean() for k in kind])
    return offsets, 2.0 * shares * math.prod(voxel_size) / lengths


def _is_first(offset: tuple[int, ...]) -> bool:
    """Whether its first component that is not zero is positive: one of each pair of opposite ones."""
    return next((component for component in offset if component), 0) > 0
