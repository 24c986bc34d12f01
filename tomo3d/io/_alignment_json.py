"""Alignments as JSON: every field, evidence tables too. Plain data; nothing in the file is ever executed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d._version import __version__
from tomo3d.errors import FormatError
from tomo3d.io._tables import check_plain
from tomo3d.types import Alignment

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "tomo3d alignment"
_VERSION = 1
_LARGEST_BYTES = 256 << 20
_MOST_LISTS = 1_000_000
_PER_VIEW = ("tilt_axis_deg", "tilt_angles_deg", "magnification")
_OPTIONAL_PER_VIEW = ("stretch", "skew_deg", "z_shear")
_OPTIONAL = {"x_axis_tilt_deg", "local_shifts_nm", *_OPTIONAL_PER_VIEW}
_KEYS = {"format", "version", "written_by", "shifts_nm", *_PER_VIEW, "residual_nm", "reliable", "evidence"}
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def json_alignment(file: Path) -> Alignment:
    """The alignment of a JSON file of `json_text`.

    Raises
    ------
    FormatError
        If it is no such file, or a field is missing, unknown, or of the wrong kind or length.
    """
    try:
        data = file.read_bytes() if file.stat().st_size <= _LARGEST_BYTES else b""
        if not data or data.count(b"[") + data.count(b"{") > _MOST_LISTS:
            raise ValueError(
                f"it must be at most {_LARGEST_BYTES >> 20} MiB, of at most {_MOST_LISTS:,} lists."
            )
        content = json.loads(data, object_pairs_hook=_object, parse_constant=_refuse_constant)
        return _alignment(content)
    except (UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{file} must be a JSON file of an alignment: it is not one.") from error
    except (
        ValueError,
        TypeError,
        OverflowError,
    ) as error:  # JSONDecodeError and the checks of Alignment itself, too
        raise FormatError(f"{file} must be a JSON file of an alignment: {error}") from error


def json_text(alignment: Alignment) -> str:
    """Text of a JSON file with every field of an alignment.

    Raises
    ------
    ValueError
        If an evidence table has no unique column names, or an index that is more than row numbers.
    TypeError
        If an evidence table holds something other than numbers, flags and texts.
    """
    content: dict[str, Any] = {"format": FORMAT, "version": _VERSION, "written_by": f"tomo3d {__version__}"}
    content["shifts_nm"] = alignment.shifts_nm.tolist()
    for name in _PER_VIEW:
        content[name] = getattr(alignment, name).tolist()
    content["residual_nm"] = _plain_number(float(alignment.residual_nm))
    content["reliable"] = alignment.reliable.tolist()
    content["evidence"] = {name: _plain_table(name, table) for name, table in alignment.evidence.items()}
    if alignment.x_axis_tilt_deg is not None:
        content["x_axis_tilt_deg"] = float(alignment.x_axis_tilt_deg)
    for name in _OPTIONAL_PER_VIEW:
        if getattr(alignment, name) is not None:
            content[name] = getattr(alignment, name).tolist()
    if alignment.local_shifts_nm is not None:
        content["local_shifts_nm"] = alignment.local_shifts_nm.tolist()
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"an object names a field twice, among {sorted(result)[:10]}.")
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON.")


def _alignment(content: Any) -> Alignment:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f'it has no "format": "{FORMAT}".')
    if content.get("version") != _VERSION:
        raise ValueError(f"its version must be {_VERSION}, got {content.get('version')!r}.")
    missing, unknown = _KEYS - set(content), set(content) - _KEYS - _OPTIONAL
    if missing or unknown:
        raise ValueError(f"fields missing: {sorted(missing)}; fields unknown: {sorted(unknown)}.")
    per_view = {
        name: _numbers(name, content[name]) for name in (*_PER_VIEW, *_OPTIONAL_PER_VIEW) if name in content
    }
    shifts = content["shifts_nm"]
    if not isinstance(shifts, list):
        raise ValueError("shifts_nm must be a list of (y, x).")
    reliable = content["reliable"]
    if not isinstance(reliable, list) or not all(isinstance(flag, bool) for flag in reliable):
        raise ValueError("reliable must be a list of true and false.")
    if not isinstance(content["evidence"], dict):
        raise ValueError("evidence must be an object of tables.")
    return Alignment(
        shifts_nm=np.array([_numbers("shifts_nm", row) for row in shifts]).reshape(len(shifts), -1),
        residual_nm=_number("residual_nm", content["residual_nm"]),
        reliable=np.array(reliable, dtype=bool),
        evidence={name: _table(name, table) for name, table in content["evidence"].items()},
        x_axis_tilt_deg=(
            _number("x_axis_tilt_deg", content["x_axis_tilt_deg"]) if "x_axis_tilt_deg" in content else None
        ),
        local_shifts_nm=(
            _nested("local_shifts_nm", content["local_shifts_nm"], 4)
            if "local_shifts_nm" in content
            else None
        ),
        **per_view,
    )


def _number(name: str, value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must hold numbers, got {str(value)[:40]!r}.")
    return float(value)


def _numbers(name: str, values: Any) -> np.ndarray:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list of numbers, got {str(values)[:40]!r}.")
    return np.array([_number(name, value) for value in values], dtype=np.float64)


def _nested(name: str, values: Any, depth: int) -> np.ndarray:
    """An array from lists of lists of numbers."""
    if depth == 1:
        return _numbers(name, values)
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name} must hold lists of numbers, {depth} deep here, got {str(values)[:40]!r}.")
    parts = [_nested(name, part, depth - 1) for part in values]
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"{name} must have rows of one length.")
    return np.array(parts)


def _plain_number(value: float) -> float | str:
    """A number as JSON can hold it: nan and infinities are texts."""
    return value if math.isfinite(value) else str(value)


def _plain_table(name: str, table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    check_plain(table, f"evidence {name!r}")
    return {column: _plain_column(f"{name}.{column}", table[column]) for column in table.columns}


def _plain_column(name: str, column: pd.Series) -> dict[str, Any]:
    kind = getattr(column.dtype, "kind", "O")
    values = column.tolist()
    if kind == "b":
        return {"kind": "flag", "values": values}
    if kind in "iu":
        return {"kind": "integer", "values": values}
    if kind == "f":
        return {"kind": "number", "values": [_plain_number(value) for value in values]}
    if all(isinstance(value, str) for value in values):
        return {"kind": "text", "values": values}
    raise TypeError(f"evidence column {name!r} must hold numbers, flags or texts, got {column.dtype}.")


def _table(name: str, content: Any) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(content, dict):
        raise ValueError(f"evidence {name!r} must be an object of columns.")
    columns = {column: _column(f"{name}.{column}", value) for column, value in content.items()}
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError(f"evidence {name!r} must have columns of one length.")
    return pd.DataFrame(columns)


def _column(name: str, content: Any) -> np.ndarray | list[str]:
    if not isinstance(content, Mapping) or set(content) != {"kind", "values"}:
        raise ValueError(f"evidence column {name!r} must have a kind and values.")
    kind, values = content["kind"], content["values"]
    if not isinstance(values, list):
        raise ValueError(f"evidence column {name!r} must have a list of values.")
    if kind == "number":
        return _numbers(name, values)
    accepted = {"flag": bool, "integer": int, "text": str}.get(kind) if isinstance(kind, str) else None
    if accepted is None or not all(type(value) is accepted for value in values):
        raise ValueError(f"evidence column {name!r} must hold values of its kind, {kind!r}.")
    if accepted is int and any(abs(value) >= 2**63 for value in values):
        raise ValueError(f"evidence column {name!r} must hold integers of 64 bits.")
    return values if accepted is str else np.array(values, dtype=bool if accepted is bool else np.int64)
