"""A multigrid cycle for conductances on a grid: the preconditioner of steady diffusion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import linalg

from tomo3d.compute import backend
from tomo3d.compute.kernels import diffusion as kernels

_N_DIRECT = 600  # voxels: a grid of so many is solved directly
_WORTH_THREADS = 100_000  # voxels
_ALMOST_ISOTROPIC = 2.5  # axes that conduct less than 1 / this of the best one are not coarsened yet


class Threads:
    """Runs kernels on the planes of padded grids: in threads where they are worth it."""

    def __init__(self, pool: ThreadPoolExecutor, n_threads: int) -> None:
        self._pool, self._n_threads = pool, n_threads

    def run(self, kernel: Callable[..., Any], shape: tuple[int, ...], *arguments: Any) -> list[Any]:
        """What kernel(first, last, *arguments) returns for each part of the planes of a padded grid."""
        n_planes = shape[0] - 2
        n_parts = min(4 * self._n_threads, n_planes) if math.prod(shape) >= _WORTH_THREADS else 1
        if n_parts == 1 or self._n_threads == 1:
            return [kernel(1, n_planes + 1, *arguments)]
        ends = [1 + n_planes * i // n_parts for i in range(n_parts + 1)]
        parts = itertools.pairwise(ends)
        return list(self._pool.map(lambda part: kernel(*part, *arguments), parts))


@dataclass(eq=False)
class Level:
    """One grid: conductances between its voxels, right side and solution, all with one layer of zeros around."""

    gz: np.ndarray
    gy: np.ndarray
    gx: np.ndarray
    diagonal: np.ndarray = field(init=False)
    b: np.ndarray = field(init=False)
    x: np.ndarray = field(init=False)
    factors: np.ndarray | None = None  # voxels along each axis that make one of the next grid
    direct: Any = None  # Cholesky factor of the coarsest grid

    def __post_init__(self) -> None:
        self.diagonal = np.ones_like(self.gz)
        kernels.diagonal_cpu(self.gz, self.gy, self.gx, self.diagonal)
        self.b, self.x = np.zeros_like(self.gz), np.zeros_like(self.gz)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the padded grid."""
        return self.gz.shape


class Multigrid:
    """Levels of ever coarser grids, and one cycle through them.

    Voxels are joined two by two along the axes that conduct best, values are constant in what is joined (so that a
    coarse voxel joins only what the finer one did), and coarse corrections are combined by two steps of conjugate
    gradients (Notay and Vassilevski, Numer. Linear Algebra Appl. 15 (2008) 473-487, doi:10.1002/nla.542), which finds
    the scale that plain aggregation lacks.
    """

    def __init__(self, level: Level, strengths: np.ndarray, threads: Threads) -> None:
        self.levels, self._threads = [level], threads
        strengths = np.array(strengths, dtype=np.float64)
        while math.prod(n - 2 for n in self.levels[-1].shape) > _N_DIRECT:
            strengths = self._coarsen(strengths)
        self.levels[-1].direct = _factor(self.levels[-1])

    def cycle(self, i: int = 0) -> None:
        """levels[i].x <- an approximate solution of A x = levels[i].b."""
        level, run = self.levels[i], self._threads.run
        if level.direct is not None:
            inner = (slice(1, -1),) * 3
            solved = linalg.cho_solve(level.direct, level.b[inner].ravel(), check_finite=False)
            level.x[inner] = solved.reshape(level.x[inner].shape)
            return
        coarse = self.levels[i + 1]
        system = (level.gz, level.gy, level.gx, level.diagonal, level.b)
        level.x[:] = 0.0
        for colour in (0, 1):
            run(kernels.smooth_cpu, level.shape, *system, colour, level.x)
        run(kernels.restrict_residual_cpu, coarse.shape, *system, level.x, level.factors, coarse.b)
        self._solve(i + 1)
        run(kernels.prolong_cpu, level.shape, coarse.x, level.factors, level.x)
        for colour in (1, 0):
            run(kernels.smooth_cpu, level.shape, *system, colour, level.x)

    def _solve(self, i: int) -> None:
        """Two steps of conjugate gradients, each preconditioned by a cycle; one where that is enough."""
        level = self.levels[i]
        self.cycle(i)
        if level.direct is not None:
            return
        b, c = level.b.copy(), level.x.copy()
        v, rho = self._applied(level, c)
        if not rho > 0:
            return
        alpha = _dot(c, b)
        level.b -= np.float32(alpha / rho) * v
        if _dot(level.b, level.b) <= 0.0625 * _dot(b, b):
            level.x *= np.float32(alpha / rho)
        else:
            self.cycle(i)
            d = level.x
            _, beta = self._applied(level, d)
            gamma = _dot(d, v)
            rest = beta - gamma * gamma / rho
            step = _dot(d, level.b) / rest if rest > 0 else 0.0
            d *= np.float32(step)
            d += np.float32((alpha - gamma * step) / rho) * c
        level.b[:] = b

    def _applied(self, level: Level, x: np.ndarray) -> tuple[np.ndarray, float]:
        y = np.zeros_like(x)
        parts = self._threads.run(kernels.apply_cpu, level.shape, level.gz, level.gy, level.gx, x, y)
        return y, math.fsum(parts)

    def _coarsen(self, strengths: np.ndarray) -> np.ndarray:
        """Add the next level; returns how well its axes conduct."""
        fine = self.levels[-1]
        inner = np.array(fine.shape) - 2
        is_wide = inner > 1
        best = strengths[is_wide].max()
        fine.factors = np.where(is_wide & (strengths * _ALMOST_ISOTROPIC >= best), 2, 1)
        shape = tuple(int(n) for n in -(-inner // fine.factors) + 2)
        sums = []
        for axis, conductance in enumerate((fine.gz, fine.gy, fine.gx)):
            coarse = np.zeros(shape, dtype=np.float32)
            kernels.aggregate_cpu(conductance, fine.factors, axis, coarse)
            sums.append(coarse)
        self.levels.append(Level(*sums))
        return strengths / fine.factors**2


def _factor(level: Level) -> Any:
    """Cholesky factor of the matrix of a small grid."""
    shape = tuple(n - 2 for n in level.shape)
    number = np.arange(math.prod(shape)).reshape(shape)
    matrix = np.diag(level.diagonal[1:-1, 1:-1, 1:-1].ravel().astype(np.float64))
    for axis, conductance in enumerate((level.gz, level.gy, level.gx)):
        place = [slice(1, -1)] * 3
        place[axis] = slice(2, -1)
        between = conductance[tuple(place)].ravel()
        before, after = (np.delete(number, end, axis=axis).ravel() for end in (-1, 0))
        matrix[before, after] = matrix[after, before] = -between
    matrix[np.diag_indices_from(matrix)] *= (
        1.0 + 1e-6
    )  # sums of single precision may fall short of their parts
    return linalg.cho_factor(matrix, check_finite=False)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a.ravel(), b.ravel()))


def threads() -> tuple[ThreadPoolExecutor, Threads]:
    """A pool for as many threads as there are cores, and what runs kernels in it."""
    n = backend.n_threads()
    pool = ThreadPoolExecutor(n)
    return pool, Threads(pool, n)
