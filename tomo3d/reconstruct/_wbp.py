"""Weighted back-projection."""

from tomo3d.compute import filters, weighted
from tomo3d.compute.filters import Window
from tomo3d.planning import planned
from tomo3d.reconstruct._prepare import planner, prepare
from tomo3d.types import Alignment, TiltSeries, Volume


@planned(planner(n_slabs=1))
def wbp(
    series: TiltSeries,
    *,
    thickness_nm: float,
    window: Window | str = "ramp",
    alignment: Alignment | None = None,
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
    alignment : Alignment, optional
        How the views fit together. Default: the series is aligned.

    Returns
    -------
    Volume, shape (round(thickness_nm / pixel), n_y, n_x), float32
        Density in grey value per nm, centred at (0, 0, 0) nm.

    Raises
    ------
    ValueError
        If the thickness is under one pixel, the window unknown, no view in use, a pixel not finite, or
        the tilt axis not y and no alignment given.

    Notes
    -----
    The ramp is the transform of the band-limited kernel, so that a disc of density 1 reconstructs to 1
    inside and 0 outside within 1e-3 from 180 views over 180 deg [1]_. Each view is weighted by the range of angles
    that it stands for. Rows are continued beyond the detector and tapered. Over a limited tilt range the density
    is too low: part of every structure was not measured.

    References
    ----------
    .. [1] A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging (1988),
       doi:10.1137/1.9780898719277, chapter 3
    """
    parsed = filters.parse_window(window)
    prepared = prepare(series, thickness_nm, alignment, continued=True)
    data = weighted.wbp(prepared.images, prepared.projector, window=parsed, pixel_size_nm=prepared.voxel_nm)
    return prepared.volume(data, "wbp", is_per_nm=True, window=str(parsed), thickness_nm=float(thickness_nm))
