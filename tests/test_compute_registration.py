"""Rigid registration of volumes with missing wedges, and the projector of two series."""

import numpy as np
import pytest
import scipy.fft
import scipy.linalg

from tomo3d import geometry
from tomo3d.compute.joint_projector import joint_projector
from tomo3d.compute.projector import Projector
from tomo3d.compute.registration import Measured, RigidTransform, register, rotation_about_beam

FULL = (-90.0, 90.0)
SEARCH = [rotation_about_beam(sign * (90 + offset)) for sign in (1, -1) for offset in (-8, -4, 0, 4, 8)]


def rotation(turn_deg):
    """Turned about (z, y, x) by a rotation vector, right-handed in that order of axes."""
    z, y, x = np.deg2rad(turn_deg)
    return scipy.linalg.expm(np.array([[0, -x, y], [x, 0, -z], [-y, z, 0]]))


def blobs(shape, transform=None, *, seed=0, sigma=2.0, n_blobs=12, spread=(6, 13, 13)):
    """Gaussians, exact wherever they are moved to: sampled on a grid (n_z, n_y, n_x)."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-1, 1, (n_blobs, 3)) * spread
    heights = rng.uniform(0.5, 1.5, n_blobs)
    if transform is not None:
        centres = centres @ transform.rotation.T + transform.shift
    z, y, x = np.meshgrid(*(geometry.coordinates(n) for n in shape), indexing="ij", sparse=True)
    volume = np.zeros(shape)
    for (cz, cy, cx), height in zip(centres, heights, strict=True):
        volume += height * np.exp(-((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return volume.astype(np.float32)


def without_wedge(volume, tilt_range_deg, shape):
    """What views about y between two tilts measure of a large volume, in the middle of it."""
    k = np.meshgrid(*(scipy.fft.fftfreq(n) for n in volume.shape), indexing="ij")
    angle = (np.rad2deg(np.arctan2(k[0], k[2])) + 90) % 180 - 90
    keep = (angle >= tilt_range_deg[0]) & (angle <= tilt_range_deg[1]) | (np.hypot(k[0], k[2]) == 0)
    seen = scipy.fft.ifftn(scipy.fft.fftn(volume) * keep).real.astype(np.float32)
    return seen[
        tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(volume.shape, shape, strict=True))
    ]


def errors(found, truth):
    """(degrees, voxels)"""
    turn = np.linalg.norm(scipy.linalg.logm(found.rotation.T @ truth.rotation).real) / np.sqrt(2)
    return np.rad2deg(turn), np.linalg.norm(found.shift - truth.shift)


def test_a_quarter_turn_takes_x_to_y():
    np.testing.assert_allclose(rotation_about_beam(90) @ [0, 0, 1], [0, 1, 0], atol=1e-15)  # (z, y, x)


@pytest.mark.parametrize("angle_deg", [90.0, 95.5, -83.0])
@pytest.mark.parametrize("shapes", [((28, 44, 44), (28, 44, 44)), ((25, 50, 41), (30, 43, 52))])
def test_a_transform_is_found(angle_deg, shapes):
    truth = RigidTransform(
        rotation((1.0, -2.5, 2.0)) @ rotation_about_beam(angle_deg), np.array([1.3, -2.6, 3.2])
    )
    reference, volume = blobs(shapes[0]), blobs(shapes[1], truth)
    for array in (reference, volume):
        array.flags.writeable = False
    found = register(Measured(reference, FULL), Measured(2.5 * volume, FULL), rotations=SEARCH)
    turned, moved = errors(found.transform, truth)
    assert turned < 0.05
    assert moved < 0.02
    assert found.agreement > 0.999
    assert found.amplitude == pytest.approx(2.5, rel=0.01)


@pytest.mark.parametrize("ranges", [((-60.0, 60.0), (-60.0, 60.0)), ((-50.0, 65.0), (-66.0, 55.0))])
def test_missing_wedges_and_noise_do_not_mislead(ranges):
    truth = RigidTransform(
        rotation((0.0, 2.0, -1.5)) @ rotation_about_beam(-86.0), np.array([-1.7, 0.4, 2.9])
    )
    rng = np.random.default_rng(1)
    large, shape = (96, 108, 108), (34, 68, 68)  # streaks that wrap around would be seen from one side only
    wide = {"n_blobs": 40, "spread": (10, 25, 25)}
    volumes = [blobs(large, **wide), blobs(large, truth, **wide)]
    noisy = [volume + rng.normal(0, 0.05, volume.shape) for volume in volumes]  # 5 % of a typical height
    measured = [Measured(without_wedge(v, r, shape), r) for v, r in zip(noisy, ranges, strict=True)]
    found = register(*measured, rotations=SEARCH)
    turned, moved = errors(found.transform, truth)
    assert turned < 0.25  # 0.1 voxels at the outermost blobs
    assert moved < 0.1
    assert found.agreement > 0.9


def test_larger_volumes_are_searched_small_and_refined_whole():
    truth = RigidTransform(rotation_about_beam(87.2), np.array([2.25, -19.5, 21.75]))
    found = register(
        Measured(blobs((30, 76, 80), spread=(6, 9, 9)), FULL),
        Measured(blobs((30, 76, 80), truth, spread=(6, 9, 9)), FULL),
        rotations=SEARCH,
    )
    turned, moved = errors(found.transform, truth)
    assert turned < 0.1
    assert moved < 0.05


def test_different_things_do_not_agree():
    for seed in (1, 2):
        found = register(
            Measured(blobs((28, 44, 44)), FULL),
            Measured(blobs((28, 44, 44), seed=seed), FULL),
            rotations=SEARCH,
        )
        assert found.agreement < 0.5


def test_a_series_of_nothing_agrees_with_nothing():
    empty = Measured(np.zeros((12, 20, 20), np.float32), FULL)
    assert register(empty, empty, rotations=SEARCH[:2]).agreement == 0


TILTS = np.array([-60.0, -22.0, 0.0, 31.0, 57.0])
TRANSFORM = RigidTransform(
    rotation((1.0, 2.0, -3.0)) @ rotation_about_beam(-85.0), np.array([0.6, -1.2, 2.3])
)


def pair(*, transform=TRANSFORM, **geometry_of_first):
    first = Projector(TILTS, n_u=17, n_x=15, n_z=6, n_y=12, n_v=14, **geometry_of_first)
    second = Projector(TILTS[1:] + 2, n_u=13, n_x=15, n_z=6, n_y=12, n_v=16)
    return joint_projector(first, second, transform, n_y=12)


@pytest.mark.parametrize("angle_deg", [4.0, 88.0, 179.0, -93.0])
@pytest.mark.parametrize("geometry_of_first", [{}, {"rotations_deg": np.full(5, 1.5)}])
def test_back_is_the_transpose_of_forward(angle_deg, geometry_of_first):
    rng = np.random.default_rng(2)
    joint = pair(
        transform=RigidTransform(rotation_about_beam(angle_deg), np.array([0.5, 1.0, -0.7])),
        **geometry_of_first,
    )
    volume = rng.random((6, 15, 12), dtype=np.float32)
    images = rng.random((9, 17, 16), dtype=np.float32)
    for array in (volume, images):
        array.flags.writeable = False
    a = np.vdot(joint.forward_inner(volume).astype(np.float64), images.astype(np.float64))
    b = np.vdot(volume.astype(np.float64), joint.back_inner(images).astype(np.float64))
    assert abs(a - b) <= 1e-6 * abs(a)


@pytest.mark.parametrize("index", [(1, 4, 8), (4, 7, 6)])
def test_a_voxel_lands_where_the_transform_says(index):
    joint = pair()
    volume = np.zeros((6, 15, 12), np.float32)
    volume[index[0], index[2], index[1]] = 2.0
    images = joint.forward_inner(volume)
    assert images.shape == (9, 17, 16)
    position = np.array([i - geometry.centre(n) for i, n in zip(index, (6, 12, 15), strict=True)])
    moved = TRANSFORM.rotation @ position + TRANSFORM.shift
    for k, tilt in enumerate([*TILTS, *(TILTS[1:] + 2)]):
        z, y, x = position if k < 5 else moved
        n_u, n_v = (17, 14) if k < 5 else (13, 16)
        image = images[k, :n_u, :n_v]
        assert image.sum() == pytest.approx(2.0, rel=1e-5)
        u = geometry.coordinates(n_u) @ image.sum(axis=1) / image.sum()
        v = geometry.coordinates(n_v) @ image.sum(axis=0) / image.sum()
        assert u == pytest.approx(float(geometry.detector_position(x, z, tilt)), abs=1e-4)  # float32 weights
        assert v == pytest.approx(y, abs=1e-4)
