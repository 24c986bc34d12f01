"""Profiles of the grey value along the normals of a surface, smoothed and averaged along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import profiles as kernels

_CHUNK = 1024  # points at a time
_MAX_CELLS = 256  # along an axis


@dataclass(frozen=True, eq=False)
class Patches:
    """Points of a surface, sorted so that those near each other are found: all arrays are in the order of `order`."""

    points: np.ndarray  # (n, 3), z, y, x
    normals: np.ndarray  # (n, 3), unit
    weights: np.ndarray  # (n,), area of each
    order: np.ndarray  # (n,), where each came from
    cell_of: np.ndarray  # (n, 3)
    starts: np.ndarray  # (n_cells + 1,)
    shape: np.ndarray  # (3,)
    radius: float

    def restored(self, values: np.ndarray) -> np.ndarray:
        """Values in this order, (n, ...), in the order in which the points came."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


def patches(points: np.ndarray, normals: np.ndarray, weights: np.ndarray, radius: float) -> Patches:
    """Points (n, 3) with unit normals and weights, ready for neighbours within a radius (in the unit of the points)."""
    low, high = points.min(axis=0), points.max(axis=0)
    edge = max(radius, float((high - low).max()) / _MAX_CELLS, 1e-12)
    cell_of = ((points - low) / edge).astype(np.int64)
    shape = cell_of.max(axis=0) + 1
    cell = (cell_of[:, 0] * shape[1] + cell_of[:, 1]) * shape[2] + cell_of[:, 2]
    order = np.argsort(cell, kind="stable")
    starts = np.zeros(int(shape.prod()) + 1, dtype=np.int64)
    np.cumsum(np.bincount(cell, minlength=int(shape.prod())), out=starts[1:])
    sorted_points, sorted_normals, sorted_weights, sorted_cells = (
        np.ascontiguousarray(array[order]) for array in (points, normals, weights, cell_of)
    )
    return Patches(sorted_points, sorted_normals, sorted_weights, order, sorted_cells, starts, shape, radius)


def smoothed(patch: Patches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and unit normals (n, 3) of a quadric fitted to the neighbours of each point, and its curvatures (n, 2).

    In the order of the patch. Curvatures are the mean and the least of the principal ones, positive where the surface
    is convex; 0 where there are too few neighbours.
    """
    points, normals = np.empty_like(patch.points), np.empty_like(patch.normals)
    curvatures = np.empty((len(points), 2))
    by_chunks(
        len(points),
        "smoothing the surface",
        lambda first, last: kernels.smooth_points_cpu(
            patch.points,
            patch.normals,
            patch.weights,
            patch.cell_of,
            patch.starts,
            patch.shape,
            patch.radius,
            first,
            last,
            points,
            normals,
            curvatures,
        ),
    )
    return points, normals, curvatures


def sampled(grey: np.ndarray, index: np.ndarray, direction: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Grey values along rays, (n, n_steps) float32, by cubic interpolation; nan outside the volume.

    Parameters
    ----------
    grey : ndarray, shape (n_z, n_y, n_x)
        float32.
    index : ndarray, shape (n, 3)
        Where the rays start, in voxel indices (z, y, x).
    direction : ndarray, shape (n, 3)
        Voxels per unit of `steps`.
    steps : ndarray, shape (n_steps,)

    Notes
    -----
    Cubics of Keys (1981), doi:10.1109/TASSP.1981.1163711, a = -1/2: they have no variance and do not widen an edge.
    """
    out = np.empty((len(index), len(steps)), dtype=np.float32)
    by_chunks(
        len(index),
        "sampling profiles",
        lambda first, last: kernels.sample_profiles_cpu(
            grey, index[first:last], direction[first:last], steps, out[first:last]
        ),
    )
    return out


def averaged(patch: Patches, profiles: np.ndarray) -> np.ndarray:
    """Mean profile of the neighbours of each point, (n, n_steps); both in the order of the patch."""
    out = np.empty_like(profiles)
    by_chunks(
        len(profiles),
        "averaging profiles",
        lambda first, last: kernels.average_profiles_cpu(
            patch.points,
            patch.normals,
            patch.weights,
            patch.cell_of,
            patch.starts,
            patch.shape,
            patch.radius,
            first,
            last,
            profiles,
            out,
        ),
    )
    return out


def by_chunks(n: int, what: str, step: Callable[[int, int], None]) -> None:
    """step(first, last) over parts of n points, in threads; parts write to different places."""
    n_parts = -(-n // _CHUNK)
    in_threads(lambda i: step(i * _CHUNK, min((i + 1) * _CHUNK, n)), n_parts, what)
