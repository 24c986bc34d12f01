"""Films that are known in closed form, by every definition; chords; thickness against the normal."""

import math

import numpy as np
import pytest

from tomo3d import phantoms, tables
from tomo3d.measure import (
    chord_thickness,
    distance_thickness,
    local_thickness,
    slice_thickness,
    surface_mesh,
    thickness_by_angle,
    thickness_report,
)
from tomo3d.types import Labels, Surface, Volume

CUBE = (1.0, 1.0, 1.0)
WITHIN = 0.5  # nm: half a voxel


def phase(labels, name):
    """Number of a phase."""
    return next(number for number, known in labels.names.items() if known == name)


def truths(specimen):
    return specimen.truth.set_index("quantity").value


def mask(labels, name):
    return Labels(
        (labels.data == phase(labels, name)).astype(np.uint8), labels.voxel_size_nm, labels.origin_nm
    )


def median(surface, where=slice(None)):
    return float(np.nanmedian(surface.point_data["thickness_nm"][where]))


def test_film_on_a_ball_by_every_definition():
    specimen = phantoms.film_on_ball(radius_nm=13.0, thickness_nm=5.0, centre_nm=(0.2, -0.3, 0.4))
    labels, truth = specimen.labels((42, 43, 44), 1.0), truths(specimen)
    film, number = mask(labels, "film"), phase(labels, "film")
    inside = film.data != 0
    assert np.median(local_thickness(film).data[inside]) == pytest.approx(
        truth["film_local_thickness"], rel=0.03
    )
    distance = distance_thickness(labels, phase=number)
    expected = truth["film_distance_thickness_volume"]
    assert distance.data[inside].mean() == pytest.approx(expected, abs=WITHIN)
    table = thickness_report({"distance": distance}, labels=labels, interface=phase(labels, "support"))
    at_ball = table.set_index("quantity").value["distance_interface_median"]
    assert at_ball == pytest.approx(truth["film_distance_thickness"], abs=0.1)
    chord = chord_thickness(film)
    assert median(chord) == pytest.approx(truth["film_chord_thickness"], rel=0.03)
    assert not chord.point_data["is_missed"].any()
    slices = slice_thickness(film, axis="z").data
    assert slices[inside].mean() == pytest.approx(truth["film_slice_thickness"], rel=0.03)


def test_films_at_random_directions_look_thicker_in_slices():
    # Thin films: pi / 2 by area, 4 / pi by the length of the traces.
    truth = truths(phantoms.film_on_ball(radius_nm=2000.0, thickness_nm=1.0))
    assert truth["film_slice_thickness"] == pytest.approx(math.pi / 2, rel=0.005)
    assert truth["film_trace_thickness"] == pytest.approx(4 / math.pi, rel=0.001)
    assert truth["film_distance_thickness_volume"] == pytest.approx(0.5, rel=0.001)


def test_bridge_in_a_slot_by_every_definition():
    specimen = phantoms.bridge_in_slot(width_nm=7.0, length_nm=32.0)
    labels, truth = specimen.labels((25, 48, 12), 1.0), truths(specimen)
    film, number = mask(labels, "film"), phase(labels, "film")
    inside = film.data != 0
    assert np.median(local_thickness(film).data[inside]) == pytest.approx(
        truth["film_local_thickness"], rel=0.03
    )
    distance = distance_thickness(labels, phase=number).data[inside]
    assert distance.mean() == pytest.approx(truth["film_distance_thickness_volume"], rel=0.03)
    assert distance.max() == pytest.approx(truth["film_distance_thickness_largest"], abs=WITHIN)
    chord = chord_thickness(film)
    on_wall = np.abs(chord.point_data["normal"][:, 0]) > 0.99
    on_wall &= np.abs(chord.vertices_nm[:, 1]) < 12
    assert median(chord, on_wall) == pytest.approx(truth["film_chord_thickness"], rel=0.03)


@pytest.mark.parametrize("normal", [(0.7, 0.5, 0.51), (0.2, 0.3, -0.9)])
def test_oblique_film_by_every_definition(normal):
    specimen = phantoms.oblique_film(thickness_nm=6.0, normal=normal)
    labels, truth = specimen.labels((40, 41, 42), 1.0), truths(specimen)
    film, number = mask(labels, "film"), phase(labels, "film")
    inner = np.zeros(labels.data.shape, bool)
    inner[10:-10, 10:-10, 10:-10] = True
    inside = (film.data != 0) & inner
    assert np.median(local_thickness(film).data[inside]) == pytest.approx(
        truth["film_local_thickness"], rel=0.03
    )
    distance = distance_thickness(labels, phase=number).data[inside]
    assert distance.mean() == pytest.approx(truth["film_distance_thickness_volume"], abs=WITHIN)
    chord = chord_thickness(film)
    middle = (np.abs(chord.vertices_nm) < 10).all(axis=1)
    assert median(chord, middle) == pytest.approx(truth["film_chord_thickness"], rel=0.03)
    slices = slice_thickness(film, axis="z").data
    assert np.median(slices[inside]) == pytest.approx(truth["film_slice_thickness"], rel=0.05)


def plate(thickness, voxel=CUBE, edge=30):
    """Partial volumes of an oblique plate, on a grid whose first voxel is not at the origin."""
    shape = tuple(int(edge / size) for size in voxel)
    slab = phantoms.Slab(thickness_nm=thickness, normal=(0.5, 0.6, 0.7), centre_nm=(0.2, -0.1, 0.3))
    data = slab.fraction(shape, voxel, samples_per_voxel=3)
    data.flags.writeable = False
    return Volume(data, voxel, tuple(-(n - 1) / 2 * size for n, size in zip(shape, voxel, strict=True)))


@pytest.mark.parametrize("thickness", [3.2, 4.3, 8.1])
@pytest.mark.parametrize("voxel", [CUBE, (1.5, 1.0, 1.0)])
def test_chords_of_an_oblique_plate(thickness, voxel):
    chord = chord_thickness(plate(thickness, voxel), level=0.5)
    middle = (np.abs(chord.vertices_nm) < 8).all(axis=1)
    tolerance = 0.01 if voxel == CUBE else 0.03
    assert median(chord, middle) == pytest.approx(thickness, rel=tolerance)
    assert np.nanstd(chord.point_data["thickness_nm"][middle]) < 0.1  # each is right, not only their middle
    rim = chord.point_data["leaves_volume"]
    assert rim.any()
    assert np.isnan(chord.point_data["thickness_nm"][rim]).all()
    assert not rim[middle].any()


def test_chords_begin_at_any_surface_near_the_structure():
    volume = plate(6.0)
    normal = np.array([0.5, 0.6, 0.7]) / np.linalg.norm([0.5, 0.6, 0.7])
    axes = [o + np.arange(n) for o, n in zip(volume.origin_nm, volume.data.shape, strict=True)]
    height = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ normal - (0.2, -0.1, 0.3) @ normal
    for depth, is_missed in ((3.0, False), (0.0, False), (-4.0, False), (7.0, True)):
        start = surface_mesh(Volume(-height + depth, CUBE, volume.origin_nm), level=0.0)
        chord = chord_thickness(volume, surface=start, level=0.5)
        middle = (np.abs(chord.vertices_nm) < 8).all(axis=1)
        if is_missed:
            assert chord.point_data["is_missed"][middle].all()
            assert np.isnan(chord.point_data["thickness_nm"][middle]).all()
        else:
            assert median(chord, middle) == pytest.approx(6.0, rel=0.01)


def test_a_film_under_the_level_is_missed_not_measured():
    chord = chord_thickness(
        Volume(plate(0.8).data * 0.4 + plate(6.0).data * 0.6, CUBE, plate(6.0).origin_nm),
        surface=surface_mesh(plate(6.0), level=0.5),
        level=0.9,  # smoothed over voxels, the thin bright layer within the plate stays below
    )
    assert chord.point_data["is_missed"].all()


@pytest.mark.parametrize(
    ("structure", "options", "match"),
    [
        (plate(4.0), {}, "level must be given"),
        (plate(4.0), {"level": 2.0}, "level must lie between"),
        (Labels(np.zeros((4, 5, 6), np.uint8), CUBE), {}, "at least one voxel"),
        (Labels(np.ones((4, 5, 6), np.uint8), CUBE), {}, "leave some background"),
        (Labels(np.eye(5, dtype=np.uint8)[None], CUBE), {"level": 0.5}, "level must not be given for labels"),
        (Volume(np.full((4, 5, 6), np.nan), CUBE), {"level": 0.5}, "must be finite"),
    ],
)
def test_wrong_structures_are_refused(structure, options, match):
    with pytest.raises(ValueError, match=match):
        chord_thickness(structure, **options)
    nothing = Surface(np.zeros((3, 3)), np.zeros((0, 3), np.int64))
    with pytest.raises(ValueError, match="surface must have faces"):
        chord_thickness(plate(4.0), surface=nothing, level=0.5)


def ball_of(values_of):
    """A ball's surface with a thickness that depends on the elevation of its normal."""
    grid = np.stack(np.meshgrid(*[np.arange(30) - 14.5] * 3, indexing="ij"), axis=-1)
    surface = surface_mesh(Volume(12.0 - np.linalg.norm(grid, axis=-1), CUBE, (-14.5,) * 3), level=0.0)
    elevation = np.rad2deg(np.arcsin(np.abs(surface.point_data["normal"][:, 0])))
    return Surface(surface.vertices_nm, surface.faces, {"thickness_nm": values_of(elevation)})


def test_thickness_against_the_angle_of_the_normal():
    surface = ball_of(lambda elevation: 2.0 + elevation / 30.0)
    table = thickness_by_angle(surfaces={"profile": surface}, tilt_range_deg=(-60.0, 60.0))
    tables.check(table, tables.THICKNESS_BY_ANGLE)
    assert set(table["sample"]) == {"profile_surface"}
    assert len(table) == 9
    edges = np.sin(np.deg2rad(np.arange(0, 91, 10)))
    middle = np.rad2deg(np.arcsin(0.5 * (edges[1:] + edges[:-1])))  # half of the area of each zone lies below
    np.testing.assert_allclose(table.median_nm, 2.0 + middle / 30.0, atol=0.08)  # vertices sit on a grid
    assert (table.p25_nm <= table.median_nm).all()
    low, high = (np.deg2rad(table.elevation_deg + step) for step in (-5, 5))
    zones = np.sin(high) - np.sin(low)  # of a sphere
    np.testing.assert_allclose(table.share, zones, atol=0.03)
    assert (table.share * table.share_in_wedge).sum() == pytest.approx(1 / 3, abs=0.01)
    assert table.share_in_wedge.iloc[-1] == pytest.approx(1.0)
    assert np.isnan(thickness_by_angle(surfaces={"a": surface}).share_in_wedge).all()


def test_report_of_a_surface_counts_points_by_their_area():
    surface = ball_of(lambda elevation: np.where(elevation > 30.0, 6.0, 3.0))
    table = thickness_report(surfaces={"chord": surface}, tilt_range_deg=(-60.0, 60.0))
    value = table.set_index("quantity").value
    # Half of a sphere lies within 30 deg of its equator.
    assert value["chord_surface_mean"] == pytest.approx(4.5, rel=0.01)
    assert value["chord_surface_p05"] == pytest.approx(3.0)
    assert value["chord_surface_p95"] == pytest.approx(6.0)
    assert value["chord_surface_sampled_mean"] < 4.3  # steep ones are hidden
    assert table.set_index("quantity").n["chord_surface_mean"] == len(surface.vertices_nm)
    cut = thickness_report(surfaces={"chord": surface}, cutoff_nm=4.0).set_index("quantity").value
    assert cut["chord_surface_share_below"] == pytest.approx(0.5, abs=0.01)


def test_wrong_tables_are_refused():
    surface = ball_of(lambda elevation: elevation + 1.0)
    with pytest.raises(ValueError, match="thickness must hold at least one map, or surfaces"):
        thickness_report()
    with pytest.raises(ValueError, match="must hold thickness_nm"):
        thickness_report(surfaces={"a": Surface(surface.vertices_nm, surface.faces)})
    with pytest.raises(ValueError, match="tilt_range_deg must be the least and the largest"):
        thickness_report(surfaces={"a": surface}, tilt_range_deg=(60.0, 10.0))
    with pytest.raises(ValueError, match="an interface or surfaces must be given"):
        thickness_by_angle({"a": Volume(np.ones((3, 4, 5)), CUBE)})
    with pytest.raises(ValueError, match="n_bins must be at least 1"):
        thickness_by_angle(surfaces={"a": surface}, n_bins=0)
    with pytest.raises(ValueError, match="a_surface must have at least one point"):
        thickness_by_angle(surfaces={"a": ball_of(lambda elevation: elevation * np.nan)})
