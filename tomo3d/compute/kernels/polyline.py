"""Lines of points (n, 3): lengths, directions, even spacing and smoothing. Kernels release the GIL.

Lines of a network have tens of points each: calls of array functions would take longer than the arithmetic.
"""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def path_lengths_cpu(points: np.ndarray) -> np.ndarray:
    """Length of the way from the first point to each, (n,)."""
    along = np.zeros(len(points))
    for i in range(1, len(points)):
        square = 0.0
        for axis in range(3):
            step = points[i, axis] - points[i - 1, axis]
            square += step * step
        along[i] = along[i - 1] + math.sqrt(square)
    return along


@numba.njit(nogil=True, cache=True)
def resampled_cpu(points: np.ndarray, spacing: float) -> np.ndarray:
    """Points at even distances of about `spacing` along a line, its ends among them; at least three."""
    along = path_lengths_cpu(points)
    total = along[-1]
    n = max(3, round(total / spacing) + 1)
    even = np.empty((n, 3))
    k = 0
    for i in range(n):
        way = total * i / (n - 1)
        while k < len(points) - 2 and along[k + 1] <= way:
            k += 1
        length = along[k + 1] - along[k]
        share = min(1.0, (way - along[k]) / length) if length > 0 else 0.0
        for axis in range(3):
            even[i, axis] = points[k, axis] + share * (points[k + 1, axis] - points[k, axis])
    even[-1] = points[-1]
    return even


@numba.njit(nogil=True, cache=True)
def tangents_cpu(points: np.ndarray, is_ring: bool) -> np.ndarray:
    """Unit vectors along a line at its points; z where it has no direction."""
    n = len(points)
    found = np.empty((n, 3))
    for i in range(n):
        before, behind = max(i - 1, 0), min(i + 1, n - 1)
        if is_ring and (i == 0 or i == n - 1):
            before, behind = n - 2, 1
        square = 0.0
        for axis in range(3):
            found[i, axis] = points[behind, axis] - points[before, axis]
            square += found[i, axis] ** 2
        norm = math.sqrt(square)
        for axis in range(3):
            if norm > 1e-12:
                found[i, axis] /= norm
            else:
                found[i, axis] = 1.0 if axis == 0 else 0.0
    return found


@numba.njit(nogil=True, cache=True)
def total_turn_cpu(points: np.ndarray, is_ring: bool) -> float:
    """Sum of the angles between the tangents of neighbouring points, in rad."""
    directions = tangents_cpu(points, is_ring)
    total = 0.0
    for i in range(1, len(points)):
        cosine = 0.0
        for axis in range(3):
            cosine += directions[i, axis] * directions[i - 1, axis]
        total += math.acos(min(1.0, max(-1.0, cosine)))
    return total


@numba.njit(nogil=True, cache=True)
def smoothed_cpu(points: np.ndarray, weights: np.ndarray, stiffness: float) -> np.ndarray:
    """Minimum of the weighted squares of the moves and `stiffness` times the squares of second differences, (n, 3).

    A symmetric system of five bands, as L D L^T, without a search for pivots: it is positive definite. n is 3 or more.
    """
    n = len(points)
    diagonal, first, second = (
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
    )  # first[i], second[i]: of L, below the diagonal
    for i in range(n):
        diagonal[i] = weights[i]
    for i in range(n - 2):
        diagonal[i] += stiffness
        diagonal[i + 1] += 4.0 * stiffness
        diagonal[i + 2] += stiffness
        first[i] -= 2.0 * stiffness
        first[i + 1] -= 2.0 * stiffness
        second[i] += stiffness
    found = np.empty((n, 3))
    for i in range(n):
        for axis in range(3):
            found[i, axis] = weights[i] * points[i, axis]
    for i in range(n):
        pivot = diagonal[i]
        one, two = first[i] / pivot, second[i] / pivot
        if i + 1 < n:
            diagonal[i + 1] -= one * first[i]
            first[i + 1] -= one * second[i]
            for axis in range(3):
                found[i + 1, axis] -= one * found[i, axis]
        if i + 2 < n:
            diagonal[i + 2] -= two * second[i]
            for axis in range(3):
                found[i + 2, axis] -= two * found[i, axis]
        first[i], second[i] = one, two
    for i in range(n - 1, -1, -1):
        for axis in range(3):
            value = found[i, axis] / diagonal[i]
            if i + 1 < n:
                value -= first[i] * found[i + 1, axis]
            if i + 2 < n:
                value -= second[i] * found[i + 2, axis]
            found[i, axis] = value
    return found


@numba.njit(nogil=True, cache=True)
def meeting_point_cpu(
    points: np.ndarray, directions: np.ndarray, start: np.ndarray, hold: float
) -> np.ndarray:
    """Solution (3,) of the normal equations of the squared distances to lines, `start` held with strength `hold`."""
    matrix = hold * np.eye(3)
    right = hold * start
    for i in range(len(points)):
        along = 0.0
        for a in range(3):
            along += directions[i, a] * points[i, a]
        for a in range(3):
            right[a] += points[i, a] - directions[i, a] * along
            matrix[a, a] += 1.0
            for b in range(3):
                matrix[a, b] -= directions[i, a] * directions[i, b]
    for a in range(3):  # positive definite: no pivots
        for b in range(a + 1, 3):
            factor = matrix[b, a] / matrix[a, a]
            for c in range(a, 3):
                matrix[b, c] -= factor * matrix[a, c]
            right[b] -= factor * right[a]
    for a in range(2, -1, -1):
        for c in range(a + 1, 3):
            right[a] -= matrix[a, c] * right[c]
        right[a] /= matrix[a, a]
    return right


@numba.njit(nogil=True, cache=True)
def median_cpu(values: np.ndarray) -> float:
    """Median; not a number of none."""
    ordered = np.sort(values)
    n = len(ordered)
    return 0.5 * (ordered[(n - 1) // 2] + ordered[n // 2]) if n else np.nan


@numba.njit(nogil=True, cache=True)
def clear_of_ends_cpu(
    along: np.ndarray,
    radius_a: float,
    radius_b: float,
    beside: float,
    is_clear: np.ndarray,
    is_near: np.ndarray,
) -> None:
    """Which points lie beyond the radius of each end, and which within `beside` radii; one < 0 does not count."""
    for i in range(len(along)):
        is_clear[i], is_near[i] = True, False
        for radius, way in ((radius_a, along[i]), (radius_b, along[-1] - along[i])):
            if radius >= 0:
                is_clear[i] &= way > radius
                is_near[i] |= way < beside * radius


@numba.njit(nogil=True, cache=True)
def longest_run_cpu(flags: np.ndarray) -> None:
    """Leave the flags of the longest stretch alone, in which single ones may be missing; the first of equally long."""
    best_first, best_last, best_n = -1, -1, 0
    first, last, n = -1, -9, 0
    for i in range(len(flags)):
        if not flags[i]:
            continue
        if i - last > 2:
            first, n = i, 0
        last = i
        n += 1
        if n > best_n:
            best_first, best_last, best_n = first, last, n
    for i in range(len(flags)):
        if i < best_first or i > best_last:
            flags[i] = False


@numba.njit(nogil=True, cache=True)
def narrow_stretches_cpu(
    starts: np.ndarray,
    area: np.ndarray,
    extremes: np.ndarray,
    is_near: np.ndarray,
    is_clear: np.ndarray,
    roundness: float,
    slack: float,
    wide: float,
    typical: np.ndarray,
) -> None:
    """Narrow the clear stretch of each line, from starts[i] up to starts[i + 1]: is_clear (n,) is changed.

    Where another strut may be near, the longest ray of a cross-section must not exceed `roundness` of the shortest and
    `slack`, if that leaves any; typical[i] <- the median area there, or that of the middle where nothing is clear. Ends
    whose area exceeds `wide` of it do not count, either.
    """
    for line in range(len(starts) - 1):
        first, last = starts[line], starts[line + 1]
        kept = np.empty(last - first, dtype=np.bool_)
        n = 0
        for i in range(first, last):
            is_one = not is_near[i] or extremes[i, 1] <= roundness * extremes[i, 0] + slack
            kept[i - first] = is_clear[i] and is_one
            n += kept[i - first]
        if n:
            longest_run_cpu(kept)
            is_clear[first:last] = kept
        clear = area[first:last][is_clear[first:last]]
        typical[line] = median_cpu(clear) if len(clear) else area[first + (last - first) // 2]
        limit = wide * typical[line]
        for i in range(first, last):
            if is_clear[i]:
                if area[i] <= limit:
                    break
                is_clear[i] = False
        for i in range(last - 1, first - 1, -1):
            if is_clear[i]:
                if area[i] <= limit:
                    break
                is_clear[i] = False
