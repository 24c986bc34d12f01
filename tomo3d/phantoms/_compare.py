"""Measured against known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from tomo3d import tables
from tomo3d.phantoms._specimen import Specimen


def compare(
    specimen: Specimen,
    measured: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    quantities: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Measured quantities beside what the specimen was built with.

    Parameters
    ----------
    specimen : Specimen
    measured : pandas.DataFrame or mapping of str to pandas.DataFrame
        Summary table (quantity, value, unit, ...), or several by name. A quantity of the table NAME is
        looked for as NAME_quantity first, then as it is: the thickness_mean of {"film": table} is
        film_thickness_mean.
    quantities : mapping of str to str, optional
        Truth quantity of a measured one, as {"thickness_mean": "film_thickness_mean"}. Only these are
        compared. Default: every measured quantity that has the name of a known one.

    Returns
    -------
    pandas.DataFrame
        Columns of `tables.COMPARISON`, in the order of `measured`; quantities by the specimen's names, with the
        measured name (and its estimator, where it has one) in brackets where several have one truth.

    Raises
    ------
    ValueError
        If there is nothing to compare, a name of `quantities` is unknown, or two units differ.
    """
    truth = {str(row["quantity"]): row for row in specimen.truth.to_dict("records")}
    rows = _measured_rows(measured)
    found = [names[-1] for names, _, _, _ in rows]
    pairs = {name: name for name in truth} if quantities is None else dict(quantities)
    if quantities is not None:
        seen = {name for names, _, _, _ in rows for name in names}
        _check_names("measured", [name for name in pairs if name not in seen], found)
        _check_names("known", [name for name in pairs.values() if name not in truth], list(truth))
    compared, details = [], []
    for names, value, unit, estimator in rows:
        name = next((name for name in names if name in pairs), None)
        if name is not None:
            known = truth[pairs[name]]
            compared.append(_row(pairs[name], value, unit, float(known["value"]), str(known["unit"])))
            details.append(f"{name}, {estimator}" if estimator else name)
    shared = Counter(row["quantity"] for row in compared)
    for row, detail in zip(compared, details, strict=True):
        if shared[row["quantity"]] > 1:
            row["quantity"] = f"{row['quantity']} ({detail})"
    if not compared:
        raise ValueError(
            f"a measured quantity must have the name of a known one, got {found}; known are "
            f"{list(truth)}. Say which is which with quantities."
        )
    return tables.check(pd.DataFrame(compared, columns=tables.names(tables.COMPARISON)), tables.COMPARISON)


def _measured_rows(
    measured: pd.DataFrame | Mapping[str, pd.DataFrame],
) -> list[tuple[tuple[str, ...], float, str, str]]:
    """Names that a quantity answers to (best first), value, unit and estimator ("" for none) of every row."""
    if isinstance(measured, pd.DataFrame):
        measured = {"": measured}
    rows: list[tuple[tuple[str, ...], float, str, str]] = []
    for prefix, table in measured.items():
        tables.check(table, tables.SUMMARY)
        for row in table.to_dict("records"):
            name = str(row["quantity"])
            names = (f"{prefix}_{name}", name) if prefix else (name,)
            # An empty text is written to CSV as nothing and may be read back as nan.
            unit, estimator = (
                text if isinstance(text, str) else "" for text in (row["unit"], row.get("estimator"))
            )
            rows.append((names, float(row["value"]), unit, estimator))
    return rows


def _row(quantity: str, measured: float, unit: str, truth: float, known_unit: str) -> dict[str, object]:
    if unit != known_unit:
        raise ValueError(
            f"{quantity!r} must be measured in the unit of the known value, {known_unit!r}, got {unit!r}."
        )
    error = measured - truth
    return {
        "quantity": quantity,
        "measured": measured,
        "truth": truth,
        "error": error,
        "error_percent": 100.0 * error / truth if truth else math.nan,
        "unit": known_unit,
    }


def _check_names(kind: str, missing: list[str], names: list[str]) -> None:
    if missing:
        raise ValueError(f"quantities must name {kind} quantities {names}, got {missing}.")
