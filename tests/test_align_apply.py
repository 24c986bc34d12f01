"""Alignments are applied as the convention says: where a point lands, how sharp it stays, what is kept."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tomo3d import TiltSeries, align, geometry
from tomo3d.phantoms import Microscope, acquire, asymmetric
from tomo3d.types import Alignment

AXES = [0.0, 12.0, 90.0, -90.0, 180.0]
SHAPES = [(40, 40), (41, 41), (40, 51), (53, 42)]


def blob(shape, centre_yx, sigma=2.5):
    """A Gaussian `centre_yx` pixels (y, x) from the centre of the image: smooth enough for a cubic spline."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    profile_y = np.exp(-0.5 * ((y - centre_yx[0]) / sigma) ** 2)
    return np.outer(profile_y, np.exp(-0.5 * ((x - centre_yx[1]) / sigma) ** 2)).astype(np.float32)


def position(image):
    """Centre of mass (y, x) in pixels from the centre of the image."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    image = image.astype(float)
    return np.array([image.sum(axis=1) @ y, image.sum(axis=0) @ x]) / image.sum()


def alignment_of(n_tilts, *, axis_deg=0.0, shifts_nm=(0.0, 0.0), magnification=1.0):
    return Alignment(
        shifts_nm=np.broadcast_to(shifts_nm, (n_tilts, 2)).copy(),
        tilt_axis_deg=np.full(n_tilts, axis_deg),
        tilt_angles_deg=np.linspace(-20.0, 20.0, n_tilts) + 0.5,
        magnification=np.full(n_tilts, magnification),
        residual_nm=math.nan,
        reliable=np.ones(n_tilts, dtype=bool),
    )


def series_of(image, n_tilts=2, **fields):
    images = np.repeat(np.asarray(image)[None], n_tilts, axis=0)
    images.flags.writeable = False
    return TiltSeries(images, np.linspace(-20.0, 20.0, n_tilts), 2.0, **fields)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis_deg", AXES)
@pytest.mark.parametrize("magnification", [1.0, 1.06])
def test_a_point_lands_where_the_convention_says(shape, axis_deg, magnification):
    raw = (4.0, -6.5)
    shift_px = np.array([1.25, -2.5])
    alignment = alignment_of(2, axis_deg=axis_deg, shifts_nm=2.0 * shift_px, magnification=magnification)
    aligned = align.apply(series_of(blob(shape, raw)), alignment)
    # by hand: turned clockwise by the axis, as y points up and x to the right
    a = math.radians(axis_deg)
    y, x = raw
    turned = np.array([y * math.cos(a) - x * math.sin(a), x * math.cos(a) + y * math.sin(a)])
    # a Gaussian of 2.5 px, cut by no edge: its centre is kept to rounding of float32 and of the spline
    np.testing.assert_allclose(position(aligned.images[0]), turned / magnification + shift_px, atol=2e-3)


@pytest.mark.parametrize("axis_deg", [*AXES, 44.0, -46.0, 130.0, 140.0])
def test_rows_and_columns_swap_if_the_axis_is_nearer_90_degrees(axis_deg):
    aligned = align.apply(series_of(np.ones((20, 31))), alignment_of(2, axis_deg=axis_deg))
    is_nearer_90 = abs(math.sin(math.radians(axis_deg))) > abs(math.cos(math.radians(axis_deg)))
    assert aligned.images.shape == ((2, 31, 20) if is_nearer_90 else (2, 20, 31))


@pytest.mark.parametrize(("axis_deg", "expected"), [(90.0, 1), (-90.0, -1), (180.0, 2)])
def test_quarter_turns_only_move_pixels(axis_deg, expected):
    image = np.random.default_rng(3).random((12, 15), dtype=np.float32)
    aligned = align.apply(series_of(image), alignment_of(2, axis_deg=axis_deg))
    # rot90 counts rows downwards: with y up, positive numbers turn clockwise
    np.testing.assert_allclose(aligned.images[0], np.rot90(image, expected), atol=1e-5)  # float32 spline


@pytest.mark.parametrize("shape", SHAPES)
def test_the_identity_returns_the_same_images(shape):
    image = np.random.default_rng(4).normal(100.0, 30.0, shape).astype(np.float32)
    aligned = align.apply(series_of(image), alignment_of(2))
    # a spline goes through its samples: what is left is float32 rounding of values of 200
    np.testing.assert_allclose(aligned.images[1], image, atol=1e-4)


def test_one_resampling_of_a_band_limited_image_is_accurate():
    # waves of frequency f along an axis: a cubic spline is off by up to 5/384 (2 pi f)^4 (Hall and Meyer 1976),
    # 0.12 % at 1/11 cycles per pixel, on each of two axes; 20 waves with random phases add as their squares do
    rng = np.random.default_rng(5)
    waves = rng.uniform(-1 / 8, 1 / 8, (20, 2)) / math.sqrt(2)
    phases = rng.uniform(0, 2 * np.pi, 20)

    def field(y, x):
        return sum(np.cos(2 * np.pi * (k[0] * y + k[1] * x) + p) for k, p in zip(waves, phases, strict=True))

    y, x = np.meshgrid(*[np.arange(64) - 31.5] * 2, indexing="ij")
    alignment = alignment_of(2, axis_deg=17.0, shifts_nm=(0.9, -2.7))
    aligned = align.apply(series_of(field(y, x).astype(np.float32)), alignment)
    a = math.radians(17.0)
    back_y, back_x = y - 0.45, x + 1.35
    raw_y = back_y * math.cos(a) + back_x * math.sin(a)
    raw_x = back_x * math.cos(a) - back_y * math.sin(a)
    inside = (np.abs(raw_y) < 22) & (np.abs(raw_x) < 22)  # the continued edge does not reach so far
    error = (aligned.images[0] - field(raw_y, raw_x))[inside]
    assert np.abs(error).max() < 2.5e-3 * math.sqrt(20)


@pytest.mark.parametrize(
    ("axis_deg", "shape"), [(0.0, (64, 64)), (12.0, (75, 71)), (90.0, (66, 71)), (-90.0, (71, 64))]
)
def test_the_truth_turns_a_raw_series_into_its_ideal_projections(axis_deg, shape):
    tilts = [-50.0, 0.0, 33.0]
    microscope = Microscope(tilt_axis_deg=axis_deg, shift_nm=2.5, blur_fwhm_nm=5.0)
    specimen = asymmetric(size_nm=48.0)
    taken = acquire(specimen, tilt_angles_deg=tilts, image_shape=shape, microscope=microscope, seed=2)
    aligned = align.apply(taken.series, taken.alignment)
    ideal = specimen_views(specimen, tilts, aligned.images.shape[1:])
    # edges from 2 x 2 rays, blurred over 5 pixels, and a cubic spline: 2 % (a mirrored view is off by over 30 %)
    assert np.abs(aligned.images - ideal).max() < 0.02 * ideal.max()
    assert np.abs(aligned.images[:, ::-1] - ideal).max() > 0.3 * ideal.max()
    assert np.abs(aligned.images[:, :, ::-1] - ideal).max() > 0.3 * ideal.max()


def specimen_views(specimen, tilts, shape):
    ideal = Microscope(blur_fwhm_nm=5.0)
    return acquire(specimen, tilt_angles_deg=tilts, image_shape=shape, microscope=ideal).series.images


def test_each_view_keeps_its_row_and_its_facts():
    use = np.array([True, False, True, True])
    views = pd.DataFrame({"dose": [1.0, 2.0, 3.0, 4.0]})
    image = blob((24, 30), (0.0, 0.0))
    series = series_of(image, 4, tilt_axis_deg=77.0, use=use, views=views, sources={"images": "a test"})
    alignment = alignment_of(4, axis_deg=80.0)
    aligned = align.apply(series, alignment)
    assert aligned.images.shape == (4, 30, 24)
    assert aligned.images.dtype == np.float32
    assert aligned.tilt_axis_deg == 0.0
    np.testing.assert_array_equal(aligned.tilt_angles_deg, alignment.tilt_angles_deg)
    np.testing.assert_array_equal(aligned.used, use)
    pd.testing.assert_frame_equal(aligned.views, views)
    assert aligned.sources["images"] == "a test"
    assert aligned.pixel_size_nm == 2.0


def test_beyond_its_edge_a_view_is_continued_not_wrapped():
    image = np.zeros((16, 16), dtype=np.float32)
    image[:, :8] = 5.0
    aligned = align.apply(series_of(image), alignment_of(2, shifts_nm=(0.0, 12.0)))  # 6 pixels to the right
    np.testing.assert_allclose(aligned.images[0, :, :6], 5.0, atol=0.01)
    np.testing.assert_allclose(aligned.images[0, :, -1], 0.0, atol=0.01)


def test_an_excluded_view_may_hold_anything():
    images = np.repeat(blob((20, 20), (1.0, 2.0))[None], 3, axis=0)
    images[1, 4, 5] = np.nan
    series = TiltSeries(images, np.array([-5.0, 0.0, 5.0]), 1.0, use=np.array([True, False, True]))
    aligned = align.apply(series, alignment_of(3))
    assert aligned.images.shape == (3, 20, 20)
    np.testing.assert_allclose(aligned.images[[0, 2]], images[[0, 2]], atol=1e-6)
    with pytest.raises(
        ValueError, match=r"every pixel must be finite, got 1 NaN or infinite pixels in view 1"
    ):
        align.apply(replace(series, use=None), alignment_of(3))


def test_an_alignment_of_another_series_is_refused():
    with pytest.raises(
        ValueError, match=r"one row per view of the series .2, excluded views too., got 3 rows"
    ):
        align.apply(series_of(np.ones((8, 8))), alignment_of(3))


def test_the_alignment_of_a_series_without_one_is_its_nominal_axis():
    series = series_of(blob((40, 40), (0.0, 5.0)), tilt_axis_deg=90.0)
    aligned = align.apply(series, geometry.nominal_alignment(series))
    # turned clockwise by 90 deg, what lay to the right lies below (y up)
    np.testing.assert_allclose(position(aligned.images[0]), (-5.0, 0.0), atol=2e-3)
