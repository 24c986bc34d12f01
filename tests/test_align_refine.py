"""Refinement: halves of the views against each other, their steps, and the chain as a whole."""

from dataclasses import replace

import numpy as np
import pytest

from tomo3d import align, geometry
from tomo3d.align._projection_matching import accelerated, free_step
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
    assert along < 0.2
    assert across < 0.2
    np.testing.assert_array_equal(matched.tilt_axis_deg, start.tilt_axis_deg)
    assert matched.reliable[1:-1].all()  # the outermost two are extrapolated, and may be distrusted


def test_the_evidence_of_projection_matching(matched):
    views = matched.evidence["projection_matching"]
    assert list(views.columns) == [
        "view", "tilt_angle_deg", "peak", "view_error", "residual_y_nm", "residual_x_nm"
    ]  # fmt: skip
    np.testing.assert_array_equal(views["view"], np.arange(len(TILTS)))
    np.testing.assert_array_equal(views["tilt_angle_deg"], TILTS)
    assert views["peak"].between(0.8, 1.0 + 1e-6).all()
    squares = (views["residual_y_nm"] ** 2 + views["residual_x_nm"] ** 2).mean()
    assert matched.residual_nm == pytest.approx(np.sqrt(squares))
    passes = matched.evidence["convergence"]
    assert list(passes.columns) == ["pixel_size_nm", "n_iterations", "error", "move_px"]
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


# Steps of the halves, in closed form


def halves():
    order = np.argsort(TILTS)
    return order[::2], order[1::2]


def test_what_a_half_asks_for_as_one_body_is_halved_not_exchanged():
    even, odd = halves()
    shifts = np.zeros((len(TILTS), 2))
    shifts[even] = (2.0, 0.6)
    shifts[odd] = (-2.0, -0.6)
    # each half sees the other where it should be itself: half of it for each, and they meet
    np.testing.assert_allclose(free_step(shifts, TILTS), 0.5 * shifts, atol=1e-12)
    orbit = ORBIT @ (1.5, -0.7)
    shifts[even, 1], shifts[odd, 1] = orbit[even], -orbit[odd]
    np.testing.assert_allclose(free_step(shifts, TILTS), 0.5 * shifts, atol=1e-12)


def test_the_place_of_the_specimen_is_free_and_the_offset_of_the_axis_is_kept():
    shifts = np.column_stack((np.full(len(TILTS), 1.3), ORBIT @ (0.4, 2.0)))
    np.testing.assert_allclose(free_step(shifts, TILTS), 0.0, atol=1e-12)
    shifts = np.column_stack((np.zeros(len(TILTS)), np.full(len(TILTS), 1.3)))
    np.testing.assert_allclose(free_step(shifts, TILTS), shifts, atol=1e-12)


def test_what_single_views_ask_for_is_done_in_full():
    rng = np.random.default_rng(4)
    shifts = rng.normal(size=(len(TILTS), 2))
    for half in halves():
        modes = np.column_stack((np.ones(len(half)), ORBIT[half]))
        shifts[half, 1] -= modes @ np.linalg.lstsq(modes, shifts[half, 1], rcond=None)[0]
        shifts[half, 0] -= shifts[half, 0].mean()
    untouched = shifts.copy()
    np.testing.assert_allclose(free_step(shifts, TILTS), shifts, atol=1e-12)
    np.testing.assert_array_equal(shifts, untouched)


def test_steps_do_not_depend_on_the_order_of_the_views():
    rng = np.random.default_rng(5)
    shifts = rng.normal(size=(len(TILTS), 2))
    order = rng.permutation(len(TILTS))
    np.testing.assert_allclose(
        free_step(shifts[order], TILTS[order]), free_step(shifts, TILTS)[order], atol=1e-12
    )


def contraction():
    """f(x) = A x + b - x of a symmetric A with eigenvalues 0.2 to 0.95, and the fixed point."""
    rng = np.random.default_rng(6)
    vectors, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    matrix = vectors @ np.diag(np.linspace(0.2, 0.95, 8)) @ vectors.T
    b = rng.normal(size=8)
    solution = np.linalg.solve(np.eye(8) - matrix, b)
    return (lambda x: ((matrix @ x.ravel() + b) - x.ravel()).reshape(4, 2)), solution.reshape(4, 2)


def test_mixing_solves_a_linear_contraction_sooner_than_plain_iteration():
    step_of, solution = contraction()
    plain, mixed, history = np.zeros((4, 2)), np.zeros((4, 2)), []
    for _ in range(12):
        plain = plain + step_of(plain)
        history.append((mixed, step_of(mixed)))
        mixed = accelerated(history[-10:], limit=1e9)
    # 0.95^12 = 0.54 of the slowest error is left; mixing forms the Krylov space of 8 unknowns, as far as
    # directions below 1e-3 of the largest are not left out as noise
    assert rms(plain - solution) > 0.3 * rms(solution)
    assert rms(mixed - solution) < 0.01 * rms(plain - solution)


def test_no_value_moves_beyond_the_limit():
    step_of, _ = contraction()
    x, history = np.zeros((4, 2)), []
    for _ in range(6):
        history.append((x, step_of(x)))
        x = accelerated(history, limit=0.05)
        assert np.abs(x - history[-1][0]).max() <= 0.05 + 1e-12


def test_the_first_point_is_that_of_plain_iteration():
    step_of, _ = contraction()
    x = np.ones((4, 2))
    np.testing.assert_allclose(accelerated([(x, step_of(x))], limit=1e9), x + step_of(x))


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
    assert list(found.evidence) == ["candidates", "tilt_axis", "projection_matching", "convergence"]
    assert list(found.evidence["candidates"].columns) == ["candidate", "error"]
    assert list(found.evidence["tilt_axis"].columns) == ["tilt_axis_deg", "error"]


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
