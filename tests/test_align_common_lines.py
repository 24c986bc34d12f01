"""The line that all views share: shifts along the axis and its direction, against exact projections."""

from dataclasses import replace

import numpy as np
import pytest

from tomo3d import TiltSeries, align, geometry
from tomo3d.align._directions import is_truncated
from tomo3d.align._working import working_copy
from tomo3d.compute import common_line
from tomo3d.phantoms import Ball, Body, Ellipsoid, Microscope, Specimen, acquire

TILTS = np.arange(-60.0, 61.0, 5.0)


def ellipsoids():
    bodies = [
        Ellipsoid(semi_axes_nm=(7.0, 9.0, 8.0), centre_nm=(4.0, -9.0, -5.0)),
        Ellipsoid(semi_axes_nm=(4.0, 6.0, 5.0), centre_nm=(-8.0, 9.0, 8.0)),
        Ellipsoid(semi_axes_nm=(3.0, 3.0, 4.0), centre_nm=(-7.0, -10.0, 12.0), density=2.0),
    ]
    return Specimen([Body(each, "grain") for each in bodies], (40.0, 40.0, 40.0))


def film(seed=1):
    """Balls in a layer that goes on beside the field on all sides."""
    places = np.random.default_rng(seed).uniform(-1.0, 1.0, (500, 3)) * (8.0, 75.0, 160.0)
    return Specimen(
        [Body(Ball(radius_nm=3.5, centre_nm=tuple(c)), "grain") for c in places], (20.0, 96.0, 96.0)
    )


def taken(specimen, *, shape=(64, 64), off_deg=0.0, seed=1, **microscope):
    acquired = acquire(
        specimen,
        tilt_angles_deg=TILTS,
        image_shape=shape,
        microscope=Microscope(axis_error_deg=off_deg, **microscope),
        seed=seed,
    )
    acquired.series.images.flags.writeable = False
    return acquired


def along_px(found, acquired):
    """R.m.s. error of the shifts along the axis, but for one of the specimen as a whole."""
    error = (found.shifts_nm - acquired.alignment.shifts_nm)[:, 0] / acquired.series.pixel_size_nm
    return float(np.sqrt(np.mean(np.square(error - error.mean()))))


def axis_error_deg(found, acquired):
    return float(geometry.axis_difference_deg(found.tilt_axis_deg[0], acquired.alignment.tilt_axis_deg[0]))


def axis(found):
    return found.evidence["axis"].set_index("quantity")


@pytest.mark.parametrize(
    ("axis_deg", "off_deg", "shape"),
    [(0.0, 10.0, (64, 64)), (30.0, -30.0, (61, 61)), (85.0, 40.0, (58, 73)), (-70.0, 70.0, (71, 60))],
)
def test_axis_and_shifts_along_it_are_found(axis_deg, off_deg, shape):
    acquired = taken(ellipsoids(), shape=shape, off_deg=off_deg, tilt_axis_deg=axis_deg, shift_nm=4.0)
    found = align.common_lines(acquired.series)
    nominal = axis_deg + off_deg
    np.testing.assert_array_equal(found.tilt_axis_deg, found.tilt_axis_deg[0])
    assert abs(found.tilt_axis_deg[0] - nominal) <= 90.0  # of two directions, the one nearer the nominal axis
    assert abs(axis_error_deg(found, acquired)) < 0.1
    assert along_px(found, acquired) < 0.03
    assert found.reliable.all()
    table = axis(found)
    assert table.value["is_distinguished"] == 1.0
    assert table.value["is_truncated"] == 0.0
    assert table.low["tilt_axis"] < table.value["tilt_axis"] < table.high["tilt_axis"]
    assert table.value["variance_left"] < 0.01


def test_noise_is_borne():
    errors, is_held = [], []
    for seed in range(3):
        acquired = taken(ellipsoids(), off_deg=7.0, seed=seed, shift_nm=4.0, noise_fraction=0.05)
        found = align.common_lines(acquired.series)
        assert abs(axis_error_deg(found, acquired)) < 3.0
        assert along_px(found, acquired) < 0.25
        error = (found.shifts_nm - acquired.alignment.shifts_nm)[:, 0]
        errors.append((error - error.mean()) / found.evidence["common_lines"]["sigma_nm"])
        table = axis(found)
        is_held.append(table.low["tilt_axis"] < acquired.alignment.tilt_axis_deg[0] < table.high["tilt_axis"])
    # 75 shifts, each with 24 independent frequencies; an axis that is off by 2 deg moves them as much again
    assert 0.7 < np.sqrt(np.mean(np.square(errors))) < 1.6
    assert np.sum(is_held) >= 2


def test_a_film_that_all_borders_cut_still_shares_its_lines():
    acquired = taken(film(), shape=(96, 96), off_deg=6.0, seed=1, shift_nm=3.0)
    found = align.common_lines(acquired.series)
    assert axis(found).value["is_truncated"] == 1.0
    assert axis(found).value["is_distinguished"] == 1.0
    assert abs(axis_error_deg(found, acquired)) < 3.0
    assert along_px(found, acquired) < 0.15


def test_jumps_and_brightness_do_not_matter():
    acquired = taken(ellipsoids(), shape=(96, 64))
    steps = np.zeros(len(TILTS), dtype=int)
    steps[[3, 11, 20]] = 25, -30, 28
    levels = np.random.default_rng(5).uniform(0.5, 2.0, (len(TILTS), 1, 1)).astype(np.float32)
    images = np.stack([np.roll(i, s, axis=0) for i, s in zip(acquired.series.images, steps, strict=True)])
    moved = replace(acquired.series, images=images * levels + 40.0 * levels)
    clean = align.common_lines(acquired.series).shifts_nm[:, 0]
    error = align.common_lines(moved).shifts_nm[:, 0] + steps - clean
    np.testing.assert_allclose(error - error.mean(), 0.0, atol=0.05)


def test_a_view_of_something_else_is_not_reliable():
    acquired = taken(ellipsoids(), shift_nm=3.0)
    images = acquired.series.images.copy()
    other = Specimen(
        [Body(Ball(radius_nm=2.0, centre_nm=(0.0, y, x)), "bead") for y, x in ((20, 20), (-25, 3), (4, -22))],
        (40.0,) * 3,
    )
    images[9] = taken(other).series.images[12]
    found = align.common_lines(replace(acquired.series, images=images))
    np.testing.assert_array_equal(np.flatnonzero(~found.reliable), [9])
    error = np.delete((found.shifts_nm - acquired.alignment.shifts_nm)[:, 0], 9)
    assert np.sqrt(np.mean(np.square(error - error.mean()))) < 0.1


@pytest.mark.parametrize("what", ["ball", "noise"])
def test_what_has_no_direction_is_said(what, caplog):
    if what == "ball":
        ball = Specimen([Body(Ball(radius_nm=10.0, centre_nm=(2.0, 1.0, -3.0)), "ball")], (40.0,) * 3)
        series = taken(ball, shift_nm=3.0, tilt_axis_deg=20.0).series
    else:
        noise = np.random.default_rng(2).normal(size=(len(TILTS), 64, 64)).astype(np.float32)
        series = TiltSeries(noise, TILTS, 1.0, 20.0)
    found = align.common_lines(series)
    assert axis(found).value["is_distinguished"] == 0.0
    assert np.isnan(axis(found).low["tilt_axis"])
    np.testing.assert_array_equal(found.tilt_axis_deg, 20.0)
    assert "no direction of the tilt axis stands out" in caplog.text
    assert found.reliable.all() == (what == "ball")
    assert found.reliable.any() == (what == "ball")


def test_order_and_excluded_views():
    acquired = taken(ellipsoids(), shift_nm=3.0, off_deg=5.0)
    order = np.random.default_rng(0).permutation(len(TILTS))
    use = np.ones(len(TILTS), dtype=bool)
    use[4] = False
    images = acquired.series.images[order].copy()
    images[4] = np.nan
    found = align.common_lines(replace(acquired.series, images=images, tilt_angles_deg=TILTS[order], use=use))
    without = align.common_lines(
        replace(acquired.series, images=images[use], tilt_angles_deg=TILTS[order][use])
    )
    np.testing.assert_array_equal(found.shifts_nm[use], without.shifts_nm)
    np.testing.assert_array_equal(found.evidence["common_lines"]["view"], np.flatnonzero(use))
    np.testing.assert_array_equal(np.flatnonzero(~found.reliable), [4])
    plain = align.common_lines(acquired.series).shifts_nm[order][use][:, 0]
    error = found.shifts_nm[use][:, 0] - plain
    np.testing.assert_allclose(error - error.mean(), 0.0, atol=0.05)


def test_shifts_across_the_axis_are_those_of_the_start():
    acquired = taken(ellipsoids(), shift_nm=3.0)
    start = replace(acquired.alignment, shifts_nm=acquired.alignment.shifts_nm + np.array([5.0, 0.0]))
    found = align.common_lines(acquired.series, alignment=start)
    # the axis is found within 0.1 deg, which turns shifts of 5 px by 0.01 px
    np.testing.assert_allclose(found.shifts_nm[:, 1], acquired.alignment.shifts_nm[:, 1], atol=0.02)
    np.testing.assert_allclose(found.shifts_nm[:, 0].mean(), start.shifts_nm[:, 0].mean(), atol=0.02)


def test_the_directions_tried_are_evidence():
    acquired = taken(ellipsoids(), tilt_axis_deg=25.0, off_deg=-25.0)
    table = align.common_lines(acquired.series).evidence["tilt_axis"]
    assert list(table.columns) == ["tilt_axis_deg", "error"]
    assert np.ptp(table["tilt_axis_deg"]) >= 176.0
    best = table["tilt_axis_deg"][table["error"].idxmin()]
    assert best == pytest.approx(25.0, abs=0.3)


# Parts


def test_noise_beside_the_border_is_no_specimen():
    for specimen, shape, is_cut in ((ellipsoids(), (48, 48), False), (film(), (96, 96), True)):
        for noise_fraction in (0.0, 0.3):
            series = taken(specimen, shape=shape, noise_fraction=noise_fraction).series
            assert is_truncated(working_copy(series, max_pixels=64).images) is is_cut


@pytest.mark.parametrize("direction_deg", [0.0, 90.0, 37.0, -120.0])
def test_a_line_is_the_transform_of_the_projection(direction_deg):
    image = np.random.default_rng(0).random((1, 9, 12)).astype(np.float32)
    frequency = common_line.frequencies((9, 12))
    y, x = (geometry.coordinates(n) for n in (9, 12))
    a = np.deg2rad(direction_deg)  # counter-clockwise from +y: (y, x) = (cos a, -sin a)
    along = y[:, None] * np.cos(a) - x[None, :] * np.sin(a)
    expected = [(image[0] * np.exp(-2j * np.pi * k * along)).sum() for k in frequency]
    np.testing.assert_allclose(common_line.lines(image, direction_deg, frequency)[0], expected, atol=1e-4)


def test_the_same_lines_agree_and_noise_does_not():
    rng = np.random.default_rng(1)
    frequency = common_line.frequencies((200, 200))
    line = rng.normal(size=len(frequency)) + 1j * rng.normal(size=len(frequency))
    moves, levels = rng.uniform(-60, 60, 30), rng.uniform(0.5, 2.0, 30)
    lines = line * np.exp(2j * np.pi * np.outer(moves, frequency)) * levels[:, None]
    spectra = common_line.Spectra(
        frequency, levels, np.full(len(frequency), np.mean(np.abs(line) ** 2)), 0.0, 200
    )
    same = common_line.agreement(lines, spectra, robust=True)
    np.testing.assert_allclose(same.shifts, moves - moves.mean(), atol=0.01)
    assert same.score() == pytest.approx(np.log(1000.0), abs=0.05)  # a thousandth is as good as nothing
    np.testing.assert_array_equal(same.pairs_agreeing, 1.0)
    # noise of four times the power: total over rest is 5 / 4
    white = 4.0 * np.mean(np.abs(line) ** 2)
    noise = np.sqrt(0.5 * white) * rng.normal(size=(2, 30, len(frequency)))
    noisy = lines / levels[:, None] + noise[0] + 1j * noise[1]
    spectra = replace(spectra, brightness=np.ones(30), white=white)
    found = common_line.agreement(noisy, spectra, robust=True)
    assert found.score() == pytest.approx(np.log(1.25), abs=0.08)
    assert found.pairs_agreeing.mean() > 0.3
    # noise alone: shifts are chosen for it to agree, one of 78 frequencies
    found = common_line.agreement(noise[0] + 1j * noise[1], spectra, robust=True)
    assert found.score() < 0.08
    assert found.pairs_agreeing.mean() < 0.3
