"""How far an alignment can be trusted: the two halves of the field, along the axis, asked separately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomo3d.align._linearised import Linearised, ScaledNormal, solve_together
from tomo3d.compute.explained import Explanation

_LEAST_ROWS = 8  # of a half, to say anything
_TOLERANCE = 0.1  # of the gradient
_NEIGHBOURS = 9  # views, nearest in tilt, that share one estimate of the spread


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard errors: shifts (n_views, 2) in pixels as (y, x), and the axis in degrees; nan where unknown."""

    shifts_px: np.ndarray
    tilt_axis_deg: float


def field_spread(
    explanation: Explanation,
    weighted: np.ndarray,
    names: tuple[str, ...],
    noise_power: float,
    *,
    slice_step: int = 1,
) -> Spread:
    """Standard error of an alignment, from what each half of the field along the axis would change.

    The halves show different parts of the specimen with different noise, so that the mean of both errs by half of
    their difference, whatever the reason. What only moves the specimen, or the axis across the field, is
    left out.
    """
    n_views, _, n_y = weighted.shape
    power = np.cumsum(np.einsum("vuy,vuy->y", weighted, weighted, dtype=np.float64))
    middle = int(np.searchsorted(power, 0.5 * power[-1]))
    if min(middle, n_y - middle) < _LEAST_ROWS:
        return Spread(np.full((n_views, 2), np.nan), np.nan)
    rest, volume = explanation.split(weighted)
    halves = [slice(0, middle), slice(middle, n_y)]
    systems = []
    for rows in halves:
        part = np.ascontiguousarray(volume[:, :, rows])
        linear = Linearised(explanation.slices(rows), part, names, slice_step=slice_step)
        systems.append(ScaledNormal(linear, noise_power))
    found = solve_together(systems, [rest[:, :, rows] for rows in halves], tolerance=_TOLERANCE)
    steps = [system.linear.step(p) for system, p in zip(systems, found, strict=True)]
    tilts_deg = np.asarray(explanation.projector.tilt_angles_deg)
    difference = steps[0].shifts_px - steps[1].shifts_px
    # a turn about the middle of a half moves all its views across the axis alike: that goes with the free modes
    difference = _without_free(difference, tilts_deg)
    near = np.abs(tilts_deg[:, None] - tilts_deg[None, :]).argsort(axis=1, kind="stable")[:, :_NEIGHBOURS]
    spread = 0.5 * np.sqrt(np.mean(np.square(difference[near]), axis=1))
    axis = 0.5 * abs(float(np.rad2deg(steps[0].tilt_axis - steps[1].tilt_axis)))
    return Spread(spread, axis if "tilt_axis" in names else np.nan)


def _without_free(shifts: np.ndarray, tilts_deg: np.ndarray) -> np.ndarray:
    """Shifts (n_views, 2) without a constant along the axis, and without a + b cos t + c sin t across it."""
    tilt = np.deg2rad(tilts_deg)
    modes = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
    across = shifts[:, 1] - modes @ np.linalg.lstsq(modes, shifts[:, 1], rcond=None)[0]
    return np.column_stack((shifts[:, 0] - shifts[:, 0].mean(), across))
