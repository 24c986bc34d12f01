"""Iso-surfaces have no cracks, lie where values cross the level, and face outwards; what meshes measure."""

import math

import numpy as np
import pytest

from tomo3d.compute import triangles
from tomo3d.compute.iso_surface import iso_surface
from tomo3d.compute.marching_cases import cases

VOXEL, ORIGIN = (2.0, 1.5, 1.0), (-30.0, 7.0, 100.0)


def frozen(array):
    array.flags.writeable = False
    return array


def directed_sides(faces):
    return list(map(tuple, faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).tolist()))


@pytest.mark.parametrize(
    ("shape", "seed"), [((7, 8, 19), 0), ((1, 9, 2), 1), ((12, 3, 8), 2), ((40, 9, 17), 3)]
)
def test_noise_gets_a_closed_surface_whose_sides_each_run_once_each_way(shape, seed):
    noise = np.random.default_rng(seed).standard_normal(shape)
    vertices, faces = iso_surface(frozen(noise), 0.2, VOXEL, ORIGIN, is_closed=True)
    sides = directed_sides(faces)
    assert len(set(sides)) == len(sides)  # a diagonal on a face of two cells would run twice
    assert set(sides) == {(b, a) for a, b in sides}
    assert len(np.unique(faces)) == len(vertices)
    # every vertex is where linear interpolation between two voxels gives the level, or half a voxel beyond the border
    index = (vertices - ORIGIN) / VOXEL
    whole = np.abs(index - np.rint(index)) < 1e-9
    assert (whole.sum(axis=1) >= 2).all()
    low, high = np.floor(index + 1e-9).astype(int), np.ceil(index - 1e-9).astype(int)
    inner = ((low >= 0) & (high < shape)).all(axis=1)
    at = tuple(low[inner].T), tuple(high[inner].T)
    share = (index[inner] - low[inner]).sum(axis=1)
    value = (1 - share) * noise[at[0]] + share * noise[at[1]]
    assert np.abs(value - 0.2).max() < 1e-3  # shares are kept 1e-4 off the ends
    beyond = index[~inner]
    assert np.isclose(beyond, -0.5).sum() + np.isclose(beyond, np.array(shape) - 0.5).sum() == len(beyond)


def test_a_box_has_its_volume_its_area_and_outward_normals():
    data = np.zeros((9, 10, 12), dtype=np.uint8)
    data[2:7, 3:8, 4:10] = 1
    vertices, faces = iso_surface(frozen(data), 0.5, VOXEL, ORIGIN)
    edges = np.array([5, 5, 6]) * VOXEL
    # rims are cut off at half a voxel: two faces of 1/2 become one of sqrt(1/2), for each length of rim
    assert triangles.enclosed_volume(vertices, faces) == pytest.approx(np.prod(edges), rel=0.05)
    assert triangles.enclosed_volume(vertices, faces) > 0  # outwards
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    first, last = np.array([2, 3, 4]), np.array([6, 7, 9])
    np.testing.assert_allclose(low, (first - 0.5) * VOXEL + ORIGIN)
    np.testing.assert_allclose(high, (last + 0.5) * VOXEL + ORIGIN)
    outward = triangles.area_vectors(vertices, faces)
    top = np.isclose(vertices[faces][:, :, 0], high[0]).all(axis=1)
    assert top.any()
    assert (outward[top, 0] > 0).all()
    assert np.abs(outward.sum(axis=0)).max() < 1e-9


def test_an_open_surface_goes_straight_on_for_half_a_voxel():
    z, _, x = np.indices((6, 7, 8))
    vertices, faces = iso_surface(x - 3.3 + 0 * z, 0.0, (1, 1, 1))
    assert vertices[:, :2].min(axis=0).tolist() == [-0.5, -0.5]
    assert vertices[:, :2].max(axis=0).tolist() == [5.5, 6.5]
    assert triangles.face_areas(vertices, faces).sum() == pytest.approx(6 * 7)
    assert (triangles.area_vectors(vertices, faces)[:, 2] < 0).all()  # what is larger is inside
    edges = triangles.edges_of(faces)
    assert (edges.n_faces == 1).sum() == 2 * (6 + 7) + 4  # two cells of half a voxel at the ends of each side


def test_every_case_and_its_complement_pass_the_same_edges():
    n_triangles, corners, _ = cases()
    assert n_triangles[0] == n_triangles[255] == 0
    for case in range(256):
        here = set(corners[case, : n_triangles[case]].ravel().tolist())
        assert here == set(corners[255 - case, : n_triangles[255 - case]].ravel().tolist())


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_angles_of_any_mesh_obey_gauss_and_bonnet(is_closed):
    noise = np.random.default_rng(5).standard_normal((9, 10, 11))
    vertices, faces = iso_surface(noise, 0.5, VOXEL, is_closed=is_closed)
    edges = triangles.edges_of(faces)
    at_edge = triangles.is_on_open_edge(edges, len(vertices))
    assert at_edge.any() != is_closed
    total = triangles.angle_deficits(vertices, faces, at_edge).sum()
    assert total == pytest.approx(2 * math.pi * triangles.euler_characteristic(faces, edges), abs=1e-9)


def test_a_cube_bends_at_its_edges_alone():
    corners = np.array([[z, y, x] for z in (0, 2) for y in (0, 2) for x in (0, 2)], dtype=float)
    quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    assert triangles.enclosed_volume(corners, faces) == pytest.approx(8)
    # half of length times turn: 12 edges of 2 and pi / 2
    assert triangles.mean_curvature_integral(corners, faces, triangles.edges_of(faces)) == pytest.approx(
        6 * math.pi
    )
    hollow = faces[:, ::-1]
    assert triangles.mean_curvature_integral(corners, hollow, triangles.edges_of(hollow)) == pytest.approx(
        -6 * math.pi
    )
    assert triangles.n_pieces(np.concatenate([faces, faces + 8])) == 2


def test_a_clipped_square_keeps_the_share_that_a_plane_leaves():
    n = 7
    y, x = np.divmod(np.arange(n * n), n)
    vertices = np.stack([np.zeros(n * n), y, x], axis=1).astype(float)
    a = np.arange(n * n).reshape(n, n)[:-1, :-1].ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + n], 1), np.stack([a + 1, a + n + 1, a + n], 1)])
    kept, cut, _ = triangles.clipped(vertices, faces, vertices[:, 2] * 0.7 + vertices[:, 1] - 3.1)
    # of the square 6 x 6, above y = 3.1 - 0.7 x: all but a triangle of legs 3.1 and 3.1 / 0.7
    assert triangles.face_areas(kept, cut).sum() == pytest.approx(36 - 3.1**2 / 0.7 / 2)
    assert (triangles.edges_of(cut).n_faces <= 2).all()
    assert triangles.n_pieces(cut) == 1
