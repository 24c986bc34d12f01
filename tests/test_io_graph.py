"""Networks in files: GraphML, which is read back exactly and by networkx, and VTK polylines."""

import networkx
import numpy as np
import pandas as pd
import pytest

from tomo3d import graph, io, phantoms
from tomo3d.errors import FormatError
from tomo3d.types import Labels, SpatialGraph

NETWORK = graph.skeleton_graph(phantoms.cubic_network(n_nodes=2, spacing_nm=14, radius_nm=2).mask)


def assert_same(one, two):
    pd.testing.assert_frame_equal(one.nodes, two.nodes, check_exact=True)
    pd.testing.assert_frame_equal(one.branches, two.branches, check_exact=True)
    for name in ("lines_nm", "widths_nm"):
        for a, b in zip(getattr(one, name), getattr(two, name), strict=True):
            assert np.array_equal(a, b, equal_nan=True)
    assert dict(one.record) == dict(two.record)


def contacts():
    data = np.zeros((6, 6, 12), dtype=np.uint8)
    data[1:5, 1:5, 1:6], data[1:5, 1:5, 6:11] = 4, 2
    return graph.contact_graph(Labels(data, (1, 1, 1)))


def one_node():
    return graph.skeleton_graph(Labels(np.ones((2, 2, 2), dtype=bool), (1, 1, 1)))


def with_texts():
    nodes = pd.DataFrame(
        {"node": ['a <&> "b"', "é"], "z_nm": [0.0, 1e-300], "y_nm": [1.0, 2.0], "x_nm": [0.1, np.inf]}
    )
    branches = pd.DataFrame({"branch": [0], "node_a": [nodes["node"][1]], "node_b": [nodes["node"][0]],
                             "length_nm": [np.nan], "note": ["two\nlines"], "is_cut": [True]})  # fmt: skip
    return SpatialGraph(nodes, branches, record={"made": ["by hand", 1, 2.5, None, True]})


@pytest.mark.parametrize(
    "make", [lambda: NETWORK, contacts, one_node, with_texts, phantoms.crumpled_membrane]
)
def test_graphml_is_read_back_exactly(make, tmp_path):
    made = make()
    made = getattr(made, "truth", made)
    io.write_graph(made, tmp_path / "a.graphml")
    assert_same(io.read_graph(tmp_path / "a.graphml"), made)


def test_networkx_reads_what_is_written(tmp_path):
    io.write_graph(NETWORK, tmp_path / "a.graphml")
    other = networkx.read_graphml(tmp_path / "a.graphml", node_type=int, force_multigraph=True)
    assert (other.number_of_nodes(), other.number_of_edges()) == (8, 12)
    lengths = sorted(data["length_nm"] for *_, data in other.edges(data=True))
    assert lengths == sorted(NETWORK.branches["length_nm"])
    assert isinstance(other.nodes[0]["touches_border"], bool)


def test_what_networkx_writes_is_read_if_its_nodes_have_positions(tmp_path):
    plain = networkx.path_graph(3)
    networkx.write_graphml(plain, tmp_path / "bare.graphml")
    with pytest.raises(FormatError, match="node '0' has no position"):
        io.read_graph(tmp_path / "bare.graphml")
    for node in plain:
        plain.nodes[node].update(z_nm=0.0, y_nm=0.0, x_nm=3.0 * node)
    networkx.write_graphml(plain, tmp_path / "a.graphml")
    found = io.read_graph(tmp_path / "a.graphml")
    assert list(found.nodes["x_nm"]) == [0, 3, 6]
    assert list(found.branches["length_nm"]) == [3, 3]


@pytest.mark.parametrize("make", [lambda: NETWORK, contacts, one_node])
def test_vtk_reads_the_polylines(make, tmp_path):
    pyvista = pytest.importorskip("pyvista")
    made = make()
    io.write_graph(made, tmp_path / "a.vtp")
    mesh = pyvista.read(tmp_path / "a.vtp")
    assert mesh.n_lines == len(made.branches)
    if len(made.branches):
        assert np.allclose(mesh.points[:, ::-1], np.concatenate(made.lines_nm), atol=1e-4)
        assert np.allclose(mesh.cell_data["length_nm"], made.branches["length_nm"])
    if len(made.widths_nm):
        assert np.allclose(mesh.point_data["width_nm"], np.concatenate(made.widths_nm), equal_nan=True)


def test_outputs_are_not_overwritten_and_the_ending_says_the_format(tmp_path):
    io.write_graph(NETWORK, tmp_path / "a.graphml")
    with pytest.raises(FileExistsError):
        io.write_graph(NETWORK, tmp_path / "a.graphml")
    io.write_graph(contacts(), tmp_path / "a.graphml", overwrite=True)
    assert len(io.read_graph(tmp_path / "a.graphml").nodes) == 2
    with pytest.raises(ValueError, match=r"named \*.graphml or \*.vtp, got 'a.csv'"):
        io.write_graph(NETWORK, tmp_path / "a.csv")


def damaged():
    whole = b"".join(__import__("tomo3d.io._graph_write", fromlist=["_graphml"])._graphml(NETWORK))
    return {
        "cut short": whole[: len(whole) // 2],
        "directed": whole.replace(b"undirected", b"directed"),
        "unknown end": whole.replace(b'target="', b'target="9'),
        "no number": whole.replace(b'<data key="e3">', b'<data key="e3">x'),
        "no key": whole.replace(b'<data key="n1">', b'<data key="q1">'),
        "no graph": b'<?xml version="1.0"?><graphml/>',
        "an encoding that is none": whole.replace(b"UTF-8", b"UTF-0", 1),
        "an entity": whole.replace(b"?>", b'?><!DOCTYPE graphml [<!ENTITY b "c">]>', 1),
        "a picture": bytes(range(256)) * 20,
        "empty": b"",
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_files_are_refused_in_a_sentence(name, tmp_path):
    (tmp_path / "a.graphml").write_bytes(damaged()[name])
    with pytest.raises(FormatError, match=r"a.graphml must (be a|hold a)"):
        io.read_graph(tmp_path / "a.graphml")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.read_graph(tmp_path / "none.graphml")


def test_what_no_file_can_hold_is_refused(tmp_path):
    nodes = NETWORK.nodes.assign(more=[(1, 2)] * len(NETWORK.nodes))
    with pytest.raises(ValueError, match="column 'more' must hold numbers, flags or texts"):
        io.write_graph(SpatialGraph(nodes, NETWORK.branches), tmp_path / "a.graphml")
    assert not list(tmp_path.iterdir())
