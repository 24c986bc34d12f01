"""Intervals from an ensemble: one measurement of many segmentations that are all plausible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from tomo3d import tables
from tomo3d.progress import report
from tomo3d.types import Labels

Spread = Literal["draws", "range", "subsets"]
"""What the members of an ensemble are: see `pool_summaries`."""

_WORDS = {
    "draws": "95 %, spread of {n} draws of the segmentation (Student's t)",
    "range": "range over {n} segmentations",
    "subsets": "95 %, standard error of {n} subsets of the views (Student's t)",
}


def with_uncertainty(
    measurement: Callable[[Labels], pd.DataFrame], ensemble: Iterable[Labels], *, spread: Spread = "draws"
) -> pd.DataFrame:
    """One measurement of every member of an ensemble of segmentations, with the interval that their spread gives.

    Parameters
    ----------
    measurement : callable
        Takes Labels and returns a summary (`tomo3d.tables.SUMMARY`), as `volume_fractions` does.
    ensemble : iterable of Labels
        Segmentations of one specimen, made one at a time where it is a generator: `segment.threshold_ensemble`,
        `segment.probability_ensemble`, or one of each volume of a `quality.half_volumes`.
    spread : {"draws", "range", "subsets"}
        What the members are: see `pool_summaries`.

    Returns
    -------
    DataFrame
        As `pool_summaries`.

    Raises
    ------
    ValueError
        If there are fewer than two members, or they do not all give the same quantities.

    Examples
    --------
    >>> ensemble = segment.probability_ensemble(labels, n=20, correlation_nm=4)  # doctest: +SKIP
    >>> measure.with_uncertainty(measure.volume_fractions, ensemble)  # doctest: +SKIP
    """
    summaries: dict[str, pd.DataFrame] = {}
    total = len(ensemble) if isinstance(ensemble, Sized) else 0
    for i, member in enumerate(ensemble):
        report("measure the ensemble", i, max(total, i + 1))
        summaries[str(i)] = measurement(member)
    report("measure the ensemble", len(summaries), max(len(summaries), 1))
    return pool_summaries(summaries, spread=spread)


def pool_summaries(summaries: Mapping[str, pd.DataFrame], *, spread: Spread = "draws") -> pd.DataFrame:
    """Summaries of one specimen, segmented in several ways, as one summary whose intervals hold their spread.

    Parameters
    ----------
    summaries : mapping of str to DataFrame
        Two or more tables of the same quantities, `tomo3d.tables.SUMMARY`.
    spread : {"draws", "range", "subsets"}
        What the tables come from. "draws": segmentations drawn at random from those that the data allow
        (classifier probabilities); the value is their mean, and the interval that of one more draw. "range":
        the first is the best, the others span what would still be right (levels); the value is the first, the
        interval reaches from the smallest to the largest. "subsets": equal parts of the views (half-set volumes,
        quarters), each reconstructed and segmented alone; the value is their mean, the interval that of a mean.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`, in the order of the first table, `n` of the first. A quantity that is
        nan in a member is nan. `interval` says how it was made.

    Raises
    ------
    ValueError
        If there are fewer than two tables, or a table lacks a quantity, has one twice, or in another unit.

    Notes
    -----
    95 %: with m members of standard deviation s the half-width is t s sqrt(1 + 1/m) for draws and t s / sqrt(m) for
    subsets, t being Student's for m - 1 degrees of freedom: two halves have one, and t is 12.7. Where every
    member has an interval of its own (as by bootstrap over the specimen), the mean of its arms
    is added in quadrature to either side: independent causes.
    """
    if spread not in _WORDS:
        raise ValueError(f"spread must be one of {', '.join(map(repr, _WORDS))}, got {spread!r}.")
    if len(summaries) < 2:
        raise ValueError(f"summaries must be two or more tables of one specimen, got {len(summaries)}.")
    members = {name: _by_quantity(name, table) for name, table in summaries.items()}
    first_name, first = next(iter(members.items()))
    for name, member in members.items():
        if set(member) != set(first):
            raise ValueError(
                f"summaries must all hold the same quantities; {first_name!r} and {name!r} differ in "
                f"{sorted(set(member) ^ set(first))}."
            )
        for quantity in first:
            if member[quantity]["unit"] != first[quantity]["unit"]:
                raise ValueError(
                    f"summaries must have the same units; {quantity!r} is in {first[quantity]['unit']!r} in "
                    f"{first_name!r}, in {member[quantity]['unit']!r} in {name!r}."
                )
    return tables.summary(
        _pooled([member[quantity] for member in members.values()], spread) for quantity in first
    )


def _by_quantity(name: str, table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows of a summary by quantity; an empty unit that a file gave back as nan is empty again."""
    tables.check(table, tables.SUMMARY)
    if table.quantity.duplicated().any():
        twice = sorted(table.quantity[table.quantity.duplicated()])
        raise ValueError(f"each quantity of a summary must stand once; {name!r} has {twice} more than once.")
    rows = table.fillna({"unit": "", "interval": ""}).to_dict("records")
    return {str(row["quantity"]): {str(key): value for key, value in row.items()} for row in rows}


def _pooled(rows: list[dict[str, Any]], spread: Spread) -> dict[str, Any]:
    values = np.array([float(row["value"]) for row in rows])
    value, below, above = _spread(values, spread)
    interval = _WORDS[spread].format(n=len(values))
    own = np.array(
        [[row["value"] - row["low"], row["high"] - row["value"]] for row in rows], dtype=np.float64
    )
    if np.isfinite(own).all():
        arms = np.maximum(own, 0.0).mean(axis=0)
        below, above = math.hypot(below, arms[0]), math.hypot(above, arms[1])
        interval += f"; and {rows[0]['interval']}"
    return {**rows[0], "value": value, "low": value - below, "high": value + above, "interval": interval}


def _spread(values: np.ndarray, spread: Spread) -> tuple[float, float, float]:
    """Value, and how far its interval reaches below and above it."""
    if spread == "range":
        return float(values[0]), float(values[0] - values.min()), float(values.max() - values[0])
    m = len(values)
    per_deviation = math.sqrt(1 + 1 / m) if spread == "draws" else 1 / math.sqrt(m)
    half = float(stats.t.ppf(0.975, m - 1)) * float(values.std(ddof=1)) * per_deviation
    return float(values.mean()), half, half
