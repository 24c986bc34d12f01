"""Changes between the public order, x (or u) last, and the inner order of the projector, y last."""

from __future__ import annotations

import numba
import numpy as np

_EDGE = 16  # one cache line: the edge of the squares that are turned at a time


@numba.njit(parallel=True, cache=True)
def to_inner_cpu(public, inner, before):
    """inner[i, before + j, y] = public[i, y, j]: the rest of `inner` is left as it is."""
    n_i, n_y, n_j = public.shape
    for i in numba.prange(n_i):
        for first_y in range(0, n_y, _EDGE):
            for first_j in range(0, n_j, _EDGE):
                for j in range(first_j, min(first_j + _EDGE, n_j)):
                    for y in range(first_y, min(first_y + _EDGE, n_y)):
                        inner[i, before + j, y] = public[i, y, j]


@numba.njit(parallel=True, cache=True)
def to_public_cpu(inner, before, scale, public):
    """public[i, y, j] = scale * inner[i, before + j, y], in float32."""
    n_i, _, n_j = public.shape
    n_y = inner.shape[2]
    factor = np.float32(scale)
    for i in numba.prange(n_i):
        for first_y in range(0, n_y, _EDGE):
            for first_j in range(0, n_j, _EDGE):
                for y in range(first_y, min(first_y + _EDGE, n_y)):
                    for j in range(first_j, min(first_j + _EDGE, n_j)):
                        public[i, y, j] = factor * inner[i, before + j, y]
