"""Lines of points: closed forms, and dense solvers for the smoother and the meeting point."""

import math

import numpy as np
import pytest

from tomo3d.compute.kernels import polyline
from tomo3d.graph import _lines as lines

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("n", [4, 5, 31])
def test_the_smoother_is_the_minimum_of_its_dense_system(n):
    points, weights = RNG.normal(size=(n, 3)), RNG.uniform(0.1, 1.0, n)
    second = np.diff(np.eye(n), 2, axis=0)
    wave = 9.0
    dense = np.diag(weights) + (wave / (2 * math.pi)) ** 4 * second.T @ second
    expected = np.linalg.solve(dense, weights[:, None] * points)
    np.testing.assert_allclose(lines.smoothed(points, weights, wave), expected, atol=1e-10)


def test_even_spacing_keeps_a_straight_line_with_a_point_twice():
    points = np.array([[0, 0, 0], [0, 3, 0], [0, 3, 0], [0, 3, 4.0]])
    even = lines.resampled(points, 1.0)
    np.testing.assert_allclose(lines.path_lengths(even), np.arange(8.0), atol=1e-12)
    np.testing.assert_allclose(even[[0, 3, 7]], points[[0, 1, 3]], atol=1e-12)


def test_a_circle_turns_once():
    angle = np.linspace(0, 2 * math.pi, 181)
    circle = np.stack([0 * angle, np.sin(angle), np.cos(angle)], axis=1)
    assert lines.total_turn(circle, True) == pytest.approx(2 * math.pi, rel=1e-6)


def test_lines_through_a_point_meet_there():
    directions = RNG.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    place = np.array([3.0, -2.0, 7.0])
    rays = [(place + 10 * direction, direction) for direction in directions]
    np.testing.assert_allclose(lines.meeting_point(rays, place + 1, hold=1e-9), place, atol=1e-7)


def test_the_longest_stretch_may_lack_single_points():
    flags = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1], dtype=bool)
    polyline.longest_run_cpu(flags)
    assert np.flatnonzero(flags).tolist() == [4, 6, 7]


@pytest.mark.parametrize("from_last", [False, True])
def test_the_course_of_a_line_is_that_of_its_nearest_clear_points(from_last):
    points = np.cumsum(RNG.normal(size=(40, 3)), axis=0)
    is_clear = np.ones(40, dtype=bool)
    is_clear[[0, 1, 5, 37, 39]] = False
    middle, spread = np.empty(3), np.empty((3, 3))
    n = polyline.course_cpu(points, is_clear, from_last, 12.0, middle, spread)
    clear = (points[::-1] if from_last else points)[is_clear[::-1] if from_last else is_clear]
    near = clear[lines.path_lengths(clear) <= 12.0]
    assert n == len(near) > 3
    np.testing.assert_allclose(middle, near.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(spread, (near - middle).T @ (near - middle), atol=1e-10)
