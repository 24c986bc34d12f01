"""Networks on the command line, from real files."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.filters import threshold_otsu

from tomo3d import graph, io, phantoms
from tomo3d.cli import main as entry
from tomo3d.types import Labels

NANOFIBRES = Path(__file__).parents[2] / "shared" / "data" / "nanofibres" / "ANF"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.write_labels(phantoms.cubic_network(n_nodes=2, spacing_nm=16, radius_nm=2).mask, "mask.mrc")
    return tmp_path


def run(*words):
    return entry.main(list(words))


def test_commands_make_what_the_functions_make(folder, capsys):
    mask = io.read_labels("mask.mrc")
    expected = graph.skeleton_graph(mask, spur_radii=1.5)
    assert run("graph", "skeleton_graph", "mask.mrc", "net.graphml", "--spur-radii", "1.5") == 0
    found = io.read_graph("net.graphml")
    assert np.array_equal(found.branches["length_nm"], expected.branches["length_nm"])
    assert run("graph", "branch_table", "net.graphml", "branches.csv") == 0
    assert len(io.read_table("branches.csv")) == 12
    assert "mean_width_nm" in capsys.readouterr().out
    assert run("graph", "node_table", "net.graphml", "nodes.csv") == 0
    assert len(io.read_table("nodes.csv")) == 8
    assert run("graph", "skeletonize", "mask.mrc", "skeleton.mrc") == 0
    assert np.array_equal(io.read_labels("skeleton.mrc").data != 0, graph.skeletonize(mask).data)
    assert run("graph", "medial_surface", "mask.mrc", "surface.mrc") == 0
    assert run("graph", "skeleton_graph", "mask.mrc", "net.vtp") == 0
    assert run("render", "branch_histograms", "net.graphml", "histograms.png") == 0


def test_contacts_are_a_command(folder):
    io.write_labels(phantoms.crumpled_membrane(n_along=2, bridged=1).crumples, "crumples.mrc")
    assert run("graph", "contact_graph", "crumples.mrc", "contacts.graphml", "--min-area-nm2", "1") == 0
    assert len(io.read_graph("contacts.graphml").branches) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("skeleton_graph", "mask.mrc", "net.csv"), r"must be named \*.graphml or \*.vtp"),
        (("branch_table", "mask.mrc", "a.csv"), "mask.mrc must be a GraphML file"),
        (("skeleton_graph", "none.mrc", "net.graphml"), "none.mrc"),
        (("skeleton_graph", "empty.mrc", "net.graphml"), "at least one voxel to have a network"),
        (("contact_graph", "empty.mrc", "net.graphml"), "at least one object"),
    ],
)
def test_wrong_input_ends_with_a_sentence_and_writes_nothing(folder, capsys, words, sentence):
    io.write_labels(Labels(np.zeros((4, 4, 4), dtype=np.uint8), (1, 1, 1)), "empty.mrc")
    before = sorted(folder.iterdir())
    assert run("graph", *words) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error)
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(not NANOFIBRES.is_dir(), reason="the nanofibres are not here")
def test_real_nanofibres_have_a_network_of_long_thin_branches_with_the_topology_of_their_mask():
    slices = sorted(NANOFIBRES.glob("*.tif"))
    grey = np.stack([tifffile.imread(path)[300:460, 300:460] for path in slices]).astype(np.float32)
    smooth = ndimage.gaussian_filter(grey, 1.5)
    mask = Labels(smooth > threshold_otsu(smooth), (1.0, 1.0, 1.0))  # the voxel size is unknown
    found = graph.skeleton_graph(mask)
    assert len(found.branches) > 50
    assert found.branches["touches_border"].mean() > 0.3  # twelve slices
    assert 0.9 * mask.data.sum() < found.branches["volume_nm3"].sum() <= mask.data.sum()
    assert (found.branches["length_nm"] > 0).all()
    assert ((found.branches["tortuosity"] >= 1 - 1e-9) | found.branches["tortuosity"].isna()).all()
    pieces = ndimage.label(mask.data, np.ones((3, 3, 3)))[1]
    links = {node: node for node in found.nodes["node"]}

    def root(node):
        while links[node] != node:
            node = links[node]
        return node

    for a, b in found.branches[["node_a", "node_b"]].to_numpy():
        links[root(a)] = root(b)
    assert len({root(node) for node in links}) == pieces
