"""Skeletons of masks: what is left when simple voxels go in the order of their depth.

The order follows C. Pudney, Computer Vision and Image Understanding 72 (1998) 404-413, doi:10.1006/cviu.1998.0680:
a voxel may go once all less deep ones could; so the skeleton is centred. Voxels of one depth go from the six
directions by turns, as in K. Palagyi and A. Kuba, Pattern Recognition Letters 19 (1998) 613-627,
doi:10.1016/S0167-8655(98)00031-2, and each only while it is simple: topology is kept whatever the order.
"""

from __future__ import annotations

import itertools

import numpy as np

from tomo3d import progress
from tomo3d.compute.canonical_frame import bounding_box, canonical_frame
from tomo3d.compute.kernels import bits as bit_kernels
from tomo3d.compute.kernels import runs as run_kernels
from tomo3d.compute.kernels import thinning as kernels
from tomo3d.compute.kernels.simple import N_ANSWERS
from tomo3d.compute.voxel_list import Depths, depths_of, listed

_LEVELS_PER_VOXEL = 32  # depths that differ by less are taken as one
_REACH = 3  # voxels along each axis, over which the growth of the depth is taken
# Walls that meet at more than 89 deg have no medial surface between them: the depth along it grows by more.
_SLOPE = 0.7
_MIN_LEVELS = 50


def skeleton(
    inside: np.ndarray, voxel_size: tuple[float, float, float], *, surfaces: bool = False
) -> np.ndarray:
    """Curve skeleton of a mask, or medial surface, bool, in any orientation the same.

    Parameters
    ----------
    inside : ndarray of bool, shape (n_z, n_y, n_x)
    voxel_size : tuple of float
        (z, y, x).
    surfaces : bool
        Keep medial surfaces, not curves only.
    """
    found = np.zeros(inside.shape, dtype=bool)
    box = bounding_box(inside)
    if box is None:
        return found
    frame = canonical_frame(inside[box], voxel_size)
    part = frame.turned(inside[box])
    size = frame.sizes(voxel_size)
    kept = np.zeros(part.shape, dtype=bool)
    kept[tuple(thinned(depths_of(part, size), size, surfaces=surfaces).T)] = True
    found[box] = frame.back(kept)
    return found


def without_cavities(inside: np.ndarray) -> np.ndarray:
    """The mask with every piece of background filled that does not reach the border of the volume, by faces."""
    filled = np.array(inside, dtype=np.bool_)
    starts = np.empty(filled.shape[0] * filled.shape[1] + 1, dtype=np.int64)
    n_runs = run_kernels.count_runs_cpu(filled, starts)
    first, last = np.empty(n_runs, dtype=np.int32), np.empty(n_runs, dtype=np.int32)
    run_kernels.fill_cavities_cpu(filled, starts, first, last, np.empty(n_runs, dtype=np.int64))
    return filled


def thinned(depths: Depths, voxel_size: tuple[float, float, float], *, surfaces: bool = False) -> np.ndarray:
    """Voxels (n, 3) of the skeleton of a mask in this orientation, in order."""
    mask = depths.mask
    words = mask.words.copy()
    places, starts = _levels(depths, np.float32(_LEVELS_PER_VOXEL / min(voxel_size)))
    released, fixed, gone, is_listed = (np.zeros_like(words) for _ in range(4))
    ridge = _ridges(depths, voxel_size) if surfaces else words[:0]
    listed_words, candidates = np.empty((2, np.count_nonzero(words)), dtype=words.dtype)
    answers = np.zeros(N_ANSWERS, dtype=np.int64)
    for n_done, (first, last) in enumerate(itertools.pairwise(starts), start=1):
        kernels.thin_level_cpu(
            words, ridge, released, fixed, gone, is_listed, listed_words, candidates, places[first:last],
            np.uint64(mask.row), np.uint64(mask.plane), answers,
        )  # fmt: skip
        if len(starts) > _MIN_LEVELS and (n_done % 8 == 0 or last == len(places)):
            progress.report("thinning", int(last), len(places))
    return mask.index(listed(words)[0])


def _levels(depths: Depths, scale: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Places of the voxels of a mask by depth, and where each level begins and ends."""
    depth = depths.depth
    counts = np.zeros(int(depth.max(initial=0.0) * scale) + 1, dtype=np.int64)
    kernels.count_levels_cpu(depth, scale, counts)
    ends = np.cumsum(counts)
    places = np.empty(len(depth), dtype=np.int64)
    kernels.by_levels_cpu(depth, scale, depths.places, ends - counts, places)
    return places, np.concatenate([[0], ends[counts > 0]])


def neighbour_steps(
    shape: tuple[int, ...], voxel_size: tuple[float, float, float], reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps in a flat volume to the voxels of the cube around one, itself too, in order, and their lengths."""
    cube = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)), dtype=np.int64)
    steps = cube @ np.array([shape[1] * shape[2], shape[2], 1], dtype=np.int64)
    return steps, np.linalg.norm(cube * np.array(voxel_size), axis=1)


def _ridges(depths: Depths, voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Bits of the voxels of medial sheets."""
    deep = np.pad(depths.volume(), _REACH)
    steps, lengths = neighbour_steps(deep.shape, voxel_size, _REACH)
    others = steps != 0
    index = depths.mask.index(depths.places) + _REACH
    in_deep = np.ravel_multi_index(tuple(index.T), deep.shape)
    is_ridge = np.empty(len(index), dtype=np.bool_)
    kernels.mark_ridges_cpu(deep.reshape(-1), in_deep, steps[others], lengths[others], _SLOPE, is_ridge)
    ridge = np.zeros_like(depths.mask.words)
    bit_kernels.set_bits_cpu(ridge, depths.places[is_ridge])
    return ridge
