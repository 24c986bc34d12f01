"""Distance to the background, and the largest ball inside a structure that covers a voxel: exact, in integers.

Squared distances are integers, in units of `Metric.unit` squared, so that
"nearer than" has one answer whatever the voxel size. Beyond the volume counts
as structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from tomo3d import progress
from tomo3d.compute import backend
from tomo3d.compute.kernels import distance as distance_kernels
from tomo3d.compute.kernels import thickness as thickness_kernels
from tomo3d.compute.kernels import thickness_cuda
from tomo3d.types import Array

_TOLERANCE = 1e-6  # voxel edges that are multiples of one length to this are taken to be so
_MAX_DENOMINATOR = 100
_N_TABLE = 1 << 14  # entries of the look-up tables of balls
# A ball is compared with its neighbours in the cube of so many voxels around it if its squared radius reaches so
# much: a large one costs more to paint than to compare.
_SHELLS = ((1, 0), (2, 200), (3, 1000))


@dataclass(frozen=True)
class Metric:
    """|d|^2 = unit^2 (w_z dz^2 + w_y dy^2 + w_x dx^2), weights integer; `dtype` holds it for the whole grid."""

    weights: tuple[int, int, int]
    unit: float
    dtype: type[np.int32] | type[np.int64]

    @property
    def unreached(self) -> int:
        """What stands for "no background": the largest value of `dtype`."""
        return int(np.iinfo(self.dtype).max)


def integer_metric(shape: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> Metric:
    """The integer metric of a grid.

    Voxel edges that are small multiples of one length, to 1e-6, give that length
    as the unit. Others are weighted to about 1e-7 of their squares or better up
    to 2000 voxels a side, which is further than any voxel size is known.
    """
    smallest = min(voxel_size)
    ratios = [Fraction(edge / smallest).limit_denominator(_MAX_DENOMINATOR) for edge in voxel_size]
    common = math.lcm(*(ratio.denominator for ratio in ratios))
    edges = [int(ratio * common) for ratio in ratios]
    is_common = all(
        abs(float(ratio) * smallest - edge) <= _TOLERANCE * edge
        for ratio, edge in zip(ratios, voxel_size, strict=True)
    )
    weights = (edges[0] ** 2, edges[1] ** 2, edges[2] ** 2)
    if is_common and _reach(weights, shape) < np.iinfo(np.int32).max:
        return Metric(weights, smallest / common, np.int32)
    # Products in the lower envelope are up to (3 + 1) n |d|^2 and must stay below 2^63.
    squares = [(edge / smallest) ** 2 for edge in voxel_size]
    room = 2.0**61 / (8 * max(shape) * _reach(squares, shape))
    bits = min(math.floor(math.log2(room)), 40)
    z, y, x = (round(square * 2.0**bits) for square in squares)
    return Metric((z, y, x), smallest / 2.0 ** (bits / 2), np.int64)


def _reach(weights: tuple[int, ...] | list[float], shape: tuple[int, int, int]) -> float:
    return float(sum(weight * n * n for weight, n in zip(weights, shape, strict=True)))


def squared_distance(inside: Array, metric: Metric) -> np.ndarray:
    """Squared distance from each voxel centre to the nearest background voxel centre, in unit^2.

    Parameters
    ----------
    inside : array of integers or booleans, shape (n_z, n_y, n_x)
        Structure: every non-zero voxel. A memory map is read slab by slab.
    metric : Metric
        Of the same grid.

    Returns
    -------
    ndarray of metric.dtype, shape (n_z, n_y, n_x)
        0 in the background; `metric.unreached` everywhere if there is no background.
    """
    squared = np.empty(inside.shape, dtype=metric.dtype)
    w_z, w_y, w_x = metric.weights
    n_z, n_y, _ = squared.shape
    depth = slab_depth(squared.shape)

    def along_x(i: int) -> None:
        part = slice(i * depth, (i + 1) * depth)
        slab = np.ascontiguousarray(np.asarray(inside[part]) != 0)
        distance_kernels.distance_along_x_cpu(slab, w_x, metric.unreached, squared[part])

    def along_y(z: int) -> None:
        distance_kernels.lower_envelopes_cpu(squared, False, z, w_y, metric.unreached)

    def along_z(y: int) -> None:
        distance_kernels.lower_envelopes_cpu(squared, True, y, w_z, metric.unreached)

    for step, n_parts in ((along_x, math.ceil(n_z / depth)), (along_y, n_z), (along_z, n_y)):
        in_threads(step, n_parts, f"distance {step.__name__.replace('_', ' ')}")
    return squared


def in_threads(step: Callable[[int], None], n_parts: int, what: str) -> None:
    """step(i) for each part, in as many threads as there are cores; parts write to different places."""
    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in progress.track(pool.map(step, range(n_parts)), what, n_parts):
            pass


def slab_depth(shape: tuple[int, ...], n_voxels: int = 1 << 22) -> int:
    """Number of slices that hold about `n_voxels` voxels, at least one."""
    return max(1, n_voxels // (shape[1] * shape[2]))


def distance_to_background(inside: Array, voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Distance from each voxel centre to the nearest background voxel centre, float32, in the unit of `voxel_size`.

    Exact but for the rounding of the square root. 0 in the background; inf
    everywhere if there is no background. Beyond the volume counts as structure.
    """
    metric = integer_metric(inside.shape, voxel_size)
    squared = squared_distance(inside, metric)
    distance = np.empty(inside.shape, dtype=np.float32)
    depth = slab_depth(inside.shape)
    for z in range(0, inside.shape[0], depth):
        slab = squared[z : z + depth]
        distance[z : z + depth] = np.where(slab == metric.unreached, np.inf, metric.unit * np.sqrt(slab))
    return distance


def largest_ball_diameter(inside: Array, voxel_size: tuple[float, float, float]) -> Array:
    """Diameter of the largest ball inside the structure that covers each voxel.

    A ball is centred on a voxel of the structure, its radius is the distance to
    the nearest background voxel centre, and it covers the voxels nearer than that.

    Parameters
    ----------
    inside : array of integers or booleans, shape (n_z, n_y, n_x)
        Structure: every non-zero voxel. A CuPy array is worked on where it is.
    voxel_size : tuple of float
        (z, y, x).

    Returns
    -------
    array of float32, shape (n_z, n_y, n_x), beside `inside`
        In the unit of `voxel_size`; 0 in the background.

    Raises
    ------
    ValueError
        If there is no background, so that no ball has an end, or no structure.
    """
    metric = integer_metric(inside.shape, voxel_size)
    xp = backend.namespace(inside)
    squared = (
        squared_distance(inside, metric)
        if xp is np
        else thickness_cuda.squared_distance_cuda(inside, metric.weights, metric.dtype)
    )
    largest = int(squared.max())
    if largest == metric.unreached:
        raise ValueError("the structure must leave some background in the volume, got one that fills it.")
    if largest == 0:
        raise ValueError("the structure must have at least one voxel, got none.")
    kept = medial_voxels(squared, metric, largest)
    if xp is not np:
        covered = thickness_cuda.paint_balls_cuda(kept, squared, metric.weights)
        del squared, kept
        return _diameters_on_device(covered, metric.unit, xp)
    balls = listed_balls(kept, squared)
    del squared, kept  # the balls hold all that is needed, so that the two large arrays never live together
    return painted(balls, metric, largest, inside.shape)


def painted(
    balls: tuple[np.ndarray, np.ndarray, np.ndarray],
    metric: Metric,
    largest: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Diameter of the largest of the balls that cover each voxel, float32; `largest` is the largest of their r2."""
    starts, _, ball_r2 = balls
    r2_of_slice = np.array([ball_r2[row[0] : row[-1]].max(initial=0) for row in starts], dtype=np.int64)
    weights = np.array(metric.weights, dtype=np.int64)
    rest = np.arange(min(_N_TABLE, largest), dtype=np.float64)
    half_widths = np.sqrt(rest / metric.weights[2]).astype(np.int32)
    diameter = np.empty(shape, dtype=np.float32)

    def paint(z: int) -> None:
        plane = np.empty(shape[1:], dtype=np.float64)
        thickness_kernels.paint_balls_cpu(*balls, r2_of_slice, weights, half_widths, z, plane)
        np.multiply(plane, metric.unit, out=diameter[z], casting="same_kind")

    in_threads(paint, shape[0], "painting balls")
    return diameter


def _diameters_on_device(covered: Array, unit: float, xp: Any) -> Array:
    """2 sqrt(r2) in units of length, float32; float64 for a slice at a time."""
    diameter = xp.empty(covered.shape, dtype=np.float32)
    for z in range(len(covered)):
        diameter[z] = (2.0 * xp.sqrt(covered[z].astype(np.float64)) * unit).astype(np.float32)
    return diameter


def medial_voxels(squared: Array, metric: Metric, largest: int, grid: tuple[int, ...] | None = None) -> Array:
    """Where a ball is centred that none nearby contains, booleans (n_z, n_y, n_x), on the device of `squared`.

    `grid` is the shape that `squared` is a part of, if it is one: a part keeps the same balls as the whole.
    """
    offsets, tables, shells, enclosing, shift = ball_tables(metric, largest, grid or squared.shape)
    xp = backend.namespace(squared)
    kept = xp.empty(squared.shape, dtype=np.bool_)
    if xp is not np:
        thickness_cuda.mark_balls_cuda(squared, offsets, tables, shells, enclosing, shift, kept)
        return kept

    def mark(z: int) -> None:
        thickness_kernels.mark_balls_cpu(squared, z, offsets, tables, shells, enclosing, shift, kept)

    in_threads(mark, len(squared), "pruning balls")
    return kept


def ball_tables(
    metric: Metric, largest: int, grid: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """What tells whether a ball contains another: offsets, their tables, shells, enclosing radii and their shift."""
    weights = np.array(metric.weights, dtype=np.int64)
    offsets, kinds, tables, shells = _neighbours(metric, largest)
    shift = max(0, (largest - 1).bit_length() - _N_TABLE.bit_length() + 1)
    enclosing = np.empty((len(kinds), ((largest - 1) >> shift) + 1), dtype=np.int64)
    reach = [math.isqrt((largest - 1) // weight) for weight in metric.weights]
    corner = np.array([min(n - 1, r) for n, r in zip(grid, reach, strict=True)])

    def tabulate(i: int) -> None:
        thickness_kernels.enclosing_radii_cpu(kinds[i], weights, corner, shift, enclosing[i])

    in_threads(tabulate, len(kinds), "comparing balls")
    return offsets, tables, shells, enclosing, shift


def medial_balls(
    squared: np.ndarray, metric: Metric, largest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The balls that none nearby contains, as `listed_balls` lists them."""
    return listed_balls(medial_voxels(squared, metric, largest), squared)


def listed_balls(kept: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The balls centred where `kept` is true, row by row: starts (n_z, n_y + 1) of the rows, x, r2."""
    starts = row_starts(np.array([np.count_nonzero(plane, axis=1) for plane in kept]))
    ball_x = np.empty(int(starts[-1, -1]), dtype=np.int32)
    ball_r2 = np.empty(ball_x.shape, dtype=squared.dtype)

    def collect(z: int) -> None:
        thickness_kernels.list_balls_cpu(kept, squared, z, starts, ball_x, ball_r2)

    in_threads(collect, len(kept), "listing balls")
    return starts, ball_x, ball_r2


def row_starts(counts: np.ndarray) -> np.ndarray:
    """Where what is listed row by row begins and ends in each row, (n_z, n_y + 1), of the counts (n_z, n_y)."""
    ends = np.cumsum(counts.ravel(), dtype=np.int64).reshape(counts.shape)
    return np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1)


def _neighbours(metric: Metric, largest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Offsets to neighbours, shell by shell; their kinds (mirror images share one); kind of each; shells.

    A multiple of a nearer offset is left out: it adds next to nothing.
    """
    unit = metric.weights[2]
    used = [(size, least * unit) for size, least in _SHELLS if least * unit <= largest]
    offsets: list[tuple[int, ...]] = []
    shells = []
    for size, least in used:
        cube = product(range(-size, size + 1), repeat=3)
        offsets += [d for d in cube if max(map(abs, d)) == size and math.gcd(*d) == 1]
        shells.append((len(offsets), least))
    kinds, tables = np.unique(np.abs(np.array(offsets)), axis=0, return_inverse=True)
    return np.array(offsets), kinds, tables.ravel(), np.array(shells)
