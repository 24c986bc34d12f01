"""The linear model of the views is the derivative of what `apply` makes of them; a step solves for all at once."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage

from tomo3d import align, geometry
from tomo3d.align._linearised import Linearised, ScaledNormal, Step, _slope, solve_together
from tomo3d.align._matching_passes import support_of
from tomo3d.align._working import SMOOTHING
from tomo3d.compute.explained import Explanation
from tomo3d.compute.projector import Projector
from tomo3d.phantoms import Ball, Body, Ellipsoid, Microscope, Specimen, acquire

TILTS = np.linspace(-60.0, 60.0, 21)
SHAPE = (44, 52)
SPECIMEN = Specimen(
    [
        Body(Ball(radius_nm=8.0, centre_nm=(3.0, -6.0, -7.0)), "grain"),
        Body(Ellipsoid(semi_axes_nm=(5.0, 7.0, 6.0), centre_nm=(-5.0, 8.0, 9.0)), "grain"),
        Body(Ball(radius_nm=5.0, centre_nm=(-6.0, 6.0, -8.0), density=1.5), "bead"),
    ],
    (40.0, 40.0, 40.0),
)
ALL = ("shifts", "tilt_axis", "tilt_angles", "magnification")


def aligned(step=None):
    """Blurred views of the specimen (n_views, n_y, n_x) as the alignment after `step` would make them."""
    acquired = acquire(
        SPECIMEN,
        tilt_angles_deg=TILTS,
        image_shape=SHAPE,
        microscope=Microscope(blur_fwhm_nm=4.0),
    )
    if step is None:
        return acquired.series, acquired.alignment
    return acquired.series, step.applied(acquired.alignment, 1.0)


@pytest.fixture(scope="module")
def model():
    series, alignment = aligned()
    projector = Projector(TILTS, SHAPE[1], SHAPE[1], 40)
    images = projector.padded(np.asarray(align.apply(series, alignment).images))
    weights = projector.padded(np.ones((len(TILTS), *SHAPE), dtype=np.float32))
    explanation = Explanation(projector, weights, 40)
    _, volume = explanation.split(images)
    return series, alignment, Linearised(explanation, volume, ALL), images


def no_step(**changes):
    n = len(TILTS)
    zero = Step(np.zeros((n, 2)), 0.0, np.zeros(n), np.zeros(n), np.zeros(n))
    return replace(zero, **changes)


def parameters(linear, **changes):
    """The vector p of a step."""
    step, n = no_step(**changes), linear.n_views
    parts = {
        "shift_y": step.shifts_px[:, 0],
        "shift_x": step.shifts_px[:, 1],
        "tilt_angles": step.tilt_angles,
        "magnification": step.magnification,
        "offset": step.offsets,
    }
    p = np.zeros(len(linear.powers))
    for k, (name, _) in enumerate(linear.columns):
        p[k * n : (k + 1) * n] = parts[name]
    p[-1] = step.tilt_axis
    return p


RNG = np.random.default_rng(3)
CHANGES = {
    "shifts": {"shifts_px": RNG.normal(0.0, 0.2, (len(TILTS), 2))},
    "tilt_axis": {"tilt_axis": 0.01},
    "magnification": {"magnification": RNG.normal(0.0, 0.005, len(TILTS))},
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_change_is_what_apply_makes_of_it(model, name):
    series, alignment, linear, images = model
    after = no_step(**CHANGES[name]).applied(alignment, 1.0)
    projector = linear.explanation.projector
    changed = projector.padded(np.asarray(align.apply(series, after).images)) - images
    found = linear.change(parameters(linear, **CHANGES[name]))
    # the model moves the projections of a volume (5 % off the views here), to first order
    assert np.linalg.norm(found - changed) < 0.15 * np.linalg.norm(changed)


def test_views_change_with_their_tilt_angles_as_the_specimen_turns(model):
    _, _, linear, _ = model
    turn = np.deg2rad(0.5)
    explained = acquire(
        SPECIMEN, tilt_angles_deg=TILTS + 0.5, image_shape=SHAPE, microscope=Microscope(blur_fwhm_nm=4.0)
    ).series.images
    now = acquire(
        SPECIMEN, tilt_angles_deg=TILTS, image_shape=SHAPE, microscope=Microscope(blur_fwhm_nm=4.0)
    ).series.images
    changed = linear.explanation.projector.padded(explained - now)
    # a view whose angle is taken to be larger leaves the views less the change of the model
    found = -linear.change(parameters(linear, tilt_angles=np.full(len(TILTS), turn)))
    # the volume lacks a third of all directions, and so does what it says of a turn
    assert np.linalg.norm(found - changed) < 0.35 * np.linalg.norm(changed)


def test_the_transpose_is_the_transpose(model):
    _, _, linear, images = model
    p = np.random.default_rng(1).normal(size=len(linear.powers)) / np.sqrt(linear.powers)
    left, right = float(np.vdot(linear.change(p), images)), float(p @ linear.transposed(images))
    assert left == pytest.approx(right, rel=1e-4)


def test_the_specimen_as_a_whole_stays_where_it_is(model):
    _, _, linear, images = model
    normal = ScaledNormal(linear, 0.0)
    p = normal.solve(linear.explanation.split(images)[0])
    n, tilt = linear.n_views, np.deg2rad(TILTS)
    weights = linear.powers
    for part, mode in (
        (slice(0, n), np.ones(n)),
        (slice(n, 2 * n), np.cos(tilt)),
        (slice(n, 2 * n), np.sin(tilt)),
    ):
        overlap = float((weights[part] * p[part]) @ mode)
        scale = np.sqrt((weights[part] * p[part] ** 2).sum() * (weights[part] * mode**2).sum())
        assert abs(overlap) < 1e-6 * scale


def test_a_step_finds_known_shifts_and_the_axis_at_once():
    rng = np.random.default_rng(4)
    wrong = no_step(shifts_px=rng.normal(0.0, 0.3, (len(TILTS), 2)), tilt_axis=np.deg2rad(0.5))
    series, start = aligned(wrong)
    _, truth = aligned()
    projector = Projector(TILTS, SHAPE[1], SHAPE[1], 40)
    images = projector.padded(np.asarray(align.apply(series, start).images))
    weights = projector.padded(np.ones((len(TILTS), *SHAPE), dtype=np.float32))
    explanation = Explanation(projector, weights, 24)
    explanation = replace(explanation, support=support_of(explanation.split(images)[1], 0.15), norm=np.nan)
    rest, volume = explanation.split(images)
    linear = Linearised(explanation, volume, ("shifts", "tilt_axis"))
    found = linear.step(ScaledNormal(linear, 0.0).solve(rest)).applied(start, 1.0)

    def left(alignment):
        error = alignment.shifts_nm - truth.shifts_nm
        modes = np.column_stack((np.ones(len(TILTS)), np.cos(np.deg2rad(TILTS)), np.sin(np.deg2rad(TILTS))))
        across = error[:, 1] - modes @ np.linalg.lstsq(modes, error[:, 1], rcond=None)[0]
        return np.array([np.std(error[:, 0]), np.sqrt(np.mean(across**2))])

    assert (left(found) < 0.5 * left(start)).all()
    assert abs(geometry.axis_difference_deg(found.tilt_axis_deg[0], truth.tilt_axis_deg[0])) < 0.4


def smooth_system(n_y=80):
    """An explanation, and a volume without detail finer than that of working copies."""
    tilts = np.linspace(-60.0, 60.0, 13)
    projector = Projector(tilts, n_u=24, n_x=24, n_z=9)
    rough = np.random.default_rng(6).normal(size=(9, 24, n_y))
    volume = scipy.ndimage.gaussian_filter(rough, (1.0, 1.5, SMOOTHING)).astype(np.float32)
    taper = np.outer(np.hanning(n_y + 2)[1:-1], np.hanning(26)[1:-1]).astype(np.float32)
    weights = projector.padded(np.ascontiguousarray(np.broadcast_to(taper, (13, n_y, 24))))
    return Explanation(projector, weights, 12), volume


def normals(explanation, volume, **options):
    return ScaledNormal(Linearised(explanation, volume, ("shifts", "tilt_axis"), **options), 0.01, 0.01)


def test_every_second_slice_knows_how_all_views_change():
    explanation, volume = smooth_system()
    whole = Linearised(explanation, volume, ("shifts", "tilt_axis"))
    second = slice(0, None, 2)
    thin = Linearised(
        explanation.slices(second),
        np.ascontiguousarray(volume[:, :, second]),
        ("shifts", "tilt_axis"),
        slice_step=2,
    )
    p = np.random.default_rng(1).normal(size=len(whole.powers)) / np.sqrt(whole.powers)
    expected, found = whole.change(p)[:, :, second], thin.change(p)
    inside = np.s_[:, :, 4:-4]  # differences reach that far
    missed = np.linalg.norm(found[inside] - expected[inside]) / np.linalg.norm(expected[inside])
    # of the slope along y: differences over twice the distance hold 0.9 of it at 0.15 cycles per pixel; and the
    # middle of the slices is half a pixel away
    assert missed < 0.1
    np.testing.assert_allclose(2.0 * thin.powers, whole.powers, rtol=0.15)


def test_what_a_step_costs_is_learnt_from_every_second_slice():
    explanation, volume = smooth_system()
    system = normals(explanation, volume)
    assert system.thin.explanation.weights.shape[2] == 40
    q = np.random.default_rng(2).normal(size=len(system.scale))
    q = system.without_free(q)
    rest, _ = explanation.split(system.linear.change(system.scale * q))
    expected = system.without_free(system.scale * system.linear.transposed(rest) + 0.01 * q)
    rest, _ = system.thin.explanation.split(system.change(q))
    found = system.response(rest, q)
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_systems_that_are_solved_together_are_solved_as_if_alone():
    explanation, volume = smooth_system(60)
    images = explanation.projector.padded(
        np.random.default_rng(8).normal(size=(13, 60, 24)).astype(np.float32)
    )
    rest, _ = explanation.split(images * explanation.weights)
    halves = [slice(0, 28), slice(28, 60)]
    systems = [normals(explanation.slices(rows), np.ascontiguousarray(volume[:, :, rows])) for rows in halves]
    rests = [rest[:, :, rows] for rows in halves]
    alone = [
        system.solve(np.ascontiguousarray(each), tolerance=1e-3)
        for system, each in zip(systems, rests, strict=True)
    ]
    together = solve_together(systems, rests, tolerance=1e-3)
    for found, expected in zip(together, alone, strict=True):
        assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("n", [4, 5, 8, 9, 20])
def test_a_slope_is_exact_for_polynomials_that_its_differences_hold(n, step):
    x = step * (np.arange(n) - 0.5 * n)
    images = np.broadcast_to((2.0 + 3.0 * x - 0.5 * x**2 + 0.25 * x**3), (1, 2, n)).astype(np.float32)
    found, expected = _slope(images, 2, step=step)[0, 0], 3.0 - x + 0.75 * x**2
    np.testing.assert_allclose(found[2:-2], expected[2:-2], rtol=1e-4, atol=1e-3)
    assert not found[:2].any()
    assert not found[-2:].any()
