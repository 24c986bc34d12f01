"""Networks and membranes that are known: their voxels fit what they say of themselves."""

import math

import numpy as np
import pytest
from scipy import ndimage

from tomo3d import graph, phantoms, tables


def test_the_voxels_of_a_capsule_fill_its_volume():
    solid = phantoms.capsule(length_nm=30, radius_nm=6, direction=(1, 2, 3), voxel_size_nm=(1.5, 1.0, 1.0))
    known = math.pi * 36 * 30 + 4 / 3 * math.pi * 216
    assert solid.mask.data.sum() * 1.5 == pytest.approx(known, rel=0.01)
    centre = np.argwhere(solid.mask.data).mean(axis=0) * solid.mask.voxel_size_nm + solid.mask.origin_nm
    assert np.abs(centre).max() < 0.05


def test_curves_have_the_lengths_and_curvatures_of_their_formulas():
    helix = phantoms.helix(helix_radius_nm=12, pitch_nm=20, n_turns=1.5, radius_nm=2).truth.branches.iloc[0]
    turn = math.hypot(2 * math.pi * 12, 20)
    assert helix["length_nm"] == pytest.approx(1.5 * turn, rel=1e-4)
    assert helix["curvature_per_nm"] == pytest.approx(12 * (2 * math.pi / turn) ** 2, rel=0.01)
    ring = phantoms.ring(ring_radius_nm=12, radius_nm=2).truth.branches.iloc[0]
    assert ring["length_nm"] == pytest.approx(2 * math.pi * 12, rel=1e-4)
    assert ring["curvature_per_nm"] == pytest.approx(1 / 12, rel=0.01)


@pytest.mark.parametrize(
    ("solid", "n_nodes", "n_branches"),
    [
        (phantoms.cubic_network(), 27, 54),
        (phantoms.cubic_network(n_nodes=2), 8, 12),
        (phantoms.diamond_network(), 8, 4),
        (phantoms.diamond_network(n_cells=2, strut_nm=14, radius_nm=2), 25, 20),
    ],
)
def test_lattices_have_the_columns_and_numbers_of_their_kind(solid, n_nodes, n_branches):
    truth = solid.truth
    assert (len(truth.nodes), len(truth.branches)) == (n_nodes, n_branches)
    assert list(truth.nodes.columns) == tables.names(tables.GRAPH_NODES)
    assert list(truth.branches.columns) == tables.names(tables.GRAPH_BRANCHES)
    assert not (truth.nodes["degree"] == 2).any()
    assert np.ptp(truth.branches["length_nm"]) < 1e-9


def test_a_random_network_keeps_its_promises():
    truth = phantoms.random_network(seed=5, n_nodes=15, size_nm=80, radius_nm=(1.5, 3)).truth
    place = truth.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy()
    gaps = np.linalg.norm(place[:, None] - place[None], axis=2)
    assert gaps[np.triu_indices(len(place), 1)].min() >= 6 * 3
    assert not (truth.nodes["degree"] == 2).any()
    widths = truth.branches["mean_width_nm"]
    assert 3 <= widths.min() < widths.max() <= 6
    ways = {}
    for row in truth.branches.itertuples():
        way = (place[row.node_b] - place[row.node_a]) / row.length_nm
        ways.setdefault(row.node_a, []).append(way)
        ways.setdefault(row.node_b, []).append(-way)
    cosines = [a @ b for w in ways.values() for i, a in enumerate(w) for b in w[:i]]
    assert max(cosines) <= math.cos(math.radians(30)) + 1e-9
    same = phantoms.random_network(seed=5, n_nodes=15, size_nm=80, radius_nm=(1.5, 3)).truth
    assert same.branches.equals(truth.branches)


def test_a_network_that_is_the_truth_is_found_whole_and_one_that_lacks_a_strut_is_not():
    solid = phantoms.cubic_network()
    table = phantoms.compare_networks(solid.truth, solid.truth, reach_nm=2).set_index("quantity")
    assert table.loc["branches_found", "measured"] == 54
    assert table.loc[["branches_spurious", "width_error_largest", "total_length"], "error"].abs().max() == 0
    less = type(solid.truth)(solid.truth.nodes, solid.truth.branches[1:].assign(branch=range(53)))
    table = phantoms.compare_networks(solid.truth, less, reach_nm=2).set_index("quantity")
    assert table.loc["branches_found", "error"] == -1
    table = phantoms.compare_networks(less, solid.truth, reach_nm=2).set_index("quantity")
    assert table.loc["branches_spurious", "measured"] == 1


def test_a_measured_branch_stands_for_one_true_branch_alone():
    nodes = np.array([[0.0, 0, 0], [0, 0, 30]])
    bow = np.array([[0.0, 0, 0], [0, 10, 15], [0, 0, 30]])
    struts = [phantoms.Strut(0, 1, line, 2.0) for line in (nodes, bow)]
    truth = phantoms.network(nodes, struts).truth
    single = phantoms.network(nodes, struts[:1]).truth
    table = phantoms.compare_networks(truth, single, reach_nm=2).set_index("quantity")
    assert table.loc["branches_found", "measured"] == 1
    table = phantoms.compare_networks(truth, truth, reach_nm=2).set_index("quantity")
    assert table.loc[["branches_found", "length_error_mean"], "error"].tolist() == [0, 0]


def test_the_membrane_has_a_closed_void_of_known_volume_in_each_crumple_and_walls_of_its_thickness():
    membrane = phantoms.crumpled_membrane(seed=3, cell_nm=50, film_thickness_nm=4)
    film = membrane.mask.data
    voids, n = ndimage.label(~film)
    sizes = ndimage.sum_labels(~film, voids, np.arange(1, n + 1))
    closed = [
        i
        for i in range(1, n + 1)
        if not any((voids.take(f, a) == i).any() for a in range(3) for f in (0, -1))
    ]
    assert len(closed) == len(membrane.truth.nodes) == 9
    found = np.sort(sizes[np.array(closed) - 1])
    known = np.sort(membrane.truth.nodes["void_volume_nm3"])
    assert np.abs(found / known - 1).max() < 0.05
    assert ndimage.label(film, np.ones((3, 3, 3)))[1] == 1
    heights = membrane.mask.origin_nm[0] + np.arange(len(film))
    assert heights[film.any(axis=(1, 2))].max() == pytest.approx(
        membrane.truth.nodes["height_nm"].max(), abs=1.0
    )
    assert film[:, 0, 0].sum() == 4  # the base
    for row in membrane.truth.nodes[membrane.truth.nodes["kind"] == "tubule"].itertuples():
        column = film[
            :,
            *(
                round(float(v - o))
                for v, o in zip((row.y_nm, row.x_nm), membrane.mask.origin_nm[1:], strict=True)
            ),
        ]
        assert column[heights > 0].sum() in (3, 4, 5)  # its roof, on the axis


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: phantoms.capsule(length_nm=0), "length_nm must be a positive length"),
        (lambda: phantoms.capsule(direction=(0, 0, 0)), "other than"),
        (lambda: phantoms.ring(ring_radius_nm=3, radius_nm=3), "radius_nm must be less than"),
        (lambda: phantoms.helix(n_turns=0), "n_turns must be a positive number"),
        (lambda: phantoms.cubic_network(n_nodes=1), "n_nodes must be 2 or more"),
        (lambda: phantoms.diamond_network(n_cells=0), "n_cells must be 1 or more"),
        (lambda: phantoms.random_network(n_nodes=50, size_nm=40), "must find room in 40 nm"),
        (lambda: phantoms.random_network(radius_nm=(3, 2)), "two positive lengths, the smaller first"),
        (lambda: phantoms.network(np.zeros((1, 3)), []), "at least one strut"),
        (lambda: phantoms.crumpled_membrane(film_thickness_nm=5), "at most a tenth of cell_nm"),
        (lambda: phantoms.crumpled_membrane(bridged=2), "bridged must be a share"),
        (lambda: phantoms.crumpled_membrane(n_along=0), "n_along must be 1 or more"),
        (lambda: phantoms.compare_networks(*[phantoms.capsule().truth] * 2, reach_nm=0), "reach_nm must be"),
    ],
)
def test_wrong_parameters_get_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_network_of_anisotropic_voxels_is_that_of_cubic_ones():
    fine = phantoms.cubic_network(n_nodes=2, voxel_size_nm=1.0)
    coarse = phantoms.cubic_network(n_nodes=2, voxel_size_nm=(1.5, 1.0, 1.0))
    assert coarse.truth.branches.equals(fine.truth.branches)
    one, two = (graph.skeleton_graph(solid.mask).branches["length_nm"].sum() for solid in (fine, coarse))
    assert two == pytest.approx(one, rel=0.03)
