"""Views that are of no use are flagged with the reason, and none is lost."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import TiltSeries, preprocess

SHAPE = (96, 110)


def good_views(n=9, level=100.0, seed=0):
    """A bright object on a dark background, with noise."""
    y, x = np.indices(SHAPE)
    disc = np.hypot(y - 48, x - 55) < 25
    return level + 50.0 * disc + np.random.default_rng(seed).normal(0, 5.0, (n, *SHAPE))


def series(images, **fields):
    images = np.asarray(images)
    images.flags.writeable = False
    return TiltSeries(images, np.arange(len(images)) * 3.0 - 12.0, 1.0, **fields)


@pytest.mark.parametrize("offset", [0.0, -32768.0])
def test_each_kind_of_bad_view_has_its_reason(offset):
    images = good_views(14)
    images[1] = 20.0 + np.random.default_rng(5).normal(0, 2.0, SHAPE)  # the camera without beam
    images[4] = 77.0
    images[6] = images[2]
    images[8, 3, 3] = np.nan
    images[11] = 105.0 + np.random.default_rng(6).normal(0, 5.0, SHAPE)  # the specimen has left
    result = preprocess.flag_views(series(images + offset))
    expected = [""] * 14
    expected[1], expected[4], expected[8] = "dark", "blank", "not finite"
    expected[6], expected[11] = "same image as view 2", "nearly empty"
    assert result.views["flag"].tolist() == expected
    assert result.use.tolist() == [reason == "" for reason in expected]
    assert result.images.shape == images.shape
    assert np.isnan(result.views["mean"][8])
    assert result.views["mean"][0] == pytest.approx(images[0].mean() + offset)


def test_good_views_are_all_kept_bright_field_at_high_tilt_too():
    tilts = np.arange(-60.0, 61.0, 6.0)
    y, x = np.indices(SHAPE)
    thickness = 0.3 + 0.5 * (np.hypot(y - 48, x - 55) < 25)
    mean = 1000 * np.exp(-thickness / np.cos(np.deg2rad(tilts))[:, None, None])
    images = np.random.default_rng(1).poisson(mean).astype(np.float32)
    result = preprocess.flag_views(TiltSeries(images, tilts, 1.0))
    assert result.use.all()
    assert (result.views["flag"] == "").all()


def test_what_was_excluded_before_stays_so_and_its_reason_too():
    images = good_views()
    images[3] = 0.0
    table = pd.DataFrame({"flag": ["", "charging"] + [""] * 7, "dose": range(9)})
    use = np.ones(9, dtype=bool)
    use[[1, 3]] = False
    result = preprocess.flag_views(series(images, use=use, views=table))
    assert result.views["flag"].tolist() == ["", "charging", "", "blank"] + [""] * 5
    assert result.use.tolist() == use.tolist()
    assert result.views["dose"].tolist() == list(range(9))
    assert table["flag"].tolist() == ["", "charging"] + [""] * 7  # the input is not written to


def test_an_image_is_a_duplicate_only_of_a_view_in_use():
    images = good_views()
    images[5] = images[2]
    use = np.arange(9) != 2
    result = preprocess.flag_views(series(images, use=use))
    assert result.use.tolist() == use.tolist()


def test_one_angle_twice_with_two_images_is_no_duplicate():
    images = good_views(3)
    tilts = np.array([0.0, 3.0, 0.0])
    assert preprocess.flag_views(TiltSeries(images, tilts, 1.0)).use.all()


def test_fractions_of_zero_flag_neither_dark_nor_empty():
    images = good_views()
    images[1] = 20.0 + np.random.default_rng(5).normal(0, 2.0, SHAPE)
    assert preprocess.flag_views(series(images), dark_fraction=0.0, contrast_fraction=0.0).use.all()


def test_all_views_blank_are_all_flagged():
    result = preprocess.flag_views(series(np.ones((3, *SHAPE))))
    assert not result.use.any()


@pytest.mark.parametrize("name", ["dark_fraction", "contrast_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_fraction_is_from_0_to_below_1(name, value):
    with pytest.raises(ValueError, match=f"{name} must be from 0 to below 1, got {value:g}"):
        preprocess.flag_views(series(good_views(3)), **{name: value})
