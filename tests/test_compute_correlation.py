"""Translations between images."""

import numpy as np
import pytest
import scipy.ndimage

from tomo3d.compute import correlation


def blobs(shape, shift=(0.0, 0.0), seed=4):
    """Smooth blobs in closed form, so that they can be moved by any fraction of a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape, dtype=float)
    image = np.zeros(shape)
    for _ in range(12):
        cy, cx = rng.uniform(0.3, 0.7, 2) * shape + shift
        image += rng.uniform(0.5, 1) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * rng.uniform(2, 4) ** 2))
    return image.astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (63, 80), (50, 71)])
@pytest.mark.parametrize("moved", [(0.0, 0.0), (3.3, -5.72), (-0.45, 0.5)])
def test_a_known_translation_is_found(shape, moved):
    reference, image = blobs(shape), blobs(shape, moved)
    reference.flags.writeable = image.flags.writeable = False
    band = correlation.band(shape, low=0.0, high=0.25)
    shift, peak = correlation.translation(reference, image, pass_band=band, max_shift=20)
    # band-limited blobs that stay inside the image: limited by the grid of the search, far below 0.01 px
    np.testing.assert_allclose(shift, np.negative(moved), atol=0.005)
    assert peak == pytest.approx(1.0, abs=1e-4)


def test_noise_costs_fractions_of_a_pixel():
    rng = np.random.default_rng(5)
    band = correlation.band((96, 96), low=1.5 / 96, high=0.15)
    errors = []
    for _ in range(20):
        moved = rng.uniform(-6, 6, 2)
        image = blobs((96, 96), moved) + rng.normal(0, 0.3, (96, 96)).astype(np.float32)
        shift, _ = correlation.translation(blobs((96, 96)), image, pass_band=band, max_shift=10)
        errors.append(shift + moved)
    assert np.sqrt(np.mean(np.square(errors))) < 0.2


def test_the_search_keeps_within_its_reach():
    band = correlation.band((64, 64), low=0.0, high=0.25)
    shift, _ = correlation.translation(
        blobs((64, 64)), blobs((64, 64), (12.0, 0.0)), pass_band=band, max_shift=5
    )
    assert np.abs(shift).max() <= 6.3  # the reach, and the fine search around it


def test_blank_images_have_no_translation():
    band = correlation.band((8, 9), low=0.0, high=0.25)
    shift, peak = correlation.translation(np.zeros((8, 9)), np.ones((8, 9)) * 0, pass_band=band, max_shift=3)
    assert not shift.any()
    assert peak == 0


def test_apodised_images_fall_to_zero_about_their_mean():
    image = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((40, 50)), 2) + 100
    soft = correlation.apodise(image)
    assert abs(soft.mean()) < 1e-3
    # the first sample lies half a pixel inside an edge of four: (1 - cos(pi / 8)) / 2
    assert np.abs(soft[[0, -1]]).max() <= 0.039 * np.ptp(image)
