"""The real needle: how well it is aligned, by two figures that are held to slow, literal versions."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks import bench_align, needle
from tomo3d import TiltSeries, align, geometry, preprocess
from tomo3d.compute import solvers
from tomo3d.compute.projector import Projector

TILTS_DEG = np.arange(-60.0, 61.0, 8.0)


def spot_series(centres, n_y=80, n_u=64):
    """Views with one Gaussian spot per row, at `centres` (n_views,), on a background of 7."""
    u = np.arange(n_u)
    rows = 100.0 * np.exp(-0.5 * ((u - np.asarray(centres)[:, None]) / 3.0) ** 2)
    images = np.repeat(rows[:, None, :], n_y, axis=1) + 7.0
    images.flags.writeable = False
    return TiltSeries(images, TILTS_DEG, pixel_size_nm=1.0)


def on_an_orbit():
    tilt = np.deg2rad(TILTS_DEG)
    return 32.0 + 6.0 * np.cos(tilt) - 4.0 * np.sin(tilt)


def test_what_turns_about_an_axis_has_no_error():
    # a pixel at the cut, 0.12 of the maximum and 6.2 px from the centre of a spot of mass 7.5, counts or not
    assert needle.center_of_mass_px(spot_series(on_an_orbit())) < 0.12 * 6.2 / 7.5


def test_a_view_that_strays_is_the_error():
    moved = on_an_orbit()
    moved[7] += 4.0
    # one of 16 views off by 4 px; the orbit's three parameters take at most part of it away
    assert 0.85 <= needle.center_of_mass_px(spot_series(moved)) <= 1.0


def test_a_view_is_left_out_of_its_own_prediction():
    # by the vectorised form and by one reconstruction per view
    rng = np.random.default_rng(3)
    n_u = 21
    truth = np.zeros((n_u, 2, n_u), dtype=np.float32)
    truth[5:14, :, 7:16] = 1.0 + rng.random((9, 2, 9))
    images = Projector(TILTS_DEG, n_u=n_u, n_x=n_u, n_z=n_u).forward(truth) + rng.random(
        (len(TILTS_DEG), 2, n_u)
    )
    images = images.astype(np.float32)
    images.flags.writeable = False
    data = np.maximum(images - np.median(images), 0.0)
    expected = []
    for row in (0, 1):
        errors = []
        for k in range(0, len(TILTS_DEG), 2):
            others = np.arange(len(TILTS_DEG)) != k
            projector = Projector(TILTS_DEG[others], n_u=n_u, n_x=n_u, n_z=n_u)
            problem = solvers.Problem(
                data[others, row : row + 1], projector, constraint=solvers.Constraint(lower=0.0)
            )
            x = solvers.iterate(solvers.Sirt(), problem, n_iterations=40).volume
            predicted = Projector(TILTS_DEG[[k]], n_u=n_u, n_x=n_u, n_z=n_u).forward(x)[0, 0]
            errors.append(np.linalg.norm(data[k, row] - predicted) / np.linalg.norm(data[k, row]))
        expected.append(np.median(errors))
    found = needle.leave_one_out(TiltSeries(images, TILTS_DEG, pixel_size_nm=1.0), [0, 1])
    # float32, and the row weights of rays near the corners, where leaving views out moves the cut at 0.05 voxels
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("axis_deg", "row"), [(90.0, 255 - 80 + 3), (-90.0, 80 + 3)])
def test_a_raw_column_is_found_in_the_aligned_series(axis_deg, row):
    series = TiltSeries(
        np.zeros((3, 256, 256), dtype=np.int16), [-1.0, 0.0, 1.0], 2.0, tilt_axis_deg=axis_deg
    )
    alignment = geometry.nominal_alignment(series)
    shifts_nm = np.array([[4.0, 50.0], [6.0, 0.0], [8.0, -9.0]])  # 3 px along the axis on the mean
    assert needle.aligned_row(series, replace(alignment, shifts_nm=shifts_nm), 80) == row


def test_the_crop_is_as_unaligned_as_the_whole_series():
    assert needle.center_of_mass_px(needle.unaligned(needle.read(needle.CROP))) == pytest.approx(
        9.9, abs=0.05
    )


def test_the_crop_is_aligned_from_coarse_views():
    # every other view, and pixels four times as large; the figures are those of the pixels of the file
    series = needle.read(needle.CROP)
    series = TiltSeries(
        series.images[::2], series.tilt_angles_deg[::2], series.pixel_size_nm, needle.AXIS_DEG
    )
    alignment = align.marker_free(preprocess.bin_views(series, factor=4))
    assert needle.center_of_mass_px(needle.unaligned(series)) > 9.0
    assert needle.center_of_mass_px(align.apply(series, alignment)) <= 0.30
    # the centre of mass alone, set right by itself, also gets there; but it does not predict this plane
    raw, aligned = (
        needle.leave_one_out(align.apply(series, each), [needle.aligned_row(series, each, 40)])[0]
        for each in (geometry.nominal_alignment(series), alignment)
    )
    assert aligned <= raw / 3


@pytest.mark.slow
def test_the_crop_is_aligned():
    series, alignment, _ = bench_align.needle_alignment(needle.CROP)
    assert needle.center_of_mass_px(align.apply(series, alignment)) <= 0.30


@pytest.fixture(scope="module")
def whole():
    if not needle.FULL.exists():
        pytest.skip(f"{needle.FULL.name} is not here")
    series, alignment, _ = bench_align.needle_alignment(
        needle.FULL
    )  # once, for these tests and the benchmark's
    return series, alignment


@pytest.mark.slow
def test_the_whole_series_is_aligned(whole):
    series, alignment = whole
    assert needle.center_of_mass_px(needle.unaligned(series)) == pytest.approx(9.9, abs=0.05)
    assert needle.center_of_mass_px(align.apply(series, alignment)) <= 0.30


@pytest.mark.slow
def test_views_are_predicted_three_times_better_than_before(whole):
    series, alignment = whole
    nominal = geometry.nominal_alignment(series)
    raw, aligned = (
        needle.leave_one_out(
            align.apply(series, each), [needle.aligned_row(series, each, c) for c in needle.COLUMNS]
        )
        for each in (nominal, alignment)
    )
    assert raw == pytest.approx([0.30, 0.34, 0.62], abs=0.005)
    assert (aligned <= raw / 3).all()
