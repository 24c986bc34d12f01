import math

import numpy as np
import pytest
from scipy import ndimage

from tomo3d import tables
from tomo3d.compute import distance
from tomo3d.measure import local_thickness_voxel, thickness_summary
from tomo3d.types import Labels, Volume


def by_definition(mask, edges):
    """Squared radius of the largest ball covering each voxel, edges integer: the definition, and nothing else."""
    edges = np.array(edges)
    points = np.argwhere(np.ones(mask.shape, bool)) * edges
    inside = mask.ravel()
    squared = np.zeros(mask.size, np.int64)
    for p in points[inside]:
        distance2 = ((points - p) ** 2).sum(axis=1)
        radius2 = distance2[~inside].min()
        covered = distance2 < radius2
        squared[covered] = np.maximum(squared[covered], radius2)
    return squared.reshape(mask.shape)


def labels(mask, voxel=(1.0, 1.0, 1.0)):
    data = mask.astype(np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel)


def noise(shape, density, seed=1):
    mask = np.random.default_rng(seed).random(shape) < density
    mask.flat[:2] = False, True
    return mask


def blobs(shape, size, seed=1):
    field = np.random.default_rng(seed).standard_normal(shape)
    return ndimage.gaussian_filter(field, size / 4) > 0


def from_centre(shape):
    return np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))


@pytest.mark.parametrize("shape", [(13, 13, 13), (10, 16, 12), (3, 25, 14), (1, 20, 31), (21, 1, 1)])
@pytest.mark.parametrize("density", [0.3, 0.9, 0.99])
def test_thickness_equals_the_definition_on_noise(shape, density):
    mask = noise(shape, density)
    thickness = local_thickness_voxel(labels(mask)).data
    np.testing.assert_array_equal(np.rint((thickness / 2) ** 2), by_definition(mask, (1, 1, 1)))


@pytest.mark.parametrize("size", [4, 10, 24])
def test_thickness_equals_the_definition_on_blobs(size):
    mask = blobs((18, 21, 23), size)
    thickness = local_thickness_voxel(labels(mask)).data
    np.testing.assert_array_equal(np.rint((thickness / 2) ** 2), by_definition(mask, (1, 1, 1)))


@pytest.mark.parametrize("edges", [(2, 1, 1), (3, 2, 2), (7, 5, 3), (1, 4, 2)])
@pytest.mark.parametrize("kind", [noise, blobs])
def test_thickness_equals_the_definition_on_other_voxels(edges, kind):
    mask = kind((12, 15, 17), 0.95 if kind is noise else 16)
    thickness = local_thickness_voxel(labels(mask, tuple(0.1 * e for e in edges))).data
    np.testing.assert_array_equal(np.rint((thickness / 0.2) ** 2), by_definition(mask, edges))


@pytest.mark.parametrize("kind", [noise, blobs])
def test_weights_that_are_not_exact_give_the_same_away_from_ties(kind, monkeypatch):
    # Edges with no common length take the 64-bit metric. 1009, 811 and 601 are primes beyond the small
    # multiples: the reference stays exact, and no two of the offsets here are nearer in square than 1 part in 1e6.
    mask = kind((11, 12, 14), 0.95 if kind is noise else 16)
    edges = (1009, 811, 601)
    assert distance.integer_metric(mask.shape, edges).dtype is np.int64
    thickness = local_thickness_voxel(labels(mask, edges)).data
    np.testing.assert_allclose((thickness / 2) ** 2, by_definition(mask, edges), rtol=1e-6)


def test_large_balls_are_pruned_without_loss(monkeypatch):
    mask = (from_centre((45, 46, 47)) ** 2).sum(axis=0) < 21.6**2
    mask |= np.abs(from_centre((45, 46, 47))[1]) < 9
    pruned = local_thickness_voxel(labels(mask)).data
    assert distance._SHELLS[1][1] < (pruned.max() / 2) ** 2  # farther neighbours are tried
    monkeypatch.setattr(distance, "_SHELLS", ((1, 10**9),))  # no ball is large enough: none is pruned
    monkeypatch.setattr(distance, "_neighbours", every_ball)
    np.testing.assert_array_equal(local_thickness_voxel(labels(mask)).data, pruned)


def every_ball(metric, largest):
    offsets = np.array([[0, 0, 1]])
    return offsets, offsets, np.array([0]), np.array([[0, 0]])


def test_shared_table_entries_prune_less_but_lose_nothing(monkeypatch):
    mask = blobs((25, 26, 27), 24)
    exact = local_thickness_voxel(labels(mask)).data
    monkeypatch.setattr(distance, "_N_TABLE", 8)
    np.testing.assert_array_equal(local_thickness_voxel(labels(mask)).data, exact)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
def test_slab_of_n_voxels_reads_the_next_even_number(n):
    # The deepest voxel of n is (n + 1) / 2, rounded down to a voxel, from the nearest background centre.
    mask = np.zeros((20, 30, 31), bool)
    mask[6 : 6 + n] = True
    thickness = local_thickness_voxel(labels(mask, (0.5, 0.5, 0.5))).data
    assert set(thickness[mask]) == {0.5 * 2 * ((n + 1) // 2)}
    assert not thickness[~mask].any()


@pytest.mark.parametrize(
    ("radius", "n_axes", "bias"), [(20.25, 3, -0.04), (8.25, 2, -0.08)], ids=["ball", "cylinder"]
)
def test_round_bodies_read_too_thin_by_the_known_bias(radius, n_axes, bias):
    # Centre between voxels, as in the quoted values, which are rounded to one per cent.
    n = 2 * int(radius) + 6
    shape = (n, n, n) if n_axes == 3 else (5, n, n)
    mask = (from_centre(shape)[3 - n_axes :] ** 2).sum(axis=0) < radius**2
    thickness = local_thickness_voxel(labels(mask)).data
    assert thickness[mask].mean() / (2 * radius) - 1 == pytest.approx(bias, abs=0.005)
    # The deepest voxel is half a diagonal from the centre; background is nowhere within the radius of the centre, and
    # somewhere within half a diagonal of the point that far beyond it.
    diagonal = math.sqrt(n_axes)
    assert -diagonal <= thickness.max() - 2 * radius <= diagonal


def test_border_is_no_background():
    # A half space that ends only at one face: the ball at the far face is the deepest there is.
    mask = np.ones((6, 7, 8), bool)
    mask[0] = False
    assert (local_thickness_voxel(labels(mask)).data[1:] == 2 * 5).all()


def test_single_background_voxel_bounds_every_ball():
    mask = np.ones((5, 6, 7), bool)
    mask[1, 2, 3] = False
    thickness = local_thickness_voxel(labels(mask)).data
    np.testing.assert_array_equal(np.rint((thickness / 2) ** 2), by_definition(mask, (1, 1, 1)))


def test_thickness_is_in_nm_and_keeps_the_grid():
    mask = Labels(
        np.pad(np.full((3, 3, 3), 5, np.int16), 2), (2.0, 2.0, 2.0), (1.0, 2.0, 3.0), {"method": "x"}
    )
    thickness = local_thickness_voxel(mask)
    assert thickness.data.dtype == np.float32
    assert thickness.data.max() == 2 * 2 * 2.0
    assert (thickness.voxel_size_nm, thickness.origin_nm) == (mask.voxel_size_nm, mask.origin_nm)
    assert thickness.record["input"] == {"method": "x"}


def test_structure_that_fills_the_volume_is_refused():
    with pytest.raises(ValueError, match="must leave some background"):
        local_thickness_voxel(labels(np.ones((4, 5, 6), bool)))


def test_empty_structure_is_refused():
    with pytest.raises(ValueError, match="at least one voxel"):
        local_thickness_voxel(labels(np.zeros((4, 5, 6), bool)))


def rows(table):
    tables.check(table, tables.SUMMARY)
    return table.set_index("quantity")


def test_summary_of_two_slabs_is_their_mixture():
    data = np.zeros((10, 96, 96), np.float32)
    data[:3], data[5:6] = 4.0, 10.0  # 3 to 1
    table = rows(thickness_summary(Volume(data, (2.0, 1.0, 1.0)), quantity="film"))
    assert table.value["film_mean"] == pytest.approx(5.5, rel=1e-12)
    assert table.value["film_median"] == table.value["film_p05"] == 4.0
    assert table.value["film_p95"] == 10.0
    assert table.value["film_volume"] == pytest.approx(4 * 96 * 96 * 2.0)
    assert set(table.n) == {4 * 96 * 96}
    assert list(table.unit) == ["nm"] * 4 + ["nm^3"]
    # Every block holds the same: nothing varies.
    np.testing.assert_allclose(table.low, table.value)
    np.testing.assert_allclose(table.high, table.value)


def test_summary_agrees_with_the_quantiles_of_the_voxels():
    data = np.random.default_rng(0).gamma(4.0, 1.0, (8, 90, 70)).astype(np.float32)
    table = rows(thickness_summary(Volume(data, (1.0, 1.0, 1.0))))
    bin_nm = float(np.ptp(data)) / 4095
    for name, share in (("median", 0.5), ("p05", 0.05), ("p95", 0.95)):
        assert table.value[f"thickness_{name}"] == pytest.approx(np.quantile(data, share), abs=bin_nm)
    assert table.value["thickness_mean"] == pytest.approx(data.mean(dtype=float), rel=1e-12)
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()


def test_summary_interval_covers_the_mean_of_the_field_as_often_as_it_says():
    # Patches of 4 x 4 columns share a thickness: an interval that took voxels for independent would be 16 times
    # (8 voxels along z too: 11 times its standard error) too narrow and cover one time in six.
    rng = np.random.default_rng(5)
    n_fields, n_covered = 60, 0
    for seed in range(n_fields):
        patches = rng.uniform(0.5, 1.5, (1, 20, 20)).repeat(4, axis=1).repeat(4, axis=2).repeat(8, axis=0)
        table = rows(thickness_summary(Volume(patches, (1.0, 1.0, 1.0)), seed=seed))
        n_covered += table.low["thickness_mean"] <= 1.0 <= table.high["thickness_mean"]
    # 64 blocks: 94 % expected; 60 fields scatter by 3.1 %, taken three times.
    assert n_covered / n_fields >= 0.94 - 3 * 0.031


def test_summary_with_too_few_blocks_gives_no_interval_and_says_so():
    table = rows(thickness_summary(Volume(np.full((5, 20, 20), 8.0), (1.0, 1.0, 1.0))))
    assert table.low.isna().all()
    assert table.interval.str.startswith("none: 1 blocks").all()


def test_summary_repeats_with_its_seed_and_changes_with_another():
    volume = Volume(np.random.default_rng(0).uniform(1, 2, (3, 80, 80)), (1.0, 1.0, 1.0))
    first, second, other = (thickness_summary(volume, seed=seed) for seed in (1, 1, 2))
    assert first.equals(second)
    assert not (first.low == other.low).all()


@pytest.mark.parametrize(
    ("value", "match"), [(0.0, "positive somewhere"), (np.nan, "nan"), (np.inf, "inf"), (-1.0, "negative")]
)
def test_summary_refuses_what_is_no_thickness(value, match):
    with pytest.raises(ValueError, match=match):
        thickness_summary(Volume(np.full((3, 4, 5), value), (1.0, 1.0, 1.0)))
