import numpy as np
import pytest

from tomo3d.segment import clean, select
from tomo3d.types import Labels

CUBE = (1.0, 1.0, 1.0)


def labels(data, voxel=CUBE, **kwargs):
    data = np.array(data, dtype=kwargs.pop("dtype", np.uint8))
    data.flags.writeable = False
    return Labels(data, voxel, **kwargs)


def empty(shape=(12, 13, 14)):
    return np.zeros(shape, np.uint8)


def test_nothing_asked_for_changes_nothing():
    data = (np.random.default_rng(0).random((6, 7, 8)) < 0.9).astype(np.int16) * 3
    cleaned = clean(labels(data, dtype=np.int16))
    np.testing.assert_array_equal(cleaned.data, data)
    assert cleaned.data.dtype == np.int16


def test_dust_below_the_volume_goes_and_what_reaches_it_stays():
    data = empty()
    data[1, 1, 1:4] = 1  # 3 voxels of 2 nm^3
    data[5, 5, 5:9] = 1  # 4 voxels
    cleaned = clean(labels(data, (2.0, 1.0, 1.0)), min_volume_nm3=8.0).data
    expected = empty()
    expected[5, 5, 5:9] = 1
    np.testing.assert_array_equal(cleaned, expected)


def test_voxels_that_touch_by_a_corner_are_one_component():
    data = empty()
    for i in range(4):
        data[i, i, i] = 1
    np.testing.assert_array_equal(clean(labels(data), min_volume_nm3=4.0).data, data)


def test_dust_takes_the_class_that_most_of_its_faces_touch():
    data = empty()
    data[:6] = 2
    data[5, 4, 4] = 1  # five faces on class 2, one on the background
    data[6, 9, 9] = 1  # five on the background, one on class 2
    cleaned = clean(labels(data), min_volume_nm3=2.0).data
    assert cleaned[5, 4, 4] == 2
    assert cleaned[6, 9, 9] == 0


def test_closed_hole_is_filled_and_an_open_one_is_not():
    data = empty()
    data[1:10, 1:10, 1:10] = 1
    data[3:5, 3:5, 3:5] = 0  # closed
    data[7, 7, 7:] = 0  # opens to the border along x
    expected = data.copy()
    expected[3:5, 3:5, 3:5] = 1
    np.testing.assert_array_equal(clean(labels(data), fill_holes=True).data, expected)


def test_hole_that_leaks_only_by_an_edge_is_closed():
    data = np.ones((7, 7, 7), np.uint8)
    data[3, 3, 3] = data[3, 4, 4:] = 0  # the centre touches the channel to the border by an edge
    cleaned = clean(labels(data), fill_holes=True).data
    assert cleaned[3, 3, 3] == 1
    assert not cleaned[3, 4, 4:].any()


def test_particle_in_another_class_is_no_hole():
    data = np.full((7, 7, 7), 2, np.uint8)
    data[3, 3, 3] = 5
    np.testing.assert_array_equal(clean(labels(data), fill_holes=True).data, data)


def test_opening_cuts_a_thin_neck_and_keeps_the_slab():
    data = empty((20, 20, 30))
    data[:, :, 4:12] = data[:, :, 20:28] = 1  # slabs of 8
    data[9:11, 9:11, 12:20] = 1  # a neck of 2 x 2
    expected = data.copy()
    expected[:, :, 12:20] = 0
    np.testing.assert_array_equal(clean(labels(data), opening_nm=6.0).data, expected)


def test_closing_fills_a_thin_gap_and_leaves_a_wide_one():
    data = np.ones((10, 10, 40), np.uint8)
    data[:, :, 10:12] = 0  # a gap of 2
    data[:, :, 20:30] = 0  # of 10
    expected = data.copy()
    expected[:, :, 10:12] = 1
    np.testing.assert_array_equal(clean(labels(data), closing_nm=6.0).data, expected)


def test_opening_and_closing_are_in_nm_along_each_axis():
    data = empty((20, 20, 20))
    data[8:10] = 1  # 2 voxels along z: 10 nm
    assert clean(labels(data, (5.0, 1.0, 1.0)), opening_nm=8.0).data.any()
    assert not clean(labels(data, (1.0, 5.0, 5.0)), opening_nm=8.0).data.any()


def test_closing_does_not_take_from_another_class():
    data = empty((6, 6, 30))
    data[:, :, :10], data[:, :, 10:12], data[:, :, 12:20] = 1, 2, 1
    np.testing.assert_array_equal(clean(labels(data), closing_nm=8.0).data, data)


def test_all_but_the_largest_components_are_islands():
    data = empty()
    data[1:4, 1:4, 1:4] = 1  # 27
    data[6:9, 6:9, 6:8] = 1  # 18
    data[1, 10, 10] = 1
    data[9:11, 1:5, 1:5] = 2
    data[9, 2, 2] = 1  # in the other class
    two = data.copy()
    two[1, 10, 10], two[9, 2, 2] = 0, 2
    np.testing.assert_array_equal(clean(labels(data), n_largest=2).data, two)
    one = two.copy()
    one[6:9, 6:9, 6:8] = 0
    np.testing.assert_array_equal(clean(labels(data), n_largest=1).data, one)


@pytest.mark.parametrize("voxel", [CUBE, (2.0, 1.0, 0.5)])
def test_majority_is_that_of_the_ball_around_each_voxel(voxel):
    data = np.random.default_rng(0).choice([0, 1, 7], size=(6, 7, 9), p=[0.4, 0.4, 0.2]).astype(np.uint8)
    ours = clean(labels(data, voxel), majority_nm=4.2).data
    at = np.stack(np.indices(data.shape), axis=-1) * voxel
    for place in np.ndindex(data.shape):
        inside = ((at - at[place]) ** 2).sum(axis=-1) <= 2.1**2
        votes = {c: np.count_nonzero(data[inside] == c) for c in (0, 1, 7)}
        best = [c for c in votes if votes[c] == max(votes.values())]
        assert ours[place] == (data[place] if data[place] in best else best[0])


def test_majority_takes_single_voxels_and_leaves_flat_boundaries():
    data = empty((10, 10, 20))
    data[:, :, 10:] = 1
    noisy = data.copy()
    noisy[5, 5, 3], noisy[4, 6, 15] = 1, 0
    np.testing.assert_array_equal(clean(labels(noisy), majority_nm=3.0).data, data)


def test_cleaning_keeps_grid_names_and_where_it_came_from():
    source = Labels(
        np.ones((3, 4, 5), np.uint8), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), {"method": "otsu"}, {1: "film"}
    )
    cleaned = clean(source, min_volume_nm3=1.0)
    assert (cleaned.voxel_size_nm, cleaned.origin_nm) == (source.voxel_size_nm, source.origin_nm)
    assert cleaned.names == {1: "film"}
    assert cleaned.record["input"] == {"method": "otsu"}


@pytest.mark.parametrize("name", ["opening_nm", "closing_nm", "min_volume_nm3", "n_largest", "majority_nm"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_negative_and_infinite_sizes_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        clean(labels(empty()), **{name: value})


def classes():
    return labels(np.resize([0, 1, 2, 3], (3, 4, 8)), names={0: "pore", 1: "ionomer", 2: "carbon"})


def test_select_takes_numbers_and_names():
    chosen = select(classes(), classes=["carbon", 3])
    np.testing.assert_array_equal(chosen.data, np.resize([0, 0, 1, 1], (3, 4, 8)))
    assert chosen.names == {1: "carbon+3"}
    assert chosen.data.dtype == np.uint8


def test_select_takes_the_background():
    np.testing.assert_array_equal(select(classes(), classes=["pore"]).data, classes().data == 0)
    assert select(labels(np.resize([0, 1], (2, 2, 2))), classes=["background"]).data.sum() == 4


@pytest.mark.parametrize(
    ("wanted", "match"),
    [(["platinum"], "platinum"), ([7], "at least one voxel"), ([], "one or more"), ("carbon", "sequence")],
)
def test_select_refuses_what_is_not_there(wanted, match):
    with pytest.raises(ValueError, match=match):
        select(classes(), classes=wanted)
