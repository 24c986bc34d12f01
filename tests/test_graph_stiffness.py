"""Stiffness of bars and beams, flow and conduction: closed forms."""

import itertools
import math

import numpy as np
import pytest

from tests.networks import bars, neighbours, octet_truss, spatial
from tomo3d.compute import frames_of_beams
from tomo3d.compute.frames_of_beams import Beams, equilibrium
from tomo3d.graph import Indentation, UniformStrain, stiffness, transport
from tomo3d.types import SpatialGraph

MODULUS = 2.5
FIELD = [[0, -4, -6], [20, 4, 6]]  # 20 long, 8 x 12 across


def modulus_of(network, load="strain:z", **options):
    """Apparent modulus."""
    table = stiffness(network, youngs_modulus=MODULUS, load=load, **options).summary
    return table.set_index("quantity").value["apparent_modulus"]


@pytest.mark.parametrize("joints", ["rigid", "pinned"])
def test_bars_in_series_and_in_parallel(joints):
    area = np.pi / 4 * np.array([1.0, 4.0])
    series = bars([[0, 0, 0], [8, 0, 0], [20, 0, 0]], [(0, 1), (1, 2)], [1.0, 2.0], FIELD)
    force_per_strain = MODULUS * 20 / (8 / area[0] + 12 / area[1])
    assert modulus_of(series, joints=joints) == pytest.approx(force_per_strain / 96, rel=1e-6)
    parallel = bars([[0, 0, 0], [20, 0, 0], [0, 3, 0], [20, 3, 0]], [(0, 1), (2, 3)], [1.0, 2.0], FIELD)
    assert modulus_of(parallel, joints=joints) == pytest.approx(MODULUS * area.sum() / 96, rel=1e-6)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 2, -2), (3, -1, 0.5)])
@pytest.mark.parametrize(("length", "diameter", "n"), [(20.0, 1.0, 4), (20.0, 5.0, 1), (9.0, 4.0, 3)])
def test_a_cantilever_bends_and_shears(direction, length, diameter, n):
    along = np.array(direction) / np.linalg.norm(direction)
    across = np.cross(along, [0.3, 1.0, 0.2])
    across /= np.linalg.norm(across)
    places = np.linspace(0, length, n + 1)[:, None] * along + [5.0, 6.0, 7.0]
    ends = np.stack([np.arange(n), np.arange(1, n + 1)], axis=1)
    beams = Beams(places, ends, np.full(n, diameter), MODULUS, True)
    prescribed = np.full((n + 1, 6), np.nan)
    prescribed[0] = 0.0
    prescribed[n, :3] = 0.1 * across
    found = equilibrium(beams, prescribed)
    second, area = np.pi / 64 * diameter**4, np.pi / 4 * diameter**2
    compliance = length**3 / (3 * MODULUS * second) + length / (0.9 * MODULUS / 2.6 * area)
    assert found.forces[n, :3] @ across == pytest.approx(0.1 / compliance, rel=1e-6)
    assert beams.energies(found.moves).sum() == pytest.approx(0.5 * 0.1**2 / compliance, rel=1e-6)


def test_a_shaft_twists():
    beams = Beams(np.array([[0.0, 0, 0], [3.0, 4, 0]]), np.array([[0, 1]]), np.array([2.0]), MODULUS, True)
    prescribed = np.zeros((2, 6))
    prescribed[1, 3:] = 0.02 * np.array([0.6, 0.8, 0.0]) * beams.length_scale
    found = equilibrium(beams, prescribed)
    torque = found.forces[1, 3:] @ [0.6, 0.8, 0.0] * beams.length_scale
    assert torque == pytest.approx(MODULUS / 2.6 * np.pi / 32 * 2.0**4 / 5 * 0.02, rel=1e-9)


@pytest.mark.parametrize("joints", ["rigid", "pinned"])
def test_a_simple_cubic_lattice_is_as_stiff_as_its_bars_along_the_load(joints):
    places = np.array(list(itertools.product(range(4), range(3), range(3)))) * 10.0
    network = bars(places, neighbours(places, 10.0), 0.8)
    expected = MODULUS * 9 * np.pi / 4 * 0.8**2 / 20**2
    assert modulus_of(network, joints=joints) == pytest.approx(expected, rel=1e-6)
    across = MODULUS * 12 * np.pi / 4 * 0.8**2 / (20 * 30)
    assert modulus_of(network, "strain:y", joints=joints) == pytest.approx(across, rel=1e-6)


def test_an_octet_truss_has_the_moduli_of_its_density():
    network = octet_truss(3)
    mass = (network.branches.length_nm * np.pi / 4 * network.branches.mean_width_nm**2).sum() / 30**3
    # Deshpande, Fleck and Ashby 2001: C_11 = density / 6 of the material's modulus.
    confined = UniformStrain(axis="z", sides="confined")
    assert modulus_of(network, confined, joints="pinned") == pytest.approx(mass * MODULUS / 6, rel=1e-6)
    assert modulus_of(network, confined) == pytest.approx(
        mass * MODULUS / 6, rel=0.01
    )  # slender: bending is small
    # Free sides: density / 9 in the bulk, less where faces cut the cells.
    assert 0.5 < modulus_of(network, joints="pinned") / (mass * MODULUS / 9) < 1.05


def test_a_floppy_network_is_soft_as_bars_and_not_as_beams():
    places = np.array([[0, 0, 0], [10, 5, 0], [20, 0, 0]], dtype=float)
    network = bars(places, [(0, 1), (1, 2)], 1.0, FIELD)
    assert modulus_of(network, joints="pinned") == pytest.approx(0, abs=1e-9)
    result = stiffness(network, youngs_modulus=MODULUS)
    numbers = result.summary.set_index("quantity").value
    assert numbers.apparent_modulus > 1e-6
    assert 0.5 < numbers.bending_share <= 1
    assert result.energies.energy_aj.sum() == pytest.approx(numbers.energy)
    assert numbers.energy == pytest.approx(0.5 * numbers.force * 0.01 * 20)


def test_nothing_across_is_nothing_carried_and_loose_pieces_stay_out():
    places = [[0, 0, 0], [8, 0, 0], [12, 0, 0], [20, 0, 0], [9, 2, 2], [11, 2, 2]]
    result = stiffness(bars(places, [(0, 1), (2, 3), (4, 5)], 1.0, FIELD), youngs_modulus=1.0)
    assert result.summary.value[0] == pytest.approx(0, abs=1e-12)
    assert result.displacements.move_z_nm.isna().tolist() == [False] * 4 + [True] * 2


def test_large_frames_come_to_rest_where_small_ones_do(monkeypatch):
    positions, pairs = spatial(300, 4)
    network = bars(positions, pairs.tolist(), 0.2)
    nodes = network.nodes.assign(radius_nm=0.5)
    network = SpatialGraph(nodes, network.branches, network.lines_nm)
    for joints in ("rigid", "pinned"):
        direct = modulus_of(network, joints=joints)
        monkeypatch.setattr(frames_of_beams, "_DIRECT", {3: 10, 6: 10})
        assert modulus_of(network, joints=joints) == pytest.approx(direct, rel=1e-6)
        monkeypatch.undo()


def test_windows_of_a_uniform_lattice_have_its_modulus():
    places = np.array(list(itertools.product(range(5), repeat=3))) * 10.0
    network = bars(places, neighbours(places, 10.0), 0.8)
    table = stiffness(
        network, youngs_modulus=MODULUS, load="strain:z,confined", window_nm=(40, 20, 20)
    ).summary
    row = table.set_index("quantity").loc["apparent_modulus_of_windows"]
    expected = MODULUS * np.pi / 4 * 0.8**2 / 10**2
    assert row.n == 4
    assert row.value == pytest.approx(expected, rel=1e-6)
    assert row.low == pytest.approx(row.high, rel=1e-6)


def test_a_tip_on_a_post_compresses_it():
    field = [[0, -10, -10], [20, 10, 10]]
    post = bars([[0, 0, 0], [20, 0, 0], [0, 5, 0], [10, 5, 0]], [(0, 1), (2, 3)], [2.0, 3.0], field)
    result = stiffness(post, youngs_modulus=MODULUS, load=Indentation(tip_radius_nm=8.0, depth_nm=0.2))
    numbers = result.summary.set_index("quantity").value
    assert numbers.force == pytest.approx(MODULUS * np.pi / 20 * 0.2, rel=1e-6)
    assert numbers.apparent_modulus == pytest.approx(numbers.force / (4 / 3 * 8**0.5 * 0.2**1.5 / (1 - 0.09)))
    assert result.displacements.move_z_nm.tolist() == pytest.approx([0, -0.2, 0, 0], abs=1e-9)


def test_a_tip_touches_only_what_pushes_back():
    # A stiff post in the middle, one lower by more than the tip's curve; a deeper tip reaches both.
    field = [[0, -10, -10], [20, 10, 10]]
    posts = bars([[0, 0, 0], [20, 0, 0], [0, 0, 3], [19.0, 0, 3]], [(0, 1), (2, 3)], 2.0, field)
    area = np.pi
    gap = 1.0 + 8 - math.sqrt(64 - 9)  # of the tip above the second post
    for depth in (0.5, 2.5):
        force = stiffness(posts, youngs_modulus=MODULUS, load=f"indentation:8,{depth}").summary.value[2]
        second = max(depth - gap, 0.0) * MODULUS * area / 19
        assert force == pytest.approx(depth * MODULUS * area / 20 + second, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"youngs_modulus": 0.0}, "youngs_modulus must be positive, got 0 GPa"),
        ({"load": "twist:z"}, "load must be as 'strain:z'.*got 'twist:z'"),
        ({"load": "strain:w"}, "UniformStrain.axis must be one of z, y, x, got 'w'"),
        ({"load": "indentation:-3"}, "Indentation.tip_radius_nm must be a positive length, got -3 nm"),
        ({"load": "indentation:0.5"}, "tip must be above a node"),
        ({"width_nm": -1.0}, "width_nm must be a positive length"),
        ({"joints": "glued"}, "joints must be 'rigid' or 'pinned', got 'glued'"),
        ({"load": "strain:y"}, "a node must lie at the low y face"),
        ({"load": "indentation:9", "window_nm": (5, 5)}, "window_nm goes with a strain"),
    ],
)
def test_wrong_loads_are_refused(options, match):
    network = bars([[0, 0, 3], [20, 0, 3]], [(0, 1)], 1.0, FIELD)
    with pytest.raises(ValueError, match=match):
        stiffness(network, **{"youngs_modulus": 1.0, **options})


def test_networks_without_width_or_volume_are_refused():
    flat = bars([[0, 0, 0], [0, 1, 1]], [(0, 1)])
    with pytest.raises(ValueError, match="field must have a volume"):
        stiffness(flat, youngs_modulus=1.0)
    bare = SpatialGraph(flat.nodes, flat.branches.drop(columns="mean_width_nm"), flat.lines_nm)
    for function in (lambda g: stiffness(g, youngs_modulus=1.0), lambda g: transport(g, axis="y")):
        with pytest.raises(ValueError, match=r"give width_nm|field must have a volume"):
            function(bare)
    with pytest.raises(ValueError, match="the ends of branch 0 lie at one place"):
        stiffness(bars([[1, 1, 1], [1, 1, 1]], [(0, 1)], 1.0, FIELD), youngs_modulus=1.0)


def flow_of(network, **options):
    """First number of the summary."""
    return transport(network, **options).summary.value[0]


def test_pipes_in_series_and_in_parallel():
    series = bars([[0, 0, 0], [8, 0, 0], [20, 0, 0]], [(0, 1), (1, 2)], [1.0, 2.0], FIELD)
    resistance = 128 / np.pi * (8 / 1 + 12 / 16)
    assert flow_of(series) == pytest.approx(20 / 96 / resistance)
    conduction = 4 / np.pi * (8 / 1 + 12 / 4)
    assert flow_of(series, kind="conduction") == pytest.approx(20 / 96 / conduction)
    result = transport(series)
    assert result.potentials.potential.tolist() == pytest.approx([1.0, (12 / 16) / (8 + 12 / 16), 0.0])
    assert result.flows.flow.tolist() == pytest.approx([1 / resistance] * 2)
    parallel = bars([[0, 0, 0], [20, 0, 0], [0, 3, 0], [20, 3, 0]], [(0, 1), (2, 3)], [1.0, 2.0], FIELD)
    assert flow_of(parallel) == pytest.approx(np.pi / 128 * 17 / 96)


def test_a_width_that_varies_resists_part_by_part():
    line = np.stack([np.linspace(0, 20, 41), np.zeros(41), np.zeros(41)], axis=1)
    widths = np.linspace(1.0, 3.0, 41)
    one = bars([[0, 0, 0], [20, 0, 0]], [(0, 1)], 2.0, FIELD)
    cone = SpatialGraph(one.nodes, one.branches, [line], [widths], record=one.record)
    # Integral of d^-4 over a cone from 1 to 3: 20 / 2 (1 - 1/27) / 3.
    assert flow_of(cone) == pytest.approx(20 / 96 * np.pi / 128 / (10 * (1 - 1 / 27) / 3), rel=5e-3)


def test_a_bridge_in_balance_carries_nothing_and_dead_ends_nothing():
    places = [[0, 0, 0], [10, 4, 0], [10, -4, 0], [20, 0, 0], [12, 0, 5], [5, 0, -5], [6, 0, -5]]
    pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (1, 2), (1, 4), (5, 6)]
    result = transport(bars(places, pairs, 1.0, FIELD), kind="conduction")
    assert result.flows.flow[3] == pytest.approx(0, abs=1e-12)  # from 1 to 2
    assert result.flows.flow[4] == pytest.approx(0, abs=1e-12)  # from 1 to 4
    assert result.potentials.potential.isna().tolist() == [False] * 5 + [True] * 2


def test_nothing_across_lets_nothing_through():
    assert flow_of(bars([[0, 0, 0], [8, 0, 0], [20, 0, 0]], [(0, 1)], 1.0, FIELD)) == 0


@pytest.mark.parametrize("rigid", [True, False])
def test_motions_of_the_whole_cost_nothing(rigid):
    positions, pairs = spatial(12, 3)
    beams = Beams(7 * positions, pairs, np.full(len(pairs), 1.5), MODULUS, rigid)
    motions = frames_of_beams._rigid_motions(beams)
    assert beams.matrix() @ motions == pytest.approx(0, abs=1e-9)
    assert np.linalg.matrix_rank(beams.matrix().toarray(), tol=1e-9) <= 12 * beams.block - 6


def test_a_tip_lets_go_of_what_would_hang_from_it():
    # The overhang follows its post down by 1, away from the tip, whose surface is 0.58 higher there.
    field = [[0, -10, -10], [20, 10, 10]]
    network = bars([[0, 0, 0], [20, 0, 0], [20, 0, 3]], [(0, 1), (1, 2)], 2.0, field)
    result = stiffness(network, youngs_modulus=MODULUS, load="indentation:8,1")
    assert result.summary.value[2] == pytest.approx(MODULUS * np.pi / 20, rel=1e-6)
    assert result.displacements.move_z_nm.tolist() == pytest.approx([0, -1, -1], abs=1e-6)
