"""Descriptors of several samples against a measured property."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from tomo3d import tables

_EXACT = 9  # samples: 362,880 orders
_N_ORDERS = 100_000
_N_DRAWS = 2000
_TOLERANCE = 1e-9
_OWN = ("sample", "tomogram")


def rank_correlation(
    samples: pd.DataFrame, property: str | Mapping[str, float], *, seed: int = 0
) -> pd.DataFrame:
    """How descriptors of samples rank with a measured property, and whether so few samples can tell.

    Parameters
    ----------
    samples : DataFrame
        One row a tomogram: `sample`, and descriptors in the other columns that hold numbers (`tomogram`, if there, is
        a name). A descriptor of a sample is the mean over its tomograms.
    property : str or mapping of sample to float
        Name of a column, the same for all tomograms of a sample, or values.
    seed : int
        Of the resampling, and of the orders drawn where there are more than 9 samples.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.RANK_CORRELATIONS`, a descriptor each. Samples without a value of either are left out;
        of fewer than three samples, or where all values are equal, rho and p are nan.

    Raises
    ------
    ValueError
        If a column is missing, the property differs within a sample or names no sample, or there is no descriptor.

    Notes
    -----
    Spearman's rho with mean ranks of ties. p is two-sided: the share of all n! orders of the property with |rho| at
    least as large (beyond 9 samples of 100,000 drawn at random, the observed one counted); the smallest that n samples
    can give is 2 / n!: 0.33 for 3, 0.083 for 4, 0.017 for 5. Holm (Scand. J. Stat. 6 (1979) 65) holds the chance of any
    false finding among all descriptors to the level. The interval draws tomograms anew within their samples: it holds
    the scatter of tomograms, not that of samples, and where every sample has one tomogram there is none.
    """
    values, labels = _property(samples, property)
    names = [
        column
        for column in samples.columns
        if column not in _OWN and column != property and pd.api.types.is_numeric_dtype(samples[column])
    ]
    if not names:
        raise ValueError("samples must have a column of numbers beside sample and property, got none.")
    rng = np.random.default_rng(seed)
    rows = [_row(samples, labels, name, values, rng) for name in names]
    adjusted = _holm(np.array([row["p_value"] for row in rows], dtype=np.float64))
    table = pd.DataFrame([{**row, "p_holm": p} for row, p in zip(rows, adjusted, strict=True)])
    return tables.check(table[tables.names(tables.RANK_CORRELATIONS)], tables.RANK_CORRELATIONS)


def _property(
    samples: pd.DataFrame, wanted: str | Mapping[str, float]
) -> tuple[dict[str, float], np.ndarray]:
    """Value of the property by sample, and the sample of each row."""
    if "sample" not in samples:
        raise ValueError(f"samples must have a column 'sample', got {list(samples.columns)}.")
    labels = samples["sample"].astype(str).to_numpy()
    if isinstance(wanted, str):
        if wanted not in samples:
            raise ValueError(
                f"property must be a column of samples, got {wanted!r}; there are {list(samples.columns)}."
            )
        values: dict[str, float] = {}
        for label, group in samples.groupby(labels)[wanted]:
            found = group.dropna().unique()
            if len(found) > 1:
                raise ValueError(
                    f"{wanted!r} must be one value for a sample, got {sorted(found)} for {label!r}."
                )
            values[str(label)] = float(found[0]) if len(found) else math.nan
        return values, labels
    given = {str(key): float(value) for key, value in wanted.items()}
    if not set(given) & set(labels):
        raise ValueError(f"property must have values of samples {sorted(set(labels))}, got {sorted(given)}.")
    return given, labels


def _row(
    samples: pd.DataFrame,
    labels: np.ndarray,
    name: str,
    values: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, object]:
    column = samples[name].to_numpy(dtype=np.float64)
    groups = {
        label: column[(labels == label) & np.isfinite(column)]
        for label in dict.fromkeys(labels)
        if math.isfinite(values.get(label, math.nan))
    }
    groups = {label: group for label, group in groups.items() if group.size}
    measured = np.array([values[label] for label in groups])
    means = np.array([group.mean() for group in groups.values()])
    n = len(groups)
    row: dict[str, object] = {
        "descriptor": name, "rho": math.nan, "low": math.nan, "high": math.nan, "p_value": math.nan,
        "smallest_p": math.nan, "n_samples": n, "n_tomograms": sum(g.size for g in groups.values()),
        "test": "none: fewer than three samples",
    }  # fmt: skip
    if n < 3:
        return row
    ranks, against = stats.rankdata(means), stats.rankdata(measured)
    if np.ptp(ranks) == 0 or np.ptp(against) == 0:
        return row | {"test": "none: all values are equal"}
    rho = _correlation(ranks, against)
    orders = np.concatenate(list(_orders(n, rng)))
    found = np.abs(_correlations(ranks, against[orders]))
    is_exact = n <= _EXACT
    p = float((found >= abs(rho) - _TOLERANCE).mean()) if is_exact else _drawn(found, abs(rho))
    least = float((found >= found.max() - _TOLERANCE).mean()) if is_exact else 2 / math.factorial(n)
    words = f"all {len(orders)} orders" if is_exact else f"{len(orders)} orders drawn at random"
    low, high = _interval(list(groups.values()), against, rng)
    return row | {"rho": rho, "low": low, "high": high, "p_value": p, "smallest_p": least, "test": words}


def _orders(n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Orders of n things, in arrays (n_orders, n): all of them, or many at random."""
    if n <= _EXACT:
        yield np.array(list(itertools.permutations(range(n))))
    else:
        yield rng.permuted(np.tile(np.arange(n), (_N_ORDERS, 1)), axis=1)


def _drawn(found: np.ndarray, observed: float) -> float:
    return float((1 + (found >= observed - _TOLERANCE).sum()) / (1 + len(found)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(_correlations(a, b[None])[0])


def _correlations(ranks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Correlation of (n,) with each row of (m, n); nan where a row has no spread."""
    a = ranks - ranks.mean()
    b = others - others.mean(axis=1, keepdims=True)
    size = np.sqrt((a @ a) * (b**2).sum(axis=1))
    return np.divide(b @ a, size, out=np.full(len(b), math.nan), where=size > 0)


def _interval(groups: list[np.ndarray], against: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Quantiles of rho over draws of tomograms within their samples."""
    if max(group.size for group in groups) < 2:
        return math.nan, math.nan
    means = np.stack([rng.choice(g, size=(_N_DRAWS, g.size)).mean(axis=1) for g in groups], axis=1)
    drawn = _correlations(against, stats.rankdata(means, axis=1))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p values; nan stays nan and does not count."""
    adjusted = np.full(len(p), math.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
