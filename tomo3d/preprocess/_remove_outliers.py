"""Pixels that show no specimen: defects of the detector, and hits of x-rays."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import progress
from tomo3d.compute import outliers
from tomo3d.compute.checks import require_finite
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries

_log = logging.getLogger(__name__)
_FEWEST = 5  # views in which a pixel can be seen to stand still
_MOST = 0.5  # of the views more must deviate in the one way than in the other
_CLIP = 6.0  # standard deviations: how much a single view says about a pixel at most


def _plan(series: Sketch, **_: object) -> Plan:
    result = Sketch("TiltSeries", series.shape, "float32", series.pixel_size_nm)
    return Plan(result, result.n_bytes + 40 * series.shape[1] * series.shape[2])


@planned(_plan)
def remove_outliers(series: TiltSeries, *, threshold: float = 8.0, largest_px: int = 4) -> TiltSeries:
    """Replace hot and dead pixels and x-ray hits by the median of their surroundings.

    Parameters
    ----------
    series : TiltSeries
        As recorded: before views are shifted, and after dark and gain are corrected.
    threshold : float
        Least height of an outlier, in standard deviations of the noise around it, estimated robustly, and in steps
        between grey values (electrons, where they are counted).
    largest_px : int
        Most pixels that an outlier covers (at 0.3 of its height). Features of the specimen cover more:
        discs of 3 pixels across, bright or dark, are left as they are.

    Returns
    -------
    TiltSeries, float32
        `views` gains n_fixed_px, the pixels that stand out at one place over all views, and n_spikes_px, those
        of single views. Views not in use that hold NaN stay as they are.

    Raises
    ------
    ValueError
        If the threshold is under 4, the size not from 1 to 9 pixels, or a pixel of a view in use is not finite.

    Notes
    -----
    Each pixel is compared with the ring around it (7 x 7 without the inner 3 x 3, values beyond 4 standard deviations
    clipped). Defects that stand still are looked for in the mean of that over all views (from five), where they
    show at the square root of the number of views below the threshold, while the specimen moves. Of Gaussian noise
    alone, fewer than one pixel in a million is touched.
    """
    if not threshold >= 4.0:
        raise ValueError(f"threshold must be at least 4 standard deviations, got {threshold:g}.")
    if not 1 <= largest_px <= 9:
        raise ValueError(f"largest_px must be from 1 to 9 pixels, got {largest_px}.")
    rows = np.flatnonzero(series.used)
    require_finite(series.images, rows)
    fixed = _fixed_in_place(series, rows, threshold, largest_px)
    images = np.empty(series.images.shape, dtype=np.float32)
    n_fixed, n_spikes = np.zeros(series.n_tilts, dtype=int), np.zeros(series.n_tilts, dtype=int)
    for k in progress.track(range(series.n_tilts), "outliers", series.n_tilts):
        image = np.asarray(series.images[k], dtype=np.float32)
        if not np.isfinite(image).all():
            images[k] = image
            continue
        image = outliers.repaired(image, fixed)
        spikes = outliers.isolated(outliers.deviations(image), threshold=threshold, largest=largest_px)
        images[k] = outliers.repaired(image, spikes) if spikes.any() else image
        n_fixed[k], n_spikes[k] = fixed.sum(), spikes.sum()
    _log.info("outliers: %d pixels at fixed places, %d in single views", fixed.sum(), n_spikes.sum())
    views = pd.DataFrame(index=range(series.n_tilts)) if series.views is None else series.views
    return replace(series, images=images, views=views.assign(n_fixed_px=n_fixed, n_spikes_px=n_spikes))


def _fixed_in_place(series: TiltSeries, rows: np.ndarray, threshold: float, largest: int) -> np.ndarray:
    """Pixels that deviate in one way in all views, (n_y, n_x) bool."""
    shape = series.images.shape[1:]
    if len(rows) < _FEWEST:
        return np.zeros(shape, dtype=bool)
    total, votes = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for k in progress.track(rows, "fixed pixels", len(rows)):
        deviation = outliers.deviations(series.images[k])
        total += np.clip(deviation, -_CLIP, _CLIP)
        votes += np.sign(deviation)
    standing = outliers.isolated(outliers.deviations(total), threshold=threshold, largest=largest)
    return np.asarray(standing & (np.abs(votes) >= _MOST * len(rows)))
