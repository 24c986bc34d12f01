"""Block bootstrap of any measurement: the specimen is cut into columns, each measured by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.measure.bootstrap import blocks_of, resample
from tomo3d.progress import report
from tomo3d.types import Labels


def over_blocks(
    measurement: Callable[[Labels], pd.DataFrame], labels: Labels, *, block_nm: float, seed: int = 0
) -> pd.DataFrame:
    """Any measurement of a specimen, with the interval that block bootstrap gives it.

    Parameters
    ----------
    measurement : callable
        Takes Labels and returns a summary (`tomo3d.tables.SUMMARY`).
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    block_nm : float
        Smallest width of a block along y and x; several times the largest feature, so that blocks are
        independent and few features are cut.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`: the values of the whole, their intervals from the blocks.

    Raises
    ------
    ValueError
        If `block_nm` is not a positive length.

    Notes
    -----
    The whole is measured once, and every block as a specimen of its own. Blocks are drawn with replacement 1000
    times; the quantiles of the mean of what was drawn, over the mean of all, scale the value of the whole (where
    that mean is not positive they are added to it), so that what cutting does to a measurement is not taken for
    scatter. A quantity whose blocks sum to about the whole (a volume) counts blocks alike; any other (a mean)
    counts them by their `n`. A block that has no value for a quantity, or on which the measurement raises ValueError
    since it holds nothing, counts as 0 of the first kind and is left out of the second. Below 10 blocks no interval
    is given: nan.
    """
    if not (math.isfinite(block_nm) and block_nm > 0):
        raise ValueError(f"block_nm must be a positive length, got {block_nm:g} nm.")
    shape = labels.data.shape
    _, size_y, size_x = labels.voxel_size_nm
    blocks = blocks_of(shape, (block_nm / size_y, block_nm / size_x))
    whole = measurement(labels).fillna({"unit": "", "interval": ""}).to_dict("records")
    per_block = []
    for block in range(blocks.n_blocks):
        report("measure the blocks", block, blocks.n_blocks)
        per_block.append(_of_block(measurement, labels, blocks.of_column == block))
    report("measure the blocks", blocks.n_blocks, blocks.n_blocks)
    rows: list[dict[str, Any]] = []
    for row in whole:
        values, counts = (
            np.array([rows_of.get(str(row["quantity"]), {}).get(key, math.nan) for rows_of in per_block])
            for key in ("value", "n")
        )
        value = float(row["value"])
        mean = _mean(value, values, counts)
        (low, high), interval = resample(mean, blocks, labels.voxel_size_nm, seed)
        ends = _about(value, float(mean(np.ones(blocks.n_blocks))[0]), float(low[0]), float(high[0]))
        rows.append(
            {**{str(k): v for k, v in row.items()}, "low": ends[0], "high": ends[1], "interval": interval}
        )
    return tables.summary(rows)


def _of_block(
    measurement: Callable[[Labels], pd.DataFrame], labels: Labels, is_inside: np.ndarray
) -> Mapping[str, Mapping[str, Any]]:
    """Rows of the measurement of one block, by quantity; none where it holds nothing to measure."""
    rows, columns = (np.flatnonzero(is_inside.any(axis=axis)) for axis in (1, 0))
    y, x = (slice(int(found[0]), int(found[-1]) + 1) for found in (rows, columns))
    origin_z, origin_y, origin_x = labels.origin_nm
    _, size_y, size_x = labels.voxel_size_nm
    origin = (origin_z, origin_y + y.start * size_y, origin_x + x.start * size_x)
    part = Labels(np.asarray(labels.data[:, y, x]), labels.voxel_size_nm, origin, labels.record, labels.names)
    try:
        table = measurement(part)
    except ValueError:
        return {}
    return {str(row["quantity"]): {str(k): v for k, v in row.items()} for row in table.to_dict("records")}


def _mean(whole: float, values: np.ndarray, counts: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mean over blocks that are drawn so many times each, (1,): of a sum, or of a mean."""
    is_known = np.isfinite(values)
    filled = np.where(is_known, values, 0.0)
    n = np.where(is_known & np.isfinite(counts), counts, 0.0)
    weighted = float(n @ filled / n.sum()) if n.sum() > 0 else math.inf
    if abs(filled.sum() - whole) <= abs(weighted - whole):
        return lambda weights: np.array([weights @ filled / weights.sum()])

    def mean(weights: np.ndarray) -> np.ndarray:
        total = float(weights @ n)
        return np.array([(weights * n) @ filled / total if total > 0 else math.nan])

    return mean


def _about(value: float, mean: float, low: float, high: float) -> tuple[float, float]:
    """Ends of the interval about the value of the whole, from those about the mean of the blocks."""
    if mean > 0 and value > 0:
        return value * low / mean, value * high / mean
    return value + low - mean, value + high - mean
