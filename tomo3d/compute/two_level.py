"""Large sparse elastic or electric networks: conjugate gradients with a coarse problem of stiff lumps."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from tomo3d.errors import ConvergenceError
from tomo3d.progress import report

_LUMP = 30  # joints
_TOLERANCE = 1e-8
_MAX_ITERATIONS = 5000
_SMOOTHINGS = 2


def solve_two_level(
    matrix: sparse.csr_array, right: np.ndarray, positions: np.ndarray, motions: np.ndarray
) -> np.ndarray:
    """Solution of a symmetric, positive semidefinite system with a consistent right side.

    Parameters
    ----------
    matrix : sparse array, shape (n, n)
    right : ndarray, shape (n,)
    positions : ndarray, shape (n, 3)
        Where each unknown is: lumps are cut in space.
    motions : ndarray, shape (n, n_motions)
        What a lump may do at no cost: 1 of a potential, motions of the whole of a frame.

    Raises
    ------
    ConvergenceError
        If the residual does not fall to 1e-8 of the right side in 5000 iterations.

    Notes
    -----
    Preconditioner: damped Jacobi steps before and after an exact solution for the motions of lumps of some 30 joints,
    smoothed once (Vanek, Mandel and Brezina, Computing 56 (1996) 179, doi:10.1007/BF02238511).
    """
    size = float(np.linalg.norm(right))
    if size == 0:
        return np.zeros_like(right)
    diagonal = matrix.diagonal()
    inverse = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    damping = 4 / 3 / _largest(matrix, inverse)
    prolong = _lumps(positions, motions)
    prolong = sparse.csr_array(prolong - damping * (sparse.diags_array(inverse) @ (matrix @ prolong)))
    coarse = sparse.csc_array(prolong.T @ matrix @ prolong)
    factors = splu(coarse, permc_spec="MMD_AT_PLUS_A",
                   diag_pivot_thresh=0.0, options={"SymmetricMode": True})  # fmt: skip
    restrict = sparse.csr_array(prolong.T)

    def preconditioned(residual: np.ndarray) -> np.ndarray:
        found = damping * inverse * residual
        for _ in range(_SMOOTHINGS - 1):
            found += damping * inverse * (residual - matrix @ found)
        found += prolong @ factors.solve(restrict @ (residual - matrix @ found))
        for _ in range(_SMOOTHINGS):
            found += damping * inverse * (residual - matrix @ found)
        return np.asarray(found)

    found = np.zeros_like(right)
    residual = right.copy()
    direction, product = np.zeros_like(right), 1.0
    for iteration in range(_MAX_ITERATIONS):
        report("equilibrium of the network", iteration, _MAX_ITERATIONS)
        better = preconditioned(residual)
        new = float(residual @ better)
        direction = better + new / product * direction if iteration else better
        product = new
        step_to = matrix @ direction
        step = product / float(direction @ step_to)
        found += step * direction
        residual -= step * step_to
        if float(np.linalg.norm(residual)) <= _TOLERANCE * size:
            report("equilibrium of the network", _MAX_ITERATIONS, _MAX_ITERATIONS)
            return found
    raise ConvergenceError(
        f"the equilibrium of the network must be found to {_TOLERANCE:g} in {_MAX_ITERATIONS} iterations, got "
        f"{float(np.linalg.norm(residual)) / size:.2g}. Remove thin or nearly loose parts, or cut a window."
    )


def _largest(matrix: sparse.csr_array, inverse: np.ndarray) -> float:
    """Upper end of the spectrum of the matrix over its diagonal, by power iterations, with a margin."""
    vector = np.random.default_rng(0).standard_normal(matrix.shape[0])
    largest = 1.0
    for _ in range(20):
        vector = inverse * (matrix @ vector)
        largest = float(np.linalg.norm(vector))
        vector /= largest
    return 1.1 * largest


def _lumps(positions: np.ndarray, motions: np.ndarray) -> sparse.csr_array:
    """Motions of each lump alone, made orthonormal, (n, n_lumps n_motions at most)."""
    n = len(motions)
    per_joint = max(1, n // len(np.unique(positions, axis=0)))
    rows, columns, values = [], [], []
    n_columns = 0
    pending = [np.arange(n)]
    while pending:
        part = pending.pop()
        if len(part) > _LUMP * per_joint:
            places = positions[part]
            along = places[:, int(np.ptp(places, axis=0).argmax())]
            middle = np.median(along)
            is_low = along < middle if (along < middle).any() else along <= middle
            if is_low.any() and not is_low.all():
                pending += [part[is_low], part[~is_low]]
                continue
        own, sizes, _ = np.linalg.svd(motions[part], full_matrices=False)
        own = own[:, sizes > 1e-8 * sizes[0]] if sizes.size and sizes[0] > 0 else own[:, :0]
        rows.append(np.repeat(part, own.shape[1]))
        columns.append(np.tile(np.arange(own.shape[1]), len(part)) + n_columns)
        values.append(own.ravel())
        n_columns += own.shape[1]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(n, n_columns))
