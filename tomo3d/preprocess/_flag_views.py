"""Views that show no specimen, or the same image as another."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import progress
from tomo3d.compute.resampling import bin_images
from tomo3d.preprocess._flags import add_flags
from tomo3d.types import TiltSeries

_log = logging.getLogger(__name__)
_PIXELS = 24  # blocks along the shorter edge, about, whose contrast is compared: single pixels are noise
_LOWEST = 0.001  # quantile of a view that counts as its lowest value


def flag_views(
    series: TiltSeries, *, dark_fraction: float = 0.1, contrast_fraction: float = 0.1
) -> TiltSeries:
    """Take views out of use that are dark, blank, nearly empty or recorded twice, with the reason; none is dropped.

    Parameters
    ----------
    series : TiltSeries
    dark_fraction : float
        A view is dark if its mean lies less above the lowest value of the series than this fraction of what
        the median view does (a grid bar, a blanked beam). 0 flags none.
    contrast_fraction : float
        A view is nearly empty if the standard deviation of its means over blocks (about 24 x 24 of them) is less
        than this fraction of that of the median view (the specimen has left the field). 0 flags none.

    Returns
    -------
    TiltSeries
        The same images; `use` is False for flagged views too, and `views` has a column flag: "" or "not finite",
        "blank" (one value everywhere), "dark", "nearly empty", "same image as view K" (0-based; the first of them
        stays in use), after what an earlier step said; and mean and contrast, in grey values, nan where they are
        not finite.

    Raises
    ------
    ValueError
        If a fraction is not from 0 to below 1.

    Notes
    -----
    Views that were in use before are compared. Views at one angle with different images are no duplicates:
    `quality.repeated_views` compares them. Images are the same if every pixel is.
    """
    for name, value in (("dark_fraction", dark_fraction), ("contrast_fraction", contrast_fraction)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} must be from 0 to below 1, got {value:g}.")
    mean, contrast, lowest = (np.full(series.n_tilts, math.nan) for _ in range(3))
    reasons: dict[int, str] = {}
    seen: dict[bytes, int] = {}
    for k in progress.track(range(series.n_tilts), "views", series.n_tilts):
        image = np.asarray(series.images[k])
        if not np.isfinite(image).all():
            reasons[k] = "not finite"
            continue
        mean[k], contrast[k] = image.mean(dtype=np.float64), _contrast(image)
        lowest[k] = np.quantile(image, _LOWEST)
        if image.min() == image.max():
            reasons[k] = "blank"
            continue
        if series.used[k]:
            first = seen.setdefault(hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest(), k)
            if first != k:
                reasons[k] = f"same image as view {first}"
    good = series.used & ~np.isin(np.arange(series.n_tilts), list(reasons))
    reasons |= _low(mean, contrast, lowest, good, (dark_fraction, contrast_fraction))
    for k, reason in sorted(reasons.items()):
        _log.warning("view %d (%g deg) is not used: %s", k, series.tilt_angles_deg[k], reason)
    views = pd.DataFrame(index=range(series.n_tilts)) if series.views is None else series.views
    use = series.used & ~np.isin(np.arange(series.n_tilts), list(reasons))
    return replace(series, use=use, views=add_flags(views, reasons).assign(mean=mean, contrast=contrast))


def _low(
    mean: np.ndarray,
    contrast: np.ndarray,
    lowest: np.ndarray,
    good: np.ndarray,
    fractions: tuple[float, float],
) -> dict[int, str]:
    """Views whose mean or contrast is far below that of the median view."""
    if not good.any():
        return {}
    above = mean - lowest[good].min()
    is_dark = good & (above < fractions[0] * np.median(above[good]))
    is_empty = good & ~is_dark & (contrast < fractions[1] * np.median(contrast[good]))
    return {int(k): "dark" for k in np.flatnonzero(is_dark)} | {
        int(k): "nearly empty" for k in np.flatnonzero(is_empty)
    }


def _contrast(image: np.ndarray) -> float:
    """Standard deviation of the means over blocks."""
    factor = max(1, round(min(image.shape) / _PIXELS))
    return float(bin_images(image[None], factor)[0].std(dtype=np.float64))
