"""Largest balls under an implicit surface: centre and radius to a fraction of a voxel.

The surface is where `height`, given at voxels and trilinear between them, is zero; it is positive inside.
Positions are in units of length: index times `voxel`; arrays begin at slice `first`. Kernels release the GIL.
"""

import math

import numba
import numpy as np

_MAX_FEET = 53  # of the voxel and its 26 neighbours, and 26 found by probing
_MIN_SLOPE = 1e-12
_N_FIRST = 3  # steps from a voxel of the background to the nearest point of the surface
_N_AGAIN = 2  # and again once the centre has moved
_N_MOVES = 4
_N_STEPS = 10
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
def _face_point(units: np.ndarray, active: np.ndarray, members: int, point: np.ndarray) -> bool:
    """Point nearest to 0 of the plane through one to three unit vectors; whether it lies between them."""
    picked = np.zeros(4, np.int64)
    n = 0
    for k in range(4):
        if members >> k & 1:
            picked[n] = active[k]
            n += 1
    p, q, r = units[picked[0]], units[picked[1]], units[picked[2]]
    if n == 1:
        point[:] = p
        return True
    if n == 2:
        for a in range(3):
            point[a] = 0.5 * (p[a] + q[a])
        return True
    az, ay, ax = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    bz, by, bx = r[0] - p[0], r[1] - p[1], r[2] - p[2]
    nz, ny, nx = ay * bx - ax * by, ax * bz - az * bx, az * by - ay * bz
    square = nz * nz + ny * ny + nx * nx
    if square < 1e-12:
        return False
    along = (p[0] * nz + p[1] * ny + p[2] * nx) / square
    point[0], point[1], point[2] = along * nz, along * ny, along * nx
    # Of points on a circle, the centre lies between three of them if no angle is obtuse.
    aa, bb, ab = az * az + ay * ay + ax * ax, bz * bz + by * by + bx * bx, az * bz + ay * by + ax * bx
    return ab >= 0 and aa - ab >= 0 and bb - ab >= 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _steepest(units: np.ndarray, active: np.ndarray, n_active: int, direction: np.ndarray) -> int:
    """Point nearest to 0 between up to four unit vectors, and those that span it as bits; 0 if 0 is between them."""
    for members in range(1, 1 << n_active):
        if members == 15 or not _face_point(units, active, members, direction):
            continue
        square = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
        is_nearest = True
        for k in range(n_active):
            if not members >> k & 1:
                u = units[active[k]]
                growth = u[0] * direction[0] + u[1] * direction[1] + u[2] * direction[2]
                is_nearest = is_nearest and growth >= square - 1e-9
        if is_nearest:
            return members
    return 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _climb(
    distances: np.ndarray,
    units: np.ndarray,
    n_feet: int,
    reach: float,
    shift: np.ndarray,
    direction: np.ndarray,
) -> None:
    """shift <- step of at most about `reach` that makes the least of distances[i] + units[i] . shift largest.

    Steepest ascent: along the point nearest to 0 between the directions of the feet that are nearest now.
    """
    active = np.empty(4, np.int64)
    here = distances[:n_feet].copy()
    shift[:] = 0.0
    n_active = 1
    active[0] = np.argmin(here)
    room = reach
    for _ in range(_N_STEPS):
        members = _steepest(units, active, n_active, direction)
        square = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
        if members == 0 or square < 1e-4 or room < 1e-6:
            return
        n = 0
        for k in range(n_active):
            if members >> k & 1:
                active[n] = active[k]
                n += 1
        n_active = n
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
        for i in range(n_feet):
            here[i] += step * (
                units[i, 0] * direction[0] + units[i, 1] * direction[1] + units[i, 2] * direction[2]
            )
        room -= step * math.sqrt(square)
        if blocking < 0:
            return
        active[n_active] = blocking
        n_active += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_upright(unit: np.ndarray, slope: np.ndarray) -> bool:
    """Whether the way from a foot to the centre is along the slope there, within 18 deg."""
    along = unit[0] * slope[0] + unit[1] * slope[1] + unit[2] * slope[2]
    return along > 0 and along * along > 0.9 * (slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _over_ripple(
    distances: np.ndarray, units: np.ndarray, standing: np.ndarray, n_feet: int, ripple: float
) -> float:
    """How much farther than the nearest foot the surface is on average, if it is as rough as `ripple`.

    A ball that is held from all sides, or a cylinder, rests on the dents of a rough surface. Between two
    planes, or held from one side, the mean would say nothing: there the result tends to 0.
    """
    least = distances[:n_feet].min()
    total, n = 0.0, 0
    mean = np.zeros(3)
    moment = np.zeros((3, 3))
    for i in range(n_feet):
        if standing[i] and distances[i] <= least + ripple:
            total += distances[i] - least
            n += 1
            for a in range(3):
                mean[a] += units[i, a]
                for b in range(3):
                    moment[a, b] += units[i, a] * units[i, b]
    if n < 3:
        return 0.0
    # 1 for two opposite directions, 0.71 for a circle of them, 0.58 for a sphere.
    concentration = math.sqrt((moment**2).sum()) / n
    lean = math.sqrt((mean**2).sum()) / n
    return total / n * min(1.0, (1.0 - concentration) / 0.29) * max(0.0, 1.0 - 2.0 * lean)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _probe(
    height: np.ndarray,
    first: int,
    voxel: np.ndarray,
    centre: np.ndarray,
    radius: float,
    feet: np.ndarray,
    units: np.ndarray,
    distances: np.ndarray,
    standing: np.ndarray,
    n_feet: int,
    slope: np.ndarray,
) -> int:
    """Add feet where the ball, looked at in 26 directions, comes out of the surface or near to it; their number."""
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if dz == 0 and dy == 0 and dx == 0:
                    continue
                norm = radius / math.sqrt(dz * dz + dy * dy + dx * dx)
                foot = feet[n_feet]
                foot[0], foot[1], foot[2] = (
                    centre[0] + norm * dz,
                    centre[1] + norm * dy,
                    centre[2] + norm * dx,
                )
                value = _height_and_slope(height, first, voxel, foot, slope)
                square = slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2
                if value > edge * math.sqrt(square):
                    continue
                if not _settle(height, first, voxel, centre, foot, 1, slope):
                    continue
                length = 0.0
                for a in range(3):
                    units[n_feet, a] = centre[a] - foot[a]
                    length += units[n_feet, a] ** 2
                distances[n_feet] = math.sqrt(length)
                for a in range(3):
                    units[n_feet, a] /= max(distances[n_feet], 1e-30)
                standing[n_feet] = _is_upright(units[n_feet], slope)
                n_feet += 1
    return n_feet


@numba.njit(nogil=True, cache=True, error_model="numpy")
def refine_balls_cpu(
    height: np.ndarray,
    first: int,
    nearest: np.ndarray,
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
    n_z, n_y, n_x = nearest.shape
    seen = np.empty(_MAX_FEET, np.int64)
    feet = np.empty((_MAX_FEET, 3))
    units = np.empty((_MAX_FEET, 3))
    distances = np.empty(_MAX_FEET)
    standing = np.empty(_MAX_FEET, np.bool_)
    centre, origin, shift, slope, direction = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    trial = np.empty(3)
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    for y in range(n_y):
        for ball in range(starts[z, y], starts[z, y + 1]):
            x = ball_x[ball]
            origin[0], origin[1], origin[2] = (first + z) * voxel[0], y * voxel[1], x * voxel[2]
            centre[:] = origin
            n_feet = 0
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        k, j, i = z + dz, y + dy, x + dx
                        if not (0 <= k < n_z and 0 <= j < n_y and 0 <= i < n_x):
                            continue
                        index = nearest[k, j, i]
                        is_new = index >= 0
                        for m in range(n_feet):
                            is_new = is_new and seen[m] != index
                        if is_new:
                            seen[n_feet] = index
                            n_feet += 1
            shortest = np.inf
            n_found = 0
            for m in range(n_feet):
                index = seen[m]
                trial[0] = (first + index // (n_y * n_x)) * voxel[0]
                trial[1] = (index // n_x % n_y) * voxel[1]
                trial[2] = (index % n_x) * voxel[2]
                length = 0.0
                for a in range(3):
                    length += (centre[a] - trial[a]) ** 2
                length = math.sqrt(length)
                shortest = min(shortest, length)
                for a in range(3):
                    trial[a] += 0.5 * edge * (centre[a] - trial[a]) / length
                if _settle(height, first, voxel, centre, trial, _N_FIRST, slope):
                    feet[n_found] = trial
                    n_found += 1
            if n_found == 0:
                balls[ball, 0], balls[ball, 1], balls[ball, 2] = centre[0], centre[1], centre[2]
                balls[ball, 3] = min(shortest - 0.5 * edge, largest_radius)
                continue
            best = -1.0
            for move in range(_N_MOVES + 1):
                n_feet = n_found
                for m in range(n_feet):
                    if move > 0:
                        trial[:] = feet[m]
                        if _settle(height, first, voxel, centre, trial, _N_AGAIN, slope):
                            feet[m] = trial
                    length = 0.0
                    for a in range(3):
                        units[m, a] = centre[a] - feet[m, a]
                        length += units[m, a] ** 2
                    distances[m] = math.sqrt(length)
                    for a in range(3):
                        units[m, a] /= max(distances[m], 1e-30)
                    standing[m] = move > 0 and _is_upright(units[m], slope)
                radius = distances[:n_feet].min()
                if radius < largest_radius:
                    n_feet = _probe(
                        height, first, voxel, centre, radius, feet, units, distances, standing, n_feet, slope
                    )
                    radius = distances[:n_feet].min()
                    if ripple > 0:
                        radius += _over_ripple(distances, units, standing, n_feet, ripple)
                if radius > best:
                    best = radius
                    balls[ball, 0], balls[ball, 1], balls[ball, 2] = centre[0], centre[1], centre[2]
                    balls[ball, 3] = min(radius, largest_radius)
                if move == _N_MOVES or radius >= largest_radius:
                    break
                _climb(distances, units, n_feet, edge, shift, direction)
                is_moved = False
                for a in range(3):
                    low = voxel[0] * first if a == 0 else 0.0
                    limit = low + voxel[a] * ((n_z, n_y, n_x)[a] - 1)
                    to = min(
                        max(centre[a] + shift[a], origin[a] - _REACH * voxel[a]),
                        origin[a] + _REACH * voxel[a],
                    )
                    to = min(max(to, low), limit)
                    is_moved = is_moved or abs(to - centre[a]) > 1e-3 * edge
                    centre[a] = to
                if not is_moved:
                    break
