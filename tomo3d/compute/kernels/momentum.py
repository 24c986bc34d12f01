"""What one step of an accelerated gradient method does beside projection, each in one pass over the memory."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(parallel=True, cache=True)
def momentum_step_cpu(x, ahead, gradient, support, step, momentum):
    """x' = ahead + step * support * gradient; ahead <- x' + momentum (x' - x); x <- x': arrays (n_i, n_j, n_k) float32.

    `support` is (n_i, n_j, n_k) uint8, or (1, 1, 1) for all.
    """
    n_i, n_j, n_k = x.shape
    is_everywhere = support.size == 1
    length, carried = np.float32(step), np.float32(momentum)
    for i in numba.prange(n_i):
        for j in range(n_j):
            for k in range(n_k):
                new = ahead[i, j, k] + length * gradient[i, j, k]
                if not is_everywhere and support[i, j, k] == 0:
                    new = np.float32(0.0)
                ahead[i, j, k] = new + carried * (new - x[i, j, k])
                x[i, j, k] = new


@numba.njit(parallel=True, cache=True)
def weighted_rest_cpu(weighted, weights, images):
    """images <- weights (weighted - weights images), in one pass: arrays (n_i, n_j, n_k) float32."""
    n_i, n_j, n_k = images.shape
    for i in numba.prange(n_i):
        for j in range(n_j):
            for k in range(n_k):
                weight = weights[i, j, k]
                images[i, j, k] = weight * (weighted[i, j, k] - weight * images[i, j, k])
