"""Particles: exact masks of balls, blurred balls in closed form, a missing wedge, borders, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import erf

from tomo3d import measure, phantoms, reconstruct, tables
from tomo3d.compute.blurred_balls import Balls, shared_blur
from tomo3d.compute.kernels import blurred_ball
from tomo3d.compute.wedge_balls import ball_through_wedge
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)


def positions(shape, voxel):
    return np.stack(
        np.meshgrid(*(np.arange(n) * e for n, e in zip(shape, voxel, strict=True)), indexing="ij"), -1
    )


def ball(shape, voxel, centre, diameter):
    return ((positions(shape, voxel) - centre) ** 2).sum(axis=-1) < 0.25 * diameter**2


def labels(data, voxel=CUBE, **kwargs):
    data = np.array(data, dtype=np.int32)
    data.flags.writeable = False
    return Labels(data, voxel, **kwargs)


def blurred(distance, radius, width):
    """A ball convolved with a Gaussian, in closed form."""
    u, v, r = radius - distance, radius + distance, np.maximum(distance, 1e-6)
    lobes = np.exp(-0.5 * (u / width) ** 2) - np.exp(-0.5 * (v / width) ** 2)
    steps = 0.5 * (erf(u / width / math.sqrt(2)) + erf(v / width / math.sqrt(2)))
    return steps - width / math.sqrt(2 * math.pi) * lobes / r


def scene(shape, voxel, places, diameters, width, *, stretch=1.0, seed=0, noise=0.0):
    """Grey values of blurred balls, and the labels of their exact masks."""
    at = positions(shape, voxel)
    grey = noise * np.random.default_rng(seed).standard_normal(shape)
    numbers = np.zeros(shape, dtype=np.int32)
    for i, (centre, diameter) in enumerate(zip(places, diameters, strict=True), start=1):
        offset = (at - centre) / (stretch, 1.0, 1.0)
        distance = np.sqrt((offset**2).sum(axis=-1))
        grey += blurred(distance, 0.5 * diameter, width)
        numbers[distance < 0.5 * diameter] = i
    grey.flags.writeable = False
    return Volume(grey, voxel), labels(numbers, voxel)


@pytest.mark.parametrize("voxel", [CUBE, (2.0, 1.0, 1.0)])
@pytest.mark.parametrize("diameter", [3.0, 5.0, 9.0])
def test_exact_masks_give_the_diameter_on_average(diameter, voxel):
    rng = np.random.default_rng(0)
    shape = np.ceil((diameter + 4) / np.array(voxel)).astype(int)
    n = 300 if diameter < 9 else 60
    blocks = [
        i * ball(shape, voxel, ((shape - 1) / 2 + rng.uniform(-0.5, 0.5, 3)) * voxel, diameter)
        for i in range(1, n + 1)
    ]
    table = measure.particles(labels(np.concatenate(blocks), voxel))
    assert list(table.columns) == tables.names(tables.PARTICLES)
    assert len(table) == n
    assert table["diameter_nm"].mean() == pytest.approx(diameter, rel=0.01)
    assert table["diameter_xy_nm"].isna().all()
    if diameter > 6:
        assert table["area_crofton_nm2"].mean() == pytest.approx(math.pi * diameter**2, rel=0.03)


def test_place_axes_area_and_border_of_an_ellipsoid():
    voxel, origin = (1.0, 0.5, 0.5), (-10.0, 3.0, 4.0)
    shape, centre, half = (29, 41, 63), np.array([13.7, 9.9, 15.2]), np.array([6.0, 4.0, 9.0])
    inside = (((positions(shape, voxel) - centre) / half) ** 2).sum(axis=-1) < 1
    row = measure.particles(labels(7 * inside, voxel, origin_nm=origin)).iloc[0]
    assert row["particle"] == 7
    np.testing.assert_allclose(row[["z_nm", "y_nm", "x_nm"]].to_list(), centre + origin, atol=0.05)
    axes = row[["axis_long_nm", "axis_middle_nm", "axis_short_nm"]].to_list()
    np.testing.assert_allclose(axes, [18.0, 12.0, 8.0], rtol=0.02)
    assert row["aspect"] == pytest.approx(18 / 8, rel=0.03)
    # Thomsen's formula, within 1.1 %; 13 directions on an ellipsoid: 3 %
    p, (a, b, c) = 1.6075, half
    area = 4 * math.pi * (((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3) ** (1 / p)
    assert row["area_crofton_nm2"] == pytest.approx(area, rel=0.03)
    assert row["sphericity"] == pytest.approx(
        math.pi ** (1 / 3) * (8 * math.pi * a * b * c) ** (2 / 3) / area, rel=0.03
    )
    assert not row["touches_border"]


def test_the_border_weight_counts_the_places_of_a_particle():
    data = np.zeros((10, 12, 14), np.int32)
    data[3:5, 4:7, 5:9] = 1
    data[0, 0:2, 3] = 2
    table = measure.particles(labels(data))
    # 10 - 2 - 1, 12 - 3 - 1 and 14 - 4 - 1 places where it does not touch
    assert table["border_weight"].to_list() == [pytest.approx(10 / 7 * 12 / 8 * 14 / 9), 0.0]
    assert table["touches_border"].to_list() == [False, True]


def test_weights_undo_the_loss_at_the_border():
    rng = np.random.default_rng(5)
    n, f, n_true, n_seen, weight = 20, 6, 0, 0, 0.0
    for _ in range(600):
        first = rng.integers(-10, n + 10, 3)
        n_true += bool(((first >= 0) & (first < n)).all())
        data = np.zeros((n, n, n), np.int32)
        data[tuple(slice(max(i, 0), max(i + f, 0)) for i in first)] = 1
        if data.any():
            table = measure.particles(labels(data))
            weight += table["border_weight"].sum()
            n_seen += int((~table["touches_border"]).sum())
    # of about 75 boxes that begin in the field 20 are whole: their number has a Poisson error of 22 %
    assert n_seen < 0.5 * n_true
    assert weight == pytest.approx(n_true, rel=0.45)


@pytest.mark.parametrize(
    ("voxel", "stretch", "contrast"), [(CUBE, 1.0, 3.0), (CUBE, 1.0, -3.0), ((1.5, 1.0, 1.0), 1.4, 3.0)]
)
def test_fitted_balls_are_those_of_the_closed_form(voxel, stretch, contrast):
    rng = np.random.default_rng(1)
    shape = tuple(int(n / e) for n, e in zip((26, 40, 40), voxel, strict=True))
    places = [
        (12.2, 10.3, 9.8),
        (13.1, 29.6, 10.2),
        (12.6, 10.1, 29.5),
        (13.3, 29.2, 30.4),
        (12.4, 19.8, 20.1),
    ]
    diameters = [3.0, 4.0, 6.0, 8.0, 5.0]
    volume, numbers = scene(shape, voxel, places, diameters, 0.9, stretch=stretch)
    ramp = 0.01 * positions(shape, voxel).sum(axis=-1)  # a background with a slope
    grey = 40.0 + contrast * volume.data + ramp + 0.01 * rng.standard_normal(shape)
    table = measure.particles(numbers, volume=Volume(grey, voxel, (5.0, 0.0, 0.0)))
    np.testing.assert_allclose(table["diameter_xy_nm"], diameters, rtol=0.02)
    np.testing.assert_allclose(table["elongation_z"], stretch, rtol=0.02)
    np.testing.assert_allclose(table["contrast"], contrast, rtol=0.05)
    np.testing.assert_allclose(table["blur_nm"], 0.9, rtol=0.02)
    np.testing.assert_allclose(table[["y_fit_nm", "x_fit_nm"]], np.array(places)[:, 1:], atol=0.03)


def test_touching_balls_are_fitted_apart_and_the_intensity_is_theirs():
    places = [(11.0, 11.0, 9.0), (11.0, 11.0, 15.0), (11.0, 17.0, 12.0)]
    diameters = [6.0, 6.0, 7.0]
    volume, numbers = scene((23, 28, 26), CUBE, places, diameters, 0.8, noise=0.01)
    table = measure.particles(numbers, volume=volume)
    np.testing.assert_allclose(
        table["diameter_xy_nm"], diameters, rtol=0.008
    )  # 1.5 % with the others left in
    volumes = math.pi / 6 * np.array(diameters) ** 3
    np.testing.assert_allclose(table["integrated_intensity"], volumes, rtol=0.04)
    given = measure.particles(numbers, volume=volume, blur_nm=0.8)
    np.testing.assert_allclose(given["diameter_xy_nm"], diameters, rtol=0.02)
    assert (given["blur_nm"] == 0.8).all()


def test_derivatives_of_the_blurred_ball_are_those_of_its_value():
    out, around = np.empty(4), np.empty(4)
    point = np.array([0.7, 1.1, 1.3])
    blurred_ball.profile(*point, out)
    assert out[0] == pytest.approx(blurred(*point), rel=1e-12)
    for k in range(3):
        step = 1e-5 * (np.arange(3) == k)
        blurred_ball.profile(*(point + step), around)
        above = around[0]
        blurred_ball.profile(*(point - step), around)
        assert out[1 + k] == pytest.approx((above - around[0]) / 2e-5, rel=1e-6)


def test_the_view_along_the_beam_misses_nothing():
    shape, centre = (40, 26, 28), np.array([20.3, 12.8, 14.1])
    through = ball_through_wedge(4.0, 1.0, shape, CUBE, centre, 60.0)
    whole = blurred(np.sqrt(((positions(shape, CUBE) - centre) ** 2).sum(axis=-1)), 4.0, 1.0)
    np.testing.assert_allclose(through.sum(axis=0), whole.sum(axis=0), atol=2e-3)
    at_z, at_y, at_x = 20, 13, 14
    assert through[at_z, at_y].min() < -0.1  # dark lobes beside the ball across the axis, and not along it
    assert through[at_z, :, at_x].min() > -0.05


@pytest.mark.parametrize("method", ["wbp", "sirt"])
def test_what_the_wedge_narrows_is_undone(method):
    places = [
        (0.2, -13.3, -12.7),
        (-0.4, 12.6, -13.2),
        (0.3, -12.8, 13.4),
        (0.1, 13.1, 12.8),
        (0.3, 0.2, -0.4),
    ]
    diameters = np.array([4.0, 6.0, 5.0, 4.0, 6.0])
    bodies = [
        phantoms.Body(phantoms.Ball(radius_nm=0.5 * d, centre_nm=c), "p")
        for c, d in zip(places, diameters, strict=True)
    ]
    specimen = phantoms.Specimen(bodies, (30.0, 48.0, 48.0))
    series = phantoms.acquire(
        specimen,
        pixel_size_nm=1.0,
        image_shape=(48, 48),
        microscope=phantoms.Microscope(noise_fraction=0.05),
        seed=1,
    ).series
    volume = (
        reconstruct.wbp(series, thickness_nm=30)
        if method == "wbp"
        else reconstruct.sirt(series, thickness_nm=30, n_iterations=20)
    )
    numbers = np.zeros(volume.data.shape, np.int32)
    for i, (centre, d) in enumerate(zip(places, diameters, strict=True), start=1):
        numbers[ball(volume.data.shape, CUBE, np.array(centre) - volume.origin_nm, 1.1 * d)] = i
    numbers = labels(numbers, origin_nm=volume.origin_nm)
    undone = measure.particles(numbers, volume=volume, max_tilt_deg=60.0)
    seen = measure.particles(numbers, volume=volume)
    assert (seen["diameter_xy_nm"] < 0.94 * diameters).all()  # the bias is there
    np.testing.assert_allclose(undone["diameter_xy_nm"], diameters, rtol=0.05)
    np.testing.assert_allclose(undone["x_fit_nm"], np.array(places)[:, 2], atol=0.15)
    assert undone["elongation_z"].between(1.3, 2.0).all()


def wedge_scene(voxel, diameters, width, tilt_deg):
    """Grey values of nine balls seen within a tilt, 14 nm apart, and the labels of their exact masks."""
    shape = tuple(int(n / e) for n, e in zip((30.0, 42.0, 42.0), voxel, strict=True))
    rng = np.random.default_rng(7)
    grey, numbers = np.zeros(shape), np.zeros(shape, np.int32)
    for i, diameter in enumerate(diameters):
        centre = np.array([15.0, 7.0 + 14.0 * (i // 3), 7.0 + 14.0 * (i % 3)]) + rng.uniform(-1.0, 1.0, 3)
        grey += ball_through_wedge(0.5 * diameter, width, shape, voxel, centre, tilt_deg)
        numbers[ball(shape, voxel, centre, diameter)] = i + 1
    return Volume(grey, voxel), labels(numbers, voxel)


@pytest.mark.parametrize(("voxel", "tolerance"), [(CUBE, 0.05), ((1.3, 1.0, 1.0), 0.08)])
def test_balls_hardly_larger_than_their_blur_are_all_fitted_whatever_the_tilt(voxel, tolerance):
    diameters = np.array([4.4, 5.6, 4.0, 5.0, 4.8, 4.2, 5.8, 4.6, 5.2])
    volume, numbers = wedge_scene(voxel, diameters, 1.2, 60.0)  # radius over blur: 1.7 to 2.4
    tilts = [50.0, 55.0, 58.0, 59.0, 60.0, 60.5, 61.0, 65.0]
    found = np.array(
        [measure.particles(numbers, volume=volume, max_tilt_deg=t)["diameter_xy_nm"] for t in tilts]
    )
    np.testing.assert_allclose(found[tilts.index(60.0)], diameters, rtol=tolerance)
    # one degree more of tilts makes smaller balls, by at most 3 %
    change = np.diff(np.log(found), axis=0) / np.diff(tilts)[:, None]
    assert (change <= 0.002).all()
    assert (change > -0.03).all()
    given = [
        measure.particles(numbers, volume=volume, max_tilt_deg=60.0, blur_nm=b)["diameter_xy_nm"]
        for b in (1.2, 1.32)
    ]
    assert 0.90 < (given[1] / given[0]).median() < 0.98


@pytest.mark.parametrize(("large", "expected"), [(1.8, 1.0), (2.2, 1.1)])
def test_the_largest_tell_the_blur_where_few_are_well_seen(large, expected):
    # none is over twice as large as its blur of 1 and the five largest count, or six are
    radius = np.array([1.0, 1.1, 0.9, 1.2, 1.3, math.nan, *np.full(5, large), large - 0.1])
    width = np.where(np.isnan(radius), math.nan, 1.0)
    blur = np.array([1.6, 1.7, 1.6, 1.8, 1.7, math.nan, 0.99, 1.0, 1.2, 1.0, 1.3, 1.2])
    fitted = Balls(np.zeros((12, 3)), radius, width, radius, radius, radius)
    assert shared_blur(fitted, np.nan_to_num(radius), blur) == pytest.approx(expected)


def test_a_given_blur_fits_balls_that_cannot_tell_it():
    volume, numbers = wedge_scene(CUBE, np.full(9, 4.4), 1.2, 60.0)
    alone = labels(np.where(numbers.data == 1, 1, 0))
    assert measure.particles(alone, volume=volume, max_tilt_deg=60.0)["blur_nm"].isna().all()
    row = measure.particles(alone, volume=volume, max_tilt_deg=60.0, blur_nm=1.2).iloc[0]
    assert row["diameter_xy_nm"] == pytest.approx(4.4, rel=0.1)
    assert row["blur_nm"] == 1.2


def test_tilts_too_few_for_any_ball_leave_the_voxels():
    volume, numbers = wedge_scene(CUBE, np.full(9, 5.0), 1.2, 60.0)
    table = measure.particles(numbers, volume=volume, max_tilt_deg=2.0)
    assert table["diameter_xy_nm"].isna().all()
    assert table["diameter_nm"].notna().all()


@pytest.mark.parametrize(("voxel", "diameter"), [(CUBE, 6.0), ((2.0, 1.0, 1.0), 10.0)])
def test_touching_balls_are_split(voxel, diameter):
    rng = np.random.default_rng(2)
    n = int(2.6 * diameter + 6)
    shape = tuple(int(n / e) for e in voxel)
    n_right = 0
    for _ in range(10):
        axis = rng.standard_normal(3)
        axis *= 0.5 * diameter / np.linalg.norm(axis)
        middle = np.array([n / 2, n / 2, n / 2]) + rng.uniform(-0.5, 0.5, 3)
        both = ball(shape, voxel, middle - axis, diameter) | ball(shape, voxel, middle + axis, diameter)
        split = measure.split_particles(labels(both, voxel))
        np.testing.assert_array_equal(split.data > 0, both)
        n_right += split.record["n_particles"] == 2
        alone = measure.split_particles(labels(ball(shape, voxel, middle, diameter), voxel))
        assert alone.record["n_particles"] == 1
    assert n_right >= 9


def test_splitting_takes_a_phase_and_leaves_the_small_out():
    data = np.zeros((9, 9, 20), np.int32)
    data[2:6, 2:6, 2:6], data[4, 4, 10], data[2:5, 2:5, 14:18] = 2, 2, 1
    split = measure.split_particles(labels(data), phase=2, min_voxels=2)
    np.testing.assert_array_equal(split.data > 0, (data == 2) & (np.arange(20) < 8))


def block():
    data = np.zeros((6, 7, 8), np.int32)
    data[2:4, 2:4, 2:4] = 1
    return data


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure.particles(labels(np.zeros((4, 5, 6)))), "at least one particle, got none"),
        (lambda: measure.particles(labels(-block())), "zero or positive, got -1"),
        (
            lambda: measure.particles(labels(np.concatenate([block()] * 3))),
            "3 separate objects .* split_particles",
        ),
        (lambda: measure.particles(labels(block()), max_tilt_deg=90.0), "between 0 and 90 deg"),
        (lambda: measure.particles(labels(block()), blur_nm=0.0), "blur_nm must be a positive"),
        (lambda: measure.particles(labels(block()), volume=Volume(np.zeros((6, 7, 9)), CUBE)), "on the grid"),
        (
            lambda: measure.particles(labels(block()), volume=Volume(np.full((6, 7, 8), np.nan), CUBE)),
            "336 NaN",
        ),
        (lambda: measure.split_particles(labels(np.zeros((4, 5, 6)))), "got none"),
        (lambda: measure.split_particles(labels(np.ones((4, 5, 6)))), "got all of them"),
        (lambda: measure.split_particles(labels(block()), phase=3), "of phase 3"),
        (lambda: measure.split_particles(labels(block()), h_nm=-1.0), "h_nm must be a positive length"),
        (lambda: measure.split_particles(labels(block()), min_voxels=9), "must have 9 voxels, got at most 8"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_particle_and_one_voxel_are_rows_too():
    data = np.zeros((5, 6, 7), np.int32)
    data[2, 3, 3] = 1
    grey = np.random.default_rng(0).standard_normal((5, 6, 7))
    row = measure.particles(labels(data), volume=Volume(grey, CUBE)).iloc[0]
    assert row["n_voxels"] == 1
    assert row["axis_long_nm"] == row["axis_short_nm"] == 1.0
    filled = measure.particles(labels(np.ones((3, 4, 5)))).iloc[0]
    assert filled["touches_border"]
    assert math.isnan(filled["sphericity"])  # it has no surface


def sizes(values, weights=None):
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    return pd.DataFrame(
        {
            "diameter_nm": np.asarray(values, dtype=float),
            "border_weight": weights,
            "touches_border": weights == 0,
        }
    )


def test_shares_are_weighted_and_add_up():
    table = measure.particle_sizes(sizes([1.0, 1.2, 3.1, 9.0], [1, 1, 2, 0]), class_nm=1.0)
    assert table["share"].to_list() == [0.5, 0.0, 0.5]
    assert table["from_nm"].to_list() == [1.0, 2.0, 3.0]
    assert table["n"].to_list() == [2, 0, 1]
    assert table["low"].isna().all()  # too few
    many = measure.particle_sizes(sizes(np.random.default_rng(0).lognormal(1.0, 0.3, 400)))
    assert many["share"].sum() == pytest.approx(1.0)
    assert (many["low"] <= many["share"]).all()
    assert (many["share"] <= many["high"]).all()


def test_means_of_sizes_and_intervals_that_hold_them():
    rng = np.random.default_rng(3)
    mu, sigma = math.log(4.0), 0.25
    n_held = 0
    for seed in range(20):
        table = measure.particle_summary(sizes(rng.lognormal(mu, sigma, 200)), seed=seed).set_index(
            "quantity"
        )
        row = table.loc["diameter_mean"]
        n_held += row["low"] <= math.exp(mu + 0.5 * sigma**2) <= row["high"]
    assert n_held >= 16  # 19 of 20 expected
    # moments of a log-normal: sum d^(k+1) over sum d^k is exp(mu + (k + 1/2) sigma^2)
    assert table.loc["diameter_volume_mean", "value"] == pytest.approx(math.exp(mu + 3.5 * sigma**2), rel=0.1)
    exact = measure.particle_summary(sizes([1.0, 2.0, 4.0], [1, 1, 2])).set_index("quantity")["value"]
    assert exact["particle_number"] == 4.0
    assert exact["diameter_mean"] == 11 / 4
    assert exact["diameter_median"] == 3.0  # between 2 and 4, as of 1, 2, 4, 4
    assert exact["diameter_surface_mean"] == pytest.approx((1 + 8 + 128) / (1 + 4 + 32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: measure.particle_sizes(sizes([])),
            "at least one particle must have a finite diameter_nm",
        ),
        (lambda: measure.particle_sizes(sizes([2.0], [0.0])), "not touch the border, got none of 1"),
        (lambda: measure.particle_sizes(sizes([np.nan])), "finite diameter_nm"),
        (lambda: measure.particle_sizes(sizes([2.0]), column="size"), "must have the columns"),
        (lambda: measure.particle_sizes(sizes([2.0]), class_nm=0.0), "class_nm must be a positive"),
        (lambda: measure.particle_sizes(sizes([2.0, 5e5]), class_nm=1.0), "at most 1000 classes"),
        (lambda: measure.particle_summary(sizes([])), "at least one particle"),
    ],
)
def test_bad_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
