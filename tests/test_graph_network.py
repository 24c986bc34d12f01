"""A network while it is made: merging keeps to what is near."""

import itertools

import numpy as np

from tomo3d.graph._network import Network


def row(n, spacing, radius=1.0):
    """Junctions in a row along x, each with two long chains of its own."""
    network = Network()
    nodes = [network.add_node(np.array([0.0, 0.0, spacing * i]), radius) for i in range(n)]
    for a, b in itertools.pairwise(nodes):
        network.add_branch(a, b, np.empty((0, 3)))
    for node in nodes:
        place = network.nodes[node].position
        for way in (1.0, -1.0):
            tip = network.add_node(place + np.array([20.0 * way, 0.0, 0.0]), 0.5)
            network.add_branch(node, tip, np.empty((0, 3)))
    return network, nodes


def test_two_junctions_nearer_than_so_many_radii_are_one_and_their_chains_meet_there():
    network, (a, b) = row(2, 1.5)
    assert network.merge(2.0) == 1
    assert list(network.nodes[a].position) == [0, 0, 0.75]
    assert b not in network.nodes
    assert network.degree(a) == 4
    assert row(2, 2.5)[0].merge(2.0) == 0


def test_a_row_of_junctions_each_near_to_the_next_does_not_become_one():
    network, nodes = row(9, 1.5)
    network.merge(2.0)
    left = [network.nodes[node] for node in nodes if node in network.nodes]
    assert 3 <= len(left) < 9
    for node in left:
        assert np.linalg.norm(node.parts - node.position, axis=1).max() <= 2.0


def test_a_tunnel_between_merged_junctions_is_closed_and_counted_and_a_wide_one_stays():
    for bow, n_closed in ((0.5, 1), (9.0, 0)):
        network, (a, b) = row(2, 1.5)
        network.add_branch(a, b, np.array([[0.0, bow, 0.75]]))
        network.merge(2.0)
        assert network.n_closed == n_closed
        assert network.degree(a) == 4 + 2 * (1 - n_closed)


def test_a_star_of_spurs_is_a_node_alone_and_a_long_branch_stays_with_what_it_lost():
    network = Network()
    middle = network.add_node(np.zeros(3), 3.0)
    for axis in range(3):
        network.add_branch(middle, network.add_node(4.0 * np.eye(3)[axis], 1.0), np.empty((0, 3)))
    long = network.add_branch(middle, network.add_node(np.array([0.0, 0.0, -30.0]), 1.0), np.empty((0, 3)))
    assert network.prune(2.0) == 3
    assert (list(network.chains), network.degree(middle)) == ([long], 1)
    assert network.nodes[middle].cut == 4.0
    star, ends = Network(), range(1, 4)
    star.add_node(np.zeros(3), 3.0)
    for end in ends:
        star.add_branch(0, star.add_node(end * np.eye(3)[end - 1], 1.0), np.empty((0, 3)))
    assert star.prune(2.0) == 3
    assert (list(star.nodes), len(star.chains)) == ([0], 0)
