"""Watersheds and random walks: planes between balls, potentials in closed form, edges in noise."""

import numpy as np
import pytest
from skimage.segmentation import random_walker as their_walker

from tomo3d.segment import marker_watershed, random_walker, watershed
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)


def coordinates(shape, voxel):
    axes = [edge * (np.arange(n) - 0.5 * (n - 1)) for n, edge in zip(shape, voxel, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def ball(shape, voxel, centre, radius):
    return ((coordinates(shape, voxel) - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) < radius**2


def labels(data, voxel=CUBE, **kwargs):
    data = np.array(data)
    data.flags.writeable = False
    return Labels(data, voxel, **kwargs)


@pytest.mark.parametrize(
    ("shape", "voxel"),
    [((23, 25, 38), CUBE), ((12, 25, 38), (2.0, 1.0, 1.0)), ((23, 25, 19), (1.0, 1.0, 2.0))],
)
def test_two_equal_balls_are_parted_at_the_plane_between_them(shape, voxel):
    first, second = np.array([0.3, -1.0, -6.2]), np.array([-0.6, 1.2, 6.4])
    both = ball(shape, voxel, first, 9.0) | ball(shape, voxel, second, 9.0)
    parted = watershed(labels(both, voxel), h_nm=1.5)
    assert parted.record["n_objects"] == 2
    np.testing.assert_array_equal(parted.data > 0, both)
    axis = (second - first) / np.linalg.norm(second - first)
    height = np.tensordot(axis, coordinates(shape, voxel) - np.reshape((first + second) / 2, (3, 1, 1, 1)), 1)
    number = parted.data[ball(shape, voxel, first, 3.0)][0]
    on_first = (parted.data == number)[both]
    # beyond one voxel from the plane all voxels belong to the ball on their side
    assert on_first[height[both] < -max(voxel)].all()
    assert not on_first[height[both] > max(voxel)].any()


def test_a_neck_less_narrow_than_h_is_not_parted():
    shape = (21, 21, 45)
    both = ball(shape, CUBE, (0, 0, -8), 8.0) | ball(
        shape, CUBE, (0, 0, 2), 8.0
    )  # depth 8, neck sqrt(39) = 6.2
    alone = ball(shape, CUBE, (0, 0, 18), 3.5)
    assert watershed(labels(both | alone), h_nm=1.0).record["n_objects"] == 3
    assert watershed(labels(both | alone), h_nm=3.0).record["n_objects"] == 2


def test_objects_are_numbered_by_their_first_voxels():
    shape = (25, 25, 40)
    large, small = (
        ball(shape, CUBE, (2, 0, -8), 10.0),
        ball(shape, CUBE, (-5, 0, 14), 2.5),
    )  # from z = 5 and 5 + 1/2
    found = watershed(labels(large | small), h_nm=1.0).data
    assert np.flatnonzero(large)[0] < np.flatnonzero(small)[0]  # but its middle comes later
    np.testing.assert_array_equal(found, large + 2 * small)


def test_an_object_less_deep_than_h_is_one_object():
    data = np.zeros((5, 6, 20), np.uint8)
    data[2, 2, 3:17] = 1  # a line: depth 1 everywhere
    parted = watershed(labels(data), h_nm=5.0)
    np.testing.assert_array_equal(parted.data, data)


def test_markers_grow_to_the_edge_and_stay_in_the_mask():
    rng = np.random.default_rng(0)
    z, y, x = np.indices((16, 18, 30))
    inside = (z - 8) ** 2 + (y - 9) ** 2 + (x - 14) ** 2 < 36
    grey = inside + 0.1 * rng.standard_normal(inside.shape)
    marks = np.zeros(inside.shape, np.uint8)
    marks[8, 9, 13:16], marks[1] = 3, 1
    found = marker_watershed(Volume(grey, CUBE), labels(marks, names={3: "ball"}), sigma_nm=1.0)
    assert found.names == {3: "ball"}
    wrong = (found.data == 3) != inside
    boundary = np.abs(np.sqrt((z - 8) ** 2 + (y - 9) ** 2 + (x - 14) ** 2) - 6.0) <= 1.0
    assert not wrong[~boundary].any()
    mask = labels(x < 20)
    within = marker_watershed(Volume(grey, CUBE), labels(marks), sigma_nm=1.0, mask=mask).data
    np.testing.assert_array_equal(within > 0, x < 20)


@pytest.mark.parametrize("sigma_nm", [0.0, 2.0])
def test_the_gradient_is_per_nm_along_each_axis(sigma_nm):
    # a step of 1 over 8 nm across z, and one of 0.5 over 1 nm across x: regions first meet over the gentler, across z
    voxel = (8.0, 1.0, 1.0)
    data = np.zeros((10, 9, 18))
    data[5:] += 1.0
    data[:, :, 9:] += 0.5
    marks = np.zeros(data.shape, np.uint8)
    marks[1, 4, 1], marks[8, 4, 16] = 1, 2
    found = marker_watershed(Volume(data, voxel), labels(marks, voxel), sigma_nm=sigma_nm).data
    assert (found[:, :, :8] == 1).all()
    assert (found[:, :, 10:] == 2).all()


@pytest.mark.parametrize("voxel", [CUBE, (3.0, 1.0, 2.0)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_two_ends_of_a_bar_the_probability_is_linear(voxel, axis):
    shape = [4, 3, 3]
    shape[axis] = 12
    marks = np.zeros(shape, np.uint8)
    np.moveaxis(marks, axis, 0)[0] = 1
    np.moveaxis(marks, axis, 0)[-1] = 2
    found = random_walker(Volume(np.ones(shape), voxel), labels(marks, voxel))
    ramp = np.moveaxis(found.probabilities[1], axis, 0)
    np.testing.assert_allclose(
        ramp, np.broadcast_to(np.arange(12)[:, None, None] / 11, ramp.shape), atol=1e-5
    )


def test_the_potential_is_that_of_physical_space():
    # between a ball and a sphere around it, a + b / r, though voxels are three times as long along z
    voxel = (1.5, 0.5, 0.5)
    radius = np.sqrt((coordinates((21, 61, 61), voxel) ** 2).sum(axis=0))
    marks = np.zeros(radius.shape, np.uint8)
    marks[radius < 6.0], marks[radius > 14.0] = 1, 2
    found = random_walker(Volume(np.zeros(marks.shape), voxel), labels(marks, voxel)).probabilities[0]
    between = (radius > 7.0) & (radius < 13.0)
    exact = (1 / radius[between] - 1 / 14.0) / (1 / 6.0 - 1 / 14.0)
    # markers end at voxel centres, up to 1.5 nm along z and 0.4 on average from where they should, over a gap of 8 nm
    assert np.abs(found[between] - exact).mean() < 0.05
    along_z, along_x = found[10 + 6, 30, 30], found[10, 30, 30 + 18]  # both 9 nm from the centre
    assert along_z == pytest.approx(along_x, abs=0.05)


def test_random_walker_agrees_with_scikit_image():
    rng = np.random.default_rng(1)
    data = rng.standard_normal((8, 9, 10)) + 2.0 * (np.indices((8, 9, 10))[2] > 5)
    marks = np.zeros(data.shape, np.uint8)
    marks[2, 2, 1], marks[5, 6, 8], marks[1, 7, 3] = 1, 2, 3
    # theirs weighs steps by exp(-beta dg^2 / (10 std)) of data scaled to 0 ... 1
    theirs = their_walker(
        data, marks, beta=10.0 * 2.0 / data.std(), mode="cg_j", tol=1e-8, return_full_prob=True, prob_tol=1.0
    )
    ours = random_walker(Volume(data, CUBE), labels(marks), beta=2.0)
    np.testing.assert_allclose(ours.probabilities, theirs, atol=1e-4)


def test_an_edge_in_noise_is_found_from_a_few_marks_and_the_background_turns_zero():
    rng = np.random.default_rng(0)
    is_bright = np.indices((14, 15, 30))[2] >= 15
    marks = np.zeros(is_bright.shape, np.uint8)
    marks[7, 7, 2], marks[7, 7, 27] = 1, 2
    volume = Volume(is_bright + 0.2 * rng.standard_normal(is_bright.shape), CUBE)
    found = random_walker(volume, labels(marks, names={1: "pore", 2: "film"}), background=1)
    assert np.mean(found.data != 2 * is_bright) < 0.01
    assert found.names == {0: "pore", 2: "film"}
    assert found.probabilities.shape == (2, *is_bright.shape)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1.0, atol=1e-5)


def grey(shape=(5, 6, 7), bad=None):
    data = np.random.default_rng(0).random(shape)
    if bad is not None:
        data[2, 2, 2] = bad
    return Volume(data, CUBE)


def marked(numbers=(1, 2), shape=(5, 6, 7), voxel=CUBE):
    data = np.zeros(shape, np.int16)
    data[0, 0, : len(numbers)] = numbers
    return labels(data, voxel)


@pytest.mark.parametrize("grow", [marker_watershed, random_walker])
@pytest.mark.parametrize(
    ("volume", "markers", "match"),
    [
        (grey(), marked(()), "got no marked voxel: mark the background too"),
        (grey(), marked((3,)), r"got \[3\]"),
        (grey(), marked((-1, 2)), "numbers from 1, got -1"),
        (grey(), marked(shape=(5, 6, 8)), "markers must be on the grid"),
        (grey(), marked(voxel=(2.0, 1.0, 1.0)), "markers must be on the grid"),
        (grey(bad=np.nan), marked(), "must be finite"),
    ],
)
def test_markers_that_make_no_sense_are_refused(grow, volume, markers, match):
    with pytest.raises(ValueError, match=match):
        grow(volume, markers)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: watershed(labels(np.zeros((4, 5, 6), np.uint8)), h_nm=1.0), "got none"),
        (lambda: watershed(labels(np.ones((4, 5, 6), np.uint8)), h_nm=1.0), "got one that fills"),
        (lambda: watershed(marked(), h_nm=0.0), "h_nm must be a positive length"),
        (lambda: marker_watershed(grey(), marked(), sigma_nm=-1.0), "sigma_nm must be zero or more"),
        (lambda: marker_watershed(grey(), marked(), mask=marked(())), "mask must have at least one voxel"),
        (lambda: random_walker(grey(), marked(), beta=-1.0), "beta must be zero or more"),
        (
            lambda: random_walker(grey(), marked(), background=3),
            "background must be one of the marked classes",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
