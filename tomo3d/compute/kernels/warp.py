"""Views resampled in the plane of the detector, and the exact transpose of that.

For a beam along z and no tilt about x, a view that is turned, magnified and moved is the plain view of the same
specimen, u = x cos t + z sin t and v = y, seen at other places: pixel (i, j) of the detector sees the plane at

    (u, v) = affine[:, :2] @ (i, j) + affine[:, 2] + field(i, j),

u and v being indices of the plane. The field, smooth and of a few pixels, is what a local alignment finds; it is
given on a coarse grid of patches. The plane is interpolated between 4 x 4 of its pixels by cubics (R. Keys, IEEE
Trans. Acoust. 29 (1981) 1153-1160, doi:10.1109/TASSP.1981.1163711, a = -1/2) or between 2 x 2 linearly; beyond it
is zero. Values are kept, as line integrals are.

Sixteen pixels of a row, along v, are worked on together: their windows differ by steps of one column and, where the map
is not that of the identity, by weights that are zero. The transpose writes with the very same weights. A thread
owns a view: nothing races, and the result does not depend on the number of threads.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tomo3d.compute.kernels.rows import LANES
from tomo3d.compute.kernels.windows import gather_windows, scatter_windows

CUBIC, LINEAR = 2, 1  # reach of a weight, in pixels
_OPTIONS = {"fastmath": True, "error_model": "numpy"}


@numba.njit(**_OPTIONS)
def _weights(positions, base, first, n, reach, weights):
    """Weights (n, LANES) of pixels first + k, k < n, for what lies at base + positions."""
    for k in range(n):
        shift = np.float32(first + k - base)
        for lane in range(LANES):
            x = abs(positions[lane] - shift)
            if reach == CUBIC:
                near = ((np.float32(1.5) * x - np.float32(2.5)) * x) * x + np.float32(1.0)
                far = ((np.float32(-0.5) * x + np.float32(2.5)) * x - np.float32(4.0)) * x + np.float32(2.0)
                far = far if x < np.float32(2.0) else np.float32(0.0)
                weights[k * LANES + lane] = near if x < np.float32(1.0) else far
            else:
                weights[k * LANES + lane] = max(np.float32(1.0) - x, np.float32(0.0))


@numba.njit(**_OPTIONS)
def _cubic_taps(i, n_pixels, n_nodes):
    """First of the four nodes around pixel i, and their weights: nodes are the centres of equal parts of the pixels."""
    position = (i + 0.5) * n_nodes / n_pixels - 0.5
    position = min(max(position, 0.0), n_nodes - 1.0)
    first = math.floor(position)
    t = position - first
    return int(first) - 1, (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@numba.njit(**_OPTIONS)
def _field_along(field, i, n_u, n_v, knots, moves):
    """moves[j] = the field of one view at pixel (i, j), as (u, v); knots is room for (n_nodes along v, 2)."""
    n_across, n_along, _ = field.shape
    node, weights = _cubic_taps(i, n_u, n_across)
    for q in range(n_along):
        for axis in range(2):
            total = 0.0
            for k in range(4):
                total += weights[k] * field[min(max(node + k, 0), n_across - 1), q, axis]
            knots[q, axis] = total
    for j in range(n_v):
        node, weights = _cubic_taps(j, n_v, n_along)
        for axis in range(2):
            total = 0.0
            for k in range(4):
                total += weights[k] * knots[min(max(node + k, 0), n_along - 1), axis]
            moves[axis, j] = total
    moves[:, n_v:] = moves[:, n_v - 1 : n_v]


@numba.njit(**_OPTIONS)
def _extent(values):
    low = high = values[0]
    for value in values:
        low, high = min(low, value), max(high, value)
    return low, high


@numba.njit(**_OPTIONS)
def _most_taps(affine, field, reach):
    """An upper bound on the rows and on the columns that 16 neighbouring pixels of a view see together."""
    spread = 0.0
    for axis in range(2):
        change = abs(affine[axis, 1] - axis) * LANES
        low, high = _extent(field[:, :, axis].copy().reshape(-1))
        spread = max(spread, change + 2.0 * (high - low))  # a cubic overshoots its nodes, by less than that
    return math.ceil(spread) + 2 * reach + 2


@numba.njit(**_OPTIONS)
def _room(affine, field, reach, n_v):
    """What a view is worked on in: most taps, a line of pixels, positions and weights of 16, the field along a row."""
    most = _most_taps(affine, field, reach)
    n = (n_v + LANES - 1) // LANES * LANES
    moves = np.empty((2, n))
    moves[0], moves[1] = field[0, 0, 0], field[0, 0, 1]
    positions = np.empty(LANES, dtype=np.float32), np.empty(LANES, dtype=np.float32)
    weights = np.empty(most * LANES, dtype=np.float32), np.empty(most * LANES, dtype=np.float32)
    return most, np.zeros(n, dtype=np.float32), positions, weights, moves, np.empty((field.shape[1], 2))


@numba.njit(**_OPTIONS)
def _window(affine, moves, i, at, reach, shape, positions, weights):
    """First row, number of rows, first column and number of columns that 16 pixels from (i, at) on see, with weights.

    No rows where they see nothing of a plane of `shape`.
    """
    corner = np.empty(2, dtype=np.int64)
    for axis in range(2):
        here = affine[axis, 0] * i + affine[axis, 1] * at + affine[axis, 2] + moves[axis, at]
        base = math.floor(here)
        corner[axis] = int(base)
        fraction, step = here - base, affine[axis, 1] - axis  # columns count from those of the pixel before
        for lane in range(LANES):
            positions[axis][lane] = fraction + step * lane + (moves[axis, at + lane] - moves[axis, at])
    low, high = _extent(positions[0])
    first = max(corner[0] + int(math.floor(low)) - reach + 1, 0)
    last = min(corner[0] + int(math.floor(high)) + reach, shape[0] - 1)
    low, high = _extent(positions[1])
    left = corner[1] + int(math.floor(low)) - reach + 1
    right = corner[1] + int(math.floor(high)) + reach
    if first > last or right + LANES <= 0 or left >= shape[1]:
        return 0, 0, 0, 0
    n_rows, n_columns = last - first + 1, right - left + 1
    _weights(positions[0], corner[0], first, n_rows, reach, weights[0])
    _weights(positions[1], corner[1], left, n_columns, reach, weights[1])
    return first, n_rows, left, n_columns


@numba.njit(**_OPTIONS)
def _warp_view(plane, affine, field, reach, view):
    """One view (n_u, n_v) of a plane (n_rows, n_y)."""
    n_u, n_v = view.shape
    most, line, positions, weights, moves, knots = _room(affine, field, reach, n_v)
    margin = most + LANES
    stride = plane.shape[1] + 2 * margin
    held = np.zeros((plane.shape[0], stride), dtype=np.float32)  # with zeros on either side: no bounds are tested
    held[:, margin : stride - margin] = plane
    for i in range(n_u):
        if field.shape[0] * field.shape[1] > 1:
            _field_along(field, i, n_u, n_v, knots, moves)
        for at in range(0, line.size, LANES):
            first, n_rows, left, n_columns = _window(
                affine, moves, i, at, reach, plane.shape, positions, weights
            )
            start = first * stride + margin + left
            gather_windows(line, at, held, start, stride, weights[0], n_rows, weights[1], n_columns)
        view[i] = line[:n_v]


@numba.njit(**_OPTIONS)
def _warp_view_transpose(view, affine, field, reach, plane):
    """The transpose of `_warp_view`."""
    n_u, n_v = view.shape
    most, line, positions, weights, moves, knots = _room(affine, field, reach, n_v)
    margin = most + LANES
    stride = plane.shape[1] + 2 * margin
    held = np.zeros((plane.shape[0], stride), dtype=np.float32)
    for i in range(n_u):
        if field.shape[0] * field.shape[1] > 1:
            _field_along(field, i, n_u, n_v, knots, moves)
        line[:n_v] = view[i]
        for at in range(0, line.size, LANES):
            first, n_rows, left, n_columns = _window(
                affine, moves, i, at, reach, plane.shape, positions, weights
            )
            start = first * stride + margin + left
            scatter_windows(line, at, held, start, stride, weights[0], n_rows, weights[1], n_columns)
    plane[...] = held[:, margin : stride - margin]


@numba.njit(parallel=True, cache=True, error_model="numpy")
def warp_cpu(planes, rows, affine, field, reach, images):
    """Overwrite `images` with `planes` as they are seen through the map.

    planes (n_views, n_rows, n_y) float32, of which rows (first, end) are the plane, indices counting from the first;
    affine (n_views, 2, 3) float64; field (n_views, n_nodes_u, n_nodes_v, 2) float64, the centres of equal parts of the
    detector, a single node of zeros being none; reach CUBIC or LINEAR; images (n_views, n_u, n_v) float32.
    """
    for view in numba.prange(len(images)):
        _warp_view(planes[view, rows[0] : rows[1]], affine[view], field[view], reach, images[view])


@numba.njit(parallel=True, cache=True, error_model="numpy")
def warp_transpose_cpu(images, rows, affine, field, reach, planes):
    """Overwrite `rows` of `planes` with the transpose of `warp_cpu`, of the same arguments."""
    for view in numba.prange(len(images)):
        plane = planes[view, rows[0] : rows[1]]
        _warp_view_transpose(images[view], affine[view], field[view], reach, plane)
