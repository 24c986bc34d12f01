"""Sizes of particles: their distribution and its numbers, corrected for those that the border cuts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables

if TYPE_CHECKING:
    import pandas as pd

_N_DRAWS = 1000
_MIN_PARTICLES = 10  # below, quantiles of draws are far narrower than 95 %
_MAX_CLASSES = 60
_AT_ONCE = 1 << 22  # numbers of draws that are held


def particle_sizes(
    particles: pd.DataFrame, *, column: str = "diameter_nm", class_nm: float | None = None, seed: int = 0
) -> pd.DataFrame:
    """Share of the particles in classes of size, with intervals, corrected for the border.

    Parameters
    ----------
    particles : DataFrame
        As `particles` gives it.
    column : str
        Size in nm: diameter_nm, diameter_xy_nm, axis_long_nm, ...
    class_nm : float, optional
        Width of a class. Default: by Freedman and Diaconis [1]_, rounded to two digits.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.PARTICLE_SIZES`. Particles that touch the border are left out, and each of the others
        counts with its `border_weight`, as large ones touch it more often [2]_; sizes that are nan are left out.

    Raises
    ------
    ValueError
        If a column is missing, no particle is left, or the width is not positive or gives more than 1000 classes.

    Notes
    -----
    Interval: 2.5 % and 97.5 % quantiles over 1000 draws of particles with replacement; nan below 10 particles.

    References
    ----------
    .. [1] Z. Wahrscheinlichkeitstheorie verw. Gebiete 57 (1981) 453-476, doi:10.1007/BF01025868
    .. [2] Miles, in: Harding and Kendall (eds.), Stochastic Geometry, Wiley (1974) 228-247; Lantuejoul, in: Chermant
       (ed.), Quantitative Analysis of Microstructures, Riederer (1978)
    """
    import pandas as pd

    sizes, weights = sizes_and_weights(particles, column)
    width = _class_width(sizes) if class_nm is None else class_nm
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"class_nm must be a positive length, got {width:g} nm.")
    first, last = math.floor(sizes.min() / width), math.floor(sizes.max() / width) + 1
    if last - first > 1000:
        raise ValueError(f"class_nm must give at most 1000 classes, got {width:g} nm for {last - first}.")
    place = np.minimum(np.floor(sizes / width).astype(np.int64) - first, last - first - 1)
    member = np.zeros((len(sizes), last - first))
    member[np.arange(len(sizes)), place] = weights
    shares = member.sum(axis=0) / weights.sum()
    low, high = np.full(len(shares), math.nan), np.full(len(shares), math.nan)
    if len(sizes) >= _MIN_PARTICLES:
        drawn = _resampled(lambda draws: draws @ np.column_stack((member, weights)), len(sizes), seed)
        low, high = np.quantile(drawn[:, :-1] / drawn[:, -1:], (0.025, 0.975), axis=0)
    edges = width * np.arange(first, last + 1)
    columns = {
        "from_nm": edges[:-1],
        "to_nm": edges[1:],
        "n": np.bincount(place, minlength=last - first),
        "share": shares,
        "low": low,
        "high": high,
    }
    return tables.check(pd.DataFrame(columns), tables.PARTICLE_SIZES)


def particle_summary(particles: pd.DataFrame, *, column: str = "diameter_nm", seed: int = 0) -> pd.DataFrame:
    """Number and mean sizes of particles, with intervals, corrected for the border.

    Parameters
    ----------
    particles : DataFrame
        As `particles` gives it.
    column : str
        Size in nm: diameter_nm, diameter_xy_nm, ...
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`: particle_number (that have their centre in the field), COLUMN_mean, _sd,
        _median, _p05, _p95, _surface_mean (sum d^3 over sum d^2) and _volume_mean (d^4 over d^3), and
        share_at_border of all particles. n is the number of particles behind the value.

    Raises
    ------
    ValueError
        If a column is missing, or no particle is left that does not touch the border.

    Notes
    -----
    Weights and intervals as in `particle_sizes`: an interval stands on the number of particles of one field, and
    holds no spread between fields or specimens.
    """
    sizes, weights = sizes_and_weights(particles, column)
    n = len(sizes)
    order = np.argsort(sizes, kind="stable")
    sizes, weights = sizes[order], weights[order]
    powers = weights[:, None] * sizes[:, None] ** np.arange(5)

    def statistics(draws: np.ndarray) -> np.ndarray:
        return _statistics(draws, sizes, weights, powers)

    values = statistics(np.ones((1, n)))[0]
    low, high = np.full((2, len(values)), math.nan)
    interval = f"none: {n} particles, {_MIN_PARTICLES} are needed"
    if n >= _MIN_PARTICLES:
        low, high = np.quantile(_resampled(statistics, n, seed), (0.025, 0.975), axis=0)
        interval = f"95 %, bootstrap over {n} particles, {_N_DRAWS} draws, seed {seed}"
        # how many there are is a count: it would vary from field to field as of a Poisson process
        spread = 1.96 * math.sqrt(float((weights**2).sum()))
        low[0], high[0] = max(values[0] - spread, 0.0), values[0] + spread
    names = ["particle_number"] + [
        f"{column.removesuffix('_nm')}_{name}"
        for name in ("mean", "sd", "median", "p05", "p95", "surface_mean", "volume_mean")
    ]
    rows: list[dict[str, object]] = [
        {
            "quantity": name,
            "value": value,
            "low": a,
            "high": b,
            "unit": "" if name == "particle_number" else "nm",
            "n": n,
            "interval": interval
            if name != "particle_number" or n < _MIN_PARTICLES
            else "95 %, Poisson count",
        }
        for name, value, a, b in zip(names, values, low, high, strict=True)
    ]
    at_border = float(particles["touches_border"].mean())
    rows.append({"quantity": "share_at_border", "value": at_border, "unit": "", "n": len(particles)})
    return tables.summary(rows)


def sizes_and_weights(particles: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and border weights, (n,) each, of the particles that are whole and have a size.

    Raises
    ------
    ValueError
        If a column is missing or no particle is left.
    """
    missing = [name for name in (column, "border_weight", "touches_border") if name not in particles.columns]
    if missing:
        raise ValueError(f"particles must have the columns {missing}, got {list(particles.columns)}.")
    sizes = particles[column].to_numpy(dtype=np.float64)
    weights = particles["border_weight"].to_numpy(dtype=np.float64)
    is_whole = (weights > 0) & np.isfinite(sizes)
    if not is_whole.any():
        raise ValueError(
            f"at least one particle must have a finite {column} and not touch the border, got none of {len(sizes)}."
        )
    return sizes[is_whole], weights[is_whole]


def _class_width(sizes: np.ndarray) -> float:
    """Freedman and Diaconis, to two digits."""
    quartiles = np.percentile(sizes, (25, 75))
    spread = float(quartiles[1] - quartiles[0])
    width = 2.0 * spread / len(sizes) ** (1 / 3)
    width = max(width, float(np.ptp(sizes)) / _MAX_CLASSES, 0.01 * float(sizes.max()))
    return float(f"{width:.1e}")


def _resampled(statistics: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> np.ndarray:
    """Statistics of draws of n particles with replacement, (draws, m), from how often each is drawn, (draws, n)."""
    rng, at_once = np.random.default_rng(seed), max(1, _AT_ONCE // n)
    parts = []
    for first in range(0, _N_DRAWS, at_once):
        size = min(at_once, _N_DRAWS - first)
        parts.append(statistics(rng.multinomial(n, np.full(n, 1.0 / n), size=size).astype(np.float64)))
    return np.concatenate(parts)


def _statistics(draws: np.ndarray, sizes: np.ndarray, weights: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Number, mean, standard deviation, three quantiles and two moment means of sorted sizes, by draw."""
    sums = draws @ powers
    mean = sums[:, 1] / sums[:, 0]
    spread = np.sqrt(np.maximum(sums[:, 2] / sums[:, 0] - mean**2, 0.0))
    cumulative = np.cumsum(draws * weights, axis=1)
    quantiles = []
    for share in (0.5, 0.05, 0.95):
        # halfway between the sizes on either side, where the share falls between two
        below = (cumulative < share * cumulative[:, -1:] * (1 - 1e-12)).sum(axis=1)
        upto = (cumulative <= share * cumulative[:, -1:] * (1 + 1e-12)).sum(axis=1)
        last = len(sizes) - 1
        quantiles.append(0.5 * (sizes[np.minimum(below, last)] + sizes[np.minimum(upto, last)]))
    columns = (sums[:, 0], mean, spread, *quantiles, sums[:, 3] / sums[:, 2], sums[:, 4] / sums[:, 3])
    return np.stack(columns, axis=1)
