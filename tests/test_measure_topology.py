"""Euler number, pieces, tunnels and cavities; Minkowski functionals of bodies in closed form."""

import math

import numpy as np
import pytest
from skimage import measure as peer

from tomo3d import measure, phantoms
from tomo3d.compute.configurations import configuration_counts, euler_number
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)


def frozen(array):
    array.flags.writeable = False
    return array


def values(table):
    return {(row.quantity, row.estimator): row.value for row in table.itertuples()}


def numbers(mask, connectivity):
    table = measure.euler_number(Labels(frozen(mask), (2.0, 1.0, 3.0)), connectivity=connectivity)
    return dict(zip(table["quantity"], table["value"], strict=True))


@pytest.mark.parametrize("shape", [(9, 11, 13), (1, 8, 5), (34, 3, 4)])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.93])
def test_random_masks_have_the_euler_number_of_scikit_image(shape, share):
    mask = np.random.default_rng(7).random(shape) < share
    assert euler_number(frozen(mask), 6) == peer.euler_number(mask, connectivity=1)
    assert euler_number(mask, 26) == peer.euler_number(mask, connectivity=3)


def test_every_cell_is_counted_once_under_its_own_configuration():
    mask = np.random.default_rng(1).random((18, 7, 6)) < 0.5
    padded = np.pad(mask, 1)
    expected = np.zeros(256, dtype=int)
    for z, y, x in np.ndindex(19, 8, 7):
        cell = padded[z : z + 2, y : y + 2, x : x + 2].ravel()
        expected[int((cell << np.arange(8)).sum())] += 1
    assert configuration_counts(mask).tolist() == expected.tolist()


def test_two_cubes_that_touch_at_a_corner_are_one_piece_or_two():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert numbers(mask, 26)["euler_number"] == 1
    assert numbers(mask.copy(), 6)["euler_number"] == 2
    assert numbers(mask.copy(), 6)["n_pieces"] == 2


def test_a_hollow_ring_beside_a_hollow_block_has_its_tunnels_and_cavities():
    mask = np.zeros((9, 11, 22), dtype=bool)
    mask[2:7, 2:9, 2:9], mask[2:7, 4:7, 4:7] = True, False  # a ring
    mask[2:7, 2:9, 12:20], mask[4, 4:7, 14:18] = True, False  # a block with a void
    found = numbers(mask, 6)
    assert found == {"euler_number": 2, "n_pieces": 2, "n_cavities": 1, "n_tunnels": 1}


def test_a_plate_from_border_to_border_encloses_nothing():
    mask = np.zeros((9, 6, 7), dtype=bool)
    mask[3:5] = True
    assert numbers(mask, 26) == {"euler_number": 1, "n_pieces": 1, "n_cavities": 0, "n_tunnels": 0}


@pytest.mark.parametrize("as_mask", [False, True])
@pytest.mark.parametrize("radius", [5.0, 12.0])
def test_the_functionals_of_a_ball(radius, as_mask):
    n = int(2 * radius) + 9
    grey = phantoms.Ball(radius_nm=radius, centre_nm=(0.3, -0.2, 0.1)).fraction((n, n + 1, n), 1.0)
    body = Labels(frozen(grey > 0.5), CUBE) if as_mask else Volume(frozen(grey.astype(np.float32)), CUBE)
    table = measure.minkowski_functionals(body, level=None if as_mask else 0.5)
    found = {quantity: value for (quantity, _), value in values(table).items()}
    assert found["volume"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02 if as_mask else 0.005)
    areas = table["value"][table["quantity"] == "surface_area"]
    assert list(areas) == pytest.approx(
        [4 * math.pi * radius**2] * len(areas), rel=0.025 if as_mask else 0.01
    )
    # as stated: 2 % from grey values, 4 % from masks
    assert found["integrated_mean_curvature"] == pytest.approx(
        4 * math.pi * radius, rel=0.04 if as_mask else 0.02
    )
    assert found["euler_number"] == 1
    assert (table["estimator"] != "").all()


def test_bad_structures_and_connectivities_are_refused():
    mask = np.zeros((6, 6, 6), dtype=bool)
    with pytest.raises(ValueError, match="at least one voxel, got none"):
        measure.euler_number(Labels(mask, CUBE))
    with pytest.raises(ValueError, match="leave some background"):
        measure.euler_number(Labels(~mask, CUBE))
    mask[2, 2, 2] = True
    with pytest.raises(ValueError, match="connectivity must be 6 or 26 neighbours, got 18"):
        measure.euler_number(Labels(mask, CUBE), connectivity=18)
