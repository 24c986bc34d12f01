"""Mean of a log-normal quantity of which small values are only known to be small."""

from __future__ import annotations

import math

from scipy import special

_MAX_ITERATIONS = 500
_ENOUGH = 1e-7


def log_normal_mean(n_below: float, cutoff: float, n: float, sum_log: float, sum_log2: float) -> float:
    """Mean of the log-normal distribution that is likeliest, given n values at or above a cut-off and n_below under it.

    `sum_log` and `sum_log2` are the sums of the logarithms of the n values and of their squares. Expectation
    maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1-38,
    doi:10.1111/j.2517-6161.1977.tb01600.x). nan without two values.
    """
    if n < 2:
        return math.nan
    mean, variance = sum_log / n, max(sum_log2 / n - (sum_log / n) ** 2, 0.0)
    if n_below <= 0 or variance == 0.0:
        return math.exp(mean + 0.5 * variance) if n_below <= 0 else math.nan
    limit, total = math.log(cutoff), n + n_below
    for _ in range(_MAX_ITERATIONS):
        sigma = math.sqrt(variance)
        z = (limit - mean) / sigma
        # Density over probability below z: the expected value of what lies there is mean - sigma hazard.
        hazard = math.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - float(special.log_ndtr(z)))
        below = mean - sigma * hazard
        below2 = variance * (1.0 - z * hazard - hazard * hazard) + below * below
        new = (sum_log + n_below * below) / total
        variance = max((sum_log2 + n_below * below2) / total - new * new, 1e-12)
        change, mean = abs(new - mean) + abs(math.sqrt(variance) - sigma), new
        if change < _ENOUGH:
            break
    return math.exp(mean + 0.5 * variance)
