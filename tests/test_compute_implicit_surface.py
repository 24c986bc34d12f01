"""The surface of a structure between voxels: its feet lie on the body, with its normals and curvature."""

import numpy as np
import pytest
from scipy import ndimage

from tomo3d import phantoms
from tomo3d.compute import implicit_surface
from tomo3d.compute.distance import integer_metric
from tomo3d.compute.kernels import blur, climb

OFF = (0.31, -0.22, 0.13)
SHAPE = (30, 31, 32)


def positions(shape):
    axes = [np.arange(n) - (n - 1) / 2 for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def feet_of(solid, kind, shape=SHAPE):
    """Feet with their positions from the centre of the grid."""
    if kind == "grey":
        height = implicit_surface.grey_surface(
            solid.fraction(shape, 1.0, samples_per_voxel=3), 0.5, 0, shape[0]
        )
    else:
        mask = solid.depth_nm(positions(shape)) > 0
        height = implicit_surface.mask_surface(mask.astype(np.uint8), 0, shape[0])
    sites = implicit_surface.site_starts(height.inside)
    _, nearest = implicit_surface.squared_and_nearest(
        height.inside, sites, integer_metric(shape, (1.0, 1.0, 1.0))
    )
    feet = implicit_surface.surface_feet(height, sites, nearest, np.ones(3)).astype(np.float64)
    assert np.isfinite(feet).all()
    feet[:, :3] -= (np.array(shape) - 1) / 2
    return feet


# A mask holds its surface to half a voxel; evened out over some 30 sites of a curved one, to a tenth on the r.m.s.
@pytest.mark.parametrize(("kind", "place", "turn"), [("grey", 0.03, 0.05), ("mask", 0.1, 0.1)])
def test_feet_of_a_ball_lie_on_it_with_its_normal_and_curvature(kind, place, turn):
    radius = 10.4
    feet = feet_of(phantoms.Ball(radius_nm=radius, centre_nm=OFF), kind)
    outwards = feet[:, :3] - OFF
    length = np.linalg.norm(outwards, axis=1)
    assert length.mean() == pytest.approx(radius, abs=0.02)
    assert length.std() < place
    off = np.linalg.norm(feet[:, 3:6] + outwards / length[:, None], axis=1)
    assert np.sqrt((off**2).mean()) < turn
    assert feet[:, 6].mean() * radius == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("kind", "place"), [("grey", 0.05), ("mask", 0.05)])
@pytest.mark.parametrize(("normal", "centre"), [((1, 0, 0), (0, 0, 0)), ((0.71, 0.52, 0.47), OFF)])
def test_feet_of_a_plate_lie_on_its_faces_and_are_flat(kind, place, normal, centre):
    slab = phantoms.Slab(thickness_nm=6.0, normal=normal, centre_nm=centre)
    feet = feet_of(slab, kind)
    inner = (np.abs(feet[:, :3]) < np.array(SHAPE) / 2 - 4).all(axis=1)
    depth = slab.depth_nm(feet[inner, :3])
    assert np.abs(depth.mean()) < place
    assert depth.std() < place
    assert np.abs(feet[inner, 6].mean()) < 0.01


def test_feet_of_a_hollow_bend_the_other_way():
    shell = phantoms.Shell(outer_radius_nm=13.0, thickness_nm=5.0, centre_nm=OFF)
    feet = feet_of(shell, "mask", (34, 34, 34))
    within = np.linalg.norm(feet[:, :3] - OFF, axis=1) < 10
    assert feet[within, 6].mean() == pytest.approx(-1 / 8, rel=0.1)
    assert feet[~within, 6].mean() == pytest.approx(1 / 13, rel=0.1)


def test_parts_without_a_surface_of_their_own_have_the_faces_of_their_voxels():
    mask = np.zeros((9, 10, 11), np.uint8)
    mask[4, 5, 6] = 1
    height = implicit_surface.mask_surface(mask, 0, 9)
    sites = implicit_surface.site_starts(height.inside)
    _, nearest = implicit_surface.squared_and_nearest(
        height.inside, sites, integer_metric(mask.shape, (1.0, 1.0, 1.0))
    )
    feet = implicit_surface.surface_feet(height, sites, nearest, np.ones(3))
    assert len(feet) == 6
    np.testing.assert_allclose(np.linalg.norm(feet[:, :3] - (4, 5, 6), axis=1), 0.5)
    np.testing.assert_allclose(feet[:, 3:6], (np.array((4, 5, 6)) - feet[:, :3]) / 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 8, 7), (1, 3, 20), (4, 1, 1)])
def test_smoothing_is_that_of_scipy_with_the_border_repeated(shape):
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    weights = np.array([0.05, 0.2, 0.5, 0.2, 0.05], np.float32)
    expected = values
    for axis in range(3):
        expected = ndimage.correlate1d(expected, weights, axis=axis, mode="nearest")
    found = np.empty(shape, np.float32)
    for z in range(shape[0]):
        blur.blur_in_plane_cpu(values[z], weights, np.empty(shape[1:], np.float32), found[z])
    for y in range(shape[1]):
        blur.blur_along_z_cpu(found, weights, y, np.empty((shape[0], shape[2]), np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def climbed(distances, units, reach=10.0):
    n = len(distances)
    shift = np.empty(3)
    climb.climb(
        np.array(distances, float),
        np.array(units, float),
        n,
        reach,
        shift,
        np.empty(3),
        np.empty(n),
        np.empty(n),
        np.empty(4, np.int64),
    )
    return shift


def test_a_centre_climbs_to_the_middle_of_what_it_touches():
    # Between two planes, only across them; in a box, to its centre; of one plane, as far as it may.
    np.testing.assert_allclose(climbed([1, 2], [(1, 0, 0), (-1, 0, 0)]), (0.5, 0, 0), atol=1e-9)
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    np.testing.assert_allclose(climbed([1, 2, 2.5, 4, 4, 3.5], faces)[0], 1.5, atol=1e-9)
    np.testing.assert_allclose(climbed([1.0], [(0, 1, 0)], reach=0.7), (0, 0.7, 0), atol=1e-9)


def test_a_centre_in_a_tetrahedron_climbs_to_that_of_its_inscribed_ball():
    # Unit normals that sum to 0: at s the distances are d + u s, equal where u s = mean(d) - d.
    units = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]) / np.sqrt(3)
    distances = np.array([1.0, 1.3, 1.7, 2.0])
    shift = climbed(distances, units)
    np.testing.assert_allclose(distances + units @ shift, distances.mean(), atol=1e-6)
