"""Dark level and gain: what a detector does to a known image is undone."""

import numpy as np
import pytest

from tomo3d import TiltSeries, Volume, preprocess

SHAPE = (20, 31)


def volume(data):
    data = np.asarray(data)
    data.flags.writeable = False
    return Volume(data, (1.0, 1.0, 1.0))


def detector(seed=0):
    """True views, response about 1, dark level, and what is recorded."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(100, 200, (4, *SHAPE))
    response = rng.uniform(0.7, 1.3, SHAPE)
    response /= response.mean()
    dark = rng.uniform(5, 15, SHAPE)
    return truth, response, dark, truth * response + dark


def series(images, **fields):
    return TiltSeries(images, np.arange(len(images)) * 2.0, 1.0, **fields)


@pytest.mark.parametrize("scale", [1.0, 3000.0])
def test_a_flat_field_undoes_the_response_whatever_its_exposure(scale):
    truth, response, dark, raw = detector()
    flats = scale * response * np.array([0.8, 1.2])[:, None, None]  # two exposures
    result = preprocess.correct_gain(series(raw), gain=volume(flats), dark=volume(dark[None]))
    np.testing.assert_allclose(result.images, truth, rtol=1e-6)
    assert result.images.dtype == np.float32
    assert result.sources["gain"] == "corrected"


def test_a_factor_is_the_inverse_of_a_flat_field():
    truth, response, dark, raw = detector()
    result = preprocess.correct_gain(series(raw - dark), gain=volume(0.2 / response[None]), is_factor=True)
    np.testing.assert_allclose(result.images, truth, rtol=1e-6)


def test_dark_frames_are_averaged_and_integers_do_not_wrap():
    raw = np.full((1, *SHAPE), 3, dtype=np.uint8)
    darks = np.stack([np.full(SHAPE, 5), np.full(SHAPE, 8)]).astype(np.uint8)
    result = preprocess.correct_gain(series(raw), gain=volume(np.ones((1, *SHAPE))), dark=volume(darks))
    np.testing.assert_allclose(result.images, -3.5)


@pytest.mark.parametrize(
    ("gain", "dark", "sentence"),
    [
        ("zeros", None, r"gain must be positive everywhere, got 2 pixels of 0 or less \(lowest 0\)"),
        ("negative", None, r"got 1 pixels of 0 or less \(lowest -1\)"),
        ("nan", None, "gain must be finite everywhere, got 1 other pixels"),
        ("shape", None, r"gain must have the shape of the views \(20, 31\), got \(31, 20\)"),
        ("good", "shape", r"dark must have the shape of the views \(20, 31\), got \(20, 30\)"),
    ],
)
def test_references_that_do_not_fit_are_told(gain, dark, sentence):
    made = np.ones((1, *SHAPE))
    if gain == "zeros":
        made[0, 3, 3:5] = 0
    if gain == "negative":
        made[0, 0, 0] = -1
    if gain == "nan":
        made[0, 0, 0] = np.nan
    if gain == "shape":
        made = made.transpose(0, 2, 1)
    level = None if dark is None else volume(np.zeros((1, 20, 30)))
    with pytest.raises(ValueError, match=sentence):
        preprocess.correct_gain(series(np.ones((2, *SHAPE))), gain=volume(made), dark=level)


def test_nan_is_told_with_its_view():
    images = np.ones((2, *SHAPE))
    images[1, 1, 1] = np.nan
    with pytest.raises(ValueError, match="got 1 NaN or infinite pixels in view 1"):
        preprocess.correct_gain(series(images), gain=volume(np.ones((1, *SHAPE))))
