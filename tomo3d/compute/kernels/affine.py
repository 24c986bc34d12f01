"""Parallel-beam projection by any affine geometry, and its exact transpose.

A voxel lands at (u, v) = affine @ (x, y, z, 1), x, y and z in voxels from the
centre of the grid, and shares its value bilinearly between the four nearest
detector pixels: projection scatters it, back-projection gathers with the same
four weights, so each is the transpose of the other. What falls beyond the
detector is lost, tap by tap. Arrays have y, and v, last.

Along a row of y both u and v - y are linear and, but for a large rotation,
change slowly. So a row is cut into runs in which neither crosses an integer:
in a run the taps lie in two contiguous rows and only the weights change, which
vectorises without gathers. A run that ends one voxel late does no harm, as its
weights continue those of the next one. Positions are float64 where a run
starts; within it the fractions stay below 1, so that float32 serves.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_TILE = 8  # tile of (z, x): its rows, and those of the image that they meet, stay in L2
_ROW = 1024  # longest part of a row that is taken at once
_VIEWS = 4  # views that pass over a tile of the volume while it is in cache
_STEEPEST = 0.125  # slope of u or of v - y along y beyond which runs are too short to be worth their set-up


@numba.njit(inline="always")
def _run_length(fraction, slope, longest):
    """Number of voxels, at least 1, until fraction + slope * k leaves [0, 1)."""
    length = float(longest)
    if slope > 0:
        length = math.ceil((1.0 - fraction) / slope)
    elif slope < 0:
        length = math.floor(-fraction / slope) + 1.0
    return int(max(1.0, min(length, float(longest))))


@numba.njit(inline="always")
def _tap(i, n):
    """Pixel i moved into [0, n), with weight 1 if it was there and 0 if not."""
    return min(max(i, 0), n - 1), np.float32(1.0) if 0 <= i < n else np.float32(0.0)


@numba.njit(fastmath=True, error_model="numpy")
def _back_inner(low, high, exists, u, v, voxels):
    """Gather from both taps of both rows. u and v: the fraction at the first voxel, and its slope."""
    a, b = exists
    (f, du), (g, dv) = u, v
    one = np.float32(1.0)
    if du == 0 and dv == 0:  # shifts alone: one set of weights
        w00, w01, w10, w11 = a * (one - f) * (one - g), a * (one - f) * g, b * f * (one - g), b * f * g
        for k in range(voxels.size):
            voxels[k] += w00 * low[k] + w01 * low[k + 1] + w10 * high[k] + w11 * high[k + 1]
        return
    for k in range(voxels.size):
        t = np.float32(np.int32(k))
        p, q = f + du * t, g + dv * t
        p0, p1 = a * (one - p), b * p
        voxels[k] += (one - q) * (p0 * low[k] + p1 * high[k]) + q * (p0 * low[k + 1] + p1 * high[k + 1])


@numba.njit(fastmath=True, error_model="numpy")
def _back_run(image, i, first, stop, f, du, g, dv, voxels):
    """Gather a run: voxel j - first from columns j and j + 1, j in [first, stop), of rows i and i + 1.

    f + du * (j - first) and g + dv * (j - first) are the fractions in u and v.
    """
    n_u, n_v = image.shape
    i0, a = _tap(i, n_u)
    i1, b = _tap(i + 1, n_u)
    low, high = image[i0], image[i1]
    begin, end = max(first, 0), min(stop, n_v - 1)
    if begin < end:
        _back_inner(
            low[begin : end + 1],
            high[begin : end + 1],
            (a, b),
            (f + du * np.float32(begin - first), du),
            (g + dv * np.float32(begin - first), dv),
            voxels[begin - first : end - first],
        )
    for j in (-1, n_v - 1):  # half beyond the detector
        if first <= j < stop:
            k = np.float32(j - first)
            p, q = f + du * k, g + dv * k
            weight = q if j < 0 else np.float32(1.0) - q
            column = max(j, 0)
            voxels[j - first] += weight * (a * (np.float32(1.0) - p) * low[column] + b * p * high[column])


@numba.njit(fastmath=True, error_model="numpy")
def _forward_inner(voxels, exists, u, v, low, high):
    """Add to column k of both rows what voxels k + 1, whose nearer column it is, and k leave there."""
    a, b = exists
    (f, du), (g, dv) = u, v
    one = np.float32(1.0)
    if du == 0 and dv == 0:
        w00, w01, w10, w11 = a * (one - f) * (one - g), a * (one - f) * g, b * f * (one - g), b * f * g
        for k in range(low.size):
            before, here = voxels[k], voxels[k + 1]
            low[k] += w00 * here + w01 * before
            high[k] += w10 * here + w11 * before
        return
    f_before, g_before = f - du, g - dv
    for k in range(low.size):
        t = np.float32(np.int32(k))
        here, before = (one - (g + dv * t)) * voxels[k + 1], (g_before + dv * t) * voxels[k]
        p, p_before = f + du * t, f_before + du * t
        low[k] += a * ((one - p) * here + (one - p_before) * before)
        high[k] += b * (p * here + p_before * before)


@numba.njit(fastmath=True, error_model="numpy")
def _forward_run(image, i, first, stop, f, du, g, dv, voxels):
    """The transpose of `_back_run`: adds to a column what its own voxel and the one before leave there."""
    n_u, n_v = image.shape
    i0, a = _tap(i, n_u)
    i1, b = _tap(i + 1, n_u)
    low, high = image[i0], image[i1]
    last = stop - 1 - first
    begin, end = max(first + 1, 0), min(stop, n_v)
    if begin < end:
        _forward_inner(
            voxels[begin - first - 1 : end - first],
            (a, b),
            (f + du * np.float32(begin - first), du),
            (g + dv * np.float32(begin - first), dv),
            low[begin:end],
            high[begin:end],
        )
    if 0 <= first < n_v:  # of the first voxel, the nearer column
        value = (np.float32(1.0) - g) * voxels[0]
        low[first] += a * (np.float32(1.0) - f) * value
        high[first] += b * f * value
    if 0 <= stop < n_v:  # of the last voxel, the farther one
        k = np.float32(last)
        p = f + du * k
        value = (g + dv * k) * voxels[last]
        low[stop] += a * (np.float32(1.0) - p) * value
        high[stop] += b * p * value


@numba.njit(fastmath=True, error_model="numpy")
def _back_row(image, u, uy, v, vy, voxels):
    """Add to a row of voxels what it gathers from one image; the first voxel lands at (u, v)."""
    n_y = voxels.size
    w, dw = v, vy - 1.0  # v - y, which changes slowly
    y = 0
    while y < n_y:
        u_here, w_here = u + uy * y, w + dw * y
        i, s = math.floor(u_here), math.floor(w_here)
        f, g = u_here - i, w_here - s
        stop = y + min(_run_length(f, uy, n_y - y), _run_length(g, dw, n_y - y))
        i, s = int(i), int(s)
        if -1 <= i < image.shape[0]:
            _back_run(
                image,
                i,
                y + s,
                stop + s,
                np.float32(f),
                np.float32(uy),
                np.float32(g),
                np.float32(dw),
                voxels[y:stop],
            )
        y = stop


@numba.njit(fastmath=True, error_model="numpy")
def _forward_row(image, u, uy, v, vy, voxels):
    """The transpose of `_back_row`."""
    n_y = voxels.size
    w, dw = v, vy - 1.0
    y = 0
    while y < n_y:
        u_here, w_here = u + uy * y, w + dw * y
        i, s = math.floor(u_here), math.floor(w_here)
        f, g = u_here - i, w_here - s
        stop = y + min(_run_length(f, uy, n_y - y), _run_length(g, dw, n_y - y))
        i, s = int(i), int(s)
        if -1 <= i < image.shape[0]:
            _forward_run(
                image,
                i,
                y + s,
                stop + s,
                np.float32(f),
                np.float32(uy),
                np.float32(g),
                np.float32(dw),
                voxels[y:stop],
            )
        y = stop


@numba.njit(inline="always")
def _four_taps(u, v, n_u, n_v):
    """Rows, columns and weights of the four pixels around (u, v)."""
    i, j = math.floor(u), math.floor(v)
    p, q = np.float32(u - i), np.float32(v - j)
    i0, a = _tap(int(i), n_u)
    i1, b = _tap(int(i) + 1, n_u)
    j0, c = _tap(int(j), n_v)
    j1, d = _tap(int(j) + 1, n_v)
    one = np.float32(1.0)
    return i0, i1, j0, j1, a * (one - p), b * p, c * (one - q), d * q


@numba.njit(fastmath=True, error_model="numpy")
def _back_row_steep(image, u, uy, v, vy, voxels):
    """`_back_row` voxel by voxel, for large rotations."""
    n_u, n_v = image.shape
    for y in range(voxels.size):
        i0, i1, j0, j1, a, b, c, d = _four_taps(u + uy * y, v + vy * y, n_u, n_v)
        voxels[y] += a * (c * image[i0, j0] + d * image[i0, j1]) + b * (c * image[i1, j0] + d * image[i1, j1])


@numba.njit(fastmath=True, error_model="numpy")
def _forward_row_steep(image, u, uy, v, vy, voxels):
    """The transpose of `_back_row_steep`."""
    n_u, n_v = image.shape
    for y in range(voxels.size):
        i0, i1, j0, j1, a, b, c, d = _four_taps(u + uy * y, v + vy * y, n_u, n_v)
        image[i0, j0] += a * c * voxels[y]
        image[i0, j1] += a * d * voxels[y]
        image[i1, j0] += b * c * voxels[y]
        image[i1, j1] += b * d * voxels[y]


@numba.njit(inline="always")
def _is_steep(geometry):
    return abs(geometry[0, 1]) > _STEEPEST or abs(geometry[1, 1] - 1.0) > _STEEPEST


@numba.njit(inline="always")
def _landing(geometry, x, y, z):
    u = geometry[0, 0] * x + geometry[0, 1] * y + geometry[0, 2] * z + geometry[0, 3]
    v = geometry[1, 0] * x + geometry[1, 1] * y + geometry[1, 2] * z + geometry[1, 3]
    return u, v


@numba.njit(parallel=True, cache=True, error_model="numpy")
def back_affine_cpu(images: np.ndarray, affine: np.ndarray, volume: np.ndarray) -> None:
    """Add the back-projection of `images` to `volume`.

    images (n_views, n_u, n_v) float32; affine (n_views, 2, 4) float64; volume (n_z, n_x, n_y) float32. Threads
    take tiles of (z, x): the result does not depend on their number.
    """
    n_z, n_x, n_y = volume.shape
    centre_z, centre_x, centre_y = 0.5 * (n_z - 1), 0.5 * (n_x - 1), 0.5 * (n_y - 1)
    tiles_x = (n_x + _TILE - 1) // _TILE
    n_tiles = tiles_x * ((n_z + _TILE - 1) // _TILE)
    for tile in numba.prange(n_tiles):
        z_first, x_first = (tile // tiles_x) * _TILE, (tile % tiles_x) * _TILE
        for y in range(0, n_y, _ROW):
            for view in range(images.shape[0]):
                geometry = affine[view]
                is_steep = _is_steep(geometry)
                for z in range(z_first, min(z_first + _TILE, n_z)):
                    for x in range(x_first, min(x_first + _TILE, n_x)):
                        u, v = _landing(geometry, x - centre_x, y - centre_y, z - centre_z)
                        row = volume[z, x, y : min(y + _ROW, n_y)]
                        if is_steep:
                            _back_row_steep(images[view], u, geometry[0, 1], v, geometry[1, 1], row)
                        else:
                            _back_row(images[view], u, geometry[0, 1], v, geometry[1, 1], row)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def forward_affine_cpu(volume: np.ndarray, affine: np.ndarray, images: np.ndarray) -> None:
    """Add the projection of `volume` to `images`: the transpose of `back_affine_cpu`, same shapes.

    A thread owns its views and goes through the volume in a fixed order: the result does not depend on
    the number of threads.
    """
    n_z, n_x, n_y = volume.shape
    n_views = images.shape[0]
    centre_z, centre_x, centre_y = 0.5 * (n_z - 1), 0.5 * (n_x - 1), 0.5 * (n_y - 1)
    tiles_x = (n_x + _TILE - 1) // _TILE
    n_tiles = tiles_x * ((n_z + _TILE - 1) // _TILE)
    for group in numba.prange((n_views + _VIEWS - 1) // _VIEWS):
        for tile in range(n_tiles):
            z_first, x_first = (tile // tiles_x) * _TILE, (tile % tiles_x) * _TILE
            for y in range(0, n_y, _ROW):
                for view in range(group * _VIEWS, min((group + 1) * _VIEWS, n_views)):
                    geometry = affine[view]
                    is_steep = _is_steep(geometry)
                    for z in range(z_first, min(z_first + _TILE, n_z)):
                        for x in range(x_first, min(x_first + _TILE, n_x)):
                            u, v = _landing(geometry, x - centre_x, y - centre_y, z - centre_z)
                            row = volume[z, x, y : min(y + _ROW, n_y)]
                            if is_steep:
                                _forward_row_steep(images[view], u, geometry[0, 1], v, geometry[1, 1], row)
                            else:
                                _forward_row(images[view], u, geometry[0, 1], v, geometry[1, 1], row)
