"""Probability that rises with a size: a logistic curve through shares of successes."""

from __future__ import annotations

import math

import numpy as np

_N_STEPS = 50
_LONGEST = 3.0


def fit_logistic(x: np.ndarray, n: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Intercept and slope, (draws, 2), of log odds that are linear in `x` (m,), from `found` (draws, m) of `n` (m,).

    Firth's likelihood (Biometrika 80 (1993) 27-38, doi:10.1093/biomet/80.1.27), which has its maximum at a finite slope
    where all below a size are missed and all above it found.
    """
    middle, scale = float(x.mean()), float(np.ptp(x)) or 1.0
    u = (x - middle) / scale
    base = np.stack((np.ones_like(u), u), axis=1)
    found = np.atleast_2d(found).astype(np.float64)
    beta = np.zeros((len(found), 2))
    beta[:, 1] = 1.0
    for _ in range(_N_STEPS):
        p = 1.0 / (1.0 + np.exp(-beta @ base.T))
        weight = n * p * (1.0 - p)
        information = np.einsum("dm,ma,mb->dab", weight, base, base) + 1e-10 * np.eye(2)
        inverse = np.linalg.inv(information)
        leverage = weight * np.einsum("ma,dab,mb->dm", base, inverse, base)
        score = (found - n * p + leverage * (0.5 - p)) @ base
        step = np.einsum("dab,db->da", inverse, score)
        step *= np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=1), 1e-12))[:, None]
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    slope = beta[:, 1] / scale
    return np.stack((beta[:, 0] - slope * middle, slope), axis=1)


def size_of(beta: np.ndarray, probability: float) -> np.ndarray:
    """`x` at which the curve has a probability, (draws,); nan where it does not rise."""
    odds = math.log(probability / (1.0 - probability))
    slope = np.where(beta[:, 1] > 0, beta[:, 1], math.nan)
    return np.asarray((odds - beta[:, 0]) / slope)
