"""Which objects touch, and over which area."""

import math

import numpy as np
import pytest
from scipy import ndimage

from tomo3d import graph, phantoms, tables
from tomo3d.types import Labels


def ends_of(found):
    return {tuple(pair) for pair in found.branches[["node_a", "node_b"]].to_numpy().tolist()}


def two_halves(normal, radius, edge, voxel):
    """A ball cut in two by a plane through a point near its centre."""
    places = (np.indices((edge,) * 3).reshape(3, -1).T - 0.5 * (edge - 1)) * voxel
    halves = np.where(places @ normal > 0.15, 1, 2)
    return np.where((places**2).sum(axis=1) <= radius**2, halves, 0).reshape((edge,) * 3)


@pytest.mark.parametrize(("voxel", "tolerance"), [((1.0, 1.0, 1.0), 0.10), ((2.0, 1.0, 1.0), 0.15)])
def test_a_plane_in_any_direction_has_its_area(voxel, tolerance):
    normals = np.concatenate([np.eye(3), np.random.default_rng(0).standard_normal((5, 3))])
    for normal in normals / np.linalg.norm(normals, axis=1, keepdims=True):
        data = two_halves(normal, 16.0, 36, np.array(voxel))
        found = graph.contact_graph(Labels(data, voxel))
        assert ends_of(found) == {(1, 2)}
        assert found.branches["area_nm2"][0] == pytest.approx(math.pi * 16.0**2, rel=tolerance)


@pytest.mark.parametrize("bridged", [0.0, 0.5, 1.0])
def test_the_crumpled_membrane_has_exactly_the_bridges_that_were_put_in(bridged):
    membrane = phantoms.crumpled_membrane(seed=1, bridged=bridged, cell_nm=32, film_thickness_nm=3)
    known = ends_of(membrane.truth)
    assert len(known) == round(12 * bridged)
    found = graph.contact_graph(membrane.crumples)
    assert ends_of(found) == known
    assert len(found.nodes) == 9
    assert list(found.nodes["degree"]) == list(membrane.truth.nodes["degree"])


def test_bridges_are_found_from_the_film_alone_by_the_void_nearest_to_each_voxel():
    membrane = phantoms.crumpled_membrane(seed=2, cell_nm=32, film_thickness_nm=3)
    film = membrane.mask.data
    voids, _ = ndimage.label(~film)
    outside = np.unique(np.concatenate([np.unique(voids.take(f, a)) for a in range(3) for f in (0, -1)]))
    voids[np.isin(voids, outside)] = 0
    nearest = ndimage.distance_transform_edt(voids == 0, return_distances=False, return_indices=True)
    height = membrane.mask.origin_nm[0] + np.arange(len(film))
    data = np.where(film & (height > 0)[:, None, None], voids[tuple(nearest)], 0)
    found = graph.contact_graph(Labels(data, (1, 1, 1), membrane.mask.origin_nm))
    place = membrane.truth.nodes[["y_nm", "x_nm"]].to_numpy()
    name = {
        row.node: 1 + int(np.hypot(*(place - [row.y_nm, row.x_nm]).T).argmin())
        for row in found.nodes.itertuples()
    }
    assert sorted(name.values()) == list(range(1, 10))
    assert {tuple(sorted((name[a], name[b]))) for a, b in ends_of(found)} == ends_of(membrane.truth)


def test_objects_have_their_centroid_volume_and_border():
    data = np.zeros((8, 9, 30), dtype=np.int32)
    data[2:6, 2:6, 0:10], data[2:6, 2:6, 10:20], data[3:5, 3:5, 22:24] = 7, 3, 40
    found = graph.contact_graph(Labels(data, (2.0, 2.0, 2.0), (0.0, 0.0, 100.0)))
    nodes = found.nodes.set_index("node")
    assert list(found.nodes["node"]) == [3, 7, 40]
    assert nodes.loc[7, ["z_nm", "y_nm", "x_nm"]].tolist() == [7.0, 7.0, 109.0]
    assert nodes.loc[3, "volume_nm3"] == 160 * 8
    assert nodes.loc[40, "radius_nm"] == pytest.approx((8 * 8 * 3 / (4 * math.pi)) ** (1 / 3))
    assert nodes["touches_border"].to_dict() == {3: False, 7: True, 40: False}
    assert nodes["degree"].to_dict() == {3: 1, 7: 1, 40: 0}
    assert found.branches["length_nm"][0] == pytest.approx(20.0)
    assert list(found.branches.columns) == tables.names(tables.CONTACTS)


def test_a_contact_of_one_corner_counts_unless_a_larger_area_is_asked_for():
    data = np.zeros((8, 8, 8), dtype=np.uint8)
    data[1:4, 1:4, 1:4], data[4:7, 4:7, 4:7] = 1, 2
    labels = Labels(data, (1, 1, 1))
    assert 0 < graph.contact_graph(labels).branches["area_nm2"][0] < 1
    none = graph.contact_graph(labels, min_area_nm2=1.0)
    assert len(none.branches) == 0
    assert list(none.nodes["degree"]) == [0, 0]


def test_one_object_has_no_contact_and_none_is_an_error():
    assert len(graph.contact_graph(Labels(np.ones((3, 3, 3), dtype=bool), (1, 1, 1))).branches) == 0
    with pytest.raises(ValueError, match="at least one object, got background only"):
        graph.contact_graph(Labels(np.zeros((3, 3, 3), dtype=bool), (1, 1, 1)))
    with pytest.raises(ValueError, match="zero or positive, got -1"):
        graph.contact_graph(Labels(np.full((3, 3, 3), -1), (1, 1, 1)))
    with pytest.raises(ValueError, match="min_area_nm2 must be an area"):
        graph.contact_graph(Labels(np.ones((3, 3, 3), dtype=bool), (1, 1, 1)), min_area_nm2=-1.0)
