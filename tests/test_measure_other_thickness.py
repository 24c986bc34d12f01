"""Distance and slice thickness against closed forms, side by side with local thickness."""

import numpy as np
import pytest

from tomo3d import io
from tomo3d.measure import distance_thickness, local_thickness, slice_thickness
from tomo3d.types import Labels

CUBE = (1.0, 1.0, 1.0)
PORE, FILM, SOLID = 0, 1, 2


def labels(data, voxel=CUBE):
    data = data.astype(np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel)


def positions(shape, voxel=CUBE):
    axes = [(np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, voxel, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def beside(data, phase, other):
    """Voxels of a phase with a face on another."""
    touched = np.zeros(data.shape, bool)
    for axis in range(3):
        for step in (1, -1):
            touched |= np.roll(data == other, step, axis)
    return touched & (data == phase)


@pytest.mark.parametrize("voxel", [CUBE, (1.5, 1.0, 1.0)])
def test_film_on_a_ball_is_as_thick_by_either_definition(voxel):
    shape = tuple(int(40 / edge) for edge in voxel)
    radius = np.linalg.norm(positions(shape, voxel) - (0.3, -0.2, 0.1), axis=-1)
    data = np.where(radius < 11, SOLID, np.where(radius < 17, FILM, PORE))
    distance = distance_thickness(labels(data, voxel), phase=FILM).data
    # From the outer surface to any point of the film.
    inside = data == FILM
    assert np.abs(distance[inside] - (17 - radius[inside])).max() < 1.0 * max(voxel)
    assert np.median(distance[inside] - (17 - radius[inside])) == pytest.approx(0.0, abs=0.1 * max(voxel))
    # At the ball, voxels of the film lie half a voxel before the interface, more on the diagonals.
    inner = beside(data, FILM, SOLID)
    gap = radius[inner] - 11
    assert np.median(distance[inner] + gap) == pytest.approx(6.0, abs=0.25 * max(voxel))
    local = local_thickness(labels(data == FILM, voxel)).data
    assert np.median(local[inside]) == pytest.approx(6.0, rel=0.03 if voxel == CUBE else 0.08)
    assert not distance[~inside].any()


def test_bridge_in_a_slot_is_as_thick_as_the_slot_but_as_far_as_its_length():
    width, length = 7, 40
    data = np.full((width + 8, length + 16, 20), SOLID)
    data[4 : 4 + width] = PORE
    data[4 : 4 + width, 8 : 8 + length] = FILM
    film = data == FILM
    distance = distance_thickness(labels(data), phase=FILM).data[film]
    assert distance.max() == pytest.approx(length / 2 - 0.5, abs=0.1)  # the centre of the last voxel
    assert distance.mean() == pytest.approx(length / 4, rel=0.03)
    # By balls the bridge ends at its two open ends, the walls count as its surface: the slot's width.
    assert np.median(local_thickness(labels(film)).data[film]) == pytest.approx(width, rel=0.03)


def test_path_goes_around_an_obstacle():
    # A dead end folded once: 20 along, 5 across, 20 back; the straight way would be through the wall.
    data = np.full((5, 14, 30), SOLID)
    data[:, 2:5, :25] = FILM
    data[:, 9:12, :25] = FILM
    data[:, 2:12, 22:25] = FILM
    data[:, 2:5, :3] = PORE
    distance = distance_thickness(labels(data), phase=FILM).data
    # Between centres of voxels: along the wall to its corner, across, and back a row lower.
    around = (22 - 2.5) + 5 + np.hypot(22 - 1, 1)
    assert distance[2, 10, 1] == pytest.approx(around, rel=0.03)


@pytest.mark.parametrize("normal", [(1.0, 0.0, 0.0), (0.8, 0.6, 0.0), (0.7, 0.5, 0.51)])
def test_oblique_film_on_a_flat_body(normal):
    unit = np.array(normal) / np.linalg.norm(normal)
    depth = positions((30, 29, 28)) @ unit + 0.2
    data = np.where(depth < 0, SOLID, np.where(depth < 6.4, FILM, PORE))
    distance = distance_thickness(labels(data), phase=FILM).data
    inner = np.zeros_like(data, bool)
    inner[8:-8, 8:-8, 8:-8] = True
    film = (data == FILM) & inner
    np.testing.assert_allclose(distance[film], 6.4 - depth[film], atol=0.5)
    assert np.median(distance[film] - (6.4 - depth[film])) == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_slices_of_an_oblique_plate_read_its_thickness_over_the_sine(axis):
    unit = np.array([0.75, 0.45, 0.48])
    unit /= np.linalg.norm(unit)
    mask = np.abs(positions((34, 33, 32)) @ unit + 0.2) < 3.0
    thickness = slice_thickness(labels(mask), axis=axis).data[8:-8, 8:-8, 8:-8]
    sine = np.sqrt(1 - unit["zyx".index(axis)] ** 2)
    assert np.median(thickness[thickness > 0]) == pytest.approx(6.0 / sine, rel=0.05)


def test_slices_of_a_ball_are_its_circles():
    radius = np.linalg.norm(positions((23, 24, 25)), axis=-1)
    thickness = slice_thickness(labels(radius < 10.2), axis="z").data
    for z in (6, 11, 15):
        circle = 2 * np.sqrt(10.2**2 - (z - 11) ** 2)
        plane = thickness[z]
        assert np.median(plane[plane > 0]) == pytest.approx(circle, rel=0.03)
    assert not thickness[0].any()


def test_slices_that_are_full_have_no_thickness():
    mask = np.zeros((4, 9, 10), bool)
    mask[1] = True
    mask[2, 3:6] = True
    thickness = slice_thickness(labels(mask)).data
    assert np.isnan(thickness[1]).all()
    assert np.median(thickness[2, 3:6]) == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize(("value", "match"), [(0, "at least one voxel"), (1, "must leave some background")])
def test_slices_of_nothing_or_everything_are_refused(value, match):
    with pytest.raises(ValueError, match=match):
        slice_thickness(labels(np.full((4, 5, 6), value)))
    with pytest.raises(ValueError, match="axis must be z, y or x"):
        slice_thickness(labels(np.eye(5)[None]), axis="w")


def test_distance_needs_two_phases_that_touch():
    data = np.zeros((5, 6, 12))
    data[:, :, 4:8], data[:, :, 8:] = SOLID, FILM
    with pytest.raises(ValueError, match="must touch"):
        distance_thickness(labels(data), phase=FILM)
    with pytest.raises(ValueError, match="two classes"):
        distance_thickness(labels(data), phase=FILM, source=FILM)
    with pytest.raises(ValueError, match="phase must have at least one voxel, got none of class 7"):
        distance_thickness(labels(data), phase=7)
    with pytest.raises(ValueError, match="source must have at least one voxel"):
        distance_thickness(labels(data), phase=FILM, source=5)


def test_film_that_no_path_reaches_has_no_thickness_and_is_counted(tmp_path):
    data = np.full((5, 6, 20), SOLID)
    data[:, :, :3], data[:, :, 3:6], data[2, 3, 15:18] = PORE, FILM, FILM
    result = distance_thickness(labels(data), phase=FILM)
    distance = result.data
    assert (distance[2, 3, 15:18] == 0).all()
    assert result.record["n_without_path"] == 3
    io.write_volume(result, tmp_path / "distance.mrc")  # files hold finite values alone
    np.testing.assert_allclose(distance[2, 3, 3:6], [0.5, 1.5, 2.5], atol=0.05)
