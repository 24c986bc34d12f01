"""Views resampled in the plane of the detector, and the exact transpose of that.

For a beam along z and no tilt about x, a view that is turned, magnified and moved is the plain view of the same
specimen, u = x cos t + z sin t and v = y, seen at other places: pixel (i, j) of the detector sees the plane at

    (u, v) = affine[:, :2] @ (i, j) + affine[:, 2] + field(i, j),

u and v being indices of the plane. The field, smooth and of a few pixels, is what a local alignment finds; it is
given on a coarse grid of patches. The plane is interpolated between 4 x 4 of its pixels by cubics (R. Keys, IEEE
Trans. Acoust. 29 (1981) 1153-1160, doi:10.1109/TASSP.1981.1163711, a = -1/2); beyond it
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
from tomo3d.compute.kernels.windows import (
    SIZES,
    TAPS,
    cubic_weights,
    gather_taps,
    gather_windows,
    scatter_taps,
    scatter_windows,
)

_REACH = 2  # of a weight, in pixels


@numba.njit(fastmath=True, error_model="numpy")
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


@numba.njit(fastmath=True, error_model="numpy")
def _field_along(field, i, n_u, n_v, knots, moves, limits):
    """moves[:, j] = the field (u, v) of one view at pixel (i, j); limits (2, n_blocks, 2): its least and most of 16.

    knots is room for (n_nodes along v, 2).
    """
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
    for axis in range(2):
        for block in range(limits.shape[1]):
            limits[axis, block] = _extent(moves[axis, block * LANES : (block + 1) * LANES])


@numba.njit(fastmath=True, error_model="numpy")
def _extent(values):
    low = high = values[0]
    for value in values:
        low, high = min(low, value), max(high, value)
    return low, high


@numba.njit(fastmath=True, error_model="numpy")
def _most_taps(affine, field):
    """An upper bound on the rows and on the columns that 16 neighbouring pixels of a view see together."""
    spread = 0.0
    for axis in range(2):
        change = abs(affine[axis, 1] - axis) * LANES
        low, high = _extent(field[:, :, axis].copy().reshape(-1))
        spread = max(spread, change + 2.0 * (high - low))  # a cubic overshoots its nodes, by less than that
    return math.ceil(spread) + 2 * _REACH + 2


@numba.njit(fastmath=True, error_model="numpy")
def _room(affine, field, n_v):
    """What a view is worked on in: a line of pixels, weights of 16 of them, and the field along the line."""
    most = _most_taps(affine, field)
    n_blocks = (n_v + LANES - 1) // LANES
    line = np.zeros(n_blocks * LANES, dtype=np.float32)
    weights = np.empty((2, most, LANES), dtype=np.float32)
    moves, limits = np.empty((2, line.size), dtype=np.float32), np.empty((2, n_blocks, 2))
    for axis in range(2):
        moves[axis] = field[0, 0, axis]
        limits[axis] = field[0, 0, axis]
    return line, weights, moves, limits, np.empty((field.shape[1], 2))


@numba.njit(fastmath=True, error_model="numpy")
def _taps(here, step, limits, bounds):
    """First and number of the pixels within `bounds` that sixteen from `here` on see."""
    base = math.floor(here)
    ends = here - base, here - base + (LANES - 1) * step
    first = max(int(base + math.floor(min(ends[0], ends[1]) + limits[0])) - _REACH + 1, bounds[0])
    last = min(int(base + math.floor(max(ends[0], ends[1]) + limits[1])) + _REACH, bounds[1])
    return first, last - first + 1


@numba.njit(fastmath=True, error_model="numpy")
def _window(affine, limits, i, block, shape):
    """Where 16 pixels of row i see a plane of `shape`, along u (rows) and along v (columns).

    First row and column, their numbers, under 1 where nothing is seen, and (place, step) of the pixels from there.
    """
    at = block * LANES
    u = affine[0, 0] * i + affine[0, 1] * at + affine[0, 2]
    v = affine[1, 0] * i + affine[1, 1] * at + affine[1, 2]
    first, n_rows = _taps(u, affine[0, 1], limits[0, block], (0, shape[0] - 1))
    # a column is that of the first pixel: sixteen from it on must meet the plane
    left, n_columns = _taps(v, affine[1, 1] - 1.0, limits[1, block], (1 - LANES, shape[1] - 1))
    rows = u - first, affine[0, 1]
    columns = v - left, affine[1, 1] - 1.0
    return (first, left), (n_rows, n_columns), rows, columns


@numba.njit
def _single(pair):
    return np.float32(pair[0]), np.float32(pair[1])


@numba.njit(fastmath=True, error_model="numpy")
def _held(shape):
    """Zeros for a plane with zeros around it, so that no bounds are tested: [:shape[0], LANES:LANES + shape[1]]."""
    return np.zeros((shape[0] + TAPS - 1, shape[1] + 3 * LANES), dtype=np.float32)


@numba.njit(fastmath=True, error_model="numpy")
def _warp_view(plane, affine, field, view, bits):
    """One view (n_u, n_v) of a plane (n_rows, n_y)."""
    n_u, n_v = view.shape
    line, weights, moves, limits, knots = _room(affine, field, n_v)
    held = _held(plane.shape)
    stride = held.shape[1]
    held[: plane.shape[0], LANES : LANES + plane.shape[1]] = plane
    for i in range(n_u):
        if field.shape[0] * field.shape[1] > 1:
            _field_along(field, i, n_u, n_v, knots, moves, limits)
        for block in range(line.size // LANES):
            at = block * LANES
            (first, left), (n_rows, n_columns), rows, columns = _window(affine, limits, i, block, plane.shape)
            start = first * stride + LANES + left
            if min(n_rows, n_columns) < 1:
                line[at : at + LANES] = 0.0
            elif max(n_rows, n_columns) <= TAPS:
                gather_taps(
                    line, at, held, start, stride, _single(rows), _single(columns), moves[0], moves[1], bits
                )
            else:
                cubic_weights(weights[0], rows[0], rows[1], moves[0], at, n_rows, bits)
                cubic_weights(weights[1], columns[0], columns[1], moves[1], at, n_columns, bits)
                gather_windows(line, at, held, start, stride, weights[0], n_rows, weights[1], n_columns)
        view[i] = line[:n_v]


@numba.njit(fastmath=True, error_model="numpy")
def _warp_view_transpose(view, affine, field, plane, bits):
    """The transpose of `_warp_view`."""
    n_u, n_v = view.shape
    line, weights, moves, limits, knots = _room(affine, field, n_v)
    held = _held(plane.shape)
    stride = held.shape[1]
    for i in range(n_u):
        if field.shape[0] * field.shape[1] > 1:
            _field_along(field, i, n_u, n_v, knots, moves, limits)
        line[:n_v] = view[i]
        for block in range(line.size // LANES):
            at = block * LANES
            (first, left), (n_rows, n_columns), rows, columns = _window(affine, limits, i, block, plane.shape)
            start = first * stride + LANES + left
            if min(n_rows, n_columns) < 1:
                continue
            if max(n_rows, n_columns) <= TAPS:
                scatter_taps(
                    line, at, held, start, stride, _single(rows), _single(columns), moves[0], moves[1], bits
                )
            else:
                cubic_weights(weights[0], rows[0], rows[1], moves[0], at, n_rows, bits)
                cubic_weights(weights[1], columns[0], columns[1], moves[1], at, n_columns, bits)
                scatter_windows(line, at, held, start, stride, weights[0], n_rows, weights[1], n_columns)
    plane[...] = held[: plane.shape[0], LANES : LANES + plane.shape[1]]


@numba.njit(parallel=True, cache=True, error_model="numpy")
def warp_cpu(planes, rows, affine, field, images, is_absolute=False):
    """Overwrite `images` with `planes` as they are seen through the map.

    planes (n_views, n_rows, n_y) float32, of which rows (first, end) are the plane, indices counting from the first;
    affine (n_views, 2, 3) float64; field (n_views, n_nodes_u, n_nodes_v, 2) float64, the centres of equal parts of the
    detector, a single node of zeros being none; images (n_views, n_u, n_v) float32. With is_absolute weights count by
    their size.
    """
    bits = np.int32(SIZES if is_absolute else -1)
    for view in numba.prange(len(images)):
        _warp_view(planes[view, rows[0] : rows[1]], affine[view], field[view], images[view], bits)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def warp_transpose_cpu(images, rows, affine, field, planes, is_absolute=False):
    """Overwrite `rows` of `planes` with the transpose of `warp_cpu`, of the same arguments."""
    bits = np.int32(SIZES if is_absolute else -1)
    for view in numba.prange(len(images)):
        plane = planes[view, rows[0] : rows[1]]
        _warp_view_transpose(images[view], affine[view], field[view], plane, bits)
