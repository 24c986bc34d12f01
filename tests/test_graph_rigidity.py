"""Ranks, floppy modes and states of self-stress of frameworks, at generic and at special positions."""

import networkx as nx
import numpy as np
import pytest

from tests.networks import bars, double_banana, generic, neighbours, octet_truss, spatial
from tests.test_graph_descriptors import dense_rigidity
from tomo3d.compute import rigidity as frameworks
from tomo3d.graph import floppy_modes, rigidity


def row_of(network):
    """The one row."""
    return rigidity(network).iloc[0]


def test_nodes_on_a_line_turn_about_it_for_nothing():
    row = row_of(bars([[i, 2 * i, 3 * i] for i in range(4)], [(0, 1), (1, 2), (2, 3)]))
    assert (row["rank"], row.n_floppy_modes, row.n_self_stress_states) == (3, 4, 0)


def test_a_flat_joint_has_a_floppy_mode_that_its_count_does_not_see():
    # The fourth node lies in the plane of its three supports: it moves out of it, and one bar is too many.
    corners = [[0, 0, 0], [0, 4, 0], [0, 0, 4], [0, 1, 1]]
    pairs = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    row = row_of(bars(corners, pairs))
    assert (row.maxwell_count, row["rank"], row.n_floppy_modes, row.n_self_stress_states) == (0, 5, 1, 1)
    lifted = row_of(bars([*corners[:3], [2, 1, 1]], pairs))
    assert (lifted["rank"], lifted.n_floppy_modes, lifted.n_self_stress_states) == (6, 0, 0)


def test_a_simple_cubic_lattice_shears_layer_by_layer():
    places = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    network = bars(places, neighbours(places, 1.0))
    rank = np.linalg.matrix_rank(dense_rigidity(network), tol=1e-9)
    row = row_of(network)
    # Each of 27 lines of three nodes in a row resists two motions along itself, and nothing else: 54.
    assert (row["rank"], row.n_floppy_modes) == (rank, 81 - 6 - 54)


def test_many_joints_are_counted_by_signs_of_pivots_as_by_singular_values(monkeypatch):
    for n_neighbours, seed in ((5, 0), (4, 1), (6, 2)):
        positions, pairs = spatial(250, n_neighbours, seed)
        network = bars(positions, pairs.tolist())
        rank = np.linalg.matrix_rank(dense_rigidity(network), tol=1e-6)
        monkeypatch.setattr(frameworks, "_DENSE", 0)
        assert row_of(network)["rank"] == rank
    octet = octet_truss(3)
    assert row_of(octet)["rank"] == 3 * len(octet.nodes) - 6


def test_modes_are_orthonormal_floppy_and_no_motion_of_the_whole():
    network = generic(nx.cubical_graph())
    table = floppy_modes(network)
    modes = table[["move_z", "move_y", "move_x"]].to_numpy().reshape(6, -1)
    assert modes @ modes.T == pytest.approx(np.eye(6), abs=1e-9)
    assert dense_rigidity(network) @ modes.T == pytest.approx(0, abs=1e-9)
    places = network.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy()
    assert modes @ frameworks.whole_motions(places) == pytest.approx(0, abs=1e-8)
    assert floppy_modes(network, n_modes=2)["mode"].nunique() == 2


def test_the_double_banana_turns_about_its_tips():
    network = generic(double_banana())
    moves = floppy_modes(network).sort_values("node")[["move_z", "move_y", "move_x"]].to_numpy()
    places = network.nodes.sort_values("node")[["z_nm", "y_nm", "x_nm"]].to_numpy()
    # Each banana moves as one body: no distance within it changes.
    for body in ((0, 1, 2, 3, 4), (0, 1, 5, 6, 7)):
        for a in body:
            for b in body:
                assert (places[a] - places[b]) @ (moves[a] - moves[b]) == pytest.approx(0, abs=1e-9)
    assert len(moves) == 8


def test_rigid_networks_and_networks_of_nothing_have_no_mode():
    assert len(floppy_modes(generic(nx.complete_graph(4)))) == 0
    alone = row_of(bars([[0.0, 1.0, 2.0]], []))
    assert (alone["rank"], alone.n_floppy_modes, alone.floppy_fraction) == (0, 0, 0.0)
    two = row_of(bars([[0, 0, 0], [9, 9, 9]], []))
    assert two.n_floppy_modes == 1  # towards each other


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="n_modes must not be negative, got -1"):
        floppy_modes(generic(nx.path_graph(3)), n_modes=-1)
    with pytest.raises(ValueError, match="up to 3000 nodes, got 3001"):
        floppy_modes(bars(np.random.default_rng(0).random((3001, 3)), []))
