"""Parallel-beam projection of slabs, and its exact transpose.

Both work on arrays whose last axis is y, so that one interpolation index and weight serve a whole row of slices.
A voxel at (z, x) lands at u = x cos t + z sin t + offset and shares its value between the two nearest detector
pixels: back-projection gathers with these two weights. Projection gathers too: detector pixel u takes
max(0, 1 - |x cos t + z sin t + offset - u|) of each voxel, the very same weights, so that each is the transpose of
the other, nothing is scattered, and the result does not depend on the number of threads.

The detector is padded with zeros (one pixel before, two behind), so that back-projection tests no bounds.
Arrays are C-contiguous float32; rows that begin on 64 bytes and n_y a multiple of 64 are fastest.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tomo3d.compute.kernels.rows import LANES, add_listed_rows, add_rows
from tomo3d.compute.kernels.turn import EDGE, turn_square

PAD_BEFORE = 1  # zero pixels before detector pixel 0
PAD = 3  # zero pixels in all
SLICES = 64  # slices along y that are worked on together: four vectors
_TILE_Z = 8  # tile of back-projection: its sums stay in L1
_TILE_X = EDGE
_DEPTH = 16  # layers that a pixel of a projection sums over at a time, while its sum stays in registers
_WIDTH = 128  # voxels across of the tile of projection: the views of a group find it in the cache
_MOST_VIEWS = 16  # views that a thread projects a tile to before it takes the next
_STEEP = 0.4  # |cos t| from which a projection goes along z; below, along x
_FLOAT = 4  # bytes
_MOST_TAPS = 6  # ceil(2 / _STEEP), and one for a tap that rounding moves


@numba.njit(fastmath=True)
def _tap(v, x, z, cos, sin, offset, sizes):
    """Offset of the first tap of view v in the images, and the weights of both: beyond the detector, of padding."""
    n_padded, n_y = sizes
    u = min(max(x * cos[v] + z * sin[v] + offset[v], -1.0), float(n_padded - PAD)) + PAD_BEFORE
    index = int(u)
    weight = np.float32(u - index)
    return (v * n_padded + index) * n_y, np.float32(1.0) - weight, weight


@numba.njit(fastmath=True)
def _four(v, x, z, y, cos, sin, offset, sizes):
    """Offsets of the taps of four views, and their weights."""
    n_y = sizes[1]
    r0, a0, b0 = _tap(v, x, z, cos, sin, offset, sizes)
    r1, a1, b1 = _tap(v + 1, x, z, cos, sin, offset, sizes)
    r2, a2, b2 = _tap(v + 2, x, z, cos, sin, offset, sizes)
    r3, a3, b3 = _tap(v + 3, x, z, cos, sin, offset, sizes)
    r0, r1, r2, r3 = r0 + y, r1 + y, r2 + y, r3 + y
    return (r0, r0 + n_y, r1, r1 + n_y, r2, r2 + n_y, r3, r3 + n_y), (a0, b0, a1, b1, a2, b2, a3, b3)


@numba.njit(fastmath=True, error_model="numpy")
def _back_slices(images, cos, sin, offset, z, x, corner, slices, to, start, strides):
    """`_back_tile` for slices (first, number) that do not fill a vector, one view after the other."""
    sizes = (images.shape[1], images.shape[2])
    flat = images.reshape(-1)
    flat_to = to.reshape(-1)
    for v in range(images.shape[0]):
        for iz in range(z[0], z[1]):
            for ix in range(x[0], x[1]):
                row, a, b = _tap(v, corner[1] + ix, corner[0] + iz, cos, sin, offset, sizes)
                at = start + (iz - z[0]) * strides[0] + (ix - x[0]) * strides[1]
                for j in range(slices[1]):
                    low = row + slices[0] + j
                    flat_to[at + j] += a * flat[low] + b * flat[low + sizes[1]]


@numba.njit(fastmath=True, error_model="numpy")
def _back_tile(images, cos, sin, offset, z, x, corner, y, n, to, start, strides):
    """Add the back-projection at z[0] <= iz < z[1], x[0] <= ix < x[1] and n slices from y on.

    Voxel (iz, ix) goes to the n floats of `to` from start + (iz - z[0]) strides[0] + (ix - x[0]) strides[1] on.
    `corner` is the position (z, x) of voxel (0, 0) from the centre. Views are taken eight at a time, so that the
    volume is read and written once for eight of them, and their rows stay in L1 for the whole tile.
    """
    n_views = images.shape[0]
    sizes = (images.shape[1], images.shape[2])
    vectors = n - n % LANES
    if vectors < n:
        _back_slices(
            images, cos, sin, offset, z, x, corner, (y + vectors, n - vectors), to, start + vectors, strides
        )
    v = 0
    while vectors and v + 8 <= n_views:
        for iz in range(z[0], z[1]):
            pz = corner[0] + iz
            for ix in range(x[0], x[1]):
                px = corner[1] + ix
                at = start + (iz - z[0]) * strides[0] + (ix - x[0]) * strides[1]
                rows, weights = _four(v, px, pz, y, cos, sin, offset, sizes)
                more_rows, more_weights = _four(v + 4, px, pz, y, cos, sin, offset, sizes)
                add_rows(to, at, images, rows + more_rows, weights + more_weights, vectors)
        v += 8
    if vectors and v + 4 <= n_views:
        for iz in range(z[0], z[1]):
            pz = corner[0] + iz
            for ix in range(x[0], x[1]):
                px = corner[1] + ix
                at = start + (iz - z[0]) * strides[0] + (ix - x[0]) * strides[1]
                rows, weights = _four(v, px, pz, y, cos, sin, offset, sizes)
                add_rows(to, at, images, rows, weights, vectors)
        v += 4
    while vectors and v < n_views:
        for iz in range(z[0], z[1]):
            pz = corner[0] + iz
            for ix in range(x[0], x[1]):
                px = corner[1] + ix
                at = start + (iz - z[0]) * strides[0] + (ix - x[0]) * strides[1]
                row, a, b = _tap(v, px, pz, cos, sin, offset, sizes)
                add_rows(to, at, images, (row + y, row + y + sizes[1]), (a, b), vectors)
        v += 1


@numba.njit(parallel=True, cache=True, error_model="numpy")
def back_cpu(images, cos, sin, offset, volume):
    """Add the back-projection of the padded `images` to `volume`.

    images (n_views, n_u + PAD, n_y), zero in the padding; cos, sin, offset (n_views,) float64, the offset being the
    detector index of the rotation axis; volume (n_z, n_x, n_y).
    """
    n_z, n_x, n_y = volume.shape
    corner = (-0.5 * (n_z - 1), -0.5 * (n_x - 1))
    tiles_z = (n_z + _TILE_Z - 1) // _TILE_Z
    tiles_x = (n_x + _TILE_X - 1) // _TILE_X
    blocks = (n_y + SLICES - 1) // SLICES
    for task in numba.prange(blocks * tiles_z * tiles_x):
        y = (task // (tiles_z * tiles_x)) * SLICES
        z = (task // tiles_x) % tiles_z * _TILE_Z
        x = (task % tiles_x) * _TILE_X
        _back_tile(
            images,
            cos,
            sin,
            offset,
            (z, min(z + _TILE_Z, n_z)),
            (x, min(x + _TILE_X, n_x)),
            corner,
            y,
            min(SLICES, n_y - y),
            volume,
            (z * n_x + x) * n_y + y,
            (n_x * n_y, n_y),
        )


@numba.njit(parallel=True, cache=True, error_model="numpy")
def back_to_public_cpu(images, cos, sin, offset, volume):
    """Overwrite `volume` with the back-projection of the padded `images`.

    As `back_cpu`, but `volume` is in the public order (n_z, n_y, n_x): each tile is turned while it is in the cache.
    Its rows along x must be contiguous.
    """
    n_z, _, n_x = volume.shape
    n_y = images.shape[2]
    layer, row = volume.strides[0] // _FLOAT, volume.strides[1] // _FLOAT
    corner = (-0.5 * (n_z - 1), -0.5 * (n_x - 1))
    tiles_z = (n_z + _TILE_Z - 1) // _TILE_Z
    tiles_x = (n_x + _TILE_X - 1) // _TILE_X
    blocks = (n_y + SLICES - 1) // SLICES
    for task in numba.prange(blocks * tiles_z * tiles_x):
        y = (task // (tiles_z * tiles_x)) * SLICES
        z0 = (task // tiles_x) % tiles_z * _TILE_Z
        x0 = (task % tiles_x) * _TILE_X
        z1 = min(z0 + _TILE_Z, n_z)
        x1 = min(x0 + _TILE_X, n_x)
        n = min(SLICES, n_y - y)
        tile = np.zeros((_TILE_Z, _TILE_X, SLICES), dtype=np.float32)
        _back_tile(
            images,
            cos,
            sin,
            offset,
            (z0, z1),
            (x0, x1),
            corner,
            y,
            n,
            tile,
            0,
            (_TILE_X * SLICES, SLICES),
        )
        for iz in range(z0, z1):
            for j in range(0, n, EDGE):
                if j + EDGE <= n and x1 - x0 == _TILE_X:
                    to = iz * layer + (y + j) * row + x0
                    turn_square(tile, ((iz - z0) * _TILE_X) * SLICES + j, SLICES, volume, to, row)
                    continue
                for k in range(j, min(j + EDGE, n)):
                    for ix in range(x0, x1):
                        volume[iz, y + k, ix] = tile[iz - z0, ix - x0, k]


@numba.njit(parallel=True, cache=True, error_model="numpy")
def back_step_cpu(images, cos, sin, offset, weights, lower, upper, volume):
    """volume <- volume + weights * back-projection of the padded `images`, within bounds, tile by tile.

    As `back_cpu`, with weights (n_z, n_x), the same for all slices, and bounds that may be infinite.
    """
    n_z, n_x, n_y = volume.shape
    corner = (-0.5 * (n_z - 1), -0.5 * (n_x - 1))
    tiles_z = (n_z + _TILE_Z - 1) // _TILE_Z
    tiles_x = (n_x + _TILE_X - 1) // _TILE_X
    blocks = (n_y + SLICES - 1) // SLICES
    low, high = np.float32(lower), np.float32(upper)
    for task in numba.prange(blocks * tiles_z * tiles_x):
        y = (task // (tiles_z * tiles_x)) * SLICES
        z0 = (task // tiles_x) % tiles_z * _TILE_Z
        x0 = (task % tiles_x) * _TILE_X
        z1 = min(z0 + _TILE_Z, n_z)
        x1 = min(x0 + _TILE_X, n_x)
        n = min(SLICES, n_y - y)
        tile = np.zeros((_TILE_Z, _TILE_X, SLICES), dtype=np.float32)
        strides = (_TILE_X * SLICES, SLICES)
        _back_tile(images, cos, sin, offset, (z0, z1), (x0, x1), corner, y, n, tile, 0, strides)
        for iz in range(z0, z1):
            for ix in range(x0, x1):
                weight = weights[iz, ix]
                for j in range(n):
                    value = volume[iz, ix, y + j] + weight * tile[iz - z0, ix - x0, j]
                    volume[iz, ix, y + j] = min(max(value, low), high)


@numba.njit(fastmath=True, error_model="numpy")
def _list_taps(at, slope, share, layers, across, strides, y, rows, weights):
    """List the taps of one detector pixel in up to _DEPTH layers; returns their number.

    The ray meets layer i at `at - i slope` across; a tap at distance d of it weighs 1 - d share. Taps beyond
    `layers` or `across` (first, end) weigh nothing. rows gets i strides[0] + tap strides[1] + y. The inner
    loop has a fixed length so that it is vectorised.
    """
    reach = 1.0 / share
    n_taps = min(math.ceil(2.0 * reach - 1e-9), _MOST_TAPS)
    first, last, last_layer = float(across[0]), float(across[1] - 1), layers[1] - 1
    begin = layers[0] * strides[0] + y
    # 32 bits each, so that their product is one instruction of AVX2: a layer has less than 2^31 voxels
    step = np.int64(np.int32(strides[1]))
    for k in range(n_taps):
        for j in range(_DEPTH):
            ray = at - (layers[0] + j) * slope
            tap = math.ceil(ray - reach) + k
            held = min(max(tap, first), last)
            weight = max(1.0 - abs(tap - ray) * share, 0.0)
            is_inside = (held == tap) & (layers[0] + j <= last_layer)
            ahead = min(j, last_layer - layers[0]) * strides[0]
            rows[k * _DEPTH + j] = begin + ahead + np.int64(np.int32(held)) * step
            weights[k * _DEPTH + j] = np.float32(weight if is_inside else 0.0)
    return n_taps * _DEPTH


@numba.njit(fastmath=True, error_model="numpy")
def _project_tile(
    volume, rise, run, offset, layers, across, sizes, strides, y, n, image, start, n_u, rows, weights
):
    """Add what a tile projects to one view.

    Layer i and voxel j across lie at u = j run + i rise + offset, both from the centre of their `sizes`: z and x for
    flat views, x and z for steep ones. Pixel u goes to the n floats of `image` from start + u n_y + y on.
    """
    n_y = volume.shape[2]
    centre_i = 0.5 * (sizes[0] - 1)
    centre_j = 0.5 * (sizes[1] - 1)
    ends_i = ((layers[0] - centre_i) * rise, (layers[1] - 1 - centre_i) * rise)
    ends_j = ((across[0] - centre_j) * run, (across[1] - 1 - centre_j) * run)
    lowest = max(math.ceil(min(ends_i[0], ends_i[1]) + min(ends_j[0], ends_j[1]) + offset - 1.0), 0)
    highest = min(math.floor(max(ends_i[0], ends_i[1]) + max(ends_j[0], ends_j[1]) + offset + 1.0), n_u - 1)
    slope = rise / run
    for u in range(lowest, highest + 1):
        at = (u - offset) / run + centre_j + centre_i * slope
        count = _list_taps(at, slope, abs(run), layers, across, strides, y, rows, weights)
        add_listed_rows(image, start + u * n_y, volume, rows, weights, count, n)


def forward_cpu(volume, cos, sin, offset, images):
    """Add the projection of `volume` to the padded `images`: the transpose of `back_cpu`, same arguments.

    The padding is left as it is.
    """
    threads = numba.get_num_threads()
    groups = min(threads * -(-len(cos) // (threads * _MOST_VIEWS)), len(cos))
    with numba.parallel_chunksize(1):
        _forward(volume, cos, sin, offset, images, groups)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _forward(volume, cos, sin, offset, images, groups):
    """`forward_cpu`, the views in so many groups, each the work of one thread."""
    n_views, n_padded, n_y = images.shape
    n_u = n_padded - PAD
    n_z, n_x, _ = volume.shape
    blocks = (n_y + SLICES - 1) // SLICES
    for task in numba.prange(blocks * groups):
        y = (task // groups) * SLICES
        n = min(SLICES, n_y - y)
        group = task % groups
        views = range(group * n_views // groups, (group + 1) * n_views // groups)
        rows = np.empty(_MOST_TAPS * _DEPTH, dtype=np.int64)
        weights = np.empty(_MOST_TAPS * _DEPTH, dtype=np.float32)
        # along z where the beam crosses the layers of z, along x where it runs with them
        for is_steep in range(2):
            sizes = (n_x, n_z) if is_steep else (n_z, n_x)
            strides = (n_y, n_x * n_y) if is_steep else (n_x * n_y, n_y)
            for i in range(0, sizes[0], _DEPTH):
                for j in range(0, sizes[1], _WIDTH):
                    for v in views:
                        if (abs(cos[v]) < _STEEP) != is_steep:
                            continue
                        _project_tile(
                            volume,
                            cos[v] if is_steep else sin[v],
                            sin[v] if is_steep else cos[v],
                            offset[v],
                            (i, min(i + _DEPTH, sizes[0])),
                            (j, min(j + _WIDTH, sizes[1])),
                            sizes,
                            (strides[0], strides[1]),
                            y,
                            n,
                            images,
                            (v * n_padded + PAD_BEFORE) * n_y + y,
                            n_u,
                            rows,
                            weights,
                        )
