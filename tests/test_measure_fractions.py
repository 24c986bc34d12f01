import numpy as np
import pytest
from scipy import ndimage

from tomo3d import tables
from tomo3d.measure import volume_fractions
from tomo3d.measure.bootstrap import blocks_of
from tomo3d.types import Labels


def rows(table):
    tables.check(table, tables.SUMMARY)
    return table.set_index("quantity")


def test_fractions_and_volumes_are_those_of_the_voxels():
    data = np.zeros((4, 10, 25), np.uint8)
    data[0], data[1, :4] = 1, 3
    data.flags.writeable = False
    table = rows(
        volume_fractions(Labels(data, (2.0, 1.0, 0.5), names={0: "pore", 1: "carbon", 2: "platinum"}))
    )
    expected = {"pore": 650 / 1000, "carbon": 0.25, "platinum": 0.0, "class_3": 0.1}
    for name, share in expected.items():
        assert table.value[f"volume_fraction_{name}"] == pytest.approx(share, rel=1e-12)
        assert table.value[f"volume_{name}"] == pytest.approx(share * 1000.0, rel=1e-12)  # voxels of 1 nm^3
    assert len(table) == 2 * len(expected)
    assert table.unit["volume_fraction_pore"] == ""
    assert table.unit["volume_pore"] == "nm^3"
    assert table.n["volume_carbon"] == 250
    assert table.n["volume_fraction_carbon"] == 1000


def test_class_zero_is_the_background_and_fractions_add_up_to_one():
    data = np.random.default_rng(0).integers(0, 4, (5, 33, 47))
    table = rows(volume_fractions(Labels(data, (1.0, 1.0, 1.0))))
    shares = [f"volume_fraction_{name}" for name in ("background", "class_1", "class_2", "class_3")]
    assert table.value[shares].sum() == pytest.approx(1.0, rel=1e-12)


def test_interval_covers_the_fraction_of_a_random_field_as_often_as_it_says():
    # Smoothed noise cut at its median: half of it is structure, exactly, in expectation; runs of some 7 voxels.
    rng = np.random.default_rng(3)
    n_fields, n_covered, n_covered_as_voxels = 100, 0, 0
    for seed in range(n_fields):
        field = ndimage.gaussian_filter(rng.standard_normal((4, 240, 240)), (0, 2, 2), mode="wrap")
        field = np.repeat(field[:1], 4, axis=0)
        table = rows(volume_fractions(Labels(field > 0, (1.0, 1.0, 1.0)), seed=seed))
        low, high = table.loc["volume_fraction_class_1", ["low", "high"]]
        n_covered += low <= 0.5 <= high
        n_covered_as_voxels += abs((field > 0).mean() - 0.5) <= 1.96 * 0.5 / np.sqrt(field.size)
    # About 60 blocks: 94 % expected; 100 fields scatter by 2.4 %, taken three times.
    assert n_covered / n_fields >= 0.94 - 3 * 0.024
    assert n_covered_as_voxels / n_fields < 0.5  # the field is one on which counting voxels fails


def test_interval_says_how_it_was_made():
    data = np.random.default_rng(0).integers(0, 2, (2, 80, 160))
    table = rows(volume_fractions(Labels(data, (1.0, 0.5, 2.0)), seed=4))
    text = "95 %, bootstrap over 64 blocks of 5 x 40 nm (y, x), 1000 draws, seed 4"
    assert set(table.interval) == {text}


def test_too_few_blocks_give_no_interval():
    data = np.zeros((3, 40, 40), np.uint8)
    data[:, :20] = 1
    table = rows(volume_fractions(Labels(data, (1.0, 1.0, 1.0))))
    assert table.low.isna().all()
    assert table.interval.str.startswith("none").all()


@pytest.mark.parametrize("shape", [(3, 64, 64), (5, 63, 101), (2, 8, 9), (1, 1, 300)])
def test_blocks_cover_every_column_once_and_are_as_wide_as_asked(shape):
    blocks = blocks_of(shape, (7.0, 9.5))
    assert blocks.n_voxels.sum() == np.prod(shape)
    assert blocks.n_blocks == blocks.per_axis[0] * blocks.per_axis[1] <= 64
    for axis, least in ((0, 7.0), (1, 9.5)):
        column = np.moveaxis(blocks.of_column, axis, 0)[:, 0]
        widths = np.unique(column, return_counts=True)[1]
        # Blocks differ by a voxel: the narrowest may be one short of what was asked.
        assert len(widths) == 1 or widths.min() > least - 1


def test_classes_of_one_name_are_refused():
    with pytest.raises(ValueError, match="different name"):
        volume_fractions(Labels(np.resize([0, 1, 2], (3, 3, 3)), (1.0,) * 3, names={1: "film", 2: "film"}))


def test_negative_classes_are_refused():
    with pytest.raises(ValueError, match="zero or positive"):
        volume_fractions(Labels(np.full((3, 3, 3), -1), (1.0,) * 3))
