import numpy as np
import pytest
from scipy import ndimage

from tomo3d.compute.distance import (
    distance_to_background,
    integer_metric,
    largest_ball_diameter,
    squared_distance,
)

SHAPES = [(17, 17, 17), (16, 20, 24), (1, 9, 33), (40, 3, 5), (7, 1, 1), (2, 70, 2)]
CUBE = (1.0, 1.0, 1.0)


def random_mask(shape, density, seed=0):
    mask = np.random.default_rng(seed).random(shape) < density
    mask.flat[mask.size // 3] = False  # some background, some structure
    mask.flat[0] = True
    mask.flags.writeable = False
    return mask


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.1, 0.6, 0.97, 1.0])
def test_squared_distance_is_exact_and_the_border_is_no_background(shape, density):
    mask = random_mask(shape, density)
    squared = squared_distance(mask, integer_metric(shape, CUBE))
    # scipy's transform also knows no background beyond the volume; the squares of its float64 roots are
    # within 1e-9 of the integers.
    assert squared.dtype == np.int32
    np.testing.assert_array_equal(squared, np.rint(ndimage.distance_transform_edt(mask) ** 2))


@pytest.mark.parametrize(
    "voxel", [(2.0, 1.0, 1.0), (0.7, 0.5, 0.3), (1.2, 0.4523, 0.4523), (np.pi, np.e, 1.0)]
)
@pytest.mark.parametrize("shape", [(17, 17, 17), (12, 30, 8)])
def test_distance_has_the_voxel_size_along_each_axis(voxel, shape):
    mask = random_mask(shape, 0.95)
    distance = distance_to_background(mask, voxel)
    # float32 result: 6e-8 relative
    np.testing.assert_allclose(
        distance, ndimage.distance_transform_edt(mask, sampling=voxel), rtol=1e-7, atol=0
    )


def test_distance_is_infinite_without_background():
    assert np.isposinf(distance_to_background(np.ones((3, 4, 5), bool), CUBE)).all()


def test_distance_of_a_single_background_voxel_is_that_of_a_point():
    mask = np.ones((9, 12, 15), np.uint8)
    mask[2, 3, 4] = 0
    z, y, x = np.ogrid[:9, :12, :15]
    expected = (z - 2) ** 2 + (y - 3) ** 2 + (x - 4) ** 2
    np.testing.assert_array_equal(squared_distance(mask, integer_metric(mask.shape, CUBE)), expected)


def test_distance_of_many_slabs_equals_that_of_one(monkeypatch):
    mask = random_mask((21, 8, 9), 0.9)
    whole = distance_to_background(mask, CUBE)
    monkeypatch.setattr("tomo3d.compute.distance.slab_depth", lambda shape: 2)
    np.testing.assert_array_equal(distance_to_background(mask, CUBE), whole)


def test_commensurate_voxel_edges_have_exact_integer_weights():
    metric = integer_metric((64, 64, 64), (0.7, 0.5, 0.3))
    assert metric.weights == (49, 25, 9)
    assert metric.unit == pytest.approx(0.1, rel=1e-12)
    float32_noise = integer_metric((64, 64, 64), tuple(np.float32([0.9, 0.3, 0.3]).astype(float)))
    assert float32_noise.weights == (9, 1, 1)


@pytest.mark.parametrize("voxel", [(1.2, 0.4523, 0.4523), (np.pi, np.e, 1.0), (1e-3, 1.0, 1.0)])
@pytest.mark.parametrize("edge", [16, 2000])
def test_other_voxel_edges_are_kept_to_the_precision_of_the_metric(voxel, edge):
    metric = integer_metric((edge, edge, edge), voxel)
    edges = np.sqrt(metric.weights) * metric.unit
    smallest = min(voxel)
    # The weight of the shortest edge is a power of two of at least 2^23 here, for ratios up to 3; rounding
    # moves a square by half a unit. A ratio of 1000 costs 20 of these bits, but its edge is known to more.
    np.testing.assert_allclose(edges, voxel, rtol=1e-7)
    assert metric.unit <= smallest
    reach = sum(w * edge**2 for w in metric.weights)
    assert 4 * edge * reach < 2**63 or metric.dtype is np.int32


@pytest.mark.parametrize("n_threads", [1, 5])
def test_results_do_not_depend_on_the_number_of_threads(n_threads, monkeypatch):
    mask = random_mask((30, 31, 32), 0.98)
    thickness = largest_ball_diameter(mask, CUBE)
    monkeypatch.setattr("tomo3d.compute.backend.n_threads", lambda: n_threads)
    np.testing.assert_array_equal(largest_ball_diameter(mask, CUBE), thickness)


def test_a_memory_map_is_read_only_and_gives_the_same(tmp_path):
    mask = random_mask((10, 11, 12), 0.9)
    np.save(tmp_path / "mask.npy", mask.astype(np.int16) * 7)
    mapped = np.load(tmp_path / "mask.npy", mmap_mode="r")
    np.testing.assert_array_equal(largest_ball_diameter(mapped, CUBE), largest_ball_diameter(mask, CUBE))
