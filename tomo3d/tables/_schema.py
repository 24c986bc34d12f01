"""What a column of a table is, and whether a table has the columns that it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column of a table: `kind` is "number", "integer", "flag" or "text"."""

    name: str
    kind: str
    unit: str
    meaning: str


Schema = tuple[Column, ...]

_KINDS = {"number": "fiu", "integer": "iu", "flag": "b"}


def names(schema: Schema) -> list[str]:
    """Names of the columns of a schema."""
    return [column.name for column in schema]


def check(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table itself, if it has the columns of the schema with their kinds.

    Raises
    ------
    ValueError
        If a column is missing or holds another kind of value.
    """
    missing = [name for name in names(schema) if name not in table.columns]
    if missing:
        raise ValueError(f"the table must have the columns {names(schema)}, missing {missing}.")
    for column in schema:
        kinds = _KINDS.get(column.kind)
        if kinds and len(table) and getattr(table[column.name].dtype, "kind", "O") not in kinds:
            raise ValueError(
                f"column {column.name!r} must hold values of kind {column.kind}, got {table[column.name].dtype}."
            )
    return table


def describe(schema: Schema) -> Sequence[tuple[str, str, str]]:
    """(column, unit, meaning) of a schema, for reports."""
    return [(column.name, column.unit, column.meaning) for column in schema]
