"""Solids on grids: line integrals on the pixels of a view, fractions on the voxels of a volume.

Both add into an array of the caller and visit only what the solid can reach, so that a
specimen of a hundred small bodies costs little more than its largest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import geometry

if TYPE_CHECKING:
    from tomo3d.phantoms._solid import Solid, Vector


BLOCK_SIZE = 1 << 16  # points at once: large against the cost of a call, small against a volume


@dataclass(frozen=True, eq=False)
class ViewFrame:
    """Where the pixels of one view lie: (v, u) in nm = matrix @ (row, column) + offset_nm.

    The map is a similarity (rotation, scale, shift), as the alignment of a view is.
    """

    tilt_angle_deg: float
    matrix: np.ndarray
    offset_nm: np.ndarray

    @classmethod
    def aligned(cls, tilt_angle_deg: float, image_shape: tuple[int, int], pixel_size_nm: float) -> ViewFrame:
        """Frame of an aligned view: rows along the tilt axis, its centre at (0, 0) nm."""
        check_image(image_shape, pixel_size_nm)
        offset = np.array([-geometry.centre(n) * pixel_size_nm for n in image_shape])
        return cls(tilt_angle_deg, np.eye(2) * pixel_size_nm, offset)

    @property
    def nm_per_pixel(self) -> float:
        """Length of one pixel in the specimen."""
        return math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    def positions_nm(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(u, v) in nm of rows (n, 1) and columns (1, m), which may be fractional."""
        v, u = (self.matrix[i, 0] * rows + self.matrix[i, 1] * columns + self.offset_nm[i] for i in range(2))
        return u, v

    def footprint(self, solid: Solid, image_shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns that the solid's bounding ball may touch."""
        if math.isinf(solid.bounding_radius_nm):
            return slice(0, image_shape[0]), slice(0, image_shape[1])
        z, y, x = solid.centre_nm
        u = float(geometry.detector_position(np.array(x), np.array(z), self.tilt_angle_deg))
        middle = (np.array([y, u]) - self.offset_nm) @ self.matrix / self.nm_per_pixel**2  # of a similarity
        reach = solid.bounding_radius_nm / self.nm_per_pixel + 1.0  # a pixel's own half width, rounded up
        return _span(middle[0], reach, image_shape[0]), _span(middle[1], reach, image_shape[1])


def add_projection(
    image: np.ndarray, solid: Solid, weight: float, frame: ViewFrame, samples_per_pixel: int
) -> None:
    """Add weight x path to `image`, each pixel the mean of samples_per_pixel ** 2 rays."""
    rows, columns = frame.footprint(solid, (image.shape[0], image.shape[1]))
    n, parts = samples_per_pixel, sub_positions(samples_per_pixel)
    j = _fine(columns, parts)
    if not len(j):
        return  # out of the view; where no row is touched, the loop below is empty
    n_rows = max(1, BLOCK_SIZE // (n * len(j)))
    for start in range(rows.start, rows.stop, n_rows):
        block = slice(start, min(start + n_rows, rows.stop))
        u, v = frame.positions_nm(_fine(block, parts)[:, None], j[None, :])
        chord = solid.chord_nm(u, v, frame.tilt_angle_deg)
        total = chord.reshape(-1, n, len(j) // n, n).sum(axis=(1, 3))
        image[block, columns] += weight / n**2 * total


def _fine(span: slice, parts: np.ndarray) -> np.ndarray:
    """Positions of all parts of the pixels of a span, (n_pixels x n_parts,)."""
    return (np.arange(span.start, span.stop)[:, None] + parts).ravel()


def add_fraction(
    out: np.ndarray, solid: Solid, weight: float, edges_nm: np.ndarray, samples_per_voxel: int
) -> None:
    """Add weight x filled fraction to `out`, a grid (n_z, n_y, n_x) centred at (0, 0, 0) nm."""
    reach_nm = 0.5 * float(np.linalg.norm(edges_nm)) * solid.depth_excess
    for place, position in _blocks(out.shape, solid, edges_nm):
        depth = solid.depth_nm(position)
        filled = (depth > 0).astype(np.float64)
        crossed = np.abs(depth) <= reach_nm
        filled[crossed] = _mean_fraction(solid, position[crossed], edges_nm, samples_per_voxel)
        out[place] += weight * filled


def paint(out: np.ndarray, solid: Solid, label: int, edges_nm: np.ndarray) -> None:
    """Set `label` where the centre of a voxel is in the solid, on a grid (n_z, n_y, n_x) centred at (0, 0, 0) nm."""
    for place, position in _blocks(out.shape, solid, edges_nm):
        out[place][solid.depth_nm(position) > 0] = label


def _blocks(
    shape: tuple[int, ...], solid: Solid, edges_nm: np.ndarray
) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
    """Parts of the grid that a solid may touch: their place, and positions (n_z, n_y, n_x, 3) in nm."""
    if len(shape) != 3:
        raise ValueError(f"shape must be three whole numbers (n_z, n_y, n_x), got {shape}.")
    spans = [
        slice(0, n)
        if math.isinf(solid.bounding_radius_nm)
        else _span(middle / edge + geometry.centre(n), solid.bounding_radius_nm / edge + 1.0, n)
        for n, edge, middle in zip(shape, edges_nm, solid.centre_nm, strict=True)
    ]
    z, y, x = (
        geometry.coordinates(n)[span] * edge for n, span, edge in zip(shape, spans, edges_nm, strict=True)
    )
    n_planes = max(1, BLOCK_SIZE // max(1, len(y) * len(x)))
    for start in range(0, len(z), n_planes):
        heights = z[start : start + n_planes]
        position = np.stack(np.meshgrid(heights, y, x, indexing="ij"), axis=-1)
        first = spans[0].start + start
        yield (slice(first, first + len(heights)), spans[1], spans[2]), position


def _mean_fraction(solid: Solid, position: np.ndarray, edges_nm: np.ndarray, n_parts: int) -> np.ndarray:
    """Filled fraction, (n,), of voxels at `position` (n, 3), each cut into n_parts ** 3."""
    steps = sub_positions(n_parts)
    part_edges = edges_nm / n_parts
    reach_nm = 0.5 * float(np.linalg.norm(part_edges)) * solid.depth_excess
    total = np.zeros(len(position))
    for offset in itertools.product(steps, repeat=3):
        part = position + np.array(offset) * edges_nm
        depth = solid.depth_nm(part)
        filled = (depth > 0).astype(np.float64)
        crossed = np.abs(depth) <= reach_nm
        filled[crossed] = _part_fraction(solid, part[crossed], depth[crossed], part_edges)
        total += filled
    return total / n_parts**3


def _part_fraction(solid: Solid, position: np.ndarray, depth: np.ndarray, edges_nm: np.ndarray) -> np.ndarray:
    """Filled fraction, (n,), of boxes at `position` (n, 3) that are small against the solid's curvature.

    The surface cuts a box as a plane would that has its normal and, at the middle, the mean depth of the
    box, by Simpson's rule: so the curvature enters to first order.
    """
    mean, widths = depth.copy(), np.empty((3, len(depth)))
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 0.5 * edges_nm[axis]
        above, below = solid.depth_nm(position + step), solid.depth_nm(position - step)
        mean += (above + below - 2.0 * depth) / 6.0
        widths[axis] = np.abs(above - below)
    return _cut_fraction(mean, widths)


def _cut_fraction(depth: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Fraction, (n,), of a box on the positive side of a plane; `widths` (3, n): change of depth along each edge.

    It is the distribution function of the sum of three uniform variables of these widths.
    """
    largest = np.maximum(widths.max(axis=0), 1e-30)
    # Edges along the plane would divide by 0: a slope of 1e-4 in their place alters the result by under 1e-5.
    w = np.maximum(widths / largest, 1e-4)
    d = np.clip(depth / largest, -2.0, 2.0)  # beyond 1.5 the plane misses the box
    total = np.zeros_like(d)
    for signs in itertools.product((-1.0, 1.0), repeat=3):
        corner = d + 0.5 * (signs[0] * w[0] + signs[1] * w[1] + signs[2] * w[2])
        total += math.prod(signs) * np.maximum(corner, 0.0) ** 3
    return np.clip(total / (6.0 * w.prod(axis=0)), 0.0, 1.0)


def sub_positions(n: int) -> np.ndarray:
    """Centres of the n parts of a unit edge, from its middle."""
    if not (isinstance(n, (int, np.integer)) and n >= 1):
        raise ValueError(f"the number of samples along an edge must be a whole number from 1 up, got {n}.")
    return geometry.coordinates(n) / n


def voxel_edges(voxel_size_nm: float | Vector) -> np.ndarray:
    """Edges (z, y, x) of a voxel, (3,), from one edge or three."""
    edges = np.asarray(voxel_size_nm, dtype=np.float64)
    if edges.shape not in ((), (3,)) or not (np.isfinite(edges).all() and (edges > 0).all()):
        raise ValueError(
            f"voxel_size_nm must be a positive length or three of them (z, y, x) in nm, got {voxel_size_nm}."
        )
    return np.broadcast_to(edges, (3,))


def tilt_angles(tilt_angles_deg: Sequence[float] | np.ndarray) -> np.ndarray:
    """Tilt angles, (n_tilts,), as they were given."""
    angles = np.array(tilt_angles_deg, dtype=np.float64)
    if angles.ndim != 1 or not angles.size or not np.isfinite(angles).all():
        raise ValueError(
            f"tilt_angles_deg must be a list of at least one finite angle in degrees, got {tilt_angles_deg}."
        )
    return angles


def check_image(image_shape: tuple[int, int], pixel_size_nm: float) -> None:
    """Raise ValueError unless the shape is (n_y, n_x) and the pixel a positive length."""
    check_pixel(pixel_size_nm)
    if len(image_shape) != 2 or not all(int(n) == n and n >= 1 for n in image_shape):
        raise ValueError(f"image_shape must be two whole numbers (n_y, n_x) from 1 up, got {image_shape}.")


def check_pixel(pixel_size_nm: float) -> None:
    """Raise ValueError unless the pixel is a positive length."""
    if not (math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"pixel_size_nm must be a positive length in nm, got {pixel_size_nm:g} nm.")


def _span(middle: float, reach: float, n: int) -> slice:
    start = min(max(math.ceil(middle - reach), 0), n)
    return slice(start, max(min(math.floor(middle + reach) + 1, n), start))
