"""Lines of points: closed forms, and dense solvers for the smoother and the meeting point."""

import math

import numpy as np
import pytest

from tomo3d.compute.kernels import polyline, polylines
from tomo3d.graph import _lines as lines

RNG = np.random.default_rng(3)
NOWHERE = np.zeros((2, 3))


def smooth(points, weights, wave, *, is_ring=False, held=(False, False), ends=NOWHERE, box=1e9):
    """One line among others, which must not matter."""
    starts = np.array([0, 7, 7 + len(points), 12 + len(points)])
    whole = np.concatenate([np.ones((7, 3)), points, np.zeros((5, 3))])
    around = np.concatenate([np.ones(7), weights, np.ones(5)])
    result = np.empty_like(whole)
    polylines.smooth_lines_cpu(
        whole, starts, around, np.full(3, (wave / (2 * math.pi)) ** 4), np.array([False, is_ring, False]),
        np.array([(False, False), held, (False, False)]), np.stack([ends] * 3), 1e4, np.full(3, -box),
        np.full(3, box), result,
    )  # fmt: skip
    return result[7 : 7 + len(points)]


def dense(points, weights, wave):
    second = np.diff(np.eye(len(points)), 2, axis=0)
    matrix = np.diag(weights) + (wave / (2 * math.pi)) ** 4 * second.T @ second
    return np.linalg.solve(matrix, weights[:, None] * points)


@pytest.mark.parametrize("n", [4, 5, 31])
def test_the_smoother_is_the_minimum_of_its_dense_system(n):
    points, weights = RNG.normal(size=(n, 3)), RNG.uniform(0.1, 1.0, n)
    np.testing.assert_allclose(smooth(points, weights, 9.0), dense(points, weights, 9.0), atol=1e-10)


def test_ends_that_are_held_stay_and_lines_stay_in_the_box():
    points, weights = 3 * RNG.normal(size=(12, 3)), np.ones(12)
    ends = np.array([[5.0, 5.0, 5.0], [-1.0, 0.0, 1.0]])
    found = smooth(points, weights, 9.0, held=(True, False), ends=ends, box=1.5)
    points[0], weights[0] = ends[0], 1e4
    np.testing.assert_allclose(found[1:], np.clip(dense(points, weights, 9.0), -1.5, 1.5)[1:], atol=1e-7)
    assert (found[0] == ends[0]).all()


def test_a_ring_is_smoothed_the_same_wherever_it_begins():
    body = RNG.normal(size=(40, 3)) * 0.1
    body[:, 1:] += 5 * np.stack(
        [np.sin(np.arange(40) * math.pi / 20), np.cos(np.arange(40) * math.pi / 20)], axis=1
    )
    one, two = (
        smooth(np.concatenate([b, b[:1]]), np.ones(41), 6.0, is_ring=True)
        for b in (body, np.roll(body, 7, 0))
    )
    assert (one[0] == one[-1]).all()
    np.testing.assert_allclose(np.roll(one[:-1], 7, 0), two[:-1], atol=1e-6)
    assert np.linalg.norm(np.diff(one, 2, axis=0)) < 0.5 * np.linalg.norm(np.diff(body, 2, axis=0))


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
    middle, spread, is_known = np.empty((2, 3)), np.empty((2, 3, 3)), np.empty(2, dtype=bool)
    polylines.courses_cpu(
        np.concatenate([points[:2], points]), np.array([0, 2, 42]), np.concatenate([is_clear[2:4], is_clear]),
        np.array([0, 1]), np.array([from_last] * 2), np.array([12.0, 12.0]), middle, spread, is_known,
    )  # fmt: skip
    clear = (points[::-1] if from_last else points)[is_clear[::-1] if from_last else is_clear]
    near = clear[lines.path_lengths(clear) <= 12.0]
    assert len(near) > 3
    assert is_known.tolist() == [False, True]  # the first line has two points
    np.testing.assert_allclose(middle[1], near.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(spread[1], (near - middle[1]).T @ (near - middle[1]), atol=1e-10)
