"""Descriptors against networkx, dense solvers and closed forms."""

import math

import networkx as nx
import numpy as np
import pytest

from tests.networks import bars, double_banana, generic, spatial
from tomo3d.compute import spectrum
from tomo3d.graph import centralities, descriptors, descriptors_in_windows, from_networkx, rigidity, windows
from tomo3d.types import SpatialGraph

# Columns: graph, count, rank, floppy, self-stress, lambda_2, efficiency, density, cycles.
KNOWN = {
    "K4": (nx.complete_graph(4), 0, 6, 0, 0, 4, 1, 1, 3),
    "octahedron": (nx.octahedral_graph(), 0, 12, 0, 0, 4, 0.9, 0.8, 7),
    "cube": (nx.cubical_graph(), 6, 12, 6, 0, 2, 0.69048, 0.42857, 5),
    "icosahedron": (nx.icosahedral_graph(), 0, 30, 0, 0, 2.76393, 0.71212, 0.45455, 19),
    "K5": (nx.complete_graph(5), -1, 9, 0, 1, 5, 1, 1, 6),
    "path": (nx.path_graph(10), 15, 9, 15, 0, 0.09789, 0.42866, 0.2, 0),
    "ring": (nx.cycle_graph(10), 14, 10, 14, 0, 0.38197, 0.48519, 0.22222, 1),
    "grid": (nx.convert_node_labels_to_integers(nx.grid_graph((3, 3, 3))), 21, 54, 21, 0, 1, 0.45622, 0.15385, 28),
    "double banana": (double_banana(), 0, 17, 1, 1, 2, 0.82143, 0.64286, 11),
}  # fmt: skip


def numbers(graph):
    """Values of the descriptors by name."""
    return descriptors(graph).set_index("quantity").value


@pytest.mark.parametrize("name", KNOWN)
def test_known_graphs_have_their_known_numbers(name):
    graph, count, rank, floppy, stress, lambda_2, efficiency, density, cycles = KNOWN[name]
    network = generic(graph)
    found = numbers(network)
    wanted = {"algebraic_connectivity": lambda_2, "global_efficiency": efficiency, "density": density,
              "cycle_rank": cycles}  # fmt: skip
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, abs=6e-6)
    row = rigidity(network).iloc[0]
    assert (row.n_nodes, row.n_branches) == (len(graph), graph.size())
    assert (row.maxwell_count, row["rank"], row.n_floppy_modes, row.n_self_stress_states) == (
        count, rank, floppy, stress)  # fmt: skip


def random_graph(seed):
    """A graph of 1 to 16 nodes: random, a tree, or in pieces."""
    rng = np.random.default_rng(seed)
    return nx.gnp_random_graph(int(rng.integers(1, 17)), float(rng.uniform(0.05, 0.9)), seed=seed)


def check_against_networkx(graph, seed):
    """Every descriptor of a graph at generic positions, against networkx and dense algebra."""
    n = len(graph)
    network = generic(graph, seed)
    found = numbers(network)
    wanted = {
        "n_components": nx.number_connected_components(graph),
        "largest_component_share": max(map(len, nx.connected_components(graph))) / n,
        "degree_mean": 2 * graph.size() / n,
        "degree_max": max(dict(graph.degree).values()),
        "cycle_rank": len(nx.cycle_basis(graph)),
        "clustering": nx.average_clustering(graph),
        "global_efficiency": nx.global_efficiency(graph) if n > 1 else 0.0,
        "closeness_mean": np.mean(list(nx.closeness_centrality(graph).values())),
        "betweenness_max": max(nx.betweenness_centrality(graph).values()),
    }
    if n > 1:
        wanted["density"] = nx.density(graph)
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, abs=1e-9)
    if nx.is_connected(graph):
        eigenvalues = np.sort(np.linalg.eigvalsh(nx.laplacian_matrix(graph).toarray().astype(float)))[1:]
        assert found.kirchhoff_index == pytest.approx(n * (1 / eigenvalues).sum(), abs=1e-9, rel=1e-9)
        if n > 1:
            assert found.algebraic_connectivity == pytest.approx(eigenvalues[0], abs=1e-9)
    else:
        assert found.algebraic_connectivity == 0
        assert math.isinf(found.kirchhoff_index)
    table = centralities(network)
    for column, ours in (("degree", nx.degree_centrality), ("closeness", nx.closeness_centrality),
                         ("harmonic", nx.harmonic_centrality), ("betweenness", nx.betweenness_centrality)):  # fmt: skip
        if n > 1:
            assert table[column].to_numpy() == pytest.approx(list(ours(graph).values()), abs=1e-9)
    matrix = dense_rigidity(network)
    rank = np.linalg.matrix_rank(matrix, tol=1e-9) if matrix.size else 0
    row = rigidity(network).iloc[0]
    whole = {1: 3, 2: 5}.get(n, 6)
    assert (row["rank"], row.n_floppy_modes, row.n_self_stress_states) == (
        rank, 3 * n - whole - rank, graph.size() - rank)  # fmt: skip


def dense_rigidity(network):
    """The matrix, bar by bar."""
    places = network.nodes.set_index("node")[["z_nm", "y_nm", "x_nm"]]
    rows = []
    for a, b in network.branches[["node_a", "node_b"]].to_numpy():
        row = np.zeros((len(places), 3))
        along = places.loc[b].to_numpy() - places.loc[a].to_numpy()
        row[places.index.get_loc(a)] = -along / np.linalg.norm(along)
        row[places.index.get_loc(b)] = along / np.linalg.norm(along)
        rows.append(row.ravel())
    return np.array(rows)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_graphs_agree_with_networkx(first):
    for seed in range(first, first + 20):
        check_against_networkx(random_graph(seed), seed)


@pytest.mark.slow
def test_a_thousand_random_graphs_agree_with_networkx():
    for seed in range(60, 1000):
        check_against_networkx(random_graph(seed), seed)


def test_large_graphs_take_the_sparse_way_to_the_same_numbers(monkeypatch):
    positions, pairs = spatial(300, 4)
    graph = nx.Graph(pairs.tolist())
    network = from_networkx(nx.convert_node_labels_to_integers(graph, ordering="sorted"), positions)
    dense = numbers(network)
    assert dense.n_components == 1
    monkeypatch.setattr(spectrum, "_DENSE", 10)
    sparse = numbers(network)
    for name in ("algebraic_connectivity", "kirchhoff_index"):
        assert sparse[name] == pytest.approx(dense[name], rel=1e-9)


def cubic(n=3, step=10.0, **options):
    """A cubic lattice of n^3 nodes."""
    places = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * step
    pairs = [
        (i, j)
        for i in range(n**3)
        for j in range(i)
        if abs(np.abs(places[i] - places[j]).sum() - step) < 1e-9
    ]
    return bars(places, pairs, **options)


def test_lengths_ways_and_densities_of_a_cubic_lattice():
    found = numbers(cubic())
    assert found[["length_total", "length_mean", "tortuosity_mean"]].tolist() == pytest.approx(
        [540.0, 10.0, 1.0]
    )
    for axis in "zyx":
        assert found[f"percolates_{axis}"] == 1
        assert found[f"tortuosity_{axis}"] == pytest.approx(1.0)
    assert found.nodes_per_volume == pytest.approx(27 / 8000)
    assert found.length_per_area == pytest.approx(540 / 400)
    assert found.cycles_per_node == pytest.approx(28 / 27)


def test_a_way_that_bends_is_as_long_as_it_is():
    network = bars([[0, 0, 0], [3, 4, 0], [6, 0, 0]], [(0, 1), (1, 2)], field=[[0, -5, -5], [6, 5, 5]])
    found = numbers(network)
    assert found.tortuosity_z == pytest.approx(10 / 6)
    assert found.percolates_y == 0
    assert math.isnan(found.tortuosity_y)


def test_parallel_branches_and_loops_are_branches_but_no_new_neighbours():
    network = bars([[0, 0, 0], [1, 2, 3]], [(0, 1), (0, 1), (1, 1)])
    found = numbers(network)
    assert (found.n_branches, found.cycle_rank, found.degree_mean, found.degree_max) == (3, 2, 3, 4)
    assert found.algebraic_connectivity == pytest.approx(2.0)
    row = rigidity(network).iloc[0]
    assert (row.n_branches, row["rank"], row.n_floppy_modes, row.n_self_stress_states) == (2, 1, 0, 1)


def test_one_node_has_numbers_or_none():
    found = numbers(bars([[1.0, 2.0, 3.0]], []))
    assert (found.n_nodes, found.global_efficiency, found.kirchhoff_index) == (1, 0, 0)
    assert math.isnan(found.density)
    assert math.isnan(found.length_mean)
    assert math.isnan(found.nodes_per_volume)


def test_windows_share_out_every_length_and_every_node():
    positions, pairs = spatial(200, 4)
    network = bars(positions, pairs.tolist(), field=[[0, 0, 0], [5.9, 5.9, 5.9]])
    for window in ((2.95, 2.95), (1.475, 5.9, 2.95)):
        parts = list(windows(network, window))
        assert sum(part.branches.length_nm.sum() for part in parts) == pytest.approx(
            network.branches.length_nm.sum()
        )
        assert sum((~part.nodes.is_cut).sum() for part in parts) == 200
        for part in parts:
            low, high = np.array(part.record["field_nm"])
            places = part.nodes[["z_nm", "y_nm", "x_nm"]].to_numpy()
            assert ((places >= low - 1e-9) & (places <= high + 1e-9)).all()


def test_a_line_that_leaves_a_window_and_returns_is_two_branches_there():
    line = np.array([[1.0, 1, 1], [1, 1, 6], [2, 1, 6], [2, 1, 1]])
    one = bars([line[0], line[-1]], [(0, 1)], field=[[0, 0, 0], [4, 4, 8]])
    bent = SpatialGraph(one.nodes, one.branches.assign(length_nm=11.0), [line], record=one.record)
    left, right = windows(bent, (4, 4))
    assert left.branches.length_nm.tolist() == pytest.approx([3.0, 3.0])
    assert left.nodes.is_cut.tolist() == [False, False, True, True]
    assert right.branches.length_nm.tolist() == pytest.approx([5.0])
    assert right.nodes.is_cut.tolist() == [True, True]


def test_numbers_over_windows_are_those_of_the_whole():
    network = cubic(9, field=[[-5.0] * 3, [85.0] * 3])
    table = descriptors_in_windows(network, window_nm=(30, 30, 30)).set_index("quantity")
    assert (table.n == 27).all()
    assert table.value["nodes_per_volume"] == pytest.approx(729 / 90**3)
    assert table.value["length_per_volume"] == pytest.approx(network.branches.length_nm.sum() / 90**3)
    assert table.value["branches_per_volume"] == pytest.approx(len(network.branches) / 90**3)
    row = table.loc["degree_mean"]
    assert row.low < row.value < row.high
    assert table.low["nodes_per_volume"] == pytest.approx(table.value["nodes_per_volume"])


def test_wrong_networks_and_windows_are_refused():
    nothing = SpatialGraph(cubic().nodes[:0], cubic().branches[:0])
    with pytest.raises(ValueError, match="at least one node, got none"):
        descriptors(nothing)
    with pytest.raises(ValueError, match="nodes 0 and 1 are joined and lie at one place"):
        descriptors(bars([[0, 0, 0], [0, 0, 0]], [(0, 1)]))
    with pytest.raises(ValueError, match=r"two .* or three .* positive lengths, got \(5,\)"):
        descriptors_in_windows(cubic(), window_nm=(5,))
    with pytest.raises(ValueError, match="must fit in the field"):
        descriptors_in_windows(cubic(), window_nm=(50, 5))
    with pytest.raises(ValueError, match="twice or more in the field, got 1 window"):
        descriptors_in_windows(cubic(), window_nm=(20, 20))
