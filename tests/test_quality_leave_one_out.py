"""The error of a prediction is the known one; what is left out is left out."""

import functools
import math

import numpy as np
import pytest

from tomo3d import align, quality, reconstruct, tables
from tomo3d.progress import listening
from tomo3d.types import Alignment, TiltSeries, Volume

ANGLES = np.array([40.0, -60.0, -20.0, 0.0, 20.0, 60.0])
VOXEL_NM = 2.5


def specimen(shape=(12, 9, 40), seed=0):
    """Smooth, without symmetry, and zero at the faces."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    data = np.zeros(shape)
    for _ in range(6):
        cz, cy, cx = rng.uniform(-0.2, 0.2, 3) * shape
        data += rng.uniform(0.5, 1) * np.exp(-((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / 6)
    data = data.astype(np.float32)
    data.flags.writeable = False
    return Volume(data, (VOXEL_NM,) * 3)


def views_of(volume, angles=ANGLES, **options):
    series = reconstruct.project(volume, angles)
    images = np.array(series.images)
    images.flags.writeable = False
    return TiltSeries(images, angles, VOXEL_NM, **options)


def scaled(volume, factor):
    return Volume(factor * volume.data, volume.voxel_size_nm)


@pytest.mark.parametrize("factor", [1.0, 0.9, 1.3])
def test_the_error_of_the_truth_is_nothing_and_of_a_wrong_scale_is_its_excess(factor):
    truth = specimen()
    table = quality.leave_one_out(views_of(truth), lambda series: scaled(truth, factor))
    tables.check(table, tables.LEFT_OUT)
    np.testing.assert_allclose(table.error, abs(factor - 1), atol=1e-6)
    np.testing.assert_allclose(table.correlation, 1.0, atol=1e-9)
    assert table.tilt_angle_deg.tolist() == sorted(ANGLES)
    assert table.view.tolist() == np.argsort(ANGLES).tolist()


def test_the_error_of_noisy_views_is_the_share_of_the_noise():
    truth = specimen()
    clean = views_of(truth)
    rng = np.random.default_rng(1)
    power = float((clean.images.astype(float) ** 2).mean())
    noise = rng.normal(0, math.sqrt(power), clean.images.shape)
    table = quality.leave_one_out(TiltSeries(clean.images + noise, ANGLES, VOXEL_NM), lambda series: truth)
    for row in table.itertuples():
        signal = float((clean.images[row.view].astype(float) ** 2).mean())
        if row.n_pixels == clean.images[0].size:
            expected = math.sqrt(power / (power + signal))
            assert row.error == pytest.approx(expected, rel=4 / math.sqrt(row.n_pixels))


def test_each_view_is_left_out_of_its_own_volume_only():
    truth = specimen()
    use = np.array([True, True, False, True, True, True])
    seen = []

    def method(series):
        seen.append(np.flatnonzero(~series.used).tolist())
        return truth

    table = quality.leave_one_out(views_of(truth, use=use), method)
    assert table.view.tolist() == [1, 3, 4, 0, 5]
    assert seen == [sorted({2, view}) for view in table.view]
    seen.clear()
    table = quality.leave_one_out(views_of(truth, use=use), method, views=[4, 1])
    assert table.view.tolist() == [1, 4]
    assert seen == [[1, 2], [2, 4]]


@pytest.mark.parametrize("n_slices", [1, 4, 9])
def test_slices_in_the_middle_are_those_of_the_whole(n_slices):
    truth = specimen()
    first = (9 - n_slices) // 2
    given = []

    def method(series):
        given.append(series.images)
        return Volume(1.2 * truth.data[:, first : first + n_slices], truth.voxel_size_nm)

    series = views_of(truth)
    table = quality.leave_one_out(series, method, n_slices=n_slices)
    np.testing.assert_allclose(table.error, 0.2, atol=1e-6)
    assert np.array_equal(given[0], series.images[:, first : first + n_slices])
    assert table.n_pixels[2] == 40 * n_slices  # at 0 deg all rays are full


@pytest.mark.parametrize("axis_deg", [0.0, 3.0, 87.0])
@pytest.mark.parametrize("n_slices", [None, 5])
def test_an_alignment_is_applied_as_align_applies_it(axis_deg, n_slices):
    rng = np.random.default_rng(3)
    raw = TiltSeries(rng.random((6, 16, 21)), ANGLES, VOXEL_NM, tilt_axis_deg=axis_deg)
    shifts = rng.normal(0, 3, (6, 2))
    alignment = Alignment(shifts, np.full(6, axis_deg), ANGLES + 1, np.ones(6), math.nan, np.ones(6, bool))
    method = functools.partial(reconstruct.wbp, thickness_nm=20.0)
    direct = quality.leave_one_out(raw, method, alignment=alignment, n_slices=n_slices)
    applied = quality.leave_one_out(align.apply(raw, alignment), method, n_slices=n_slices)
    np.testing.assert_allclose(direct.error, applied.error, rtol=1e-4)
    np.testing.assert_allclose(direct.correlation, applied.correlation, atol=1e-4)
    assert direct.tilt_angle_deg.tolist() == sorted(ANGLES + 1)


def test_rays_that_pass_beside_the_volume_are_left_out():
    # A slab far wider than the field: what the volume lacks at high tilt must not count.
    wide = Volume(np.ones((10, 2, 400), np.float32), (VOXEL_NM,) * 3)
    views = TiltSeries(reconstruct.project(wide, ANGLES, n_x=100).images, ANGLES, VOXEL_NM)
    field = Volume(np.ones((10, 2, 100), np.float32), (VOXEL_NM,) * 3)
    table = quality.leave_one_out(views, lambda series: field)
    # at most the outermost rays lack a tenth of their path, or two of some 50 to 100 pixels
    assert table.error.max() < 0.1 * math.sqrt(3 / 50)
    high = table.tilt_angle_deg.abs() == 60
    plateau = 100 * math.cos(math.radians(60)) - 10 * math.sin(math.radians(60))
    assert table.n_pixels[high].between(2 * plateau, 2 * plateau + 6).all()
    every = quality.leave_one_out(views, lambda series: field, least_path=0.0)
    assert every.error[high].min() > 0.2  # of 59 columns 17 lack half of their path on average
    edge = 100 * math.cos(math.radians(60)) + 10 * math.sin(math.radians(60))
    assert every.n_pixels[high].between(2 * edge - 4, 2 * edge).all()


def test_a_view_between_others_is_predicted_better_than_one_beyond_them():
    truth = specimen((40, 3, 40))
    series = views_of(truth, np.arange(-60.0, 61.0, 4.0))
    method = functools.partial(reconstruct.sirt, thickness_nm=40 * VOXEL_NM, n_iterations=20, lower=0.0)
    table = quality.leave_one_out(series, method, views=[0, 13, 15, 30])
    assert table.error[1:3].max() < 0.1
    assert table.error[1:3].max() < 0.7 * table.error[[0, 3]].min()
    # a series whose views are out of place is predicted worse: the error can choose between alignments
    images = np.stack([np.roll(v, (-1) ** i, axis=1) for i, v in enumerate(series.images)])
    wrong = TiltSeries(images, series.tilt_angles_deg, VOXEL_NM)
    assert quality.leave_one_out(wrong, method, views=[13]).error[0] > 2 * table.error[1]


def test_progress_is_reported():
    truth = specimen()
    heard = []
    with listening(lambda what, done, total: heard.append((what, done, total))):
        quality.leave_one_out(views_of(truth), lambda series: truth, views=[1, 2])
    assert [item for item in heard if item[0] == "leaving views out"] == [
        ("leaving views out", i, 2) for i in range(3)
    ]


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({"use": np.arange(6) == 1}, {}, "at least two views must be in use to leave one out, got 1"),
        ({"use": np.arange(6) != 1}, {"views": [0, 1]}, r"rows of views in use, got view 1 \(0-based\)"),
        ({}, {"views": [6]}, r"rows of views in use, got view 6 \(0-based\)"),
        ({}, {"views": []}, "rows of views in use, got none"),
        ({}, {"n_slices": 0}, "n_slices must be from 1 to the 9 slices along the tilt axis, got 0"),
        ({}, {"n_slices": 10}, "n_slices must be from 1 to the 9 slices"),
        ({}, {"least_path": 1.1}, "least_path must be a share from 0 to 1, got 1.1"),
        ({"tilt_axis_deg": 4.0}, {}, "must be 0 deg .* got 4 deg: pass alignment"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change, options, sentence):
    truth = specimen()
    with pytest.raises(ValueError, match=sentence):
        quality.leave_one_out(views_of(truth, **change), lambda series: truth, **options)


def test_a_volume_that_does_not_fit_the_views_is_refused():
    truth = specimen()
    with pytest.raises(
        ValueError, match=r"a slice for each of the 9 rows and voxels of 2\.5 nm, got 8 slices"
    ):
        quality.leave_one_out(views_of(truth), lambda series: Volume(truth.data[:, 1:], truth.voxel_size_nm))
    with pytest.raises(ValueError, match=r"voxels of 2\.5 nm, got 9 slices and voxels of"):
        quality.leave_one_out(views_of(truth), lambda series: Volume(truth.data, (5.0, 5.0, 5.0)))
    with pytest.raises(TypeError, match="method must return a Volume, got a NoneType"):
        quality.leave_one_out(views_of(truth), lambda series: None)
