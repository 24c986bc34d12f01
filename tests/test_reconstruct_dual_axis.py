"""Two series of one specimen: the transform between them, and one reconstruction better than either."""

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import zarr

from tomo3d import Alignment, Labels, TiltSeries, Volume, planning, reconstruct
from tomo3d.compute.joint_projector import joint_projector
from tomo3d.compute.projector import Projector
from tomo3d.compute.registration import RigidTransform, rotation_about_beam
from tomo3d.compute.solvers._stopping import halves
from tomo3d.errors import ConvergenceError
from tomo3d.phantoms import Ball, Body, Microscope, Specimen, acquire
from tomo3d.reconstruct import dual_axis, sirt
from tomo3d.reconstruct._raw_views import JoinedViews, raw_views

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


PAIR_SHAPE = (10, 24, 28)


def pair(n_views=(9, 7), second_shape=(26, 22)):
    """Two small series on different detectors, which agree on nothing: for what does not depend on the images."""
    rng, made = np.random.default_rng(5), []
    for n, shape in zip(n_views, (PAIR_SHAPE[1:], second_shape), strict=True):
        images = rng.random((n, *shape), dtype=np.float32)
        images.flags.writeable = False
        made.append(TiltSeries(images, np.linspace(-60, 60, n), 1.0))
    return made


def run(series=None, **arguments):
    arguments = {"thickness_nm": PAIR_SHAPE[0], "n_iterations": 4, "min_agreement": 0.0, **arguments}
    return dual_axis(*(series or pair()), **arguments)


@pytest.fixture(scope="module")
def plain():
    return run()


def test_an_initial_volume_goes_on_where_another_call_ended(plain):
    half = run(n_iterations=2)
    rest = run(n_iterations=2, initial=half)
    np.testing.assert_allclose(rest.data, plain.data, atol=1e-6 * abs(plain.data).max())
    assert rest.record["has_initial"]
    assert rest.record["residual_norms"][0] == pytest.approx(plain.record["residual_norms"][2], rel=1e-6)


def test_outside_the_mask_the_density_is_zero(plain):
    inside = np.zeros(PAIR_SHAPE, np.uint8)
    inside[2:7, 4:20, 3:21] = 1
    found = run(mask=Labels(inside, (1.0,) * 3))
    assert not found.data[inside == 0].any()
    assert np.count_nonzero(found.data[inside == 1]) > 0.9 * inside.sum()
    assert found.record["has_mask"]
    assert abs(found.data - plain.data * inside).max() > 0.01  # applied after each step, not at the end


def test_a_callback_sees_each_iteration_and_may_stop(plain):
    seen = []

    def callback(iteration, volume, norm):
        assert not volume.flags.writeable
        seen.append((iteration, volume.copy(), norm))
        return iteration == 3

    found = run(n_iterations=10, callback=callback)
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3]
    assert np.array_equal(seen[-1][1], found.data)
    assert [norm for _, _, norm in seen] == found.record["residual_norms"]
    assert found.record["residual_norms"] == plain.record["residual_norms"][:3]
    assert found.record["stopped"] == "callback"


@pytest.mark.parametrize("kind", ["array", "memory map", "zarr"])
def test_the_result_is_written_where_it_is_asked_for(plain, tmp_path, kind):
    if kind == "array":
        out = np.empty(PAIR_SHAPE, np.float64)
    elif kind == "memory map":
        out = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, PAIR_SHAPE)
    else:
        out = zarr.create_array(tmp_path / "v.zarr", shape=PAIR_SHAPE, chunks=(5, 8, 28), dtype="float32")
    found = run(out=out)
    assert found.data is out
    assert np.array_equal(np.asarray(out[:]), plain.data)


def test_an_excluded_view_does_not_count(plain):
    first, second = pair()
    images = np.insert(second.images, 3, np.nan, axis=0)
    angles = np.insert(second.tilt_angles_deg, 3, 7.0)
    flagged = TiltSeries(images, angles, 1.0, use=np.arange(len(angles)) != 3)
    found = run([first, flagged])
    assert np.array_equal(found.data, plain.data)
    assert found.record["n_views"] == 16


def test_it_stops_when_the_residual_is_down_to_the_noise(first, second, joint):
    sigma = 0.02 * float(first.images.max())
    found = dual_axis(first, second, thickness_nm=DEPTH, n_iterations=60, stop=f"discrepancy:{2 * sigma}")
    n_done, n_pixels = found.record["n_iterations"], 2 * first.images.size
    after = joint.record["residual_norms"][n_done] / np.sqrt(n_pixels)
    before = joint.record["residual_norms"][n_done - 1] / np.sqrt(n_pixels)
    assert after <= 2 * sigma < before
    assert "r.m.s. residual" in found.record["stopped"]


def test_halves_have_views_of_both_series():
    projector = Projector(np.linspace(-60, 60, 5), n_u=8, n_x=8, n_z=4, n_y=8, n_v=8)
    turn = RigidTransform(rotation_about_beam(90.0), np.zeros(3))
    joint = joint_projector(projector, projector.views(np.arange(4)), turn, n_y=8)
    even, odd = halves(joint)
    assert [list(half) for half in (even, odd)] == [[0, 2, 4, 5, 7], [1, 3, 6, 8]]
    volume = np.random.default_rng(0).random((4, 8, 8), dtype=np.float32)
    for half in (even, odd):
        np.testing.assert_array_equal(
            joint.views(half).forward_inner(volume), joint.forward_inner(volume)[half]
        )
    with pytest.raises(ValueError, match="views of the first series must come before those of the second"):
        joint.views(even[::-1])
    with pytest.raises(ValueError, match="at least 2 views in use of each series, got 1"):
        halves(joint_projector(projector, projector.views([2]), turn, n_y=8))


def test_halves_say_when_noise_begins_to_be_explained(first, second):
    rng = np.random.default_rng(8)
    noisier = [
        dataclasses.replace(
            series, images=series.images + rng.normal(0, 3, series.images.shape).astype(np.float32)
        )
        for series in (first, second)
    ]
    truth = specimen(balls()).density_volume((DEPTH, N, N), 1.0).data
    found = dual_axis(*noisier, thickness_nm=DEPTH, n_iterations=40, stop="halves")
    errors = []
    dual_axis(
        *noisier,
        thickness_nm=DEPTH,
        n_iterations=40,
        callback=lambda _, volume, __: errors.append(np.linalg.norm(volume - truth)),
    )
    n_done = found.record["n_iterations"]
    assert n_done < 30
    assert errors[n_done - 1] < 1.1 * min(errors) < 0.9 * errors[-1]


@pytest.mark.parametrize(
    "arguments", [{}, {"out": True}, {"mask": True}, {"stop": "halves"}, {"second": (132, 132)}]
)
def test_the_plan_holds_the_memory_that_it_takes(arguments):
    shape = (10, 132, 136)
    rng = np.random.default_rng(0)
    series = [
        TiltSeries(rng.random((12, *size), dtype=np.float32), np.linspace(-60, 60, 12), 1.0)
        for size in (shape[1:], arguments.pop("second", shape[1:]))
    ]
    if "out" in arguments:
        arguments["out"] = np.empty(shape, np.float32)
    if "mask" in arguments:
        arguments["mask"] = Labels(np.ones(shape, np.uint8), (1.0,) * 3)
    sketches = [planning.Sketch("TiltSeries", part.images.shape, "float32", 1.0) for part in series]
    plan = planning.plan_of(dual_axis)(*sketches, thickness_nm=shape[0], **arguments)
    tracemalloc.start()
    try:
        volume = dual_axis(*series, thickness_nm=shape[0], n_iterations=2, min_agreement=0.0, **arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plan.result.shape == volume.data.shape
    assert 0.85 * plan.peak_bytes < peak < 1.1 * plan.peak_bytes
    with pytest.raises(ValueError, match=rf"memory_limit must be at least .* \({plan.peak_bytes} bytes"):
        dual_axis(
            *series, thickness_nm=shape[0], n_iterations=2, memory_limit=plan.peak_bytes - 1, **arguments
        )


def test_a_limit_of_memory_is_refused_before_a_view_is_registered(monkeypatch):
    monkeypatch.setattr(reconstruct._dual_axis, "_registered", None)
    with pytest.raises(
        ValueError,
        match=r"memory_limit must be at least .* for all slices of both series at once\)"
        r", got 10 KiB: bin both series to larger voxels, or reconstruct a thinner slab, or pass out=",
    ):
        run(memory_limit="10 KiB")


def test_a_slab_of_few_layers_is_registered_across_the_beam():
    rng = np.random.default_rng(0)
    bodies = [(rng.uniform(-1, 1, 3) * (0.5, 50, 50), rng.uniform(1.2, 1.5), 1.0) for _ in range(25)]
    made = [
        Specimen(
            [
                Body(Ball(radius_nm=r, centre_nm=tuple(turn @ c + move), density=d), "ball")
                for c, r, d in bodies
            ],
            (4, 132, 132),
        ).project(TILTS[::2], (132, 132), 1.0)
        for turn, move in ((UNTURNED, np.zeros(3)), (rotation_about_beam(ANGLE_DEG), SHIFT_NM * [0, 1, 1]))
    ]
    record = dual_axis(*made, thickness_nm=4, n_iterations=1).record
    assert record["angle_about_beam_deg"] == pytest.approx(ANGLE_DEG, abs=0.2)
    np.testing.assert_allclose(record["shift_nm"][1:], SHIFT_NM[1:], atol=0.15)


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
        (
            {},
            {"mask": Labels(np.zeros((4, 6, 8), np.uint8), (2.0,) * 3)},
            "mask must hold at least one voxel",
        ),
        ({}, {"initial": Volume(np.zeros((4, 6, 7), np.float32), (2.0,) * 3)}, "initial must have the shape"),
        ({}, {"out": np.zeros((4, 6, 7), np.float32)}, "out must have the shape of the reconstruction"),
        ({}, {"stop": "soon"}, "stop must be discrepancy:SIGMA"),
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


def test_joined_views_are_not_measured_where_there_is_no_detector():
    series = [
        TiltSeries(np.full(shape, value, np.float32), np.linspace(-30, 30, shape[0]), 1.0)
        for shape, value in [((5, 14, 17), 1.0), ((4, 16, 13), 2.0)]
    ]
    joined = JoinedViews(tuple(raw_views(each, None) for each in series))
    assert joined.shape == (9, 16, 17)
    images = joined[:, :]
    assert np.isnan(images[:5, 14:]).all()
    assert np.isnan(images[5:, :, 13:]).all()
    assert np.nansum(images) == 5 * 14 * 17 + 2 * 4 * 16 * 13
    np.testing.assert_array_equal(joined[:, 3:15], images[:, 3:15])
