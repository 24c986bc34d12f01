"""The catalyst layer: what it promises of overlap, field, densities, film thickness and seeds."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tomo3d import tables
from tomo3d.phantoms import Ellipsoid, Particles, Support, catalyst_layer
from tomo3d.phantoms._packing import pack, separation_nm

DEFAULT = catalyst_layer(seed=0)
SMALL = catalyst_layer(
    seed=4,
    size_nm=(60.0, 80.0, 90.0),
    film_thickness_nm=5.0,
    support=Support(n_grains=3, semi_axis_nm=(9.0, 12.0), aspect=1.3),
    particles=Particles(n_particles=12, diameter_nm=(2.0, 4.0)),
)


def bodies_of(specimen, phase):
    return [body.solid for body in specimen.bodies if body.phase == phase]


def value(specimen, quantity):
    return float(specimen.truth.set_index("quantity")["value"][quantity])


def surface_of(ellipsoid, n=4000):
    """Points on an ellipsoid and outward normals there."""
    rng = np.random.default_rng(0)
    on_ball = rng.normal(size=(n, 3))
    on_ball /= np.linalg.norm(on_ball, axis=1)[:, None]
    semi_axes = np.array(ellipsoid.semi_axes_nm)
    normal = on_ball / semi_axes
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    return (on_ball * semi_axes) @ ellipsoid.axes.T + np.array(ellipsoid.centre_nm), normal @ ellipsoid.axes.T


def test_the_default_layer_has_its_grains_films_and_particles():
    assert DEFAULT.size_nm == (120.0, 190.0, 190.0)
    assert [len(bodies_of(DEFAULT, phase)) for phase in ("support", "film", "particle")] == [8, 8, 60]
    assert value(DEFAULT, "number_particle") == 60
    assert 3.0 <= value(DEFAULT, "diameter_particle_mean") <= 5.0
    tables.check(DEFAULT.truth, tables.SUMMARY)
    assert DEFAULT.truth["quantity"].is_unique


@pytest.mark.parametrize("specimen", [DEFAULT, SMALL], ids=["default", "small"])
def test_nothing_leaves_the_field_at_any_tilt(specimen):
    for body in specimen.bodies:
        points = np.array([body.solid.centre_nm])
        reach = body.solid.bounding_radius_nm
        if isinstance(body.solid, Ellipsoid):
            points, reach = surface_of(body.solid)[0], 0.0
        half = 0.5 * np.array(specimen.size_nm)
        assert (np.abs(points) + reach <= half + 1e-9).all()
        assert (np.hypot(points[:, 0], points[:, 2]) + reach <= half[2] + 1e-9).all()


@pytest.mark.parametrize("size_nm", [(22.0, 60.0, 60.0), (60.0, 22.0, 60.0), (60.0, 60.0, 24.0)])
def test_a_grain_keeps_to_a_field_that_is_narrow_in_one_direction(size_nm):
    rng = np.random.default_rng(3)
    half = 0.5 * np.array(size_nm)
    for _ in range(30):
        (grain,) = pack(rng, [(8.0, 9.0, 10.0)], size_nm=size_nm, gap_nm=0.0)
        points = surface_of(grain, 300)[0]
        assert (np.abs(points) <= half + 1e-9).all()
        assert (np.hypot(points[:, 0], points[:, 2]) <= half[2] + 1e-9).all()


@pytest.mark.parametrize("specimen", [DEFAULT, SMALL], ids=["default", "small"])
def test_films_are_apart_by_the_gap_and_touch_a_neighbour(specimen):
    films = bodies_of(specimen, "film")
    surfaces = [surface_of(film)[0] for film in films]
    nearest = np.full(len(films), np.inf)
    for i, j in itertools.combinations(range(len(films)), 2):
        assert not (films[i].depth_nm(surfaces[j]) > 0).any()
        distance = separation_nm(films[i], films[j])
        assert distance >= 2.0 - 1e-9  # the default gap
        nearest[[i, j]] = np.minimum(nearest[[i, j]], distance)
    # Each was moved until it met another: the step of the search, and what 40 steps uphill leave unproven.
    assert nearest.max() < 2.1


def test_separation_of_balls_is_exact_and_of_ellipsoids_a_lower_bound():
    a = Ellipsoid(semi_axes_nm=(3.0, 3.0, 3.0), centre_nm=(1.0, 2.0, 3.0))
    b = Ellipsoid(semi_axes_nm=(4.0, 4.0, 4.0), centre_nm=(9.0, -4.0, 6.0))
    assert separation_nm(a, b) == pytest.approx(math.sqrt(64 + 36 + 9) - 7)
    a = Ellipsoid(semi_axes_nm=(3.0, 4.0, 5.0), rotation_deg=(20.0, 70.0, -30.0))
    b = Ellipsoid(semi_axes_nm=(6.0, 4.0, 5.0), rotation_deg=(80.0, 10.0, 30.0), centre_nm=(9.0, -4.0, 6.0))
    p, q = surface_of(a, 4000)[0], surface_of(b, 4000)[0]
    closest = np.sqrt(cdist(p, q, "sqeuclidean").min())
    # sampled distances are too long: by the spacing of the points, about 0.2 nm, squared over the radii
    assert closest - 0.1 <= separation_nm(a, b) <= closest


def test_labels_and_densities_are_those_of_the_phases():
    shape = (60, 80, 90)
    labels, density = SMALL.labels(shape, 1.0), SMALL.density_volume(shape, 1.0)
    names = {name: number for number, name in labels.names.items()}
    for phase, expected in (("background", 0.0), ("support", 1.0), ("film", 1.8), ("particle", 8.0)):
        inner = labels.data == names[phase]
        grey = density.data[inner]
        # Voxels whose centre is in a phase are mostly of it, and most of them wholly; a particle of 2 to 4 voxels
        # has none that is whole for sure, and its brightest nearly are.
        level = np.max(grey) if phase == "particle" else np.median(grey)
        assert level == pytest.approx(expected, abs=0.05 if phase == "particle" else 1e-9)
        if phase != "background":
            # counting voxels is good to their number on the surface to the power 1/2, here under 2 %
            assert inner.sum() == pytest.approx(
                value(SMALL, f"volume_{phase}"), rel=0.1 if phase == "particle" else 0.02
            )
    mass = sum(
        value(SMALL, f"volume_{p}") * value(SMALL, f"density_{p}") for p in ("support", "film", "particle")
    )
    assert density.data.sum() == pytest.approx(mass, rel=1e-3)
    assert density.data.min() >= -1e-9  # films, cores and particles cancel where they should


@pytest.mark.parametrize("in_film", [True, False])
def test_particles_touch_the_support_at_one_point_without_overlap(in_film):
    specimen = catalyst_layer(
        seed=2,
        size_nm=(60.0, 80.0, 90.0),
        support=Support(n_grains=2, semi_axis_nm=(9.0, 12.0)),
        particles=Particles(n_particles=15, in_film=in_film),
    )
    for body in specimen.bodies:
        if body.phase != "particle":
            continue
        host = specimen.bodies[body.inside]
        ball = body.solid
        assert host.phase == ("film" if in_film else "support")
        # All of its surface lies in the host.
        rng = np.random.default_rng(1)
        on_ball = rng.normal(size=(2000, 3))
        on_ball *= ball.radius_nm / np.linalg.norm(on_ball, axis=1)[:, None]
        assert host.solid.depth_nm(on_ball + np.array(ball.centre_nm)).min() > -1e-9
        core = specimen.bodies[body.inside + 1].solid if in_film else host.solid
        points, _ = surface_of(core, 40000)
        closest = np.linalg.norm(points - np.array(ball.centre_nm), axis=1).min()
        # The nearest of 40000 points is at most a spacing of 0.2 nm from the nearest of all: 0.2^2 / radius.
        assert closest == pytest.approx(ball.radius_nm, abs=0.03)
        assert closest >= ball.radius_nm - 1e-9
    balls = bodies_of(specimen, "particle")
    assert all(
        math.dist(a.centre_nm, b.centre_nm) >= a.radius_nm + b.radius_nm
        for a, b in itertools.combinations(balls, 2)
    )


@pytest.mark.parametrize("specimen", [DEFAULT, SMALL], ids=["default", "small"])
def test_a_ball_of_the_lower_bound_fits_on_each_point_of_the_support(specimen):
    row = specimen.truth.set_index("quantity").loc["film_thickness_mean"]
    low = float(row["low"])
    assert low < float(row["value"]) < float(row["high"])
    assert low > 0.99 * float(row["high"])  # aspects up to 1.3
    for film, core in zip(bodies_of(specimen, "film"), bodies_of(specimen, "support"), strict=True):
        point, normal = surface_of(core, 500)
        middle = point + 0.5 * low * normal
        on_ball = np.random.default_rng(0).normal(size=(400, 3))
        on_ball *= 0.5 * low / np.linalg.norm(on_ball, axis=1)[:, None]
        ball = middle[:, None, :] + on_ball
        assert film.depth_nm(ball).min() > -1e-9
        assert core.depth_nm(ball).max() < 1e-9


def test_no_larger_ball_fits_in_a_film_than_the_upper_bound():
    row = SMALL.truth.set_index("quantity").loc["film_thickness_mean"]
    for film, core in zip(bodies_of(SMALL, "film"), bodies_of(SMALL, "support"), strict=True):
        inner, normal = surface_of(core, 60)
        outer = surface_of(film, 30000)[0]
        # through the middle of the film: distances to both surfaces, each too long by under 0.05 nm
        for point, direction in zip(inner, normal, strict=True):
            for share in (0.4, 0.5, 0.6):
                middle = point + share * 5.0 * direction
                radius = min(np.linalg.norm(outer - middle, axis=1).min(), share * 5.0)
                assert 2 * radius <= float(row["high"]) + 0.1
    assert float(row["high"]) == 5.0


def test_mean_film_thickness_is_the_film_volume_over_its_middle_area():
    # An independent measure of the mean: volume / area of the middle surface, area by SciPy's elliptic integral.
    from scipy.special import elliprg

    volume, area = 0.0, 0.0
    for core in bodies_of(DEFAULT, "support"):
        inner = np.array(core.semi_axes_nm)
        volume += 4 / 3 * math.pi * ((inner + 8).prod() - inner.prod())
        a, b, c = (inner + 4) ** 2
        area += 4 * math.pi * elliprg(a * b, a * c, b * c)
        area += (
            math.pi * 8.0**2 / 3
        )  # a layer of constant t holds t (A_middle + pi t^2 / 3): Steiner's formula
    # Steiner holds for parallel surfaces, which these are to 0.4 %; the two means weigh places differently.
    assert value(DEFAULT, "film_thickness_mean") == pytest.approx(volume / area, rel=2e-3)


def test_volumes_are_those_of_the_bodies():
    cores, films = bodies_of(SMALL, "support"), bodies_of(SMALL, "film")
    balls = bodies_of(SMALL, "particle")
    shells = sum(
        4 / 3 * math.pi * (math.prod(f.semi_axes_nm) - math.prod(c.semi_axes_nm))
        for f, c in zip(films, cores, strict=True)
    )
    particles = sum(4 / 3 * math.pi * ball.radius_nm**3 for ball in balls)
    assert value(SMALL, "volume_film") == pytest.approx(shells - particles)
    assert value(SMALL, "volume_particle") == pytest.approx(particles)
    for f, c in zip(films, cores, strict=True):
        np.testing.assert_allclose(np.array(f.semi_axes_nm) - np.array(c.semi_axes_nm), 5.0)


def test_a_bare_support_has_no_film_and_its_particles_stand_in_the_pore():
    bare = catalyst_layer(
        size_nm=(60.0, 80.0, 90.0),
        film_thickness_nm=0.0,
        support=Support(n_grains=2, semi_axis_nm=(9.0, 12.0)),
    )
    assert bare.phases == ("support", "particle")
    assert all(body.inside is None for body in bare.bodies)
    assert not bare.truth["quantity"].str.contains("film").any()
    grains, balls = bodies_of(bare, "support"), bodies_of(bare, "particle")
    for ball in balls:
        reach = max(grain.depth_nm(np.array(ball.centre_nm)) for grain in grains)
        assert reach < 0


def test_a_layer_is_the_same_for_a_seed_and_another_for_another():
    again = catalyst_layer(seed=0)
    assert again.bodies == DEFAULT.bodies
    assert catalyst_layer(seed=1).bodies != DEFAULT.bodies


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_every_seed_finds_room(seed):
    assert len(catalyst_layer(seed=seed).bodies) == 76


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Support(n_grains=0), "n_grains must be at least 1, got 0"),
        (lambda: Support(semi_axis_nm=(5.0, 4.0)), "the smaller first"),
        (lambda: Support(aspect=1.5), "aspect must be from 1 to 1.3"),
        (lambda: Support(gap_nm=-1.0), "gap_nm must not be negative, got -1 nm"),
        (lambda: Particles(n_particles=-1), "n_particles must not be negative"),
        (lambda: Particles(diameter_nm=(0.0, 4.0)), "diameter_nm must be two positive lengths"),
        (lambda: catalyst_layer(film_thickness_nm=-2.0), "film_thickness_nm must not be negative, got -2 nm"),
        (lambda: catalyst_layer(film_thickness_nm=4.0), "at most 3.98 nm to fit in the film, got 5 nm"),
        (
            lambda: catalyst_layer(particles=Particles(diameter_nm=(30.0, 60.0), in_film=False)),
            "to fit in the grains",
        ),
        (lambda: catalyst_layer(size_nm=(0.0, 90.0, 90.0)), "size_nm must be a positive length"),
        (
            lambda: catalyst_layer(size_nm=(40.0, 90.0, 90.0)),
            r"8 grains .* must find room .* 40 x 90 x 90 nm",
        ),
        (
            lambda: catalyst_layer(
                size_nm=(60.0, 60.0, 60.0),
                support=Support(n_grains=1, semi_axis_nm=(9.0, 9.0)),
                particles=Particles(n_particles=500),
            ),
            "500 particles must find room on 1 grains",
        ),
    ],
)
def test_a_layer_that_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_area_of_the_grains_is_that_of_the_ellipsoids():
    balls = catalyst_layer(
        size_nm=(72, 108, 108), support=Support(n_grains=3, semi_axis_nm=(15, 18), aspect=1.0)
    )
    radii = [body.solid.semi_axes_nm[0] for body in balls.bodies if body.phase == "support"]
    assert value(balls, "surface_area_grains") == pytest.approx(
        4 * math.pi * sum(r**2 for r in radii), rel=1e-9
    )
    assert value(balls, "euler_number_grains") == 3
    flat = catalyst_layer(seed=3, film_thickness_nm=0)
    # of an ellipsoid between the balls of its shortest and longest axis; Thomsen's formula is right within 1.2 %
    expected = 0.0
    for body in flat.bodies:
        if body.phase == "support":
            a, b, c = (axis**1.6075 for axis in body.solid.semi_axes_nm)
            expected += 4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)
    assert value(flat, "surface_area_grains") == pytest.approx(expected, rel=0.012)
