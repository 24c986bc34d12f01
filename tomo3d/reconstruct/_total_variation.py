"""Least squares with total variation."""

from tomo3d.compute import solvers
from tomo3d.planning import planned
from tomo3d.reconstruct._iterative import Callback, Margin, Request, Stop, check_number, planner, reconstruct
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume


@planned(planner(solvers.TotalVariation))
def total_variation(
    series: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
    weight: float,
    lower: float | None = 0.0,
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
    """Least squares with total variation: piecewise constant volumes from few or noisy views.

    Parameters
    ----------
    series : TiltSeries
        Grey values are line integrals: density x path in nm, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        100 to 300, until the objective changes little. With `stop`, the most that are done.
    weight : float
        Weight of the total variation, in grey value x nm: the centre of a ball of radius r (nm) loses about
        2 weight / r^2 of its density, its edge softens, and bodies with less contrast than that vanish. It means the
        same for any pixel size and number of views. 0 is least squares.
    lower : float, optional
        Lower bound on the density, in grey value per nm. Default: 0.
    upper : float, optional
        Upper bound, likewise. Default: none.
    mask : Labels, shape (n_z, n_y, n_x), optional
        Support: the density is 0 where it is 0. Default: the whole slab.
    initial : Volume, shape (n_z, n_y, n_x), optional
        Where to start, in grey value per nm. Default: zeros.
    stop : Discrepancy, HalvesAgree or str, optional
        When to stop early: "discrepancy:SIGMA" (noise of a pixel) or "halves", as in `sirt`. Default: not.
    voxel_size_nm : float, optional
        Edge of the voxels, at least one pixel. Default: the pixel size.
    margin_nm : float or "auto"
        Width of specimen beside the field, on either side in x, that is solved for and cut away, as in `sirt`.
    alignment : Alignment, optional
        How the views fit together; pixels from beyond a view count as not measured. Default: the series is aligned.
    callback : callable, optional
        callback(iteration, volume, residual_norm), as in `sirt`; True stops. Default: none.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, first:last] = slab. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / voxel), n_y, n_x), float32
        Density in grey value per nm, over `out` if given. Its record holds the norm of the residual and the
        objective before each iteration.

    Raises
    ------
    ValueError
        As for `sirt`; or if the weight is negative.
    TypeError
        If the mask or the initial volume is not where the images are, CPU or GPU, or `out` on a GPU and they are not.

    Notes
    -----
    Minimises, within bounds and mask,

        1 / (2 n_views) sum over pixels of (b - A x)^2 pixel^2 + weight integral of |grad x|,

    the gradient being isotropic, in three dimensions; lengths in nm. Solved by the primal-dual method [1]_ with
    diagonal preconditioners [2]_, the dual steps of the rays being chosen for detail of a voxel. The objective falls,
    but for small swings at the start. Slices depend on each other: all are held at once (five volumes and five
    series).

    References
    ----------
    .. [1] A. Chambolle and T. Pock, J. Math. Imaging Vis. 40 (2011) 120-145, doi:10.1007/s10851-010-0251-1
    .. [2] T. Pock and A. Chambolle, IEEE ICCV (2011) 1762-1769, doi:10.1109/ICCV.2011.6126441
    """
    check_number("weight", weight, at_least=0, unit="grey value x nm")
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
    voxel_nm = series.pixel_size_nm if voxel_size_nm is None else voxel_size_nm
    n_views = max(1, int(series.used.sum()))  # none at all is refused below
    method = solvers.TotalVariation(float(weight) * n_views / voxel_nm**2)
    return reconstruct(
        series,
        method,
        request,
        "total_variation",
        objective_factor=voxel_nm**2 / n_views,
        objective_power=2,
        weight=float(weight),
    )
