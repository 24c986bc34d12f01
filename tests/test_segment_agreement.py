"""Overlap and boundary distances in closed form."""

import math

import numpy as np
import pytest

from tomo3d import tables
from tomo3d.segment import agreement
from tomo3d.types import Labels

VOXEL = (2.0, 1.0, 0.5)


def box(z, y, x, shape=(20, 30, 40)):
    data = np.zeros(shape, np.uint8)
    data[slice(*z), slice(*y), slice(*x)] = 1
    return data


def compare(found, known, voxel=VOXEL, names=None):
    return agreement(Labels(found, voxel), Labels(known, voxel, names=names or {})).iloc[0]


def ball(radius, shape=(33, 33, 33)):
    at = np.indices(shape) - np.reshape(shape, (3, 1, 1, 1)) // 2
    return ((at**2).sum(axis=0) <= radius**2).astype(np.uint8)


def test_the_same_labels_agree_wholly():
    row = compare(ball(9), ball(9), names={1: "ball"})
    assert (row["dice"], row["intersection_over_union"]) == (1.0, 1.0)
    assert (row["hausdorff_90_nm"], row["boundary_error_nm"], row["boundary_shift_nm"]) == (0.0, 0.0, 0.0)
    assert row["name"] == "ball"
    assert row["n_voxels"] == row["n_voxels_truth"] == ball(9).sum()


@pytest.mark.parametrize(("axis", "edge"), list(enumerate(VOXEL)))
def test_a_slab_that_is_thicker_by_layers_on_one_side(axis, edge):
    ranges = [(0, 20), (0, 30), (0, 40)]  # to the border: it has two faces, across `axis`
    thick, thin = ranges.copy(), ranges.copy()
    thick[axis], thin[axis] = (5, 14), (5, 11)
    row = compare(box(*thick), box(*thin))
    assert row["dice"] == 12 / 15
    assert row["intersection_over_union"] == 6 / 9
    assert row["boundary_error_nm"] == pytest.approx(1.5 * edge)  # one face is the same, one 3 layers off
    assert row["boundary_shift_nm"] == pytest.approx(1.5 * edge)
    assert row["hausdorff_90_nm"] == pytest.approx(3 * edge)
    swapped = compare(box(*thin), box(*thick))
    assert swapped["boundary_shift_nm"] == pytest.approx(-1.5 * edge)
    assert swapped["boundary_error_nm"] == pytest.approx(1.5 * edge)


def test_a_cube_moved_along_an_axis():
    # n = 12 voxels moved by s = 4: Dice 1 - s / n, intersection over union (n - s) / (n + s)
    shape, voxel = (20, 20, 30), (1.0, 1.0, 1.0)
    known, found = box((4, 16), (4, 16), (5, 17), shape), box((4, 16), (4, 16), (9, 21), shape)
    row = compare(found, known, voxel)
    assert row["dice"] == pytest.approx(1 - 4 / 12)
    assert row["intersection_over_union"] == pytest.approx(8 / 16)


def faces_one_by_one(mask):
    """Centres of the faces between a voxel of the mask and one outside, nm."""
    found = []
    for place in zip(*np.nonzero(mask), strict=True):
        for axis in range(3):
            for step in (-1, 1):
                other = np.array(place)
                other[axis] += step
                if 0 <= other[axis] < mask.shape[axis] and not mask[tuple(other)]:
                    found.append(0.5 * (np.array(place) + other) * VOXEL)
    return np.array(found)


def test_distances_are_those_between_faces_one_by_one():
    rng = np.random.default_rng(0)
    found, known = (rng.random((2, 5, 6, 7)) < 0.15).astype(np.uint8)
    ours, theirs = faces_one_by_one(found), faces_one_by_one(known)
    between = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    out, back = between.min(axis=1), between.min(axis=0)
    row = compare(found, known)
    assert row["boundary_error_nm"] == pytest.approx((out.sum() + back.sum()) / (len(out) + len(back)))
    assert row["hausdorff_90_nm"] == pytest.approx(max(np.percentile(out, 90), np.percentile(back, 90)))


@pytest.mark.parametrize("growth", [2, 3])
def test_concentric_balls_differ_by_their_radii(growth):
    row = compare(ball(9 + growth), ball(9), (1.0, 1.0, 1.0))
    # faces are steps: a distance between two of them is off by at most a voxel, by half of it on average
    assert row["boundary_error_nm"] == pytest.approx(growth, abs=0.5)
    assert row["boundary_shift_nm"] == pytest.approx(growth, abs=0.5)
    assert row["hausdorff_90_nm"] == pytest.approx(growth, abs=1.0)
    n_small, n_large = ball(9).sum(), ball(9 + growth).sum()
    assert row["dice"] == pytest.approx(2 * n_small / (n_small + n_large))


def test_hausdorff_leaves_a_tenth_of_the_boundary_out():
    known = box((0, 20), (0, 30), (10, 20))
    found = known.copy()
    found[10, 10:13, 20:26] = 1  # a spike on 3 of 600 pixels of one face
    assert compare(found, known)["hausdorff_90_nm"] == 0.0
    assert compare(found, known)["boundary_error_nm"] > 0


def test_each_class_has_a_row_and_one_that_is_missing_has_no_distance():
    known = box((5, 10), (5, 10), (5, 10)) + 4 * box((12, 18), (5, 10), (5, 10))
    table = agreement(Labels(box((5, 10), (5, 10), (5, 10)), VOXEL), Labels(known, VOXEL, names={4: "metal"}))
    assert table["class"].tolist() == [1, 4]
    assert table["name"].tolist() == ["1", "metal"]
    assert table["dice"].tolist() == [1.0, 0.0]
    assert math.isnan(table["boundary_error_nm"][1])
    assert list(table.columns) == tables.names(tables.AGREEMENT)


@pytest.mark.parametrize(
    ("labels", "truth", "match"),
    [
        (Labels(ball(0) * 0, VOXEL), Labels(ball(0) * 0, VOXEL), "at least one voxel of a class"),
        (Labels(ball(3), VOXEL), Labels(ball(3)[1:], VOXEL), "must be on the grid"),
        (Labels(ball(3), VOXEL), Labels(ball(3), (2.0, 1.0, 1.0)), "must be on the grid"),
    ],
)
def test_what_cannot_be_compared_is_refused(labels, truth, match):
    with pytest.raises(ValueError, match=match):
        agreement(labels, truth)
