"""Measured against known: names, units and errors."""

import math

import numpy as np
import pandas as pd
import pytest

from tomo3d import tables
from tomo3d.phantoms import Ball, Body, Specimen, compare

KNOWN = tables.summary([
    {"quantity": "film_thickness_mean", "value": 8.0, "unit": "nm", "n": 1},
    {"quantity": "net_charge", "value": 0.0, "unit": "e", "n": 1},
])  # fmt: skip
SPECIMEN = Specimen([Body(Ball(radius_nm=5.0), "ball")], (20.0, 20.0, 20.0), KNOWN)
VOLUME = 4 / 3 * math.pi * 125


def table(*rows):
    return tables.summary([{"quantity": q, "value": v, "unit": u, "n": 1} for q, v, u in rows])


def test_same_names_are_compared_and_others_left_out():
    measured = table(("porosity", 0.3, ""), ("volume_ball", 1.1 * VOLUME, "nm^3"), ("number_ball", 1.0, ""))
    result = compare(SPECIMEN, measured)
    assert list(result.columns) == tables.names(tables.COMPARISON)
    assert list(result["quantity"]) == ["volume_ball", "number_ball"]
    first = result.iloc[0]
    assert first["measured"] == pytest.approx(1.1 * VOLUME)
    assert first["truth"] == pytest.approx(VOLUME)
    assert first["error"] == pytest.approx(0.1 * VOLUME)
    assert first["error_percent"] == pytest.approx(10.0)
    assert first["unit"] == "nm^3"


def test_quantities_say_which_is_which_and_only_those_are_compared():
    measured = table(("thickness_mean", 7.0, "nm"), ("volume_ball", 1.0, "nm^3"))
    result = compare(SPECIMEN, measured, quantities={"thickness_mean": "film_thickness_mean"})
    assert list(result["quantity"]) == ["film_thickness_mean"]
    assert result["error"][0] == pytest.approx(-1.0)
    assert result["error_percent"][0] == pytest.approx(-12.5)


def test_the_name_of_a_table_stands_before_its_quantities():
    thickness, volumes = table(("thickness_mean", 7.0, "nm")), table(("volume_ball", VOLUME, "nm^3"))
    result = compare(SPECIMEN, {"film": thickness, "volumes": volumes})
    assert list(result["quantity"]) == ["film_thickness_mean", "volume_ball"]
    two = compare(
        SPECIMEN,
        {"first": thickness, "second": table(("thickness_mean", 9.0, "nm"))},
        quantities={
            "first_thickness_mean": "film_thickness_mean",
            "second_thickness_mean": "film_thickness_mean",
        },
    )
    np.testing.assert_allclose(two["error"], [-1.0, 1.0])


def test_a_truth_of_zero_has_no_error_in_percent():
    result = compare(SPECIMEN, table(("net_charge", 0.5, "e")))
    assert result["error"][0] == 0.5
    assert math.isnan(result["error_percent"][0])


def test_an_empty_unit_survives_a_file(tmp_path):
    measured = table(("number_ball", 2.0, ""), ("volume_ball", VOLUME, "nm^3"))
    measured.to_csv(tmp_path / "measured.csv", index=False)
    result = compare(SPECIMEN, pd.read_csv(tmp_path / "measured.csv"))
    assert list(result["quantity"]) == ["number_ball", "volume_ball"]
    assert list(result["unit"]) == ["", "nm^3"]


def test_inputs_are_left_as_they_were():
    measured = table(("volume_ball", 3.0, "nm^3"))
    before = measured.copy()
    compare(SPECIMEN, measured)
    pd.testing.assert_frame_equal(measured, before)


@pytest.mark.parametrize(
    ("measured", "quantities", "message"),
    [
        (table(("porosity", 0.3, "")), None, r"must have the name of a known one, got \['porosity'\]"),
        (table(("volume_ball", 1.0, "nm^3")), {}, "must have the name of a known one"),
        (table(("volume_ball", 1.0, "um3")), None, "unit of the known value, 'nm\\^3', got 'um3'"),
        (table(("a", 1.0, "nm")), {"b": "volume_ball"}, r"measured quantities \['a'\], got \['b'\]"),
        (table(("a", 1.0, "nm")), {"a": "c"}, r"known quantities .*, got \['c'\]"),
        (pd.DataFrame({"quantity": ["a"]}), None, "must have the columns"),
    ],
)
def test_what_cannot_be_compared_is_refused(measured, quantities, message):
    with pytest.raises(ValueError, match=message):
        compare(SPECIMEN, measured, quantities=quantities)


def test_several_measured_with_one_truth_are_told_apart_by_their_names_and_estimators():
    summary = table(("volume_ball", 530.0, "nm^3"), ("volume_ball", 520.0, "nm^3"), ("number_ball", 1.0, ""))
    measured = {"mesh": summary.assign(estimator=["mesh", "voxels", ""])}
    assert list(compare(SPECIMEN, measured)["quantity"]) == [
        "volume_ball (volume_ball, mesh)",
        "volume_ball (volume_ball, voxels)",
        "number_ball",
    ]
