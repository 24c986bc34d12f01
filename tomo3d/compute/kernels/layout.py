"""Changes between the public order, x (or u) last, and the inner order of the projector, y last.

Arrays are float32 with unit steps along their last axis.
"""

from __future__ import annotations

import numba
import numpy as np

from tomo3d.compute.kernels.turn import EDGE, turn_square

_FLOAT = 4  # bytes


@numba.njit(parallel=True, cache=True)
def to_inner_cpu(public, inner, before):
    """inner[i, before + j, y] = public[i, y, j]: the rest of `inner` is left as it is."""
    n_i, n_y, n_j = public.shape
    image, row = public.strides[0] // _FLOAT, public.strides[1] // _FLOAT
    inner_image, inner_row = inner.strides[0] // _FLOAT, inner.strides[1] // _FLOAT
    for i in numba.prange(n_i):
        for first_y in range(0, n_y, EDGE):
            for first_j in range(0, n_j, EDGE):
                if first_y + EDGE <= n_y and first_j + EDGE <= n_j:
                    start = i * image + first_y * row + first_j
                    to = i * inner_image + (before + first_j) * inner_row + first_y
                    turn_square(public, start, row, inner, to, inner_row)
                    continue
                for j in range(first_j, min(first_j + EDGE, n_j)):
                    for y in range(first_y, min(first_y + EDGE, n_y)):
                        inner[i, before + j, y] = public[i, y, j]


@numba.njit(parallel=True, cache=True)
def to_public_cpu(inner, before, scale, public):
    """public[i, y, j] = scale * inner[i, before + j, y]."""
    n_i, n_y, n_j = public.shape
    factor = np.float32(scale)
    image, row = public.strides[0] // _FLOAT, public.strides[1] // _FLOAT
    inner_image, inner_row = inner.strides[0] // _FLOAT, inner.strides[1] // _FLOAT
    for i in numba.prange(n_i):
        for first_y in range(0, n_y, EDGE):
            for first_j in range(0, n_j, EDGE):
                if first_y + EDGE <= n_y and first_j + EDGE <= n_j:
                    start = i * inner_image + (before + first_j) * inner_row + first_y
                    to = i * image + first_y * row + first_j
                    turn_square(inner, start, inner_row, public, to, row)
                    if factor == 1:
                        continue
                    for y in range(first_y, first_y + EDGE):
                        for j in range(first_j, first_j + EDGE):
                            public[i, y, j] *= factor
                    continue
                for y in range(first_y, min(first_y + EDGE, n_y)):
                    for j in range(first_j, min(first_j + EDGE, n_j)):
                        public[i, y, j] = factor * inner[i, before + j, y]
