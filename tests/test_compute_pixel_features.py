"""Features of voxels: closed forms, invariants, tiles against the whole."""

import numpy as np
import pytest

from tomo3d.compute import pixel_features
from tomo3d.compute.pixel_features import N_PER_SCALE, eigenvalues, feature_names, features, tiles

SHAPE = (25, 28, 31)
AT = [np.arange(n) - 0.5 * (n - 1) for n in SHAPE]
Z, Y, X = np.meshgrid(*AT, indexing="ij")
MIDDLE = (slice(12, 13), slice(13, 15), slice(15, 16))


def whole(data, scales):
    found = features(data, tuple(slice(0, n) for n in data.shape), scales)
    return dict(zip(feature_names([10.0 * (i + 1) for i in range(len(scales))]), found, strict=True))


def test_a_plane_wave_is_damped_by_the_gaussian():
    # cos(k x) blurred by sigma is exp(-k^2 sigma^2 / 2) of itself; the kernel ends at 3 sigma (1 % of its weight)
    k = 2 * np.pi / 12
    found = whole(np.cos(k * X), [(1.0, 1.0, 2.0)])["blurred value, 10 nm"]
    inner = np.s_[:, :, 8:-8]
    np.testing.assert_allclose(found[inner], np.exp(-0.5 * (k * 2.0) ** 2) * np.cos(k * X)[inner], atol=0.01)


def test_gradients_are_per_standard_deviation_along_each_axis():
    found = whole(3.0 * Z + 2.0 * X, [(0.5, 1.0, 2.0)])
    # slope 3 a voxel of half a standard deviation, and 2 a voxel of twice one
    np.testing.assert_allclose(found["gradient, 10 nm"][MIDDLE], np.hypot(3 * 0.5, 2 * 2.0), rtol=1e-5)
    np.testing.assert_allclose(found["gradient along z, 10 nm"][MIDDLE], 3 * 0.5, rtol=1e-5)
    # all in one direction: one eigenvalue of the structure tensor
    np.testing.assert_allclose(
        found["largest of the structure tensor, 10 nm"][MIDDLE], 2.25 + 16.0, rtol=1e-5
    )
    for name in ("middle", "smallest"):
        np.testing.assert_allclose(found[f"{name} of the structure tensor, 10 nm"][MIDDLE], 0.0, atol=1e-4)


def test_second_derivatives_of_a_quadric_are_its_own_however_it_is_turned():
    # principal curvatures 4, 1 and -2 along turned axes; blurring a quadric adds a constant
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    matrix = turn @ np.diag([4.0, 1.0, -2.0]) @ turn.T
    at = np.stack([Z, Y, X])
    grey = 0.5 * np.einsum("i...,ij,j...->...", at, matrix, at)
    found = whole(grey, [(1.5, 1.5, 1.5)])
    for name, curvature in (("largest", 4.0), ("middle", 1.0), ("smallest", -2.0)):
        got = found[f"{name} second derivative, 10 nm"][MIDDLE]
        np.testing.assert_allclose(got, 1.5**2 * curvature, rtol=1e-3)
    np.testing.assert_allclose(
        found["second derivative along z, 10 nm"][MIDDLE], 1.5**2 * matrix[0, 0], rtol=1e-3
    )


def test_the_standard_deviation_is_that_under_the_gaussian_even_far_from_zero():
    # of a wave of short period, 1 / sqrt(2)
    grey = 1e4 + np.cos(2 * np.pi / 4 * X)
    found = whole(grey.astype(np.float32), [(2.0, 2.0, 2.0)])["local standard deviation, 10 nm"]
    np.testing.assert_allclose(found[MIDDLE], np.sqrt(0.5), rtol=0.01)


def test_eigenvalues_agree_with_those_of_numpy():
    rng = np.random.default_rng(0)
    some = rng.standard_normal((200, 3, 3))
    some = some + some.transpose(0, 2, 1)
    some[0], some[1], some[2] = 0.0, np.eye(3), np.diag([1.0, 1.0, -5.0])
    parts = [some[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    # arccos near +-1 doubles the digits that are lost
    np.testing.assert_allclose(
        np.stack(eigenvalues(parts), axis=1), np.linalg.eigvalsh(some)[:, ::-1], atol=1e-6
    )


@pytest.mark.parametrize("edge", [7, 12])
def test_tile_by_tile_is_the_whole_bit_by_bit(edge):
    scales = [(0.4, 0.7, 0.7), (0.8, 1.5, 1.5), (1.6, 3.0, 3.0)]
    grey = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    grey.flags.writeable = False
    expected = features(grey, tuple(slice(0, n) for n in SHAPE), scales)
    assert len(expected) == 1 + 3 * N_PER_SCALE == len(feature_names([1, 2, 3]))
    seen = np.zeros(SHAPE, int)
    for tile in tiles(SHAPE, edge):
        seen[tile] += 1
        np.testing.assert_array_equal(features(grey, tile, scales), expected[(slice(None), *tile)])
    assert (seen == 1).all()


def test_beyond_the_reach_nothing_counts():
    scale = (0.4, 1.0, 2.0)
    grey = np.random.default_rng(0).standard_normal((9, 21, 41)).astype(np.float32)
    other = grey.copy()
    z, y, x = pixel_features.reach(scale)
    outside = np.ones(grey.shape, bool)
    outside[4 - z : 5 + z, 10 - y : 11 + y, 20 - x : 21 + x] = False
    other[outside] += 100.0
    tile = (slice(4, 5), slice(10, 11), slice(20, 21))
    np.testing.assert_array_equal(features(grey, tile, [scale]), features(other, tile, [scale]))
