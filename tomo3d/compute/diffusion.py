"""Steady diffusion through a grid from one face to the opposite one, by finite volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tomo3d import progress
from tomo3d.compute.kernels import diffusion as kernels
from tomo3d.compute.multigrid import Level, Multigrid, Threads, threads
from tomo3d.errors import ConvergenceError

_WALL_SIGMA = 0.7  # voxels: the least that smooths stairs


@dataclass(frozen=True, eq=False)
class SteadyDiffusion:
    """What came of it."""

    diffusivity: float  # of the whole grid along z, in the unit of the input
    flux_mismatch: float  # (largest - least) / mean flux through the planes between slices
    bound: float  # sum of |residual| over the flux: no two planes differ by more
    n_iterations: int


def steady_diffusion(
    diffusivity: np.ndarray,
    voxel_size: tuple[float, float, float],
    *,
    tolerance: float,
    max_iterations: int,
    smooth_walls: bool,
    what: str = "diffusion",
) -> SteadyDiffusion:
    """Steady diffusion along z between the outer faces of the first and last plane; no flux through the sides.

    Parameters
    ----------
    diffusivity : ndarray of float32, shape (n_z, n_y, n_x)
        Of each voxel; 0 where nothing diffuses. Every voxel that conducts must be joined to both faces.
    voxel_size : tuple of float
        (z, y, x).
    tolerance : float
        The iteration ends where the sum of |residual| over all voxels is so much of the flux.
    max_iterations : int
    smooth_walls : bool
        Whether walls run straight through stairs of voxels: corners conduct as far as the wall leaves them open.
    what : str
        For progress.

    Raises
    ------
    ConvergenceError
        If the tolerance is not reached.

    Notes
    -----
    Conjugate gradients (flexible: the preconditioner is a multigrid cycle whose coarse grids iterate too) in double
    precision, the preconditioner in single. About 100 bytes a voxel.
    """
    shape = diffusivity.shape
    weights = (voxel_size[0] / np.array(voxel_size, dtype=np.float64)) ** 2
    padded = tuple(n + 2 for n in shape)
    gz, gy, gx = (np.zeros(padded, dtype=np.float32) for _ in range(3))
    kernels.conductances_cpu(diffusivity, weights, gz, gy, gx)
    if smooth_walls:
        smooth = ndimage.gaussian_filter((diffusivity > 0).astype(np.float32), _WALL_SIGMA, mode="nearest")
        kernels.corner_conductances_cpu(diffusivity, smooth, weights, gz, gy, gx)
    pool, over = threads()
    with pool:
        multigrid = Multigrid(Level(gz, gy, gx), weights, over)
        x = np.zeros(padded)
        height = (np.arange(shape[0], 0.0, -1.0) - 0.5) / shape[0]
        x[1:-1, 1:-1, 1:-1] = height[:, None, None]
        n_iterations, bound = _iterate(multigrid, over, x, tolerance, max_iterations, what)
    fluxes = _fluxes(gz, x)
    flux = float(fluxes.mean())
    return SteadyDiffusion(
        diffusivity=flux * shape[0] / (shape[1] * shape[2]),
        flux_mismatch=float(np.ptp(fluxes)) / flux,
        bound=bound,
        n_iterations=n_iterations,
    )


def _iterate(
    multigrid: Multigrid, over: Threads, x: np.ndarray, tolerance: float, max_iterations: int, what: str
) -> tuple[int, float]:
    """Solve for the concentration, in place; number of iterations, and the sum of |residual| over the flux."""
    level = multigrid.levels[0]
    system = (level.gz, level.gy, level.gx)
    p, q, r = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    r[1] = level.gz[1]
    over.run(kernels.apply_cpu, x.shape, *system, x, q)
    rest = math.fsum(over.run(kernels.step_cpu, x.shape, 1.0, p, q, x, r, level.b))
    zr_before, step = 0.0, 0.0
    for n_done in range(max_iterations + 1):
        flux = float((level.gz[1] * (1.0 - x[1])).sum(dtype=np.float64))
        if rest <= tolerance * flux:
            progress.report(what, max_iterations, max_iterations)
            return n_done, rest / flux
        if n_done == max_iterations:
            break
        progress.report(what, n_done, max_iterations)
        multigrid.cycle()
        sums = np.array(over.run(kernels.dots_cpu, x.shape, level.x, r, q)).sum(axis=0)
        factor = -step * sums[1] / zr_before if n_done else 0.0
        zr_before = float(sums[0])
        over.run(kernels.turn_cpu, x.shape, level.x, factor, p)
        curvature = math.fsum(over.run(kernels.apply_cpu, x.shape, *system, p, q))
        step = zr_before / curvature
        rest = math.fsum(over.run(kernels.step_cpu, x.shape, step, p, q, x, r, level.b))
    raise ConvergenceError(
        f"diffusion must balance to {tolerance:g} of the flux, got {rest / abs(flux):.3g} "
        f"after {max_iterations} iterations."
    )


def _fluxes(gz: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Flux through each of the n_z + 1 planes of faces across z."""
    n_planes = gz.shape[0] - 1
    fluxes = np.empty(n_planes)
    for k in range(1, n_planes + 1):
        before = 1.0 if k == 1 else x[k - 1]
        fluxes[k - 1] = (gz[k] * (before - x[k])).sum(dtype=np.float64)
    return fluxes
