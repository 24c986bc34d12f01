"""Grey values of views on one scale: equal mass, or the logarithm of what bright field lets through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from tomo3d import geometry, progress
from tomo3d.compute.checks import require_finite
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries

_N_ROUNDS = 20  # of the robust line
_LEAST_SPREAD = 0.1  # of 1 / cos(tilt), without which thickness and vacuum cannot be told apart


@dataclass(frozen=True)
class Mass:
    """Equal total grey value: HAADF, whose signal is mass. Over the field that all views share, or the whole view.

    `field` "common": at tilt t, of the width W across the tilt axis, the middle W cos t / cos(smallest tilt): of a
    flat specimen, the same part in all views. "whole": for an object that lies within every view.
    """

    field: Literal["common", "whole"] = "common"

    def __post_init__(self) -> None:
        if self.field not in ("common", "whole"):
            raise ValueError(f"Mass.field must be 'common' or 'whole', got {self.field!r}.")


@dataclass(frozen=True)
class BrightField:
    """-log(intensity / vacuum): bright field, where the specimen takes exp(-thickness / cos t) of the beam away.

    `vacuum_level` is the grey value of the open beam for a dose of 1; None: it is fitted to the means of the views over
    1 / cos(tilt), for a flat specimen. `dose` is that of each view, in any unit; (): all are equal.
    """

    vacuum_level: float | None = None
    dose: Sequence[float] = ()

    def __post_init__(self) -> None:
        level = self.vacuum_level
        if level is not None and not (math.isfinite(level) and level > 0):
            raise ValueError(f"BrightField.vacuum_level must be a positive grey value, got {level:g}.")
        for k, dose in enumerate(self.dose):
            if not (math.isfinite(dose) and dose > 0):
                raise ValueError(f"BrightField.dose must be positive, got {dose:g} for view {k} (0-based).")


def _plan(series: Sketch, **_: object) -> Plan:
    result = Sketch("TiltSeries", series.shape, "float32", series.pixel_size_nm)
    return Plan(result, result.n_bytes + 16 * series.shape[1] * series.shape[2])


@planned(_plan)
def normalize_intensity(series: TiltSeries, *, mode: Mass | BrightField | str) -> TiltSeries:
    """Bring the grey values of all views to one scale, in a way that fits how they were imaged.

    Parameters
    ----------
    series : TiltSeries
        For mass: background subtracted (`subtract_background`). For bright field: as recorded, dark level corrected.
    mode : Mass, BrightField or str
        mass: each view is multiplied so that its total is the median one; mass:whole: over the whole view, not the
        field that all views of a flat specimen share. bright_field or bright_field:LEVEL: -log of each pixel over the
        vacuum level (default: fitted), which is a line integral of the extinction.

    Returns
    -------
    TiltSeries, float32
        `views` gains intensity_scale (what a view was multiplied by: mass) or vacuum_level (bright field).

    Raises
    ------
    ValueError
        If the mode is unknown; the total of a view is not positive; a pixel is not positive before the logarithm;
        the tilts are too few or too close for the vacuum to be fitted; doses are not one per view; or a pixel of a
        view in use is not finite.

    Notes
    -----
    A view not in use is scaled as it comes, and is nan where that cannot be. The line through log(mean) over 1 /
    cos(tilt) is fitted by least squares with Tukey's weights; log(mean) is not mean(log), which makes the fitted
    level of a specimen of uneven thickness too low.
    """
    chosen = _parsed(mode) if isinstance(mode, str) else mode
    require_finite(series.images, np.flatnonzero(series.used))
    return _mass(series, chosen) if isinstance(chosen, Mass) else _bright_field(series, chosen)


def _parsed(text: str) -> Mass | BrightField:
    """The mode that a text names, with what stands behind a colon."""
    name, _, value = text.partition(":")
    if name == "mass":
        return Mass(value or "common")  # type: ignore[arg-type]
    if name == "bright_field":
        try:
            level = float(value) if value else None
        except ValueError:
            raise ValueError(f"the vacuum level of bright_field must be a number, got {value!r}.") from None
        return BrightField(level)
    raise ValueError(f"mode must be mass, mass:FIELD, bright_field or bright_field:LEVEL, got {text!r}.")


def _mass(series: TiltSeries, mode: Mass) -> TiltSeries:
    totals = np.array([_total(series, k, mode) for k in range(series.n_tilts)])
    for k in np.flatnonzero(series.used & ~(totals > 0)):
        raise ValueError(
            f"the total of a view must be positive for its mass to be conserved, got {totals[k]:g} in view {k} "
            "(0-based): subtract the background, or exclude the view."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(totals > 0, np.median(totals[series.used]) / totals, math.nan)
    images = np.empty(series.images.shape, dtype=np.float32)
    for row in progress.track(range(series.n_tilts), "intensity", series.n_tilts):
        np.multiply(series.images[row], np.float32(scale[row]), out=images[row], casting="unsafe")
    return _with(series, images, "intensity_scale", scale)


def _total(series: TiltSeries, k: int, mode: Mass) -> float:
    """Sum of a view over the field, in float64."""
    image = np.asarray(series.images[k])
    if mode.field == "whole":
        return float(image.sum(dtype=np.float64))
    n_y, n_x = image.shape
    # distance from the tilt axis through the centre, from -1 to 1 at the nearest edges
    y, x = geometry.coordinates(n_y), geometry.coordinates(n_x)
    across_y, across_x = geometry.rotation_yx(-series.tilt_axis_deg)[1]
    distance = np.abs(across_y * y[:, None] + across_x * x[None, :])
    half = 0.5 * min(n_x / max(abs(across_x), 1e-9), n_y / max(abs(across_y), 1e-9))
    cosines = np.cos(np.deg2rad(series.tilt_angles_deg))
    reach = half * float(cosines[k] / cosines[series.used].max())
    share = np.clip(reach - distance + 0.5, 0.0, 1.0)  # a pixel on the border counts in part
    return float((image * share).sum(dtype=np.float64))


def _bright_field(series: TiltSeries, mode: BrightField) -> TiltSeries:
    dose = np.ones(series.n_tilts) if not len(mode.dose) else np.asarray(mode.dose, dtype=np.float64)
    if len(dose) != series.n_tilts:
        raise ValueError(
            f"BrightField.dose must have one value per view ({series.n_tilts}), got {len(dose)}."
        )
    for k in progress.track(np.flatnonzero(series.used), "positive pixels", int(series.used.sum())):
        image = np.asarray(series.images[k])
        n_bad = int((image <= 0).sum())
        if n_bad:
            raise ValueError(
                f"every pixel must be positive before a logarithm, got {n_bad} of 0 or less (lowest "
                f"{float(image.min()):g}) in view {k} (0-based): correct the dark level, bin the views, "
                "or remove outliers."
            )
    level = _fitted_vacuum(series, dose) if mode.vacuum_level is None else mode.vacuum_level
    images = np.empty(series.images.shape, dtype=np.float32)
    for row in progress.track(range(series.n_tilts), "intensity", series.n_tilts):
        image = np.asarray(series.images[row], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            images[row] = np.where(image > 0, math.log(level * dose[row]) - np.log(image), math.nan)
    return _with(series, images, "vacuum_level", level * dose)


def _fitted_vacuum(series: TiltSeries, dose: np.ndarray) -> float:
    """Mean of a view, per dose, without any specimen: log(mean) at 1 / cos(tilt) = 0."""
    rows = np.flatnonzero(series.used)
    path = 1.0 / np.cos(np.deg2rad(series.tilt_angles_deg[rows]))
    if len(rows) < 3 or not np.ptp(path) >= _LEAST_SPREAD:
        raise ValueError(
            "the vacuum level can be fitted to at least three views over 25 deg of tilt, got "
            f"{len(rows)} from {series.tilt_angles_deg[rows].min():g} to {series.tilt_angles_deg[rows].max():g} deg: "
            "give BrightField a vacuum_level."
        )
    means = np.log([np.asarray(series.images[k]).mean(dtype=np.float64) for k in rows]) - np.log(dose[rows])
    columns = np.column_stack((np.ones_like(path), path))
    weight = np.ones_like(path)
    for _ in range(_N_ROUNDS):
        root = np.sqrt(weight)
        line = np.linalg.lstsq(columns * root[:, None], means * root, rcond=None)[0]
        off = means - columns @ line
        limit = 4.685 * 1.4826 * float(np.median(np.abs(off))) + 1e-9
        weight = np.clip(1.0 - (off / limit) ** 2, 0.0, None) ** 2
    return math.exp(float(line[0]))


def _with(series: TiltSeries, images: np.ndarray, column: str, values: np.ndarray) -> TiltSeries:
    views = pd.DataFrame(index=range(series.n_tilts)) if series.views is None else series.views
    return replace(series, images=images, views=views.assign(**{column: values}))
