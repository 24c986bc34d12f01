"""Lines as points (n, 3): lengths, directions, even spacing, smoothing, and where straight ones meet."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import solveh_banded


def path_lengths(points: np.ndarray) -> np.ndarray:
    """Length of the way from the first point to each, (n,)."""
    steps = points[1:] - points[:-1]
    along = np.zeros(len(points))
    np.cumsum(np.sqrt(np.einsum("ij,ij->i", steps, steps)), out=along[1:])
    return along


def resampled(points: np.ndarray, spacing: float) -> np.ndarray:
    """Points at even distances of about `spacing` along a line, its ends among them; at least three."""
    along = path_lengths(points)
    even = np.linspace(0.0, along[-1], max(3, round(along[-1] / spacing) + 1))
    return np.stack([np.interp(even, along, points[:, axis]) for axis in range(3)], axis=1)


def tangents(points: np.ndarray, is_ring: bool) -> np.ndarray:
    """Unit vectors along a line at its points; z where it has no direction."""
    steps = np.empty_like(points)
    steps[1:-1] = points[2:] - points[:-2]
    steps[0], steps[-1] = points[1] - points[0], points[-1] - points[-2]
    if is_ring:
        steps[0] = steps[-1] = points[1] - points[-2]
    norms = np.sqrt(np.einsum("ij,ij->i", steps, steps))
    lost = norms <= 1e-12
    steps[lost], norms[lost] = (1.0, 0.0, 0.0), 1.0
    return steps / norms[:, None]


def median(values: np.ndarray) -> float:
    """Median of a few numbers: NumPy's takes ten times as long."""
    ordered = np.sort(values)
    n = len(ordered)
    return 0.5 * float(ordered[(n - 1) // 2] + ordered[n // 2])


def meeting_point(
    rays: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, hold: float = 0.05
) -> np.ndarray:
    """The point whose squared distances to straight lines add up to least; `start` holds it,
    as a spring of strength `hold`, where they do not."""
    matrix, right = hold * np.eye(3), hold * start
    for point, direction in rays:
        across = np.eye(3) - np.outer(direction, direction)
        matrix = matrix + across
        right = right + across @ point
    return np.asarray(np.linalg.solve(matrix, right))


def smoothed(points: np.ndarray, weights: np.ndarray, wave: float) -> np.ndarray:
    """Points (n, 3) without the waves shorter than `wave` points (Whittaker's smoother of second differences)."""
    n = len(points)
    if n < 4:
        return points
    stiffness = (wave / (2 * math.pi)) ** 4
    bands = np.zeros((3, n))
    bands[0] = weights
    for k, factor in enumerate((1.0, -2.0, 1.0)):
        for j, other in enumerate((1.0, -2.0, 1.0)):
            if j >= k:
                bands[j - k, k : n - 2 + k] += stiffness * factor * other
    return np.asarray(solveh_banded(bands, weights[:, None] * points, lower=True, check_finite=False))
