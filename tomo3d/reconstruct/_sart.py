"""Simultaneous algebraic reconstruction, in ordered subsets."""

from tomo3d.compute import solvers
from tomo3d.planning import planned
from tomo3d.reconstruct._iterative import (
    Callback,
    Margin,
    Request,
    Stop,
    check_number,
    check_relaxation,
    planner,
    reconstruct,
)
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume


@planned(planner(solvers.Sart))
def sart(
    series: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
    relaxation: float = 1.0,
    n_subsets: int = 8,
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
    """Simultaneous algebraic reconstruction (SART) in ordered subsets of the views: SIRT's picture in fewer
    iterations.

    Parameters
    ----------
    series : TiltSeries
        Grey values are line integrals: density x path in nm, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        Five to ten with eight subsets. With `stop`, the most that are done.
    relaxation : float
        Length of a step, in (0, 2); noisy series need less, 0.1 to 0.5.
    n_subsets : int
        The volume is corrected after each subset of the views: 1 is SIRT, the number of views classic SART.
    lower : float, optional
        Lower bound on the density, in grey value per nm, applied after each subset. Default: none.
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
        callback(iteration, volume, residual_norm), as in `sirt`; True stops. All slices are then held at once.
        Default: none.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, first:last] = slab. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / voxel), n_y, n_x), float32
        Density in grey value per nm, over `out` if given. Its record holds the norm of the residual in each
        iteration, of every subset as it was met.

    Raises
    ------
    ValueError
        As for `sirt`; or if there is no subset.
    TypeError
        If the mask or the initial volume is not where the images are, CPU or GPU, or `out` on a GPU and they are not.

    Notes
    -----
    For each subset s: x <- x + relaxation C_s A_s' R_s (b_s - A_s x) [1]_, with R_s and C_s the inverse row and
    column sums of A_s. A subset holds every n-th view in order of angle; they follow each other in steps of the
    golden section [2]_. With noise the subsets disagree, and the iterations end in a cycle, the larger the longer the
    steps.

    References
    ----------
    .. [1] A. H. Andersen and A. C. Kak, Ultrason. Imaging 6 (1984) 81-94, doi:10.1016/0161-7346(84)90008-7
    .. [2] T. Kohler, IEEE Nucl. Sci. Symp. Conf. Rec. (2004) 3961-3965, doi:10.1109/NSSMIC.2004.1466745
    """
    check_relaxation(relaxation)
    check_number("n_subsets", n_subsets, at_least=1)
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
    n_used = min(n_subsets, int(series.used.sum()))
    return reconstruct(
        series,
        solvers.Sart(relaxation, n_subsets),
        request,
        "sart",
        relaxation=float(relaxation),
        n_subsets=n_used,
    )
