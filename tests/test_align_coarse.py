"""Coarse alignment: centre of mass, correlation of neighbours, direction of the axis."""

from dataclasses import replace

import numpy as np
import pytest

from tomo3d import TiltSeries, align, geometry
from tomo3d.phantoms import Ball, Body, Ellipsoid, Microscope, Slab, Specimen, acquire

TILTS = np.arange(-60.0, 61.0, 5.0)
FUNCTIONS = [align.center_of_mass, align.common_lines, align.cross_correlation, align.tilt_axis]


def specimen(mirrored=False):
    """Compact, and like none of its mirror images; mirrored across x if asked."""
    sign = -1.0 if mirrored else 1.0
    return Specimen(
        [
            Body(Ball(radius_nm=9.0, centre_nm=(4.0, -8.0, -5.0 * sign)), "grain"),
            Body(Ellipsoid(semi_axes_nm=(4.0, 6.0, 5.0), centre_nm=(-8.0, 9.0, 8.0 * sign)), "grain"),
            Body(Ball(radius_nm=3.0, centre_nm=(-7.0, -10.0, 12.0 * sign), density=2.0), "bead"),
        ],
        (40.0, 40.0, 40.0),
    )


def taken(seed=1, *, shape=(64, 64), **microscope):
    return acquire(
        specimen(), tilt_angles_deg=TILTS, image_shape=shape, microscope=Microscope(**microscope), seed=seed
    )


def moved_views(views_nm, shape=(96, 96)):
    """The specimen with views (n, 2) of which each is moved by what is said, exactly: by whole pixels."""
    series = taken(shape=shape).series
    images = np.stack(
        [
            np.roll(image, step, axis=(0, 1))
            for image, step in zip(series.images, np.asarray(views_nm), strict=True)
        ]
    )
    images.flags.writeable = False
    return replace(series, images=images)


def beyond(error, *modes):
    """What is left of an error (n,) when the modes are fitted."""
    model = np.column_stack(modes)
    return error - model @ np.linalg.lstsq(model, error, rcond=None)[0]


def orbit_modes():
    tilt = np.deg2rad(TILTS)
    return np.cos(tilt), np.sin(tilt)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


# Centre of mass


def test_the_centre_of_mass_finds_shifts_across_the_axis():
    acquired = taken(shift_nm=4.0)
    truth = acquired.alignment.shifts_nm
    start = replace(acquired.alignment, shifts_nm=truth * (1.0, 0.0))
    found = align.center_of_mass(acquired.series, alignment=start)
    # up to where the specimen is: its position moves every view along cos t and sin t
    assert rms(beyond((found.shifts_nm - truth)[:, 1], *orbit_modes())) < 0.1
    np.testing.assert_array_equal(found.shifts_nm[:, 0], truth[:, 0])  # along the axis those of the start


def test_the_centre_of_mass_finds_the_offset_of_the_axis():
    steps = np.tile([0, 7], (len(TILTS), 1))
    a = align.center_of_mass(moved_views(np.zeros_like(steps))).shifts_nm[:, 1]
    b = align.center_of_mass(moved_views(steps)).shifts_nm[:, 1]
    # a specimen elsewhere takes up most of an offset over 120 deg, but not all of it
    assert rms(beyond(b - a, *orbit_modes())) > 0.9
    assert rms(beyond(b - a + 7.0, *orbit_modes())) < 0.05


def test_the_centre_of_mass_bears_background_and_jumps_of_40_pixels():
    steps = np.zeros((len(TILTS), 2), dtype=int)
    steps[3, 1], steps[11, 1], steps[20, 1] = -30, 40, -35
    series = moved_views(steps, (64, 128))
    clean = align.center_of_mass(moved_views(np.zeros_like(steps), (64, 128))).shifts_nm[:, 1]
    background = np.linspace(50.0, 90.0, len(TILTS), dtype=np.float32)[:, None, None]
    with_background = replace(series, images=series.images + background)
    # least absolute values: views that jump hardly pull at the orbit of the others. A tenth of a pixel is enough
    for each in (series, with_background):
        found = align.center_of_mass(each).shifts_nm[:, 1]
        assert rms(found - (clean - steps[:, 1])) < 0.1


def test_the_evidence_of_the_centre_of_mass():
    use = np.ones(len(TILTS), dtype=bool)
    use[4] = False
    found = align.center_of_mass(replace(taken().series, use=use))
    table = found.evidence["center_of_mass"]
    assert list(table.columns) == ["view", "tilt_angle_deg", "residual_nm", "n_slabs"]
    np.testing.assert_array_equal(table["view"], np.flatnonzero(use))
    np.testing.assert_array_equal(table["tilt_angle_deg"], TILTS[use])
    assert found.residual_nm == pytest.approx(rms(table["residual_nm"]))
    slabs = found.evidence["center_of_mass_slabs"]
    assert slabs["n_views"].sum() == table["n_slabs"].sum()
    np.testing.assert_allclose(slabs["y_low_nm"][1:], slabs["y_high_nm"][:-1])  # side by side


def plain_centre_of_mass(series):
    """Shifts across the axis from the centre of all that is bright, as a reference."""
    u = geometry.coordinates(series.images.shape[2])
    centre = series.images.sum(axis=1) @ u / series.images.sum(axis=(1, 2))
    return -beyond(centre, *orbit_modes())


def errors_across(acquired, *, plain=False):
    """R.m.s. error with the true shifts along the axis given, and what was found."""
    truth = acquired.alignment.shifts_nm
    start = replace(acquired.alignment, shifts_nm=truth * (1.0, 0.0))
    if plain:
        return rms(
            beyond(plain_centre_of_mass(acquired.series) - truth[:, 1], np.ones(len(TILTS)), *orbit_modes())
        )
    found = align.center_of_mass(acquired.series, alignment=start)
    return rms(beyond((found.shifts_nm - truth)[:, 1], *orbit_modes())), found


def ellipsoids(*more):
    """Three, one after the other along the axis, and others."""
    centres = (4.0, -34.0, -6.0), (-7.0, -8.0, 5.0), (2.0, 14.0, 8.0)
    semi_axes = (9.0, 12.0, 11.0), (11.0, 10.0, 8.0), (8.0, 11.0, 12.0)
    solids = [Ellipsoid(semi_axes_nm=s, centre_nm=c) for s, c in zip(semi_axes, centres, strict=True)]
    return Specimen([Body(each, "grain") for each in (*solids, *more)], (60.0, 120.0, 80.0))


@pytest.mark.parametrize("shape", [(120, 80), (121, 77)])
def test_slabs_that_the_border_cuts_are_left_out(shape):
    """A long body lies across the field: the border cuts it in every view, so the plain centre of mass is far off."""
    specimen = ellipsoids(Ellipsoid(semi_axes_nm=(9.0, 12.0, 60.0), centre_nm=(0.0, 40.0, 12.0), density=2.0))
    acquired = acquire(
        specimen, tilt_angles_deg=TILTS, image_shape=shape, microscope=Microscope(shift_nm=3.0), seed=4
    )
    error, found = errors_across(acquired)
    assert error < 0.1
    assert errors_across(acquired, plain=True) > 0.5
    assert found.reliable.all()
    slabs = found.evidence["center_of_mass_slabs"]
    is_cut = slabs["y_low_nm"] > 30.0
    assert 2 <= is_cut.sum() <= 5
    assert (slabs["n_views"][is_cut] == 0).all()
    assert (slabs["n_views_cut"][is_cut] > 20).all()
    # all of the others but one, between two bodies, where there is next to nothing
    assert (slabs["n_views"][slabs["y_high_nm"] < 27.0] > 15).sum() >= 6


def test_what_comes_into_the_field_at_high_tilts_is_left_out():
    specimen = ellipsoids(
        Ball(radius_nm=9.0, centre_nm=(-6.0, 20.0, 60.0), density=1.5)
    )  # 30 nm off at 60 deg, 60 nm at none
    acquired = acquire(
        specimen, tilt_angles_deg=TILTS, image_shape=(100, 80), microscope=Microscope(shift_nm=3.0), seed=4
    )
    error, found = errors_across(acquired)
    assert error < 0.1
    assert errors_across(acquired, plain=True) > 0.5
    assert found.reliable.all()
    table = found.evidence["center_of_mass"]
    low, high = (table["n_slabs"][part].mean() for part in (np.abs(TILTS) < 20, np.abs(TILTS) > 50))
    assert high < low  # it is inside at the highest tilts, and its slabs are not used there
    slabs = found.evidence["center_of_mass_slabs"]
    assert slabs["n_views_mass"].iloc[-1] > 0
    assert (slabs["n_views"][slabs["y_high_nm"] < 5.0] > 15).sum() >= 6


def test_one_shift_moves_all_slabs_of_a_view_even_if_the_axis_is_off():
    acquired = acquire(
        ellipsoids(),
        tilt_angles_deg=TILTS,
        image_shape=(100, 80),
        microscope=Microscope(shift_nm=3.0, axis_error_deg=4.0),
        seed=4,
    )
    truth = acquired.alignment.shifts_nm
    start = geometry.nominal_alignment(acquired.series)
    turn = geometry.rotation_yx(-4.0)
    found = align.center_of_mass(
        acquired.series, alignment=replace(start, shifts_nm=(truth @ turn.T) * (1.0, 0.0))
    )
    # an axis that is off moves slabs by constants, 60 nm tan 4 deg = 4 nm from end to end, but no view
    assert rms(beyond((found.shifts_nm - truth @ turn.T)[:, 1], np.ones(len(TILTS)), *orbit_modes())) < 0.1


def test_a_film_that_fills_the_field_has_no_centre_of_mass(caplog):
    rng = np.random.default_rng(3)
    places = rng.uniform(-1.0, 1.0, (90, 3)) * (4.0, 30.0, 60.0)
    film = Specimen(
        [Body(Ball(radius_nm=4.0, centre_nm=tuple(c)), "grain") for c in places], (20.0, 60.0, 60.0)
    )
    found = align.center_of_mass(acquire(film, tilt_angles_deg=TILTS, image_shape=(60, 60)).series)
    assert not found.reliable.any()
    assert "not to be trusted in any view" in caplog.text


# Correlation of neighbours


def test_jumps_of_up_to_half_the_image_are_found():
    steps = np.zeros((len(TILTS), 2), dtype=int)
    steps[5] = (25, -28)
    steps[12] = (-20, 24)  # the lowest tilt, from which all others are counted
    steps[18] = (0, 30)
    clean = align.cross_correlation(moved_views(np.zeros_like(steps))).shifts_nm
    found = align.cross_correlation(moved_views(steps)).shifts_nm
    expected = clean - steps + steps[12]
    # the taper of the edge cuts into a view that moved by a third of its width, and so do errors of later views
    np.testing.assert_allclose(found, expected, atol=1.0)


@pytest.mark.parametrize("axis_deg", [30.0, 90.0])
def test_shifts_act_after_the_turn_to_the_nominal_axis(axis_deg):
    steps = np.random.default_rng(7).integers(-6, 7, (len(TILTS), 2))
    steps[12] = 0  # the lowest tilt, from which all others are counted
    turn = {"tilt_axis_deg": axis_deg}
    clean = align.cross_correlation(replace(moved_views(np.zeros_like(steps)), **turn)).shifts_nm
    found = align.cross_correlation(replace(moved_views(steps), **turn)).shifts_nm
    # a move (y, x) of a raw view, turned clockwise with y up, and back
    a = np.deg2rad(axis_deg)
    y, x = steps.T
    turned = np.column_stack((y * np.cos(a) - x * np.sin(a), x * np.cos(a) + y * np.sin(a)))
    np.testing.assert_allclose(found - clean, -turned, atol=0.5)


def test_correlation_finds_shifts_along_the_axis():
    acquired = taken(shift_nm=4.0)
    found = align.cross_correlation(acquired.series)
    error = (found.shifts_nm - acquired.alignment.shifts_nm)[:, 0]
    # neighbours 5 deg apart are not the same image: errors add up to a good part of a pixel
    assert rms(error - error.mean()) < 0.7
    assert list(found.evidence["cross_correlation"].columns) == ["view", "tilt_angle_deg", "peak"]
    assert found.evidence["cross_correlation"]["peak"].between(0.5, 1.0 + 1e-6).all()
    assert found.reliable.all()


@pytest.mark.parametrize("function", [align.cross_correlation, align.center_of_mass])
def test_the_order_of_the_views_does_not_matter(function):
    series = taken(shift_nm=3.0, tilt_axis_deg=10.0).series
    order = np.random.default_rng(0).permutation(len(TILTS))
    shuffled = replace(series, images=series.images[order], tilt_angles_deg=TILTS[order])
    a, b = function(series), function(shuffled)
    np.testing.assert_allclose(b.shifts_nm, a.shifts_nm[order], atol=1e-6)
    np.testing.assert_array_equal(b.tilt_angles_deg, TILTS[order])


@pytest.mark.parametrize("function", [align.cross_correlation, align.center_of_mass])
def test_an_excluded_view_changes_nothing_and_keeps_its_row(function):
    series = taken(shift_nm=3.0).series
    use = np.ones(len(TILTS), dtype=bool)
    use[[0, 9]] = False
    images = series.images.copy()
    images[~use] = np.nan
    found = function(replace(series, images=images, use=use))
    without = function(replace(series, images=series.images[use], tilt_angles_deg=TILTS[use]))
    assert found.n_tilts == len(TILTS)
    np.testing.assert_array_equal(found.shifts_nm[use], without.shifts_nm)
    np.testing.assert_array_equal(found.tilt_angles_deg, TILTS)
    np.testing.assert_array_equal(found.reliable[~use], False)
    assert found.shifts_nm[0].tolist() == found.shifts_nm[1].tolist()  # that of the nearest tilt


def test_stretching_helps_flat_specimens():
    beads = [
        ((0.0, y, x), 2.5)
        for y, x in ((-24, -45), (10, -30), (-12, 3), (22, 14), (-5, 32), (17, 48), (-20, 60))
    ]
    flat = Specimen(
        [Body(Slab(thickness_nm=2.0, extent_nm=(400.0, 400.0), density=0.2), "film")]
        + [Body(Ball(radius_nm=r, centre_nm=c, density=2.0), "bead") for c, r in beads],
        (10.0, 80.0, 140.0),
    )  # fmt: skip
    tilts = np.arange(-60.0, 61.0, 6.0)
    acquired = acquire(
        flat, tilt_angles_deg=tilts, image_shape=(64, 100), microscope=Microscope(shift_nm=3.0), seed=5
    )
    plain = align.cross_correlation(acquired.series)
    stretched = align.cross_correlation(acquired.series, alignment=plain)
    modes = np.cos(np.deg2rad(tilts)), np.sin(np.deg2rad(tilts))
    truth = acquired.alignment.shifts_nm
    errors = [rms(beyond((each.shifts_nm - truth)[:, 1], *modes)) for each in (plain, stretched)]
    assert errors[1] < 0.7 * errors[0]
    peaks = [a.evidence["cross_correlation"]["peak"].mean() for a in (plain, stretched)]
    assert peaks[1] > peaks[0]


# Invariants of both


@pytest.mark.parametrize(
    ("function", "scale", "offset"),
    [
        *[
            (f, *grey)
            for f in (align.cross_correlation, align.center_of_mass)
            for grey in ((1e-4, 0.0), (1e3, -3e4))
        ],
        (align.cross_correlation, -1.0, 0.0),  # bright or dark
    ],
)
def test_the_scale_of_grey_values_does_not_matter(function, scale, offset):
    series = taken(shift_nm=3.0).series
    other = replace(series, images=series.images * np.float32(scale) + np.float32(offset))
    # float32 at an offset of 30,000 keeps 2e-3 of a range of 20,000
    np.testing.assert_allclose(function(other).shifts_nm, function(series).shifts_nm, atol=2e-3)


@pytest.mark.parametrize("function", [align.cross_correlation, align.center_of_mass])
@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_views_have_mirrored_shifts(function, axis):
    steps = np.random.default_rng(2).integers(-3, 4, (len(TILTS), 2))
    if function is align.center_of_mass:
        steps[:, 0] = 0  # the slabs that it compares are cut along the axis
    series = moved_views(steps)
    mirrored = replace(series, images=np.flip(series.images, axis + 1))
    expected = function(series).shifts_nm * np.where(np.arange(2) == axis, -1.0, 1.0)
    # sums run the other way round, and slabs are cut from the other end
    np.testing.assert_allclose(function(mirrored).shifts_nm, expected, atol=0.05)


@pytest.mark.parametrize("function", [align.cross_correlation, align.center_of_mass])
def test_shifts_are_lengths(function):
    series = taken(shift_nm=3.0).series
    coarse = replace(series, pixel_size_nm=2.5)
    np.testing.assert_allclose(function(coarse).shifts_nm, 2.5 * function(series).shifts_nm, atol=1e-4)


# Direction of the axis


@pytest.mark.parametrize(
    ("true_deg", "nominal_deg"),
    [(77.0, 0.0), pytest.param(-40.0, 5.0, marks=pytest.mark.slow), pytest.param(8.0, 181.0, marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_axis_is_found_anywhere(true_deg, nominal_deg):
    acquired = acquire(
        specimen(),
        tilt_angles_deg=TILTS,
        image_shape=(56, 56),
        microscope=Microscope(shift_nm=2.0, tilt_axis_deg=true_deg, axis_error_deg=nominal_deg - true_deg),
        seed=1,
    )
    assert acquired.series.tilt_axis_deg == nominal_deg
    found = align.tilt_axis(acquired.series)
    axis_deg = float(found.tilt_axis_deg[0])
    np.testing.assert_array_equal(found.tilt_axis_deg, axis_deg)
    assert abs(axis_deg - nominal_deg) <= 90.0  # of two directions, the one nearer the nominal axis
    assert abs(float(geometry.axis_difference_deg(axis_deg, true_deg))) < 1.0
    table = found.evidence["tilt_axis"]
    assert list(table.columns) == ["tilt_axis_deg", "error"]
    assert np.ptp(table["tilt_axis_deg"]) >= 165.0  # all directions were tried
    assert (table["error"] > 0).all()


# Bad input


@pytest.mark.parametrize(("function", "n_least", "words"), [
    (align.center_of_mass, 3, "at least three views in use, got 2"),
    (align.cross_correlation, 3, "at least three views in use, got 2"),
    (align.common_lines, 6, "at least six views in use, got 5"),
    (align.tilt_axis, 6, "at least six views in use, got 5"),
    (align.marker_free, 6, "at least six views in use, got 5"),
    (align.projection_matching, 6, "at least six views in use, got 5"),
])  # fmt: skip
def test_a_few_views_are_too_few(function, n_least, words):
    use = np.arange(len(TILTS)) < n_least - 1
    with pytest.raises(ValueError, match=words):
        function(replace(taken().series, use=use))


@pytest.mark.parametrize(
    "function", [align.common_lines, align.tilt_axis, align.marker_free, align.projection_matching]
)
@pytest.mark.parametrize("angles", [np.zeros(len(TILTS)), np.deg2rad(TILTS)], ids=["equal", "radians"])
def test_tilts_that_span_too_little_are_refused(function, angles):
    with pytest.raises(ValueError, match="over at least 10 deg of tilt"):
        function(TiltSeries(taken().series.images, angles, 1.0))


@pytest.mark.parametrize("function", [*FUNCTIONS, align.projection_matching, align.marker_free])
@pytest.mark.parametrize("level", [0.0, 0.1, -1234.567])
def test_a_blank_view_is_named(function, level):
    images = taken().series.images.copy()
    images[7] = level
    use = np.arange(len(TILTS)) != 2  # views are counted as in the series
    series = TiltSeries(images, TILTS, 1.0, use=use)
    with pytest.raises(ValueError, match=r"got view 7 \(0-based\) blank: exclude it"):
        function(series)


@pytest.mark.parametrize("function", [*FUNCTIONS, align.projection_matching, align.marker_free])
def test_a_pixel_that_is_not_finite_is_named(function):
    images = taken().series.images.copy()
    images[7, 3, 3] = np.nan
    with pytest.raises(ValueError, match=r"got 1 NaN or infinite pixels in view 7 \(0-based\)"):
        function(TiltSeries(images, TILTS, 1.0))


@pytest.mark.parametrize("function", [*FUNCTIONS, align.projection_matching])
def test_an_alignment_of_another_series_is_refused(function):
    series = taken().series
    other = geometry.nominal_alignment(TiltSeries(np.ones((4, 8, 8)), TILTS[:4], 1.0))
    with pytest.raises(
        ValueError, match=r"one row per view of the series .25, excluded views too., got 4 rows"
    ):
        function(series, alignment=other)


def test_equal_views_stay_where_they_are():
    image = taken().series.images[12]
    series = TiltSeries(np.repeat(image[None], len(TILTS), axis=0), TILTS, 1.0)
    np.testing.assert_allclose(align.cross_correlation(series).shifts_nm, 0.0, atol=1e-6)
