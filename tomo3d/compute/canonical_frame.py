"""The one orientation of a mask that all its quarter turns and mirror images share.

What is computed in it, order of voxels and all, is the same for a mask and its turned or mirrored copies.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.distance import in_threads, slab_depth

_CUBE = 64  # voxels an edge that are copied at once

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Frame:
    """Axes in a new order, some of them reversed."""

    axes: tuple[int, int, int]  # the old axis of each new one
    is_reversed: tuple[bool, bool, bool]  # of each new axis

    def turned(self, array: np.ndarray) -> np.ndarray:
        """The array in this frame, contiguous."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.is_reversed)
        return _contiguous(array.transpose(self.axes)[steps])

    def back(self, array: np.ndarray) -> np.ndarray:
        """An array of this frame in the original one, contiguous."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.is_reversed)
        return _contiguous(array[steps].transpose(np.argsort(self.axes)))

    def sizes(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        """Lengths along the old axes as those along the new."""
        z, y, x = (float(values[axis]) for axis in self.axes)
        return (z, y, x)

    def positions_back(self, positions: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Positions (n, 3) in this frame, from the first voxel, in the original one; `size` is the way from the
        first voxel to the last along each axis of this frame."""
        flipped = np.where(self.is_reversed, np.asarray(size) - positions, positions)
        out = np.empty_like(flipped)
        out[:, list(self.axes)] = flipped
        return out


def _contiguous(array: np.ndarray) -> np.ndarray:
    """A contiguous copy, or the array itself where it is; cube by cube, so that both orders stay in the cache."""
    if array.flags.c_contiguous:
        return array
    copy = np.empty(array.shape, dtype=array.dtype)

    def part(i: int) -> None:
        for y, x in itertools.product(*(range(0, n, _CUBE) for n in array.shape[1:])):
            cube = (slice(i * _CUBE, (i + 1) * _CUBE), slice(y, y + _CUBE), slice(x, x + _CUBE))
            copy[cube] = array[cube]

    in_threads(part, math.ceil(len(array) / _CUBE), "turning")
    return copy


def _profiles(inside: np.ndarray) -> list[np.ndarray]:
    """Number of voxels of a mask slice by slice, along each axis."""
    depth = slab_depth(inside.shape)
    n_slabs = math.ceil(len(inside) / depth)
    counts = [np.zeros((n_slabs, n), dtype=np.int64) for n in inside.shape]

    def part(i: int) -> None:
        slab = inside[i * depth : (i + 1) * depth]
        in_rows = np.count_nonzero(slab, axis=2)
        counts[0][i, i * depth : i * depth + len(slab)] = in_rows.sum(axis=1)
        counts[1][i] = in_rows.sum(axis=0)
        counts[2][i] = np.count_nonzero(slab, axis=(0, 1))

    in_threads(part, n_slabs, "turning")
    return [count.sum(axis=0) for count in counts]


def bounding_box(inside: np.ndarray) -> Box | None:
    """The part of a mask that holds all of it and, where there is one, a layer of background; None if it is empty."""
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(inside.any(axis=others))
        if not len(filled):
            return None
        spans.append(slice(max(0, int(filled[0]) - 1), min(inside.shape[axis], int(filled[-1]) + 2)))
    return (spans[0], spans[1], spans[2])


def canonical_frame(inside: np.ndarray, voxel_size: tuple[float, float, float]) -> Frame:
    """The frame in which a mask is the same for all its turned and mirrored copies, voxel size included.

    Axes are ordered by length, voxel size and the number of voxels slice by slice, and run the way in which that
    comes first; where that does not decide, the masks themselves are compared.
    """
    profiles = []
    for axis, counts in enumerate(_profiles(inside)):
        ways = [(tuple(counts.tolist()), False), (tuple(counts[::-1].tolist()), True)]
        least = min(ways)[0]
        key = (inside.shape[axis], voxel_size[axis], least)
        profiles.append((key, [flip for way, flip in ways if way == least]))
    best: tuple[bytes, Frame] | None = None
    frames = [
        Frame((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))
        for axes in itertools.permutations(range(3))
        if [profiles[axis][0] for axis in axes] == sorted(profile[0] for profile in profiles)
        for flips in itertools.product(*(profiles[axis][1] for axis in axes))
    ]
    if len(frames) == 1:
        return frames[0]
    packed = np.packbits if inside.size > 1 << 16 else np.asarray
    for frame in frames:
        content = packed(frame.turned(inside)).tobytes()
        if best is None or content < best[0]:
            best = (content, frame)
    assert best is not None
    return best[1]
