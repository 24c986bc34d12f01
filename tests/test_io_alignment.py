"""Alignments come back whole, and a damaged file is refused."""

import copy
import dataclasses
import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomo3d import Alignment, FormatError, TiltSeries
from tomo3d.io import read_alignment, write_alignment

number = st.floats(allow_nan=False, allow_infinity=False)


def alignment(n=3, **changes):
    rng = np.random.default_rng(n)
    fields = {
        "shifts_nm": rng.normal(size=(n, 2)),
        "tilt_axis_deg": rng.normal(80, 1, n),
        "tilt_angles_deg": np.linspace(-60, 60, n),
        "magnification": rng.normal(1, 0.01, n),
        "residual_nm": 0.1 + 0.2,
        "reliable": np.arange(n) != 1,
        "evidence": {
            "residuals": pd.DataFrame(
                {"view": [0, 1], "error_nm": [0.1, math.nan], "is_used": [True, False], "note": ["", "경계"]}
            ),
            "limits": pd.DataFrame({"value": [math.inf, -math.inf, 1e-300]}),
        },
    }
    fields["x_axis_tilt_deg"] = -3.25
    fields |= {
        "stretch": rng.normal(1, 0.01, n),
        "skew_deg": rng.normal(0, 0.3, n),
        "z_shear": rng.normal(0, 0.01, n),
        "local_shifts_nm": rng.normal(0, 0.3, (n, 2, 3, 2)),
    }
    return Alignment(**(fields | changes))


def assert_same(a, b):
    for field in dataclasses.fields(Alignment):
        if field.name != "evidence":
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), field.name)
    assert list(a.evidence) == list(b.evidence)
    for name, table in a.evidence.items():
        pd.testing.assert_frame_equal(table, b.evidence[name])


@pytest.fixture
def content(tmp_path):
    write_alignment(alignment(), tmp_path / "whole.json")
    return json.loads((tmp_path / "whole.json").read_text())


def test_every_field_comes_back_exactly(tmp_path, content):
    assert_same(read_alignment(tmp_path / "whole.json"), alignment())
    assert {field.name for field in dataclasses.fields(Alignment)} <= set(
        content
    )  # a new field must be added here


def test_an_x_axis_tilt_is_kept_and_one_that_was_not_solved_stays_none(tmp_path, content):
    assert read_alignment(tmp_path / "whole.json").x_axis_tilt_deg == -3.25
    write_alignment(alignment(x_axis_tilt_deg=None), tmp_path / "none.json")
    assert "x_axis_tilt_deg" not in json.loads((tmp_path / "none.json").read_text())
    assert read_alignment(tmp_path / "none.json").x_axis_tilt_deg is None


def test_a_residual_that_is_not_there_stays_nan(tmp_path):
    write_alignment(alignment(residual_nm=math.nan, evidence={}), tmp_path / "a.json")
    assert math.isnan(read_alignment(tmp_path / "a.json").residual_nm)
    json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)  # strict JSON: no bare NaN


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(number, number, number, number, st.floats(1e-300, 1e300), st.booleans()), min_size=1)
)
def test_any_alignment_comes_back(tmp_path_factory, rows):
    y, x, axis, angle, magnification, reliable = (np.array(column) for column in zip(*rows, strict=True))
    original = Alignment(np.column_stack([y, x]), axis, angle, magnification, 1.0, reliable)
    path = tmp_path_factory.mktemp("any") / "a.json"
    write_alignment(original, path)
    assert_same(read_alignment(path), original)


def test_the_number_of_views_is_compared_with_the_series(tmp_path, content):
    def series(n):
        return TiltSeries(np.zeros((n, 2, 2), "f4"), np.zeros(n), 1.0)

    assert read_alignment(tmp_path / "whole.json", series=series(3)).n_tilts == 3
    with pytest.raises(ValueError, match=r"one row per view of the series \(4"):
        read_alignment(tmp_path / "whole.json", series=series(4))


DAMAGE = {
    "another format": (lambda c: c | {"format": "x"}, 'no "format"'),
    "not an object": (lambda c: [c], 'no "format"'),
    "a later version": (lambda c: c | {"version": 2}, "version must be 1"),
    "an unknown field": (lambda c: c | {"extra": 1}, r"unknown: \['extra'\]"),
    "a missing field": (lambda c: {k: v for k, v in c.items() if k != "reliable"}, r"missing: \['reliable'\]"),
    "a text as number": (lambda c: c | {"magnification": ["1", 1, 1]}, "magnification must hold numbers"),
    "a flag as number": (lambda c: c | {"tilt_axis_deg": [True, 1, 1]}, "tilt_axis_deg must hold numbers"),
    "null": (lambda c: c | {"residual_nm": None}, "residual_nm must hold numbers"),
    "a number as flag": (lambda c: c | {"reliable": [1, 0, 1]}, "reliable must be a list of true"),
    "nan where none may be": (lambda c: c | {"tilt_angles_deg": ["nan", 0, 1]}, "must be finite"),
    "a view too few": (lambda c: c | {"magnification": [1, 1]}, "one value per view"),
    "no views": (lambda c: c | {k: [] for k in ("magnification", "tilt_axis_deg", "tilt_angles_deg")}, "shape"),
    "no positive magnification": (lambda c: c | {"magnification": [1, 0, 1]}, "must be positive"),
    "ragged shifts": (lambda c: c | {"shifts_nm": [[1, 2], [3], [4, 5]]}, "must be a JSON file"),
    "shifts that are no list": (lambda c: c | {"shifts_nm": {"y": 1}}, "shifts_nm must be"),
    "a number of 400 digits": (lambda c: c | {"residual_nm": 10**400}, "must be a JSON file"),
    "evidence that is no object": (lambda c: c | {"evidence": []}, "evidence must be an object"),
    "a table that is no object": (lambda c: c | {"evidence": {"t": []}}, "'t' must be an object"),
    "a column of no kind": (lambda c: c | {"evidence": {"t": {"c": {"values": []}}}}, "must have a kind"),
    "a column of unknown kind": (
        lambda c: c | {"evidence": {"t": {"c": {"kind": "pickle", "values": ["x"]}}}}, "of its kind, 'pickle'"),
    "a kind that is no text": (
        lambda c: c | {"evidence": {"t": {"c": {"kind": [], "values": ["x"]}}}}, "of its kind"),
    "flags among integers": (
        lambda c: c | {"evidence": {"t": {"c": {"kind": "integer", "values": [1, True]}}}}, "of its kind"),
    "an integer beyond 64 bits": (
        lambda c: c | {"evidence": {"t": {"c": {"kind": "integer", "values": [2**63]}}}}, "64 bits"),
    "columns of unequal length": (
        lambda c: c | {"evidence": {"t": {k: {"kind": "number", "values": [1] * n} for k, n in (("a", 1), ("b", 2))}}},
        "columns of one length"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path, content, damage):
    change, sentence = DAMAGE[damage]
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(change(copy.deepcopy(content))))
    with pytest.raises(FormatError, match=sentence) as caught:
        read_alignment(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b'{"format": NaN}',
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
        pickle.dumps({"format": 1}),
    ],
)
def test_what_is_not_json_is_refused(tmp_path, raw):
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(FormatError, match="must be a JSON file of an alignment"):
        read_alignment(tmp_path / "a.json")


def test_a_field_named_twice_is_refused(tmp_path, content):
    text = json.dumps(content)
    (tmp_path / "a.json").write_text(text[:-1] + ', "residual_nm": 5}')
    with pytest.raises(FormatError, match="names a field twice"):
        read_alignment(tmp_path / "a.json")


def test_truncated_files_are_refused_wherever_they_are_cut(tmp_path, content):
    whole = (tmp_path / "whole.json").read_bytes()
    for n in range(0, len(whole) - 2, 37):
        (tmp_path / "cut.json").write_bytes(whole[:n])
        with pytest.raises(FormatError):
            read_alignment(tmp_path / "cut.json")


@pytest.mark.parametrize(
    ("table", "error", "sentence"),
    [
        (pd.DataFrame({"t": pd.to_datetime(["2020-01-01"])}), TypeError, "must hold numbers, flags or texts"),
        (pd.DataFrame({"t": [object()]}), TypeError, "must hold numbers, flags or texts"),
        (pd.DataFrame({"t": ["a", None]}, dtype=object), TypeError, "must hold numbers, flags or texts"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "different, non-empty names"),
        (pd.DataFrame({0: [1]}), ValueError, "different, non-empty names"),
        (pd.DataFrame({"a": [1]}, index=["row"]), ValueError, "indexed by row numbers"),
    ],
)
def test_evidence_that_would_not_come_back_is_refused(tmp_path, table, error, sentence):
    with pytest.raises(error, match=sentence):
        write_alignment(alignment(evidence={"t": table}), tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept(tmp_path, content):
    with pytest.raises(FileExistsError):
        write_alignment(alignment(4), tmp_path / "whole.json")
    write_alignment(alignment(4), tmp_path / "whole.json", overwrite=True)
    assert read_alignment(tmp_path / "whole.json").n_tilts == 4
