"""Sampling along normals, smoothing and averaging along a surface, against closed forms and brute force."""

import numpy as np
import pytest

from tomo3d.compute import normal_profiles


def ball(radius=10.0, n=1500, jitter=0.0):
    """Points all over a ball, their normals and equal weights."""
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = normals * (radius + jitter * rng.standard_normal((n, 1)))
    return points, normals, np.full(n, 4 * np.pi * radius**2 / n)


def test_cubics_follow_a_quadratic_and_stop_at_the_border():
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in (9, 10, 11)), indexing="ij")
    grey = (0.3 * z * z - 0.2 * y * z + x).astype(np.float32)
    start, direction = np.array([[4.0, 4.5, 5.2]]), np.array([[0.6, -0.3, 0.7]])
    steps = np.linspace(-3, 3, 25)
    z, y, x = (start + steps[:, None] * direction).T
    found = normal_profiles.sampled(grey, start, direction, steps)
    np.testing.assert_allclose(found[0], 0.3 * z * z - 0.2 * y * z + x, atol=1e-4)
    beyond = normal_profiles.sampled(
        grey, np.array([[4.0, 4.0, 9.0]]), np.array([[0.0, 0.0, 1.0]]), np.arange(4.0)
    )
    np.testing.assert_array_equal(np.isnan(beyond[0]), [False, False, True, True])  # the last face is at 10.5


@pytest.mark.parametrize("radius", [3.0, 5.0])
def test_averages_leave_out_what_is_unknown_and_what_faces_away(radius):
    points, normals, weights = ball()
    points[:30], normals[:30] = points[30:60] + 0.01, -normals[30:60]  # the other side of a thin wall
    values = np.random.default_rng(1).standard_normal((len(points), 3)).astype(np.float32)
    values[::7, 2] = np.nan
    patch = normal_profiles.patches(points, normals, weights, radius)
    found = patch.restored(normal_profiles.averaged(patch, np.ascontiguousarray(values[patch.order])))
    for i in (5, 40, 700, 701):
        square = ((points - points[i]) ** 2).sum(axis=1) / radius**2
        weight = np.where((square < 1) & (normals @ normals[i] >= 0.5), weights * (1 - square), 0.0)
        for k in range(3):
            known = np.isfinite(values[:, k])
            expected = (weight * np.where(known, values[:, k], 0)).sum() / weight[known].sum()
            if np.isfinite(values[i, k]):
                assert found[i, k] == pytest.approx(expected, rel=1e-4)
            else:
                assert np.isnan(found[i, k])


def test_smoothing_takes_noise_off_a_ball_and_keeps_its_size_and_curvature():
    points, normals, weights = ball(jitter=0.3)
    patch = normal_profiles.patches(points, normals, weights, 5.0)
    smooth, new_normals, curvatures = (patch.restored(array) for array in normal_profiles.smoothed(patch))
    distance = np.linalg.norm(smooth, axis=1)
    assert distance.mean() == pytest.approx(10.0, abs=0.05)
    assert distance.std() < 0.1  # a third of the noise
    np.testing.assert_allclose((new_normals * smooth).sum(axis=1) / distance, 1.0, atol=0.02)
    assert np.median(curvatures[:, 0]) == pytest.approx(0.1, rel=0.1)
    assert (curvatures[:, 1] <= curvatures[:, 0] + 1e-12).all()


def test_lone_points_stay_where_they_are():
    points, normals, weights = ball(n=40)
    patch = normal_profiles.patches(points, normals, weights, 0.5)
    smooth, new_normals, curvatures = (patch.restored(array) for array in normal_profiles.smoothed(patch))
    np.testing.assert_array_equal(smooth, points)
    np.testing.assert_array_equal(new_normals, normals)
    assert not curvatures.any()
