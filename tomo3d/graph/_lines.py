"""Lines as points (n, 3): lengths, directions, even spacing, and where straight ones meet."""

from __future__ import annotations

import numpy as np

from tomo3d.compute.kernels import polyline as kernels


def path_lengths(points: np.ndarray) -> np.ndarray:
    """Length of the way from the first point to each, (n,)."""
    return np.asarray(kernels.path_lengths_cpu(points))


def resampled(points: np.ndarray, spacing: float) -> np.ndarray:
    """Points at even distances of about `spacing` along a line, its ends among them; at least three."""
    return np.asarray(kernels.resampled_cpu(points, spacing))


def tangents(points: np.ndarray, is_ring: bool) -> np.ndarray:
    """Unit vectors along a line at its points; z where it has no direction."""
    return np.asarray(kernels.tangents_cpu(points, is_ring))


def total_turn(points: np.ndarray, is_ring: bool) -> float:
    """Sum of the angles between the tangents of neighbouring points, in rad."""
    return float(kernels.total_turn_cpu(points, is_ring))


def median(values: np.ndarray) -> float:
    """Median of a few numbers: NumPy's takes ten times as long."""
    return float(kernels.median_cpu(values))


def meeting_point(
    rays: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, hold: float = 0.05
) -> np.ndarray:
    """The point whose squared distances to straight lines add up to least; `start` holds it,
    as a spring of strength `hold`, where they do not."""
    points, directions = np.array([ray[0] for ray in rays]), np.array([ray[1] for ray in rays])
    return np.asarray(kernels.meeting_point_cpu(points, directions, start, hold))
