"""Intensity over tilts: masses that are equal by construction, and slabs whose extinction is known."""

from pathlib import Path

import numpy as np
import pytest

from tomo3d import TiltSeries, preprocess
from tomo3d.phantoms import Ball, Body, Slab, Specimen, acquire
from tomo3d.pipeline import Context, convert, signature
from tomo3d.preprocess import BrightField, Mass

TILTS = np.arange(-60.0, 61.0, 10.0)
DRIFT = 1.0 + 0.3 * np.sin(np.arange(13.0))  # of the beam current


def ball_series():
    ball = Specimen([Body(Ball(radius_nm=12.0, density=2.0), "ball")], (48.0, 48.0, 48.0))
    return acquire(ball, tilt_angles_deg=TILTS, image_shape=(48, 56)).series


def with_images(series, images, **fields):
    images = np.asarray(images)
    images.flags.writeable = False
    known = {"use": series.use, "tilt_axis_deg": series.tilt_axis_deg} | fields
    return TiltSeries(images, series.tilt_angles_deg, series.pixel_size_nm, **known)


@pytest.mark.parametrize("field", ["whole", "common"])
def test_a_beam_that_drifts_is_taken_out_of_an_object_within_the_field(field):
    truth = ball_series()
    series = with_images(truth, truth.images * DRIFT[:, None, None])
    result = preprocess.normalize_intensity(series, mode=Mass(field))
    ratio = result.images.sum(axis=(1, 2)) / truth.images.sum(axis=(1, 2))
    # "common" at 60 deg keeps the middle 28 columns: the ball of 24 px lies within
    assert np.ptp(ratio) / ratio.mean() < 1e-5
    scale = result.views["intensity_scale"].to_numpy() * DRIFT
    np.testing.assert_allclose(scale, scale[0], rtol=1e-5)
    assert result.images.dtype == np.float32


@pytest.mark.parametrize("axis_deg", [0.0, 90.0])
def test_a_flat_specimen_that_fills_the_field_keeps_its_projected_density(axis_deg):
    # a slab's views are brighter by 1 / cos t, and their common field narrower by cos t: the mass is the same
    path = 1.0 / np.cos(np.deg2rad(TILTS))
    images = np.broadcast_to(path[:, None, None], (13, 80, 81)).astype(np.float32)
    series = TiltSeries(images * DRIFT[:, None, None].astype(np.float32), TILTS, 1.0, tilt_axis_deg=axis_deg)
    result = preprocess.normalize_intensity(series, mode="mass")
    scale = result.views["intensity_scale"].to_numpy() * DRIFT
    np.testing.assert_allclose(scale, scale.mean(), rtol=2e-3)  # borders within a pixel of 40
    whole = preprocess.normalize_intensity(series, mode=Mass("whole"))
    assert np.ptp(whole.views["intensity_scale"].to_numpy() * DRIFT) > 0.5  # as the flat specimen is cut


def test_the_median_view_keeps_its_grey_values():
    truth = ball_series()
    result = preprocess.normalize_intensity(
        with_images(truth, truth.images * DRIFT[:, None, None]), mode="mass"
    )
    assert np.median(result.views["intensity_scale"]) == pytest.approx(1.0)


def slab_views(vacuum=5000.0, extinction=0.4, dose=None):
    dose = np.ones(13) if dose is None else dose
    path = extinction / np.cos(np.deg2rad(TILTS))
    images = vacuum * dose * np.exp(-path)
    return TiltSeries(np.broadcast_to(images[:, None, None], (13, 20, 24)), TILTS, 1.0), path


@pytest.mark.parametrize("dose", [(), tuple(DRIFT)])
def test_the_vacuum_is_fitted_to_a_slab_and_its_line_integrals_follow(dose):
    series, path = slab_views(dose=np.array(dose) if dose else None)
    result = preprocess.normalize_intensity(series, mode=BrightField(dose=dose))
    expected = np.broadcast_to(path[:, None, None], result.images.shape)
    np.testing.assert_allclose(result.images, expected, rtol=1e-5)
    level = result.views["vacuum_level"] / (np.array(dose) if dose else 1.0)
    np.testing.assert_allclose(level, 5000.0, rtol=1e-6)


def test_a_view_behind_a_grid_bar_does_not_bend_the_line():
    series, path = slab_views()
    images = series.images.copy()
    images[3] *= 0.2
    result = preprocess.normalize_intensity(with_images(series, images), mode="bright_field")
    np.testing.assert_allclose(result.images[0], path[0], rtol=1e-4)


def test_a_vacuum_level_that_is_known_is_taken():
    series, path = slab_views()
    result = preprocess.normalize_intensity(series, mode=BrightField(vacuum_level=10000.0))
    np.testing.assert_allclose(result.images[5], path[5] + np.log(2.0), rtol=1e-5)


def test_a_text_says_the_same_as_its_mode():
    series, _ = slab_views()
    for text, mode in (
        ("mass", Mass()),
        ("mass:whole", Mass("whole")),
        ("bright_field", BrightField()),
        ("bright_field:7000", BrightField(7000.0)),
    ):
        a, b = (preprocess.normalize_intensity(series, mode=each).images for each in (text, mode))
        np.testing.assert_array_equal(a, b)


def test_views_not_in_use_may_hold_what_has_no_logarithm():
    series, _ = slab_views()
    images = series.images.copy()
    images[2, 3, 4] = -1.0
    with pytest.raises(
        ValueError, match=r"positive before a logarithm, got 1 of 0 or less \(lowest -1\) in view 2"
    ):
        preprocess.normalize_intensity(with_images(series, images), mode="bright_field")
    result = preprocess.normalize_intensity(
        with_images(series, images, use=np.arange(13) != 2), mode="bright_field"
    )
    assert np.isnan(result.images[2, 3, 4])
    assert np.isfinite(result.images[np.arange(13) != 2]).all()


def test_slabs_of_the_phantoms_conserve_mass_without_any_drift():
    slab = Specimen([Body(Slab(thickness_nm=10.0, density=1.0), "slab")], (30.0, 60.0, 60.0))
    series = acquire(slab, tilt_angles_deg=TILTS, image_shape=(40, 60)).series
    result = preprocess.normalize_intensity(series, mode="mass")
    np.testing.assert_allclose(result.views["intensity_scale"], 1.0, atol=5e-3)


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("mass:half", "Mass.field must be 'common' or 'whole', got 'half'"),
        ("bright_field:0", "vacuum_level must be a positive grey value, got 0"),
        ("bright_field:much", "vacuum level of bright_field must be a number, got 'much'"),
        ("dark_field", "mode must be mass, mass:FIELD, .* got 'dark_field'"),
        (BrightField(dose=(1.0, 2.0)), r"dose must have one value per view \(13\), got 2"),
    ],
)
def test_modes_that_do_not_fit_are_told(mode, sentence):
    with pytest.raises(ValueError, match=sentence):
        preprocess.normalize_intensity(slab_views()[0], mode=mode)


def test_totals_that_are_not_positive_are_told():
    truth = ball_series()
    images = truth.images.copy()
    images[4] -= 100.0
    with pytest.raises(
        ValueError, match=r"total of a view must be positive .*in view 4 .*subtract the background"
    ):
        preprocess.normalize_intensity(with_images(truth, images), mode="mass")


def test_few_tilts_do_not_tell_the_vacuum():
    series = TiltSeries(np.ones((3, 5, 6)), np.array([-5.0, 0.0, 5.0]), 1.0)
    with pytest.raises(
        ValueError, match="fitted to at least three views over 25 deg of tilt, got 3 from -5 to 5 deg"
    ):
        preprocess.normalize_intensity(series, mode="bright_field")


def test_negative_doses_levels_and_unknown_fields_cannot_be():
    with pytest.raises(ValueError, match="dose must be positive, got -2 for view 1"):
        BrightField(dose=(1.0, -2.0))
    with pytest.raises(ValueError, match="vacuum_level must be a positive grey value, got 0"):
        BrightField(vacuum_level=0.0)
    with pytest.raises(ValueError, match="field must be 'common' or 'whole', got 'half'"):
        Mass("half")


def test_a_mode_can_be_written_on_the_command_line_and_in_a_recipe():
    (annotation,) = [p.annotation for p in signature(preprocess.normalize_intensity) if p.name == "mode"]
    context = Context(Path(), lambda text, cls: None)
    assert convert("mass", annotation, context) == "mass"
    made = convert({"vacuum_level": 100.0, "dose": [1.0, 2.0]}, annotation, context)
    assert isinstance(made, BrightField)
    assert (made.vacuum_level, list(made.dose)) == (100.0, [1.0, 2.0])
    assert convert({"field": "whole"}, annotation, context) == Mass("whole")
