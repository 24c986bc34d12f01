"""The voxels of a mask in order, and the depth of each below the surface: work for what there is, not for a volume."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.distance import Metric, distance_to_background, in_threads, integer_metric, slab_depth
from tomo3d.compute.kernels import bits, distance

_PLANES = 16  # at once


@dataclass(frozen=True)
class Bits:
    """A mask with a rim of background, one bit a voxel, flat, as for `kernels.bits`; words in a row, in a plane."""

    words: np.ndarray
    row: int
    plane: int
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, inside: np.ndarray) -> Bits:
        """Those of a mask (n_z, n_y, n_x) of booleans."""
        n_z, n_y, n_x = inside.shape
        row = (n_x + 2 + 63) // 64
        words = np.zeros((n_z + 2, n_y + 2, row), dtype="<u8")
        depth = slab_depth(inside.shape)

        def pack(i: int) -> None:
            part = inside[i * depth : (i + 1) * depth]
            wide = np.pad(part, ((0, 0), (0, 0), (1, 64 * row - n_x - 1)))
            packed = np.packbits(wide, axis=2, bitorder="little").view("<u8")
            words[i * depth + 1 : i * depth + 1 + len(part), 1:-1] = packed

        in_threads(pack, math.ceil(n_z / depth), "voxels")
        return cls(words.reshape(-1), row, row * (n_y + 2), (n_z, n_y, n_x))

    def index(self, places: np.ndarray) -> np.ndarray:
        """Index (n, 3) of voxels by their places in the flat volume."""
        z, rest = np.divmod(places, 64 * self.plane)
        y, x = np.divmod(rest, 64 * self.row)
        return np.stack([z, y, x], axis=1) - 1

    def places(self, index: np.ndarray) -> np.ndarray:
        """Places of voxels by their index (n, 3)."""
        return (index + 1) @ np.array([64 * self.plane, 64 * self.row, 1])

    def on_faces(self, faces: np.ndarray) -> np.ndarray:
        """Words of the voxels that lie at the first or last index of an axis, where `faces` (3, 2) says so."""
        n_z, n_y, n_x = self.shape
        words = self.words.reshape(n_z + 2, n_y + 2, self.row)
        kept = np.zeros_like(words)
        for z in np.array([1, n_z])[faces[0]]:
            kept[z] = words[z]
        for y in np.array([1, n_y])[faces[1]]:
            kept[:, y] = words[:, y]
        for x in np.array([1, n_x])[faces[2]]:
            kept[:, :, x // 64] |= words[:, :, x // 64] & np.uint64(1 << (int(x) % 64))
        return kept.reshape(-1)


def listed(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of all bits that are 1, in order, and where each word begins in that list; one more than words."""
    starts = np.empty(len(words) + 1, dtype=np.int64)
    bits.count_bits_cpu(words, starts)
    places = np.empty(int(starts[-1]), dtype=np.int64)
    n = 1 << 16

    def part(i: int) -> None:
        bits.list_bits_cpu(words, i * n, min((i + 1) * n, len(words)), places, starts[i * n])

    in_threads(part, math.ceil(len(words) / n), "voxels")
    return places, starts


@dataclass(frozen=True)
class Depths:
    """The voxels of a mask by their places, in order, and their distance to the background, float32."""

    mask: Bits
    places: np.ndarray
    depth: np.ndarray

    def at(self, index: np.ndarray) -> np.ndarray:
        """Depth of voxels by their index (n, 3), 0 in the background."""
        wanted = self.mask.places(index)
        found = np.empty(len(wanted), dtype=np.float64)
        distance.depths_at_cpu(self.places, self.depth, wanted, found)
        return found

    def volume(self) -> np.ndarray:
        """The depth of every voxel of the volume."""
        volume = np.zeros(self.mask.shape, dtype=np.float32)
        volume[tuple(self.mask.index(self.places).T)] = self.depth
        return volume


def depths_of(inside: np.ndarray, voxel_size: tuple[float, float, float]) -> Depths:
    """Depths of a mask; where all of it is structure, those below the faces of the volume."""
    mask = Bits.of(inside)
    places, starts = listed(mask.words)
    if len(places) == inside.size:
        within = distance_to_background(np.pad(inside, 1), voxel_size)[1:-1, 1:-1, 1:-1]
        return Depths(mask, places, within.ravel())
    metric = integer_metric(inside.shape, voxel_size)
    squared = _squared(mask, places, starts[:: mask.row], metric)
    depth = squared.view(np.float32) if squared.dtype.itemsize == 4 else np.empty(len(places), np.float32)
    n = 1 << 18

    def root(i: int) -> None:
        part = slice(i * n, (i + 1) * n)
        depth[part] = metric.unit * np.sqrt(squared[part].astype(np.float64))

    in_threads(root, math.ceil(len(depth) / n), "depth")
    return Depths(mask, places, depth)


def _squared(mask: Bits, places: np.ndarray, starts: np.ndarray, metric: Metric) -> np.ndarray:
    """Squared distance of each voxel of a list to the background, in integers.

    `starts` says where each row of the flat volume begins in the list: row z (n_y + 2) + y, the rim among them.
    """
    n_z, n_y, n_x = mask.shape
    w_z, w_y, w_x = metric.weights
    unreached, dtype = metric.unreached, metric.dtype
    squared = np.empty(len(places), dtype=dtype)
    length = 64 * mask.row

    def along_x(i: int) -> None:
        first, last = (z * (n_y + 2) for z in (i * _PLANES, min((i + 1) * _PLANES, n_z + 2)))
        distance.distance_in_rows_cpu(places, starts, first, last, n_x, 1, length, w_x, unreached, squared)

    def along_y(i: int) -> None:
        plane = np.zeros((n_y, n_x), dtype=dtype)
        for z in range(i * _PLANES + 1, min((i + 1) * _PLANES, n_z) + 1):
            distance.envelopes_in_rows_cpu(
                places, starts, z * (n_y + 2) + 1, 1, n_y, 1, length, w_y, unreached, squared, plane
            )

    def along_z(i: int) -> None:
        plane = np.zeros((n_z, n_x), dtype=dtype)
        for y in range(i * _PLANES + 1, min((i + 1) * _PLANES, n_y) + 1):
            distance.envelopes_in_rows_cpu(
                places, starts, n_y + 2 + y, n_y + 2, n_z, 1, length, w_z, unreached, squared, plane
            )

    for step, n in ((along_x, n_z + 2), (along_y, n_z), (along_z, n_y)):
        in_threads(step, math.ceil(n / _PLANES), f"distance {step.__name__.replace('_', ' ')}")
    return squared
