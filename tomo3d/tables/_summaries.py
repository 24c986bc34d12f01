"""One quantity a row: measured, with its interval, or beside the truth."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

SUMMARY: Schema = (
    Column("quantity", "text", "", "what was measured"),
    Column("value", "number", "see unit", "the measured value"),
    Column("low", "number", "see unit", "lower end of the interval; nan where none was made"),
    Column("high", "number", "see unit", "upper end of the interval; nan where none was made"),
    Column("unit", "text", "", "unit of value, low and high; empty for a pure number"),
    Column("n", "integer", "", "number of objects or samples behind the value"),
    Column("interval", "text", "", "how the interval was made; empty where none was"),
)

COMPARISON: Schema = (
    Column("quantity", "text", "", "what was measured"),
    Column("measured", "number", "see unit", "the measured value"),
    Column("truth", "number", "see unit", "the value that the phantom was built with"),
    Column("error", "number", "see unit", "measured minus truth"),
    Column("error_percent", "number", "%", "error over truth; nan where the truth is zero"),
    Column("unit", "text", "", "unit of measured, truth and error"),
)
