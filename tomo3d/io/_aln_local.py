"""AreTomo's local shifts of patches as a field of local shifts: AreTomo's own interpolation, looked up at our nodes.

AreTomo looks for a point of the aligned view, turned back to the raw view at u from its centre, at u + S(u) + T: S is
the mean of the shifts of the good patches, with weights exp(-100 d^2), d the distance from the patch in sizes of the
view (github.com/czimaginginstitute/AreTomo2, Correct/GCorrPatchShift.cu, since 1.4.2; before, 500 stood for 100). Our
content at r = u + S + T moves by -S before it moves by -T.
"""

from __future__ import annotations

import numpy as np

from tomo3d.io._aln import AlnFile

_STEEPNESS = 100.0
_NODES = 48  # along each axis: the field of 4 x 4 patches falls from one to the next within 1/25 of the view
_MOST_STEPS, _CLOSE_PX = 50, 1e-4


def local_nodes_px(aln: AlnFile, views: np.ndarray, n_views: int, shape: tuple[int, int]) -> np.ndarray:
    """Local shifts (n_views, n_nodes, n_nodes, 2), (y, x) in pixels of raw views of this (n_y, n_x); 0 in dark views.

    `views` says which view each line of the file is.
    """
    line = aln.local[:, 0].astype(int)
    n = _NODES
    y, x = (((np.arange(n) + 0.5) / n - 0.5) * size for size in shape)
    nodes = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    shifts = np.zeros((n_views, n, n, 2))
    for number in np.unique(line):
        rows = aln.local[(line == number) & (aln.local[:, 6] >= 0.9)]
        if len(rows):
            offset = aln.rows[number, [4, 3]]
            shifts[views[number]] = -_shifts_at(nodes - offset, rows, shape).reshape(n, n, 2)
    return shifts


def _shifts_at(places: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """S of the points that are found at u + S(u) = `places` (n, 2)."""
    shifts = np.zeros_like(places)
    for _ in range(_MOST_STEPS):
        before, shifts = shifts, aretomo_shifts(places - shifts, rows, shape)
        if np.abs(shifts - before).max() < _CLOSE_PX:
            break
    return shifts


def aretomo_shifts(points: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """AreTomo's S (n, 2) at points (y, x) from the centre, from rows of good patches of its local block, in pixels."""
    distance = (points[:, None] - rows[:, [3, 2]]) / np.array(shape)
    exponent = -_STEEPNESS * (distance**2).sum(axis=-1)
    weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))  # of the same ratio, and never all 0
    return weights @ rows[:, [5, 4]] / weights.sum(axis=1, keepdims=True)
