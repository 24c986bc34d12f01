"""Networks from networkx and back."""

import networkx
import numpy as np
import pandas as pd
import pytest

from tomo3d import graph


def test_a_networkx_graph_becomes_straight_branches_between_its_positions():
    plain = networkx.cubical_graph()
    positions = np.random.default_rng(0).random((8, 3)) * 50
    found = graph.from_networkx(plain, positions)
    assert np.array_equal(found.nodes[["z_nm", "y_nm", "x_nm"]], positions)
    assert list(found.nodes["degree"]) == [3] * 8
    for row, (a, b) in zip(found.branches.itertuples(), plain.edges, strict=True):
        assert (row.node_a, row.node_b) == (a, b)
        assert row.length_nm == row.chord_nm == pytest.approx(np.linalg.norm(positions[a] - positions[b]))
        assert np.array_equal(found.lines_nm[row.branch], positions[[a, b]])


def test_positions_may_be_a_mapping_and_nodes_texts():
    plain = networkx.Graph([("b", "a"), ("a", "c")])
    found = graph.from_networkx(plain, {"a": (0, 0, 0), "b": (0, 0, 3), "c": (4, 0, 0)})
    assert list(found.nodes["node"]) == ["b", "a", "c"]
    assert list(found.branches["length_nm"]) == [3, 4]


def test_a_network_goes_to_networkx_and_back_with_its_columns():
    plain = networkx.MultiGraph()
    plain.add_node(5, radius_nm=2.0)
    plain.add_node(2, radius_nm=3.0)
    plain.add_edge(5, 2, length_nm=9.0, mean_width_nm=1.5)
    plain.add_edge(5, 2, mean_width_nm=2.5)
    plain.add_edge(2, 2, length_nm=4.0, mean_width_nm=0.5)
    found = graph.from_networkx(plain, np.array([[0, 0, 0], [0, 3, 4]]))
    assert list(found.branches["length_nm"]) == [9, 5, 4]
    assert list(found.nodes["degree"]) == [2, 4]
    other = graph.to_networkx(found)
    assert isinstance(other, networkx.MultiGraph)
    assert other.edges[5, 2, 1]["mean_width_nm"] == 2.5
    place = {node: (data["z_nm"], data["y_nm"], data["x_nm"]) for node, data in other.nodes(data=True)}
    again = graph.from_networkx(other, place)
    pd.testing.assert_frame_equal(again.nodes, found.nodes)
    pd.testing.assert_frame_equal(again.branches, found.branches, check_like=True)


def test_a_graph_without_edges_or_nodes_is_a_network_without():
    empty = graph.from_networkx(networkx.Graph(), np.empty((0, 3)))
    assert (len(empty.nodes), len(empty.branches)) == (0, 0)
    one = graph.from_networkx(networkx.empty_graph(1), [[1, 2, 3]])
    assert (len(one.nodes), len(one.branches)) == (1, 0)
    assert graph.to_networkx(one).number_of_nodes() == 1


@pytest.mark.parametrize(
    ("plain", "positions", "error", "sentence"),
    [
        (networkx.DiGraph([(0, 1)]), np.zeros((2, 3)), ValueError, "no direction: pass graph.to_undirected"),
        (networkx.path_graph(3), np.zeros((2, 3)), ValueError, "with 3 nodes, got"),
        (networkx.path_graph(2), {0: (0, 0, 0)}, ValueError, r"must have every node, missing \[1\]"),
        (networkx.path_graph(2), np.full((2, 3), np.nan), ValueError, "must be finite"),
        (networkx.path_graph(2), {0: (0, 0, 0), 1: "here"}, ValueError, "three numbers"),
        (networkx.Graph([((0, 0), (0, 1))]), np.zeros((2, 3)), TypeError, "convert_node_labels_to_integers"),
    ],
)
def test_wrong_graphs_get_a_sentence(plain, positions, error, sentence):
    with pytest.raises(error, match=sentence):
        graph.from_networkx(plain, positions)
