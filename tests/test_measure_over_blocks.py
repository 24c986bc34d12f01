"""Block bootstrap of any measurement, held to the one that volume_fractions has of its own."""

import numpy as np
import pytest

from tomo3d import tables
from tomo3d.measure import over_blocks, volume_fractions
from tomo3d.types import Labels


def striped(shape=(3, 80, 96), voxel_size_nm=(2.0, 1.0, 0.5), seed=0):
    """Independent cells of 10 x 12 voxels, each filled or not."""
    cells = np.random.default_rng(seed).random((shape[1] // 10, shape[2] // 12)) < 0.4
    plane = np.kron(cells, np.ones((10, 12))).astype(np.uint8)
    data = np.broadcast_to(plane, shape)
    return Labels(data, voxel_size_nm, (5.0, 6.0, 7.0), names={0: "pore", 1: "film"})


def test_a_mean_and_a_sum_have_the_intervals_of_independent_cells():
    labels = striped()
    table = over_blocks(volume_fractions, labels, block_nm=6.0).set_index("quantity")
    cells = labels.data[0, ::10, ::12].ravel()
    half = 1.96 * cells.std(ddof=1) / np.sqrt(cells.size)
    row = table.loc["volume_fraction_film"]
    assert row.value == cells.mean()
    assert (row.low, row.high) == pytest.approx((cells.mean() - half, cells.mean() + half), rel=0.15)
    volume = table.loc["volume_film"]
    assert (volume.low / volume.value, volume.high / volume.value) == pytest.approx(
        (row.low / row.value, row.high / row.value), rel=0.05
    )
    assert "64 blocks of 10 x 6 nm" in row.interval


def test_what_cutting_does_to_a_number_is_no_scatter():
    def width(labels):
        return tables.summary([{"quantity": "width", "value": labels.data.shape[2], "unit": "px", "n": 1}])

    row = over_blocks(width, striped(), block_nm=6.0).iloc[0]
    assert (row.value, row.low, row.high) == (96, 96, 96)


def test_a_block_that_holds_nothing_is_left_out_of_a_mean_and_zero_in_a_sum():
    def one_film(labels):
        inside = np.flatnonzero(labels.data)
        if inside.size == 0:
            raise ValueError("nothing")
        rows = [("grey", 5.0), ("amount", float(inside.size))]
        return tables.summary([{"quantity": q, "value": v, "unit": "", "n": inside.size} for q, v in rows])

    labels = striped()
    table = over_blocks(one_film, labels, block_nm=6.0).set_index("quantity")
    assert tuple(table.loc["grey", ["value", "low", "high"]]) == (5.0, 5.0, 5.0)
    assert table.loc["amount", "low"] < 0.9 * table.loc["amount", "value"]


def test_blocks_know_where_they_are_and_few_of_them_give_no_interval():
    seen = []

    def where(labels):
        seen.append(labels.origin_nm)
        return volume_fractions(labels)

    table = over_blocks(where, striped(), block_nm=40.0)
    assert seen[1:] == [(5.0, 6.0, 7.0), (5.0, 46.0, 7.0)]
    assert table.low.isna().all()
    assert table.interval[0].startswith("none: 2 blocks")


def test_a_width_must_be_positive():
    with pytest.raises(ValueError, match="block_nm must be a positive length, got 0 nm"):
        over_blocks(volume_fractions, striped(), block_nm=0.0)
