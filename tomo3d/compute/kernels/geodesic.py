"""Shortest paths inside a region: the eikonal equation |grad T| = 1 by fast sweeping.

Zhao, Math. Comp. 74 (2005) 603-627, doi:10.1090/S0025-5718-04-01678-3. Kernels release the GIL.
"""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _upwind(a: float, b: float, c: float, ha: float, hb: float, hc: float) -> float:
    """T at a voxel whose nearest neighbours along each axis have a, b and c, at distances ha, hb and hc."""
    if a > b:
        a, b, ha, hb = b, a, hb, ha
    if b > c:
        b, c, hb, hc = c, b, hc, hb
    if a > b:
        a, b, ha, hb = b, a, hb, ha
    value = a + ha
    if value <= b:
        return value
    p, q = 1.0 / (ha * ha), 1.0 / (hb * hb)
    mean = p * a + q * b
    root = mean * mean - (p + q) * (p * a * a + q * b * b - 1.0)
    if root >= 0:
        value = (mean + math.sqrt(root)) / (p + q)
    if value <= c or math.isinf(c):
        return value
    r = 1.0 / (hc * hc)
    mean += r * c
    root = mean * mean - (p + q + r) * (p * a * a + q * b * b + r * c * c - 1.0)
    return (mean + math.sqrt(root)) / (p + q + r) if root >= 0 else value


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sweep_cpu(
    region: np.ndarray, fixed: np.ndarray, voxel: np.ndarray, direction: int, length: np.ndarray
) -> float:
    """One sweep of all voxels of the region, from one of the eight corners; the largest change."""
    n_z, n_y, n_x = region.shape
    change = 0.0
    for kz in range(n_z):
        z = kz if direction & 1 else n_z - 1 - kz
        for ky in range(n_y):
            y = ky if direction & 2 else n_y - 1 - ky
            for kx in range(n_x):
                x = kx if direction & 4 else n_x - 1 - kx
                if not region[z, y, x] or fixed[z, y, x]:
                    continue
                a, b, c = np.inf, np.inf, np.inf
                if z > 0:
                    a = min(a, length[z - 1, y, x])
                if z < n_z - 1:
                    a = min(a, length[z + 1, y, x])
                if y > 0:
                    b = min(b, length[z, y - 1, x])
                if y < n_y - 1:
                    b = min(b, length[z, y + 1, x])
                if x > 0:
                    c = min(c, length[z, y, x - 1])
                if x < n_x - 1:
                    c = min(c, length[z, y, x + 1])
                if math.isinf(min(a, min(b, c))):
                    continue
                value = _upwind(a, b, c, voxel[0], voxel[1], voxel[2])
                old = length[z, y, x]
                if value < old:
                    change = max(change, min(old, 1e30) - value)
                    length[z, y, x] = value
    return change
