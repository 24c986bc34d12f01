"""Feet: the points of an implicit surface beside the voxels of the background, and what is known of it there.

The surface is where `height`, given at voxels and trilinear between them, is zero; it is positive inside. A site is a
voxel of the background with a face to the structure; its foot is the nearest point of the surface. Columns of
`feet`: position (z, y, x), unit normal towards the inside, mean curvature (positive in a ball), and how good it is: 2,
1 by the border of the volume, where smoothing bends the surface, 0 where the height has no surface and the face of
the voxel stands for it. Kernels release the GIL.
"""

import math

import numba
import numpy as np

N_COLUMNS = 8
_MIN_SLOPE = 1e-12
_N_STEPS = 3
_RIM = 3.0  # voxels from the border within which smoothing bends the surface
_FARTHEST = 2.0  # voxels from a site to its foot
_N_PAIRS = 4  # of opposite directions in which the surface around a foot is looked at
# Where the surface may be, above a tangent plane, in parts of a voxel: inside, the nearest site is known.
_DEPTHS = np.array([0.7, 1.7, -0.3, -1.3])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def is_site(inside: np.ndarray, z: int, y: int, x: int) -> bool:
    """Whether a voxel is background and has a face to the structure."""
    n_z, n_y, n_x = inside.shape
    return not inside[z, y, x] and (
        (x > 0 and inside[z, y, x - 1])
        or (x < n_x - 1 and inside[z, y, x + 1])
        or (y > 0 and inside[z, y - 1, x])
        or (y < n_y - 1 and inside[z, y + 1, x])
        or (z > 0 and inside[z - 1, y, x])
        or (z < n_z - 1 and inside[z + 1, y, x])
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def count_sites_cpu(inside: np.ndarray, z: int, counts: np.ndarray) -> None:
    """counts[y] <- number of sites of each row of slice z."""
    for y in range(inside.shape[1]):
        n = 0
        for x in range(inside.shape[2]):
            if is_site(inside, z, y, x):
                n += 1
        counts[y] = n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _height_and_slope(height: np.ndarray, first: int, point: np.ndarray, slope: np.ndarray) -> float:
    """Trilinear value at a point in voxels, constant beyond the border, and its slope (z, y, x) per voxel."""
    n_z, n_y, n_x = height.shape
    z = min(max(point[0], float(first)), first + n_z - 1.0)
    y = min(max(point[1], 0.0), n_y - 1.0)
    x = min(max(point[2], 0.0), n_x - 1.0)
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
    slope[0] = h1 - h0
    slope[1] = (h01 - h00) + z * ((h11 - h10) - (h01 - h00))
    d0 = (h001 - h000) + y * ((h011 - h010) - (h001 - h000))
    d1 = (h101 - h100) + y * ((h111 - h110) - (h101 - h100))
    slope[2] = d0 + z * (d1 - d0)
    return float(h0 + z * (h1 - h0))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _descend(height: np.ndarray, first: int, foot: np.ndarray, slope: np.ndarray) -> bool:
    """Move `foot` along the slope to the surface; False where there is none nearby."""
    for _ in range(_N_STEPS):
        value = _height_and_slope(height, first, foot, slope)
        square = slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2
        if square < _MIN_SLOPE:
            return False
        fall = value / square
        limit = 1.0 / math.sqrt(square)
        fall = min(max(fall, -limit), limit)
        for a in range(3):
            foot[a] -= fall * slope[a]
    value = _height_and_slope(height, first, foot, slope)
    square = slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2
    return square >= _MIN_SLOPE and value * value < 0.01 * square


@numba.njit(nogil=True, cache=True, error_model="numpy")
def find_feet_cpu(
    height: np.ndarray, inside: np.ndarray, first: int, z: int, starts: np.ndarray, feet: np.ndarray
) -> None:
    """feet[i] <- the foot of each site of slice z, in voxels; those of row y begin at starts[y]. `first`: slice 0."""
    n_z, n_y, n_x = inside.shape
    foot, slope, towards = np.empty(3), np.empty(3), np.empty(3)
    for y in range(n_y):
        i = starts[y]
        for x in range(n_x):
            if not is_site(inside, z, y, x):
                continue
            towards[:] = 0.0
            towards[0] += 1.0 if z < n_z - 1 and inside[z + 1, y, x] else 0.0
            towards[0] -= 1.0 if z > 0 and inside[z - 1, y, x] else 0.0
            towards[1] += 1.0 if y < n_y - 1 and inside[z, y + 1, x] else 0.0
            towards[1] -= 1.0 if y > 0 and inside[z, y - 1, x] else 0.0
            towards[2] += 1.0 if x < n_x - 1 and inside[z, y, x + 1] else 0.0
            towards[2] -= 1.0 if x > 0 and inside[z, y, x - 1] else 0.0
            norm = math.sqrt(towards[0] ** 2 + towards[1] ** 2 + towards[2] ** 2)
            scale = 1.0 / norm if norm > 0 else 0.0
            foot[0], foot[1], foot[2] = first + z, y, x
            for a in range(3):
                towards[a] *= scale
                foot[a] += 0.5 * towards[a]
            is_there = _descend(height, first, foot, slope)
            size = math.sqrt(slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2)
            far2 = (foot[0] - first - z) ** 2 + (foot[1] - y) ** 2 + (foot[2] - x) ** 2
            along = slope[0] * towards[0] + slope[1] * towards[1] + slope[2] * towards[2]
            if is_there and far2 < _FARTHEST**2 and along >= 0:
                for a in range(3):
                    feet[i, a], feet[i, 3 + a] = foot[a], slope[a] / size
                rim = min(z, min(y, x), min(n_z - 1 - z, min(n_y - 1 - y, n_x - 1 - x)))
                feet[i, 7] = 2.0 if rim > _RIM else 1.0
            else:
                feet[i, 0], feet[i, 1], feet[i, 2] = first + z, y, x
                for a in range(3):
                    feet[i, a] += 0.5 * towards[a]
                    feet[i, 3 + a] = towards[a]
                feet[i, 7] = 0.0
            feet[i, 6] = 0.0
            i += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _foot_at(
    feet: np.ndarray,
    nearest: np.ndarray,
    first: int,
    voxel: np.ndarray,
    i: int,
    away: np.ndarray,
    least_along: float,
) -> int:
    """The foot beside foot i at `away` from it along the surface, or -1: one whose normal is much the same."""
    edge = min(voxel[0], min(voxel[1], voxel[2]))
    far2 = away[0] ** 2 + away[1] ** 2 + away[2] ** 2
    for depth in _DEPTHS:
        z = math.floor((feet[i, 0] + away[0] + depth * edge * feet[i, 3]) / voxel[0] + 0.5) - first
        y = math.floor((feet[i, 1] + away[1] + depth * edge * feet[i, 4]) / voxel[1] + 0.5)
        x = math.floor((feet[i, 2] + away[2] + depth * edge * feet[i, 5]) / voxel[2] + 0.5)
        if not (0 <= z < nearest.shape[0] and 0 <= y < nearest.shape[1] and 0 <= x < nearest.shape[2]):
            continue
        j = np.int64(nearest[z, y, x])
        if j < 0 or j == i or feet[j, 7] == 0 or feet[j, 7] < feet[i, 7]:
            continue
        along = feet[i, 3] * feet[j, 3] + feet[i, 4] * feet[j, 4] + feet[i, 5] * feet[j, 5]
        if along < least_along:
            continue
        # It must lie to that side: the nearest site of a voxel may be another.
        dot = 0.0
        for a in range(3):
            dot += (feet[j, a] - feet[i, a]) * away[a]
        if 0.5 * far2 < dot < 1.5 * far2:
            return j
    return -1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def smooth_feet_cpu(
    feet: np.ndarray,
    nearest: np.ndarray,
    first: int,
    voxel: np.ndarray,
    distance: float,
    least_along: float,
    weight: float,
    normal_weight: float,
    begin: int,
    end: int,
    out: np.ndarray,
) -> None:
    """out[begin:end] <- feet, evened out along the surface by those at `distance` around them; and their curvature.

    Two feet on one sphere or plane are joined by a line at a right angle to the mean of their normals; by how much
    a foot misses that of its neighbours, it moves. So spheres, planes and cylinders stay as they are, of any
    radius. Neighbours count in opposite pairs, and if the cosine between normals is at least `least_along`.
    `weight` is theirs together for its place, `normal_weight` for its normal, the rest that of the foot itself. Positions are
    in units of `voxel`.
    """
    u, v, away, pull = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    pair = np.empty(2, np.int64)
    for i in range(begin, end):
        out[i] = feet[i]
        if feet[i, 7] == 0:
            continue
        n_z, n_y, n_x = feet[i, 3], feet[i, 4], feet[i, 5]
        # u and v span the tangent plane.
        if abs(n_z) <= abs(n_y) and abs(n_z) <= abs(n_x):
            u[0], u[1], u[2] = 0.0, -n_x, n_y
        elif abs(n_y) <= abs(n_x):
            u[0], u[1], u[2] = -n_x, 0.0, n_z
        else:
            u[0], u[1], u[2] = -n_y, n_z, 0.0
        size = math.sqrt(u[0] ** 2 + u[1] ** 2 + u[2] ** 2)
        for a in range(3):
            u[a] /= size
        v[0], v[1], v[2] = n_y * u[2] - n_x * u[1], n_x * u[0] - n_z * u[2], n_z * u[1] - n_y * u[0]
        total, bend, n = 0.0, 0.0, 0
        pull[:] = 0.0
        for k in range(_N_PAIRS):
            angle = k * math.pi / _N_PAIRS
            cos, sin = distance * math.cos(angle), distance * math.sin(angle)
            for side in range(2):
                for a in range(3):
                    away[a] = (1 - 2 * side) * (cos * u[a] + sin * v[a])
                pair[side] = _foot_at(feet, nearest, first, voxel, i, away, least_along)
                if pair[side] < 0:
                    break
            if pair[0] < 0 or pair[1] < 0:
                continue
            n += 1
            for side in range(2):
                j = pair[side]
                along, miss, turn, far2 = 0.0, 0.0, 0.0, 0.0
                for a in range(3):
                    step = feet[j, a] - feet[i, a]
                    along += feet[i, 3 + a] * feet[j, 3 + a]
                    miss += step * (feet[i, 3 + a] + feet[j, 3 + a])
                    turn += step * (feet[j, 3 + a] - feet[i, 3 + a])
                    far2 += step * step
                    pull[a] += feet[j, 3 + a]
                total += miss / (1.0 + along)
                bend -= turn / far2
        if n == 0:
            continue
        out[i, 6] = 0.5 * bend / n
        if weight == 0 and normal_weight == 0:
            continue
        move = weight * 0.5 * total / n
        size = 0.0
        for a in range(3):
            out[i, a] += move * feet[i, 3 + a]
            out[i, 3 + a] = (1.0 - normal_weight) * feet[i, 3 + a] + normal_weight * 0.5 * pull[a] / n
            size += out[i, 3 + a] ** 2
        size = math.sqrt(size)
        for a in range(3):
            out[i, 3 + a] /= size
