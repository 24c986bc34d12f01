"""Profiles of the grey value along normals: sampling, smoothing and averaging along a surface. Kernels release the GIL.

Points are sorted into cells of at least the radius, so that neighbours lie in the 27 cells around a point.
"""

import math

import numba
import numpy as np

from tomo3d.compute.kernels.least_squares import solve_damped

_SAME_SIDE = 0.5  # cosine: a neighbour whose normal turns by more than 60 deg is another face


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _keys(t: float) -> tuple[float, float, float, float]:
    """Weights of four samples at -1, 0, 1 and 2 for a place t in [0, 1] (Keys 1981, a = -1/2)."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cubic_at(grey: np.ndarray, z: float, y: float, x: float) -> float:
    """Grey value at a place in voxels, by cubics; nan beyond the faces of the outermost voxels."""
    n_z, n_y, n_x = grey.shape
    if not (-0.5 <= z <= n_z - 0.5 and -0.5 <= y <= n_y - 0.5 and -0.5 <= x <= n_x - 0.5):
        return math.nan
    kz, ky, kx = math.floor(z), math.floor(y), math.floor(x)
    a, b, c = _keys(z - kz), _keys(y - ky), _keys(x - kx)
    x0, x1 = max(kx - 1, 0), max(kx, 0)
    x2, x3 = min(kx + 1, n_x - 1), min(kx + 2, n_x - 1)
    total = 0.0
    for dz in range(4):
        pz = min(max(kz + dz - 1, 0), n_z - 1)
        plane = 0.0
        for dy in range(4):
            row = grey[pz, min(max(ky + dy - 1, 0), n_y - 1)]
            plane += b[dy] * (c[0] * row[x0] + c[1] * row[x1] + c[2] * row[x2] + c[3] * row[x3])
        total += a[dz] * plane
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sample_profiles_cpu(
    grey: np.ndarray, index: np.ndarray, direction: np.ndarray, steps: np.ndarray, out: np.ndarray
) -> None:
    """out[i, k] <- grey at index[i] + steps[k] direction[i], by cubics; nan beyond the faces of the outermost voxels.

    `index` and `direction` (n, 3) are (z, y, x) in voxels and voxels per step.
    """
    for i in range(len(index)):
        for k in range(len(steps)):
            out[i, k] = cubic_at(
                grey,
                index[i, 0] + steps[k] * direction[i, 0],
                index[i, 1] + steps[k] * direction[i, 1],
                index[i, 2] + steps[k] * direction[i, 2],
            )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def smooth_points_cpu(
    points: np.ndarray,
    normals: np.ndarray,
    weights: np.ndarray,
    cell_of: np.ndarray,
    starts: np.ndarray,
    shape: np.ndarray,
    radius: float,
    first: int,
    last: int,
    new_points: np.ndarray,
    new_normals: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Points `first` to `last` of a quadric fitted to the neighbours within the radius, its normals and curvatures.

    Curvatures (n, 2) are the mean and the least of the principal ones, 1 / R both on a ball of radius R.

    Points are sorted by cell, `starts` (n_cells + 1,); `cell_of` (n, 3). Where there are fewer than ten neighbours a
    point stays as it is, and its curvatures are 0.
    """
    system, root = np.empty((6, 6)), np.empty((6, 6))
    right, solution, base = np.empty(6), np.empty(6), np.empty(6)
    frame = np.empty((2, 3))
    for i in range(first, last):
        _tangents(normals[i], frame)
        system[:], right[:] = 0.0, 0.0
        n_near = 0
        for j0, j1 in _ranges(cell_of[i], starts, shape):
            for j in range(j0, j1):
                dz, dy, dx = (
                    points[j, 0] - points[i, 0],
                    points[j, 1] - points[i, 1],
                    points[j, 2] - points[i, 2],
                )
                square = (dz * dz + dy * dy + dx * dx) / (radius * radius)
                if square >= 1.0 or _cosine(normals, i, j) < _SAME_SIDE:
                    continue
                weight = weights[j] * (1.0 - square)
                u = (dz * frame[0, 0] + dy * frame[0, 1] + dx * frame[0, 2]) / radius
                v = (dz * frame[1, 0] + dy * frame[1, 1] + dx * frame[1, 2]) / radius
                height = dz * normals[i, 0] + dy * normals[i, 1] + dx * normals[i, 2]
                base[0], base[1], base[2] = 1.0, u, v
                base[3], base[4], base[5] = u * u, u * v, v * v
                for p in range(6):
                    right[p] += weight * base[p] * height
                    for q in range(p, 6):
                        system[p, q] += weight * base[p] * base[q]
                n_near += 1
        new_points[i], new_normals[i], curvatures[i] = points[i], normals[i], 0.0
        if n_near < 10:
            continue
        if not solve_damped(system, right, 1e-9, 6, root, solution):
            continue
        mean = -(solution[3] + solution[5]) / (radius * radius)
        spread = math.hypot(solution[3] - solution[5], solution[4]) / (radius * radius)
        curvatures[i, 0], curvatures[i, 1] = mean, mean - spread
        length = math.sqrt(1.0 + (solution[1] ** 2 + solution[2] ** 2) / (radius * radius))
        for axis in range(3):
            new_points[i, axis] += solution[0] * normals[i, axis]
            slope = solution[1] * frame[0, axis] + solution[2] * frame[1, axis]
            new_normals[i, axis] = (normals[i, axis] - slope / radius) / length


@numba.njit(nogil=True, cache=True, error_model="numpy")
def average_profiles_cpu(
    points: np.ndarray,
    normals: np.ndarray,
    weights: np.ndarray,
    cell_of: np.ndarray,
    starts: np.ndarray,
    shape: np.ndarray,
    radius: float,
    first: int,
    last: int,
    profiles: np.ndarray,
    out: np.ndarray,
) -> None:
    """out[i] <- mean of the profiles of neighbours within the radius, nearer ones counting more; nan is left out."""
    n_steps = profiles.shape[1]
    total, weight_of = np.empty(n_steps), np.empty(n_steps)
    for i in range(first, last):
        total[:], weight_of[:] = 0.0, 0.0
        for j0, j1 in _ranges(cell_of[i], starts, shape):
            for j in range(j0, j1):
                dz, dy, dx = (
                    points[j, 0] - points[i, 0],
                    points[j, 1] - points[i, 1],
                    points[j, 2] - points[i, 2],
                )
                square = (dz * dz + dy * dy + dx * dx) / (radius * radius)
                if square >= 1.0 or _cosine(normals, i, j) < _SAME_SIDE:
                    continue
                weight = weights[j] * (1.0 - square)
                for k in range(n_steps):
                    value = profiles[j, k]
                    if not math.isnan(value):
                        total[k] += weight * value
                        weight_of[k] += weight
        for k in range(n_steps):
            # Where most rays have left the volume, those that have not are not the mean of all.
            is_known = weight_of[k] > 0.0 and not math.isnan(profiles[i, k])
            out[i, k] = total[k] / weight_of[k] if is_known else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _cosine(normals: np.ndarray, i: int, j: int) -> float:
    return normals[i, 0] * normals[j, 0] + normals[i, 1] * normals[j, 1] + normals[i, 2] * normals[j, 2]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ranges(cell: np.ndarray, starts: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """First and last point of each row of cells around a cell, (9, 2): a row along x is one range."""
    found = np.zeros((9, 2), dtype=np.int64)
    n = 0
    x0, x1 = max(cell[2] - 1, 0), min(cell[2] + 1, shape[2] - 1)
    for z in range(max(cell[0] - 1, 0), min(cell[0] + 2, shape[0])):
        for y in range(max(cell[1] - 1, 0), min(cell[1] + 2, shape[1])):
            row = (z * shape[1] + y) * shape[2]
            found[n, 0], found[n, 1] = starts[row + x0], starts[row + x1 + 1]
            n += 1
    return found


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _tangents(normal: np.ndarray, frame: np.ndarray) -> None:
    """Two unit vectors at right angles to a normal and to each other."""
    axis = 0
    for k in range(1, 3):
        if abs(normal[k]) < abs(normal[axis]):
            axis = k
    length = math.sqrt(1.0 - normal[axis] ** 2)
    for k in range(3):
        frame[0, k] = ((1.0 if k == axis else 0.0) - normal[axis] * normal[k]) / length
    frame[1, 0] = normal[1] * frame[0, 2] - normal[2] * frame[0, 1]
    frame[1, 1] = normal[2] * frame[0, 0] - normal[0] * frame[0, 2]
    frame[1, 2] = normal[0] * frame[0, 1] - normal[1] * frame[0, 0]
