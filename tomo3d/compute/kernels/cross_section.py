"""Cross-sections of a mask at right angles to a line, by rays in their planes; the boundary lies between voxels.

The mask is trilinear between voxel centres and its boundary at one half. Beyond the volume the outermost voxels
repeat. Positions are index times voxel size. Kernels release the GIL.
"""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _share(inside, z, y, x):
    """Trilinear value of the mask at a position, in voxels."""
    n_z, n_y, n_x = inside.shape
    z = min(max(z, 0.0), n_z - 1.0)
    y = min(max(y, 0.0), n_y - 1.0)
    x = min(max(x, 0.0), n_x - 1.0)
    k, j, i = int(z), int(y), int(x)
    k1, j1, i1 = min(k + 1, n_z - 1), min(j + 1, n_y - 1), min(i + 1, n_x - 1)
    # Unsigned: no index is from the end, and none is tested for it.
    k_, j_, i_ = np.uint64(k), np.uint64(j), np.uint64(i)
    k1_, j1_, i1_ = np.uint64(k1), np.uint64(j1), np.uint64(i1)
    a, b, c, d = inside[k_, j_, i_], inside[k_, j_, i1_], inside[k_, j1_, i_], inside[k_, j1_, i1_]
    e, f, g, h = inside[k1_, j_, i_], inside[k1_, j_, i1_], inside[k1_, j1_, i_], inside[k1_, j1_, i1_]
    total = int(a) + b + c + d + e + f + g + h
    if total == 8:
        return 1.0
    if total == 0:
        return 0.0
    z, y, x = z - k, y - j, x - i
    low = (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
    high = (1 - y) * ((1 - x) * e + x * f) + y * ((1 - x) * g + x * h)
    return (1 - z) * low + z * high


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _share_within(flat, row, plane, z, y, x):
    """As `_share`, of a position that lies between voxels on all sides."""
    k, j, i = int(z), int(y), int(x)
    low, high = np.uint64(k * plane + j * row + i), np.uint64((k + 1) * plane + j * row + i)
    step = np.uint64(row)
    one = np.uint64(1)
    a, b, c, d = flat[low], flat[low + one], flat[low + step], flat[low + step + one]
    e, f, g, h = flat[high], flat[high + one], flat[high + step], flat[high + step + one]
    total = int(a) + b + c + d + e + f + g + h
    if total == 8:
        return 1.0
    if total == 0:
        return 0.0
    z, y, x = z - k, y - j, x - i
    near = (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
    far = (1 - y) * ((1 - x) * e + x * f) + y * ((1 - x) * g + x * h)
    return (1 - z) * near + z * far


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ray(inside, z, y, x, d_z, d_y, d_x, step, safe, longest):
    """Length of the ray from a position, in voxels, along (d_z, d_y, d_x) per length to the boundary.

    At most `longest`; 0 from outside. Up to the length `safe` it is known to run inside.
    """
    before = 1.0 if safe > 0 else _share(inside, z, y, x)
    if before < 0.5:
        return 0.0
    length = safe
    while length < longest:
        length += step
        share = _share(inside, z + length * d_z, y + length * d_y, x + length * d_x)
        if share < 0.5:
            return min(longest, length - step * (0.5 - share) / (before - share))
        before = share
    return longest


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _ray_within(flat, row, plane, z, y, x, d_z, d_y, d_x, step, safe, longest):
    """As `_ray`, of one that comes nowhere near the border of the volume.

    Two steps at once from one place that is wholly inside to another.
    """
    before = 1.0 if safe > 0 else _share_within(flat, row, plane, z, y, x)
    length = safe
    found = longest if before >= 0.5 else 0.0
    ahead, share = -1.0, 0.0  # -1: not known
    while length < longest and before >= 0.5:
        if ahead >= 0.0:
            share, ahead = ahead, -1.0
        else:
            if before == 1.0 and length + step < longest:
                far = length + 2.0 * step
                ahead = _share_within(flat, row, plane, z + far * d_z, y + far * d_y, x + far * d_x)
                if ahead == 1.0:
                    length, ahead = far, -1.0
                    continue
            far = length + step
            share = _share_within(flat, row, plane, z + far * d_z, y + far * d_y, x + far * d_x)
        length += step
        if share < 0.5:
            found = min(longest, length - step * (0.5 - share) / (before - share))
        before = share
    return found


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _across(tangent, first, second):
    """Two unit vectors at right angles to a unit vector and to each other."""
    least = 0
    for a in range(1, 3):
        if abs(tangent[a]) < abs(tangent[least]):
            least = a
    for a in range(3):
        first[a] = (1.0 if a == least else 0.0) - tangent[least] * tangent[a]
    norm = math.sqrt(first[0] ** 2 + first[1] ** 2 + first[2] ** 2)
    for a in range(3):
        first[a] /= norm
    second[0] = tangent[1] * first[2] - tangent[2] * first[1]
    second[1] = tangent[2] * first[0] - tangent[0] * first[2]
    second[2] = tangent[0] * first[1] - tangent[1] * first[0]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sections_cpu(
    inside: np.ndarray,
    voxel: np.ndarray,
    points: np.ndarray,
    tangents: np.ndarray,
    is_wanted: np.ndarray,
    safe: np.ndarray,
    longest: np.ndarray,
    area: np.ndarray,
    centroid: np.ndarray,
    extremes: np.ndarray,
    n_rays: int,
) -> None:
    """Area, centroid, and shortest and longest ray of the cross-section at each point, (n,), (n, 3), (n, 2).

    The section is what is seen from the point, cut at the length `longest`; it holds a disc of radius `safe`. Where
    none is wanted, the area is 0 and the centroid the point.
    """
    n_z, n_y, n_x = inside.shape
    flat, row, plane = inside.reshape(-1), n_x, n_y * n_x
    first, second, direction, moment = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    turn = 2.0 * math.pi / n_rays
    cosines, sines = np.cos(turn * np.arange(n_rays)), np.sin(turn * np.arange(n_rays))
    step = 0.4 * min(voxel[0], min(voxel[1], voxel[2]))
    for i in range(len(points)):
        if not is_wanted[i]:
            area[i], centroid[i], extremes[i] = 0.0, points[i], 0.0
            continue
        _across(tangents[i], first, second)
        square, shortest, farthest = 0.0, np.inf, 0.0
        moment[:] = 0.0
        z, y, x = points[i, 0] / voxel[0], points[i, 1] / voxel[1], points[i, 2] / voxel[2]
        reach = longest[i] + 2.0 * step
        is_within = min(z - reach / voxel[0], min(y - reach / voxel[1], x - reach / voxel[2])) >= 0.0
        is_within &= z + reach / voxel[0] < n_z - 1
        is_within &= y + reach / voxel[1] < n_y - 1
        is_within &= x + reach / voxel[2] < n_x - 1
        for k in range(n_rays):
            for a in range(3):
                direction[a] = cosines[k] * first[a] + sines[k] * second[a]
            d_z, d_y, d_x = direction[0] / voxel[0], direction[1] / voxel[1], direction[2] / voxel[2]
            if is_within:
                r = _ray_within(flat, row, plane, z, y, x, d_z, d_y, d_x, step, safe[i], longest[i])
            else:
                r = _ray(inside, z, y, x, d_z, d_y, d_x, step, safe[i], longest[i])
            square += r * r
            shortest, farthest = min(shortest, r), max(farthest, r)
            for a in range(3):
                moment[a] += r * r * r * direction[a]
        area[i] = 0.5 * turn * square
        for a in range(3):
            shift = moment[a] * turn / (3.0 * area[i]) if area[i] > 0 else 0.0
            centroid[i, a] = points[i, a] + shift
        extremes[i, 0], extremes[i, 1] = shortest, farthest


@numba.njit(nogil=True, cache=True, error_model="numpy")
def caps_cpu(
    inside: np.ndarray,
    voxel: np.ndarray,
    starts: np.ndarray,
    tangents: np.ndarray,
    radii: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Centre of the cap, ends (n, 3), where a strut of known radius ends that comes through `starts` along `tangents`.

    Rays in a cone of 45 deg about the line meet the surface of the cap on average at its radius from its centre.
    """
    first, second, direction = np.empty(3), np.empty(3), np.empty(3)
    hits = np.empty((25, 3))
    step = 0.4 * min(voxel[0], min(voxel[1], voxel[2]))
    for i in range(len(starts)):
        _across(tangents[i], first, second)
        radius, centre = radii[i], starts[i].copy()
        longest = 4.0 * radius + 4.0 * voxel.max()
        for _ in range(6):
            origin = centre - 0.25 * radius * tangents[i]
            if _share(inside, origin[0] / voxel[0], origin[1] / voxel[1], origin[2] / voxel[2]) < 0.5:
                origin = centre - 0.75 * radius * tangents[i]
            n = 0
            for ring in range(4):
                angle = ring * math.pi / 12.0
                for k in range(1 if ring == 0 else 8):
                    turn = (k + 0.5 * (ring % 2)) * math.pi / 4.0
                    for a in range(3):
                        direction[a] = math.cos(angle) * tangents[i, a]
                        direction[a] += math.sin(angle) * (
                            math.cos(turn) * first[a] + math.sin(turn) * second[a]
                        )
                    r = _ray(
                        inside, origin[0] / voxel[0], origin[1] / voxel[1], origin[2] / voxel[2],
                        direction[0] / voxel[0], direction[1] / voxel[1], direction[2] / voxel[2],
                        step, 0.0, longest,
                    )  # fmt: skip
                    for a in range(3):
                        hits[n, a] = origin[a] + r * direction[a]
                    n += 1
            moved = 0.0
            for _ in range(4):  # Newton's steps of the place of the centre along the line
                excess, slope = 0.0, 0.0
                for k in range(n):
                    distance, along = 0.0, 0.0
                    for a in range(3):
                        gap = hits[k, a] - centre[a]
                        distance += gap * gap
                        along += gap * tangents[i, a]
                    distance = math.sqrt(distance)
                    excess += distance - radius
                    slope += along / max(distance, 1e-9)
                if slope <= 0.1 * n:
                    slope = 1.0 * n
                way = min(max(excess / slope, -radius), radius)
                for a in range(3):
                    centre[a] += way * tangents[i, a]
                moved += way
            if abs(moved) < 0.01 * radius:
                break
        ends[i] = centre


@numba.njit(nogil=True, cache=True, error_model="numpy")
def caps_by_count_cpu(
    inside: np.ndarray, voxel: np.ndarray, tangents: np.ndarray, radii: np.ndarray, ends: np.ndarray
) -> None:
    """Move centres of caps, ends (n, 3), along `tangents` until a cap of the radius has as many voxels as the mask.

    By up to a voxel. Voxels near the surface of the cap are counted, within 0.9 radii of the line: each goes over from
    outside to inside within 0.6 voxels. So what a mask says of where a thin strut ends is used to the last voxel.
    """
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    low, high = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    offset = np.empty(3)
    for i in range(len(ends)):
        radius = radii[i]
        reach = radius + 2.0 * edge
        size = 1
        for a in range(3):
            low[a] = math.ceil((ends[i, a] - reach) / voxel[a])
            high[a] = math.floor((ends[i, a] + reach) / voxel[a]) + 1
            size *= high[a] - low[a]
        places = np.empty(size)  # along the line from the centre, where a cap would begin to hold the voxel
        n, n_inside = 0, 0
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                for x in range(low[2], high[2]):
                    offset[0], offset[1], offset[2] = z * voxel[0], y * voxel[1], x * voxel[2]
                    square, along = 0.0, 0.0
                    for a in range(3):
                        offset[a] -= ends[i, a]
                        square += offset[a] ** 2
                        along += offset[a] * tangents[i, a]
                    square -= along * along
                    if square >= (0.9 * radius) ** 2:
                        continue
                    place = along - math.sqrt(radius * radius - square)
                    if abs(place) > 1.5 * edge:
                        continue
                    places[n] = place
                    n += 1
                    k = min(max(z, 0), inside.shape[0] - 1)
                    j = min(max(y, 0), inside.shape[1] - 1)
                    n_inside += inside[k, j, min(max(x, 0), inside.shape[2] - 1)] != 0
        first, last = -edge, edge
        for _ in range(24):
            middle = 0.5 * (first + last)
            count = 0.0
            for k in range(n):
                count += min(max(0.5 + (middle - places[k]) / (0.6 * edge), 0.0), 1.0)
            if count < n_inside:
                first = middle
            else:
                last = middle
        for a in range(3):
            ends[i, a] += 0.5 * (first + last) * tangents[i, a]
