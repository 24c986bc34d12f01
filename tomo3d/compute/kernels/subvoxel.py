"""Largest balls under an implicit surface: centre and radius to a fraction of a voxel.

The surface is where `height`, given at voxels and trilinear between them, is zero; it is positive inside.
Positions are in units of length: index times `voxel`; arrays begin at slice `first`. Kernels release the GIL.
"""

import math

import numba
import numpy as np

_MAX_FEET = 53  # of the voxel and its 26 neighbours, and 26 found by probing
_MIN_SLOPE = 1e-12
_N_FIRST = 2  # steps from a voxel of the background to the nearest point of the surface
_N_MOVES = 4
_SETTLED = 0.02  # voxels: a centre that moves less has arrived
_STEEP = 0.75  # growth of the distance per length, beyond which a ball stays at its voxel
_N_STEPS = 10
# Sets of up to three of 1, 2, 3 or 4 that hold the last, the larger first; where those of each number begin.
_FACES = np.array(
    [[0, -1, -1], [0, 1, -1], [1, -1, -1], [0, 1, 2], [0, 2, -1], [1, 2, -1], [2, -1, -1],
     [0, 1, 3], [0, 2, 3], [1, 2, 3], [0, 3, -1], [1, 3, -1], [2, 3, -1], [3, -1, -1]]
)  # fmt: skip
_FIRST_FACE = np.array([0, 1, 3, 7, 14])
_REACH = 1.0  # voxels along each axis that a centre may move


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _height_and_slope(
    height: np.ndarray, first: int, voxel: np.ndarray, point: np.ndarray, slope: np.ndarray
) -> float:
    """Trilinear value at a point, constant beyond the border, and its slope (z, y, x) per length."""
    n_z, n_y, n_x = height.shape
    z = min(max(point[0] / voxel[0], float(first)), first + n_z - 1.0)
    y = min(max(point[1] / voxel[1], 0.0), n_y - 1.0)
    x = min(max(point[2] / voxel[2], 0.0), n_x - 1.0)
    k, j, i = min(int(z), first + max(n_z - 2, 0)), min(int(y), max(n_y - 2, 0)), min(int(x), max(n_x - 2, 0))
    z, y, x = z - k, y - j, x - i
    k -= first
    k1, j1, i1 = min(k + 1, n_z - 1), min(j + 1, n_y - 1), min(i + 1, n_x - 1)
    h000, h001 = height[k, j, i], height[k, j, i1]
    h010, h011 = height[k, j1, i], height[k, j1, i1]
    h100, h101 = height[k1, j, i], height[k1, j, i1]
    h110, h111 = height[k1, j1, i], height[k1, j1, i1]
    h00, h01 = h000 + x * (h001 - h000), h010 + x * (h011 - h010)
    h10, h11 = h100 + x * (h101 - h100), h110 + x * (h111 - h110)
    h0, h1 = h00 + y * (h01 - h00), h10 + y * (h11 - h10)
    slope[0] = (h1 - h0) / voxel[0]
    slope[1] = ((h01 - h00) + z * ((h11 - h10) - (h01 - h00))) / voxel[1]
    d0 = (h001 - h000) + y * ((h011 - h010) - (h001 - h000))
    d1 = (h101 - h100) + y * ((h111 - h110) - (h101 - h100))
    slope[2] = (d0 + z * (d1 - d0)) / voxel[2]
    return float(h0 + z * (h1 - h0))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _settle(
    height: np.ndarray,
    first: int,
    voxel: np.ndarray,
    centre: np.ndarray,
    foot: np.ndarray,
    n_steps: int,
    slope: np.ndarray,
) -> bool:
    """Move `foot` to the point of the surface nearest to `centre`; False where there is no surface nearby."""
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    longest = max(voxel[0], max(voxel[1], voxel[2]))
    start_z, start_y, start_x = foot[0], foot[1], foot[2]
    for step in range(n_steps + 1):
        value = _height_and_slope(height, first, voxel, foot, slope)
        square = slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2
        if square < _MIN_SLOPE / (edge * edge):
            return False
        fall = value / square
        norm = math.sqrt(square)
        limit = edge / norm
        fall = min(max(fall, -limit), limit)
        for a in range(3):
            foot[a] -= fall * slope[a]
        if step == n_steps:
            break
        along = 0.0
        for a in range(3):
            along += (centre[a] - foot[a]) * slope[a]
        along /= square
        size = 0.0
        for a in range(3):
            size += (centre[a] - foot[a] - along * slope[a]) ** 2
        # A surface that curves towards the centre would be overshot by the full step only if it curved more than
        # the ball itself.
        scale = min(1.0, edge / math.sqrt(size)) if size > 0 else 0.0
        for a in range(3):
            foot[a] += scale * (centre[a] - foot[a] - along * slope[a])
    moved = (foot[0] - start_z) ** 2 + (foot[1] - start_y) ** 2 + (foot[2] - start_x) ** 2
    return moved < (2.5 * longest) ** 2 and abs(value) < 0.5 * norm * edge


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
            is_nearest = is_nearest and growth >= square - 1e-9
        if is_nearest:
            active[0], active[1], active[2] = p, q, r
            return 3 if r >= 0 else (2 if q >= 0 else 1)
    return 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _climb(
    distances: np.ndarray,
    units: np.ndarray,
    n_feet: int,
    reach: float,
    shift: np.ndarray,
    direction: np.ndarray,
    here: np.ndarray,
    active: np.ndarray,
) -> None:
    """shift <- step of at most about `reach` that makes the least of distances[i] + units[i] . shift largest.

    Steepest ascent: along the point nearest to 0 between the directions of the feet that are nearest now.
    """
    active[0] = 0
    for i in range(n_feet):
        here[i] = distances[i]
        if here[i] < here[active[0]]:
            active[0] = i
    shift[0] = shift[1] = shift[2] = 0.0
    n_active = 1
    room = reach
    for _ in range(_N_STEPS):
        n_active = _steepest(units, active, n_active, direction)
        square = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
        if n_active == 0 or square < 1e-4 or room < 1e-6:
            return
        least = here[active[0]]
        step, blocking = room / math.sqrt(square), -1
        for i in range(n_feet):
            growth = units[i, 0] * direction[0] + units[i, 1] * direction[1] + units[i, 2] * direction[2]
            if growth < square - 1e-7 and here[i] - least < step * (square - growth):
                is_active = False
                for k in range(n_active):
                    is_active = is_active or active[k] == i
                if not is_active:
                    step, blocking = max(0.0, (here[i] - least) / (square - growth)), i
        for a in range(3):
            shift[a] += step * direction[a]
        if blocking < 0:
            return
        for i in range(n_feet):
            here[i] += step * (
                units[i, 0] * direction[0] + units[i, 1] * direction[1] + units[i, 2] * direction[2]
            )
        room -= step * math.sqrt(square)
        active[n_active] = blocking
        n_active += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_upright(unit: np.ndarray, slope: np.ndarray) -> bool:
    """Whether the way from a foot to the centre is along the slope there, within 18 deg."""
    along = unit[0] * slope[0] + unit[1] * slope[1] + unit[2] * slope[2]
    return along > 0 and along * along > 0.9 * (slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _over_ripple(
    distances: np.ndarray,
    units: np.ndarray,
    standing: np.ndarray,
    n_feet: int,
    ripple: float,
    spread: np.ndarray,
) -> float:
    """How much farther than the nearest foot the surface is on average, if it is as rough as `ripple`.

    A ball that is held from all sides, or a cylinder, rests on the dents of a rough surface. Between two
    planes, or held from one side, the mean would say nothing: there the result tends to 0.
    """
    least = distances[:n_feet].min()
    total, n = 0.0, 0
    spread[:] = 0.0
    for i in range(n_feet):
        if standing[i] and distances[i] <= least + ripple:
            total += distances[i] - least
            n += 1
            for a in range(3):
                spread[3, a] += units[i, a]
                for b in range(3):
                    spread[a, b] += units[i, a] * units[i, b]
    if n < 3:
        return 0.0
    moment, mean = 0.0, 0.0
    for a in range(3):
        mean += spread[3, a] ** 2
        for b in range(3):
            moment += spread[a, b] ** 2
    # 1 for two opposite directions, 0.71 for a circle of them, 0.58 for a sphere.
    concentration, lean = math.sqrt(moment) / n, math.sqrt(mean) / n
    return total / n * min(1.0, (1.0 - concentration) / 0.29) * max(0.0, 1.0 - 2.0 * lean)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _probe(
    height: np.ndarray,
    squared: np.ndarray,
    first: int,
    voxel: np.ndarray,
    centre: np.ndarray,
    radius: float,
    near: int,
    feet: np.ndarray,
    units: np.ndarray,
    distances: np.ndarray,
    standing: np.ndarray,
    n_feet: int,
    slope: np.ndarray,
) -> int:
    """Add feet where the ball, looked at in 26 directions, comes out of the surface or near to it; their number.

    `near` is the squared distance to the background from which on there is no surface nearby.
    """
    n_z, n_y, n_x = squared.shape
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                size = dz * dz + dy * dy + dx * dx
                if size == 0:
                    continue
                norm = radius / math.sqrt(size)
                foot = feet[n_feet]
                foot[0], foot[1], foot[2] = (
                    centre[0] + norm * dz,
                    centre[1] + norm * dy,
                    centre[2] + norm * dx,
                )
                z, y, x = (
                    int(foot[0] / voxel[0] + 0.5) - first,
                    int(foot[1] / voxel[1] + 0.5),
                    int(foot[2] / voxel[2] + 0.5),
                )
                if 0 <= z < n_z and 0 <= y < n_y and 0 <= x < n_x and squared[z, y, x] >= near:
                    continue
                if not _settle(height, first, voxel, centre, foot, 1, slope):
                    continue
                _measure(centre, foot, n_feet, units, distances)
                standing[n_feet] = _is_upright(units[n_feet], slope)
                n_feet += 1
                if n_feet == _MAX_FEET:
                    return n_feet
    return n_feet


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _measure(centre: np.ndarray, foot: np.ndarray, i: int, units: np.ndarray, distances: np.ndarray) -> None:
    """distances[i] and units[i] <- length and direction of the way from a foot to the centre."""
    dz, dy, dx = centre[0] - foot[0], centre[1] - foot[1], centre[2] - foot[2]
    distances[i] = math.sqrt(dz * dz + dy * dy + dx * dx)
    scale = 1.0 / max(distances[i], 1e-30)
    units[i, 0], units[i, 1], units[i, 2] = scale * dz, scale * dy, scale * dx


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _find_places(
    squared: np.ndarray,
    nearest: np.ndarray,
    unit: float,
    voxel: np.ndarray,
    place: np.ndarray,
    found: np.ndarray,
) -> int:
    """found <- (z, y, x) of the voxels of the background nearest to a voxel and to its neighbours; their number.

    Those beside one that is found already are left out: the surface between them is the same. Only the first
    is looked for where the distance grows nearly as fast as it can to some side: there the ball of a neighbour all but
    contains that of the voxel.
    """
    n_z, n_y, n_x = squared.shape
    z, y, x = place
    here = math.sqrt(squared[z, y, x]) * unit
    n_found = 0
    for step in range(27):
        # The voxel itself comes first.
        dz, dy, dx = (step + 13) % 27 // 9 - 1, (step + 13) % 9 // 3 - 1, (step + 13) % 3 - 1
        k, j, i = z + dz, y + dy, x + dx
        if not (0 <= k < n_z and 0 <= j < n_y and 0 <= i < n_x):
            continue
        index = np.int64(nearest[k, j, i])
        if index < 0:
            continue
        away2 = (dz * voxel[0]) ** 2 + (dy * voxel[1]) ** 2 + (dx * voxel[2]) ** 2
        if math.sqrt(squared[k, j, i]) * unit > here + _STEEP * math.sqrt(away2) and step > 0:
            return 1
        fz, fy, fx = index // (n_y * n_x), index // n_x % n_y, index % n_x
        is_new = True
        for m in range(n_found):
            gap = max(abs(found[m, 0] - fz), max(abs(found[m, 1] - fy), abs(found[m, 2] - fx)))
            is_new = is_new and gap > 1
        if is_new:
            found[n_found, 0], found[n_found, 1], found[n_found, 2] = fz, fy, fx
            n_found += 1
    return n_found


@numba.njit(nogil=True, cache=True, error_model="numpy")
def refine_balls_cpu(
    height: np.ndarray,
    squared: np.ndarray,
    nearest: np.ndarray,
    first: int,
    unit: float,
    voxel: np.ndarray,
    z: int,
    starts: np.ndarray,
    ball_x: np.ndarray,
    largest_radius: float,
    ripple: float,
    balls: np.ndarray,
) -> None:
    """balls[i] <- (z, y, x, radius), lengths, of the largest ball near each voxel listed in slice z.

    The feet of a ball are the points of the surface nearest to its centre, found from the nearest
    background voxels of the voxel and its neighbours. The centre climbs to where up to four of them are equally far.
    """
    n_y = nearest.shape[1]
    found = np.empty((27, 3), np.int64)
    place = np.empty(3, np.int64)
    feet, units = np.empty((_MAX_FEET, 3)), np.empty((_MAX_FEET, 3))
    distances, standing = np.empty(_MAX_FEET), np.empty(_MAX_FEET, np.bool_)
    centre, origin, shift, slope, direction = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    here, active, spread = np.empty(_MAX_FEET), np.empty(4, np.int64), np.empty((4, 3))
    trial, low, high = np.empty(3), np.empty(3), np.empty(3)
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    near = int((2.0 * max(voxel[0], max(voxel[1], voxel[2])) / unit) ** 2)
    for y in range(n_y):
        for ball in range(starts[z, y], starts[z, y + 1]):
            place[0], place[1], place[2] = z, y, ball_x[ball]
            for a in range(3):
                offset = first if a == 0 else 0
                origin[a] = (offset + place[a]) * voxel[a]
                low[a] = max((offset + place[a] - _REACH) * voxel[a], offset * voxel[a])
                high[a] = min(
                    (offset + place[a] + _REACH) * voxel[a], (offset + squared.shape[a] - 1) * voxel[a]
                )
            centre[:] = origin
            n_places = _find_places(squared, nearest, unit, voxel, place, found)
            shortest = math.sqrt(squared[z, y, place[2]]) * unit
            n_found = 0
            for m in range(n_places):
                length2 = 0.0
                for a in range(3):
                    trial[a] = ((first if a == 0 else 0) + found[m, a]) * voxel[a]
                    length2 += (centre[a] - trial[a]) ** 2
                scale = 0.5 * edge / math.sqrt(length2)
                for a in range(3):
                    trial[a] += scale * (centre[a] - trial[a])
                if _settle(height, first, voxel, centre, trial, _N_FIRST, slope):
                    feet[n_found] = trial
                    n_found += 1
            if n_found == 0:
                balls[ball, :3] = centre
                balls[ball, 3] = min(shortest - 0.5 * edge, largest_radius)
                continue
            best = -1.0
            for move in range(_N_MOVES + 1):
                for m in range(n_found):
                    if move > 0:
                        trial[:] = feet[m]
                        if _settle(height, first, voxel, centre, trial, 1, slope):
                            feet[m] = trial
                    _measure(centre, feet[m], m, units, distances)
                    standing[m] = move > 0 and _is_upright(units[m], slope)
                n_feet = n_found
                radius = distances[:n_feet].min()
                if move > 0 and radius < largest_radius:
                    n_feet = _probe(
                        height, squared, first, voxel, centre, radius, near, feet, units, distances, standing,
                        n_feet, slope,
                    )  # fmt: skip
                    radius = distances[:n_feet].min()
                    if ripple > 0:
                        radius += _over_ripple(distances, units, standing, n_feet, ripple, spread)
                if radius > best:
                    best = radius
                    balls[ball, :3] = centre
                    balls[ball, 3] = min(radius, largest_radius)
                if move == _N_MOVES or n_places == 1 or radius >= largest_radius:
                    break
                _climb(distances, units, n_feet, edge, shift, direction, here, active)
                moved = 0.0
                for a in range(3):
                    to = min(max(centre[a] + shift[a], low[a]), high[a])
                    moved = max(moved, abs(to - centre[a]))
                    centre[a] = to
                if move > 0 and moved < _SETTLED * edge:
                    break
