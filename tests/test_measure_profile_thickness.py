"""Films near the resolution: thickness and mass per area from profiles, against films that are known."""

import numpy as np
import pytest
from films import blurred, positions

from tomo3d import phantoms, tables
from tomo3d.measure import edge_widths, film_coverage, profile_thickness, surface_mesh
from tomo3d.measure._edge_widths import widths_at
from tomo3d.types import Surface, Volume

CUBE = (1.0, 1.0, 1.0)
FWHM = 4.0
CENTRE = (0.3, -0.2, 0.1)


def ball_surface(radius, n=40, voxel=CUBE):
    grid = blurred(np.zeros((n, n, n)), voxel, 4.0)
    depth = radius - np.linalg.norm(positions(grid) - CENTRE, axis=-1)
    return surface_mesh(Volume(depth, voxel, grid.origin_nm), level=0.0)


def film_on_ball(thickness, density, *, radius=12.0, n=48, noise=0.0, fwhm=FWHM):
    specimen = phantoms.film_on_ball(
        radius_nm=radius, thickness_nm=max(thickness, 1e-6), film_density=density, centre_nm=CENTRE
    )
    return blurred(specimen.density_volume((n, n, n), 1.0).data, CUBE, fwhm, noise)


@pytest.fixture(scope="module")
def support():
    return ball_surface(12.0)


def oblique(thickness, voxel=CUBE, noise=0.0, edge=44):
    """A film of half the density on one side of an oblique plate, its volume, and the side of the plate."""
    shape = tuple(int(edge / size) for size in voxel)
    specimen = phantoms.oblique_film(thickness_nm=thickness)
    volume = blurred(specimen.density_volume(shape, voxel).data, voxel, FWHM, noise)
    normal = np.array([0.7, 0.5, 0.51]) / np.linalg.norm([0.7, 0.5, 0.51])
    return volume, surface_mesh(Volume(-positions(volume) @ normal, voxel, volume.origin_nm), level=0.0)


@pytest.mark.parametrize("widths", [0.4, 1.0, 2.0])
def test_films_near_the_resolution_under_noise(widths):
    # Noise 0.1 of the contrast; at 0.4 widths one profile alone would be 85 % off, by the bound of Cramer and Rao.
    thickness = widths * FWHM
    volume, surface = oblique(thickness, noise=0.1)
    films = profile_thickness(
        volume,
        surface,
        film_level=0.5,
        psf_fwhm_nm=FWHM,
        max_thickness_nm=10.0,
        averaging_radius_nm=1.5 * FWHM,
    )
    found = films.point_data
    good = found["is_plain"] & np.isfinite(found["mass_per_area"])
    assert good.sum() > 300
    error = np.abs(found["thickness_nm"] - thickness)[good]
    assert np.median(error) <= 0.15 * thickness
    assert np.median(np.abs(found["mass_per_area"] - 0.5 * thickness)[good]) <= 0.05 * 0.5 * thickness
    assert np.median(found["support_position_nm"][good]) == pytest.approx(0.0, abs=0.2)
    assert np.median(found["residual"][good]) < 0.03


def test_a_film_brighter_than_its_support(support):
    found = profile_thickness(
        film_on_ball(2.0, 1.8), support, film_level=1.8, psf_fwhm_nm=FWHM, max_thickness_nm=12.0
    ).point_data
    assert np.median(found["thickness_nm"]) == pytest.approx(2.0, rel=0.03)
    assert np.median(found["mass_per_area"]) == pytest.approx(3.6, rel=0.05)  # curvature: t / 2R more


def test_mass_per_area_needs_no_level_and_no_thickness(support):
    volume = film_on_ball(0.6, 0.5)  # 0.15 widths, under a voxel
    masses = [
        profile_thickness(
            volume, support, film_level=level, psf_fwhm_nm=FWHM, max_thickness_nm=8.0
        ).point_data["mass_per_area"]
        for level in (0.4, 0.6)
    ]
    for mass in masses:
        assert np.median(mass) == pytest.approx(0.3, abs=0.02)
    assert np.median(masses[0]) == pytest.approx(np.median(masses[1]), rel=0.02)


@pytest.mark.parametrize("voxel", [CUBE, (1.5, 1.0, 1.0)])
def test_oblique_film(voxel):
    volume, surface = oblique(5.0, voxel)
    found = profile_thickness(volume, surface, film_level=0.5, psf_fwhm_nm=FWHM, max_thickness_nm=8.0)
    inner = (np.abs(found.vertices_nm) < 8).all(axis=1)
    assert np.median(found.point_data["thickness_nm"][inner]) == pytest.approx(5.0, rel=0.03)
    assert np.median(found.point_data["mass_per_area"][inner]) == pytest.approx(2.5, rel=0.03)
    # Rays that leave the volume are cut, and say so; they do not read what is not there.
    beyond = (np.abs(found.vertices_nm) > 20).any(axis=1)
    assert not found.point_data["is_plain"][beyond].any()
    assert np.isnan(found.point_data["thickness_nm"][beyond]).all()
    assert found.point_data["is_plain"][inner].all()


def test_thickness_scales_with_the_voxel(support):
    volume = film_on_ball(4.0, 0.5)
    larger = Volume(volume.data, (2.0,) * 3, tuple(2 * value for value in volume.origin_nm))
    twice = Surface(2 * support.vertices_nm, support.faces)
    options = {"film_level": 0.5, "averaging_radius_nm": 0.0}
    one = profile_thickness(volume, Surface(support.vertices_nm, support.faces), psf_fwhm_nm=FWHM, **options)
    two = profile_thickness(larger, twice, psf_fwhm_nm=2 * FWHM, **options)
    np.testing.assert_allclose(two.point_data["thickness_nm"], 2 * one.point_data["thickness_nm"], rtol=0.02)


def test_a_bare_edge_shows_a_false_skin_to_levels_but_no_film_to_its_profile(support):
    volume = film_on_ball(0.0, 0.5)
    # Voxels of grey values between a quarter and three quarters: an intermediate phase on every edge.
    skin = ((volume.data > 0.25) & (volume.data < 0.75)).sum() / (4 * np.pi * 12.0**2)
    assert skin == pytest.approx(0.573 * FWHM, rel=0.05)  # 2 x 0.674 standard deviations
    found = profile_thickness(volume, support, film_level=0.5, psf_fwhm_nm=FWHM)
    assert np.median(found.point_data["thickness_nm"]) < 0.2 * FWHM
    assert np.median(found.point_data["mass_per_area"]) == pytest.approx(0.0, abs=0.02)
    assert film_coverage(found).summary.set_index("quantity").value["coverage"] == 0.0


def test_a_second_body_ends_the_profile():
    data = np.zeros((40, 30, 31))
    data[4:14], data[22:32] = 1.0, 1.0
    volume = blurred(data, CUBE, 3.0)
    z = positions(volume)[..., 0]
    surface = surface_mesh(Volume(-6.0 - z, CUBE, volume.origin_nm), level=0.0)  # the face between 13 and 14
    found = profile_thickness(volume, surface, film_level=0.5, psf_fwhm_nm=3.0, max_thickness_nm=16.0)
    inner = (np.abs(found.vertices_nm[:, 1:]) < 10).all(axis=1)
    # Without the cut the far body would lift the outer level from 0 to a half.
    assert np.median(found.point_data["outer_level"][inner]) == pytest.approx(0.0, abs=0.02)
    assert np.median(found.point_data["thickness_nm"][inner]) < 0.6


def anisotropic(thickness, radius=12.0):
    """A film of half the density on a ball, blurred twice as far along z."""
    specimen = phantoms.film_on_ball(
        radius_nm=radius, thickness_nm=thickness, film_density=0.5, centre_nm=CENTRE
    )
    return blurred(specimen.density_volume((56, 44, 44), 1.0).data, CUBE, (6.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def widths(support):
    return edge_widths(anisotropic(1e-6), support, max_width_nm=12.0, averaging_radius_nm=3.0)


def test_widths_of_a_control_are_those_of_the_point_spread_function(widths):
    tables.check(widths, tables.EDGE_WIDTHS)
    assert set(widths.n) != {0}
    elevation = np.deg2rad(widths.elevation_deg)
    expected = np.sqrt((6.0 * np.sin(elevation)) ** 2 + (3.0 * np.cos(elevation)) ** 2)
    np.testing.assert_allclose(widths.fwhm_nm, expected, rtol=0.07)  # bins of 10 deg, a ball of 12 voxels
    assert (widths.fwhm_low_nm <= widths.fwhm_nm).all()
    assert (widths.fwhm_nm <= widths.fwhm_high_nm).all()
    flat, steep = np.array([[0.0, 0.6, 0.8]]), np.array([[1.0, 0.0, 0.0]])
    assert widths_at(widths, flat)[0] == pytest.approx(3.0, rel=0.1)
    assert widths_at(widths.iloc[:1], steep)[0] == pytest.approx(
        widths.fwhm_nm[0]
    )  # an empty bin: the nearest


def test_a_film_in_an_anisotropic_volume_is_as_thick_everywhere(support, widths):
    volume = anisotropic(3.0)
    for given in ({"psf_fwhm_nm": (6.0, 3.0, 3.0)}, {"edge_widths": widths}):
        found = profile_thickness(volume, support, film_level=0.5, max_thickness_nm=10.0, **given).point_data
        steep = np.abs(found["normal"][:, 0]) > 0.9
        for where in (steep, ~steep):
            assert np.median(found["thickness_nm"][where]) == pytest.approx(3.0, rel=0.05)
    wrong = profile_thickness(
        volume, support, film_level=0.5, max_thickness_nm=10.0, psf_fwhm_nm=3.0
    ).point_data
    assert np.median(wrong["thickness_nm"][steep]) > 3.8


def test_coverage_of_a_ball_with_a_film_on_one_half(support):
    volume = film_on_ball(6.0, 0.5)
    bare = film_on_ball(0.0, 0.5)
    is_film = positions(volume)[..., 2] > CENTRE[2]
    half = np.where(is_film, volume.data, bare.data).astype(np.float32)
    record = {"tilt_range_deg": [-60.0, 60.0]}
    films = profile_thickness(
        Volume(half, CUBE, volume.origin_nm, record),
        support,
        film_level=0.5,
        psf_fwhm_nm=FWHM,
        max_thickness_nm=12.0,
    )
    result = film_coverage(films)
    tables.check(result.summary, tables.SUMMARY)
    value = result.summary.set_index("quantity").value
    # The rim is blurred by half a radius of averaging, over 2 R: a few percent either way.
    assert value["coverage"] == pytest.approx(0.5, abs=0.05)
    assert value["coverage_sampled"] == pytest.approx(0.5, abs=0.05)
    assert value["film_thickness_median"] == pytest.approx(6.0, rel=0.05)
    assert value["mass_per_area_mean"] == pytest.approx(0.5 * 0.5 * 6.0, rel=0.05)
    data = result.surface.point_data
    inner = np.abs(support.vertices_nm[:, 2] - CENTRE[2]) > 4.0
    np.testing.assert_array_equal(data["is_covered"][inner], (support.vertices_nm[:, 2] > CENTRE[2])[inner])
    # Two planes at 30 deg from the beam through the tilt axis cut a third out of all directions.
    area = data["area_nm2"]
    assert area[data["normal_in_wedge"]].sum() / area.sum() == pytest.approx(1 / 3, abs=0.01)
    narrower = film_coverage(films, tilt_range_deg=(-30.0, 30.0)).surface.point_data["normal_in_wedge"]
    assert area[narrower].sum() / area.sum() == pytest.approx(2 / 3, abs=0.01)
    assert set(np.unique(data["kind"])) <= {0, 1, 2}
    assert film_coverage(films, min_thickness_nm=9.0).summary.value[0] == 0.0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "exactly one of psf_fwhm_nm and edge_widths must be given, got none"),
        ({"psf_fwhm_nm": 0.5}, "at least a voxel edge"),
        ({"psf_fwhm_nm": np.nan}, "at least a voxel edge"),
        ({"psf_fwhm_nm": 4.0, "film_level": 9.0}, "film_level must be a grey value of this volume"),
        ({"psf_fwhm_nm": 4.0, "film_level": np.nan}, "film_level must be a grey value of this volume"),
        ({"psf_fwhm_nm": 4.0, "max_thickness_nm": 0.0}, "max_thickness_nm must be a positive length"),
        ({"psf_fwhm_nm": 4.0, "averaging_radius_nm": -1.0}, "averaging_radius_nm must be zero or a length"),
    ],
)
def test_wrong_requests_are_refused(support, options, match):
    with pytest.raises(ValueError, match=match):
        profile_thickness(film_on_ball(2.0, 0.5, n=40), support, **{"film_level": 0.5, **options})


def test_wrong_volumes_and_surfaces_are_refused(support):
    volume = film_on_ball(2.0, 0.5, n=40)
    data = volume.data.copy()
    data[3, 4, 5] = np.nan
    options = {"film_level": 0.5, "psf_fwhm_nm": 4.0}
    with pytest.raises(ValueError, match="grey values must be finite"):
        profile_thickness(Volume(data, CUBE, volume.origin_nm), support, **options)
    with pytest.raises(ValueError, match="surface must lie in the volume"):
        profile_thickness(volume, Surface(support.vertices_nm + 500.0, support.faces), **options)
    with pytest.raises(ValueError, match="surface must have faces"):
        profile_thickness(volume, Surface(support.vertices_nm, support.faces[:0]), **options)
    with pytest.raises(ValueError, match="max_width_nm must be at least two voxel edges"):
        edge_widths(volume, support, max_width_nm=1.0)
    with pytest.raises(ValueError, match="films must come from profile_thickness"):
        film_coverage(support)
    films = profile_thickness(volume, support, averaging_radius_nm=0.0, **options)
    with pytest.raises(ValueError, match="min_thickness_nm must be a positive length"):
        film_coverage(films, min_thickness_nm=0.0)
    with pytest.raises(ValueError, match="tilt_range_deg must be"):
        film_coverage(films, tilt_range_deg=(60.0, -60.0))
    nothing = {**films.point_data, "thickness_nm": np.full(len(films.vertices_nm), np.nan)}
    with pytest.raises(ValueError, match="films must be known somewhere"):
        film_coverage(Surface(films.vertices_nm, films.faces, nothing))
