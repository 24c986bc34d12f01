"""How far off a chain of analysis is: run on phantoms whose truth is known, and taken out of what it measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tomo3d import tables
from tomo3d.phantoms import Microscope, Specimen, acquire, compare
from tomo3d.progress import report
from tomo3d.types import TiltSeries

_IDEAL = Microscope()
_CONFIDENCE = 0.975  # on either side


def measurement_bias(
    specimen: Specimen | Iterable[Specimen],
    chain: Callable[[TiltSeries], pd.DataFrame],
    *,
    like: TiltSeries | None = None,
    pixel_size_nm: float | None = None,
    microscope: Microscope = _IDEAL,
    quantities: Mapping[str, str] | None = None,
    n_repeats: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """How far off each number of a chain is, by running it on phantoms in the geometry of the real series.

    Parameters
    ----------
    specimen : Specimen or iterable of Specimen
        Phantoms that look like the real thing. The scatter between them is what remains uncertain of a corrected
        number, so they should differ as real specimens may: 10 or more.
    chain : callable
        All that is done to the real series, from a TiltSeries to a summary (`tomo3d.tables.SUMMARY`): alignment,
        reconstruction, segmentation, measurement.
    like : TiltSeries, optional
        The real series: its tilt angles (those in use), pixel size and image shape. Default: the microscope's angles,
        and views that hold the specimen.
    pixel_size_nm : float, optional
        Default: that of `like`, or 1.
    microscope : Microscope
        Misalignment, blur, dose and noise of the real series.
    quantities : mapping of str to str, optional
        Known quantity of a measured one, as {"thickness_mean": "film_thickness_mean"}. Default: those of the same name.
    n_repeats : int
        How often each phantom is recorded, with other shifts and noise.
    seed : int
        Of the shifts and of the noise.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.BIAS`; `correct_bias` applies them.

    Raises
    ------
    ValueError
        If there is no phantom, nothing that it knows is measured, or `n_repeats` is less than 1.
    """
    if n_repeats < 1:
        raise ValueError(f"n_repeats must be at least 1, got {n_repeats}.")
    phantoms = [specimen] if isinstance(specimen, Specimen) else list(specimen)
    if not phantoms:
        raise ValueError("specimen must be at least one phantom, got none.")
    options = _geometry(like, pixel_size_nm)
    found: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    total = len(phantoms) * n_repeats
    for run in range(total):
        report("run the chain on phantoms", run, total)
        phantom = phantoms[run // n_repeats]
        recorded = acquire(phantom, microscope=microscope, seed=seed + run, **options)
        for name, known, measured, truth, unit in _compared(phantom, chain(recorded.series), quantities):
            found.setdefault((name, known), []).append((measured, truth, unit))
    report("run the chain on phantoms", total, total)
    rows = [_bias_row(name, known, values) for (name, known), values in found.items()]
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.BIAS)), tables.BIAS)


def correct_bias(summary: pd.DataFrame, bias: pd.DataFrame) -> pd.DataFrame:
    """Measured numbers with the bias of the chain taken out, and its scatter in their intervals.

    Parameters
    ----------
    summary : DataFrame
        `tomo3d.tables.SUMMARY`, measured by the chain.
    bias : DataFrame
        `tomo3d.tables.BIAS`, of the same chain on phantoms.

    Returns
    -------
    DataFrame
        The same rows. Where the bias of a quantity is known, value, low and high are divided by the ratio (the
        offset is subtracted where no ratio is known), and the interval is widened: it then is that of the true value
        of this specimen, if the phantoms are as it is. Other rows are unchanged.

    Raises
    ------
    ValueError
        If no quantity of the summary is in `bias`, a unit differs, or the chain failed on all phantoms but one.

    Notes
    -----
    The 95 % interval is that of one more phantom: with n of them and a scatter s, t s sqrt(1 + 1/n), t being
    Student's for n - 1 degrees of freedom, of the logarithm of the ratio; the arms of the measured interval
    are added in quadrature. The correction of a value that lies beyond those of the phantoms is an extrapolation:
    the text of the interval says so.
    """
    tables.check(summary, tables.SUMMARY)
    tables.check(bias, tables.BIAS)
    known = {str(row["quantity"]): row for row in bias.to_dict("records")}
    if not set(known) & set(summary.quantity):
        raise ValueError(
            f"summary must hold a quantity whose bias is known ({sorted(known)}), got {sorted(summary.quantity)}."
        )
    rows: list[Mapping[Any, Any]] = [
        _corrected(row, known[str(row["quantity"])]) if str(row["quantity"]) in known else row
        for row in summary.to_dict("records")
    ]
    return tables.summary(rows)


def _geometry(like: TiltSeries | None, pixel_size_nm: float | None) -> dict[str, Any]:
    if like is None:
        return {} if pixel_size_nm is None else {"pixel_size_nm": pixel_size_nm}
    angles = like.tilt_angles_deg if like.use is None else like.tilt_angles_deg[like.use]
    n_y, n_x = like.images.shape[1:]
    return {
        "tilt_angles_deg": angles,
        "pixel_size_nm": like.pixel_size_nm if pixel_size_nm is None else pixel_size_nm,
        "image_shape": (n_y, n_x),
    }


def _compared(
    phantom: Specimen, measured: pd.DataFrame, quantities: Mapping[str, str] | None
) -> list[tuple[str, str, float, float, str]]:
    """Measured and known name, measured and true value, and unit, of every quantity that can be compared."""
    if quantities is None:
        table = compare(phantom, measured)
        pairs = {name: name for name in table.quantity}
    else:
        pairs = dict(quantities)
    found = []
    for name, known in pairs.items():
        row = compare(phantom, measured, quantities={name: known}).iloc[0]
        found.append((name, known, float(row.measured), float(row.truth), str(row.unit)))
    return found


def _bias_row(name: str, known: str, values: list[tuple[float, float, str]]) -> dict[str, object]:
    measured, truth = (np.array([value[i] for value in values]) for i in (0, 1))
    is_known = np.isfinite(measured) & np.isfinite(truth)
    measured, truth, n = measured[is_known], truth[is_known], int(is_known.sum())
    row: dict[str, object] = {
        "quantity": name, "known": known, "unit": values[0][2], "n": n, "n_failed": len(values) - n,
        "truth": _mean(truth), "measured": _mean(measured),
        "truth_low": truth.min() if n else math.nan, "truth_high": truth.max() if n else math.nan,
    }  # fmt: skip
    row |= dict(
        zip(
            ("offset", "offset_low", "offset_high", "offset_scatter"),
            _interval(measured - truth),
            strict=True,
        )
    )
    ratio = np.full(4, math.nan)
    if n and (measured > 0).all() and (truth > 0).all():
        ratio = np.array(_interval(np.log(measured / truth)))
        ratio[:3] = np.exp(ratio[:3])
    return row | dict(zip(("ratio", "ratio_low", "ratio_high", "scatter"), ratio, strict=True))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _interval(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, its 95 % interval, and the standard deviation; nan where one value or none cannot tell."""
    n = len(values)
    if n < 2:
        return _mean(values), math.nan, math.nan, math.nan
    mean, scatter = float(values.mean()), float(values.std(ddof=1))
    half = float(stats.t.ppf(_CONFIDENCE, n - 1)) * scatter / math.sqrt(n)
    return mean, mean - half, mean + half, scatter


def _corrected(row: Mapping[Any, Any], bias: Mapping[Any, Any]) -> dict[str, Any]:
    name, n = str(row["quantity"]), int(bias["n"])
    unit = row["unit"] if isinstance(row["unit"], str) else ""
    bias_unit = bias["unit"] if isinstance(bias["unit"], str) else ""
    if unit != bias_unit:
        raise ValueError(f"{name!r} must have the unit of its bias, {bias_unit!r}, got {unit!r}.")
    if n < 2:
        raise ValueError(
            f"the bias of {name!r} must come from two phantoms at least, got {n}: one cannot tell how it scatters."
        )
    factor = float(stats.t.ppf(_CONFIDENCE, n - 1)) * math.sqrt(1 + 1 / n)
    value, low, high = (float(row[end]) for end in ("value", "low", "high"))
    ratio = float(bias["ratio"])
    if math.isfinite(ratio):
        value, low, high = value / ratio, low / ratio, high / ratio
        half = factor * float(bias["scatter"])
        below, above = value * -math.expm1(-half), value * math.expm1(half)
    else:
        offset = float(bias["offset"])
        value, low, high = value - offset, low - offset, high - offset
        below = above = factor * float(bias["offset_scatter"])
    words = f"95 %, corrected by {n} phantoms, with their scatter"
    if math.isfinite(low) and math.isfinite(high):
        below, above = math.hypot(below, value - low), math.hypot(above, high - value)
        words += f"; and {row['interval']}"
    first, last = float(bias["truth_low"]), float(bias["truth_high"])
    if not first <= value <= last:
        words += f"; extrapolated: the phantoms had {first:.3g} to {last:.3g}"
    return {
        **row,
        "value": value,
        "low": value - below,
        "high": value + above,
        "unit": unit,
        "interval": words,
    }
