"""Objects of a mask that touch, parted at their necks by flooding from the maxima of their depth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tomo3d.compute.distance import distance_to_background
from tomo3d.progress import report

_CORNERS = ndimage.generate_binary_structure(3, 3)


def part_at_necks(inside: np.ndarray, voxel_size: tuple[float, float, float], h: float) -> np.ndarray:
    """Objects of a mask, int32, numbered from 1 in the order of their first voxels; 0 outside.

    Parameters
    ----------
    inside : ndarray of bool, shape (n_z, n_y, n_x)
        With a voxel of structure and one of background.
    voxel_size : tuple of float
        (z, y, x).
    h : float
        How much deeper than the neck both sides must be, in the unit of `voxel_size`.

    Notes
    -----
    Markers are the h-maxima of the distance to the nearest background voxel (Vincent, IEEE Trans. Image Process. 2
    (1993) 176-201, doi:10.1109/83.217222), and grow in the order of falling distance (Vincent and Soille, IEEE Trans.
    Pattern Anal. Mach. Intell. 13 (1991) 583-598, doi:10.1109/34.87344).
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    depth = distance_to_background(inside, voxel_size).astype(np.float64)
    report("watershed", 1, 4)
    lowered = reconstruction(np.where(inside, depth - h, 0.0).clip(min=0.0), depth, footprint=_CORNERS)
    lowered[~inside] = -1.0  # an object less deep than h is flat there, and its own maximum
    report("watershed", 2, 4)
    markers, _ = ndimage.label(local_maxima(lowered, connectivity=3) & inside, structure=_CORNERS)
    del lowered
    report("watershed", 3, 4)
    data = watershed(-depth, markers, mask=inside, connectivity=3).astype(np.int32)
    report("watershed", 4, 4)
    return in_order(data)


def in_order(data: np.ndarray) -> np.ndarray:
    """The same objects, numbered from 1 by their first voxels."""
    numbers, first = np.unique(data, return_index=True)
    order = np.argsort(first[numbers > 0], kind="stable")
    new = np.zeros(int(numbers.max()) + 1, dtype=np.int32)
    new[numbers[numbers > 0][order]] = np.arange(1, len(order) + 1)
    return np.asarray(new[data])
