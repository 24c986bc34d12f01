import math

import numpy as np
import pytest

from tomo3d import tables
from tomo3d.compute.two_point import neighbour_directions, pairs_by_lag
from tomo3d.measure import chord_lengths, two_point_correlation
from tomo3d.types import Labels

CUBE = (1.0, 1.0, 1.0)


def labels(data, voxel=CUBE):
    data = np.array(data, dtype=np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel, names={1: "ball", 2: "film"})


def curve(result, direction):
    table = tables.check(result.curve, tables.CORRELATION)
    return table[table.direction == direction].set_index("distance_nm")


def summary(result):
    return tables.check(result.summary, tables.SUMMARY).set_index("quantity")


def balls(n, radius, per_volume, seed):
    """Boolean model: balls at random, which overlap."""
    rng = np.random.default_rng(seed)
    inside = np.zeros((n,) * 3, bool)
    for centre in rng.uniform(-radius, n + radius, (rng.poisson(per_volume * (n + 2 * radius) ** 3), 3)):
        box = [slice(max(0, int(c - radius)), max(0, min(n, int(c + radius + 1)))) for c in centre]
        grid = np.ogrid[tuple(box)]
        inside[tuple(box)] |= sum((g + 0.5 - c) ** 2 for g, c in zip(grid, centre, strict=True)) < radius**2
    return inside


@pytest.mark.parametrize("shape", [(6, 9, 8), (1, 7, 10), (5, 4, 1)])
def test_pairs_are_counted_one_by_one_and_parts_add_up(shape):
    rng = np.random.default_rng(0)
    a, b = rng.random((2, *shape)) < 0.4
    reach = tuple(min(n - 1, 3) for n in shape)
    parts = [(slice(0, 3), slice(0, shape[2])), (slice(3, shape[1]), slice(0, shape[2]))]
    found = [pairs_by_lag(a, b, part, reach) for part in parts]
    counts, n_pairs = (sum(of_part[i] for of_part in found) for i in (0, 1))
    for lag in np.ndindex(counts.shape):
        d = np.array(lag) - reach
        here = a[tuple(slice(max(0, -k), n - max(0, k)) for k, n in zip(d, shape, strict=True))]
        there = b[tuple(slice(max(0, k), n - max(0, -k)) for k, n in zip(d, shape, strict=True))]
        assert counts[lag] == (here & there).sum()
        assert n_pairs[lag] == here.size


def test_a_laminate_repeats_and_the_border_costs_nothing():
    data = np.zeros((6, 7, 40))
    data[:, :, np.arange(40) % 8 < 3] = 1
    result = two_point_correlation(labels(data, (1.0, 2.0, 0.5)), phase="ball", max_distance_nm=8.0)
    x = curve(result, "x").probability
    for lag in (0, 8, 16):  # 40 - lag is a multiple of the period
        assert x[0.5 * lag] == pytest.approx(3 / 8, abs=1e-12)
    for lag in range(17):
        first = np.arange(40 - lag)
        assert x[0.5 * lag] == pytest.approx(((first % 8 < 3) & ((first + lag) % 8 < 3)).mean(), abs=1e-12)
    assert curve(result, "y").probability.to_numpy() == pytest.approx(3 / 8, abs=1e-12)
    assert curve(result, "z").index.max() == 5.0  # as far as the volume goes


def test_shells_are_one_voxel_wide_around_whole_voxels():
    radial = curve(two_point_correlation(labels(np.ones((9, 9, 9))), phase=1, max_distance_nm=3.0), "radial")
    # 6 lags of 1 and 12 of the root of 2; next 8 of the root of 3, 6 of 2 and 24 of the root of 5
    assert radial.index[:3].to_numpy() == pytest.approx(
        [0.0, (6 + 12 * 2**0.5) / 18, (8 * 3**0.5 + 12 + 24 * 5**0.5 + 24 * 6**0.5) / 62]
    )


def test_a_random_checkerboard_has_the_closed_form():
    edge, n = 4, 96
    cells = np.random.default_rng(1).random((n // edge,) * 3) < 0.3
    data = np.kron(cells, np.ones((edge,) * 3))
    result = two_point_correlation(labels(data), phase=1, max_distance_nm=8.0)
    for direction in "zyx":
        r = curve(result, direction).index.to_numpy()
        expected = 0.09 + 0.21 * np.maximum(0.0, 1 - r / edge)
        # the share of 24^3 cells scatters by 0.004, its square by 0.0024, the share at 0 by as much; three times that
        assert curve(result, direction).probability.to_numpy() == pytest.approx(expected, abs=0.012)


def test_overlapping_balls_have_the_closed_form():
    radius, per_volume = 6.25, 5e-4
    ball = 4 / 3 * math.pi * radius**3
    fraction = 1 - math.exp(-per_volume * ball)
    result = two_point_correlation(
        labels(balls(112, radius, per_volume, 2)), phase="ball", max_distance_nm=20.0
    )
    radial = curve(result, "radial")
    r = radial.index.to_numpy()
    common = np.where(
        r < 2 * radius, math.pi / 12 * (4 * radius + r) * np.maximum(2 * radius - r, 0) ** 2, 0.0
    )
    expected = 2 * fraction - 1 + np.exp(-per_volume * (2 * ball - common))
    measured = summary(result).value["volume_fraction"]
    correlation = (radial.probability - measured**2) / (measured - measured**2)
    theory = (expected - fraction**2) / (fraction - fraction**2)
    assert correlation.to_numpy() == pytest.approx(theory, abs=0.03)  # some 700 balls: scatter of 0.01
    length = np.trapezoid(theory[r <= 2 * radius + 1], r[r <= 2 * radius + 1])
    assert summary(result).value["correlation_length"] == pytest.approx(length, rel=0.1)
    surface = -3 / radius * (1 - measured) * math.log(1 - measured)  # of as many balls as there are
    # clefts narrower than a voxel take 3 % (twice the radius: half as much); eight seeds scatter by 1.1 %
    assert summary(result).value["specific_surface"] == pytest.approx(0.97 * surface, rel=0.033)


def test_the_mean_chord_is_four_volumes_over_the_surface():
    inside = balls(112, 6.25, 5e-4, 3)
    chords = summary(chord_lengths(labels(inside), phase=1)).value
    surface = summary(two_point_correlation(labels(inside), phase=1, max_distance_nm=2.0)).value[
        "specific_surface"
    ]
    means = chords[["chord_mean_z", "chord_mean_y", "chord_mean_x"]]
    assert len(means) / (1 / means).sum() == pytest.approx(4 * inside.mean() / surface, rel=0.02)
    assert chords["specific_surface"] == pytest.approx(surface, rel=0.02)


@pytest.mark.parametrize("voxel", [CUBE, (2.0, 1.0, 1.5)])
def test_the_surface_of_flat_faces_and_of_a_ball(voxel):
    n = 48
    grid = np.stack(np.indices((n, n, n)), axis=-1) * np.array(voxel)
    middle = (np.array(voxel) * (n - 1)) / 2
    ball = ((grid - middle) ** 2).sum(axis=-1) < 17.3**2
    found = summary(two_point_correlation(labels(ball, voxel), phase=1, max_distance_nm=2.0)).value[
        "specific_surface"
    ]
    # no pair that the edge of the field takes away had met the ball, which is no part of something larger
    kept = [weight * n**3 / np.prod(n - np.abs(d)) for d, _, weight in neighbour_directions(voxel)]
    assert found / sum(kept) * n**3 * math.prod(voxel) == pytest.approx(4 * math.pi * 17.3**2, rel=0.01)


@pytest.mark.parametrize("normal", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0.3, 0.8, 0.5)])
def test_the_surface_of_one_flat_face_is_as_good_as_it_says(normal):
    n = 60
    height = (np.stack(np.indices((n, n, n)), axis=-1) - (n - 1) / 2) @ (
        np.array(normal) / np.linalg.norm(normal)
    )
    inside = height < 0.01
    found = summary(two_point_correlation(labels(inside), phase=1, max_distance_nm=1.0)).value[
        "specific_surface"
    ]
    area = (np.abs(height) < 3.0).sum() / 6.0  # of the plane in the cube, from the volume of a thin slab
    assert found * n**3 == pytest.approx(area, rel=0.09)  # 7 % for directions, and the border


def test_phases_share_the_pairs_out():
    data = np.random.default_rng(4).integers(0, 3, (9, 20, 17))
    one = labels(data)
    total = 0.0
    for a in range(3):
        for b in range(3):
            total = (
                total + two_point_correlation(one, phase=a, other=b, max_distance_nm=4.0).curve.probability
            )
    assert total.to_numpy() == pytest.approx(1.0, abs=1e-9)
    forth, back = (
        two_point_correlation(one, phase=a, other=b, max_distance_nm=4.0) for a, b in ((1, "film"), (2, 1))
    )
    assert forth.curve.probability.to_numpy() == pytest.approx(back.curve.probability.to_numpy(), abs=1e-12)
    assert len(forth.summary) == 0


def test_blocks_give_the_same_curve_and_an_interval():
    data = np.random.default_rng(0).random((5, 60, 70)) < 0.4
    result = two_point_correlation(labels(data), phase=1, max_distance_nm=6.0)
    whole = two_point_correlation(
        labels(data[:, :, :]), phase=1, max_distance_nm=30.0
    )  # too far for ten blocks
    assert whole.curve.low.isna().all()
    radial, other = curve(result, "radial"), curve(whole, "radial")
    assert radial.probability.iloc[:6].to_numpy() == pytest.approx(
        other.probability.iloc[:6].to_numpy(), abs=1e-12
    )
    assert (radial.low < radial.probability).all()
    assert (radial.probability < radial.high).all()
    assert summary(result).interval["specific_surface"].startswith("95 %, bootstrap over")


def test_a_phase_that_fills_the_volume_is_found_everywhere():
    result = two_point_correlation(labels(np.ones((1, 9, 12))), phase=1)
    assert (result.curve.probability == 1.0).all()
    assert summary(result).value["specific_surface"] == 0.0
    assert math.isnan(summary(result).value["correlation_length"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phase": "bal"}, "names background, ball, film, got 'bal'"),
        ({"phase": 2}, "phase must have at least one voxel, got none of class 2"),
        ({"phase": 1, "other": 2}, "other must have at least one voxel"),
        ({"phase": 1, "max_distance_nm": 0.2}, "at least one voxel"),
        ({"phase": 1, "max_distance_nm": math.nan}, "at least one voxel"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        two_point_correlation(labels(np.ones((3, 4, 5))), **arguments)
