"""Areas from labels by counting how often straight lines in thirteen directions cross from one class to another."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import configurations as kernels

_N_PLANES = 16

DIRECTIONS = tuple(d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0))
"""Steps (z, y, x) to the thirteen neighbours after a voxel."""


@functools.lru_cache(maxsize=64)
def line_weights(voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Area, (13,), that one crossing on the lines of each of `DIRECTIONS` stands for.

    A crossing stands for twice the area between lines, weighted by the share of all directions that are nearer to this
    one than to another: the cells of Voronoi on the sphere, of the directions as they are in space.
    """
    from scipy.spatial import SphericalVoronoi

    steps = np.array(DIRECTIONS) * np.asarray(voxel_size)
    lengths = np.linalg.norm(steps, axis=1)
    units = steps / lengths[:, None]
    areas = SphericalVoronoi(np.concatenate([units, -units])).calculate_areas()
    shares = (areas[: len(units)] + areas[len(units) :]) / (4.0 * np.pi)
    weights = 2.0 * shares * np.prod(voxel_size) / lengths
    weights.flags.writeable = False
    return np.asarray(weights)


@dataclass(frozen=True, eq=False)
class Crossings:
    """Areas between classes, by block and pair of classes (lower, higher), and the crossings they were counted from.

    Attributes
    ----------
    areas : ndarray, shape (n_blocks, n_classes, n_classes)
    counts : ndarray of int, shape (n_classes, n_classes)
    """

    areas: np.ndarray
    counts: np.ndarray


def crossings(
    classes: np.ndarray, n_classes: int, voxel_size: tuple[float, float, float], block_of_column: np.ndarray
) -> Crossings:
    """Area of the interface of each pair of classes, (n_z, n_y, n_x) uint8, by block of columns (n_y, n_x).

    Interfaces go straight on for half a voxel beyond the outermost centres; the border itself has no area.
    """
    padded = np.pad(classes, 1, mode="edge")
    blocks = np.pad(block_of_column, 1, mode="edge").astype(np.int32)
    n_blocks = int(blocks.max()) + 1
    n_parts = min(math.ceil(len(padded) / _N_PLANES), 4 * backend.n_threads())
    bounds = np.linspace(0, len(padded), n_parts + 1).astype(int)
    areas = np.zeros((n_parts, n_blocks, n_classes, n_classes))
    counts = np.zeros((n_parts, n_classes, n_classes), dtype=np.int64)
    steps, weights = np.array(DIRECTIONS), line_weights(voxel_size)

    def count(i: int) -> None:
        planes = (int(bounds[i]), int(bounds[i + 1]))
        kernels.count_crossings_cpu(padded, planes, steps, weights, blocks, areas[i], counts[i])

    in_threads(count, n_parts, "counting crossings")
    return Crossings(areas.sum(axis=0), counts.sum(axis=0))
