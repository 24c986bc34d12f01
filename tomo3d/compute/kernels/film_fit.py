"""Least squares of a blurred film, or of a bare edge, to profiles of the grey value. Kernels release the GIL."""

import math

import numba
import numpy as np

from tomo3d.compute.kernels.least_squares import solve_damped

_MAX_STEPS = 40
_ENOUGH = 1e-6  # relative fall of the sum of squares
_ROOT2 = math.sqrt(2.0)
_ROOT2PI = math.sqrt(2.0 * math.pi)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _step(u: float) -> float:
    return 0.5 * math.erfc(-u / _ROOT2)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _bell(u: float) -> float:
    return math.exp(-0.5 * u * u) / _ROOT2PI if abs(u) < 38.0 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _film_model(s: float, x: np.ndarray, level: float, sigma: float, slopes: np.ndarray) -> float:
    """Inner grey, outer grey, start and thickness (x) to the value at s, and its slopes by each."""
    u, v = (x[2] - s) / sigma, (x[2] + x[3] - s) / sigma
    inner, film = _step(u), _step(v)
    slopes[0], slopes[1] = inner, 1.0 - film
    bell = (level - x[1]) * _bell(v) / sigma
    slopes[2] = (x[0] - level) * _bell(u) / sigma + bell
    slopes[3] = bell
    return x[0] * inner + level * (film - inner) + x[1] * (1.0 - film)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _edge_model(s: float, x: np.ndarray, slopes: np.ndarray) -> float:
    """Inner grey, outer grey, place and width (x) of a bare edge to the value at s, and its slopes by each."""
    u = (x[2] - s) / x[3]
    inner = _step(u)
    slopes[0], slopes[1] = inner, 1.0 - inner
    slopes[2] = (x[0] - x[1]) * _bell(u) / x[3]
    slopes[3] = -u * slopes[2]
    return x[1] + (x[0] - x[1]) * inner


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _model(is_film: bool, s: float, x: np.ndarray, level: float, sigma: float, slopes: np.ndarray) -> float:
    if is_film:
        return _film_model(s, x, level, sigma, slopes)
    return _edge_model(s, x, slopes)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _descend(
    is_film: bool,
    steps: np.ndarray,
    values: np.ndarray,
    use: np.ndarray,
    level: float,
    sigma: float,
    limits: np.ndarray,
    n_free: int,
    x: np.ndarray,
    work: np.ndarray,
) -> float:
    """Levenberg and Marquardt on the first `n_free` parameters, within limits (4, 2); the mean square left."""
    system, root, right, slopes, trial = work[:4], work[4:8], work[8], work[9], work[10]
    damping = 1e-3
    n = 0
    for k in range(len(steps)):
        if use[k]:
            n += 1
    best = 0.0
    for k in range(len(steps)):
        if use[k]:
            best += (_model(is_film, steps[k], x, level, sigma, slopes) - values[k]) ** 2
    for _ in range(_MAX_STEPS):
        system[:], right[:] = 0.0, 0.0
        for k in range(len(steps)):
            if use[k]:
                left = values[k] - _model(is_film, steps[k], x, level, sigma, slopes)
                for p in range(n_free):
                    right[p] += slopes[p] * left
                    for q in range(p, n_free):
                        system[p, q] += slopes[p] * slopes[q]
        fell = 0.0
        for _ in range(12):
            if not solve_damped(system, right, damping, n_free, root, trial):
                damping *= 10.0
                continue
            for p in range(4):
                trial[p] = x[p] + trial[p] if p < n_free else x[p]
            for p in range(2, 4):
                trial[p] = min(max(trial[p], limits[p, 0]), limits[p, 1])
            total = 0.0
            for k in range(len(steps)):
                if use[k]:
                    total += (_model(is_film, steps[k], trial, level, sigma, slopes) - values[k]) ** 2
            if total < best:
                fell = best - total
                best = total
                x[:] = trial
                damping = max(0.2 * damping, 1e-9)
                break
            damping *= 5.0
        if fell <= _ENOUGH * best:
            break
    return best / n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ends(steps: np.ndarray, values: np.ndarray, use: np.ndarray, x: np.ndarray) -> int:
    """Mean of the innermost and of the outermost quarter of a profile, into x[0] and x[1]; samples used."""
    n = 0
    for k in range(len(steps)):
        n += use[k]
    quarter = max(1, n // 4)
    inner, outer, m = 0.0, 0.0, 0
    for k in range(len(steps)):
        if use[k]:
            if m < quarter:
                inner += values[k]
            if m >= n - quarter:
                outer += values[k]
            m += 1
    x[0], x[1] = inner / quarter, outer / quarter
    return n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fit_films_cpu(
    steps: np.ndarray,
    profiles: np.ndarray,
    use: np.ndarray,
    level: float,
    sigmas: np.ndarray,
    max_thickness: float,
    first: int,
    last: int,
    out: np.ndarray,
) -> None:
    """out[i] <- inner grey, outer grey, start, thickness, mean square left of a film; and of an edge of the same blur.

    `use` (n, n_steps) flags samples; sigma (n,) of the Gaussian; `level` the grey value of the film. nan where fewer
    than eight samples are used. out is (n, 8): the last three are the place of the bare edge, its mean square, n used.
    """
    x, edge, start, work = np.empty(4), np.empty(4), np.empty(4), np.empty((11, 4))
    limits = np.empty((4, 2))
    for i in range(first, last):
        values, sigma = profiles[i], sigmas[i]
        n = _ends(steps, values, use[i], edge)
        out[i, :], out[i, 7] = np.nan, n
        if n < 8:
            continue
        limits[2, 0], limits[2, 1] = steps[0], steps[-1]
        limits[3, 0], limits[3, 1] = sigma, sigma
        edge[2], edge[3] = 0.0, sigma
        bare = _descend(False, steps, values, use[i], level, sigma, limits, 3, edge, work)
        limits[3, 0], limits[3, 1] = 0.0, max_thickness
        best = np.inf
        for thickness in (sigma, 4.0 * sigma):
            if thickness > max_thickness and thickness > sigma:
                continue
            thickness = min(thickness, max_thickness)
            start[0], start[1], start[3] = edge[0], edge[1], thickness
            contrast = edge[0] - edge[1]
            share = (level - edge[1]) / contrast if abs(contrast) > 1e-12 else 0.5
            start[2] = edge[2] - min(max(share, 0.0), 1.0) * thickness
            left = _descend(True, steps, values, use[i], level, sigma, limits, 4, start, work)
            if left < best:
                best = left
                x[:] = start
        if bare <= best:  # a film of no thickness
            best = bare
            x[:] = edge
            x[3] = 0.0
        out[i, :4], out[i, 4], out[i, 5], out[i, 6] = x, best, edge[2], bare


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fit_edges_cpu(
    steps: np.ndarray,
    profiles: np.ndarray,
    use: np.ndarray,
    max_sigma: float,
    first: int,
    last: int,
    out: np.ndarray,
) -> None:
    """out[i] <- inner grey, outer grey, place, sigma and mean square left of a bare edge; nan as in `fit_films_cpu`."""
    x, start, work = np.empty(4), np.empty(4), np.empty((11, 4))
    limits = np.empty((4, 2))
    limits[2, 0], limits[2, 1] = steps[0], steps[-1]
    limits[3, 0], limits[3, 1] = 0.25 * (steps[1] - steps[0]), max_sigma
    for i in range(first, last):
        out[i, :] = np.nan
        if _ends(steps, profiles[i], use[i], start) < 8:
            continue
        best = np.inf
        inner, outer = start[0], start[1]
        for sigma in (0.15 * max_sigma, 0.5 * max_sigma):
            start[0], start[1], start[2], start[3] = inner, outer, 0.0, sigma
            left = _descend(False, steps, profiles[i], use[i], 0.0, 1.0, limits, 4, start, work)
            if left < best:
                best = left
                x[:] = start
        out[i, :4], out[i, 4] = x, best
