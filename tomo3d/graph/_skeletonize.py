"""Curve skeletons and medial surfaces of masks."""

from __future__ import annotations

import numpy as np

from tomo3d.compute.thinning import skeleton
from tomo3d.types import Labels


def skeletonize(mask: Labels) -> Labels:
    """Curve skeleton of a mask: lines one voxel wide, with every piece, tunnel and cavity of the mask.

    Parameters
    ----------
    mask : Labels, shape (n_z, n_y, n_x)
        Structure; every non-zero voxel belongs to it. Voxels that share a face, an edge or a corner are connected,
        background only by faces.

    Returns
    -------
    Labels of bool, same grid
        Empty if the mask is. Its number of pieces and its Euler number are those of the mask, always; so a cavity
        stays, as a closed surface (`skeleton_graph` fills it first).

    Notes
    -----
    Thinning: a voxel goes only while it is simple [1]_, tested exactly, and once all less deep voxels could go [2]_;
    those of one depth go from the six directions by turns. A voxel with at most one neighbour is an end and stays. So
    lines lie in the middle, to a voxel. A mask turned by 90 deg or mirrored gives the same skeleton, turned or
    mirrored (if the mask is its own image, one of the equal choices): it is thinned in one and the same orientation.

    References
    ----------
    .. [1] Bertrand and Malandain, Pattern Recognition Letters 15 (1994) 169-175, doi:10.1016/0167-8655(94)90046-9
    .. [2] Pudney, Computer Vision and Image Understanding 72 (1998) 404-413, doi:10.1006/cviu.1998.0680
    """
    return _thinned(mask, surfaces=False)


def medial_surface(mask: Labels) -> Labels:
    """Medial surface of a mask: sheets one voxel thick in the middle of its walls, and lines in its struts.

    Parameters
    ----------
    mask : Labels, shape (n_z, n_y, n_x)
        Structure; every non-zero voxel belongs to it, connected as in `skeletonize`.

    Returns
    -------
    Labels of bool, same grid
        Its number of pieces and its Euler number are those of the mask, always.

    Notes
    -----
    The thinning of `skeletonize`, in which voxels of a medial sheet stay too: where the structure has become one
    voxel thick along an axis, and its depth grows by less than 0.7 per length towards every voxel within three
    (walls that meet at more than 89 deg have no sheet between them).
    """
    return _thinned(mask, surfaces=True)


def _thinned(mask: Labels, *, surfaces: bool) -> Labels:
    inside = np.asarray(mask.data) != 0
    found = skeleton(inside, mask.voxel_size_nm, surfaces=surfaces)
    return Labels(found, mask.voxel_size_nm, mask.origin_nm)
