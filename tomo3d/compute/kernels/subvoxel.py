"""Largest balls under an implicit surface: centre and radius to a fraction of a voxel.

The surface is known by its feet (see `feet`), in units of length; arrays begin at slice `first`. Near a foot it is
a piece of a sphere of the foot's curvature, as wide as feet lie apart. Kernels release the GIL.
"""

import math

import numba
import numpy as np

from tomo3d.compute.kernels.climb import climb

_MAX_FEET = 64
_MAX_PROBED = _MAX_FEET - 27
_STEEP = (
    0.75  # growth of the distance per length, to a neighbour whose ball all but contains that of the voxel
)
_REACH = 1.0  # voxels along each axis that a centre may move
_LEAVES = 0.6  # voxels: a centre that moves farther is that of the neighbour, if that has a ball of its own
_N_MOVES = 2
_SETTLED = 0.02  # voxels: a centre that moves less has arrived
_NORMAL_ERROR = 0.1  # radians
_PLANE = 0.93  # concentration of the directions of feet from which on they are those of two planes


@numba.njit(nogil=True, cache=True, error_model="numpy")
def drop_steep_cpu(squared: np.ndarray, unit: float, voxel: np.ndarray, z: int, kept: np.ndarray) -> None:
    """kept[z] <- False where the distance to the background grows nearly as fast as it can towards a neighbour.

    What the ball there covers, the balls of neighbours cover but for slivers in corners wider than 97 deg.
    """
    n_z, n_y, n_x = squared.shape
    rise = np.empty(27)
    for m in range(27):
        dz, dy, dx = m // 9 - 1, m % 9 // 3 - 1, m % 3 - 1
        rise[m] = (
            _STEEP * math.sqrt((dz * voxel[0]) ** 2 + (dy * voxel[1]) ** 2 + (dx * voxel[2]) ** 2) / unit
        )
    for y in range(n_y):
        for x in range(n_x):
            if not kept[z, y, x]:
                continue
            here = math.sqrt(squared[z, y, x])
            for m in range(27):
                k, j, i = z + m // 9 - 1, y + m % 9 // 3 - 1, x + m % 3 - 1
                if 0 <= k < n_z and 0 <= j < n_y and 0 <= i < n_x and m != 13:
                    steep = here + rise[m]
                    if squared[k, j, i] > steep * steep:
                        kept[z, y, x] = False
                        break


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _gather(nearest: np.ndarray, z: int, y: int, x: int, found: np.ndarray) -> int:
    """found <- the feet nearest to a voxel and to its neighbours; their number."""
    n_z, n_y, n_x = nearest.shape
    n = 0
    for k in range(max(z - 1, 0), min(z + 2, n_z)):
        for j in range(max(y - 1, 0), min(y + 2, n_y)):
            for i in range(max(x - 1, 0), min(x + 2, n_x)):
                foot = nearest[np.uint64(k), np.uint64(j), np.uint64(i)]  # unsigned: none from the end
                if foot >= 0:
                    n = _added(found, n, foot)
    return n


@numba.njit(nogil=True, cache=True, inline="always")
def _added(found: np.ndarray, n: int, foot: int) -> int:
    for m in range(n - 1, -1, -1):  # mostly one of the last
        if found[np.uint64(m)] == foot:
            return n
    found[np.uint64(n)] = foot
    return n + 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _probe(
    nearest: np.ndarray,
    squared: np.ndarray,
    first: int,
    voxel: np.ndarray,
    centre: np.ndarray,
    radius: float,
    near: int,
    places: np.ndarray,
    found: np.ndarray,
    n: int,
) -> int:
    """Add the feet near to which a ball, looked at in 26 directions, comes; their number.

    `near` is the squared distance to the background from which on there is no surface nearby.
    `places` is a buffer.
    """
    n_z, n_y, n_x = nearest.shape
    for a in range(3):
        offset = first if a == 0 else 0
        places[a, 0, 1] = places[a, 1, 1] = places[a, 2, 1] = math.floor(centre[a] / voxel[a] + 0.5) - offset
        for k in range(3):  # along one axis, two, three
            reach = radius / math.sqrt(k + 1)
            places[a, k, 0] = math.floor((centre[a] - reach) / voxel[a] + 0.5) - offset
            places[a, k, 2] = math.floor((centre[a] + reach) / voxel[a] + 0.5) - offset
    for m in range(27):
        i, j, h = m // 9, m % 9 // 3, m % 3
        if m == 13:
            continue
        k = (i != 1) + (j != 1) + (h != 1) - 1
        z, y, x = places[0, k, i], places[1, k, j], places[2, k, h]
        if not (0 <= z < n_z and 0 <= y < n_y and 0 <= x < n_x) or squared[z, y, x] >= near:
            continue
        foot = nearest[z, y, x]
        if foot >= 0 and n < _MAX_FEET:
            n = _added(found, n, foot)
    return n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _measure_planes(
    feet: np.ndarray,
    found: np.ndarray,
    n: int,
    centre: np.ndarray,
    piece: float,
    distances: np.ndarray,
    units: np.ndarray,
    standing: np.ndarray,
) -> None:
    """Distances from a centre to plane pieces of surface around feet, and the directions in which they grow.

    standing[m] <- whether that is the normal: the piece is not reached beside its edge.
    """
    piece2 = piece * piece
    for k in range(n):
        m = np.uint64(k)
        foot = np.uint64(found[m])
        dz, dy, dx = centre[0] - feet[foot, 0], centre[1] - feet[foot, 1], centre[2] - feet[foot, 2]
        n_z, n_y, n_x = feet[foot, 3], feet[foot, 4], feet[foot, 5]
        along = dz * n_z + dy * n_y + dx * n_x
        aside2 = dz * dz + dy * dy + dx * dx - along * along
        distances[m] = along
        units[m, 0], units[m, 1], units[m, 2] = n_z, n_y, n_x
        standing[m] = True
        if aside2 <= piece2:
            continue
        aside = math.sqrt(aside2)
        over = aside - piece
        length = math.sqrt(along * along + over * over)
        distances[m] = length if along > 0 else -length
        if length > 0:
            share, slant = along / length, over / (length * aside)
            units[m, 0] = share * n_z + slant * (dz - along * n_z)
            units[m, 1] = share * n_y + slant * (dy - along * n_y)
            units[m, 2] = share * n_x + slant * (dx - along * n_x)
            standing[m] = False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _measure_bent(feet: np.ndarray, foot: int, centre: np.ndarray, piece: float) -> float:
    """Distance from a centre to the piece of surface around a foot, part of a sphere of its curvature."""
    i = np.uint64(foot)
    dz, dy, dx = centre[0] - feet[i, 0], centre[1] - feet[i, 1], centre[2] - feet[i, 2]
    along = dz * feet[i, 3] + dy * feet[i, 4] + dx * feet[i, 5]
    aside = math.sqrt(max(dz * dz + dy * dy + dx * dx - along * along, 0.0))
    bend = feet[i, 6]
    if aside <= piece and bend == 0.0:
        return along
    tilt = _NORMAL_ERROR * min(bend * along, 1.0)
    if tilt > 0.0:
        # Near the centre of curvature all depends on the normal, which is not known that well.
        if aside <= tilt * along:
            return math.sqrt(along * along + aside * aside)
        along, aside = along + tilt * aside, aside - tilt * along
    # The point of the piece that is nearest lies so far aside.
    rest = 1.0 - bend * along
    out = aside / rest if aside < piece * rest else piece
    up, over = along - 0.5 * bend * out * out, aside - out
    length = math.sqrt(up * up + over * over)
    return length if up > 0 else -length


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _over_ripple(
    distances: np.ndarray,
    units: np.ndarray,
    standing: np.ndarray,
    n_feet: int,
    least: float,
    ripple: float,
    spread: np.ndarray,
) -> float:
    """How much farther than the nearest piece the surface is on average, if it is as rough as `ripple`.

    A ball that is held from all sides, or a cylinder, rests on the dents of a rough surface. Between two
    planes, or held from one side, the mean would say nothing: there the result tends to 0.
    """
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
    roundness = min(max((_PLANE - concentration) / (_PLANE - 0.71), 0.0), 1.0)
    return total / n * roundness * max(0.0, 1.0 - 2.0 * lean)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def refine_balls_cpu(
    feet: np.ndarray,
    squared: np.ndarray,
    nearest: np.ndarray,
    first: int,
    unit: float,
    voxel: np.ndarray,
    z: int,
    starts: np.ndarray,
    ball_x: np.ndarray,
    kept: np.ndarray,
    largest_radius: float,
    piece: float,
    ripple: float,
    balls: np.ndarray,
) -> None:
    """balls[i] <- (z, y, x, radius), lengths, of the largest ball near each voxel listed in slice z; radius 0: none.

    The centre climbs to where up to four pieces of surface are equally far. Where that takes it to a neighbour that
    is listed (`kept`), it is left to that one. `piece` is the radius of the piece of surface around a foot, `ripple`
    how rough the surface is, lengths.
    """
    n_z, n_y, n_x = nearest.shape
    found = np.empty(_MAX_FEET, np.int64)
    distances, units = np.empty(_MAX_FEET), np.empty((_MAX_FEET, 3))
    centre, low, high = np.empty(3), np.empty(3), np.empty(3)
    shift, direction = np.empty(3), np.empty(3)
    here, growth, active = np.empty(_MAX_FEET), np.empty(_MAX_FEET), np.empty(4, np.int64)
    bent, standing, spread = np.empty(_MAX_FEET), np.empty(_MAX_FEET, np.bool_), np.empty((4, 3))
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    longest = max(voxel[0], max(voxel[1], voxel[2]))
    near = int((2.0 * longest / unit) ** 2)
    place, places = np.empty(3, np.int64), np.empty((3, 3, 3), np.int64)
    for y in range(n_y):
        for ball in range(starts[z, y], starts[z, y + 1]):
            x = ball_x[ball]
            place[0], place[1], place[2] = first + z, y, x
            for a in range(3):
                centre[a] = place[a] * voxel[a]
                last = n_z - 1 + first if a == 0 else (n_y - 1 if a == 1 else n_x - 1)
                low[a] = max(centre[a] - _REACH * voxel[a], (first if a == 0 else 0) * voxel[a])
                high[a] = min(centre[a] + _REACH * voxel[a], last * voxel[a])
            balls[ball, 3] = 0.0
            n = _gather(nearest, z, y, x, found)
            if n == 0:
                balls[ball, :3] = centre
                balls[ball, 3] = min(math.sqrt(squared[z, y, x]) * unit - 0.5 * edge, largest_radius)
                continue
            best, is_left = 0.0, False
            for move in range(_N_MOVES + 1):
                if move < _N_MOVES or ripple > 0:
                    _measure_planes(feet, found, n, centre, piece, distances, units, standing)
                if move > 0:
                    least = largest_radius
                    for m in range(n):
                        bent[m] = _measure_bent(feet, found[m], centre, piece)
                        least = min(least, bent[m])
                    radius = least
                    if ripple > 0 and least < largest_radius:
                        radius += _over_ripple(bent, units, standing, n, least, ripple, spread)
                    radius = min(radius, largest_radius)
                    if radius > best:
                        best = radius
                        balls[ball, 0], balls[ball, 1], balls[ball, 2] = centre[0], centre[1], centre[2]
                        balls[ball, 3] = radius
                    if move == _N_MOVES or radius >= largest_radius:
                        break
                climb(distances, units, n, edge, shift, direction, here, growth, active)
                if move > 0 and shift[0] ** 2 + shift[1] ** 2 + shift[2] ** 2 < (_SETTLED * edge) ** 2:
                    break
                for a in range(3):
                    centre[a] = min(max(centre[a] + shift[a], low[a]), high[a])
                k = math.floor(centre[0] / voxel[0] + 0.5) - first
                j, i = (
                    math.floor(centre[1] / voxel[1] + 0.5),
                    math.floor(centre[2] / voxel[2] + 0.5),
                )
                if move == 0:
                    away = 0.0
                    for a in range(3):
                        away = max(away, abs(centre[a] / voxel[a] - place[a]))
                    if away > _LEAVES and kept[k, j, i] and (k != z or j != y or i != x):
                        is_left = True
                        break
                    if k != z or j != y or i != x:
                        n = _gather(nearest, k, j, i, found)
                    radius = largest_radius
                    for m in range(n):
                        radius = min(radius, _measure_bent(feet, found[m], centre, piece))
                    if radius < largest_radius:
                        n = _probe(nearest, squared, first, voxel, centre, radius, near, places, found, n)
            if is_left:
                continue
