"""Parallel-beam projection of slabs, and its exact transpose.

Both work on arrays whose last axis is y, so that one interpolation index and
weight serve a whole row of slices and the inner loop is contiguous. A voxel at
(z, x) lands at u = x cos t + z sin t + offset and shares its value between the
two nearest detector pixels: projection scatters it, back-projection gathers
with the same two weights, so each is the transpose of the other. Views are
taken four at a time, which divides the traffic of the volume by four; the
detector is padded with zeros (one pixel before, two behind), so that the inner
loops test no bounds.
"""

from __future__ import annotations

import math

import numba
import numpy as np

PAD_BEFORE = 1  # zero pixels before detector pixel 0
PAD = 3  # zero pixels in all
_TILE = 8  # tile of (z, x): with 64 slices it fills half of a 32 KiB L1
_VIEWS = 4  # views taken together


@numba.njit(inline="always")
def _tap(x, z, cos, sin, offset, n_u):
    """Padded index of the first tap and the weight of the second one."""
    u = x * cos + z * sin + offset
    index = math.floor(u)
    if index < -1 or index >= n_u:
        return 0, np.float32(0.0), np.float32(0.0)
    return int(index) + PAD_BEFORE, np.float32(1.0 - (u - index)), np.float32(u - index)


@numba.njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def back_cpu(images, cos, sin, offset, volume):
    """Add the back-projection of the padded `images` to `volume`.

    images (n_views, n_u + PAD, n_y) float32, zero in the padding; cos, sin, offset (n_views,)
    float64, the offset being the detector index of the rotation axis; volume (n_z, n_x, n_y) float32.
    n_views must be a multiple of 4 (pad with empty views).
    """
    n_views, n_padded, n_y = images.shape
    n_u = n_padded - PAD
    n_z, n_x, _ = volume.shape
    centre_z = 0.5 * (n_z - 1)
    centre_x = 0.5 * (n_x - 1)
    tiles_z = (n_z + _TILE - 1) // _TILE
    tiles_x = (n_x + _TILE - 1) // _TILE
    for tile in numba.prange(tiles_z * tiles_x):
        z_first = (tile // tiles_x) * _TILE
        x_first = (tile % tiles_x) * _TILE
        for v in range(0, n_views, _VIEWS):
            for iz in range(z_first, min(z_first + _TILE, n_z)):
                z = iz - centre_z
                for ix in range(x_first, min(x_first + _TILE, n_x)):
                    x = ix - centre_x
                    i0, a0, b0 = _tap(x, z, cos[v], sin[v], offset[v], n_u)
                    i1, a1, b1 = _tap(x, z, cos[v + 1], sin[v + 1], offset[v + 1], n_u)
                    i2, a2, b2 = _tap(x, z, cos[v + 2], sin[v + 2], offset[v + 2], n_u)
                    i3, a3, b3 = _tap(x, z, cos[v + 3], sin[v + 3], offset[v + 3], n_u)
                    for y in range(n_y):
                        volume[iz, ix, y] += (
                            a0 * images[v, i0, y]
                            + b0 * images[v, i0 + 1, y]
                            + a1 * images[v + 1, i1, y]
                            + b1 * images[v + 1, i1 + 1, y]
                            + a2 * images[v + 2, i2, y]
                            + b2 * images[v + 2, i2 + 1, y]
                            + a3 * images[v + 3, i3, y]
                            + b3 * images[v + 3, i3 + 1, y]
                        )


@numba.njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def forward_cpu(volume, cos, sin, offset, images):
    """Add the projection of `volume` to the padded `images`: the transpose of `back_cpu`, same arguments.

    What falls on the padding is not part of the projection: the caller leaves it out.
    """
    n_views, n_padded, n_y = images.shape
    n_u = n_padded - PAD
    n_z, n_x, _ = volume.shape
    centre_z = 0.5 * (n_z - 1)
    centre_x = 0.5 * (n_x - 1)
    for group in numba.prange(n_views // _VIEWS):
        v = group * _VIEWS
        for iz in range(n_z):
            z = iz - centre_z
            for ix in range(n_x):
                x = ix - centre_x
                i0, a0, b0 = _tap(x, z, cos[v], sin[v], offset[v], n_u)
                i1, a1, b1 = _tap(x, z, cos[v + 1], sin[v + 1], offset[v + 1], n_u)
                i2, a2, b2 = _tap(x, z, cos[v + 2], sin[v + 2], offset[v + 2], n_u)
                i3, a3, b3 = _tap(x, z, cos[v + 3], sin[v + 3], offset[v + 3], n_u)
                for y in range(n_y):
                    value = volume[iz, ix, y]
                    images[v, i0, y] += a0 * value
                    images[v, i0 + 1, y] += b0 * value
                    images[v + 1, i1, y] += a1 * value
                    images[v + 1, i1 + 1, y] += b1 * value
                    images[v + 2, i2, y] += a2 * value
                    images[v + 2, i2 + 1, y] += b2 * value
                    images[v + 3, i3, y] += a3 * value
                    images[v + 3, i3 + 1, y] += b3 * value
