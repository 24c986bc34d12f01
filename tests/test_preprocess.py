"""Preparation of views: backgrounds that are known, and larger pixels that keep densities."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import TiltSeries, preprocess, reconstruct
from tomo3d.phantoms import Ball, Body, Specimen, acquire

ANGLES = np.array([-30.0, 0.0, 30.0])


def dark_field(coverage, *, level=100.0, sigma=5.0, shape=(120, 130), seed=0):
    """Three views of a noisy background with an object of many grey values over a share of each."""
    rng = np.random.default_rng(seed)
    images = rng.normal(level, sigma, (3, *shape))
    n_columns = round(coverage * shape[1])
    images[:, :, :n_columns] += 10 * sigma + rng.uniform(0.0, 60.0 * sigma, (3, shape[0], n_columns))
    return images


def series_of(images, **fields):
    images = np.asarray(images)
    images.flags.writeable = False
    return TiltSeries(images, ANGLES, 2.0, **fields)


@pytest.mark.parametrize("coverage", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("level", [100.0, -400.0])
def test_the_background_is_found_beside_an_object_over_half_of_the_view(coverage, level):
    result = preprocess.subtract_background(series_of(dark_field(coverage, level=level)))
    n_empty = (1.0 - coverage) * 120 * 130
    # r.m.s. error of 4 n^(-1/3) of the noise of 5 (docstring); three views stay within three times that
    assert np.abs(result.views["background"] - level).max() < 3 * 4 * n_empty ** (-1 / 3) * 5.0
    assert result.images.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_the_mode_has_no_bias_and_the_error_that_it_claims(dtype):
    images = np.random.default_rng(6).normal(-300.0, 20.0, (60, 64, 64))
    images = (np.round(images) if dtype is np.int16 else images).astype(dtype)
    result = preprocess.subtract_background(TiltSeries(images, np.arange(60.0), 1.0))
    error = result.views["background"] + 300.0
    rms = 4 * 20.0 * 4096 ** (-1 / 3)  # 5 grey values
    assert abs(error.mean()) < 3 * rms / np.sqrt(60)  # three standard errors
    assert np.sqrt(np.mean(error**2)) < 1.3 * rms  # 60 views tell it within 9 %


def test_nothing_is_clipped():
    series = series_of(dark_field(0.25))
    result = preprocess.subtract_background(series)
    expected = series.images - result.views["background"].to_numpy()[:, None, None]
    np.testing.assert_allclose(result.images, expected, atol=1e-4)
    empty = result.images[:, :, 40:]
    assert 0.4 < np.mean(empty < 0) < 0.6  # the noise around the background is negative half of the time


@pytest.mark.parametrize("quantile", [None, 0.2])
def test_an_offset_of_a_view_is_taken_out_whole(quantile):
    images = dark_field(0.3).astype(np.float32)
    offsets = np.array([0.0, 128.0, -256.0], dtype=np.float32)[:, None, None]
    a = preprocess.subtract_background(series_of(images), quantile=quantile)
    b = preprocess.subtract_background(series_of(images + offsets), quantile=quantile)
    np.testing.assert_allclose(a.images, b.images, atol=1e-3)  # float32 at values of 2000


def test_integers_below_zero_are_no_trouble():
    images = np.round(dark_field(0.4, level=-31000.0, sigma=20.0)).astype(np.int16)
    assert images.min() < -31000
    result = preprocess.subtract_background(series_of(images))
    assert np.abs(result.views["background"] + 31000.0).max() < 3 * 4 * 9360 ** (-1 / 3) * 20.0  # as above
    # differences of 16-bit numbers do not wrap around
    assert result.images[:, :, :52].min() > 0
    assert np.abs(result.images[:, :, 60:].mean()) < 5.0


def test_most_pixels_equal_make_the_mode_exact():
    images = np.zeros((3, 21, 33))
    images[:] = np.array([3.0, -7.0, 0.25])[:, None, None]
    images[:, 5:15, 5:20] = 50.0 + np.arange(15)
    result = preprocess.subtract_background(series_of(images))
    np.testing.assert_array_equal(result.views["background"], [3.0, -7.0, 0.25])
    assert not result.images[:, :5].any()


@pytest.mark.parametrize("quantile", [0.05, 0.5])
def test_a_quantile_is_taken_where_asked_for(quantile):
    ramp = np.arange(101.0 * 51).reshape(101, 51)
    result = preprocess.subtract_background(series_of([ramp, ramp + 7.0, -ramp]), quantile=quantile)
    share = np.mean(result.images < 0, axis=(1, 2))
    np.testing.assert_allclose(share, quantile, atol=1.5 / ramp.size)
    np.testing.assert_allclose(result.views["background"][1], quantile * 5150 + 7.0, atol=1e-3)


def test_what_is_known_of_the_views_stays():
    use = np.array([True, False, True])
    series = series_of(
        dark_field(0.2), tilt_axis_deg=12.0, use=use, views=pd.DataFrame({"dose": [1.0, 2.0, 3.0]}),
        sources={"images": "a test"},
    )  # fmt: skip
    for result in (preprocess.subtract_background(series), preprocess.bin_views(series, factor=2)):
        np.testing.assert_array_equal(result.used, use)
        np.testing.assert_array_equal(result.tilt_angles_deg, ANGLES)
        np.testing.assert_array_equal(result.views["dose"], [1.0, 2.0, 3.0])
        assert result.tilt_axis_deg == 12.0
        assert result.sources["images"] == "a test"
    assert list(series.views.columns) == ["dose"]


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_quantile_lies_between_0_and_1(quantile):
    with pytest.raises(ValueError, match=r"quantile must lie between 0 and 1 \(exclusive\), got"):
        preprocess.subtract_background(series_of(dark_field(0.2)), quantile=quantile)


@pytest.mark.parametrize(
    "function", [preprocess.subtract_background, lambda s: preprocess.bin_views(s, factor=2)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_only_excluded_views_may_hold_pixels_that_are_not_finite(function, bad):
    images = dark_field(0.3)
    images[1, 0, 0] = bad
    with pytest.raises(ValueError, match="got 1 NaN or infinite pixels in view 1"):
        function(series_of(images))
    use = np.array([True, False, True])
    result = function(series_of(images, use=use))
    assert not np.isfinite(result.images[1, 0, 0])  # nothing is repaired
    assert np.isfinite(result.images[1, 1:]).all()
    assert np.isfinite(result.images[use]).all()


def test_a_view_without_any_finite_pixel_has_no_background():
    images = dark_field(0.3)
    images[1] = np.nan
    result = preprocess.subtract_background(series_of(images, use=np.array([True, False, True])))
    np.testing.assert_array_equal(np.isnan(result.views["background"]), [False, True, False])


@pytest.mark.parametrize(("shape", "factor"), [((12, 18), 3), ((13, 17), 2), ((10, 11), 4), ((9, 9), 1)])
def test_bins_are_means_of_blocks_in_the_middle(shape, factor):
    images = np.random.default_rng(1).random((3, *shape))
    result = preprocess.bin_views(series_of(images), factor=factor)
    n_y, n_x = (n // factor for n in shape)
    assert result.images.shape == (3, n_y, n_x)
    assert result.images.dtype == np.float32
    assert result.pixel_size_nm == 2.0 * factor
    y, x = ((n - m * factor) // 2 for n, m in zip(shape, (n_y, n_x), strict=True))
    for i in range(n_y):
        for j in range(n_x):
            block = images[:, y + i * factor : y + (i + 1) * factor, x + j * factor : x + (j + 1) * factor]
            np.testing.assert_allclose(result.images[:, i, j], block.mean(axis=(1, 2)), rtol=1e-6)


def test_binning_keeps_the_mean_and_shrinks_the_noise():
    images = np.random.default_rng(2).normal(10.0, 1.0, (3, 96, 96))
    result = preprocess.bin_views(series_of(images), factor=4)
    assert result.images.mean() == pytest.approx(images.mean(), abs=1e-5)  # no row is left out
    assert result.images.std() == pytest.approx(0.25, rel=0.1)  # 1728 independent means of 16: within 2 %


def test_binning_does_not_change_reconstructed_densities():
    ball = Specimen([Body(Ball(radius_nm=20.0, density=3.0), "ball")], (48.0, 48.0, 48.0))
    tilts = np.arange(-88.0, 90.0, 4.0)
    series = acquire(ball, tilt_angles_deg=tilts, image_shape=(48, 48)).series
    density = []
    for each in (series, preprocess.bin_views(series, factor=2)):
        volume = reconstruct.wbp(each, thickness_nm=48.0)
        middle = tuple(slice(n // 2 - n // 6, n // 2 + n // 6) for n in volume.data.shape)
        density.append(float(volume.data[middle].mean()))
    assert density[0] == pytest.approx(3.0, rel=0.03)  # 45 views over 48 px: the gaps between them ripple
    assert density[1] == pytest.approx(density[0], rel=0.02)


@pytest.mark.parametrize("factor", [0, -1, 21])
def test_a_factor_leaves_at_least_a_pixel(factor):
    with pytest.raises(ValueError, match=rf"factor must lie between 1 and .*\(20 px\), got {factor}"):
        preprocess.bin_views(series_of(np.ones((3, 20, 30))), factor=factor)
