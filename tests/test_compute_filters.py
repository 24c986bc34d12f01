"""The ramp, its windows, and the weights of the angles."""

import numpy as np
import pytest

from tomo3d.compute import filters


@pytest.mark.parametrize("n", [64, 65, 256])
def test_the_ramp_is_the_band_limited_one(n):
    length = filters.padded_length(n)
    response = filters.ramp_response(length)
    frequency = np.arange(length // 2 + 1) / length
    # the kernel is cut at half the padded length, which leaves 1 / (pi^2 length) at zero frequency
    np.testing.assert_allclose(response, frequency, atol=1.2 / (np.pi**2 * length) * 2)
    assert 0 < response[0] < 2.2 / (np.pi**2 * length)


def test_windows_have_their_closed_forms():
    f = np.array([0.0, 0.1, 0.25, 0.5])
    np.testing.assert_allclose(filters.Ramp().response(f), 1.0)
    np.testing.assert_allclose(filters.Hann().response(f), np.cos(np.pi * f) ** 2, atol=1e-12)
    np.testing.assert_allclose(filters.Hamming().response(f)[[0, 3]], [1.0, 0.08])
    np.testing.assert_allclose(filters.Cosine().response(f)[[0, 3]], [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(filters.Butterworth(0.25, 4).response(f)[2], 0.5)
    np.testing.assert_allclose(filters.Gaussian(0.2, 0.05).response(f)[[1, 2]], [1.0, np.exp(-0.5)])
    # SIRT's response grows with iterations and tends to the ramp's
    at = np.array([0.2])
    assert (
        filters.SirtLike(2).response(at)
        < filters.SirtLike(10).response(at)
        < filters.SirtLike(5000).response(at)
    )
    assert filters.SirtLike(5000).response(at) == pytest.approx(1.0, abs=1e-6)


def test_windows_are_read_from_text():
    assert filters.parse_window("gaussian:0.3,0.05") == filters.Gaussian(0.3, 0.05)
    assert filters.parse_window("hann") == filters.Hann()
    assert filters.parse_window(filters.SirtLike(4)) == filters.SirtLike(4)
    with pytest.raises(ValueError, match="window must be one of ramp, hann"):
        filters.parse_window("ram-lak")
    with pytest.raises(ValueError, match="do not fit"):
        filters.parse_window("hann:3")
    with pytest.raises(ValueError, match="sigma must be positive"):
        filters.parse_window("gaussian:0.3,0")


def test_uniform_angles_share_the_half_circle():
    weights = filters.angle_weights(np.arange(-90.0, 90.0, 1.0))
    np.testing.assert_allclose(weights, np.pi / 180, rtol=1e-9)
    full_turn = filters.angle_weights(np.arange(0.0, 360.0, 2.0))  # every direction twice
    np.testing.assert_allclose(full_turn, np.pi / 180, rtol=1e-9)


def test_a_limited_range_keeps_its_outer_gaps():
    weights = filters.angle_weights(np.arange(-60.0, 61.0, 3.0))
    np.testing.assert_allclose(weights, np.deg2rad(3.0), rtol=1e-9)


def test_weights_follow_gaps_in_any_order():
    angles = np.array([-60.0, -40.0, -30.0, -20.0, -10.0, 0.0, 10.0, 30.0])
    expected = np.deg2rad([20.0, 15.0, 10.0, 10.0, 10.0, 10.0, 15.0, 20.0])
    np.testing.assert_allclose(filters.angle_weights(angles), expected, rtol=1e-9)
    order = np.random.default_rng(0).permutation(len(angles))
    np.testing.assert_allclose(filters.angle_weights(angles[order]), expected[order], rtol=1e-9)


def test_equal_angles_share_one_weight():
    weights = filters.angle_weights(np.array([-10.0, 0.0, 0.0, 10.0]))
    np.testing.assert_allclose(weights, np.deg2rad([10.0, 5.0, 5.0, 10.0]), rtol=1e-9)
