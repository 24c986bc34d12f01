"""Binning by Fourier crop: exact on what the new pixels can hold, and calm at the edges."""

import numpy as np
import pytest

from tomo3d import TiltSeries, preprocess


def views(images):
    images = np.asarray(images)
    images.flags.writeable = False
    return TiltSeries(images, np.arange(len(images)) * 1.0, 0.5)


def blobs(y, x, shape, sigma, seed=0):
    """Gaussians away from the edges, in closed form at any positions."""
    rng = np.random.default_rng(seed)
    image = np.full(np.broadcast(y, x).shape, 3.0)
    for _ in range(9):
        cy, cx = rng.uniform(0.35, 0.65, 2) * shape
        image = image + rng.uniform(-1, 1) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return image


@pytest.mark.parametrize(
    ("shape", "factor"), [((96, 128), 2), ((99, 131), 3), ((129, 150), 4), ((90, 97), 1)]
)
def test_band_limited_images_are_sampled_exactly_at_the_centres_of_blocks(shape, factor):
    sigma = 1.8 * factor  # beyond the new Nyquist frequency its spectrum is below exp(-2 (pi 0.9)^2) = 1e-7
    y, x = (np.arange(n, dtype=float) for n in shape)
    result = preprocess.bin_views(
        views(blobs(y[:, None], x, shape, sigma)[None].astype(np.float32)), factor=factor, mode="fourier"
    )
    middles = []
    for n in shape:
        m = n // factor
        middles.append((n - m * factor) // 2 + factor * np.arange(m) + 0.5 * (factor - 1))
    expected = blobs(middles[0][:, None], middles[1], shape, sigma)
    assert result.images.shape == (1, *expected.shape)
    assert result.images.dtype == np.float32
    assert result.pixel_size_nm == 0.5 * factor
    assert np.abs(result.images[0] - expected).max() < 1e-5 * 2.0


def test_frequencies_beyond_the_new_nyquist_are_gone_where_means_fold_them():
    x = np.arange(240.0)
    wave = np.broadcast_to(np.cos(2 * np.pi * 0.35 * x), (60, 240))[None]  # of 0.25 that pixels of 2 can hold
    inner = (0, slice(None), slice(20, -20))
    cropped = preprocess.bin_views(views(wave), factor=2, mode="fourier").images[inner]
    folded = preprocess.bin_views(views(wave), factor=2).images[inner]
    assert np.abs(cropped).max() < 0.03
    assert np.abs(folded).max() > 0.4  # cos(pi 0.35) of it


def test_an_image_that_is_cut_by_its_edges_does_not_ring():
    y, x = np.indices((128, 128), dtype=float)
    image = np.cos(2 * np.pi * (x / 37.0 + y / 23.0) + 0.4) + 0.02 * x  # other values at opposite edges
    result = preprocess.bin_views(views(image[None]), factor=2, mode="fourier").images[0]
    middle = 2 * np.arange(64) + 0.5
    expected = np.cos(2 * np.pi * (middle / 37.0 + middle[:, None] / 23.0) + 0.4) + 0.02 * middle
    error = np.abs(result - expected) / np.ptp(image)
    assert error.max() < 0.03  # at the very edge a slope turns into that of the mirror image
    assert error[2:-2, 2:-2].max() < 0.01


def test_white_noise_falls_by_the_factor():
    noise = np.random.default_rng(1).normal(10.0, 1.0, (2, 120, 120))
    result = preprocess.bin_views(views(noise), factor=3, mode="fourier")
    assert result.images.std() == pytest.approx(
        1 / 3, rel=0.05
    )  # 3,200 values: 1.3 %; the Nyquist frequency is left out
    assert result.images.mean() == pytest.approx(10.0, abs=0.02)


@pytest.mark.parametrize("n", [72, 80, 88, 90, 96])
def test_rows_and_columns_are_treated_alike(n):
    image = np.random.default_rng(3).random((1, n, n)).astype(np.float32)
    rows = preprocess.bin_views(views(image), factor=2, mode="fourier").images
    columns = preprocess.bin_views(views(image.transpose(0, 2, 1)), factor=2, mode="fourier").images
    np.testing.assert_allclose(columns, rows.transpose(0, 2, 1), atol=1e-5)


def test_views_are_cropped_one_by_one():
    images = np.random.default_rng(2).random((3, 40, 50)).astype(np.float32)
    whole = preprocess.bin_views(views(images), factor=2, mode="fourier").images
    alone = preprocess.bin_views(views(images[1:2].copy()), factor=2, mode="fourier").images
    np.testing.assert_array_equal(whole[1], alone[0])


def test_the_mode_is_one_of_two():
    with pytest.raises(ValueError, match="mode must be 'mean' or 'fourier', got 'median'"):
        preprocess.bin_views(views(np.ones((1, 8, 8))), factor=2, mode="median")
