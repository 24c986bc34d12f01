"""Discrete algebraic reconstruction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tomo3d.compute import solvers
from tomo3d.planning import planned
from tomo3d.reconstruct._iterative import (
    Callback,
    Margin,
    Request,
    Stop,
    check_number,
    planner,
    prepared_problem,
    reconstruct,
)
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume

_N_START = 30  # steps of SIRT before the first segmentation
_N_INNER = 10  # and of each iteration, on the free voxels


@planned(planner(solvers.Dart))
def dart(
    series: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
    grey_levels: int | Sequence[float],
    free_share: float = 0.1,
    smoothing: float = 0.2,
    seed: int = 0,
    lower: float | None = None,
    upper: float | None = None,
    mask: Labels | None = None,
    initial: Volume | None = None,
    stop: Stop | str | None = None,
    voxel_size_nm: float | None = None,
    margin_nm: Margin = 0.0,
    alignment: Alignment | None = None,
    callback: Callback | None = None,
    out: ArraySink | None = None,
    memory_limit: int | str | None = None,
) -> Volume:
    """Discrete algebraic reconstruction (DART): a volume of few grey levels, from few views.

    Parameters
    ----------
    series : TiltSeries
        Grey values are line integrals: density x path in nm, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        10 to 100; each is a segmentation and ten steps of SIRT on the voxels that stay free. With `stop`, the most
        that are done.
    grey_levels : int or sequence of float
        Densities of the materials, in grey value per nm, the empty space among them; or how many there are (two or
        more), to be estimated from up to 64 slices: they are on record.
    free_share : float
        Probability, in [0, 1], that a voxel within a region is free all the same: more for noisy series.
    smoothing : float
        How much of the mean of its neighbours a free voxel takes on, in [0, 1]: more for noisy series.
    seed : int
        Of the choice of free voxels.
    lower : float, optional
        Lower bound on the density of free voxels, in grey value per nm. Default: none.
    upper : float, optional
        Upper bound, likewise. Default: none.
    mask : Labels, shape (n_z, n_y, n_x), optional
        Support: the density is 0 where it is 0. Default: the whole slab.
    initial : Volume, shape (n_z, n_y, n_x), optional
        Continuous volume to begin with, in grey value per nm. Default: 30 iterations of SIRT.
    stop : Discrepancy, HalvesAgree or str, optional
        When to stop early: "discrepancy:SIGMA" (noise of a pixel) or "halves", as in `sirt`. Default: not.
    voxel_size_nm : float, optional
        Edge of the voxels, at least one pixel. Default: the pixel size.
    margin_nm : float or "auto"
        Width of specimen beside the field, on either side in x, that is solved for and cut away, as in `sirt`.
    alignment : Alignment, optional
        How the views fit together; pixels from beyond a view count as not measured. Default: the series is aligned.
    callback : callable, optional
        callback(iteration, volume, residual_norm), as in `sirt`; True stops. All slices are then held at once, five
        times. Default: none.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, first:last] = slab. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / voxel), n_y, n_x), float32
        Every voxel one of the levels (or 0 outside the mask), over `out` if given. Its record holds the levels, and
        the norm of the residual of the volume of levels before each iteration.

    Raises
    ------
    ValueError
        As for `sirt`; or if there are fewer than two levels, two are equal, the series does not show so many, or a
        share lies outside [0, 1].
    TypeError
        If the mask or the initial volume is not where the images are, CPU or GPU, or `out` on a GPU and they are not.

    Notes
    -----
    In each iteration voxels take the nearest level; those beside another level in the slice, and some at random, are
    free; SIRT changes them alone, the others being fixed; they are smoothed [1]_. Slices along y are independent.
    Levels are estimated by turns of segmenting a SIRT volume halfway between them and fitting them to the views.

    References
    ----------
    .. [1] K. J. Batenburg and J. Sijbers, IEEE Trans. Image Process. 20 (2011) 2542-2553,
       doi:10.1109/TIP.2011.2131661
    """
    n_levels = grey_levels if isinstance(grey_levels, int) else len(grey_levels)
    check_number("grey_levels", n_levels, at_least=2)
    for name, share in (("free_share", free_share), ("smoothing", smoothing)):
        check_number(name, share, at_least=0, at_most=1)
    request = Request(
        thickness_nm,
        n_iterations,
        lower=lower,
        upper=upper,
        mask=mask,
        initial=initial,
        stop=stop,
        voxel_size_nm=voxel_size_nm,
        margin_nm=margin_nm,
        alignment=alignment,
        callback=callback,
        out=out,
        memory_limit=memory_limit,
    )
    levels = _estimated(series, request, n_levels) if isinstance(grey_levels, int) else _sorted(grey_levels)
    method = solvers.Dart(levels, _N_START, _N_INNER, float(free_share), float(smoothing), int(seed))
    return reconstruct(
        series,
        method,
        request,
        "dart",
        grey_levels=list(levels),
        levels_estimated=isinstance(grey_levels, int),
        free_share=float(free_share),
        smoothing=float(smoothing),
        seed=int(seed),
    )


def _sorted(grey_levels: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(sorted(float(level) for level in grey_levels))
    if not all(map(math.isfinite, levels)) or len(set(levels)) < len(levels):
        raise ValueError(
            f"grey_levels must be different finite densities in grey value per nm, got {list(levels)}."
        )
    return levels


def _estimated(series: TiltSeries, request: Request, n_levels: int) -> tuple[float, ...]:
    trial = solvers.pilot(prepared_problem(series, request)[1], solvers.Sirt())
    return solvers.estimate_levels(trial.equations, trial.start, trial.constraint, n_levels, _N_START)
