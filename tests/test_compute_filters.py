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
    assert filters.parse_window("exact:120") == filters.Exact(120.0)
    with pytest.raises(ValueError, match="window must be one of ramp, hann"):
        filters.parse_window("ram-lak")
    with pytest.raises(ValueError, match="do not fit"):
        filters.parse_window("hann:3")
    with pytest.raises(ValueError, match="sigma must be positive"):
        filters.parse_window("gaussian:0.3,0")
    with pytest.raises(ValueError, match="diameter_nm must be positive"):
        filters.parse_window("exact:-1")
    with pytest.raises(ValueError, match="do not fit"):
        filters.parse_window("exact")  # the object has a size, and no default stands for it


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


@pytest.mark.parametrize("window", [filters.Ramp(), filters.Hann(), filters.SirtLike(7)])
def test_responses_are_ramp_times_window_times_the_weight_of_the_angle(window):
    angles, n = np.array([20.0, -30.0, 0.0, 5.0]), 300
    frequency = np.arange(n // 2 + 1) / n
    expected = np.multiply.outer(
        filters.angle_weights(angles), filters.ramp_response(n) * window.response(frequency)
    )
    found = filters.responses(angles, n, window)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_views_that_stand_for_equal_angles_share_one_response():
    assert filters.responses(np.arange(-60.0, 61.0, 3.0), 64, filters.Ramp()).shape == (1, 33)
    assert filters.responses(np.array([-60.0, 0.0, 10.0]), 64, filters.Ramp()).shape == (3, 33)


@pytest.mark.parametrize(("diameter", "step"), [(50.0, 1.0), (100.0, 0.5), (200.0, 1.0), (300.0, 2.0)])
def test_the_exact_filter_of_even_angles_is_the_ramp_up_to_the_crowther_limit(diameter, step):
    frequency = np.arange(513) / 1024
    found = filters.exact_responses(np.arange(-90.0, 90.0, step), frequency, diameter).astype(float)
    assert np.ptp(found, axis=0).max() <= 1e-6 * found.max()  # no view is different
    crowther = 1 / (diameter * np.deg2rad(step))
    between = (frequency >= 3 / diameter) & (frequency <= crowther)
    f = frequency[between]
    loss = 1 - found[0, between] / (f * np.deg2rad(step))
    most = (f / crowther) ** 2 / 4 + 1 / (12 * (f * diameter) ** 2)
    # 3 % of it for the next order, at 3 / D; sin of the step instead of the step: its square / 6
    assert (loss <= 1.03 * most + np.deg2rad(step) ** 2 / 6).all()
    assert (loss >= -(np.deg2rad(step) ** 2) / 6 - 1e-6).all()
    beyond = frequency > 1.001 * crowther
    np.testing.assert_allclose(found[0, beyond], 1 / diameter, rtol=1e-6)


def test_the_exact_filter_ends_at_one_part_of_all_views():
    found = filters.exact_responses(np.array([-50.0, 10.0, 11.0]), np.zeros(1), 64.0)
    np.testing.assert_allclose(found, 1 / (3 * 64.0), rtol=1e-6)


def test_the_exact_filter_gives_equal_views_one_part_each_in_any_order():
    frequency = np.arange(129) / 256
    one = filters.exact_responses(np.array([-40.0, 0.0, 3.0]), frequency, 90.0)
    two = filters.exact_responses(np.array([0.0, 3.0, 0.0, -40.0, 180.0]), frequency, 90.0)
    # at 0 deg there are three views now: together they weigh what one did where nothing else overlaps
    far = frequency > 1 / (90 * np.sin(np.deg2rad(3.0))) * 1.001
    np.testing.assert_allclose(two[[0, 2, 4]].sum(axis=0)[far], one[1][far], rtol=1e-6)
    np.testing.assert_array_equal(two[0], two[4])
    np.testing.assert_allclose(two[3][far], one[0][far], rtol=1e-6)


def test_the_exact_filter_of_uneven_angles_is_the_ramp_times_their_gaps():
    angles = np.cumsum(np.concatenate(([-60.0], np.repeat([1.0, 2.0, 1.0], 20))))
    frequency = np.array([0.05, 0.1])
    found = filters.exact_responses(angles, frequency, 100.0)
    expected = np.multiply.outer(filters.angle_weights(angles), frequency)
    # in the middle of the wide gaps: at f = 0.05 a view overlaps with those within 12 deg, all of them 2 deg apart
    inner = [30, 31, 29]
    crowther = 1 / (100.0 * np.deg2rad(2.0))
    most = (frequency / crowther) ** 2 / 4 + 1 / (12 * (frequency * 100.0) ** 2)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=1.1 * most.max() + 1e-4)


def test_a_length_in_nm_is_counted_in_pixels():
    angles = np.array([-20.0, 0.0, 7.0])
    nm = filters.responses(angles, 128, filters.Exact(90.0), pixel_size_nm=3.0)
    pixels = filters.responses(angles, 128, filters.Exact(30.0))
    np.testing.assert_allclose(nm, pixels, rtol=1e-6)


@pytest.mark.parametrize("n_u", [37, 64])
def test_rows_are_convolved_with_the_ramp_as_if_they_fell_to_zero_beyond_their_edges(n_u):
    images = np.random.default_rng(1).random((2, 3, n_u), dtype=np.float32)
    images.flags.writeable = False
    n_taper = filters.taper_length(n_u)
    fall = np.cos(0.5 * np.pi * np.arange(1, n_taper + 1) / (n_taper + 1)) ** 2
    far = np.concatenate(
        [images[..., :1] * fall[::-1], images.astype(float), images[..., -1:] * fall], axis=-1
    )
    distance = np.arange(n_u)[:, None] - (np.arange(far.shape[-1]) - n_taper)
    with np.errstate(divide="ignore"):
        kernel = np.where(distance % 2 == 1, -1.0 / (np.pi * distance) ** 2, 0.0)
    kernel[distance == 0] = 0.25
    response = filters.ramp_response(filters.padded_length(n_u)).astype(np.float32)[None]
    np.testing.assert_allclose(filters.filter_rows(images, response), far @ kernel.T, atol=1e-6)


def test_each_view_is_filtered_by_its_own_response():
    images = np.random.default_rng(2).random((3, 2, 20), dtype=np.float32)
    response = filters.responses(np.array([-30.0, 0.0, 5.0]), filters.padded_length(20), filters.Exact(15.0))
    together = filters.filter_rows(images, response)
    for k in range(3):
        alone = filters.filter_rows(images[k : k + 1], response[k : k + 1])
        np.testing.assert_allclose(together[k : k + 1], alone, atol=1e-7)
