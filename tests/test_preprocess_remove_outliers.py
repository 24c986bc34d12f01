"""Outliers that are put there are found, and the specimen's own small bright discs are not touched."""

import numpy as np
import pytest

from tomo3d import TiltSeries, preprocess

N, SHAPE = 12, (120, 150)


def discs(diameter, height, seed=0, n=40):
    """Discs with partial pixels, at places on no grid, that move from view to view."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SHAPE[0] * 4, SHAPE[1] * 4)) / 4 - 0.375
    centres = rng.uniform(5, np.array(SHAPE) - 5, (n, 2))
    image = np.zeros(y.shape)
    for cy, cx in centres:
        image[np.hypot(y - cy, x - cx) <= diameter / 2] = height
    return image.reshape(SHAPE[0], 4, SHAPE[1], 4).mean(axis=(1, 3))


def noisy_views(sigma=1.0, level=50.0, seed=1):
    return np.random.default_rng(seed).normal(level, sigma, (N, *SHAPE))


def series(images, **fields):
    images = np.asarray(images)
    images.flags.writeable = False
    return TiltSeries(images, np.arange(len(images)) * 3.0, 1.0, **fields)


@pytest.mark.parametrize("height", [20.0, 300.0, -40.0])
def test_discs_of_three_pixels_are_never_touched(height):
    images = noisy_views() + np.stack([discs(3.0, height, seed) for seed in range(N)])
    result = preprocess.remove_outliers(series(images))
    np.testing.assert_array_equal(result.images, images.astype(np.float32))
    assert result.views["n_spikes_px"].sum() == 0


def test_spikes_are_found_each_in_its_view_and_nothing_else():
    clean = noisy_views() + np.stack([discs(6.0, 15.0, seed) for seed in range(N)])
    images, is_spike = clean.copy(), np.zeros(clean.shape, dtype=bool)
    rng = np.random.default_rng(3)
    for k in range(N):
        for _ in range(10):
            y, x = rng.integers(2, SHAPE[0] - 3), rng.integers(2, SHAPE[1] - 3)
            height, width = rng.integers(1, 3, 2)
            place = (k, slice(y, y + height), slice(x, x + width))
            images[place] += rng.uniform(60, 1000)  # 1, 2 or 4 pixels
            is_spike[place] = True
    result = preprocess.remove_outliers(series(images))
    changed = result.images != images.astype(np.float32)
    assert changed[is_spike].mean() > 0.97  # two that touch each other are larger than any
    assert not changed[~is_spike].any()
    np.testing.assert_array_equal(result.views["n_spikes_px"], changed.sum(axis=(1, 2)))
    error = (result.images - clean)[changed]
    assert np.sqrt(np.mean(error**2)) < 4.0  # the noise of 1, and the edges of discs of 15


def test_defects_that_stand_still_are_found_below_the_noise_threshold_of_a_view():
    images = noisy_views() + np.stack([discs(6.0, 10.0, seed) for seed in range(N)])
    places = {(20, 30): 4.0, (60, 91): 4.0, (100, 10): -50.0, (0, 0): 30.0, (119, 149): -30.0}
    for (y, x), offset in places.items():
        images[:, y, x] += offset  # 4 standard deviations: no single view shows it beyond doubt
    result = preprocess.remove_outliers(series(images))
    changed = (result.images != images.astype(np.float32)).any(axis=0)
    assert {(int(y), int(x)) for y, x in np.argwhere(changed)} == set(places)
    assert result.views["n_fixed_px"].tolist() == [5] * N
    assert abs(result.images[:, 20, 30].mean() - 50.0) < 1.0


@pytest.mark.parametrize("mean", [0.05, 0.5, 5.0])
def test_counts_of_few_electrons_are_no_outliers(mean):
    images = np.random.default_rng(4).poisson(mean, (N, *SHAPE)).astype(np.int16)
    result = preprocess.remove_outliers(series(images))
    assert (result.images != images).sum() <= 3  # of 216,000 pixels


def test_views_without_noise_stay_as_they_are_but_for_the_hit():
    images = np.broadcast_to(7.0 + np.indices(SHAPE).sum(axis=0) % 2, (N, *SHAPE)).copy()
    images[3, 40, 41] = 500.0
    result = preprocess.remove_outliers(series(images))
    changed = np.argwhere(result.images != images)
    assert changed.tolist() == [[3, 40, 41]]
    assert 7.0 <= result.images[3, 40, 41] <= 8.0
    assert result.views["n_spikes_px"].tolist() == [int(k == 3) for k in range(N)]


def test_a_hit_in_one_view_without_noise_stands_still_in_none():
    images = np.full((N, *SHAPE), 7.0)
    images[3, 40, 41] = 500.0
    assert preprocess.remove_outliers(series(images)).views["n_fixed_px"].sum() == 0


def test_excluded_views_may_hold_nan_and_views_in_use_may_not():
    images = noisy_views()
    images[2, 3, 4] = np.nan
    with pytest.raises(ValueError, match="got 1 NaN or infinite pixels in view 2"):
        preprocess.remove_outliers(series(images))
    result = preprocess.remove_outliers(series(images, use=np.arange(N) != 2))
    np.testing.assert_array_equal(result.images[2], images[2].astype(np.float32))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threshold": 3.0}, "threshold must be at least 4 standard deviations, got 3"),
        ({"threshold": float("nan")}, "threshold must be at least 4 .* got nan"),
        ({"largest_px": 0}, "largest_px must be from 1 to 9 pixels, got 0"),
        ({"largest_px": 10}, "largest_px must be from 1 to 9 pixels, got 10"),
    ],
)
def test_what_counts_as_an_outlier_has_limits(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        preprocess.remove_outliers(series(noisy_views()), **options)
