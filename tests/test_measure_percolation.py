import math

import numpy as np
import pytest
from scipy import ndimage

from tomo3d import tables
from tomo3d.compute.distance import integer_metric, squared_distance
from tomo3d.measure import (
    local_thickness_voxel,
    object_sizes,
    percolation,
    porosimetry,
    porosity,
    size_distribution,
)
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)
CORNERS = np.ones((3, 3, 3), bool)


def labels(data, voxel=CUBE):
    data = np.array(data, dtype=np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel, names={1: "pore"})


def blobs(shape, share=0.5, seed=0, sigma=1.5):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return field > np.quantile(field, 1 - share)


def bottle():
    """A chamber of 15 behind a neck of 3 that opens at z-, and a closed pore."""
    data = np.zeros((30, 21, 23))
    data[:15, 9:12, 9:12] = 1
    data[15:28, 3:18, 3:18] = 1
    data[5:8, 15:18, 15:18] = 1
    return data


def test_open_and_closed_pores():
    table = tables.check(porosity(labels(bottle(), (1.0, 2.0, 0.5)), phase="pore"), tables.SUMMARY).set_index(
        "quantity"
    )
    n_open, n_closed, n = 15 * 9 + 13 * 225, 27, 30 * 21 * 23
    assert table.value["porosity"] == pytest.approx((n_open + n_closed) / n)
    assert table.value["porosity_open"] == pytest.approx(n_open / n)
    assert table.value["porosity_closed"] == pytest.approx(n_closed / n)
    assert table.value["open_share"] == pytest.approx(n_open / (n_open + n_closed))
    assert table.n.to_list() == [n, n_open, n_closed, n_open + n_closed]


@pytest.mark.parametrize(
    ("faces", "is_open"), [("z-", True), ("z", True), ("z+", False), ("y,x", False), ("x+, z-", True)]
)
def test_open_is_open_to_the_faces_that_are_named(faces, is_open):
    table = porosity(labels(bottle()), phase=1, faces=faces).set_index("quantity")
    assert (table.value["porosity_open"] > 0) == is_open


def test_open_pores_of_a_wide_film_have_an_interval():
    table = porosity(labels(blobs((4, 90, 80), 0.2, sigma=0.8)), phase=1).set_index("quantity")
    assert (table.low < table.value).all()
    assert (table.value < table.high).all()
    assert table.interval.str.contains("bootstrap over").all()


def test_a_staircase_of_corners_percolates_by_26_only():
    data = np.zeros((6, 6, 6))
    data[range(6), range(6), range(6)] = 1
    for connectivity, percolates in ((6, False), (26, True)):
        table = tables.check(
            percolation(labels(data), phase=1, connectivity=connectivity), tables.PERCOLATION
        )
        assert table.percolates.to_list() == [percolates] * 3
        assert table.percolating_fraction.to_list() == [float(percolates)] * 3
        assert table.n_components.to_list() == [1 if percolates else 6] * 3
        assert table.largest_component_fraction[0] == pytest.approx(1.0 if percolates else 1 / 6)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8])
def test_the_ball_that_crosses_is_as_wide_as_the_neck(width):
    data = np.zeros((15, 21, 22))
    data[:5, 2:19], data[10:, 2:19], data[5:10, 6 : 6 + width] = 1, 1, 1
    table = percolation(labels(data, (0.5, 0.5, 0.5)), phase="pore").set_index("axis")
    assert table.diameter_nm["z"] == pytest.approx(0.5 * width, abs=0.25 + 1e-9)
    assert table.diameter_nm["y"] == 0.0
    assert not table.percolates["y"]


def test_a_phase_that_fills_the_volume_lets_everything_pass():
    table = percolation(labels(np.ones((1, 4, 5))), phase=1)
    assert table.percolates.all()
    assert np.isinf(table.diameter_nm).all()


def test_a_ball_enters_through_the_neck():
    entered = porosimetry(labels(bottle()), phase=1, faces="z-")
    local = local_thickness_voxel(labels(bottle()))
    assert entered.data.max() == 4.0  # a neck of 3 voxels reads 4 on the grid
    assert local.data.max() >= 14.0
    assert entered.data[6, 16, 16] == 0.0  # the closed pore
    assert (porosimetry(labels(bottle()), phase=1, faces="x").data == 0).all()


@pytest.mark.parametrize("connectivity", [6, 26])
@pytest.mark.parametrize("voxel", [CUBE, (2.0, 1.0, 1.5)])
def test_intrusion_is_that_of_every_radius_by_itself(voxel, connectivity):
    inside = blobs((13, 14, 11), 0.6)
    metric = integer_metric(inside.shape, voxel)
    squared = squared_distance(inside, metric)
    grid = np.indices(inside.shape).reshape(3, -1).T * voxel / metric.unit
    expected = np.zeros(inside.shape)
    for r2 in np.unique(squared[inside]):
        structure = CORNERS if connectivity == 26 else None
        components, _ = ndimage.label(squared >= r2, structure=structure)
        is_joined = np.isin(components, np.setdiff1d(np.union1d(components[0], components[:, :, -1]), [0]))
        for centre in np.argwhere(is_joined) * voxel / metric.unit:
            is_near = (((grid - centre) ** 2).sum(axis=1) < r2 - 1e-6).reshape(inside.shape)
            expected[is_near] = 2 * metric.unit * math.sqrt(r2)
    found = porosimetry(labels(inside, voxel), phase=1, faces="z-,x+", connectivity=connectivity).data
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found <= local_thickness_voxel(labels(inside, voxel)).data).all()


def test_a_size_distribution_adds_up_to_its_volume():
    data = np.zeros((4, 60, 60), np.float32)
    data[:, :30, ::2], data[:, 30:, ::2] = 4.0, 6.5
    table = tables.check(size_distribution(Volume(data, (0.5, 1.0, 2.0)), bin_nm=2.0), tables.SIZES)
    assert (table.density_per_nm * 2.0).to_list() == pytest.approx([0.0, 0.0, 0.5, 0.5])
    assert table.share_wider.to_list() == [1.0, 1.0, 1.0, 0.5]
    assert table.from_nm.to_list() == [0.0, 2.0, 4.0, 6.0]
    assert table.density_low[2] < 0.25 < table.density_high[2]
    assert size_distribution(Volume(data, (0.5, 1.0, 2.0))).to_nm[0] == 0.5


def test_objects_have_their_size_and_place():
    data = np.zeros((9, 12, 20), np.int32)
    data[1:4, 2:6, 3:8], data[5:, 7, 9] = 40, 7
    table = tables.check(
        object_sizes(Labels(data, (2.0, 1.0, 0.5), (10.0, 0.0, -1.0))), tables.OBJECTS
    ).set_index("object")
    assert table.n_voxels.to_dict() == {7: 4, 40: 60}
    assert table.volume_nm3[40] == 60.0
    assert table.diameter_nm[40] == pytest.approx((6 * 60.0 / math.pi) ** (1 / 3))
    assert table.loc[40, ["z_nm", "y_nm", "x_nm"]].to_list() == [14.0, 3.5, 1.5]
    assert table.loc[40, ["extent_z_nm", "extent_y_nm", "extent_x_nm"]].to_list() == [6.0, 4.0, 2.5]
    assert table.touches_border.to_dict() == {7: True, 40: False}
    assert len(object_sizes(Labels(np.zeros((2, 2, 2), int), CUBE))) == 0


FULL, FLAT = labels(np.ones((3, 4, 5))), Volume(np.zeros((3, 4, 5), np.float32), CUBE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: porosity(FULL, phase=0), "at least one voxel, got none of class 0"),
        (lambda: porosity(FULL, phase="poer"), "names background, pore, got 'poer'"),
        (lambda: porosity(FULL, phase=1, faces="w-"), "faces must be all, or some of"),
        (lambda: porosity(FULL, phase=1, connectivity=18), "connectivity must be 6"),
        (lambda: percolation(FULL, phase=1, axes=""), "axes must be some of"),
        (lambda: porosimetry(FULL, phase=1), "leave some of the volume to others"),
        (lambda: size_distribution(FLAT), "at least one voxel, got none: the structure is empty"),
        (lambda: size_distribution(Volume(np.full((2, 2, 2), np.nan), CUBE)), "must be finite"),
        (
            lambda: size_distribution(Volume(np.ones((2, 2, 2)), CUBE), bin_nm=-1.0),
            "bin_nm must be a positive length",
        ),
        (lambda: size_distribution(Volume(np.ones((2, 2, 2)), CUBE), bin_nm=1e-7), "at most 10000 bins"),
        (lambda: object_sizes(Labels(np.full((2, 2, 2), -1), CUBE)), "zero or positive, got -1"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
