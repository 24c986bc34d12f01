"""Simultaneous iterative reconstruction."""

from tomo3d.compute import solvers
from tomo3d.planning import planned
from tomo3d.reconstruct._prepare import planner, prepare
from tomo3d.types import Alignment, TiltSeries, Volume


@planned(planner(n_slabs=2))
def sirt(
    series: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
    relaxation: float = 1.0,
    lower: float | None = None,
    upper: float | None = None,
    alignment: Alignment | None = None,
) -> Volume:
    """Simultaneous iterative reconstruction (SIRT), within bounds on the density.

    Parameters
    ----------
    series : TiltSeries
        Grey values are line integrals: density x path in nm, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        More iterations are sharper and noisier: 10 to 100.
    relaxation : float
        Length of a step, in (0, 2).
    lower : float, optional
        Lower bound on the density, in grey value per nm, applied after each step. Default: none.
    upper : float, optional
        Upper bound, likewise.
    alignment : Alignment, optional
        How the views fit together. Default: the series is aligned.

    Returns
    -------
    Volume, shape (round(thickness_nm / pixel), n_y, n_x), float32
        Density in grey value per nm, centred at (0, 0, 0) nm. Its record holds the norm of the residual
        before each iteration.

    Raises
    ------
    ValueError
        If the thickness is under one pixel, there is no iteration, the relaxation is outside (0, 2), the bounds
        cross, no view is in use, a pixel is not finite, or the tilt axis is not y and no alignment is given.

    Notes
    -----
    x <- x + relaxation C A' R (b - A x), with R and C the inverse row and column sums of the projector A and A'
    its exact transpose [1]_.

    References
    ----------
    .. [1] P. Gilbert, J. Theor. Biol. 36 (1972) 105-117, doi:10.1016/0022-5193(72)90180-4
    """
    if n_iterations < 1:
        raise ValueError(f"n_iterations must be at least 1, got {n_iterations}.")
    if not 0.0 < relaxation < 2.0:
        raise ValueError(f"relaxation must lie between 0 and 2 (exclusive), got {relaxation:g}.")
    if lower is not None and upper is not None and not lower < upper:
        raise ValueError(
            f"lower must be below upper, got lower {lower:g} and upper {upper:g} grey value per nm."
        )
    prepared = prepare(series, thickness_nm, alignment)
    voxel_nm = prepared.voxel_nm
    data, residual_norms = solvers.sirt(
        prepared.images,
        prepared.projector,
        n_iterations=n_iterations,
        relaxation=relaxation,
        lower=None if lower is None else lower * voxel_nm,
        upper=None if upper is None else upper * voxel_nm,
    )
    return prepared.volume(
        data,
        "sirt",
        thickness_nm=float(thickness_nm),
        n_iterations=int(n_iterations),
        relaxation=float(relaxation),
        lower=lower,
        upper=upper,
        residual_norms=[float(value) for value in residual_norms],
    )
