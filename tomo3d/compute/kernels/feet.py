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
_N_STEPS = 2
_RIM = 3.0  # voxels from the border within which smoothing bends a surface that goes through it
_FACING = 0.8  # of a normal along the axis, from which on the surface does not go through the border there
_FARTHEST = 2.0  # voxels from a site to its foot
# Opposite directions in which the surface around a foot is looked at.
_COS, _SIN = np.cos(np.arange(4) * np.pi / 4), np.sin(np.arange(4) * np.pi / 4)
# Where the surface may be, above a tangent plane, in parts of a voxel: inside, the nearest site is known.
_DEPTHS = np.array([0.7, 1.7, -0.3, -1.3])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mark_sites(inside: np.ndarray, z: int, y: int, is_site: np.ndarray) -> None:
    """is_site[x] <- whether a voxel of the row is background and has a face to the structure."""
    n_z, n_y, n_x = inside.shape
    here = inside[z, y]
    below, above = inside[max(z - 1, 0), y], inside[min(z + 1, n_z - 1), y]
    before, after = inside[z, max(y - 1, 0)], inside[z, min(y + 1, n_y - 1)]
    for x in range(n_x):
        is_site[x] = below[x] | above[x] | before[x] | after[x]
    for x in range(1, n_x):
        is_site[x] |= here[x - 1]
    for x in range(n_x - 1):
        is_site[x] |= here[x + 1]
    for x in range(n_x):
        is_site[x] &= not here[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def count_sites_cpu(inside: np.ndarray, z: int, counts: np.ndarray) -> None:
    """counts[y] <- number of sites of each row of slice z."""
    is_site = np.empty(inside.shape[2], np.bool_)
    for y in range(inside.shape[1]):
        mark_sites(inside, z, y, is_site)
        n = 0
        for x in range(is_site.size):
            n += is_site[x]
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
    is_site = np.empty(n_x, np.bool_)
    for y in range(n_y):
        i = starts[y]
        if starts[y + 1] == i:
            continue
        mark_sites(inside, z, y, is_site)
        for x in range(n_x):
            if not is_site[x]:
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
                is_cut = min(z, n_z - 1 - z) < _RIM and abs(feet[i, 3]) < _FACING
                is_cut = is_cut or (min(y, n_y - 1 - y) < _RIM and abs(feet[i, 4]) < _FACING)
                is_cut = is_cut or (min(x, n_x - 1 - x) < _RIM and abs(feet[i, 5]) < _FACING)
                feet[i, 7] = 1.0 if is_cut else 2.0
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
    per_length: np.ndarray,
    steps: np.ndarray,
    is_deep: bool,
    i: int,
    away_z: float,
    away_y: float,
    away_x: float,
    least_along: float,
) -> int:
    """The foot beside foot i at `away` from it along the surface, or -1: one whose normal is much the same.

    It is looked for at `steps` (voxels) from there. With `is_deep` all these places lie within the volume.
    """
    n_z, n_y, n_x = feet[i, 3], feet[i, 4], feet[i, 5]
    far2 = away_z * away_z + away_y * away_y + away_x * away_x
    place_z = (feet[i, 0] + away_z) * per_length[0] + 0.5 - first
    place_y, place_x = (
        (feet[i, 1] + away_y) * per_length[1] + 0.5,
        (feet[i, 2] + away_x) * per_length[2] + 0.5,
    )
    last = -1
    for k in range(steps.shape[0]):
        z = math.floor(place_z + steps[k, 0])
        y = math.floor(place_y + steps[k, 1])
        x = math.floor(place_x + steps[k, 2])
        if not is_deep and not (
            0 <= z < nearest.shape[0] and 0 <= y < nearest.shape[1] and 0 <= x < nearest.shape[2]
        ):
            continue
        # Unsigned: no test for indices from the end.
        found = nearest[np.uint64(z), np.uint64(y), np.uint64(x)]
        if found < 0 or found in (i, last):
            continue
        j = np.uint64(found)
        if feet[j, 7] < feet[i, 7]:
            continue
        last = found
        if n_z * feet[j, 3] + n_y * feet[j, 4] + n_x * feet[j, 5] < least_along:
            continue
        # It must lie to that side: the nearest site of a voxel may be another.
        dot = (
            (feet[j, 0] - feet[i, 0]) * away_z
            + (feet[j, 1] - feet[i, 1]) * away_y
            + (feet[j, 2] - feet[i, 2]) * away_x
        )
        if 0.5 * far2 < dot < 1.5 * far2:
            return int(found)
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
    `weight` is theirs together for its place, `normal_weight` for its normal, the rest that of the foot itself.
    Positions are in units of `voxel`. Without neighbours the curvature stays as it was.
    """
    per_length = 1.0 / voxel
    edge = 1.0 / max(per_length[0], max(per_length[1], per_length[2]))
    steps = np.empty((_DEPTHS.size, 3))
    rim = _FARTHEST + 1.0 + distance / edge  # voxels within which all places are that are looked at
    for i in range(begin, end):
        for a in range(N_COLUMNS):
            out[i, a] = feet[i, a]
        if feet[i, 7] == 0:
            continue
        n_z, n_y, n_x = feet[i, 3], feet[i, 4], feet[i, 5]
        is_deep = True
        for a in range(3):
            along_axis = edge * feet[i, 3 + a] * per_length[a]
            for k in range(_DEPTHS.size):
                steps[k, a] = _DEPTHS[k] * along_axis
            place = feet[i, a] * per_length[a] - (first if a == 0 else 0)
            is_deep = is_deep and rim <= place <= nearest.shape[a] - 1 - rim
        # u and v span the tangent plane.
        if abs(n_z) <= abs(n_y) and abs(n_z) <= abs(n_x):
            u_z, u_y, u_x = 0.0, -n_x, n_y
        elif abs(n_y) <= abs(n_x):
            u_z, u_y, u_x = -n_x, 0.0, n_z
        else:
            u_z, u_y, u_x = -n_y, n_z, 0.0
        scale = distance / math.sqrt(u_z * u_z + u_y * u_y + u_x * u_x)
        u_z, u_y, u_x = scale * u_z, scale * u_y, scale * u_x
        v_z, v_y, v_x = n_y * u_x - n_x * u_y, n_x * u_z - n_z * u_x, n_z * u_y - n_y * u_z
        total, bend, n = 0.0, 0.0, 0
        pull_z, pull_y, pull_x = 0.0, 0.0, 0.0
        for k in range(_COS.size):
            away_z = _COS[k] * u_z + _SIN[k] * v_z
            away_y = _COS[k] * u_y + _SIN[k] * v_y
            away_x = _COS[k] * u_x + _SIN[k] * v_x
            one = _foot_at(
                feet, nearest, first, per_length, steps, is_deep, i, away_z, away_y, away_x, least_along
            )
            if one < 0:
                continue
            other = _foot_at(
                feet, nearest, first, per_length, steps, is_deep, i, -away_z, -away_y, -away_x, least_along
            )
            if other < 0:
                continue
            n += 2
            for j in (one, other):
                p_z, p_y, p_x = feet[j, 0] - feet[i, 0], feet[j, 1] - feet[i, 1], feet[j, 2] - feet[i, 2]
                m_z, m_y, m_x = feet[j, 3], feet[j, 4], feet[j, 5]
                up, down = p_z * n_z + p_y * n_y + p_x * n_x, p_z * m_z + p_y * m_y + p_x * m_x
                total += (up + down) / (1.0 + n_z * m_z + n_y * m_y + n_x * m_x)
                bend += (up - down) / (p_z * p_z + p_y * p_y + p_x * p_x)
                pull_z, pull_y, pull_x = pull_z + m_z, pull_y + m_y, pull_x + m_x
        if n == 0:
            continue
        out[i, 6] = bend / n
        move, own, share = weight * total / n, 1.0 - normal_weight, normal_weight / n
        to_z, to_y, to_x = own * n_z + share * pull_z, own * n_y + share * pull_y, own * n_x + share * pull_x
        scale = 1.0 / math.sqrt(to_z * to_z + to_y * to_y + to_x * to_x)
        out[i, 0] += move * n_z
        out[i, 1] += move * n_y
        out[i, 2] += move * n_x
        out[i, 3], out[i, 4], out[i, 5] = scale * to_z, scale * to_y, scale * to_x


@numba.njit(nogil=True, cache=True, error_model="numpy")
def unshrink_cpu(feet: np.ndarray, variance: float, max_bend: float, voxel: np.ndarray) -> None:
    """Put feet back where smoothing of that variance took them from, in voxels, and into units of length."""
    for i in range(feet.shape[0]):
        bend = min(max(feet[i, 6], -max_bend), max_bend)
        size = 0.0
        for a in range(3):
            feet[i, a] = (feet[i, a] - variance * bend * feet[i, 3 + a]) * voxel[a]
            feet[i, 3 + a] /= voxel[a]
            size += feet[i, 3 + a] ** 2
        for a in range(3):
            feet[i, 3 + a] /= math.sqrt(size)
        feet[i, 6] /= voxel[0]
