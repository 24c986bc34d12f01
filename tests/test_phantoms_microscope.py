"""The microscope: where things land in raw views, what blur and noise add, and the true alignment."""

import math

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from tomo3d import geometry
from tomo3d.phantoms import Ball, Body, Microscope, Slab, Specimen, acquire, asymmetric
from tomo3d.planning import Sketch, plan_of

TILTS = [-50.0, 0.0, 40.0, 15.0]
ONE = Specimen(
    [Body(Ball(radius_nm=4.0, centre_nm=(5.0, -9.0, 14.0), density=2.0), "ball")], (40.0, 52.0, 60.0)
)
MANY = asymmetric(size_nm=48.0)
FLAT = Specimen([Body(Slab(thickness_nm=50.0), "slab")], (50.0, 90.0, 100.0))


def centre_of_mass_nm(image, pixel_nm):
    """(x, y) in nm from the centre of the image; rows are y upwards, columns x."""
    n_y, n_x = image.shape
    y = (np.arange(n_y) - (n_y - 1) / 2) * pixel_nm
    x = (np.arange(n_x) - (n_x - 1) / 2) * pixel_nm
    image = image.astype(float)
    return (image.sum(axis=0) @ x) / image.sum(), (image.sum(axis=1) @ y) / image.sum()


def test_an_ideal_microscope_records_the_projections():
    taken = acquire(MANY, tilt_angles_deg=TILTS, pixel_size_nm=0.8)
    expected = MANY.project(TILTS, (60, 60), 0.8, samples_per_pixel=2)
    np.testing.assert_allclose(taken.series.images, expected.images, rtol=1e-6, atol=1e-5)
    assert taken.series.images.dtype == np.float32
    np.testing.assert_array_equal(taken.series.tilt_angles_deg, TILTS)
    assert taken.series.tilt_axis_deg == 0.0
    np.testing.assert_array_equal(taken.alignment.shifts_nm, 0.0)
    assert taken.alignment.residual_nm == 0.0


def test_default_tilts_run_from_minus_60_to_60_by_2():
    series = acquire(ONE, pixel_size_nm=4.0).series
    np.testing.assert_allclose(series.tilt_angles_deg, np.arange(-60, 61, 2))
    assert series.images.shape == (61, 13, 15)  # 52 x 60 nm
    wide = Microscope(tilt_range_deg=(-70, 65), tilt_step_deg=3.0)
    np.testing.assert_allclose(wide.tilt_angles_deg, np.arange(-70, 65.1, 3))


@pytest.mark.parametrize("axis_deg", [0.0, 8.0, -30.0, 85.3, 90.0, 130.0, 180.0])
def test_an_off_centre_ball_lands_where_geometry_by_hand_says(axis_deg):
    # By hand, in the plane of the raw picture (x right, y up): the tilt axis points along (-sin a, cos a), and
    # positive u to its right, (cos a, sin a). What the alignment will move by (s_y, s_x) in the end, along the
    # aligned picture's own y and x, lies that much too far back before.
    microscope = Microscope(tilt_axis_deg=axis_deg, shift_nm=3.0)
    taken = acquire(ONE, tilt_angles_deg=TILTS, pixel_size_nm=0.5, microscope=microscope, seed=4)
    a = math.radians(axis_deg)
    for image, tilt_deg, (shift_y, shift_x) in zip(
        taken.series.images, TILTS, taken.alignment.shifts_nm, strict=True
    ):
        t = math.radians(tilt_deg)
        u, v = 14.0 * math.cos(t) + 5.0 * math.sin(t) - shift_x, -9.0 - shift_y
        expected = u * math.cos(a) - v * math.sin(a), u * math.sin(a) + v * math.cos(a)
        # 200 pixels across the ball, 4 rays each: the edge's rounding averages out to under 0.01 nm
        np.testing.assert_allclose(centre_of_mass_nm(image, 0.5), expected, atol=0.01)


@pytest.mark.parametrize(("axis_deg", "shape"), [(6.0, (71, 74)), (-20.0, (80, 73)), (88.0, (70, 81))])
def test_the_true_alignment_undoes_what_the_microscope_did(axis_deg, shape):
    microscope = Microscope(tilt_axis_deg=axis_deg, shift_nm=2.5, blur_fwhm_nm=5.0)
    taken = acquire(MANY, tilt_angles_deg=TILTS, image_shape=shape, microscope=microscope, seed=1)
    out_shape = geometry.aligned_shape(shape, axis_deg)
    matrices, offsets = geometry.alignment_matrices(taken.alignment, 1.0, shape, out_shape)
    ideal = acquire(
        MANY, tilt_angles_deg=TILTS, image_shape=out_shape, microscope=Microscope(blur_fwhm_nm=5.0)
    ).series.images
    for image, matrix, offset, expected in zip(taken.series.images, matrices, offsets, ideal, strict=True):
        aligned = affine_transform(image.astype(float), matrix, offset, out_shape, order=5)
        # Edges between 2 x 2 rays, blurred over 5 pixels, and a spline: 1.5 %. A wrong sign is off by much more.
        assert np.abs(aligned - expected).max() < 0.015 * expected.max()
        assert np.abs(aligned[::-1] - expected).max() > 0.3 * expected.max()


def test_align_apply_gives_the_aligned_views_back():
    align = pytest.importorskip("tomo3d.align")
    microscope = Microscope(tilt_axis_deg=5.0, shift_nm=2.5, blur_fwhm_nm=3.0)
    taken = acquire(MANY, tilt_angles_deg=TILTS, image_shape=(71, 74), microscope=microscope)
    ideal = acquire(
        MANY, tilt_angles_deg=TILTS, image_shape=(71, 74), microscope=Microscope(blur_fwhm_nm=3.0)
    ).series
    aligned = align.apply(taken.series, taken.alignment)
    assert np.abs(aligned.images - ideal.images).max() < 0.03 * ideal.images.max()  # a cubic spline


def test_shifts_are_even_within_their_limit_and_not_whole_pixels():
    microscope = Microscope(shift_nm=6.0)
    shifts = acquire(
        ONE, tilt_angles_deg=np.linspace(-60, 60, 400), pixel_size_nm=30.0, microscope=microscope
    ).alignment.shifts_nm
    assert np.abs(shifts).max() <= 6.0
    assert np.abs(shifts).max() > 5.9
    # standard deviation of an even distribution: limit / sqrt(3), known to 1 / sqrt(10 n / 4) = 3 % for 400
    np.testing.assert_allclose(shifts.std(axis=0), 6.0 / math.sqrt(3), rtol=0.1)
    assert (np.abs(shifts - np.round(shifts)) > 1e-3).mean() > 0.9


@pytest.mark.parametrize("axis_deg", [0.0, 12.0, 90.0])
def test_the_default_image_loses_nothing(axis_deg):
    microscope = Microscope(tilt_axis_deg=axis_deg, shift_nm=5.0, tilt_step_deg=20.0)
    images = acquire(MANY, microscope=microscope, seed=2).series.images
    value = MANY.truth.set_index("quantity")["value"]
    mass = value["volume_grain"] + 3.0 * value["volume_bead"]
    # beads of 1.5 pixels, 2 x 2 rays a pixel: 2 % of their share, which is a fifth
    np.testing.assert_allclose(images.sum(axis=(1, 2), dtype=float), mass, rtol=6e-3)


@pytest.mark.parametrize("axis_deg", [0.0, 12.0, 90.0])
def test_the_default_image_holds_the_edge_of_the_field_wherever_a_shift_takes_it(axis_deg):
    corner = Ball(radius_nm=5.0, centre_nm=(0.0, 21.0, -25.0))  # it touches two edges of the field
    specimen = Specimen([Body(corner, "ball")], (40.0, 52.0, 60.0))
    microscope = Microscope(tilt_axis_deg=axis_deg, shift_nm=6.0)
    images = acquire(specimen, tilt_angles_deg=[0.0] * 12, microscope=microscope).series.images
    # a ball of 5 pixels, 2 x 2 rays a pixel: 5e-3; without room for shifts of 6 nm much of it would be cut off
    np.testing.assert_allclose(images.sum(axis=(1, 2), dtype=float), corner.volume_nm3, rtol=5e-3)


def test_nominal_axis_is_off_by_the_axis_error():
    microscope = Microscope(tilt_axis_deg=84.0, axis_error_deg=1.5)
    taken = acquire(ONE, tilt_angles_deg=[0.0, 9.0], pixel_size_nm=4.0, microscope=microscope)
    assert taken.series.tilt_axis_deg == 85.5
    np.testing.assert_array_equal(taken.alignment.tilt_axis_deg, 84.0)


@pytest.mark.parametrize("fwhm_nm", [0.4, 1.0, 5.0])
def test_blur_adds_its_variance_and_keeps_the_mass(fwhm_nm):
    def moments(microscope):
        image = acquire(ONE, tilt_angles_deg=[20.0], microscope=microscope).series.images[0].astype(float)
        y, x = (np.arange(n) for n in image.shape)
        profile = image.sum(axis=0) / image.sum()
        height = image.sum(axis=1) / image.sum()
        return image.sum(), profile @ x**2 - (profile @ x) ** 2, height @ y**2 - (height @ y) ** 2

    sharp, blurred = moments(Microscope()), moments(Microscope(blur_fwhm_nm=fwhm_nm))
    assert blurred[0] == pytest.approx(sharp[0], rel=1e-6)
    variance = fwhm_nm**2 / (8 * math.log(2))
    assert blurred[1] - sharp[1] == pytest.approx(variance, abs=1e-4)
    assert blurred[2] - sharp[2] == pytest.approx(variance, abs=1e-4)


def test_what_lies_outside_the_image_blurs_into_it():
    microscope = Microscope(blur_fwhm_nm=4.0, tilt_axis_deg=10.0)
    whole = acquire(MANY, tilt_angles_deg=[10.0], image_shape=(61, 63), microscope=microscope).series.images[
        0
    ]
    part = acquire(MANY, tilt_angles_deg=[10.0], image_shape=(21, 33), microscope=microscope).series.images[0]
    np.testing.assert_allclose(part, whole[20:41, 15:48], rtol=1e-5, atol=1e-5)
    assert whole[19].max() > 1.0  # there is something just outside


def test_counting_noise_has_the_mean_of_the_grey_value_and_its_variance_over_the_dose():
    microscope = Microscope(dose_electrons_per_nm2=2000.0, scattering_per_nm=1e-3, background=10.0)
    image = acquire(FLAT, tilt_angles_deg=[0.0, 60.0], pixel_size_nm=0.5, microscope=microscope).series.images
    electrons_per_grey = 2000.0 * 0.25 * 1e-3
    n = image[0].size  # 36000 pixels: the mean is known to 1 / sqrt(n), the variance to sqrt(2 / n)
    for view, grey in zip(image, (60.0, 110.0), strict=True):  # 50 nm, 50 nm / cos 60, and the background
        variance = grey / electrons_per_grey
        assert view.mean() == pytest.approx(grey, abs=4 * math.sqrt(variance / n))
        assert view.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / n))
        counts = view * electrons_per_grey
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)


def test_more_dose_and_larger_pixels_mean_less_noise():
    def noise(pixel_nm, dose):
        microscope = Microscope(dose_electrons_per_nm2=dose)
        return acquire(
            FLAT, tilt_angles_deg=[0.0], pixel_size_nm=pixel_nm, microscope=microscope
        ).series.images.std()

    assert noise(0.5, 2000.0) / noise(1.0, 2000.0) == pytest.approx(2.0, rel=0.05)
    assert noise(1.0, 500.0) / noise(1.0, 2000.0) == pytest.approx(2.0, rel=0.05)


def test_gaussian_noise_is_a_fraction_of_the_range_of_the_series():
    clean = acquire(ONE, tilt_angles_deg=TILTS, microscope=Microscope(background=5.0)).series.images
    noisy = acquire(
        ONE, tilt_angles_deg=TILTS, microscope=Microscope(background=5.0, noise_fraction=0.1)
    ).series.images
    difference = noisy - clean
    expected = 0.1 * float(np.ptp(clean))
    n = difference.size  # 12480
    assert difference.std() == pytest.approx(expected, rel=4 / math.sqrt(2 * n))
    assert difference.mean() == pytest.approx(0.0, abs=4 * expected / math.sqrt(n))
    assert clean.min() == pytest.approx(5.0)


def test_noise_differs_between_views_and_is_the_same_for_a_seed():
    microscope = Microscope(dose_electrons_per_nm2=1000.0, shift_nm=2.0)
    three = acquire(FLAT, tilt_angles_deg=[0.0, 0.0, 0.0], microscope=microscope, seed=9)
    assert np.abs(np.corrcoef(three.series.images.reshape(3, -1))[np.triu_indices(3, 1)]).max() < 0.05
    two = acquire(FLAT, tilt_angles_deg=[0.0, 0.0], microscope=microscope, seed=9)
    np.testing.assert_array_equal(two.series.images, three.series.images[:2])
    np.testing.assert_array_equal(two.alignment.shifts_nm, three.alignment.shifts_nm[:2])
    other = acquire(FLAT, tilt_angles_deg=[0.0, 0.0], microscope=microscope, seed=10)
    assert (other.series.images != two.series.images).mean() > 0.5


def test_the_plan_tells_the_shape_before_anything_is_made():
    from tomo3d.phantoms import catalyst_layer

    plan = plan_of(acquire)
    microscope = Microscope(shift_nm=3.0, tilt_axis_deg=7.0, tilt_step_deg=30.0)
    made = acquire(MANY, pixel_size_nm=2.0, microscope=microscope).series
    sketch = plan(MANY, pixel_size_nm=2.0, microscope=microscope).result["series"]
    assert sketch.shape == made.images.shape
    assert sketch.pixel_size_nm == 2.0
    assert plan(Sketch("Specimen"), image_shape=(20, 30)).result["series"].shape == (61, 20, 30)
    layer = plan_of(catalyst_layer)(size_nm=(90.0, 100.0, 110.0)).result
    assert plan(layer, pixel_size_nm=2.0).result["series"].shape == (61, 50, 55)
    assert plan(layer, pixel_size_nm=2.0).peak_bytes > 61 * 50 * 55 * 4
    assert plan(Sketch("Specimen")).result["series"].shape == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Microscope(tilt_range_deg=(60.0, -60.0)), "two rising tilt angles"),
        (lambda: Microscope(tilt_range_deg=(-95.0, 60.0)), "from -90 to 90 degrees"),
        (lambda: Microscope(tilt_step_deg=0.0), "tilt_step_deg must be positive, got 0 degrees"),
        (lambda: Microscope(dose_electrons_per_nm2=-1.0), "dose_electrons_per_nm2 must be positive"),
        (lambda: Microscope(dose_electrons_per_nm2=math.nan), "dose_electrons_per_nm2 must be positive"),
        (lambda: Microscope(shift_nm=-2.0), "shift_nm must be finite and not negative, got -2"),
        (lambda: Microscope(background=math.inf), "background must be finite"),
        (lambda: acquire(ONE, tilt_angles_deg=[]), "at least one finite angle"),
        (lambda: acquire(ONE, tilt_angles_deg=[math.nan]), "at least one finite angle"),
        (
            lambda: acquire(ONE, pixel_size_nm=-1.0),
            "pixel_size_nm must be a positive length in nm, got -1 nm",
        ),
        (lambda: acquire(ONE, image_shape=(5, 0)), "image_shape must be two whole numbers"),
        (
            lambda: acquire(
                ONE,
                tilt_angles_deg=[0.0],
                microscope=Microscope(background=-5.0, dose_electrons_per_nm2=10.0),
            ),
            r"must not be negative where electrons are counted, got -5",
        ),
    ],
)
def test_a_bad_value_is_refused_with_what_must_hold(make, message):
    with pytest.raises(ValueError, match=message):
        make()
