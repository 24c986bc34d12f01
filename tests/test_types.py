"""Types check themselves and hold what they were given."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tomo3d import Alignment, Labels, SpatialGraph, Surface, TiltSeries, Volume, tables


def series(**changes):
    given = {
        "images": np.zeros((3, 4, 5), np.float32),
        "tilt_angles_deg": [-1.0, 0.0, 1.0],
        "pixel_size_nm": 2.0,
    }
    return TiltSeries(**{**given, **changes})


def alignment(**changes):
    given = {
        "shifts_nm": np.zeros((3, 2)),
        "tilt_axis_deg": np.zeros(3),
        "tilt_angles_deg": np.zeros(3),
        "magnification": np.ones(3),
        "residual_nm": np.nan,
        "reliable": np.ones(3, dtype=bool),
    }
    return Alignment(**{**given, **changes})


def test_a_series_keeps_every_view():
    s = series(use=np.array([True, False, True]))
    assert s.n_tilts == 3
    assert s.used.tolist() == [True, False, True]
    assert series().used.all()


def test_types_are_frozen_and_their_angles_read_only():
    s = series()
    with pytest.raises(dataclasses.FrozenInstanceError):
        s.pixel_size_nm = 3.0
    with pytest.raises(ValueError, match="read-only"):
        s.tilt_angles_deg[0] = 5.0


def test_the_caller_keeps_its_own_angles():
    angles = np.array([-1.0, 0.0, 1.0])
    s = series(tilt_angles_deg=angles)
    angles[0] = 9.0  # still writable
    assert s.tilt_angles_deg[0] == -1.0  # the type took a copy


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: series(tilt_angles_deg=[0.0, 1.0]),
            "one value per view, shape \\(3,\\), got shape \\(2,\\)",
        ),
        (lambda: series(tilt_angles_deg=[0.0, np.nan, 1.0]), "view 1"),
        (lambda: series(pixel_size_nm=0), "positive length in nm, got 0"),
        (lambda: series(pixel_size_nm=np.nan), "positive length"),
        (lambda: series(tilt_axis_deg=np.inf), "finite angle"),
        (lambda: series(images=np.zeros((3, 0, 5))), "none of them 0"),
        (lambda: series(images=np.zeros((3, 5))), "n_tilts, n_y, n_x"),
        (lambda: series(use=np.array([True])), "one flag per view"),
        (lambda: series(views=pd.DataFrame({"dose": [1.0]})), "one row per view"),
        (lambda: alignment(shifts_nm=np.zeros((3, 3))), "shifts_nm must have shape"),
        (lambda: alignment(magnification=np.array([1.0, 0.0, 1.0])), "magnification must be positive"),
        (lambda: alignment(tilt_angles_deg=np.zeros((3, 1))), "n_tilts"),
        (lambda: Volume(np.zeros((2, 2, 2)), (0, 0, 0)), "three positive lengths"),
        (lambda: Volume(np.zeros((2, 2)), (1, 1, 1)), "n_z, n_y, n_x"),
        (lambda: Volume(np.zeros((2, 2, 2)), (1, 1, 1), (0, 0, np.nan)), "three finite positions"),
        (
            lambda: Labels(np.zeros((2, 2, 2), int), (1, 1, 1), probabilities=np.zeros((2, 2, 2, 3))),
            "grid of the data",
        ),
        (lambda: Surface(np.zeros((3, 3)), np.array([[0, 1, 3]])), "index the 3 vertices"),
        (lambda: Surface(np.zeros((3, 2)), np.array([[0, 1, 2]])), r"shape \(n, 3\)"),
        (
            lambda: Surface(np.zeros((3, 3)), np.array([[0, 1, 2]]), {"thickness_nm": np.zeros(2)}),
            "one value per vertex",
        ),
    ],
)
def test_a_wrong_value_is_said_in_a_sentence(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: series(images=[[1]]),
        lambda: series(images=np.zeros((3, 4, 5), complex)),
        lambda: series(use=np.array([1, 0, 1])),
        lambda: Labels(np.zeros((2, 2, 2)), (1, 1, 1)),
        lambda: Surface(np.zeros((3, 3)), np.array([[0.0, 1, 2]])),
    ],
)
def test_a_wrong_kind_is_a_type_error(build):
    with pytest.raises(TypeError, match="got"):
        build()


def graph_tables():
    nodes = pd.DataFrame({"node": [4, 7], "z_nm": 0.0, "y_nm": 0.0, "x_nm": [0.0, 3.0]})
    branches = pd.DataFrame({"branch": [0, 1], "node_a": 4, "node_b": 7, "length_nm": [3.0, 3.5]})
    return nodes, branches


def test_a_graph_becomes_a_networkx_multigraph():
    graph = SpatialGraph(*graph_tables()).to_networkx()
    assert sorted(graph.nodes) == [4, 7]
    assert graph.number_of_edges(4, 7) == 2
    assert graph.edges[4, 7, 1]["length_nm"] == 3.5
    assert graph.nodes[7]["x_nm"] == 3.0


def test_a_graph_checks_its_tables():
    nodes, branches = graph_tables()
    with pytest.raises(ValueError, match="missing \\['length_nm'\\]"):
        SpatialGraph(nodes, branches.drop(columns="length_nm"))
    with pytest.raises(ValueError, match="unknown \\[9\\]"):
        SpatialGraph(nodes, branches.assign(node_b=9))
    with pytest.raises(ValueError, match="every node once"):
        SpatialGraph(pd.concat([nodes, nodes]), branches)
    with pytest.raises(ValueError, match="one line per branch"):
        SpatialGraph(nodes, branches, [np.zeros((2, 3))])


def test_a_summary_fills_what_has_no_interval():
    table = tables.summary([{"quantity": "length", "value": 2.0, "unit": "nm", "n": 3}])
    assert list(table.columns) == tables.names(tables.SUMMARY)
    assert np.isnan(table["low"][0])
    assert table["interval"][0] == ""


def test_a_table_is_checked_against_its_schema():
    with pytest.raises(ValueError, match="missing"):
        tables.check(pd.DataFrame({"quantity": ["a"]}), tables.SUMMARY)
    with pytest.raises(ValueError, match="column 'value' must hold values of kind number"):
        tables.summary([{"quantity": "length", "value": "two", "unit": "nm", "n": 3}])
