"""Small systems of normal equations, inside other kernels."""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def solve_damped(
    system: np.ndarray, right: np.ndarray, damping: float, n: int, root: np.ndarray, out: np.ndarray
) -> bool:
    """out[:n] <- solution of (system + damping times its diagonal) out = right; False where it is not definite.

    The upper triangle of the leading n x n is read; `root` (>= n, >= n) is room for its Cholesky factor.
    """
    for p in range(n):
        for q in range(p + 1):
            total = system[q, p]
            if p == q:
                total += damping * system[p, p]
            for k in range(q):
                total -= root[p, k] * root[q, k]
            if p == q:
                if not total > 1e-14 * system[p, p]:
                    return False
                root[p, p] = math.sqrt(total)
            else:
                root[p, q] = total / root[q, q]
    for p in range(n):
        total = right[p]
        for k in range(p):
            total -= root[p, k] * out[k]
        out[p] = total / root[p, p]
    for p in range(n - 1, -1, -1):
        total = out[p]
        for k in range(p + 1, n):
            total -= root[k, p] * out[k]
        out[p] = total / root[p, p]
    return True
