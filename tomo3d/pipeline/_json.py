"""Values as JSON and back: what provenance records and fingerprints are made of.

JSON has neither nan nor tables: these are written as {"$number": "nan"} and {"$table": ...}.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np


def encode(value: Any) -> Any:
    """The value in terms of JSON.

    Raises
    ------
    TypeError
        If JSON has no words for it.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    if isinstance(value, enum.Enum):
        return encode(value.value)
    if isinstance(value, int):
        return value
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {"$number": str(number)}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.ndarray):
        return encode(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [encode(item) for item in items]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, functools.partial):  # a function with its parameters, as a recipe names it
        stage = value.func.__module__.split(".")[1]
        return {"run": f"{stage}.{value.func.__name__}", **encode(value.keywords)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        return {"$table": _encode_table(value)}
    raise TypeError(
        f"provenance must be made of numbers, texts, lists and tables, got a {type(value).__name__}."
    )


def decode(value: Any) -> Any:
    """What `encode` was given, with lists for tuples and arrays, and mappings for dataclasses."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"$number"}:
            return float(value["$number"])
        if set(value) == {"$table"}:
            return _decode_table(value["$table"])
        return {key: decode(item) for key, item in value.items()}
    return value


def dumps(value: Any) -> bytes:
    """JSON text of an encoded value, for people to read."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def fingerprint(value: Any) -> str:
    """One short text that is the same for the same value."""
    text = json.dumps(encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _encode_table(table: Any) -> list[dict[str, Any]]:
    return [
        {"name": str(name), "dtype": str(table[name].dtype), "values": encode(table[name].tolist())}
        for name in table.columns
    ]


def _decode_table(columns: list[dict[str, Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame({c["name"]: pd.Series(decode(c["values"]), dtype=c["dtype"]) for c in columns})
