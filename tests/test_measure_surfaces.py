"""Surfaces and interfaces lie where the bodies are, have their areas, and say which of their normals no view saw."""

import math

import numpy as np
import pytest

from tomo3d import geometry, measure, phantoms, tables
from tomo3d.compute import triangles
from tomo3d.compute.crofton import DIRECTIONS, line_weights
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)
OFF = (0.31, -0.22, 0.13)  # centres off the grid
EXTRAPOLATED = "iso-surfaces extrapolated to no smoothing"
BODIES = {
    "ball of 5": phantoms.Ball(radius_nm=5, centre_nm=OFF),
    "ball of 12": phantoms.Ball(radius_nm=12, centre_nm=OFF),
    "shell of 9 to 15": phantoms.Shell(outer_radius_nm=15, thickness_nm=6, centre_nm=OFF),
    "torus of 14 and 5": phantoms.Torus(
        major_radius_nm=14, minor_radius_nm=5, centre_nm=OFF, axis=(0.9, 0.2, 0.4)
    ),
}


def frozen(array):
    array.flags.writeable = False
    return array


def grid(solid, voxel=CUBE):
    reach = 2 * solid.bounding_radius_nm
    shape = tuple(int(reach / edge) + 7 + i for i, edge in enumerate(voxel))
    return shape, tuple(-geometry.centre(n) * edge for n, edge in zip(shape, voxel, strict=True))


def grey(solid, voxel=CUBE):
    shape, origin = grid(solid, voxel)
    return Volume(frozen(solid.fraction(shape, voxel).astype(np.float32)), voxel, origin)


def mask(solid, voxel=CUBE):
    shape, origin = grid(solid, voxel)
    axes = [geometry.coordinates(n) * edge for n, edge in zip(shape, voxel, strict=True)]
    inside = solid.depth_nm(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)) > 0
    return Labels(frozen(inside.astype(np.uint8)), voxel, origin)


def area(surface):
    return triangles.face_areas(surface.vertices_nm, surface.faces).sum()


def areas(table):
    rows = table[table["quantity"] == "surface_area"]
    return dict(zip(rows["estimator"], rows["value"], strict=True))


@pytest.mark.parametrize("name", BODIES)
def test_grey_surfaces_have_the_area_and_volume_of_the_body_within_one_per_cent(name):
    solid = BODIES[name]
    for found in areas(measure.surface_area(grey(solid), level=0.5)).values():
        assert found == pytest.approx(solid.area_nm2, rel=0.01)
    surface = measure.surface_mesh(grey(solid), level=0.5)
    assert triangles.enclosed_volume(surface.vertices_nm, surface.faces) == pytest.approx(
        solid.volume_nm3, rel=0.005
    )
    # linear interpolation of shares that a curved, sloping surface fills: a seventh of a voxel at the worst vertex
    assert np.abs(solid.depth_nm(surface.vertices_nm)).max() < 0.15


@pytest.mark.parametrize("name", BODIES)
def test_masks_have_the_area_of_the_body_by_both_estimators(name):
    solid = BODIES[name]
    found = areas(measure.surface_area(mask(solid)))
    assert found["Crofton, 13 directions"] == pytest.approx(solid.area_nm2, rel=0.02)
    assert found["iso-surface of the smoothed mask"] == pytest.approx(solid.area_nm2, rel=0.015)
    assert found[EXTRAPOLATED] == pytest.approx(solid.area_nm2, rel=0.02)
    surface = measure.surface_mesh(mask(solid))
    # neither stair-stepped nor shrunk: half the error of the mask itself, and its volume
    assert np.abs(solid.depth_nm(surface.vertices_nm)).max() < 0.6
    assert triangles.enclosed_volume(surface.vertices_nm, surface.faces) == pytest.approx(
        np.count_nonzero(mask(solid).data), rel=0.015
    )


@pytest.mark.parametrize("voxel", [(2.0, 1.0, 1.0), (1.0, 0.6, 1.4)])
def test_voxels_that_are_longer_along_one_axis_are_measured_in_nm(voxel):
    solid = phantoms.Ball(radius_nm=10, centre_nm=OFF)
    for found in areas(measure.surface_area(grey(solid, voxel), level=0.5)).values():
        assert found == pytest.approx(solid.area_nm2, rel=0.015)
    for value in areas(measure.surface_area(mask(solid, voxel))).values():
        assert value == pytest.approx(solid.area_nm2, rel=0.02)
    surface = measure.surface_mesh(grey(solid, voxel), level=0.5)
    radial = (surface.vertices_nm - OFF) / np.linalg.norm(surface.vertices_nm - OFF, axis=1, keepdims=True)
    cosine = np.einsum("ij,ij->i", radial, surface.point_data["normal"])
    assert cosine.min() > math.cos(math.radians(3))  # outward, to 3 deg


@pytest.mark.parametrize("half_edge", [5, 8.5])
@pytest.mark.parametrize("normal", [(0, 0, 1), (1.0, 0.4, -0.3), (0.3, 1.0, 0.9)])
def test_areas_extrapolated_to_no_smoothing_keep_the_rims_of_cubes(half_edge, normal):
    edge = 2.0 * half_edge
    cube = phantoms.Slab(thickness_nm=edge, extent_nm=(edge, edge), normal=normal, centre_nm=OFF)
    assert areas(measure.surface_area(grey(cube), level=0.5))[EXTRAPOLATED] == pytest.approx(
        6 * edge**2, rel=0.015
    )
    assert areas(measure.surface_area(mask(cube)))[EXTRAPOLATED] == pytest.approx(6 * edge**2, rel=0.02)


def test_noise_does_not_spoil_extrapolated_areas():
    for solid in (
        phantoms.Ball(radius_nm=8, centre_nm=OFF),
        phantoms.Slab(thickness_nm=14, extent_nm=(14, 14), normal=(1, 0.4, -0.3), centre_nm=OFF),
    ):
        clean = grey(solid)
        noise = np.random.default_rng(0).normal(0, 0.1, clean.data.shape).astype(np.float32)
        noisy = Volume(frozen(clean.data + noise), CUBE, clean.origin_nm)
        found = areas(measure.surface_area(noisy, level=0.5))
        assert found[EXTRAPOLATED] == pytest.approx(solid.area_nm2, rel=0.02)


def test_where_parts_vanish_no_area_is_extrapolated_and_a_warning_says_so(caplog):
    thin = grey(phantoms.Ball(radius_nm=2.5, centre_nm=OFF))
    assert EXTRAPOLATED not in areas(measure.surface_area(thin, level=0.5))
    assert "parts under 4 voxels thick vanish" in caplog.text


def test_the_weights_of_lines_make_the_area_of_a_plane_right_on_average_over_directions():
    directions = np.random.default_rng(0).standard_normal((20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for voxel, worst in ((CUBE, 0.075), ((2.0, 1.0, 1.0), 0.125)):
        steps = np.array(DIRECTIONS) * voxel
        estimated = np.abs(directions @ steps.T) @ line_weights(voxel) / np.prod(voxel)
        assert estimated.mean() == pytest.approx(1, abs=2e-3)  # 20,000 draws of a spread of 0.06 and less
        assert np.abs(estimated - 1).max() < worst  # as the docstring states


def test_interfaces_of_a_ball_of_two_halves_meet_without_gap_or_overlap():
    solid = phantoms.Ball(radius_nm=9)
    both = mask(solid)
    data = both.data.copy()
    data[:, :, data.shape[2] // 2 :] *= 2
    labels = Labels(frozen(data), CUBE, both.origin_nm, names={1: "left", 2: "right"})
    x = (data.shape[2] // 2 - 0.5) + both.origin_nm[2]  # of the plane between them
    disc, caps = math.pi * (9**2 - x**2), {1: 2 * math.pi * 9 * (9 + x), 2: 2 * math.pi * 9 * (9 - x)}
    between = measure.interface_mesh(labels, first=1, second=2)
    assert area(between) == pytest.approx(disc, rel=0.05)  # its rim is found to a quarter of a voxel
    normals = between.point_data["normal"]
    assert normals[:, 2].min() > 0.99  # from the first into the second
    turned = measure.interface_mesh(labels, first=2, second=1)
    assert turned.point_data["normal"][:, 2].max() < -0.99
    for number in (1, 2):
        assert area(measure.interface_mesh(labels, first=number, second=0)) == pytest.approx(
            caps[number], rel=0.03
        )
    table = measure.interface_areas(labels)
    tables.check(table, tables.INTERFACE_AREAS)
    found = dict(zip(table["pair"], table["area_nm2"], strict=True))
    assert set(found) == {"background|left", "background|right", "left|right"}
    assert found["background|left"] == pytest.approx(caps[1], rel=0.03)
    # a step over the rim misses the second class: half a voxel of radius (11 %), and 7 % that a plane
    # along the grid lacks
    assert found["left|right"] == pytest.approx(disc, rel=0.19)


def test_the_outer_surface_and_the_film_on_it_agree_with_crofton():
    inner, outer = mask(phantoms.Ball(radius_nm=9)), mask(phantoms.Ball(radius_nm=13))
    data = outer.data * 2
    margin = (data.shape[0] - inner.data.shape[0]) // 2
    middle = tuple(slice(margin, margin + n) for n in inner.data.shape)
    data[middle][inner.data > 0] = 1
    labels = Labels(frozen(data), CUBE)
    table = measure.interface_areas(labels).set_index("pair")["area_nm2"]
    assert sorted(table.index) == ["background|class_2", "class_1|class_2"]
    for pair, first, second, radius in (("class_1|class_2", 1, 2, 9), ("background|class_2", 2, 0, 13)):
        assert area(measure.interface_mesh(labels, first=first, second=second)) == pytest.approx(
            table[pair], rel=0.02
        )
        assert table[pair] == pytest.approx(4 * math.pi * radius**2, rel=0.02)


def test_a_film_that_leaves_the_volume_has_open_edges_there_and_no_area_on_the_border():
    data = np.zeros((20, 16, 18), dtype=np.float32)
    data[8:12] = 1
    film = Volume(frozen(data), (1.0, 2.0, 1.5))
    surface = measure.surface_mesh(film, level=0.5)
    sheet = 16 * 2.0 * 18 * 1.5
    assert area(surface) == pytest.approx(2 * sheet)
    assert np.abs(surface.vertices_nm[:, 0] - 9.5) == pytest.approx(2.0)
    edges = triangles.edges_of(surface.faces)
    on_edge = triangles.is_on_open_edge(edges, len(surface.vertices_nm))
    assert (surface.point_data["touches_border"] == on_edge).all()
    assert on_edge.any()
    closed = measure.surface_mesh(film, level=0.5, close_border=True)
    assert (triangles.edges_of(closed.faces).n_faces == 2).all()
    sides = 2 * 4 * (16 * 2 + 18 * 1.5)
    assert area(closed) == pytest.approx(2 * sheet + sides, rel=0.05)  # rims are cut off within a voxel
    assert np.isfinite(closed.point_data["normal"]).all()


def test_normals_know_the_wedge_from_the_record_or_an_argument():
    solid = phantoms.Ball(radius_nm=10)
    body = grey(solid)
    asked = measure.surface_mesh(body, level=0.5, tilt_range_deg=(-60, 60))
    recorded = Volume(
        body.data, CUBE, body.origin_nm, {"method": "x", "input": {"tilt_range_deg": [-60, 60]}}
    )
    told = measure.surface_mesh(recorded, level=0.5)
    np.testing.assert_array_equal(asked.point_data["normal_in_wedge"], told.point_data["normal_in_wedge"])
    assert "normal_in_wedge" not in measure.surface_mesh(body, level=0.5).point_data
    # a third of all directions lies between +-60 and +-90 deg about y
    weights = triangles.vertex_areas(asked.vertices_nm, asked.faces)
    assert np.average(asked.point_data["normal_in_wedge"], weights=weights) == pytest.approx(1 / 3, abs=0.01)
    top = np.argmax(asked.vertices_nm[:, 0])
    assert abs(asked.point_data["normal_tilt_deg"][top]) == pytest.approx(90, abs=3)
    assert asked.point_data["wedge_depth_deg"][top] == pytest.approx(30, abs=3)
    side = np.argmax(asked.vertices_nm[:, 2])
    assert asked.point_data["wedge_depth_deg"][side] == pytest.approx(-60, abs=3)
    # one-sided: the view at +45 deg sees the surfaces whose normals are (z, x) = (1, 1)
    one = measure.surface_mesh(body, level=0.5, tilt_range_deg=(0, 60)).point_data
    z, x = one["normal"][:, 0], one["normal"][:, 2]
    assert not one["normal_in_wedge"][(np.abs(z - x) < 0.1) & (z > 0.5)].any()
    assert one["normal_in_wedge"][(np.abs(z + x) < 0.1) & (z > 0.5)].all()


def test_small_parts_are_told_apart_and_refused_alone():
    solid = phantoms.Ball(radius_nm=6)
    big = mask(solid)
    data = big.data.copy()
    data[0, :2, :2] = 1
    table = measure.surface_area(Labels(frozen(data), CUBE)).set_index("quantity")
    small = table.loc["surface_area_of_small_parts", "value"]
    alone = areas(measure.surface_area(big))["Crofton, 13 directions"]
    both = areas(table.reset_index())["Crofton, 13 directions"]
    assert 0 < small == pytest.approx(both - alone)
    with pytest.raises(ValueError, match=r"a part of at least 113 voxels.*got 1 of at most 4"):
        measure.surface_area(Labels((data * (big.data == 0)), CUBE))


def test_what_smoothing_takes_is_told(caplog):
    data = np.zeros((12, 30, 30), dtype=np.uint8)
    data[2:6, 4:26, 4:26] = 1
    measure.surface_mesh(Labels(data.copy(), CUBE))
    assert not caplog.records
    data[9, 4:26, 4:26] = 1
    sheet = Labels((np.indices(data.shape)[0] == 9) * data, CUBE)
    measure.surface_mesh(Labels(data, CUBE))
    (record,) = caplog.records
    assert "20 % of the mask is as thin as its smoothing" in record.getMessage()
    with pytest.raises(ValueError, match="must have a surface in the volume, got none"):
        measure.surface_mesh(sheet)
    film = measure.surface_mesh(sheet, smoothing_nm=0.3)
    assert area(film) == pytest.approx(2 * 22**2 + 4 * 22, rel=0.1)


def test_a_vertex_where_the_values_have_no_slope_stays_where_it_is():
    data = np.zeros((13, 13, 13), dtype=np.float32)
    data[6, 6, 6] = 1.0
    surface = measure.surface_mesh(Volume(data, CUBE), level=1e-6)
    assert np.isfinite(surface.vertices_nm).all()


def test_areas_have_intervals_where_there_are_blocks_enough():
    rng = np.random.default_rng(0)
    data = np.zeros((8, 128, 128), dtype=np.uint8)
    for y in range(2, 126, 8):
        for x in range(2, 126, 8):
            data[1:7, y : y + 5, x : x + int(rng.integers(3, 7))] = 1
    row = measure.surface_area(Labels(frozen(data), CUBE)).iloc[0]
    assert "bootstrap over" in row["interval"]
    assert row["low"] < row["value"] < row["high"]


def test_bad_structures_and_levels_are_refused():
    data = np.zeros((6, 7, 8), dtype=np.float32)
    data[2:4, 2:4, 2:4] = 1
    volume = Volume(data, CUBE)
    with pytest.raises(ValueError, match="level must be given for grey values"):
        measure.surface_mesh(volume)
    with pytest.raises(ValueError, match=r"between the least and the largest grey value \(0 and 1\), got 2"):
        measure.surface_area(volume, level=2.0)
    with pytest.raises(ValueError, match="level must not be given for labels"):
        measure.surface_mesh(Labels(data > 0, CUBE), level=0.5)
    with pytest.raises(ValueError, match="grey values must be finite"):
        measure.curvature(Volume(np.where(data > 0, np.nan, data), CUBE), level=0.5)
    with pytest.raises(ValueError, match="at least one voxel, got none"):
        measure.surface_mesh(Labels(data > 5, CUBE))
    with pytest.raises(ValueError, match="leave some background"):
        measure.surface_area(Labels(data < 5, CUBE))
    with pytest.raises(ValueError, match="smoothing_nm must be zero or a positive length, got -1"):
        measure.surface_mesh(volume, level=0.5, smoothing_nm=-1.0)
    with pytest.raises(ValueError, match="tilt_range_deg must be the least and the largest"):
        measure.surface_mesh(volume, level=0.5, tilt_range_deg=(60, -60))
    labels = Labels((data + (np.indices(data.shape)[0] > 5)).astype(np.uint8) * 1, CUBE)
    with pytest.raises(ValueError, match="first and second must be two classes"):
        measure.interface_mesh(labels, first=1, second=1)
    with pytest.raises(ValueError, match="second must have at least one voxel, got none of class 9"):
        measure.interface_mesh(labels, first=1, second=9)
    with pytest.raises(ValueError, match="at most 64 classes, got 336"):
        measure.interface_areas(Labels(np.arange(336).reshape(6, 7, 8), CUBE))
    with pytest.raises(ValueError, match="got only 3"):
        measure.interface_areas(Labels(np.full((4, 4, 4), 3), CUBE))
    with pytest.raises(ValueError, match="zero or positive, got -1"):
        measure.interface_areas(Labels(np.full((4, 4, 4), -1), CUBE))
    apart = np.zeros((9, 9, 30), dtype=np.uint8)
    apart[2:7, 2:7, 2:8], apart[2:7, 2:7, 20:26] = 1, 2
    with pytest.raises(ValueError, match="first and second must touch somewhere, got classes 1 and 2 apart"):
        measure.interface_mesh(Labels(apart, CUBE), first=1, second=2)
    apart[3, 3, 8] = 3
    with pytest.raises(ValueError, match="interface of classes 1 and 3 must be wider than the smoothing"):
        measure.interface_mesh(Labels(apart, CUBE), first=1, second=3)
