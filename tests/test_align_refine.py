"""Refinement: halves of the views against each other, their steps, and the chain as a whole."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks.misaligned import catalyst, errors_px, textured_slab
from tomo3d import TiltSeries, align, geometry
from tomo3d.align import _marker_free
from tomo3d.align._linearised import Step
from tomo3d.align._matching_level import Level, State, level_sizes
from tomo3d.align._matching_passes import _turned_on, explained, refine_level
from tomo3d.align._projection_matching import _names_at
from tomo3d.phantoms import Ball, Body, Ellipsoid, Microscope, Specimen, acquire, asymmetric

TILTS = np.arange(-60.0, 61.0, 5.0)
ORBIT = np.column_stack((np.cos(np.deg2rad(TILTS)), np.sin(np.deg2rad(TILTS))))
SPECIMEN = Specimen(
    [
        Body(Ball(radius_nm=9.0, centre_nm=(4.0, -8.0, -5.0)), "grain"),
        Body(Ellipsoid(semi_axes_nm=(4.0, 6.0, 5.0), centre_nm=(-8.0, 9.0, 8.0)), "grain"),
        Body(Ball(radius_nm=3.0, centre_nm=(-7.0, -10.0, 12.0), density=2.0), "bead"),
    ],
    (40.0, 40.0, 40.0),
)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def error_px(found, truth, tilts):
    """(along, across), r.m.s., without what images cannot tell or hardly tell.

    That is the place of the specimen and the offset of the axis: over 120 deg a specimen elsewhere imitates it.
    """
    error = found.shifts_nm - truth.shifts_nm
    t = np.deg2rad(tilts)
    modes = np.column_stack((np.ones(len(t)), np.cos(t), np.sin(t)))
    across = error[:, 1] - modes @ np.linalg.lstsq(modes, error[:, 1], rcond=None)[0]
    return rms(error[:, 0] - error[:, 0].mean()), rms(across)


@pytest.fixture(scope="module")
def perturbed():
    """(series, truth, the truth with random errors of 1 px): clean."""
    acquired = acquire(
        SPECIMEN, tilt_angles_deg=TILTS, image_shape=(56, 56), microscope=Microscope(shift_nm=3.0), seed=3
    )
    noise = np.random.default_rng(8).normal(0.0, 1.0, (len(TILTS), 2))
    start = replace(acquired.alignment, shifts_nm=acquired.alignment.shifts_nm + noise)
    return acquired.series, acquired.alignment, start


@pytest.fixture(scope="module")
def matched(perturbed):
    series, _, start = perturbed
    return align.projection_matching(series, alignment=start, thickness_nm=40.0)


def test_projection_matching_takes_out_random_errors(perturbed, matched):
    _, truth, start = perturbed
    assert min(error_px(start, truth, TILTS)) > 0.8
    along, across = error_px(matched, truth, TILTS)
    assert along < 0.03
    assert across < 0.03
    assert abs(matched.tilt_axis_deg[0]) < 0.1
    assert matched.reliable[1:-1].all()  # the outermost two are extrapolated, and may be distrusted


def test_the_evidence_of_projection_matching(matched):
    views = matched.evidence["projection_matching"]
    assert list(views.columns) == [
        "view", "tilt_angle_deg", "view_error", "residual_y_nm", "residual_x_nm", "sigma_y_nm", "sigma_x_nm"
    ]  # fmt: skip
    np.testing.assert_array_equal(views["view"], np.arange(len(TILTS)))
    np.testing.assert_array_equal(views["tilt_angle_deg"], TILTS)
    squares = (views["residual_y_nm"] ** 2 + views["residual_x_nm"] ** 2).mean()
    assert matched.residual_nm == pytest.approx(np.sqrt(squares))
    passes = matched.evidence["convergence"]
    assert list(passes.columns) == [
        "pixel_size_nm", "n_iterations", "has_support", "error", "move_px", "tilt_axis_deg"
    ]  # fmt: skip
    assert passes["error"].min() < 0.6 * passes["error"][0]
    assert passes["move_px"].iloc[-1] < 0.3 * passes["move_px"][0]


def test_excluded_views_are_left_out_and_keep_unreliable_rows(perturbed, matched):
    series, truth, start = perturbed
    use = np.ones(len(TILTS), dtype=bool)
    use[[6, 17]] = False
    images = series.images.copy()
    images[~use] = np.nan
    found = align.projection_matching(
        replace(series, images=images, use=use), alignment=start, thickness_nm=40.0
    )
    assert found.n_tilts == len(TILTS)
    np.testing.assert_array_equal(found.reliable[1:-1], use[1:-1])
    np.testing.assert_array_equal(found.evidence["projection_matching"]["view"], np.flatnonzero(use))
    kept = [_rows(each, use) for each in (found, truth)]
    assert max(error_px(*kept, TILTS[use])) < 0.25


def _rows(alignment, use):
    names = ("tilt_axis_deg", "tilt_angles_deg", "magnification", "reliable")
    return replace(
        alignment,
        shifts_nm=alignment.shifts_nm[use],
        **{name: getattr(alignment, name)[use] for name in names},
    )


def test_a_side_of_a_working_copy_has_at_least_32_pixels(perturbed):
    with pytest.raises(ValueError, match="max_pixels must be at least 32, got 31"):
        align.projection_matching(perturbed[0], max_pixels=31)


def test_views_of_nothing_are_not_trusted(caplog):
    noise = np.random.default_rng(2).normal(size=(13, 40, 40)).astype(np.float32)
    series = TiltSeries(noise, np.linspace(-60.0, 60.0, 13), pixel_size_nm=1.0)
    found = align.projection_matching(series, alignment=geometry.nominal_alignment(series))
    assert not found.reliable.any()
    assert "the views do not predict one another" in caplog.text


@pytest.mark.parametrize(
    ("images", "angles", "sentence"),
    [
        (
            np.ones((13, 40, 1)) * np.arange(40.0),
            np.linspace(-60, 60, 13),
            "views must differ from one another, got 13",
        ),
        (
            np.arange(13 * 1600.0).reshape(13, 40, 40),
            np.linspace(-120, 120, 13),
            "from -90 to 90 deg, got -120 deg in view 0",
        ),
        (
            np.zeros((13, 40, 40)),
            np.linspace(-60, 60, 13),
            "every view in use must show something, got view 0",
        ),
    ],
)
def test_what_cannot_be_aligned(images, angles, sentence):
    with pytest.raises(ValueError, match=sentence):
        align.marker_free(TiltSeries(images, angles, pixel_size_nm=1.0))


def test_levels_double_up_to_the_largest_size():
    assert level_sizes(1024, 256) == [64, 128, 256]
    assert level_sizes(300, 256) == [75, 150]
    assert level_sizes(56, 256) == [56]
    assert level_sizes(4096, 512) == [64, 128, 256, 512]


def test_names_that_cannot_be_solved_for(perturbed):
    with pytest.raises(ValueError, match=r"solve must name some of shifts, tilt_axis.*, got 'shift'"):
        align.projection_matching(perturbed[0], solve="shift")


def test_the_direction_of_the_axis_is_found_with_the_shifts(perturbed):
    series, truth, start = perturbed
    off = replace(start, tilt_axis_deg=np.full(len(TILTS), 2.0))
    found = align.projection_matching(series, alignment=off, thickness_nm=40.0)
    assert abs(found.tilt_axis_deg[0]) < 0.1
    assert max(error_px(found, truth, TILTS)) < 0.1
    kept = align.projection_matching(series, alignment=off, thickness_nm=40.0, solve="shifts")
    np.testing.assert_array_equal(kept.tilt_axis_deg, 2.0)


def test_tilt_angles_are_refined():
    rng = np.random.default_rng(12)
    wrong = rng.normal(0.0, 0.7, len(TILTS))
    acquired = acquire(
        SPECIMEN, tilt_angles_deg=TILTS + wrong, image_shape=(56, 56), microscope=Microscope(shift_nm=1.0)
    )
    series = replace(acquired.series, tilt_angles_deg=TILTS)
    start = replace(acquired.alignment, tilt_angles_deg=TILTS)
    found = align.projection_matching(series, alignment=start, thickness_nm=40.0, solve="shifts,tilt_angles")
    before, after = (angles - angles.mean() for angles in (wrong, TILTS + wrong - found.tilt_angles_deg))
    # a turn of the specimen as a whole is free, and so, nearly, is a stretch of it along the beam
    assert rms(_beyond_stretch(after)) < 0.35 * rms(_beyond_stretch(before))


def _beyond_stretch(error_deg):
    """Without a constant and sin 2t, the change of the angles when the specimen is stretched along the beam."""
    modes = np.column_stack((np.ones(len(TILTS)), np.sin(2.0 * np.deg2rad(TILTS))))
    return error_deg - modes @ np.linalg.lstsq(modes, error_deg, rcond=None)[0]


def test_a_view_that_shows_something_else_is_not_trusted(perturbed):
    series, truth, start = perturbed
    images = series.images.copy()
    images[9] = images[9, ::-1, ::-1]
    found = align.projection_matching(replace(series, images=images), alignment=start, thickness_nm=40.0)
    assert not found.reliable[9]
    others = np.arange(len(TILTS)) != 9
    kept = [_rows(each, others) for each in (found, truth)]
    assert max(error_px(*kept, TILTS[others])) < 0.15


def test_a_level_does_not_inherit_the_damping_of_the_one_before(perturbed):
    series, _, start = perturbed
    state = State(start, 40.0, choice=(8, 0.0), damping=10.0)
    refine_level(Level.of(series, 28, state), state, ("shifts",), 1)
    assert len(state.passes) == 1


# What fills the field, and how well an alignment is known


@pytest.mark.parametrize("share", [0.6, -0.8, 0.3, 0.99])
def test_turns_that_shrink_by_a_share_are_carried_to_where_they_lead(share):
    zero = np.zeros(3)
    step = Step(np.ones((3, 2)), 0.02 * share, zero, zero, zero)
    first, kept = _turned_on(step, 0.0)
    assert first.tilt_axis == kept == 0.02 * share  # nothing to compare with
    turned, kept = _turned_on(step, 0.02)
    # the turn after one of 0.02, and all that follow: a geometric series; others tell of something else
    whole = 0.02 * sum(share**k for k in range(1, 400)) if share == 0.6 else 0.02 * share
    assert turned.tilt_axis == pytest.approx(whole)
    assert kept == (0.0 if share == 0.6 else step.tilt_axis)
    np.testing.assert_array_equal(turned.shifts_px, step.shifts_px)


def test_only_what_goes_on_beside_the_field_is_explained_without_a_negative_part(perturbed):
    series, _, start = perturbed
    for is_filled in (False, True):
        state = State(start, 40.0, is_filled=is_filled, choice=(8, 0.0))
        level = Level.of(series, 28, state)
        found = explained(level, state, level.aligned(state)[1], norm=3.0)
        assert (found.is_positive, found.n_iterations, found.norm) == (is_filled, 8, 3.0)


def test_the_axis_is_left_to_the_finest_level_where_the_specimen_goes_on(perturbed):
    state = State(perturbed[2], None, is_filled=True)
    names = ("shifts", "tilt_axis")
    assert _names_at(names, state, is_finest=False) == ("shifts",)
    assert _names_at(names, state, is_finest=True) == names
    assert _names_at(("tilt_axis",), state, is_finest=False) == ("tilt_axis",)
    state.is_filled = False
    assert _names_at(names, state, is_finest=False) == names


@pytest.fixture(scope="module")
def slabs():
    """(acquired, found) of noisy slabs that go on beside the field, from shifts 1 px off."""
    found = []
    for seed in range(3):
        acquired = textured_slab(seed, n_pixels=96, n_views=21, variance_ratio=0.5)
        noise = np.random.default_rng(seed).normal(0.0, 1.0, (21, 2))
        start = replace(acquired.alignment, shifts_nm=acquired.alignment.shifts_nm + noise)
        found.append(
            (acquired, align.projection_matching(acquired.series, alignment=start, thickness_nm=50.0))
        )
    return found


@pytest.mark.slow
def test_a_slab_that_goes_on_beside_the_field_is_aligned(slabs):
    for acquired, found in slabs:
        tilts = acquired.series.tilt_angles_deg
        assert max(error_px(found, acquired.alignment, tilts)) < 0.2


@pytest.mark.slow
def test_standard_errors_hold_the_truth(slabs):
    held = []
    for acquired, found in slabs:
        table = found.evidence["projection_matching"]
        errors = errors_px(found, acquired)
        for error, name in zip(errors, ("sigma_x_nm", "sigma_y_nm"), strict=True):
            held.append(np.abs(error) <= 1.645 * table[name].to_numpy())
    # 90 % are meant; 126 shifts, whose errors go together over neighbouring tilts, say it within some 10 %
    assert 0.75 <= np.mean(held) <= 0.99


# The chain


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("noise_fraction", "tolerance_px"), [(0.0, 0.2), (0.3, 0.5)])
def test_marker_free_is_as_accurate_as_it_claims(seed, noise_fraction, tolerance_px):
    microscope = Microscope(
        shift_nm=3.0, tilt_axis_deg=5.0, axis_error_deg=3.0, tilt_step_deg=3.0, noise_fraction=noise_fraction
    )
    acquired = acquire(asymmetric(size_nm=48.0), image_shape=(56, 56), microscope=microscope, seed=seed)
    found = align.marker_free(acquired.series, thickness_nm=48.0)
    turned_deg = float(geometry.axis_difference_deg(float(found.tilt_axis_deg[0]), 5.0))
    assert abs(turned_deg) < (1.0 if noise_fraction == 0 else 9.0)
    along, across = error_px(found, acquired.alignment, acquired.series.tilt_angles_deg)
    assert along < tolerance_px
    assert across < tolerance_px
    assert list(found.evidence) == [
        "candidates", "tilt_axis", "common_lines", "projection_matching", "convergence", "uncertainty"
    ]  # fmt: skip
    assert list(found.evidence["candidates"].columns) == ["candidate", "error"]
    assert list(found.evidence["tilt_axis"].columns) == ["tilt_axis_deg", "error"]


@pytest.mark.slow
@pytest.mark.parametrize(("noise_fraction", "across_px", "along_px"), [(0.0, 0.10, 0.03), (0.3, 0.5, 0.3)])
def test_marker_free_aligns_a_catalyst_layer(noise_fraction, across_px, along_px):
    acquired = catalyst("none", noise_fraction, 0)
    along, across = error_px(
        align.marker_free(acquired.series), acquired.alignment, acquired.series.tilt_angles_deg
    )
    assert across <= across_px * acquired.series.pixel_size_nm
    assert along <= along_px * acquired.series.pixel_size_nm


@pytest.mark.slow
@pytest.mark.parametrize("is_cut", [True, False])
def test_where_the_specimen_goes_on_beside_the_field_the_axis_stays_that_of_common_lines(monkeypatch, is_cut):
    """Without markers; refining, of which this is not a test, is left out."""
    solved = []

    def refined(series, *, alignment, solve, thickness_nm):
        solved.append(solve)
        return replace(alignment, evidence={"uncertainty": None})

    monkeypatch.setattr(_marker_free, "projection_matching", refined)
    acquired = catalyst("truncated" if is_cut else "none", 0.0, 1, n_pixels=48)
    found = align.marker_free(acquired.series)
    if not is_cut:
        assert solved == ["shifts, tilt_axis"]
        return
    assert solved == ["shifts"]
    axis = found.evidence["uncertainty"].iloc[0]
    assert axis["low"] < acquired.alignment.tilt_axis_deg[0] < axis["high"]
    assert axis["high"] - axis["low"] <= 4.0


@pytest.mark.slow
def test_marker_free_excludes_what_is_excluded():
    acquired = acquire(
        SPECIMEN, tilt_angles_deg=TILTS, image_shape=(56, 56), microscope=Microscope(shift_nm=3.0)
    )
    use = np.ones(len(TILTS), dtype=bool)
    use[[0, 11]] = False
    images = acquired.series.images.copy()
    images[~use] = np.nan
    found = align.marker_free(replace(acquired.series, images=images, use=use))
    assert found.n_tilts == len(TILTS)
    np.testing.assert_array_equal(found.reliable[~use], False)
    kept = [_rows(each, use) for each in (found, acquired.alignment)]
    assert max(error_px(*kept, TILTS[use])) < 0.25
