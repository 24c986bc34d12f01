"""What one step of an accelerated gradient method does beside projection, each in one pass over the memory."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(parallel=True, cache=True)
def momentum_step_cpu(x, ahead, gradient, support, step, momentum):
    """x' = ahead + step * support * gradient; ahead <- x' + momentum (x' - x); x <- x': arrays (n_i, n_j, n_k) float32.

    `support` is (n_i, n_j, n_k), from 0 (x stays 0) to 1, uint8 or float32; or (1, 1, 1) for all.
    """
    n_i, n_j, n_k = x.shape
    is_everywhere = support.size == 1
    length, carried = np.float32(step), np.float32(momentum)
    for i in numba.prange(n_i):
        for j in range(n_j):
            for k in range(n_k):
                share = np.float32(1.0) if is_everywhere else np.float32(support[i, j, k])
                new = ahead[i, j, k] + length * share * gradient[i, j, k]
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
