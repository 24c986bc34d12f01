"""Simultaneous iterative reconstruction."""

from tomo3d.compute import solvers
from tomo3d.planning import planned
from tomo3d.reconstruct._iterative import (
    Callback,
    Margin,
    Request,
    Stop,
    check_relaxation,
    planner,
    reconstruct,
)
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume


@planned(planner(solvers.Sirt))
def sirt(
    series: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
    relaxation: float = 1.0,
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
    """Simultaneous iterative reconstruction (SIRT), within bounds on the density.

    Parameters
    ----------
    series : TiltSeries
        Grey values are line integrals: density x path in nm, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        More iterations are sharper and noisier: 10 to 100. With `stop`, the most that are done.
    relaxation : float
        Length of a step, in (0, 2).
    lower : float, optional
        Lower bound on the density, in grey value per nm, applied after each step. Default: none.
    upper : float, optional
        Upper bound, likewise.
    mask : Labels, shape (n_z, n_y, n_x), optional
        Support: the density is 0 where it is 0, after each step. Default: the whole slab.
    initial : Volume, shape (n_z, n_y, n_x), optional
        Where to start, in grey value per nm, brought within bounds and mask. Default: zeros.
    stop : Discrepancy, HalvesAgree or str, optional
        When to stop before `n_iterations`: "discrepancy:SIGMA", when the r.m.s. residual of a pixel is down to the
        noise SIGMA (in grey values); "halves", when the volumes of the even and of the odd views predict each
        other's views best. Judged on up to 64 slices spread along y, by the pixels whose rays stay within the
        volume through its whole thickness (the first also by all pixels, whichever is down sooner; both by all, where
        those are under 1 %), as the record says. A specimen that goes on beside the field is explained to the noise
        with `margin_nm` only. Default: not.
    voxel_size_nm : float, optional
        Edge of a voxel, a pixel or larger: views are first freed of what such voxels cannot hold. Default: the pixel.
    margin_nm : float or "auto"
        Width of specimen beside the field, on either side in x, that tilted views also see: solved for and cut away.
        Without it that material ends up in a bright rim along the edges of the field. Mask and initial volume go on
        into it as their outermost voxels. "auto" is as far as the most tilted view sees into the slab, at most the
        width of the field; time and memory grow with the width that is solved for.
    alignment : Alignment, optional
        How the views fit together; pixels from beyond a view count as not measured. Default: the series is aligned.
    callback : callable, optional
        callback(iteration, volume, residual_norm) after each iteration, counted from 1, with a read-only view of
        the volume so far and the norm of the residual before the iteration; it returns True to stop. All slices
        are then held at once, besides the result. Default: none.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, first:last] = slab: a memory map, a Zarr store. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / voxel), n_y, n_x), float32
        Density in grey value per nm, centred at (0, 0, 0) nm, over `out` if given. Its record holds the norm
        of the residual before each iteration (not after the last), how many were done, and why they ended.

    Raises
    ------
    ValueError
        If the thickness is under one voxel or beyond memory, the voxel under one pixel, the margin negative, there is
        no iteration, the relaxation is outside (0, 2), the bounds cross, mask, initial volume or output are on another
        grid, the mask is empty, the initial volume not finite, the memory limit too low, no view is in use, a pixel is
        not finite, or the tilt axis is not y and no alignment is given.
    TypeError
        If the mask or the initial volume is not where the images are, CPU or GPU, or `out` on a GPU and they are not.

    Notes
    -----
    x <- x + relaxation C A' R (b - A x), with R and C the inverse row and column sums of the projector A and A'
    its exact transpose [1]_. Memory besides the result: two volumes and two series of 64 slices.

    References
    ----------
    .. [1] P. Gilbert, J. Theor. Biol. 36 (1972) 105-117, doi:10.1016/0022-5193(72)90180-4
    """
    check_relaxation(relaxation)
    request = Request(
        thickness_nm,
        n_iterations,
        lower,
        upper,
        mask,
        initial,
        stop,
        alignment,
        callback,
        out,
        memory_limit,
        voxel_size_nm,
        margin_nm,
    )
    return reconstruct(series, solvers.Sirt(relaxation), request, "sirt", relaxation=float(relaxation))
