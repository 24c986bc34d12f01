"""Two series of one specimen: the transform between them, and one reconstruction better than either."""

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.linalg

from tomo3d import Alignment, TiltSeries, planning
from tomo3d.compute.joint_projector import joint_projector
from tomo3d.compute.projector import Projector
from tomo3d.compute.registration import RigidTransform, rotation_about_beam
from tomo3d.errors import ConvergenceError
from tomo3d.phantoms import Ball, Body, Microscope, Specimen, acquire
from tomo3d.reconstruct import dual_axis, sirt

N, DEPTH = 56, 32  # field and thickness, nm
TILTS = np.arange(-60.0, 61.0, 4.0)
ANGLE_DEG = 93.3
SHIFT_NM = np.array([1.3, -2.6, 3.7])
TURN = scipy.linalg.expm(np.array([[0, 0.02, 0.03], [-0.02, 0, 0], [-0.03, 0, 0]]))  # 2 deg out of the plane
ROTATION = TURN @ rotation_about_beam(ANGLE_DEG)


def balls(seed=0):
    """Positions (z, y, x), radii and densities of disjoint balls; the first is alone around the middle."""
    rng = np.random.default_rng(seed)
    made = [(np.array([0.5, -1.0, 1.5]), 6.0, 1.0)]
    while len(made) < 12:
        centre, radius = rng.uniform(-1, 1, 3) * (9, 19, 19), rng.uniform(2, 4)
        apart = [np.linalg.norm(centre - other) - radius - r for other, r, _ in made]
        if min(apart) > 1 and apart[0] > 5:
            made.append((centre, radius, rng.uniform(0.5, 1.5)))
    return made


UNTURNED = np.eye(3)


def specimen(bodies, rotation=UNTURNED, shift=(0, 0, 0)):
    solids = [
        Ball(radius_nm=radius, centre_nm=tuple(rotation @ centre + shift), density=density)
        for centre, radius, density in bodies
    ]
    return Specimen([Body(solid, "ball") for solid in solids], (DEPTH, N, N))


def noisy(series, seed):
    """With noise of 2 % of the brightest pixel."""
    noise = np.random.default_rng(seed).normal(0, 0.02 * series.images.max(), series.images.shape)
    images = (series.images + noise).astype(np.float32)
    images.flags.writeable = False
    return TiltSeries(images, series.tilt_angles_deg, series.pixel_size_nm)


@pytest.fixture(scope="module")
def first():
    return noisy(specimen(balls()).project(TILTS, (N, N), 1.0), 1)


@pytest.fixture(scope="module")
def second():
    return noisy(specimen(balls(), ROTATION, SHIFT_NM).project(TILTS, (N, N), 1.0), 2)


@pytest.fixture(scope="module")
def joint(first, second):
    return dual_axis(first, second, thickness_nm=DEPTH, n_iterations=30)


def turned_by(record, rotation=ROTATION):
    difference = scipy.linalg.logm(np.array(record["rotation"]).T @ rotation).real
    return np.rad2deg(np.linalg.norm(difference) / np.sqrt(2))


def test_the_transform_is_found(joint):
    record = joint.record
    assert turned_by(record) < 0.15
    assert np.linalg.norm(record["shift_nm"] - SHIFT_NM) < 0.1
    assert record["angle_about_beam_deg"] == pytest.approx(ANGLE_DEG, abs=0.15)
    assert record["rotation_out_of_plane_deg"] == pytest.approx(np.rad2deg(np.hypot(0.02, 0.03)), abs=0.15)
    assert record["agreement"] > 0.95
    assert record["second_over_first"] == pytest.approx(1, abs=0.02)


def test_the_record_says_what_was_done(joint):
    record = joint.record
    assert joint.data.shape == (DEPTH, N, N)
    assert joint.voxel_size_nm == (1, 1, 1)
    assert joint.origin_nm == (-15.5, -27.5, -27.5)
    assert record["n_views"] == 2 * len(TILTS)
    assert record["tilt_range_deg"] == record["second_tilt_range_deg"] == [-60, 60]
    norms = record["residual_norms"]
    assert len(norms) == 30
    assert all(later < earlier for earlier, later in itertools.pairwise(norms))


def width(profile):
    """Full width at half maximum, to a part of a voxel."""
    half = 0.5 * profile.max()
    above = np.flatnonzero(profile > half)
    a, b = above[0], above[-1]
    rise = (profile[a] - half) / (profile[a] - profile[a - 1])
    fall = (profile[b] - half) / (profile[b] - profile[b + 1])
    return b - a + rise + fall


def elongation(data):
    """Along the beam over across it, of the ball around the middle."""
    around = data[:, 16:38, 18:40]
    return width(around[:, 9:13, 9:13].mean(axis=(1, 2))) / width(around[14:18, 9:13].mean(axis=(0, 1)))


def test_both_axes_are_better_than_either(first, second, joint):
    truth = specimen(balls()).density_volume((DEPTH, N, N), 1.0).data
    alone = sirt(first, thickness_nm=DEPTH, n_iterations=30).data
    other = sirt(second, thickness_nm=DEPTH, n_iterations=30).data
    other_truth = specimen(balls(), ROTATION, SHIFT_NM).density_volume((DEPTH, N, N), 1.0).data
    best = min(np.linalg.norm(alone - truth), np.linalg.norm(other - other_truth))
    assert np.linalg.norm(joint.data - truth) < 0.85 * best
    ball = (slice(14, 19), slice(25, 29), slice(27, 31))  # inside the one of density 1
    assert abs(joint.data[ball].mean() - 1) < 0.75 * abs(alone[ball].mean() - 1)
    assert elongation(joint.data) - 1 < 0.8 * (elongation(alone) - 1)


def test_either_sense_of_the_turn_is_found(first):
    rotation = rotation_about_beam(-88.0)
    other = noisy(specimen(balls(), rotation).project(TILTS[::2], (N, N), 1.0), 3)
    record = dual_axis(first, other, thickness_nm=DEPTH, n_iterations=1).record
    assert turned_by(record, rotation) < 0.2
    assert np.linalg.norm(record["shift_nm"]) < 0.2


def test_alignments_act_within_the_projector(first):
    made = acquire(
        specimen(balls(), ROTATION, SHIFT_NM),
        tilt_angles_deg=TILTS,
        microscope=Microscope(tilt_axis_deg=86.0, shift_nm=2.0),
        image_shape=(N + 6, N + 9),
    )
    volume = dual_axis(
        first, made.series, thickness_nm=DEPTH, n_iterations=5, second_alignment=made.alignment
    )
    assert volume.data.shape == (DEPTH, N, N)
    assert turned_by(volume.record) < 0.15
    assert np.linalg.norm(volume.record["shift_nm"] - SHIFT_NM) < 0.1


def test_the_plan_holds_the_memory_that_it_takes(first, second):
    sketch = planning.Sketch("TiltSeries", first.images.shape, "float32", 1.0)
    plan = planning.plan_of(dual_axis)(sketch, sketch, thickness_nm=DEPTH)
    tracemalloc.start()
    try:
        volume = dual_axis(first, second, thickness_nm=DEPTH, n_iterations=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plan.result.shape == volume.data.shape
    assert 0.7 * plan.peak_bytes < peak < 1.1 * plan.peak_bytes


@pytest.mark.slow
def test_large_views_are_registered_binned():
    n, nm = 168, 1.0 / 3
    series = [
        noisy(body.project(TILTS[::2], (n, n), nm), seed)
        for seed, body in enumerate((specimen(balls()), specimen(balls(), ROTATION, SHIFT_NM)))
    ]
    record = dual_axis(*series, thickness_nm=DEPTH, n_iterations=1).record
    assert turned_by(record) < 0.15
    assert np.linalg.norm(record["shift_nm"] - SHIFT_NM) < 0.3 * nm  # 0.3 pixel


def test_another_specimen_is_refused(first):
    other = noisy(specimen(balls(7)[1:]).project(TILTS, (N, N), 1.0), 4)
    with pytest.raises(
        ConvergenceError, match=r"must agree by at least 0\.5 where both measured, got 0\.[0-4]\d\d at best"
    ):
        dual_axis(first, other, thickness_nm=DEPTH, n_iterations=1)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"pixel_size_nm": 2.5}, {}, "both series must have the same pixel size, got 2 and 2.5 nm"),
        ({"tilt_axis_deg": 5.0}, {}, "second series: the tilt axis of the series must be 0 deg"),
        ({"use": np.zeros(3, dtype=bool)}, {}, "second series: at least one view must be in use"),
        ({}, {"n_iterations": 0}, "n_iterations must be at least 1, got 0"),
        ({}, {"relaxation": 0.0}, "relaxation must lie between 0 and 2"),
        ({}, {"lower": 1.0, "upper": 0.5}, "lower must be below upper"),
        ({}, {"min_agreement": 1.0}, r"min_agreement must lie in \[0, 1\), got 1"),
        ({}, {"thickness_nm": 1.0}, r"thickness_nm must be at least one pixel \(2 nm\), got 1 nm"),
        ({}, {"second_alignment": True}, r"second series: .* one row per view of the series \(3"),
    ],
)
def test_bad_input_is_said_in_a_sentence(changes, arguments, message):
    images, angles = np.ones((3, 6, 8), dtype=np.float32), np.array([-20.0, 0.0, 20.0])
    if "second_alignment" in arguments:
        arguments["second_alignment"] = Alignment(
            np.zeros((2, 2)), np.zeros(2), angles[:2], np.ones(2), np.nan, np.ones(2, bool)
        )
    with pytest.raises(ValueError, match=message):
        dual_axis(
            TiltSeries(images, angles, 2.0),
            TiltSeries(images, angles, **{"pixel_size_nm": 2.0, **changes}),
            **{"thickness_nm": 8.0, "n_iterations": 1, **arguments},
        )


def test_the_second_series_keeps_its_own_pitch_and_offset():
    projector = Projector(
        np.linspace(-60, 60, 5),
        n_u=24,
        n_x=20,
        n_z=10,
        x_tilt_deg=6.0,
        specimen_offset=(1.0, 0.5, -1.5),
        n_y=18,
        n_v=18,
    )
    joint = joint_projector(projector, projector, RigidTransform(np.eye(3), np.zeros(3)), n_y=18)
    images = joint.forward_inner(np.random.default_rng(4).random((10, 20, 18), dtype=np.float32))
    assert images.any()
    np.testing.assert_array_equal(images[:5], images[5:])  # the same views of the same volume
