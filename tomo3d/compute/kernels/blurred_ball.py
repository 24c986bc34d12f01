"""Blurred balls fitted to grey values, one by one. Kernels release the GIL.

A ball of radius R, convolved with a Gaussian of standard deviation w, has the value f(s; R, w) at distance s from its
centre: with u = R - s, v = R + s, c = 1 / sqrt(2 pi), a = exp(-u^2 / 2 w^2), b = exp(-v^2 / 2 w^2),

    f = (erf(u / w sqrt 2) + erf(v / w sqrt 2)) / 2 - c w (a - b) / s,

and its derivatives follow from the shell df/dR and the heat equation df/dw = w (f'' + 2 f' / s).
"""

import math

import numba
import numpy as np

N_PARAMETERS = 11  # log R, log w, log e, z, y, x; height; background and its slopes along z, y, x
_N_TABLE = 120
_ROOM = 1.3
_C = 1.0 / math.sqrt(2.0 * math.pi)
_N_STEPS = 40
_ENOUGH = 1e-4  # change of the parameters, as shares of a size, that ends the work
_SIZES = 3
_CENTRE = 3  # first of the parameters of the place


@numba.njit(nogil=True, cache=True, error_model="numpy")
def profile(s: float, radius: float, width: float, out: np.ndarray) -> None:
    """Value of a blurred ball at a distance from its centre, and its derivatives by s, R and w, into `out` (4,)."""
    s = max(s, 0.02 * width)
    u, v = radius - s, radius + s
    a = math.exp(-0.5 * (u / width) ** 2)
    b = math.exp(-0.5 * (v / width) ** 2)
    root = width * math.sqrt(2.0)
    out[0] = 0.5 * (math.erf(u / root) + math.erf(v / root)) - _C * width * (a - b) / s
    out[1] = _C * width * (a - b) / s**2 - _C * radius * (a + b) / (width * s)
    out[2] = _C * radius * (a - b) / (s * width)
    out[3] = -_C * radius * (u * a - v * b) / (width**2 * s) - _C * (a - b) / s


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _tabulate(radius: float, width: float, reach: float, table: np.ndarray) -> None:
    for i in range(_N_TABLE):
        profile(reach * i / (_N_TABLE - 1), radius, width, table[i])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _reach(window: np.ndarray, elongation: float) -> float:
    """Largest scaled distance within the window, from a centre that may move."""
    return float(_ROOM * max(window[0] / elongation, max(window[1], window[2])))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def subtract_balls_cpu(
    balls: np.ndarray, others: np.ndarray, low: np.ndarray, voxel: np.ndarray, values: np.ndarray
) -> None:
    """Take the balls whose numbers are `others` off the grey values of a box that begins at voxel `low`."""
    out = np.empty(4)
    first, last = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for j in others:
        radius, width, e = math.exp(balls[j, 0]), math.exp(balls[j, 1]), math.exp(balls[j, 2])
        reach = radius + 4.0 * width
        for a in range(3):
            half = reach * e if a == 0 else reach
            first[a] = max(math.ceil((balls[j, 3 + a] - half) / voxel[a]) - low[a], 0)
            last[a] = min(math.floor((balls[j, 3 + a] + half) / voxel[a]) - low[a] + 1, values.shape[a])
        for z in range(first[0], last[0]):
            dz = ((low[0] + z) * voxel[0] - balls[j, 3]) / e
            for y in range(first[1], last[1]):
                dy = (low[1] + y) * voxel[1] - balls[j, 4]
                for x in range(first[2], last[2]):
                    dx = (low[2] + x) * voxel[2] - balls[j, 5]
                    squared = dz * dz + dy * dy + dx * dx
                    if squared < reach * reach:
                        profile(math.sqrt(squared), radius, width, out)
                        values[z, y, x] -= balls[j, 6] * out[0]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=True)
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _residual(
    p: np.ndarray, values: np.ndarray, places: np.ndarray, reach: float, table: np.ndarray, rows: np.ndarray
) -> float:
    """Sum of squared residuals at `places` (3, n); derivatives and residual into `rows` (12, n).

    The last four derivatives, by background and slopes, are constant and must be there already.
    """
    radius, width, e = math.exp(p[0]), math.exp(p[1]), math.exp(p[2])
    _tabulate(radius, width, reach, table)
    per_unit = (_N_TABLE - 1) / reach
    for n in range(len(values)):
        dz, dy, dx = (places[0, n] - p[3]) / e, places[1, n] - p[4], places[2, n] - p[5]
        s = math.sqrt(dz * dz + dy * dy + dx * dx)
        place = min(s * per_unit, _N_TABLE - 1.001)
        i = int(place)
        t = place - i
        f = table[i, 0] * (1.0 - t) + table[i + 1, 0] * t
        slope = p[6] * (table[i, 1] * (1.0 - t) + table[i + 1, 1] * t) / max(s, 1e-9)
        rows[0, n] = p[6] * radius * (table[i, 2] * (1.0 - t) + table[i + 1, 2] * t)
        rows[1, n] = p[6] * width * (table[i, 3] * (1.0 - t) + table[i + 1, 3] * t)
        rows[2, n] = -slope * dz * dz
        rows[3, n] = -slope * dz / e
        rows[4, n] = -slope * dy
        rows[5, n] = -slope * dx
        rows[6, n] = f
        rows[11, n] = (
            values[n] - p[6] * f - p[7] - p[8] * rows[8, n] - p[9] * rows[9, n] - p[10] * rows[10, n]
        )
    return _dot(rows[11], rows[11])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _normal_equations(rows: np.ndarray, normal: np.ndarray, right: np.ndarray) -> None:
    """Lower half of the products of the derivatives with each other, and with the residual."""
    for a in range(N_PARAMETERS):
        right[a] = _dot(rows[a], rows[11])
        for b in range(a + 1):
            normal[a, b] = _dot(rows[a], rows[b])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _solve(
    normal: np.ndarray, right: np.ndarray, is_free: np.ndarray, damping: float, step: np.ndarray
) -> bool:
    """Damped normal equations of the free parameters by Cholesky; False where they are singular."""
    n = 0
    index = np.empty(N_PARAMETERS, dtype=np.int64)
    for a in range(N_PARAMETERS):
        step[a] = 0.0
        if is_free[a] and normal[a, a] > 0.0:
            index[n] = a
            n += 1
    factor = np.zeros((n, n))
    y = np.empty(n)
    for i in range(n):
        a = index[i]
        for j in range(i + 1):
            b = index[j]
            value = normal[a, b] / math.sqrt(normal[a, a] * normal[b, b])
            if i == j:
                value += damping
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                if value <= 1e-14:
                    return False
                factor[i, i] = math.sqrt(value)
            else:
                factor[i, j] = value / factor[j, j]
        value = right[a] / math.sqrt(normal[a, a])
        for k in range(i):
            value -= factor[i, k] * y[k]
        y[i] = value / factor[i, i]
    for i in range(n - 1, -1, -1):
        value = y[i]
        for k in range(i + 1, n):
            value -= factor[k, i] * y[k]
        y[i] = value / factor[i, i]
        step[index[i]] = y[i] / math.sqrt(normal[index[i], index[i]])
    return True


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fit_cpu(
    values: np.ndarray, places: np.ndarray, window: np.ndarray, is_free: np.ndarray, p: np.ndarray
) -> tuple[float, bool]:
    """Improve the parameters `p` of one ball in place, by Levenberg and Marquardt; r.m.s. residual, and success.

    `values` (n,) are grey values at `places` (3, n); `window` the half widths (z, y, x) of the ellipsoid they fill.
    """
    n = len(values)
    if n < N_PARAMETERS + 4:
        return math.nan, False
    table = np.empty((_N_TABLE, 4))
    rows = np.empty((N_PARAMETERS + 1, n))
    rows[7] = 1.0
    for a in range(3):
        rows[8 + a] = places[a] - p[3 + a]
    trial_rows = rows.copy()
    normal, right = np.empty((N_PARAMETERS, N_PARAMETERS)), np.empty(N_PARAMETERS)
    step, start, trial = np.empty(N_PARAMETERS), p.copy(), p.copy()
    scale = math.exp(p[0])
    damping = 1e-3
    sum_now = _residual(p, values, places, _reach(window, math.exp(p[2])), table, rows)
    _normal_equations(rows, normal, right)
    is_done = False
    for _ in range(_N_STEPS):
        if not _solve(normal, right, is_free, damping, step):
            damping = max(10.0 * damping, 1e-6)
            if damping > 1e6:
                break
            continue
        largest = 0.0
        for a in range(_SIZES):
            step[a] = min(max(step[a], -0.4), 0.4)
            largest = max(largest, abs(step[a]))
        for a in range(_CENTRE, _CENTRE + 3):
            limit = 0.4 * scale
            step[a] = min(max(step[a], -limit), limit)
            largest = max(largest, abs(step[a]) / scale)
        for a in range(N_PARAMETERS):
            trial[a] = p[a] + step[a]
        reach = _reach(window, math.exp(trial[2]))
        sum_trial = _residual(trial, values, places, reach, table, trial_rows)
        if sum_trial <= sum_now:
            p[:] = trial
            rows, trial_rows = trial_rows, rows
            _normal_equations(rows, normal, right)
            sum_now = sum_trial
            damping = max(0.1 * damping, 1e-9)
        else:
            damping *= 8.0
            if damping > 1e8:
                break
        if largest < _ENOUGH:
            is_done = True
            break
    strayed = 0.0
    for a in range(3):
        strayed = max(strayed, abs(p[3 + a] - start[3 + a]) / max(window[a], 1e-9))
    is_good = is_done and strayed < 1.0 and abs(p[0] - start[0]) < 1.5 and abs(p[2]) < 1.5
    return math.sqrt(sum_now / n), is_good


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_own(labels: np.ndarray, own: int, z: int, y: int, x: int) -> bool:
    """Whether a voxel belongs to an object, or neither to another one nor beside one."""
    if labels[z, y, x] == own:
        return True
    n_z, n_y, n_x = labels.shape
    for i in range(max(z - 1, 0), min(z + 2, n_z)):
        for j in range(max(y - 1, 0), min(y + 2, n_y)):
            for k in range(max(x - 1, 0), min(x + 2, n_x)):
                if labels[i, j, k] != 0 and labels[i, j, k] != own:
                    return False
    return True


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cut_cpu(
    grey: np.ndarray,
    labels: np.ndarray,
    own: int,
    low: np.ndarray,
    voxel: np.ndarray,
    window: np.ndarray,
    centre: np.ndarray,
    values: np.ndarray,
    is_used: np.ndarray,
    levels: np.ndarray,
) -> None:
    """Fill a box with the grey values of an object, and flag those in its round window that others leave alone.

    `levels` gets the means in the object and beside it.
    """
    n_z, n_y, n_x = values.shape
    sums, counts = np.zeros(2), np.zeros(2)
    for z in range(n_z):
        dz = ((low[0] + z) * voxel[0] - centre[0]) / window[0]
        for y in range(n_y):
            dy = ((low[1] + y) * voxel[1] - centre[1]) / window[1]
            for x in range(n_x):
                dx = ((low[2] + x) * voxel[2] - centre[2]) / window[2]
                at_z, at_y, at_x = low[0] + z, low[1] + y, low[2] + x
                values[z, y, x] = grey[at_z, at_y, at_x]
                used = dz * dz + dy * dy + dx * dx <= 1.0 and _is_own(labels, own, at_z, at_y, at_x)
                is_used[z, y, x] = used
                if used:
                    beside = 0 if labels[at_z, at_y, at_x] == own else 1
                    sums[beside] += grey[at_z, at_y, at_x]
                    counts[beside] += 1.0
    levels[0] = sums[0] / max(counts[0], 1.0)
    levels[1] = sums[1] / max(counts[1], 1.0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fit_all_cpu(
    grey: np.ndarray,
    labels: np.ndarray,
    numbers: np.ndarray,
    centres: np.ndarray,
    windows: np.ndarray,
    voxel: np.ndarray,
    starts: np.ndarray,
    others: np.ndarray,
    known: np.ndarray,
    is_free: np.ndarray,
    which: np.ndarray,
    balls: np.ndarray,
    residual: np.ndarray,
    is_good: np.ndarray,
) -> None:
    """Fit the objects `which`: `balls` (n, 11) hold where to begin, and are improved in place.

    Objects `others[starts[i] : starts[i + 1]]` of `known` (n, 11) are near object i, and taken off first. Where the
    height of a ball is nan, it begins at the mean of the object less that beside it. Places are those of the grid:
    index times `voxel`.
    """
    low, high = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    levels = np.empty(2)
    for i in which:
        for a in range(3):
            low[a] = max(math.floor((centres[i, a] - windows[i, a]) / voxel[a]), 0)
            high[a] = min(math.ceil((centres[i, a] + windows[i, a]) / voxel[a]) + 1, grey.shape[a])
        values = np.empty((high[0] - low[0], high[1] - low[1], high[2] - low[2]))
        is_used = np.empty(values.shape, dtype=np.bool_)
        cut_cpu(grey, labels, numbers[i], low, voxel, windows[i], centres[i], values, is_used, levels)
        if math.isnan(balls[i, 6]):
            balls[i, 6] = levels[0] - levels[1]
            balls[i, 7] = levels[1]
        subtract_balls_cpu(known, others[starts[i] : starts[i + 1]], low, voxel, values)
        n_used = np.count_nonzero(is_used)
        chosen, places = np.empty(n_used), np.empty((3, n_used))
        n = 0
        for z in range(values.shape[0]):
            for y in range(values.shape[1]):
                for x in range(values.shape[2]):
                    if is_used[z, y, x]:
                        chosen[n] = values[z, y, x]
                        places[0, n] = (low[0] + z) * voxel[0]
                        places[1, n] = (low[1] + y) * voxel[1]
                        places[2, n] = (low[2] + x) * voxel[2]
                        n += 1
        residual[i], is_good[i] = fit_cpu(chosen, places, windows[i], is_free, balls[i])
