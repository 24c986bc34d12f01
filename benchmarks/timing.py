"""Wall-clock times of repeated calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

N_RUNS = 5
_N_PAIRS = 15  # what else a machine does falls on one of a pair only: more pairs than runs are needed
_LONG_S = 5.0  # a run above this is not repeated as often


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median_seconds(function: Callable[[], object]) -> tuple[float, int]:
    """Median wall time after one warm-up, and how many runs it is the median of: five, or one above 5 s."""
    function()
    times = [seconds(function)]
    if times[0] <= _LONG_S:
        times += [seconds(function) for _ in range(N_RUNS - 1)]
    return statistics.median(times), len(times)


def median_ratio(numerator: Callable[[], object], denominator: Callable[[], object]) -> float:
    """Median of the ratio of their wall times, called in turn, so that a busy machine slows both."""
    numerator()
    denominator()
    return statistics.median(seconds(numerator) / seconds(denominator) for _ in range(_N_PAIRS))
