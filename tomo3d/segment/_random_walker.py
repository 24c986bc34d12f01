"""Random walks from every voxel to the markers: which class they reach first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tomo3d import progress
from tomo3d.errors import ConvergenceError
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.segment.histogram import grey_range
from tomo3d.segment.markers import check_grids, marked_classes
from tomo3d.types import Labels, Volume

_LEAST_WEIGHT = 1e-10  # of a step across the steepest edge: no voxel is cut off
_MAX_ITERATIONS = 20_000
_RESIDUAL = 1e-6  # over the residual that the solver starts from
Weights = tuple[np.ndarray, np.ndarray, np.ndarray]


def _plan(volume: Sketch, *_: Any, n_classes: int = 4, **__: Any) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    n_voxels = math.prod(volume.shape)
    return Plan(result, result.n_bytes + (4 * n_classes + 3 * 8 + 7 * 8) * n_voxels)


@planned(_plan)
def random_walker(volume: Volume, markers: Labels, *, beta: float = 10.0, background: int = 0) -> Labels:
    """Classes by which marker a random walk reaches first, with its probability.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values.
    markers : Labels, same grid
        Some voxels of each class, numbered from 1; 0 where nothing is marked.
    beta : float
        How much a walk avoids edges: a step across a difference of one standard deviation of
        the grey values is exp(-beta) times as likely as one across none.
    background : int
        The marked class that turns into 0; 0 for none.

    Returns
    -------
    Labels, same grid, with the type and names of the markers
        The most probable class; `probabilities` (float32) are those of the marked classes in ascending order.

    Raises
    ------
    ValueError
        If no voxel is marked, all marks have one number, the grids differ, a grey value is not finite, `beta` is
        negative, or `background` is not a marked class.
    ConvergenceError
        If the solver does not bring its residual down by 1e6.

    Notes
    -----
    Grady [1]_: the probabilities are harmonic, 1 on the class's own markers and 0 on the others', in a network whose
    conductance between neighbours is exp(-beta (dg)^2 / var g) times face area over distance in nm, so that a
    volume of one grey value has the potential of physical space whatever its voxels. With one class of markers at
    either end of a bar, they are linear. Conjugate gradients with the diagonal as
    preconditioner, matrix-free; some hundred iterations. Not local: the volume is held whole.

    References
    ----------
    .. [1] IEEE Trans. Pattern Anal. Mach. Intell. 28 (2006) 1768-1783, doi:10.1109/TPAMI.2006.233
    """
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta must be zero or more, got {beta:g}.")
    check_grids(volume, markers, "markers")
    classes = marked_classes(markers)
    if background != 0 and background not in classes:
        raise ValueError(f"background must be one of the marked classes {classes} or 0, got {background}.")
    grey_range(volume)
    marked = np.asarray(markers.data)
    weights = _conductances(volume, beta)
    total = _degree(weights, marked.shape)
    free = marked == 0
    probabilities = np.empty((len(classes), *marked.shape), dtype=np.float32)
    rest = np.ones(marked.shape)
    for i, number in enumerate(classes[:-1]):
        found = _harmonic(weights, total, free, marked == number, f"random walk from class {number}")
        probabilities[i] = found
        rest -= found
    probabilities[-1] = rest
    np.clip(probabilities, 0.0, 1.0, out=probabilities)
    numbers = np.array([0 if number == background else number for number in classes], dtype=marked.dtype)
    data = numbers[probabilities.argmax(axis=0)]
    names = {0 if number == background else number: name for number, name in markers.names.items()}
    record = {"method": "random_walker", "beta": beta, "background": background, "classes": classes}
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, names, probabilities)


def _conductances(volume: Volume, beta: float) -> Weights:
    """Between each voxel and the next along z, y and x, in units of that of a cube across no difference."""
    data = np.asarray(volume.data).astype(np.float64)
    variance = float(data.var())
    edges = volume.voxel_size_nm
    cell = math.prod(edges) ** (1 / 3)
    found = []
    for axis in range(3):
        geometric = math.prod(edges) / edges[axis] ** 2 / cell  # face area over distance
        similar = np.ones(np.diff(data, axis=axis).shape)
        if variance > 0:
            similar = np.maximum(np.exp(-beta * np.diff(data, axis=axis) ** 2 / variance), _LEAST_WEIGHT)
        found.append(geometric * similar)
    return found[0], found[1], found[2]


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of the voxels before and after each step along an axis."""
    before, after = [slice(None)] * 3, [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def _degree(weights: Weights, shape: tuple[int, ...]) -> np.ndarray:
    """Sum of the conductances of each voxel."""
    total = np.zeros(shape)
    for axis, weight in enumerate(weights):
        before, after = _sides(axis)
        total[before] += weight
        total[after] += weight
    return total


def _laplacian(values: np.ndarray, weights: Weights, total: np.ndarray) -> np.ndarray:
    """What flows out of each voxel."""
    flow = total * values
    for axis, weight in enumerate(weights):
        before, after = _sides(axis)
        flow[before] -= weight * values[after]
        flow[after] -= weight * values[before]
    return flow


def _harmonic(
    weights: Weights, total: np.ndarray, free: np.ndarray, fixed: np.ndarray, what: str
) -> np.ndarray:
    """Potential that is `fixed` (1 or 0) where a voxel is not `free`: conjugate gradients on the free ones."""
    solution = fixed.astype(np.float64)
    if not free.any():
        return solution
    inverse = np.where(free, 1.0 / np.where(total > 0, total, 1.0), 0.0)
    residual = np.where(free, -_laplacian(solution, weights, total), 0.0)
    start = last = float(np.sqrt(np.vdot(residual, inverse * residual)))
    if start == 0.0:
        return solution
    direction = inverse * residual
    power = start**2
    for i in range(_MAX_ITERATIONS):
        flow = np.where(free, _laplacian(direction, weights, total), 0.0)
        step = power / float(np.vdot(direction, flow))
        solution += step * direction
        residual -= step * flow
        scaled = inverse * residual
        before, power = power, float(np.vdot(residual, scaled))
        last = math.sqrt(power)
        if last <= _RESIDUAL * start:
            progress.report(what, 1, 1)
            return solution
        direction *= power / before
        direction += scaled
        if i % 20 == 0:  # the logarithm of the residual falls about evenly
            progress.report(
                what, int(100 * math.log(start / last) / -math.log(_RESIDUAL)) if last < start else 0, 100
            )
    raise ConvergenceError(
        f"the random walk must settle within {_MAX_ITERATIONS} iterations, got a residual of {last / start:.2g} of the "
        "first. A smaller beta makes it easier."
    )
