"""Images resampled by cubic B-splines.

The coefficients are those of the spline that goes through the pixels (M. Unser, A. Aldroubi and M. Eden, IEEE Trans.
Signal Process. 41 (1993) 821-833, doi:10.1109/78.193220), a recursion forth and back along each axis. An image is
continued from its edge: its coefficients are given EDGE pixels beyond it, where they no longer change in float32.
"""

from __future__ import annotations

import math

import numba
import numpy as np

EDGE = 12  # pixels; the pole to this power is 1e-7
_POLE = math.sqrt(3.0) - 2.0
_MATH = {"contract", "reassoc", "arcp", "nsz"}  # NaN stays NaN
_LINES = 16  # that are filtered together: one vector


@numba.njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def _filter_lines(lines):
    """Coefficients in place of samples, along axis 0 of (n, n_lines), which do not change near both ends."""
    n, n_lines = lines.shape
    pole = np.float32(_POLE)
    six = np.float32(6.0)
    ahead = np.float32(6.0 / (1.0 - _POLE))
    for k in range(n_lines):
        lines[0, k] *= ahead
    for i in range(1, n - 1):  # the last is a sample of what no longer changes: that is its coefficient
        for k in range(n_lines):
            lines[i, k] = six * lines[i, k] + pole * lines[i - 1, k]
    for i in range(n - 2, -1, -1):
        for k in range(n_lines):
            lines[i, k] = pole * (lines[i + 1, k] - lines[i, k])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def spline_coefficients_cpu(image, coefficients):
    """Overwrite `coefficients` (n_y + 2 EDGE, n_x + 2 EDGE) float32 with those of an image (n_y, n_x)."""
    n_y, n_x = image.shape
    height, width = coefficients.shape
    lines = np.empty((height, _LINES), dtype=np.float32)
    for first in range(0, n_x, _LINES):
        n = min(_LINES, n_x - first)
        for i in range(height):
            row = min(max(i - EDGE, 0), n_y - 1)
            for k in range(n):
                lines[i, k] = image[row, first + k]
        _filter_lines(lines)
        for i in range(height):
            for k in range(n):
                coefficients[i, EDGE + first + k] = lines[i, k]
    lines = np.empty((width, _LINES), dtype=np.float32)
    for first in range(0, height, _LINES):
        n = min(_LINES, height - first)
        for k in range(n):
            for j in range(width):
                lines[j, k] = coefficients[first + k, EDGE + min(max(j - EDGE, 0), n_x - 1)]
        _filter_lines(lines)
        for k in range(n):
            for j in range(width):
                coefficients[first + k, j] = lines[j, k]


@numba.njit(inline="always")
def _weights(t):
    """Of the four nodes around a place, t beyond the second."""
    s = np.float32(1.0) - t
    sixth = np.float32(1.0 / 6.0)
    two_thirds = np.float32(2.0 / 3.0)
    half = np.float32(0.5)
    return (
        sixth * s * s * s,
        two_thirds - half * t * t * (np.float32(2.0) - t),
        two_thirds - half * s * s * (np.float32(2.0) - s),
        sixth * t * t * t,
    )


@numba.njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def affine_spline_cpu(coefficients, matrix, offset, out):
    """out[i] = spline at matrix @ i + offset, in pixels of the image; out (n_y, n_x) float32.

    coefficients as `spline_coefficients_cpu` makes them; matrix (2, 2) and offset (2,) float64.
    """
    height, width = coefficients.shape
    flat = coefficients.reshape(-1)
    n_y, n_x = out.shape
    # the four nodes stay within the array: further out nothing changes
    most_y, most_x = float(height - 3), float(width - 3)
    for i in range(n_y):
        y0 = matrix[0, 0] * i + offset[0] + EDGE
        x0 = matrix[1, 0] * i + offset[1] + EDGE
        for j in range(n_x):
            y = min(max(y0 + matrix[0, 1] * j, 1.0), most_y)
            x = min(max(x0 + matrix[1, 1] * j, 1.0), most_x)
            row, column = np.int32(y), np.int32(x)
            a0, a1, a2, a3 = _weights(np.float32(y - row))
            b0, b1, b2, b3 = _weights(np.float32(x - column))
            p0 = np.int64(row - 1) * width + column - 1
            p1 = p0 + width
            p2 = p1 + width
            p3 = p2 + width
            out[i, j] = (
                a0 * (b0 * flat[p0] + b1 * flat[p0 + 1] + b2 * flat[p0 + 2] + b3 * flat[p0 + 3])
                + a1 * (b0 * flat[p1] + b1 * flat[p1 + 1] + b2 * flat[p1 + 2] + b3 * flat[p1 + 3])
                + a2 * (b0 * flat[p2] + b1 * flat[p2 + 1] + b2 * flat[p2 + 2] + b3 * flat[p2 + 3])
                + a3 * (b0 * flat[p3] + b1 * flat[p3 + 1] + b2 * flat[p3 + 2] + b3 * flat[p3 + 3])
            )
