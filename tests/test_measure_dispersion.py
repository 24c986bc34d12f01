"""Dispersion: exact ranks, random patterns inside their envelope, clusters outside, paths along spheres."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import measure, tables
from tomo3d.compute.envelopes import global_envelope
from tomo3d.compute.kernels import patterns
from tomo3d.compute.surface_paths import surface_paths
from tomo3d.measure._dispersion import _Sites
from tomo3d.types import Labels

CUBE = (1.0, 1.0, 1.0)


def ball(radius, voxel=CUBE, shift=(0.2, -0.3, 0.1)):
    """A mask, and the centre of the ball in nm from the first voxel."""
    shape = np.ceil((2 * radius + 14) / np.array(voxel)).astype(int)
    centre = (0.5 * (shape - 1) + shift) * voxel
    axes = (np.arange(n) * e for n, e in zip(shape, voxel, strict=True))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    data = (((grid - centre) ** 2).sum(axis=-1) < radius**2).astype(np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel), centre


def on_sphere(rng, centre, radius, diameters, about=None):
    """Balls that touch a sphere from outside, apart, evenly or about places."""
    found = []
    for diameter in diameters:
        while True:
            direction = rng.standard_normal(3)
            if about is not None:
                direction = about[rng.integers(len(about))] + 0.35 * direction
            place = centre + direction / np.linalg.norm(direction) * (radius + 0.5 * diameter)
            apart = [
                np.linalg.norm(place - q) >= 0.5 * (diameter + d)
                for q, d in zip(found, diameters, strict=False)
            ]
            if all(apart):
                found.append(place)
                break
    return table(found, diameters)


def table(places, diameters):
    z, y, x = np.array(places, dtype=float).T
    return pd.DataFrame({"z_nm": z, "y_nm": y, "x_nm": x, "diameter_nm": np.broadcast_to(diameters, len(z))})


def p_of(result, name="g"):
    return result.summary.set_index("quantity").loc[f"p_{name}", "value"]


def test_extreme_rank_lengths_of_a_small_set_by_hand():
    # ranks from the nearer side, sorted: [1, 1], [1, 2], [3, 3], [2, 2] and [1, 2] again
    curves = np.array([[5.0, 1.0], [4.0, 5.0], [3.0, 3.0], [2.0, 2.0], [1.0, 4.0]])
    result = global_envelope(curves, share=0.6)
    assert result.p_value == 1 / 5
    np.testing.assert_array_equal(result.low, [1.0, 2.0])  # all but the first
    np.testing.assert_array_equal(result.high, [4.0, 5.0])
    assert global_envelope(curves[[1, 0, 2, 3, 4]]).p_value == 3 / 5  # it shares its place with the last
    inner = global_envelope(curves, share=0.3)  # without those two
    np.testing.assert_array_equal(inner.low, [2.0, 2.0])
    np.testing.assert_array_equal(inner.high, [3.0, 3.0])


@pytest.mark.parametrize("correlated", [False, True])
def test_the_envelope_holds_its_share_of_whole_curves(correlated):
    rng = np.random.default_rng(0)
    n_inside, n_told, n_pointwise = 0, 0, 0
    for _ in range(300):
        curves = rng.standard_normal((200, 20))
        curves = np.cumsum(curves, axis=1) if correlated else curves
        result = global_envelope(curves)
        inside = ((curves[0] >= result.low) & (curves[0] <= result.high)).all()
        assert inside == (result.p_value > 0.05)  # the one says what the other does
        low, high = np.quantile(curves[1:], (0.025, 0.975), axis=0)
        n_pointwise += ((curves[0] >= low) & (curves[0] <= high)).all()
        n_inside += inside
        far = curves.copy()
        far[0, 5:9] += 12.0
        n_told += global_envelope(far).p_value <= 0.05
    assert 0.91 <= n_inside / 300 <= 0.98  # 0.95 +- 3 standard errors
    assert n_pointwise / 300 < 0.85  # which a band at each place does not
    assert n_told >= 285


def test_placed_balls_are_apart_on_their_sites_and_repeatable():
    rng = np.random.default_rng(0)
    sites = np.argwhere(rng.random((14, 15, 16)) < 0.5).astype(float)
    voxel, radii = np.array([2.0, 1.0, 1.5]), rng.uniform(0.8, 2.0, 40)
    first, last = np.zeros(40, np.int64), np.full(40, len(sites))
    last[:10] = 100
    got = np.empty((2, 40, 3))
    for k in range(2):
        n = patterns.place_balls_cpu(sites, voxel, first, last, radii, 500, np.random.default_rng(7), got[k])
        assert n == 40
    np.testing.assert_array_equal(got[0], got[1])
    apart = np.linalg.norm(got[0][:, None] - got[0], axis=2) - radii[:, None] - radii
    assert (apart[~np.eye(40, dtype=bool)] >= 0).all()
    allowed = {tuple(site) for site in sites}
    assert {tuple(place) for place in np.rint(got[0] / voxel)} <= allowed
    assert {tuple(place) for place in np.rint(got[0][:10] / voxel)} <= {tuple(site) for site in sites[:100]}


def test_each_particle_is_placed_at_its_own_height_and_evenly():
    mask, centre = ball(10.0)
    own = np.array([12.0, 15.5, 7.0])  # two outside, one within
    centres = centre + own[:, None] * np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    sites = _Sites.of(mask.data != 0, CUBE, centres, np.full(3, 0.5))
    placed = np.array([sites.place(seed, apart=True) for seed in range(400)]) - centre
    radius = np.linalg.norm(placed, axis=2)
    # half a voxel of the layer, half a diagonal of the voxel, and what distances on the grid are off
    assert np.abs(radius - own).max() < 0.5 + 3**0.5 / 2 + 0.5
    np.testing.assert_allclose(radius.mean(axis=0), own, atol=0.3)
    direction = placed / radius[:, :, None]
    # evenly over the sphere: mean 0, mean square 1/3; standard errors of 1200 are 0.017 and 0.009
    np.testing.assert_allclose(direction.mean(axis=(0, 1)), 0.0, atol=0.06)
    np.testing.assert_allclose((direction**2).mean(axis=(0, 1)), 1 / 3, atol=0.03)


@pytest.mark.parametrize("voxel", [CUBE, (2.0, 1.0, 1.0)])
def test_paths_along_a_sphere_are_arcs(voxel):
    radius = 11.0
    mask, centre = ball(radius, voxel)
    paths = surface_paths(mask.data != 0, voxel, 2.5 * radius)
    direction = (paths.places - centre) / np.linalg.norm(paths.places - centre, axis=1)[:, None]
    arcs = radius * np.arccos(np.clip(direction @ direction.T, -1, 1))
    is_far = (arcs > 8.0) & (arcs < 2.4 * radius)
    assert np.isfinite(paths.lengths[is_far]).all()
    ratio = paths.lengths[is_far] / arcs[is_far]
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert np.abs(ratio - 1.0).max() < 0.06


def test_paths_do_not_jump_over_a_gap():
    inside = np.zeros((12, 12, 24), dtype=bool)
    inside[3:9, 3:9, 3:11] = inside[3:9, 3:9, 13:21] = True  # two blocks, two voxels apart
    paths = surface_paths(inside, CUBE, 100.0)
    left = paths.places[:, 2] < 11.5
    assert np.isinf(paths.lengths[left][:, ~left]).all()
    assert np.isfinite(paths.lengths[left][:, left]).all()


@pytest.mark.parametrize(
    ("distance", "n_patterns"), [("euclidean", 20), pytest.param("geodesic", 5, marks=pytest.mark.slow)]
)
def test_random_patterns_are_inside_and_clusters_are_not(distance, n_patterns):
    rng = np.random.default_rng(1)
    radius = 12.0
    mask, centre = ball(radius)
    options = {"distance": distance, "n_simulations": 99, "max_distance_nm": 12.0}
    p_values = [
        p_of(
            measure.dispersion(on_sphere(rng, centre, radius, rng.uniform(2, 4, 30)), mask, seed=i, **options)
        )
        for i in range(n_patterns)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.2  # 0.05 of them expected
    about = [[1.0, 0, 0], [0, -1.0, 0.5]]
    clusters = on_sphere(rng, centre, radius, rng.uniform(2, 3, 30), about)
    result = measure.dispersion(clusters, mask, **options)
    assert p_of(result) <= 0.02
    assert p_of(result, "K") <= 0.02
    nearest = result.summary.set_index("quantity").loc["nearest_over_random"]
    assert nearest["value"] < nearest["low"] < 1 < nearest["high"]
    assert list(result.curves.columns) == tables.names(tables.DISPERSION)


def test_a_regular_pattern_is_told_from_a_random_one():
    rng = np.random.default_rng(2)
    mask, centre = ball(14.0)
    i = np.arange(40) + 0.5
    z, angle = 1 - 2 * i / 40, np.pi * (1 + 5**0.5) * i
    sphere = np.stack((z, np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle)), 1)
    result = measure.dispersion(
        table(centre + 15.0 * sphere, 2.0), mask, n_simulations=99, seed=int(rng.integers(99))
    )
    assert p_of(result, "nearest") <= 0.02
    assert result.summary.set_index("quantity").loc["nearest_over_random", "value"] > 1.3


def test_g_is_one_and_k_grows_with_the_area_of_a_sphere():
    rng = np.random.default_rng(3)
    radius = 16.0
    mask, centre = ball(radius)
    # points, all but: no core
    direction = rng.standard_normal((400, 3))
    places = centre + radius * direction / np.linalg.norm(direction, axis=1)[:, None]
    result = measure.dispersion(table(places, 1e-3), mask, n_simulations=39, max_distance_nm=20.0)
    curves = {name: part.set_index("r_nm") for name, part in result.curves.groupby("function")}
    np.testing.assert_allclose(curves["g"]["expected"].iloc[5:], 1.0, atol=0.05)
    np.testing.assert_allclose(curves["g"]["observed"].iloc[10:], 1.0, atol=0.15)
    # a cap of chord r has the area pi r^2 whatever the radius
    r = curves["K"].index.to_numpy()
    np.testing.assert_allclose(curves["K"]["expected"].iloc[10:], np.pi * r[10:] ** 2, rtol=0.05)


def test_overlapping_particles_are_said():
    mask, centre = ball(10.0)
    places = centre + np.array([[0, 0, 10.0], [0, 3.0, 10.0], [0, 0, -10.0], [10.0, 0, 0]])
    result = measure.dispersion(table(places, 4.0), mask, n_simulations=39)
    assert result.summary.set_index("quantity").loc["overlap_factor", "value"] == pytest.approx(0.75)


def some(n=4, diameter=2.0):
    _, centre = ball(6.0)
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0.0]])
    return table(centre + 6.0 * directions[:n], diameter)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: measure.dispersion(some(1), m), "at least two particles for a distance, got 1"),
        (lambda m: measure.dispersion(some().drop(columns="z_nm"), m), r"missing \['z_nm'\]"),
        (lambda m: measure.dispersion(some(diameter=np.nan), m), "diameters positive, got .* in row 0"),
        (
            lambda m: measure.dispersion(some().assign(x_nm=99.0), m),
            "within the grid of the support, got 4 outside",
        ),
        (lambda m: measure.dispersion(some(), Labels(0 * m.data, CUBE)), "got none"),
        (lambda m: measure.dispersion(some(), Labels(0 * m.data + 1, CUBE)), "got one that fills"),
        (lambda m: measure.dispersion(some(), m, n_simulations=9), "at least 39 .* got 9"),
        (lambda m: measure.dispersion(some(), m, max_distance_nm=0.0), "max_distance_nm must be a positive"),
        (lambda m: measure.dispersion(some(), m, distance="along"), "euclidean or geodesic, got 'along'"),
    ],
)
def test_bad_input_is_refused(call, message):
    mask, _ = ball(6.0)
    with pytest.raises(ValueError, match=message):
        call(mask)


def test_a_support_smaller_than_its_particles_is_refused():
    mask, centre = ball(3.0)
    golden = 0.5 * (1 + 5**0.5)
    signs = [(a, b) for a in (-1, 1) for b in (-golden, golden)]
    corners = [c for a, b in signs for c in ((0, a, b), (a, b, 0), (b, 0, a))]
    # twelve balls that touch their five neighbours nearly: all in order they fit, at random they do not
    kissing = table(centre + 6.0 * np.array(corners) / np.hypot(1, golden), 6.2)
    with pytest.raises(ValueError, match=r"room on the support without overlap, got \d+ of 12 placed"):
        measure.dispersion(kissing, mask, n_simulations=39)
