"""Weighted back-projection."""

import numpy as np

from tomo3d.compute import backend, filters, weighted
from tomo3d.compute.filters import Window
from tomo3d.compute.slabs import SlabWork
from tomo3d.planning import planned
from tomo3d.reconstruct._prepare import check_out, prepare
from tomo3d.reconstruct._slab_memory import planner, slices_within
from tomo3d.types import Alignment, ArraySink, TiltSeries, Volume

_N_IMAGES = 3  # series of a slab that are held: as read, filtered, and what is being filtered


@planned(planner(n_volumes=0, n_images=_N_IMAGES))
def wbp(
    series: TiltSeries,
    *,
    thickness_nm: float,
    window: Window | str = "ramp",
    voxel_size_nm: float | None = None,
    alignment: Alignment | None = None,
    out: ArraySink | None = None,
    memory_limit: int | str | None = None,
) -> Volume:
    """Weighted back-projection: ramp-filtered views, weighted by angle and smeared back.

    Parameters
    ----------
    series : TiltSeries
        Grey values are line integrals: density x path in nm, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    window : Window or str
        Window on the ramp: ramp (none), hann, hamming, cosine, butterworth:CUTOFF,ORDER,
        gaussian:CUTOFF,SIGMA (cycles per pixel), sirt-like:ITERATIONS; or, in place of the ramp and the weights
        of the angles, exact:DIAMETER of the object (nm). Only the plain ramp keeps densities.
    voxel_size_nm : float, optional
        Edge of a voxel, a pixel or larger: views are first freed of what such voxels cannot hold. Default: the pixel.
    alignment : Alignment, optional
        How the views fit together. Default: the series is aligned.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, first:last] = slab: a memory map, a Zarr store. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / voxel), n_y, n_x), float32
        Density in grey value per nm, centred at (0, 0, 0) nm, over `out` if given.

    Raises
    ------
    ValueError
        If the thickness is under one voxel or beyond memory, the voxel under one pixel, the window unknown, no view
        in use, a pixel not finite, `out` of another shape, the memory limit too low, or the tilt axis not y and no
        alignment given.
    TypeError
        If `out` is on a GPU and the images are not.

    Notes
    -----
    The ramp is the transform of the band-limited kernel, so that a disc of density 1 reconstructs to 1
    inside and 0 outside, on average within 1e-4, from 180 views over 180 deg [1]_. Each view is weighted by the
    range of angles that it stands for. Rows are continued beyond the detector and tapered. Over a limited tilt range
    the density is too low: part of every structure was not measured.

    References
    ----------
    .. [1] A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging (1988),
       doi:10.1137/1.9780898719277, chapter 3
    """
    parsed = filters.parse_window(window)
    prepared = prepare(series, thickness_nm, alignment, voxel_size_nm=voxel_size_nm, continued=True)
    check_out(out, prepared)
    xp = backend.namespace(series.images)
    is_direct = isinstance(out, xp.ndarray | None)  # else slabs are made beside it, and on a GPU turned first
    work = SlabWork(n_volumes=(not is_direct) + (xp is not np), n_images=_N_IMAGES)
    n_slices = slices_within(memory_limit, prepared, work, beside=series.images, title="WBP", out=out)
    data = weighted.wbp(
        prepared.images,
        prepared.projector,
        window=parsed,
        pixel_size_nm=prepared.voxel_nm,
        out=out,
        n_slices=n_slices,
    )
    return prepared.volume(data, "wbp", window=str(parsed), thickness_nm=float(thickness_nm))
