"""Global envelopes of curves: whether one curve, as a whole, is among others of one kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True, eq=False)
class Envelope:
    """The band that holds a share of all curves, each as a whole, and how extreme the first curve is.

    Parameters
    ----------
    low, high : ndarray, shape (m,)
    p_value : float
        Share of the curves that are at least as extreme as the first.
    """

    low: np.ndarray
    high: np.ndarray
    p_value: float


def global_envelope(curves: np.ndarray, *, share: float = 0.95) -> Envelope:
    """Envelope by extreme rank lengths of curves (n, m), the first being the one in question.

    Each curve has a rank from either side at each place, the lesser of which counts, ties by their mean; curves are
    ordered by their least rank, then by how often it is met, then by the next, and so on (Myllymaki et al., J. R. Stat.
    Soc. B 79 (2017) 381-404, doi:10.1111/rssb.12172). The band holds the first curve wholly if and only if its p value
    is above 1 - `share`, but for ties.
    """
    n = len(curves)
    ranks = rankdata(curves, axis=0)
    ranks = np.sort(np.minimum(ranks, n + 1 - ranks), axis=1)
    order = np.lexsort(ranks.T[::-1])  # the most extreme first
    is_new = np.ones(n, dtype=bool)
    is_new[1:] = (ranks[order[1:]] != ranks[order[:-1]]).any(axis=1)
    group = np.cumsum(is_new) - 1
    # of how many curves each is at most as extreme as itself: those before it, and its equals
    up_to = np.searchsorted(group, group, side="right")
    extremity = np.empty(n)
    extremity[order] = up_to / n
    inner = curves[extremity > 1.0 - share]
    return Envelope(inner.min(axis=0), inner.max(axis=0), float(extremity[0]))
