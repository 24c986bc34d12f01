import numpy as np
import pytest

from tomo3d import tables
from tomo3d.measure import distance_thickness, thickness_report
from tomo3d.measure.censored import log_normal_mean
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)


def rows(table):
    tables.check(table, tables.SUMMARY)
    return table.set_index("quantity")


def log_normal(shape, median=2.0, sigma=0.6, seed=0):
    return np.exp(np.log(median) + sigma * np.random.default_rng(seed).standard_normal(shape)).astype(
        np.float32
    )


def test_mean_under_a_cut_off_is_that_of_the_whole_distribution():
    # Median 2, sigma 0.6, cut at 1.5: 32 % are cut, the mean of the rest is 3.0, that of all 2 exp(0.18) = 2.39.
    table = rows(thickness_report({"film": Volume(log_normal((20, 90, 90)), CUBE)}, cutoff_nm=1.5))
    value = table.value
    assert value["film_volume_mean"] == pytest.approx(2 * np.exp(0.18), rel=0.03)
    assert value["film_volume_mean_above"] == pytest.approx(3.0, rel=0.02)
    assert value["film_volume_share_below"] == pytest.approx(0.316, abs=0.01)
    assert value["film_volume_median"] == pytest.approx(2.0, rel=0.02)
    assert value["film_volume_p05"] == pytest.approx(1.5, abs=0.02)  # one bin of 2048 over the range
    assert set(table.n) == {20 * 90 * 90}
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()


@pytest.mark.parametrize("cutoff", [0.5, 1.5, 3.0])
def test_censored_mean_does_not_depend_on_the_cut_off(cutoff):
    values = log_normal(200_000)
    above = np.log(values[values >= cutoff])
    mean = log_normal_mean((values < cutoff).sum(), cutoff, len(above), above.sum(), (above**2).sum())
    assert mean == pytest.approx(2 * np.exp(0.18), rel=0.03)


def test_without_a_cut_off_the_mean_is_that_of_the_voxels():
    data = np.zeros((6, 80, 80), np.float32)
    data[1:3], data[4] = 3.0, 9.0
    table = rows(thickness_report({"a": Volume(data, CUBE)})).value
    assert table["a_volume_mean"] == table["a_volume_mean_above"] == pytest.approx(5.0)
    assert table["a_volume_median"] == 3.0
    assert table["a_volume_share_below"] == 0.0


def film_on_a_body(slope):
    """A body below the plane z = slope x, 4 nm of film on it, pore above; and how far each voxel is above it."""
    z, _, x = np.meshgrid(*(np.arange(n) - n / 2 for n in (40, 12, 41)), indexing="ij")
    depth = (z - slope * x) / np.hypot(1, slope) + 0.2
    return Labels(np.where(depth < 0, 2, np.where(depth < 4, 1, 0)).astype(np.uint8), CUBE), depth


@pytest.mark.parametrize(("slope", "is_sampled"), [(0.0, False), (0.3, False), (1.0, True), (2.0, True)])
def test_interface_with_its_normal_in_the_wedge_is_not_among_the_sampled(slope, is_sampled):
    # At +-60 deg, normals within 30 deg of z are in the wedge: slopes up to tan 30 deg = 0.58.
    labels, depth = film_on_a_body(slope)
    maps = {"distance": distance_thickness(labels, phase=1)}
    wanted = {"labels": labels, "interface": 2}
    everywhere = rows(thickness_report(maps, **wanted))
    # Along a diagonal of the grid the labels hold five layers of voxels, sqrt(1/2) apart, whatever was between them.
    thickness = 5 / np.sqrt(2) if slope == 1.0 else 4.0
    assert everywhere.value["distance_interface_median"] == pytest.approx(thickness, abs=0.08)
    expected = (4.0 - depth[labels.data == 1]).mean()
    assert everywhere.value["distance_volume_mean"] == pytest.approx(expected, abs=0.5)  # half a voxel
    if is_sampled:
        table = rows(thickness_report(maps, **wanted, tilt_range_deg=(-60.0, 60.0)))
        n = table.n
        assert n["distance_interface_sampled_mean"] > 0.9 * n["distance_interface_mean"]
    else:
        with pytest.raises(ValueError, match="distance_interface_sampled must have at least one value"):
            thickness_report(maps, **wanted, tilt_range_deg=(-60.0, 60.0))


@pytest.mark.parametrize("voxel", [CUBE, (1.5, 1.0, 1.2)])
@pytest.mark.parametrize("film", [2.0, 3.0, 6.0])
def test_a_film_on_a_ball_is_as_far_through_as_it_is_thick(film, voxel):
    shape = tuple(int(2 * (15 + film) / edge) for edge in voxel)
    axes = [(np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, voxel, strict=True)]
    radius = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij"), -1) - (0.3, -0.2, 0.1), axis=-1)
    data = np.where(radius < 13, 2, np.where(radius < 13 + film, 1, 0)).astype(np.uint8)
    labels = Labels(data, voxel)
    maps = {"distance": distance_thickness(labels, phase=1), "local": Volume((data == 1) * film, voxel)}
    value = rows(thickness_report(maps, labels=labels, interface=2)).value
    # Voxel centres are up to 0.5 voxels from the ball; what is left is the error of its estimated boundary.
    assert value["distance_interface_median"] == pytest.approx(film, abs=0.12 * max(voxel))
    assert value["distance_interface_mean"] == pytest.approx(film, abs=0.12 * max(voxel))
    assert value["local_interface_median"] == value["local_interface_p05"] == film  # what is even stays


def test_the_way_along_a_wall_is_no_longer_at_the_wall():
    # A bridge of 7 x 32, open at both ends: at its walls the way is 0 to 16, 8 on average.
    data = np.full((15, 48, 9), 2, np.uint8)
    data[4:11] = 0
    data[4:11, 8:40] = 1
    labels = Labels(data, CUBE)
    distance = distance_thickness(labels, phase=1)
    value = rows(thickness_report({"distance": distance}, labels=labels, interface=2)).value
    assert value["distance_interface_mean"] == pytest.approx(8.0, abs=0.1)
    # The centres of the last voxels are half a voxel from the ends.
    assert value["distance_interface_p95"] <= 15.6


def test_what_is_no_thickness_is_left_out():
    data = np.full((4, 9, 9), 2.0)
    data[0], data[1], data[2] = 0.0, np.nan, np.inf
    assert set(thickness_report({"a": Volume(data, CUBE)}).n) == {81}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cutoff_nm": -1.0}, "cutoff_nm must be zero or"),
        ({"interface": 1}, "labels must be given"),
        ({"tilt_range_deg": (-60.0, 60.0)}, "come with an interface"),
        ({"labels": Labels(np.zeros((2, 2, 2), np.int8), CUBE)}, "on one grid"),
    ],
)
def test_wrong_requests_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        thickness_report({"a": Volume(np.ones((3, 4, 5)), CUBE)}, **options)
    with pytest.raises(ValueError, match="at least one map"):
        thickness_report()
