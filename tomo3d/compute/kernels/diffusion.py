"""Steady diffusion on a grid: the finite-volume operator, Gauss-Seidel sweeps, and aggregation to a coarser grid.

Arrays have one layer of zeros around the grid, so that no loop tests for its border. `gz[z, y, x]` is the
conductance of the face between (z - 1, y, x) and (z, y, x), and so on; those of the first and last faces along z lead
to the layer of zeros, which holds the two ends at 0. Kernels release the GIL and work on the planes first <= z <
last: callers run them in threads.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def conductances_cpu(
    diffusivity: np.ndarray, weights: np.ndarray, gz: np.ndarray, gy: np.ndarray, gx: np.ndarray
) -> None:
    """Harmonic means across faces times the weight of their axis; half a voxel at both ends along z."""
    n_z, n_y, n_x = diffusivity.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                d = diffusivity[z, y, x]
                if d == 0:
                    continue
                if z == 0:
                    gz[1, y + 1, x + 1] = 2.0 * weights[0] * d
                if z == n_z - 1:
                    gz[n_z + 1, y + 1, x + 1] = 2.0 * weights[0] * d
                if z > 0:
                    e = diffusivity[z - 1, y, x]
                    gz[z + 1, y + 1, x + 1] = weights[0] * 2.0 * d * e / (d + e)
                if y > 0:
                    e = diffusivity[z, y - 1, x]
                    gy[z + 1, y + 1, x + 1] = weights[1] * 2.0 * d * e / (d + e)
                if x > 0:
                    e = diffusivity[z, y, x - 1]
                    gx[z + 1, y + 1, x + 1] = weights[2] * 2.0 * d * e / (d + e)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _slope(smooth: np.ndarray, z: int, y: int, x: int, axis: int) -> float:
    """Central difference along an axis, one-sided at the border, per voxel."""
    a, b = (z, y, x), (z, y, x)
    n = smooth.shape[axis]
    here = a[axis]
    before, after = max(here - 1, 0), min(here + 1, n - 1)
    if after == before:
        return 0.0
    if axis == 0:
        a, b = (before, y, x), (after, y, x)
    elif axis == 1:
        a, b = (z, before, x), (z, after, x)
    else:
        a, b = (z, y, before), (z, y, after)
    return (smooth[b] - smooth[a]) / (after - before)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _open_share(above: float, s: float, t: float) -> float:
    """Share of a unit square where above + s u + t v > 0, u and v from -1/2 to 1/2."""
    a, b = max(abs(s), abs(t)), min(abs(s), abs(t))
    if a < 1e-3:
        return 1.0 if above > 0 else 0.0
    if b < 1e-3:
        return min(max(0.5 + above / a, 0.0), 1.0)
    total = 0.0
    for i in (-0.5, 0.5):
        for j in (-0.5, 0.5):
            reach = max(above + i * a + j * b, 0.0)
            total += (2.0 * i) * (2.0 * j) * 0.5 * reach * reach
    return min(max(total / (a * b), 0.0), 1.0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def corner_conductances_cpu(
    diffusivity: np.ndarray,
    smooth: np.ndarray,
    weights: np.ndarray,
    gz: np.ndarray,
    gy: np.ndarray,
    gx: np.ndarray,
) -> None:
    """Let the corners of stairs conduct: voxels outside that the wall between the stairs cuts.

    Such a voxel touches conducting ones along at least two axes, on one side of each, and every two of those share
    another neighbour that conducts: so it joins only what is joined beside it. Its faces are open as far as the wall
    leaves them, which is where `smooth` (the conducting region, smoothed) is above 1/2.
    """
    n_z, n_y, n_x = diffusivity.shape
    side = np.zeros(3, np.int64)
    step = np.zeros((3, 3), np.int64)
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                if diffusivity[z, y, x] > 0:
                    continue
                n_sides = 0
                is_corner = True
                step[:] = 0
                for axis in range(3):
                    side[axis] = 0
                    for d in (-1, 1):
                        k, j, i = z + d * (axis == 0), y + d * (axis == 1), x + d * (axis == 2)
                        if not (0 <= k < n_z and 0 <= j < n_y and 0 <= i < n_x):
                            continue
                        if diffusivity[k, j, i] > 0:
                            if side[axis] != 0:
                                is_corner = False
                            side[axis] = d
                            step[axis, axis] = d
                    n_sides += side[axis] != 0
                if not is_corner or n_sides < 2:
                    continue
                for a in range(2):
                    for b in range(a + 1, 3):
                        if side[a] != 0 and side[b] != 0:
                            k = z + step[a, 0] + step[b, 0]
                            j = y + step[a, 1] + step[b, 1]
                            i = x + step[a, 2] + step[b, 2]
                            if diffusivity[k, j, i] == 0:
                                is_corner = False
                if not is_corner:
                    continue
                for axis in range(3):
                    if side[axis] == 0:
                        continue
                    k, j, i = z + step[axis, 0], y + step[axis, 1], x + step[axis, 2]
                    above = 0.5 * (smooth[z, y, x] + smooth[k, j, i]) - 0.5
                    s, t = (axis + 1) % 3, (axis + 2) % 3
                    slope_s = 0.5 * (_slope(smooth, z, y, x, s) + _slope(smooth, k, j, i, s))
                    slope_t = 0.5 * (_slope(smooth, z, y, x, t) + _slope(smooth, k, j, i, t))
                    g = weights[axis] * diffusivity[k, j, i] * _open_share(above, slope_s, slope_t)
                    if axis == 0:
                        gz[max(z, k) + 1, y + 1, x + 1] = g
                    elif axis == 1:
                        gy[z + 1, max(y, j) + 1, x + 1] = g
                    else:
                        gx[z + 1, y + 1, max(x, i) + 1] = g


@numba.njit(nogil=True, cache=True, error_model="numpy")
def diagonal_cpu(gz: np.ndarray, gy: np.ndarray, gx: np.ndarray, diagonal: np.ndarray) -> None:
    """Sum of the conductances of each voxel; 1 where nothing conducts, so that nothing is divided by 0."""
    n_z, n_y, n_x = diagonal.shape
    for z in range(1, n_z - 1):
        for y in range(1, n_y - 1):
            for x in range(1, n_x - 1):
                total = gz[z, y, x] + gz[z + 1, y, x] + gy[z, y, x] + gy[z, y + 1, x] + gx[z, y, x]
                total += gx[z, y, x + 1]
                diagonal[z, y, x] = total if total > 0 else 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def aggregate_cpu(fine: np.ndarray, factors: np.ndarray, axis: int, coarse: np.ndarray) -> None:
    """Add up the conductances of faces between voxels of a coarser grid (Galerkin, constant in each)."""
    n_z, n_y, n_x = fine.shape
    last = (coarse.shape[0] - 1, coarse.shape[1] - 1, coarse.shape[2] - 1)
    for z in range(1, n_z):
        cz = last[0] if z == n_z - 1 else (z - 1) // factors[0] + 1
        if axis == 0 and z < n_z - 1 and (z - 1) % factors[0]:
            continue
        for y in range(1, n_y):
            cy = last[1] if y == n_y - 1 else (y - 1) // factors[1] + 1
            if axis == 1 and y < n_y - 1 and (y - 1) % factors[1]:
                continue
            for x in range(1, n_x):
                cx = last[2] if x == n_x - 1 else (x - 1) // factors[2] + 1
                if axis == 2 and x < n_x - 1 and (x - 1) % factors[2]:
                    continue
                coarse[cz, cy, cx] += fine[z, y, x]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def smooth_cpu(
    first: int,
    last: int,
    gz: np.ndarray,
    gy: np.ndarray,
    gx: np.ndarray,
    diagonal: np.ndarray,
    b: np.ndarray,
    colour: int,
    x: np.ndarray,
) -> None:
    """Gauss-Seidel on the voxels of one colour of a checkerboard."""
    _, n_y, n_x = x.shape
    for k in range(first, last):
        for j in range(1, n_y - 1):
            for i in range(1 + (k + j + colour) % 2, n_x - 1, 2):
                total = b[k, j, i] + gz[k, j, i] * x[k - 1, j, i] + gz[k + 1, j, i] * x[k + 1, j, i]
                total += gy[k, j, i] * x[k, j - 1, i] + gy[k, j + 1, i] * x[k, j + 1, i]
                total += gx[k, j, i] * x[k, j, i - 1] + gx[k, j, i + 1] * x[k, j, i + 1]
                x[k, j, i] = total / diagonal[k, j, i]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def restrict_residual_cpu(
    first: int,
    last: int,
    gz: np.ndarray,
    gy: np.ndarray,
    gx: np.ndarray,
    diagonal: np.ndarray,
    b: np.ndarray,
    x: np.ndarray,
    factors: np.ndarray,
    coarse: np.ndarray,
) -> None:
    """coarse <- sum of b - A x over each voxel of the coarser grid; first and last are planes of that grid."""
    n_z, n_y, n_x = x.shape
    row = np.empty(n_x, x.dtype)
    for c in range(first, last):
        coarse[c, 1:-1, 1:-1] = 0.0
        for k in range((c - 1) * factors[0] + 1, min(c * factors[0] + 1, n_z - 1)):
            for j in range(1, n_y - 1):
                cy = (j - 1) // factors[1] + 1
                for i in range(1, n_x - 1):
                    total = b[k, j, i] - diagonal[k, j, i] * x[k, j, i]
                    total += gz[k, j, i] * x[k - 1, j, i] + gz[k + 1, j, i] * x[k + 1, j, i]
                    total += gy[k, j, i] * x[k, j - 1, i] + gy[k, j + 1, i] * x[k, j + 1, i]
                    total += gx[k, j, i] * x[k, j, i - 1] + gx[k, j, i + 1] * x[k, j, i + 1]
                    row[i] = total
                for i in range(1, n_x - 1):
                    coarse[c, cy, (i - 1) // factors[2] + 1] += row[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def prolong_cpu(first: int, last: int, coarse: np.ndarray, factors: np.ndarray, x: np.ndarray) -> None:
    """x += the value of the voxel of the coarser grid that each voxel belongs to."""
    _, n_y, n_x = x.shape
    for k in range(first, last):
        c = (k - 1) // factors[0] + 1
        for j in range(1, n_y - 1):
            cy = (j - 1) // factors[1] + 1
            for i in range(1, n_x - 1):
                x[k, j, i] += coarse[c, cy, (i - 1) // factors[2] + 1]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def apply_cpu(
    first: int, last: int, gz: np.ndarray, gy: np.ndarray, gx: np.ndarray, p: np.ndarray, q: np.ndarray
) -> float:
    """q <- A p, by differences, so that no flux is lost to rounding; returns p . q."""
    _, n_y, n_x = p.shape
    dot = 0.0
    for k in range(first, last):
        for j in range(1, n_y - 1):
            for i in range(1, n_x - 1):
                here = p[k, j, i]
                total = gz[k, j, i] * (here - p[k - 1, j, i]) + gz[k + 1, j, i] * (here - p[k + 1, j, i])
                total += gy[k, j, i] * (here - p[k, j - 1, i]) + gy[k, j + 1, i] * (here - p[k, j + 1, i])
                total += gx[k, j, i] * (here - p[k, j, i - 1]) + gx[k, j, i + 1] * (here - p[k, j, i + 1])
                q[k, j, i] = total
                dot += here * total
    return dot


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def step_cpu(
    first: int,
    last: int,
    step: float,
    p: np.ndarray,
    q: np.ndarray,
    x: np.ndarray,
    r: np.ndarray,
    b: np.ndarray,
) -> float:
    """x += step p, r -= step q, b <- r in single precision; returns the sum of |r|."""
    _, n_y, n_x = x.shape
    total = 0.0
    for k in range(first, last):
        for j in range(1, n_y - 1):
            for i in range(1, n_x - 1):
                x[k, j, i] += step * p[k, j, i]
                r[k, j, i] -= step * q[k, j, i]
                b[k, j, i] = r[k, j, i]
                total += abs(r[k, j, i])
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def dots_cpu(first: int, last: int, z: np.ndarray, r: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """(z . r, z . q)."""
    _, n_y, n_x = z.shape
    zr, zq = 0.0, 0.0
    for k in range(first, last):
        for j in range(1, n_y - 1):
            for i in range(1, n_x - 1):
                zr += z[k, j, i] * r[k, j, i]
                zq += z[k, j, i] * q[k, j, i]
    return zr, zq


@numba.njit(nogil=True, cache=True, error_model="numpy")
def turn_cpu(first: int, last: int, z: np.ndarray, factor: float, p: np.ndarray) -> None:
    """p <- z + factor p."""
    _, n_y, n_x = z.shape
    for k in range(first, last):
        for j in range(1, n_y - 1):
            for i in range(1, n_x - 1):
                p[k, j, i] = z[k, j, i] + factor * p[k, j, i]
