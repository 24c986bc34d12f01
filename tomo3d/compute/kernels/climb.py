"""The step that takes the centre of a ball farthest from what it touches. Kernels release the GIL."""

import math

import numba
import numpy as np

_N_STEPS = 10
# Sets of up to three of 1, 2, 3 or 4 that hold the last, the larger first; where those of each number begin.
_FACES = np.array(
    [[0, -1, -1], [0, 1, -1], [1, -1, -1], [0, 1, 2], [0, 2, -1], [1, 2, -1], [2, -1, -1],
     [0, 1, 3], [0, 2, 3], [1, 2, 3], [0, 3, -1], [1, 3, -1], [2, 3, -1], [3, -1, -1]]
)  # fmt: skip
_FIRST_FACE = np.array([0, 1, 3, 7, 14])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _face_point(units: np.ndarray, p: int, q: int, r: int, point: np.ndarray) -> bool:
    """Point nearest to 0 of the plane through the unit vectors p, q and r (-1: none); whether it lies between them."""
    if q < 0:
        point[0], point[1], point[2] = units[p, 0], units[p, 1], units[p, 2]
        return True
    if r < 0:
        for a in range(3):
            point[a] = 0.5 * (units[p, a] + units[q, a])
        return True
    az, ay, ax = units[q, 0] - units[p, 0], units[q, 1] - units[p, 1], units[q, 2] - units[p, 2]
    bz, by, bx = units[r, 0] - units[p, 0], units[r, 1] - units[p, 1], units[r, 2] - units[p, 2]
    aa, bb, ab = az * az + ay * ay + ax * ax, bz * bz + by * by + bx * bx, az * bz + ay * by + ax * bx
    # Of points on a circle, the centre lies between three of them if no angle is obtuse.
    if ab < 0 or aa < ab or bb < ab:
        return False
    nz, ny, nx = ay * bx - ax * by, ax * bz - az * bx, az * by - ay * bz
    square = nz * nz + ny * ny + nx * nx
    if square < 1e-12:
        return False
    along = (units[p, 0] * nz + units[p, 1] * ny + units[p, 2] * nx) / square
    point[0], point[1], point[2] = along * nz, along * ny, along * nx
    return True


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _steepest(units: np.ndarray, active: np.ndarray, n_active: int, direction: np.ndarray) -> int:
    """direction <- point nearest to 0 between up to four unit vectors; `active` <- those that span it; their number.

    The last of them is new, and is one of those. 0 if 0 lies between them.
    """
    if n_active <= 2:  # of two unit vectors it is the middle
        p, q = active[0], active[n_active - 1]
        for a in range(3):
            direction[a] = 0.5 * (units[p, a] + units[q, a])
        return n_active
    for row in range(_FIRST_FACE[n_active - 1], _FIRST_FACE[n_active]):
        p = active[_FACES[row, 0]]
        q = active[_FACES[row, 1]] if _FACES[row, 1] >= 0 else -1
        r = active[_FACES[row, 2]] if _FACES[row, 2] >= 0 else -1
        if not _face_point(units, p, q, r, direction):
            continue
        square = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
        is_nearest = True
        for k in range(n_active):
            i = active[k]
            growth = units[i, 0] * direction[0] + units[i, 1] * direction[1] + units[i, 2] * direction[2]
            is_nearest = is_nearest and growth >= square - 1e-6
        if is_nearest:
            active[0], active[1], active[2] = p, q, r
            return 3 if r >= 0 else (2 if q >= 0 else 1)
    return 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def climb(
    distances: np.ndarray,
    units: np.ndarray,
    n_feet: int,
    reach: float,
    shift: np.ndarray,
    direction: np.ndarray,
    here: np.ndarray,
    growth: np.ndarray,
    active: np.ndarray,
) -> None:
    """shift <- step of at most about `reach` that makes the least of distances[i] + units[i] . shift largest.

    Steepest ascent: along the point nearest to 0 between the directions of the feet that are nearest now. `direction`,
    `here`, `growth` and `active` are buffers.
    """
    nearest = 0
    for k in range(n_feet):
        here[k] = distances[k]
        if here[k] < here[nearest]:
            nearest = k
    active[0] = nearest
    shift[0] = shift[1] = shift[2] = 0.0
    n_active = 1
    room = reach
    for _ in range(_N_STEPS):
        n_active = _steepest(units, active, n_active, direction)
        d_z, d_y, d_x = direction[0], direction[1], direction[2]
        square = d_z**2 + d_y**2 + d_x**2
        if n_active == 0 or not square >= 1e-4 or room < 1e-6:  # nan too, of a foot without a normal
            return
        least = here[active[0]]
        step, blocking = room / math.sqrt(square), -1
        for m in range(n_feet):
            i = np.uint64(m)  # unsigned: no test for indices from the end
            growth[i] = units[i, 0] * d_z + units[i, 1] * d_y + units[i, 2] * d_x
            slower = square - growth[i]
            if slower > 1e-6 and here[i] - least < step * slower:
                is_active = False
                for k in range(n_active):
                    is_active = is_active or active[k] == m
                if not is_active:
                    step, blocking = max(0.0, (here[i] - least) / slower), m
        shift[0] += step * d_z
        shift[1] += step * d_y
        shift[2] += step * d_x
        if blocking < 0:
            return
        for m in range(n_feet):
            here[np.uint64(m)] += step * growth[np.uint64(m)]
        room -= step * math.sqrt(square)
        active[n_active] = blocking
        n_active += 1
