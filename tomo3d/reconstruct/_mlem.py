"""Maximum likelihood for counts."""

from tomo3d.compute import solvers
from tomo3d.planning import planned
from tomo3d.reconstruct._iterative import (
    Callback,
    Margin,
    Request,
    Stop,
    check_counts,
    check_number,
    planner,
    reconstruct,
)
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume


@planned(planner(solvers.Mlem))
def mlem(
    series: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
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
    """Maximum-likelihood expectation maximisation (MLEM) for counts: Poisson noise, densities of 0 or more.

    Parameters
    ----------
    series : TiltSeries
        Counts, 0 or more, proportional to density x path in nm.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        More iterations are sharper and noisier: 10 to 100. With `stop`, the most that are done.
    lower : float, optional
        Lower bound on the density, in grey value per nm. Default: none.
    upper : float, optional
        Upper bound, likewise. Default: none.
    mask : Labels, shape (n_z, n_y, n_x), optional
        Support: the density is 0 where it is 0. Default: the whole slab.
    initial : Volume, shape (n_z, n_y, n_x), optional
        Where to start, in grey value per nm, 0 or more. Default: the uniform density that holds the counts of each
        slice.
    stop : Discrepancy, HalvesAgree or str, optional
        When to stop early: "discrepancy:SIGMA" (noise of a pixel) or "halves", as in `sirt`. Default: not.
    voxel_size_nm : float, optional
        Edge of the voxels, at least one pixel. Default: the pixel size.
    margin_nm : float or "auto"
        Width of specimen beside the field, on either side in x, that is solved for and cut away, as in `sirt`.
    alignment : Alignment, optional
        How the views fit together; pixels from beyond a view count as not measured. Default: the series is aligned.
    callback : callable, optional
        callback(iteration, volume, residual_norm), as in `sirt`; True stops. All slices are then held at once.
        Default: none.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, first:last] = slab. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / voxel), n_y, n_x), float32
        Density in counts per nm, over `out` if given. Its record holds the norm of the residual before each
        iteration, and as objectives the divergence from the counts, which never rises.

    Raises
    ------
    ValueError
        As for `sirt`; or if a view in use has a negative pixel, the initial volume a negative voxel, or `upper` is
        not positive.
    TypeError
        If the mask or the initial volume is not where the images are, CPU or GPU, or `out` on a GPU and they are not.

    Notes
    -----
    x <- x / (A' 1) A' (b / A x) [1]_, which raises the Poisson likelihood; the objective is
    sum(A x - b + b log(b / A x)), its negative but for a constant. Cutting at bounds after each iteration keeps that
    so. Without bounds and mask the projections hold the measured number of counts after every iteration. A voxel that
    is 0 stays 0. With an `alignment`, views may be resampled, and what falls below 0 counts as 0.

    References
    ----------
    .. [1] L. A. Shepp and Y. Vardi, IEEE Trans. Med. Imaging 1 (1982) 113-122, doi:10.1109/TMI.1982.4307558
    """
    check_counts(series, initial)
    if upper is not None:
        check_number("upper", upper, above=0, unit="counts per nm")
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
    return reconstruct(series, solvers.Mlem(), request, "mlem", objective_power=1)
