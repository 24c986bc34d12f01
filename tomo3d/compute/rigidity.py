"""Rank and null space of the rigidity matrix of a framework of bars and joints."""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy import linalg, sparse

from tomo3d.compute.dissection import block_order, factorised, nested_dissection

ZERO = 1e-12
"""Squares of singular values below this are zero: the bars of the matrix have unit length, one end moves by one."""
_CHECK = 1e-10  # no square may lie between the two
_FLAT = 1e-6  # sine of the angle below which a bar lies in the plane of two others
_DENSE = 600  # unknowns: up to here singular values are computed one by one


def rigidity_matrix(positions: np.ndarray, ends: np.ndarray) -> sparse.csr_matrix:
    """How fast each bar lengthens as joints move, (n_bars, 3 n_joints): unit vectors along the bars."""
    along = positions[ends[:, 1]] - positions[ends[:, 0]]
    unit = along / np.linalg.norm(along, axis=1, keepdims=True)
    n_bars = len(ends)
    columns = np.concatenate([3 * ends[:, :1] + np.arange(3), 3 * ends[:, 1:] + np.arange(3)], axis=1)
    rows = np.repeat(np.arange(n_bars), 6)
    values = np.concatenate([-unit, unit], axis=1).ravel()
    return sparse.csr_matrix((values, (rows, columns.ravel())), shape=(n_bars, 3 * len(positions)))


def rank(positions: np.ndarray, ends: np.ndarray) -> int:
    """Rank of the rigidity matrix.

    Parameters
    ----------
    positions : ndarray, shape (n_joints, 3)
    ends : ndarray of int, shape (n_bars, 2)
        No bar without length.

    Notes
    -----
    A joint with up to three bars whose directions are linearly independent adds their number to the rank, whatever
    else there is: such joints are taken away one after the other. The rank of what is left is the number of positive
    eigenvalues of R^T R, counted as signs of the pivots of R^T R - `ZERO` (Sylvester's law of inertia).
    """
    found, kept = _without_loose_joints(positions, ends)
    if len(kept) == 0:
        return found
    joints, numbers = np.unique(ends[kept], return_inverse=True)
    matrix = rigidity_matrix(positions[joints], numbers.reshape(-1, 2))
    if matrix.shape[1] <= _DENSE:
        singular = linalg.svdvals(matrix.toarray(), check_finite=False)
        return found + int((singular**2 > ZERO).sum())
    squares = (matrix.T @ matrix).tocsc()
    order = block_order(nested_dissection(positions[joints], numbers.reshape(-1, 2)), 3)
    n_zero, n_near = (_count_below(squares, order, limit) for limit in (ZERO, _CHECK))
    if n_near != n_zero:
        warnings.warn(
            f"{n_near - n_zero} motions of the network are all but free: they change no bar by more than 1e-5 of the "
            "motion. They are counted as resisted.",
            stacklevel=2,
        )
    return found + matrix.shape[1] - n_zero


def null_space(positions: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Motions that change no bar and are no motion of the whole, orthonormal, (n_modes, n_joints, 3).

    By a dense singular value decomposition: n_joints^3.
    """
    n = len(positions)
    matrix = rigidity_matrix(positions, ends).toarray() if len(ends) else np.zeros((1, 3 * n))
    _, singular, vectors = linalg.svd(matrix, full_matrices=True, check_finite=False)
    free = vectors[int((singular**2 > ZERO).sum()) :]
    whole = linalg.orth(whole_motions(positions), rcond=_FLAT)
    free = free - (free @ whole) @ whole.T
    left, size, modes = linalg.svd(free, full_matrices=False, check_finite=False)
    del left
    return np.asarray(modes[size > 0.5].reshape(-1, n, 3))


def whole_motions(positions: np.ndarray) -> np.ndarray:
    """Three translations and three rotations about the centroid, (3 n_joints, 6)."""
    centred = positions - positions.mean(axis=0) if len(positions) else positions
    motions = np.zeros((len(positions), 3, 6))
    motions[:, :, :3] = np.eye(3)
    for axis in range(3):
        motions[:, :, 3 + axis] = np.cross(np.eye(3)[axis], centred)
    return motions.reshape(-1, 6)


def n_whole_motions(positions: np.ndarray) -> int:
    """Independent motions of the whole: 3 of one joint, 5 of joints on a line, else 6; 0 of none."""
    if len(positions) == 0:
        return 0
    sizes = linalg.svdvals(positions - positions.mean(axis=0))
    n_extents = int((sizes > _FLAT * max(float(sizes[0]), math.ulp(1.0))).sum())
    return (3, 5, 6, 6)[n_extents]


def _count_below(squares: sparse.csc_matrix, order: np.ndarray, limit: float) -> int:
    shifted = squares - limit * sparse.identity(squares.shape[0], format="csc")
    return int((factorised(shifted, order).U.diagonal() < 0).sum())


def _without_loose_joints(positions: np.ndarray, ends: np.ndarray) -> tuple[int, np.ndarray]:
    """Rank that joints with three bars or fewer add, and the numbers of the bars that are left."""
    bars_of: list[set[int]] = [set() for _ in range(len(positions))]
    for bar, (a, b) in enumerate(ends.tolist()):
        bars_of[a].add(bar)
        bars_of[b].add(bar)
    along = positions[ends[:, 1]] - positions[ends[:, 0]]
    unit = along / np.linalg.norm(along, axis=1, keepdims=True)
    found = 0
    pending = [joint for joint, bars in enumerate(bars_of) if 0 < len(bars) <= 3]
    while pending:
        joint = pending.pop()
        bars = list(bars_of[joint])
        if not bars or len(bars) > 3 or not _is_independent(unit[bars]):
            continue
        found += len(bars)
        bars_of[joint].clear()
        for bar in bars:
            a, b = ends[bar]
            other = int(b if a == joint else a)
            bars_of[other].discard(bar)
            if 0 < len(bars_of[other]) <= 3:
                pending.append(other)
    return found, np.array(sorted(set().union(*bars_of)), dtype=np.int64)


def _is_independent(directions: np.ndarray) -> bool:
    if len(directions) == 1:
        return True
    normal = np.cross(directions[0], directions[1])
    size = float(np.linalg.norm(normal))
    if size < _FLAT:
        return False
    return len(directions) == 2 or abs(float(normal @ directions[2])) > _FLAT * size
