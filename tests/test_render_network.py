"""Pictures of networks."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import graph, phantoms, render
from tomo3d.types import SpatialGraph


@pytest.fixture
def opengl():
    status = render.opengl_status()
    if not status.is_available:
        pytest.skip(status.reason)


def picture(figure):
    return np.asarray(figure.axes[0].images[0].get_array()).astype(int)


def strut(radius_nm):
    solid = phantoms.capsule(length_nm=30, radius_nm=radius_nm)
    return SpatialGraph(solid.truth.nodes, solid.truth.branches, solid.truth.lines_nm, solid.truth.widths_nm,
                        {"field_nm": [[-10, -10, -25], [10, 10, 25]]})  # fmt: skip


def ink(figure):
    """Pixels that are not grey or white: of tubes."""
    pixels = picture(figure)
    return int((np.ptp(pixels, axis=2) > 60).sum())


def test_a_wider_strut_is_drawn_by_a_wider_tube(opengl):
    thin, wide = (ink(render.network(strut(radius))) for radius in (2.0, 6.0))
    assert 2.0 < wide / thin < 4.0  # 3 by the tube; nodes are balls


def test_the_surface_is_translucent_around_the_tubes(opengl):
    solid = phantoms.capsule(length_nm=30, radius_nm=6)
    figure = render.network(solid.truth, mask=solid.mask)
    n_tube, n_skin = ink(figure), int((picture(figure).max(axis=2) < 250).sum())
    assert n_tube > 1000  # seen through it
    assert n_skin > 2 * n_tube


def test_nodes_are_told_by_degree_and_branches_coloured_by_a_column(opengl):
    solid = phantoms.cubic_network(n_nodes=2)
    figure = render.network(solid.truth, colour_by="length_nm")
    (legend,) = [c for c in figure.axes[0].get_children() if type(c).__name__ == "Legend"]
    assert [text.get_text() for text in legend.get_texts()] == ["3 (8)"]
    assert figure.axes[1].get_ylabel() == "Length (nm)"
    with pytest.raises(ValueError, match="colour_by must be 'width' or a column of numbers"):
        render.network(solid.truth, colour_by="kind")


def test_contacts_are_drawn_too(opengl):
    membrane = phantoms.crumpled_membrane(n_along=2)
    assert ink(render.network(graph.contact_graph(membrane.crumples), colour_by="area_nm2")) > 500
    with pytest.raises(ValueError, match="at least one node to be drawn"):
        render.network(SpatialGraph(membrane.truth.nodes[:0], membrane.truth.branches[:0]))


def test_histograms_count_whole_branches_apart_from_those_that_the_border_cuts():
    truth = phantoms.cubic_network(n_nodes=2).truth
    branches = truth.branches.assign(touches_border=[True] * 4 + [False] * 8)
    figure = render.branch_histograms(SpatialGraph(truth.nodes, branches))
    assert [axes.get_xlabel() for axes in figure.axes] == ["Length (nm)", "Mean width (nm)"]
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["whole (8)", "cut by the border (4)", "median 24 nm"]
    with pytest.raises(ValueError, match="at least one branch"):
        render.branch_histograms(SpatialGraph(truth.nodes, branches[:0]))


def test_branches_that_are_all_alike_are_one_bar_at_their_length():
    truth = phantoms.cubic_network(n_nodes=2).truth
    lengths = 24 + 1e-13 * np.arange(len(truth.branches))
    axes = render.branch_histograms(SpatialGraph(truth.nodes, truth.branches.assign(length_nm=lengths))).axes[
        0
    ]
    axes.figure.canvas.draw()
    heights, edges, _ = axes.patches[0].get_data()
    bar = int(np.argmax(heights))
    assert heights[bar] == heights.sum() == len(lengths)
    assert edges[bar] < 24 < edges[bar + 1]
    assert axes.xaxis.get_offset_text().get_text() == ""
    assert len({text.get_text() for text in axes.get_xticklabels()}) == len(axes.get_xticklabels())
    legend, inside = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert legend.y0 >= inside.y1 - 1  # above the bars, not over them


def test_contacts_have_a_distribution_of_lengths_alone():
    truth = phantoms.crumpled_membrane(n_along=2, bridged=1).truth
    figure = render.branch_histograms(truth)
    assert [axes.get_xlabel() for axes in figure.axes] == ["Length (nm)"]
    assert isinstance(truth.branches, pd.DataFrame)


def test_energies_and_moves_of_a_load_are_drawn(opengl):
    lattice = phantoms.cubic_network(n_nodes=3).truth
    low, high = (lattice.nodes[["z_nm", "y_nm", "x_nm"]].agg(end).tolist() for end in ("min", "max"))
    lattice = SpatialGraph(
        lattice.nodes, lattice.branches, lattice.lines_nm, lattice.widths_nm, {"field_nm": [low, high]}
    )
    loaded = graph.stiffness(lattice, youngs_modulus=2.0, width_nm=3.0)
    plain = render.network(lattice)
    figure = render.network(
        lattice, branch_values=loaded.energies, moves=loaded.displacements, colour_by="energy_aj"
    )
    assert figure.axes[1].get_ylabel() == "Energy (aJ)"
    (legend,) = [c for c in figure.axes[0].get_children() if type(c).__name__ == "Legend"]
    span = np.linalg.norm(np.subtract(high, low))
    times = 0.125 * span / (0.01 * (high[0] - low[0]))
    assert legend.get_texts()[-1].get_text() == f"move, {times:.3g} times"
    assert (picture(figure) != picture(plain)).any()
    floppy = graph.floppy_modes(lattice, n_modes=2)
    first, second = (picture(render.network(lattice, moves=floppy, mode=mode)) for mode in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"branch_values": pd.DataFrame({"branch": [99], "energy_aj": [1.0]})}, "a row for each branch"),
        (
            {"moves": pd.DataFrame({"node": [0], "z": [1.0]})},
            "moves must have the columns node and move_z, move_y",
        ),
        (
            {"moves": pd.DataFrame({"node": [-5], "move_z": [1.0], "move_y": [1.0], "move_x": [1.0]})},
            "got none of them",
        ),
        (
            {"moves": pd.DataFrame({"mode": [0], "node": [0]}), "mode": 3},
            "one of the 1 motions of the table, got 3",
        ),
    ],
)
def test_tables_of_other_networks_are_refused(opengl, options, match):
    with pytest.raises(ValueError, match=match):
        render.network(phantoms.cubic_network(n_nodes=2).truth, **options)
