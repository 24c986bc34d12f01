import math

import numpy as np
import pytest

from tomo3d import tables
from tomo3d.measure import chord_lengths
from tomo3d.types import Labels


def labels(data, voxel=(1.0, 1.0, 1.0)):
    data = np.array(data, dtype=np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel, names={1: "film"})


def chords(result, axis):
    table = tables.check(result.distribution, tables.CHORDS)
    return table[table.axis == axis].set_index("length_nm")


def summary(result):
    return tables.check(result.summary, tables.SUMMARY).set_index("quantity")


def test_chords_are_counted_by_how_the_border_cuts_them():
    line = [1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1]
    data = np.zeros((1, 3, 14))
    data[0, 0], data[0, 1] = line, 1
    table = chords(chord_lengths(labels(data, (1.0, 1.0, 0.5)), phase="film"), "x")
    assert table.n_complete.to_dict() == {0.5: 1, 1.0: 0, 1.5: 1, 2.0: 0, 7.0: 0}
    assert table.n_cut.to_dict() == {0.5: 0, 1.0: 1, 1.5: 0, 2.0: 1, 7.0: 0}
    assert table.n_cut_twice.to_dict() == {0.5: 0, 1.0: 0, 1.5: 0, 2.0: 0, 7.0: 1}


def test_chords_of_a_ball():
    radius = 15.25
    grid = np.indices((36, 40, 37)) - np.array([17.3, 20.1, 18.0])[:, None, None, None]
    result = chord_lengths(labels((grid**2).sum(axis=0) < radius**2), phase=1)
    for axis in "zyx":
        table = chords(result, axis)
        assert table.n_cut.sum() + table.n_cut_twice.sum() == 0
        mean = (table.index * table.n_complete).sum() / table.n_complete.sum()
        assert mean == pytest.approx(4 / 3 * radius, rel=0.02)
        assert table.survival.iloc[-1] == pytest.approx(0.0, abs=1e-12)
        assert table.share.sum() == pytest.approx(1.0, abs=1e-12)
    found = summary(result).value
    # density of chord lengths is l / 2 R^2: 1 / 4 of the chords are shorter than R
    assert chords(result, "z").share[lambda s: s.index <= radius].sum() == pytest.approx(0.25, abs=0.03)
    assert found["specific_surface"] * 36 * 40 * 37 == pytest.approx(4 * math.pi * radius**2, rel=0.05)


def test_cut_chords_do_not_bias_a_narrow_field():
    # a chord ends after each voxel with probability 1/10: mean 10, survival 0.9^k; the field is 16 voxels wide
    rng = np.random.default_rng(0)
    change = rng.random((1, 60_000, 15)) < 0.1
    start = rng.random((1, 60_000, 1)) < 0.5
    data = np.concatenate([start, start ^ (np.cumsum(change, axis=2) % 2 == 1)], axis=2)
    result = chord_lengths(labels(data), phase=1, axes="x")
    table, found = chords(result, "x"), summary(result)
    naive = (table.index * table.n_complete).sum() / table.n_complete.sum()
    assert naive < 6
    assert found.value["chord_mean_x"] == pytest.approx(10.0, rel=0.02)  # 90,000 ends: scatter of 0.5 %
    lengths = np.arange(1, 15)  # to see that a chord of 15 ends takes 17 voxels
    assert table.survival[lengths.astype(float)].to_numpy() == pytest.approx(0.9**lengths, abs=0.012)


def test_a_laminate_has_the_thickness_of_its_layers():
    data = np.zeros((4, 6, 60))
    data[:, :, np.arange(60) % 10 < 3] = 1
    result = chord_lengths(labels(data, (1.0, 1.0, 2.0)), phase=1, axes="xz")
    x = chords(result, "x")
    assert x.share[6.0] == pytest.approx(1.0)
    assert summary(result).value["chord_mean_x"] == pytest.approx(
        6.0, rel=0.09
    )  # 12 layers, one end of them outside
    assert math.isinf(summary(result).value["chord_mean_z"])
    assert summary(result).value["chord_cut_share_z"] == 1.0


def test_means_have_an_interval_where_there_are_blocks():
    data = np.random.default_rng(0).random((5, 80, 90)) < 0.5
    found = summary(chord_lengths(labels(data), phase=1))
    for axis in "zyx":
        low, value, high = found.loc[f"chord_mean_{axis}", ["low", "value", "high"]]
        assert low < 2.0 < high
        assert low < value < high


def test_a_phase_that_fills_the_volume_has_no_ends():
    result = chord_lengths(labels(np.ones((1, 3, 4))), phase=1)
    found = summary(result)
    assert np.isinf(found.value[["chord_mean_z", "chord_mean_y", "chord_mean_x"]]).all()
    assert found.value["specific_surface"] == 0.0
    assert (result.distribution.survival == 1.0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phase": "flim"}, "names background, film, got 'flim'"),
        ({"phase": 0}, "at least one voxel, got none of class 0"),
        ({"phase": 1, "axes": "w"}, "some of z, y and x"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        chord_lengths(labels(np.ones((3, 3, 3))), **arguments)
