"""An aligned tilt series."""

from __future__ import annotations

import numpy as np

from tomo3d import geometry
from tomo3d.compute.bending import bends
from tomo3d.compute.checks import require_finite
from tomo3d.compute.resampling import affine_images
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Alignment, TiltSeries


def _plan(series: Sketch, alignment: Alignment | Sketch) -> Plan:
    result = Sketch("TiltSeries", series.shape, "float32", series.pixel_size_nm)
    is_bent = isinstance(alignment, Alignment) and alignment.local_shifts_nm is not None
    return Plan(result, result.n_bytes + (160 if is_bent else 32) * series.shape[1] * series.shape[2])


@planned(_plan)
def apply(series: TiltSeries, alignment: Alignment) -> TiltSeries:
    """The aligned series: views turned, scaled and shifted so that the tilt axis is y.

    Parameters
    ----------
    series : TiltSeries, n_tilts views of (n_y, n_x)
    alignment : Alignment
        One row per view of the series.

    Returns
    -------
    TiltSeries, float32
        With the refined angles and a tilt axis of 0 deg; every view keeps its row. The size is
        (n_y, n_x), swapped if the axis is nearer 90 than 0 deg.

    Raises
    ------
    ValueError
        If the alignment has another number of views, or a pixel of a view in use is not finite.

    Notes
    -----
    Each view is resampled once, local shifts included, by a cubic spline. What lies beyond its edge is unknown and
    continued from the edge.
    An excluded view that holds NaN or infinity becomes NaN along the rows and columns that the spline joins.
    """
    geometry.check_fits(series, alignment)
    require_finite(series.images, np.flatnonzero(series.used))
    n_y, n_x = (int(n) for n in series.images.shape[1:])
    out_shape = geometry.aligned_shape((n_y, n_x), geometry.mean_axis_deg(alignment.tilt_axis_deg))
    matrices, offsets = geometry.alignment_matrices(alignment, series.pixel_size_nm, (n_y, n_x), out_shape)
    bent = bends(alignment.local_shifts_nm, series.pixel_size_nm, (n_y, n_x))
    return TiltSeries(
        images=affine_images(series.images, matrices, offsets, out_shape, bent),
        tilt_angles_deg=alignment.tilt_angles_deg,
        pixel_size_nm=series.pixel_size_nm,
        tilt_axis_deg=0.0,
        use=series.use,
        views=series.views,
        sources={**series.sources, "alignment": "applied"},
    )
