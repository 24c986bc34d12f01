"""Tables as CSV (UTF-8, one header line, full precision, nan for numbers that are not there) and as Parquet."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import translated
from tomo3d.io._input import existing_file
from tomo3d.io._write import check_output, write_bytes

if TYPE_CHECKING:
    import pandas as pd

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")  # no leading zeros: "007" is a name; at most what int64 holds
_NUMBER = re.compile(r"[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf|nan)")
_LARGEST_FIELD = 1 << 24
_PARQUET = b"PAR1"


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table from a CSV or Parquet file, whichever its content is.

    Parameters
    ----------
    path : path
        CSV file with one header line, UTF-8, separated by commas; or a Parquet file.

    Returns
    -------
    pandas.DataFrame
        Of Parquet, as it was stored. Of CSV, a column of whole numbers is int64, of numbers float64 (nan where a cell
        is empty or "nan"), of True and False bool; all else is text, where an empty cell is an empty text.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    ModuleNotFoundError
        If it is a Parquet file and pyarrow is not installed.
    FormatError
        If it is damaged or not text, a row has more or fewer cells than the header, or a column has no name or that
        of another.
    """
    import pandas as pd

    file = existing_file(path)
    with open(file, "rb") as start:
        is_parquet = start.read(4) == _PARQUET
    if is_parquet:
        return _read_parquet(file)
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_FIELD))
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = next(reader, [])
            if not names or "" in names or len(set(names)) != len(names):
                raise FormatError(
                    f"{file} must begin with a line of column names, each different, got {names[:20]}."
                )
            rows = []
            for row in reader:
                if len(row) != len(names) and row:  # an empty line is no row
                    raise FormatError(
                        f"{file}, line {reader.line_num}: must have {len(names)} cells as the header, got {len(row)}."
                    )
                if row:
                    rows.append(row)
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} must be a CSV file in UTF-8: it is not text.") from error
    except csv.Error as error:
        raise FormatError(f"{file} must be a CSV file: {error}.") from error
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pd.DataFrame({name: _typed(cells) for name, cells in zip(names, columns, strict=True)})


def write_table(table: pd.DataFrame, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a table to a CSV or Parquet file, with the full precision of its numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        Its columns are named by texts; its index (row numbers) is not written.
    path : path
        Where to write it: .parquet keeps the type of every column and needs pyarrow (the extra "parquet"); any other
        name is CSV.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ModuleNotFoundError
        If a Parquet file is wanted and pyarrow is not installed.
    ValueError
        If two columns share a name, one has none, or the index is more than row numbers.
    OSError
        If the folder cannot be written to or the disk is full.
    """
    check_output(path, overwrite=overwrite)
    check_plain(table, "the table")
    if os.fspath(path).lower().endswith(".parquet"):
        write_bytes(_parquet(table), path, overwrite=overwrite)
        return
    text = io.StringIO()
    table.to_csv(text, index=False, na_rep="nan", lineterminator="\n")
    write_bytes(text.getvalue().encode("utf-8"), path, overwrite=overwrite)


def check_plain(table: pd.DataFrame, what: str) -> None:
    """Raise ValueError unless columns have unique, non-empty names and the index is row numbers."""
    columns = list(table.columns)
    if not columns or not all(isinstance(c, str) and c for c in columns) or len(set(columns)) != len(columns):
        raise ValueError(
            f"{what} must have columns with different, non-empty names, got {[str(c) for c in columns][:20]}."
        )
    if table.index.nlevels > 1 or table.index.name is not None or table.index.dtype.kind not in "iu":
        raise ValueError(
            f"{what} must be indexed by row numbers, as an index is not written: use reset_index()."
        )


def _parquet(table: pd.DataFrame) -> bytes:
    arrow, parquet = _pyarrow()
    stream = io.BytesIO()
    try:
        parquet.write_table(arrow.Table.from_pandas(table, preserve_index=False), stream)
    except arrow.ArrowException as error:
        raise ValueError(
            f"each column of the table must hold values of one kind to be stored as Parquet: {error}"
        ) from error
    return stream.getvalue()


def _read_parquet(file: Path) -> pd.DataFrame:
    arrow, parquet = _pyarrow()
    with translated(file, "Parquet file", arrow.ArrowException):
        return parquet.read_table(file).to_pandas()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet files need pyarrow: pip install 'tomo3d[parquet]', or write the table as .csv."
        ) from error
    return pyarrow, parquet


def _typed(cells: tuple[str, ...]) -> np.ndarray | list[str]:
    """A column as the narrowest kind that all its cells have."""
    filled = [cell for cell in cells if cell]
    if not filled:
        return list(cells)
    if len(filled) == len(cells):
        if all(cell in ("True", "False") for cell in cells):
            return np.array([cell == "True" for cell in cells])
        if all(map(_INTEGER.fullmatch, cells)):
            return np.array(cells).astype(np.int64)
    if all(map(_NUMBER.fullmatch, filled)) and not any(_is_padded(cell) for cell in filled):
        return np.array([float(cell or "nan") for cell in cells])
    return list(cells)


def _is_padded(cell: str) -> bool:
    """Whether a cell is a name such as "007" rather than a number."""
    return len(cell) > 1 and cell[0] == "0" and cell.isdigit()
