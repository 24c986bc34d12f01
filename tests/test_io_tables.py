"""Tables come back with their kinds and their full precision."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomo3d import FormatError, tables
from tomo3d.io import read_table, write_table

number = st.floats(allow_nan=True, allow_infinity=True)
integer = st.integers(-(10**17), 10**17)
# what looks like a number or a flag is one, in CSV: texts here begin with a letter that none of them has
text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r")).map(lambda s: "x" + s)


def round_trip(table, path):
    write_table(table, path, overwrite=True)
    return read_table(path)


def test_a_summary_comes_back_as_one(tmp_path):
    summary = tables.summary(
        [
            {"quantity": "thickness, mean", "value": 0.1 + 0.2, "unit": "nm", "n": 10},
            {
                "quantity": 'the "median"',
                "value": 1e-300,
                "low": -math.inf,
                "unit": "",
                "n": 7,
                "interval": "95 %",
            },
        ]
    )
    back = round_trip(summary, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(back, summary, check_exact=True)
    tables.check(back, tables.SUMMARY)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(number, integer, st.booleans(), text), min_size=1, max_size=8))
def test_numbers_integers_flags_and_texts_come_back(tmp_path_factory, rows):
    table = pd.DataFrame(rows, columns=["number", "integer", "flag", "text"])
    table = table.astype({"number": float, "integer": "int64", "flag": bool})
    back = round_trip(table, tmp_path_factory.mktemp("any") / "a.csv")
    pd.testing.assert_frame_equal(back, table, check_exact=True)


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    back = round_trip(pd.DataFrame({"a": [], "b": []}), tmp_path / "a.csv")
    assert list(back.columns) == ["a", "b"]
    assert len(back) == 0


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2"], np.array([1, 2])),
        (["1", ""], np.array([1, np.nan])),
        (["1", "nan"], np.array([1, np.nan])),
        (["1.5", "2e3"], np.array([1.5, 2000])),
        (["9" * 25, "1"], np.array([1e25, 1])),
        (["007", "008"], ["007", "008"]),
        (["1", "x"], ["1", "x"]),
        (["True", "False"], np.array([True, False])),
        (["True", "x"], ["True", "x"]),
        (["NA", "null"], ["NA", "null"]),
        (["a", ""], ["a", ""]),
    ],
)
def test_tables_of_other_programs_are_typed_by_what_all_cells_have(tmp_path, cells, expected):
    (tmp_path / "a.csv").write_text("\ufeffx,y\r\n" + "".join(f"{cell},1\r\n" for cell in cells))
    column = read_table(tmp_path / "a.csv")["x"]
    pd.testing.assert_series_equal(column, pd.Series(expected, name="x"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "column names"),
        (b"a,a\n1,2\n", "each different"),
        (b"a,\n1,2\n", "column names"),
        (b"a,b\n1,2\n3\n", "line 3: must have 2 cells as the header, got 1"),
        (b"a,b\n1,2,3\n", "line 2: must have 2 cells as the header, got 3"),
        (b'a,b\n1,"2\n', "must be a CSV file"),
        (b"\xff\xfe\x00\x01", "not text"),
    ],
)
def test_damaged_tables_are_refused_with_the_line(tmp_path, content, sentence):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(FormatError, match=sentence):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pd.DataFrame({"a": [1]}, index=["row"]), "indexed by row numbers"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([0], name="view")), "indexed by row numbers"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "different, non-empty names"),
        (pd.DataFrame(), "different, non-empty names"),
    ],
)
def test_what_would_not_come_back_is_refused(tmp_path, table, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_table(table, tmp_path / "a.csv")


def test_an_existing_file_is_kept(tmp_path):
    table = pd.DataFrame({"a": [1]})
    write_table(table, tmp_path / "a.csv")
    with pytest.raises(FileExistsError):
        write_table(table, tmp_path / "a.csv")
