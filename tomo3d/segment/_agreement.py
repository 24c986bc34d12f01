"""How far labels agree with others on the same grid, as with the truth of a phantom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from tomo3d import tables
from tomo3d.progress import report, track
from tomo3d.segment.markers import check_grids
from tomo3d.types import Labels

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 1 << 16


def agreement(labels: Labels, truth: Labels) -> pd.DataFrame:
    """Overlap and distance between boundaries, class by class.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes to judge.
    truth : Labels, same grid
        Classes to hold them against, with the same numbers.

    Returns
    -------
    pandas.DataFrame
        Columns of `tomo3d.tables.AGREEMENT`, one row for each class but 0 that either has. Distances are nan where
        one of the two has no boundary.

    Raises
    ------
    ValueError
        If the grids differ, or neither has a voxel of any class.

    Notes
    -----
    With A the voxels of a class and B those of its truth: Dice [1]_ is 2 |A and B| / (|A| + |B|), intersection over
    union |A and B| / |A or B|. A boundary is the set of voxel faces between a class and all else (faces on
    the border of the volume are none), each a point at its centre; distances go from every face to the nearest one
    of the other boundary. `boundary_error_nm` is their mean over both boundaries, `hausdorff_90_nm` the larger of
    the 90th percentiles from either side [2]_, and `boundary_shift_nm` the mean over the faces of A with a sign,
    positive outside B: how far the boundary lies too far out. Two slabs that differ by a layer on one side have
    that layer's thickness there; on oblique and round boundaries faces are steps, good to half a voxel.

    References
    ----------
    .. [1] Dice, Ecology 26 (1945) 297-302, doi:10.2307/1932409
    .. [2] Huttenlocher, Klanderman and Rucklidge, IEEE Trans. Pattern Anal. Mach. Intell. 15 (1993) 850-863,
       doi:10.1109/34.232073
    """
    import pandas as pd

    check_grids(truth, labels, "labels")
    found, known = np.asarray(labels.data), np.asarray(truth.data)
    classes = [int(c) for c in np.union1d(np.unique(found), np.unique(known)) if c != 0]
    if not classes:
        raise ValueError("labels or truth must have at least one voxel of a class, got none in either.")
    names = {**labels.names, **truth.names}
    rows = [
        {"class": number, "name": names.get(number, str(number))}
        | _compare(found == number, known == number, np.array(truth.voxel_size_nm))
        for number in track(classes, "agreement", len(classes))
    ]
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.AGREEMENT)), tables.AGREEMENT)


def _compare(found: np.ndarray, known: np.ndarray, voxel_nm: np.ndarray) -> dict[str, float]:
    """Numbers of one class."""
    n_found, n_known = int(np.count_nonzero(found)), int(np.count_nonzero(known))
    both = int(np.count_nonzero(found & known))
    row: dict[str, float] = {
        "dice": 2.0 * both / (n_found + n_known),
        "intersection_over_union": both / (n_found + n_known - both),
        "hausdorff_90_nm": np.nan,
        "boundary_error_nm": np.nan,
        "boundary_shift_nm": np.nan,
        "n_voxels": n_found,
        "n_voxels_truth": n_known,
    }
    places_found, side = _faces(found, known, voxel_nm)
    places_known, _ = _faces(known, known, voxel_nm)
    if len(places_found) and len(places_known):
        out = _nearest(places_found, places_known)
        back = _nearest(places_known, places_found)
        row["hausdorff_90_nm"] = float(max(np.percentile(out, 90), np.percentile(back, 90)))
        row["boundary_error_nm"] = float((out.sum() + back.sum()) / (len(out) + len(back)))
        row["boundary_shift_nm"] = float((side * out).mean())
    return row


def _faces(inside: np.ndarray, other: np.ndarray, voxel_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the faces of a mask, (n, 3) in nm, and their side of another one: 1 outside, -1 inside, 0 on it."""
    places, sides = [], []
    for axis in range(3):
        before = [slice(None)] * 3
        after = [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        index = np.nonzero(inside[tuple(before)] != inside[tuple(after)])
        place = np.stack(index, axis=1) * voxel_nm
        place[:, axis] += 0.5 * voxel_nm[axis]
        places.append(place)
        within = other[tuple(before)][index].astype(np.int8) + other[tuple(after)][index]
        sides.append(1 - within)
    return np.concatenate(places), np.concatenate(sides)


def _nearest(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from each place to the nearest of the others."""
    tree = cKDTree(others)
    distances = np.empty(len(places))
    for i in range(0, len(places), _CHUNK):
        distances[i : i + _CHUNK] = tree.query(places[i : i + _CHUNK])[0]
        report("distances of boundaries", min(i + _CHUNK, len(places)), len(places))
    return distances
