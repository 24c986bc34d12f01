"""Dark level and gain of the detector."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tomo3d import progress
from tomo3d.compute.checks import require_finite
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries, Volume


def _plan(series: Sketch, **_: object) -> Plan:
    result = Sketch("TiltSeries", series.shape, "float32", series.pixel_size_nm)
    return Plan(result, result.n_bytes + 24 * series.shape[1] * series.shape[2])


@planned(_plan)
def correct_gain(
    series: TiltSeries, *, gain: Volume, dark: Volume | None = None, is_factor: bool = False
) -> TiltSeries:
    """Correct each pixel for its dark level and its gain: (raw - dark) / gain, the gain's mean taken as 1.

    Parameters
    ----------
    series : TiltSeries, n_tilts views of (n_y, n_x)
        Views, or frames of movies, as the detector recorded them.
    gain : Volume, shape (n, n_y, n_x)
        Images of even illumination, of which the mean is taken (`io.read_volume` reads them), without a dark level.
    dark : Volume, shape (n, n_y, n_x), optional
        Images without illumination, as long as those of the series, of which the mean is taken. Default: the series has
        no dark level, as counting detectors.
    is_factor : bool
        True if `gain` is what pixels are to be multiplied by, as the gain references of counting cameras are.

    Returns
    -------
    TiltSeries, float32
        In the grey values of the series: the mean gain is 1.

    Raises
    ------
    ValueError
        If a reference has another shape, holds a value that is not finite, or the gain one that is not positive; or a
        pixel of a view in use is not finite.
    """
    shape = tuple(int(n) for n in series.images.shape[1:])
    factor = _reference(gain, shape, "gain")
    n_bad = int((~(factor > 0)).sum())
    if n_bad:
        raise ValueError(
            f"gain must be positive everywhere, got {n_bad} pixels of 0 or less (lowest {float(factor.min()):g}): set "
            "defects to the gain's mean, and repair the views with remove_outliers."
        )
    # of the response the mean is 1, whichever way it is given
    factor = factor * (1.0 / factor).mean() if is_factor else factor.mean() / factor
    level = np.zeros(shape) if dark is None else _reference(dark, shape, "dark")
    require_finite(series.images, np.flatnonzero(series.used))
    images = np.empty(series.images.shape, dtype=np.float32)
    for k in progress.track(range(series.n_tilts), "gain", series.n_tilts):
        images[k] = (np.asarray(series.images[k], dtype=np.float64) - level) * factor
    return replace(series, images=images, sources={**series.sources, "gain": "corrected"})


def _reference(reference: Volume, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Mean image, float64."""
    if tuple(int(n) for n in reference.data.shape[1:]) != shape:
        raise ValueError(
            f"{name} must have the shape of the views {shape}, got {tuple(reference.data.shape[1:])}: record it with "
            "the same binning, or crop it."
        )
    total = np.zeros(shape)
    for image in reference.data:
        total += np.asarray(image, dtype=np.float64)
    if not math.isfinite(float(total.sum())):
        raise ValueError(
            f"{name} must be finite everywhere, got {int((~np.isfinite(total)).sum())} other pixels."
        )
    return total / len(reference.data)
