"""Discrete algebraic reconstruction: volumes of few grey levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.inner_order import zeros_beside
from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._equations import Equations, Step
from tomo3d.compute.solvers._pieces import in_pieces
from tomo3d.compute.solvers._sirt import Sirt

Array = Any
_ROUNDS = 5  # of segmenting and fitting, when levels are estimated
_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
# pairs of neighbours in a slice, (z, x), each once: along x, along z, and along both diagonals
_NEIGHBOURS = (
    ((_ALL, _FIRST), (_ALL, _LAST)),
    ((_FIRST, _ALL), (_LAST, _ALL)),
    ((_FIRST, _FIRST), (_LAST, _LAST)),
    ((_FIRST, _LAST), (_LAST, _FIRST)),
)


@dataclass(frozen=True)
class Dart:
    """Discrete algebraic reconstruction technique, in which only the borders of the regions stay free.

    K. J. Batenburg and J. Sijbers, IEEE Trans. Image Process. 20 (2011) 2542-2553, doi:10.1109/TIP.2011.2131661.
    In each iteration every voxel is set to its nearest level; those beside another level, and others at random
    with probability `free_share`, are free; `n_inner` steps of SIRT change them alone; they are smoothed, by
    `smoothing` of the mean of their neighbours. Slices along y are independent.
    """

    levels: tuple[float, ...]
    n_start: int = 20
    n_inner: int = 10
    free_share: float = 0.1
    smoothing: float = 0.2
    seed: int = 0

    title: ClassVar[str] = "DART"
    n_volumes: ClassVar[int] = 5
    n_images: ClassVar[int] = 4
    couples_slices: ClassVar[bool] = False

    @property
    def most_eigenvalue(self) -> float:
        """As for `Sirt`, whose steps it takes."""
        return Sirt().most_eigenvalue

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Make x the volume of levels, in place, once before each yield; it begins as a continuous one.

        Without an initial volume, `n_start` steps of SIRT come first. The power is that of the volume of levels
        before the iteration; in the first, of the one that the start gives.
        """
        xp = backend.namespace(x)
        if not equations.is_started:
            start(equations, x, constraint, self.n_start)
        draws = [np.random.default_rng((self.seed, int(y))) for y in equations.slices]
        grey = equations.volume()
        grey[...] = x
        residual, step = equations.images(), equations.volume()
        labels = quantise(grey, self.levels, x, constraint)
        while True:
            squares = equations.residual(x, residual)
            free = _borders(labels)
            free |= _random(draws, free.shape, self.free_share, xp)
            if constraint.mask is not None:
                free &= constraint.mask
            grey[...] = xp.where(free, grey, x)
            step[...] = free
            rows = equations.weights.inverse_sums("forward_inner", step, equations.projector)
            if equations.seen is not None:
                rows *= equations.seen
            bounded = replace(constraint, mask=None)
            for _ in range(self.n_inner):
                equations.residual(grey, residual, weights=rows)
                equations.projector.back_inner(residual, out=step)
                in_pieces(partial(_add, grey, step, equations.column_weights, free, bounded), x)
            _smooth(grey, free, self.smoothing, step)
            labels = quantise(grey, self.levels, x, constraint)
            yield Step(squares)


def start(equations: Equations, x: Array, constraint: Constraint, n_iterations: int) -> None:
    """SIRT from where x is."""
    for _, _ in zip(range(n_iterations), Sirt().steps(equations, x, constraint), strict=False):
        pass


def quantise(grey: Array, levels: tuple[float, ...], x: Array, constraint: Constraint) -> Array:
    """Set x to the nearest of the ascending levels, 0 outside the mask; their indices (uint8)."""
    xp = backend.namespace(grey)
    values = np.asarray(levels, dtype=np.float32)
    labels = xp.zeros(grey.shape, dtype=np.uint8)
    for border in 0.5 * (values[1:] + values[:-1]):
        labels += grey > border
    x[...] = xp.asarray(values)[labels]
    if constraint.mask is not None:
        x *= constraint.mask
    return labels


def estimate_levels(
    equations: Equations, x: Array, constraint: Constraint, n_levels: int, n_iterations: int
) -> tuple[float, ...]:
    """Levels that explain the projections of a segmented SIRT volume best, ascending.

    Segmentation by the borders halfway between levels and the least-squares fit of the levels take turns (after
    W. van Aarle, K. J. Batenburg and J. Sijbers, IEEE Trans. Image Process. 21 (2012) 4608-4621, who search
    for both together). `x` is worked in.

    Raises
    ------
    ValueError
        If the volume has not so many distinct levels.
    """
    if not bool(x.any()):
        start(equations, x, constraint, n_iterations)
    low, high = (float(np.percentile(_to_numpy(x), share)) for share in (1, 99))
    levels = tuple(np.linspace(low, high, n_levels))
    for round_ in range(_ROUNDS + 1):
        labels = quantise(x, levels, equations.volume(), constraint)
        if round_ == 0:  # means first: the range says little about where the levels lie
            fitted = _cluster(x, labels, n_levels)
        else:
            fitted = _fit(equations, labels, n_levels, constraint)
        levels = tuple(sorted(fitted))
    if not all(np.diff(levels) > 1e-3 * max(abs(levels[0]), abs(levels[-1]))):
        raise ValueError(
            f"the series must show {n_levels} distinct levels, found {[f'{level:.3g}' for level in levels]}: "
            "give the levels themselves, or fewer."
        )
    return levels


def _cluster(x: Array, labels: Array, n_levels: int) -> list[float]:
    """Means of the values nearest to each of `n_levels` centres (k-means of the histogram)."""
    values, edges = np.histogram(_to_numpy(x), bins=512)
    middle = 0.5 * (edges[1:] + edges[:-1])
    xp = backend.namespace(x)
    centres = np.array(
        [float(x[labels == k].mean()) if bool(xp.any(labels == k)) else np.nan for k in range(n_levels)]
    )
    spread = np.linspace(middle[0], middle[-1], n_levels)
    centres = np.where(np.isnan(centres), spread, centres)
    for _ in range(100):
        nearest = np.abs(middle[:, None] - centres).argmin(axis=1)
        weight = np.bincount(nearest, values, n_levels)
        mean = np.bincount(nearest, values * middle, n_levels) / np.maximum(weight, 1)
        centres = np.where(weight > 0, mean, centres)
    return [float(centre) for centre in centres]


def _fit(equations: Equations, labels: Array, n_levels: int, constraint: Constraint) -> list[float]:
    """Levels of the labelled regions by least squares on the measured pixels."""
    projections = []
    for k in range(n_levels):
        region = equations.volume()
        region[...] = labels == k
        if constraint.mask is not None:
            region *= constraint.mask
        projection = equations.projector.forward_inner(region)
        if equations.seen is not None:
            projection *= equations.seen
        projections.append(projection)
    gram = np.array([[float((a * b).sum(dtype=np.float64)) for b in projections] for a in projections])
    right = np.array([float((a * equations.measured).sum(dtype=np.float64)) for a in projections])
    return [float(level) for level in np.linalg.lstsq(gram, right, rcond=None)[0]]


def _borders(labels: Array) -> Array:
    """Whether one of the eight neighbours in the slice has another label."""
    xp = backend.namespace(labels)
    found = xp.zeros(labels.shape, dtype=bool)
    for here, there in _NEIGHBOURS:
        differs = labels[here] != labels[there]
        found[here] |= differs
        found[there] |= differs
    return found


def _random(draws: list[np.random.Generator], shape: tuple[int, ...], share: float, xp: Any) -> Array:
    """Voxels chosen at random, each slice by a generator of its own, so that slabs do not matter."""
    chosen = np.empty(shape, dtype=bool)
    for y, draw in enumerate(draws):
        chosen[:, :, y] = draw.random(shape[:2], dtype=np.float32) < share
    return xp.asarray(chosen)


def _add(grey: Array, step: Array, columns: Array, free: Array, constraint: Constraint, piece: slice) -> None:
    part = step[piece]
    part *= columns[piece]
    part *= free[piece]
    grey[piece] += part
    constraint.apply(grey, piece)


def _smooth(grey: Array, free: Array, share: float, room: Array) -> None:
    """Mix `share` of the mean of the eight neighbours in the slice into the free voxels."""
    if share == 0.0:
        return
    xp = backend.namespace(grey)
    n_z, n_x = grey.shape[:2]
    room[...] = 0
    count = zeros_beside(grey, (n_z, n_x, 1))
    for here, there in _NEIGHBOURS:
        room[here] += grey[there]
        room[there] += grey[here]
        count[here] += 1
        count[there] += 1
    room /= xp.maximum(count, 1)
    room -= grey
    room *= free
    room *= np.float32(share)
    grey += room


def _to_numpy(array: Array) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.get()
