"""Views on larger pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tomo3d.compute.checks import require_finite
from tomo3d.compute.resampling import bin_images, crop_images
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries


def _plan(series: Sketch, *, factor: int, **_: object) -> Plan:
    n_tilts, n_y, n_x = series.shape
    pixel_size_nm = None if series.pixel_size_nm is None else factor * series.pixel_size_nm
    result = Sketch("TiltSeries", (n_tilts, n_y // factor, n_x // factor), "float32", pixel_size_nm)
    return Plan(result, result.n_bytes + 32 * n_y * n_x)


@planned(_plan)
def bin_views(series: TiltSeries, *, factor: int, mode: Literal["mean", "fourier"] = "mean") -> TiltSeries:
    """Fewer, larger and less noisy pixels: means of blocks of factor x factor, or a crop in Fourier space.

    Parameters
    ----------
    series : TiltSeries
    factor : int
        At least 1. Rows and columns that do not fill a block are left out, equally on both sides.
    mode : {"mean", "fourier"}
        Means blur a little, and fold what is finer than the new pixels onto what is coarser; the crop does neither, so
        that noise falls by another tenth or so in what is kept, but it rings beside edges sharper than the new pixels.

    Returns
    -------
    TiltSeries, float32
        With a pixel `factor` times as large. Densities reconstructed from it are the same, as they are per nm.

    Raises
    ------
    ValueError
        If the factor is below 1 or leaves no pixel, the mode is unknown, or a pixel of a view in use is not finite.

    Notes
    -----
    The crop is exact on images without frequencies at or beyond the new Nyquist frequency: its values are those of
    the image at the centres of the blocks, within 1e-5 of the range where the image is even near its edges. A view
    is continued beyond its edges by its mirror image, which fades into that of the opposite edge: nothing rings
    from one edge to the other, and an image that is cut by an edge is right within 0.01 of the range from two new
    pixels on.
    """
    smallest = min(series.images.shape[1:])
    if not 1 <= factor <= smallest:
        raise ValueError(
            f"factor must lie between 1 and the smaller side of a view ({smallest} px), got {factor}."
        )
    if mode not in ("mean", "fourier"):
        raise ValueError(f"mode must be 'mean' or 'fourier', got {mode!r}.")
    require_finite(series.images, np.flatnonzero(series.used))
    return TiltSeries(
        images=(bin_images if mode == "mean" else crop_images)(series.images, factor),
        tilt_angles_deg=series.tilt_angles_deg,
        pixel_size_nm=series.pixel_size_nm * factor,
        tilt_axis_deg=series.tilt_axis_deg,
        use=series.use,
        views=series.views,
        sources=series.sources,
    )
