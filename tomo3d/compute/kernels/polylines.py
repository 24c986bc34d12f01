"""Many lines of points at once, one after the other in an array (n, 3): line i is starts[i] up to starts[i + 1].

Kernels release the GIL.
"""

import math

import numba
import numpy as np

from tomo3d.compute.kernels.polyline import meeting_point_cpu, smoothed_cpu


@numba.njit(nogil=True, cache=True)
def _course(
    points: np.ndarray,
    is_clear: np.ndarray,
    from_last: bool,
    reach: float,
    middle: np.ndarray,
    spread: np.ndarray,
):
    """Mean (3,) and scatter (3, 3) of the clear points nearest to an end, within `reach` along them and at least three.

    Returns their number; 0, and nothing written, where there are no three.
    """
    n = len(points)
    rows = np.empty(n, dtype=np.int64)
    n_rows = 0
    way = 0.0
    for k in range(n):
        i = n - 1 - k if from_last else k
        if not is_clear[i]:
            continue
        if n_rows:
            square = 0.0
            for axis in range(3):
                square += (points[i, axis] - points[rows[n_rows - 1], axis]) ** 2
            way += math.sqrt(square)
        if n_rows >= 3 and way > reach:
            break
        rows[n_rows] = i
        n_rows += 1
    if n_rows < 3:
        return 0
    middle[:] = 0.0
    for k in range(n_rows):
        for axis in range(3):
            middle[axis] += points[rows[k], axis] / n_rows
    spread[:] = 0.0
    for k in range(n_rows):
        for a in range(3):
            for b in range(3):
                spread[a, b] += (points[rows[k], a] - middle[a]) * (points[rows[k], b] - middle[b])
    return n_rows


@numba.njit(nogil=True, cache=True)
def courses_cpu(
    points: np.ndarray,
    starts: np.ndarray,
    is_clear: np.ndarray,
    lines: np.ndarray,
    is_last: np.ndarray,
    reach: np.ndarray,
    middle: np.ndarray,
    spread: np.ndarray,
    is_known: np.ndarray,
) -> None:
    """Mean (3,) and scatter (3, 3) of the clear points nearest to each of the ends: `lines`, and whether its last.

    Within `reach` along the line, at least three; is_known <- whether there are three.
    """
    for k in range(len(lines)):
        part = slice(starts[lines[k]], starts[lines[k] + 1])
        n = _course(points[part], is_clear[part], is_last[k], reach[k], middle[k], spread[k])
        is_known[k] = n > 0


@numba.njit(nogil=True, cache=True)
def meeting_points_cpu(
    points: np.ndarray,
    directions: np.ndarray,
    firsts: np.ndarray,
    start: np.ndarray,
    hold: float,
    found: np.ndarray,
) -> None:
    """found[i] <- where the lines firsts[i] up to firsts[i + 1] meet, as `meeting_point_cpu`."""
    for i in range(len(start)):
        part = slice(firsts[i], firsts[i + 1])
        found[i] = meeting_point_cpu(points[part], directions[part], start[i], hold)


@numba.njit(nogil=True, cache=True)
def smooth_lines_cpu(
    points: np.ndarray,
    starts: np.ndarray,
    weights: np.ndarray,
    stiffness: np.ndarray,
    is_ring: np.ndarray,
    is_held: np.ndarray,
    ends: np.ndarray,
    pinned: float,
    low: np.ndarray,
    high: np.ndarray,
    smooth: np.ndarray,
) -> None:
    """smooth <- each line as `smoothed_cpu` makes it, between the corners `low` and `high` of the volume.

    Ends that are held, (lines, 2), are put at `ends` (lines, 2, 3) with the weight `pinned`. Rings, whose last point
    is the first, are smoothed all round. Lines of fewer than four points stay.
    """
    for i in range(len(starts) - 1):
        line = points[starts[i] : starts[i + 1]].copy()
        weight = weights[starts[i] : starts[i + 1]].copy()
        n = len(line)
        if is_ring[i]:
            if n > 2:
                body, around = line[:-1], weight[:-1]
                thrice = smoothed_cpu(
                    np.concatenate((body, body, body)), np.concatenate((around, around, around)), stiffness[i]
                )
                line[:-1] = thrice[n - 1 : 2 * n - 2]
                line[-1] = line[0]
            smooth[starts[i] : starts[i + 1]] = line
            continue
        for end, k in ((0, 0), (1, n - 1)):
            if is_held[i, end]:
                line[k] = ends[i, end]
                weight[k] = pinned
        if n >= 4:
            line = smoothed_cpu(line, weight, stiffness[i])
        for k in range(n):
            for axis in range(3):
                line[k, axis] = min(max(line[k, axis], low[axis]), high[axis])
        for end, k in ((0, 0), (1, n - 1)):
            if is_held[i, end]:
                line[k] = ends[i, end]
        smooth[starts[i] : starts[i + 1]] = line
