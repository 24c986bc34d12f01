"""How far counts lie from their own mean, by the divergence that their likelihood is made of."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy.special

from tomo3d.compute import backend

Array = Any
_LEAST, _MOST, _N_MEANS = 1e-4, 1e2, 400  # of the table; beyond it the series hold within 1e-4
_MOST_COUNTED = 250  # fifteen standard deviations above the largest mean


def expected_divergence(mean: Array) -> Array:
    """E[m - c + c log(c / m)] of a Poisson count c of mean m, per element; float32, within 1e-3.

    It is 1/2 for large m, as half the square of one standard deviation is, 0.58 at most, and falls to 0 with m:
    counts of few can lie no further off.
    """
    xp = backend.namespace(mean)
    means, values = _table()
    mean = xp.maximum(mean, np.float32(1e-30))
    logarithm = xp.log(mean)
    within = xp.interp(logarithm, xp.asarray(np.log(means)), xp.asarray(values))
    few, many = -mean * logarithm, 0.5 + (1.0 + 1.0 / xp.maximum(mean, 1)) / (12.0 * xp.maximum(mean, 1))
    return xp.where(mean < _LEAST, few, xp.where(mean > _MOST, many, within)).astype(np.float32)


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Means, and the expectation there, summed over all counts: E[c log c] - m log m."""
    means = np.geomspace(_LEAST, _MOST, _N_MEANS)
    counts = np.arange(1, _MOST_COUNTED + 1)
    logarithms = counts * np.log(means)[:, None] - means[:, None] - scipy.special.gammaln(counts + 1)
    values = (np.exp(logarithms) * (counts * np.log(counts))).sum(axis=1) - means * np.log(means)
    return means, values
