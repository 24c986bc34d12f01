"""Transport through phases: effective diffusivity, tortuosity, and the shortest paths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import tables
from tomo3d.compute.diffusion import steady_diffusion
from tomo3d.compute.geodesic import path_length
from tomo3d.measure.phase import AXES, check_axes, joining, phase_number, phase_voxels
from tomo3d.types import Labels

if TYPE_CHECKING:
    import pandas as pd

_MAX_ITERATIONS = 300


def tortuosity(
    labels: Labels, *, phase: int | str, axes: str = "zyx", smooth_walls: bool = True, tolerance: float = 1e-4
) -> pd.DataFrame:
    """Tortuosity factor and effective diffusivity of one phase along each axis, from steady diffusion.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        Class in which something diffuses, by number or name; all others block it.
    axes : str
        Axes along which it diffuses, as "zyx" or "z".
    smooth_walls : bool
        Whether walls run straight through stairs of voxels; else their corners block, as in most programs.
    tolerance : float
        The solver stops where the sum of what voxels do not balance is so much of the flux.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.TRANSPORT`, one for each axis. tortuosity = fraction / diffusivity_ratio, with the
        share of the volume that is joined to both faces; tortuosity_whole takes the whole phase. Where nothing joins
        the faces, the diffusivity is 0 and both tortuosities and the MacMullin number are inf.

    Raises
    ------
    ValueError
        If the phase has no voxel, no class has its name, an axis is unknown, or `tolerance` is not between 0 and 0.1.
    ConvergenceError
        If the solver does not reach the tolerance.

    Notes
    -----
    Concentration 1 on the outer side of the first face, 0 on that of the last, and no flux through the other sides,
    by finite volumes with a voxel for each: flux through a face is the difference of the two concentrations over the
    distance of their centres. Voxels joined by faces (connectivity 6) conduct; components that do not touch both
    faces are left out first; arms that end blindly carry no flux, but count in the fraction.

    It is the factor in D_eff = D fraction / tortuosity: that of a straight slot is 1, and that of a slot inclined by
    an angle t is 1 / cos^2 t, not 1 / cos t. Walls on voxels are stairs, in whose corners nothing flows: an inclined
    slot of w voxels reads up to 78 % / w too high (7.5 % for 10 voxels, 1 % for 75). So voxels in the corners of
    stairs conduct as far as a straight wall (of the phase smoothed by 0.7 voxel) leaves their faces open, where they
    join nothing that is not joined beside them: inclined slots of 10 voxels and more are then right to 1.5 %, of 20
    to 1 %. Fractions are those of the voxels.

    Memory: about 100 bytes a voxel. No interval: one volume is one sample of a number that belongs to all of it.
    """
    number = phase_number(labels, phase)
    phase_voxels(labels, number)
    return _transport(labels, {number: 1.0}, axes, smooth_walls, tolerance)


def effective_diffusivity(
    labels: Labels,
    *,
    diffusivities: Mapping[str, float],
    axes: str = "zyx",
    smooth_walls: bool = True,
    tolerance: float = 1e-4,
) -> pd.DataFrame:
    """Effective diffusivity of several phases together along each axis, from steady diffusion.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    diffusivities : mapping of str to float
        Diffusivity (or conductivity) of each class that conducts, by its name or number; all others block.
    axes : str
        Axes along which it diffuses, as "zyx" or "z".
    smooth_walls : bool
        Whether walls run straight through stairs of voxels; else their corners block, as in most programs.
    tolerance : float
        The solver stops where the sum of what voxels do not balance is so much of the flux.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.TRANSPORT`, one for each axis. diffusivity is in the unit of `diffusivities`; its ratio
        is to the largest of them, and tortuosity is to their mean over the voxels that are joined to both faces.

    Raises
    ------
    ValueError
        If a diffusivity is negative or not finite, none is positive, no voxel conducts, a class is unknown, an axis
        is unknown, or `tolerance` is not between 0 and 0.1.
    ConvergenceError
        If the solver does not reach the tolerance.

    Notes
    -----
    As `tortuosity`; the conductance of a face is the harmonic mean of its two voxels. Layers across the axis are
    then exactly in series, and layers along it exactly parallel.
    """
    numbers = {
        phase_number(labels, name, "diffusivities"): float(value) for name, value in diffusivities.items()
    }
    bad = [value for value in numbers.values() if not (math.isfinite(value) and value >= 0)]
    if bad or not any(numbers.values()):
        raise ValueError(f"diffusivities must be zero or more, one above zero, got {dict(diffusivities)}.")
    return _transport(labels, numbers, axes, smooth_walls, tolerance)


def geodesic_tortuosity(labels: Labels, *, phase: int | str, axes: str = "zyx") -> pd.DataFrame:
    """Length of the shortest paths inside a phase from face to face, over their distance.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        Class that the paths run in, by number or name.
    axes : str
        Axes along which they run, as "zyx" or "z".

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.PATHS`, one for each axis: mean, least, median and 95 % quantile over the voxels of the
        last face. inf where none is reached.

    Raises
    ------
    ValueError
        If the phase has no voxel, no class has its name, or an axis is unknown.

    Notes
    -----
    |grad T| = 1 from the outer side of the first face, by fast sweeping of first order between voxels that share faces
    [1]_; up to 3 % too long where a path runs obliquely, exact along an axis. A path has no width: this is at most
    the square root of the factor that `tortuosity` gives.

    References
    ----------
    .. [1] Zhao, Math. Comp. 74 (2005) 603-627, doi:10.1090/S0025-5718-04-01678-3
    """
    import pandas as pd

    inside = phase_voxels(labels, phase)
    rows = [_paths(inside, labels.voxel_size_nm, axis) for axis in check_axes(axes)]
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.PATHS)), tables.PATHS)


def _transport(
    labels: Labels, numbers: Mapping[int, float], axes: str, smooth_walls: bool, tolerance: float
) -> pd.DataFrame:
    import pandas as pd

    chosen = check_axes(axes)
    if not 0 < tolerance <= 0.1:
        raise ValueError(f"tolerance must lie above 0, up to 0.1, got {tolerance:g}.")
    data = np.asarray(labels.data)
    best = max(numbers.values())
    diffusivity = np.zeros(data.shape, dtype=np.float32)
    for number, value in numbers.items():
        diffusivity[data == number] = value / best
    conducts = diffusivity > 0
    if not conducts.any():
        raise ValueError(f"at least one voxel must conduct, got none of the classes {sorted(numbers)}.")
    solver = {"smooth_walls": smooth_walls, "tolerance": tolerance}
    rows = [_along(diffusivity, conducts, labels.voxel_size_nm, axis, solver) for axis in chosen]
    for row in rows:
        row["diffusivity"] *= best
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.TRANSPORT)), tables.TRANSPORT)


def _along(
    diffusivity: np.ndarray,
    conducts: np.ndarray,
    voxel_size_nm: tuple[float, float, float],
    axis: int,
    solver: Mapping[str, Any],
) -> dict[str, Any]:
    """One row: `diffusivity` is that of each voxel over the best one."""
    is_joined = joining(conducts, axis)
    n_joined = int(np.count_nonzero(is_joined))
    row: dict[str, Any] = {
        "axis": AXES[axis],
        "volume_fraction": np.count_nonzero(conducts) / conducts.size,
        "percolating_fraction": n_joined / conducts.size,
        "n_voxels": n_joined,
    }
    if n_joined == 0:
        nothing = dict.fromkeys(("tortuosity", "tortuosity_whole", "macmullin_number"), math.inf)
        none = {"diffusivity": 0.0, "diffusivity_ratio": 0.0, "flux_mismatch": 0.0, "residual": 0.0}
        return row | nothing | none | {"n_iterations": 0}
    joined = np.where(is_joined, diffusivity, np.float32(0.0))
    turned = np.ascontiguousarray(np.moveaxis(joined, axis, 0))
    first, second = (size for i, size in enumerate(voxel_size_nm) if i != axis)
    found = steady_diffusion(
        turned,
        (voxel_size_nm[axis], first, second),
        **solver,
        max_iterations=_MAX_ITERATIONS,
        what=f"diffusion along {AXES[axis]}",
    )
    ratio = found.diffusivity
    return row | {
        "tortuosity": float(joined.mean(dtype=np.float64)) / ratio,
        "tortuosity_whole": float(diffusivity.mean(dtype=np.float64)) / ratio,
        "diffusivity": ratio,
        "diffusivity_ratio": ratio,
        "macmullin_number": 1.0 / ratio,
        "flux_mismatch": found.flux_mismatch,
        "residual": found.bound,
        "n_iterations": found.n_iterations,
    }


def _paths(inside: np.ndarray, voxel_size_nm: tuple[float, float, float], axis: int) -> dict[str, Any]:
    pads = [
        (2, 0) if i == axis else (0, 0) for i in range(3)
    ]  # two planes before the face: where the paths start
    source = np.pad(np.zeros_like(inside), pads, constant_values=True)
    length_nm = path_length(np.pad(inside, pads), source, voxel_size_nm)
    last = length_nm.take(-1, axis=axis)[inside.take(-1, axis=axis)]
    reached = np.sort(last[np.isfinite(last)].astype(np.float64)) + 0.5 * voxel_size_nm[axis]
    ratios = reached / (inside.shape[axis] * voxel_size_nm[axis])
    is_none = len(ratios) == 0
    return {
        "axis": AXES[axis],
        "tortuosity": math.inf if is_none else float(ratios.mean()),
        "least": math.inf if is_none else float(ratios[0]),
        "median": math.inf if is_none else float(np.median(ratios)),
        "p95": math.inf if is_none else float(np.quantile(ratios, 0.95)),
        "reached_fraction": 0.0 if is_none else len(ratios) / len(last),
        "n_ends": len(ratios),
    }
