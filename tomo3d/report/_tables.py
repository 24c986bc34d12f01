"""Tables of the page, as text: any DataFrame, with the two schemas of numbers that matter set out for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.report import _words

_MAX_ROWS = 12
_UNITS = {"nm": "nm", "nm2": "nm²", "nm3": "nm³", "deg": "°", "percent": "%", "px": "px"}


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; `is_number` says which columns are set right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_number: tuple[bool, ...]
    note: str = ""


def is_headline(frame: pd.DataFrame) -> bool:
    """Whether a table holds quantities, one a row, rather than objects."""
    return _has(frame, tables.SUMMARY) or _has(frame, tables.COMPARISON)


def table(frame: pd.DataFrame, caption: str) -> Table:
    """A DataFrame as text."""
    if _has(frame, tables.COMPARISON):
        return _comparison(frame, caption)
    if _has(frame, tables.SUMMARY):
        return _summary(frame, caption)
    return _objects(frame, caption)


def _has(frame: pd.DataFrame, schema: tables.Schema) -> bool:
    return set(tables.names(schema)) <= set(frame.columns)


def _comparison(frame: pd.DataFrame, caption: str) -> Table:
    rows = []
    for row in frame.to_dict("records"):
        percent = _words.quantity(row["error_percent"], "%", 3)
        numbers = [_words.quantity(row[name], str(row["unit"])) for name in ("measured", "truth")]
        error = _words.quantity(row["error"], str(row["unit"]), 3)
        rows.append((str(row["quantity"]).replace("_", " "), *numbers, error, percent))
    head = ("Quantity", "Measured", "Truth", "Error", "Error, % of truth")
    return Table(caption, head, tuple(rows), (False, True, True, True, True), "Error: measured minus truth.")


def _summary(frame: pd.DataFrame, caption: str) -> Table:
    rows = []
    for row in frame.to_dict("records"):
        unit = str(row["unit"])
        low, high = float(row["low"]), float(row["high"])
        between = f"{_words.number(low)} to {_words.quantity(high, unit)}"
        interval = _words.MISSING if math.isnan(low) or math.isnan(high) else between
        rows.append(
            (
                str(row["quantity"]).replace("_", " "),
                _words.quantity(row["value"], unit),
                interval,
                str(row["interval"]) or "none made",
                _words.number(row["n"]),
            )
        )
    head = ("Quantity", "Value", "Interval", "Kind of interval", "n")
    return Table(caption, head, tuple(rows), (False, True, True, False, True))


def _objects(frame: pd.DataFrame, caption: str) -> Table:
    is_number = tuple(bool(getattr(dtype, "kind", "O") in "iuf") for dtype in frame.dtypes)
    rows = tuple(
        tuple(_cell(value) for value in row)
        for row in frame.head(_MAX_ROWS).itertuples(index=False, name=None)
    )
    head = tuple(_title(str(column)) for column in frame.columns)
    left = len(frame) - len(rows)
    note = (
        f"The first {len(rows)} of {len(frame):,} rows; the file holds all."
        if left
        else f"{len(frame):,} rows."
    )
    return Table(caption, head, rows, is_number, note)


def _cell(value: Any) -> str:
    is_number = isinstance(value, (bool, int, float, np.number, np.bool_)) or value is None
    return _words.number(value) if is_number else str(value)


def _title(column: str) -> str:
    """thickness_nm -> thickness (nm)."""
    words = column.split("_")
    if len(words) > 1 and words[-1] in _UNITS:
        return f"{' '.join(words[:-1])} ({_UNITS[words[-1]]})"
    return " ".join(words)


def pairs(caption: str, items: Sequence[tuple[str, str]], head: tuple[str, str]) -> Table:
    """A table of two columns of text."""
    return Table(caption, head, tuple(items), (False, False))
