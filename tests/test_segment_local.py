"""Levels that depend on the surroundings, and masks with two levels."""

import numpy as np
import pytest
from skimage.filters import apply_hysteresis_threshold, threshold_sauvola

from tomo3d.segment import _local_thresholds, hysteresis, local_threshold, sauvola, threshold
from tomo3d.types import Volume

VOXEL, ORIGIN = (2.0, 1.0, 0.5), (-3.0, 0.0, 7.0)


def volume(data, voxel=VOXEL):
    data = np.array(data)
    data.flags.writeable = False
    return Volume(data, voxel, ORIGIN)


def noise(shape=(13, 22, 31), seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_hysteresis_keeps_the_components_that_reach_the_high_level():
    data = np.zeros((3, 5, 12))
    data[1, 1, 1:4], data[1, 1, 3] = 2.0, 5.0  # reaches it
    data[1, 3, 6:9] = 2.0  # does not
    data[2, 2, 4] = 2.0  # touches the first by a corner
    expected = np.zeros(data.shape)
    expected[1, 1, 1:4] = expected[2, 2, 4] = 1
    mask = hysteresis(volume(data), low=1.0, high=5.0)
    np.testing.assert_array_equal(mask.data, expected)
    assert (mask.record["n_components"], mask.record["n_kept"]) == (2, 1)


def test_hysteresis_lies_between_the_masks_of_its_levels():
    data = noise()
    mask = hysteresis(volume(data), low=1.0, high=2.5).data
    assert not (mask & (data < 1.0)).any()
    assert mask[data >= 2.5].all()
    theirs = apply_hysteresis_threshold(data, 1.0, 2.5)  # by faces only: a part of ours
    assert mask[theirs].all()


@pytest.mark.parametrize("weighting", ["mean", "gaussian"])
def test_a_drift_of_the_grey_values_does_not_change_the_mask(weighting):
    z, y, x = np.indices((12, 20, 40))
    ball = (z - 6) ** 2 + (y - 10) ** 2 + (x - 20) ** 2 < 9
    drift = 0.2 * x + 0.1 * y  # over 8: more than the contrast of 1.5
    mask = local_threshold(
        volume(1.5 * ball + drift, (1, 1, 1)), window_nm=13, offset=0.6, weighting=weighting
    )
    interior = np.s_[:, 6:14, 8:32]  # the mean of a truncated window is off by the drift over half of it
    np.testing.assert_array_equal(mask.data[interior], ball[interior])
    one_level = threshold(volume(1.5 * ball + drift, (1, 1, 1)), level=5.5).data
    assert (one_level != ball)[interior].any()


def test_the_window_is_as_wide_in_nm_along_each_axis_and_truncated_at_the_border():
    data = noise()
    mask = local_threshold(volume(data), window_nm=6.0).data  # 3, 5 and 11 voxels of 2, 1 and 0.5 nm
    for place in [(0, 0, 0), (5, 10, 15), (12, 21, 3), (6, 0, 30)]:
        box = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(place, (1, 2, 5), strict=True))
        assert mask[place] == (data[place] > data[box].mean())


def test_the_gaussian_weighs_by_its_full_width():
    data = np.zeros((9, 9, 41))
    data[4, 4, 20] = 1.0
    sigma = 8.0 / np.sqrt(8 * np.log(2))
    offsets = np.arange(-4, 5)
    line = [np.exp(-0.5 * (offsets / sigma) ** 2), np.exp(-0.5 * (offsets / sigma) ** 2)]
    along = np.exp(-0.5 * (np.arange(-16, 17) * 0.5 / sigma) ** 2)
    peak = 1.0 / (line[0].sum() * line[1].sum() * along[np.abs(np.arange(-16, 17)) * 0.5 <= 4 * sigma].sum())
    # the mean at the peak is that share of it: an offset just below 1 - peak keeps it, just above loses it
    assert local_threshold(
        volume(data, (1, 1, 0.5)), window_nm=8.0, offset=0.99 - peak, weighting="gaussian"
    ).data[4, 4, 20]
    with pytest.raises(ValueError, match="got none"):
        local_threshold(volume(data, (1, 1, 0.5)), window_nm=8.0, offset=1.01 - peak, weighting="gaussian")


def test_sauvola_is_that_of_scikit_image_mirrored():
    data = noise((15, 21, 25)) + 3.0 * (np.indices((15, 21, 25))[2] > 12)
    ours = sauvola(volume(data, (1, 1, 1)), window_nm=7.0, k=0.3).data
    darkness = data.max() - data
    theirs = darkness < threshold_sauvola(darkness, window_size=7, k=0.3, r=0.5 * np.ptp(data))
    inner = np.s_[3:-3, 3:-3, 3:-3]  # theirs mirrors the volume at its border
    np.testing.assert_array_equal(ours[inner], theirs[inner])


def test_sauvola_does_not_depend_on_brightness_and_contrast_and_leaves_flat_regions_out():
    data = 0.05 * noise()
    data[4:9, 8:12, 10:20] += 1.0
    first = sauvola(volume(data), window_nm=10.0).data
    np.testing.assert_array_equal(first, sauvola(volume(7.0 * data - 100.0), window_nm=10.0).data)
    assert not first[:, :, 26:].any()
    assert first[5:8, 9:11, 12:18].all()


@pytest.mark.parametrize(
    "segment",
    [
        lambda v: local_threshold(v, window_nm=5.0, offset=0.1),
        lambda v: local_threshold(v, window_nm=5.0, offset=0.1, weighting="gaussian"),
        lambda v: sauvola(v, window_nm=5.0),
        lambda v: hysteresis(v, low=0.5, high=1.5),
    ],
    ids=["mean", "gaussian", "sauvola", "hysteresis"],
)
def test_slab_by_slab_is_as_the_whole_and_keeps_the_grid(segment, monkeypatch):
    whole = segment(volume(noise().astype(np.float32)))
    monkeypatch.setattr(_local_thresholds, "_SLAB_VOXELS", 2 * 22 * 31)
    monkeypatch.setattr("tomo3d.segment.histogram._SLAB_VOXELS", 3 * 22 * 31)
    parts = segment(volume(noise().astype(np.float32)))
    np.testing.assert_array_equal(parts.data, whole.data)
    assert (parts.voxel_size_nm, parts.origin_nm, parts.data.dtype) == (VOXEL, ORIGIN, np.uint8)


def with_nan():
    data = noise()
    data[3, 2, 1] = np.nan
    return data


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: hysteresis(volume(noise()), low=2.0, high=1.0), "low must not exceed high"),
        (
            lambda: hysteresis(volume(noise()), low=1.0, high=9.0),
            "high must be above .* got 9: none would reach",
        ),
        (lambda: hysteresis(volume(noise()), low=-9.0, high=1.0), "low must .* every voxel would reach"),
        (lambda: hysteresis(volume(with_nan()), low=0.0, high=1.0), "must be finite"),
        (lambda: threshold(volume(noise()), level=9.0), "got none from 9"),
        (lambda: threshold(volume(noise()), level=-9.0), "got every voxel from -9"),
        (lambda: threshold(volume(noise()), level=-9.0, upper=9.0), "got every voxel from -9 to 9"),
        (lambda: local_threshold(volume(noise()), window_nm=2.0), r"above the largest voxel edge \(2 nm\)"),
        (lambda: local_threshold(volume(noise()), window_nm=9.0, offset=9.0), "got none"),
        (lambda: local_threshold(volume(noise()), window_nm=9.0, offset=-9.0), "got every voxel"),
        (lambda: local_threshold(volume(np.ones((3, 4, 5))), window_nm=9.0), "constant volume"),
        (lambda: local_threshold(volume(with_nan()), window_nm=9.0), "must be finite"),
        (lambda: local_threshold(volume(noise()), window_nm=9.0, weighting="box"), "weighting must be"),
        (lambda: sauvola(volume(noise()), window_nm=9.0, k=1.5), "k must be 0 to 1"),
        (lambda: sauvola(volume(noise()), window_nm=9.0, dynamic_range=0.0), "dynamic_range must be"),
    ],
)
def test_what_makes_no_sense_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
