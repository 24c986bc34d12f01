"""Views on larger pixels."""

from __future__ import annotations

import numpy as np

from tomo3d.compute.checks import require_finite
from tomo3d.compute.resampling import bin_images
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries


def _plan(series: Sketch, *, factor: int) -> Plan:
    n_tilts, n_y, n_x = series.shape
    pixel_size_nm = None if series.pixel_size_nm is None else factor * series.pixel_size_nm
    result = Sketch("TiltSeries", (n_tilts, n_y // factor, n_x // factor), "float32", pixel_size_nm)
    return Plan(result, result.n_bytes + 8 * n_y * n_x)


@planned(_plan)
def bin_views(series: TiltSeries, *, factor: int) -> TiltSeries:
    """Average blocks of factor x factor pixels: fewer, larger and less noisy pixels.

    Parameters
    ----------
    series : TiltSeries
    factor : int
        At least 1. Rows and columns that do not fill a block are left out, equally on both sides.

    Returns
    -------
    TiltSeries, float32
        With a pixel `factor` times as large. Densities reconstructed from it are the same, as they are per nm.

    Raises
    ------
    ValueError
        If the factor is below 1 or leaves no pixel, or a pixel of a view in use is not finite.
    """
    smallest = min(series.images.shape[1:])
    if not 1 <= factor <= smallest:
        raise ValueError(
            f"factor must lie between 1 and the smaller side of a view ({smallest} px), got {factor}."
        )
    require_finite(series.images, np.flatnonzero(series.used))
    return TiltSeries(
        images=bin_images(series.images, factor),
        tilt_angles_deg=series.tilt_angles_deg,
        pixel_size_nm=series.pixel_size_nm * factor,
        tilt_axis_deg=series.tilt_axis_deg,
        use=series.use,
        views=series.views,
        sources=series.sources,
    )
