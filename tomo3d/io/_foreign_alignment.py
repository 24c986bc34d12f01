"""What the alignments of AreTomo, RELION and Warp have in common, and what of ours they cannot hold.

They say where the centre of the specimen lands in the raw view: at an offset T from the centre of the view. Ours says
how far the content moves after the rotation: shift = -R(-axis) T.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd

EXCLUDED = "excluded_views"
_REFINED_DEG = 1.0
_IN_ORDER_DEG = 5.0
_SAME = 1e-6  # 0.002 px at the edge of a view of 4096
_HELD = {
    "shifts_nm", "tilt_axis_deg", "tilt_angles_deg", "magnification", "residual_nm", "reliable", "evidence",
    "x_axis_tilt_deg", "stretch", "skew_deg", "z_shear",
}  # fmt: skip
_log = logging.getLogger(__name__)


def from_offsets(
    axis_deg: np.ndarray,
    offsets_nm: np.ndarray,
    angles_deg: np.ndarray,
    *,
    excluded: np.ndarray | None = None,
    x_axis_tilt_deg: float | None = None,
    evidence: Mapping[str, pd.DataFrame] | None = None,
) -> Alignment:
    """The alignment that takes the point at `offsets_nm` (n, 2), (y, x) from the centre of a raw view, to the centre.

    `excluded` flags the views that the file has no alignment for: they are distrusted, and listed in the evidence.
    """
    n = len(angles_deg)
    out = np.zeros(n, dtype=bool) if excluded is None else excluded
    return Alignment(
        shifts_nm=-_turned(offsets_nm, -axis_deg),
        tilt_axis_deg=axis_deg,
        tilt_angles_deg=angles_deg,
        magnification=np.ones(n),
        residual_nm=math.nan,
        reliable=~out,
        evidence={**(evidence or {}), **excluded_evidence(out)},
        x_axis_tilt_deg=x_axis_tilt_deg,
    )


def to_offsets(alignment: Alignment) -> np.ndarray:
    """Where the centre of the specimen lands in the raw view, (y, x) in nm from its centre, shape (n_tilts, 2)."""
    return -_turned(alignment.shifts_nm, alignment.tilt_axis_deg)


def _turned(vectors: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    """Each (y, x) turned counter-clockwise by its angle."""
    angle = np.deg2rad(angles_deg)
    y, x = vectors.T
    return np.stack((y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)), axis=1)


def excluded_evidence(excluded: np.ndarray) -> dict[str, pd.DataFrame]:
    """Evidence that lists the views that a file has no alignment for; none where it has all."""
    import pandas as pd

    return {EXCLUDED: pd.DataFrame({"view": np.flatnonzero(excluded)})} if excluded.any() else {}


def excluded_views(alignment: Alignment, series: TiltSeries | None) -> np.ndarray:
    """Flags of the views to write as excluded: not used by the series, or those that no alignment was read for."""
    excluded = np.zeros(alignment.n_tilts, dtype=bool)
    if EXCLUDED in alignment.evidence:
        excluded[alignment.evidence[EXCLUDED]["view"].to_numpy(dtype=np.int64)] = True
    return excluded if series is None else excluded | ~series.used


def check_holds(
    alignment: Alignment, what: str, *, x_axis_tilt: bool = False, distortions: bool = False
) -> None:
    """Raise ValueError if a format cannot hold what the alignment says.

    `x_axis_tilt` and `distortions` (magnification, stretch, skew, shear along the beam) say what it can hold.
    """
    lost = [field.name for field in dataclasses.fields(alignment) if field.name not in _HELD]
    lost = [name for name in lost if getattr(alignment, name) is not None]
    if not distortions:
        neutral = {"magnification": 1.0, "stretch": 1.0, "skew_deg": 0.0, "z_shear": 0.0}
        for name, value in neutral.items():
            values = getattr(alignment, name)
            if values is not None and (np.abs(values - value) > _SAME).any():
                lost.append(name)
    if not x_axis_tilt and abs(alignment.x_axis_tilt_deg or 0.0) > _SAME:
        lost.append("x_axis_tilt_deg")
    if lost:
        others = (
            "a .json file holds all"
            if distortions
            else "an .xf file of IMOD holds what is one matrix per view, a .json file all"
        )
        raise ValueError(f"{what} cannot hold {', '.join(lost)}, which this alignment has: {others}.")


def pixel_of(file: Path, series: TiltSeries | None, pixel_size_nm: float | None) -> float:
    """The pixel that a file in pixels needs: the given one, else that of the series."""
    pixel_nm = series.pixel_size_nm if pixel_size_nm is None and series is not None else pixel_size_nm
    if pixel_nm is None or not (math.isfinite(pixel_nm) and pixel_nm > 0):
        raise ValueError(
            f"pixel_size_nm must be a positive length in nm for {file}, which is in pixels, got {pixel_nm}: "
            "pass it, or the series."
        )
    return float(pixel_nm)


def match_rows(
    file: Path, angles_deg: np.ndarray, nominal_deg: np.ndarray, *, tolerance_deg: float, what: str
) -> np.ndarray:
    """The view that each row of a file belongs to, by its angle, shape (n_rows,).

    Rows and views are paired one to one so that the sum of the differences is smallest; among equal angles the first
    row goes to the first view.

    Raises
    ------
    FormatError
        If there are more rows than views, a row is farther from its view than the tolerance, or a view of equal angle
        would do as well and has no row of its own.
    """
    from scipy.optimize import linear_sum_assignment

    n_rows, n_views = len(angles_deg), len(nominal_deg)
    if n_rows > n_views:
        raise FormatError(
            f"{file} must have no more rows than the series has views ({n_views}), got {n_rows}."
        )
    by_row, by_view = np.argsort(angles_deg, kind="stable"), np.argsort(nominal_deg, kind="stable")
    cost = np.abs(angles_deg[by_row][:, None] - nominal_deg[by_view])
    views = np.empty(n_rows, dtype=np.int64)
    views[by_row] = by_view[np.sort(linear_sum_assignment(cost)[1])]
    difference = np.abs(angles_deg - nominal_deg[views])
    if n_rows and difference.max() > tolerance_deg:
        row = int(difference.argmax())
        raise FormatError(
            f"{file}: {what} of row {row} (0-based) is {angles_deg[row]:g} deg, but the nearest free view, "
            f"{views[row]} (0-based), is at {nominal_deg[views[row]]:g} deg: they must agree within {tolerance_deg:g} "
            "deg. Is it the alignment of this series?"
        )
    free = np.setdiff1d(np.arange(n_views), views)
    twins = np.abs(nominal_deg[free][:, None] - nominal_deg[views]) < 1e-6
    if twins.any():
        view, twin = free[np.argwhere(twins)[0, 0]], views[np.argwhere(twins)[0, 1]]
        raise FormatError(
            f"{file} has one row at {nominal_deg[view]:g} deg, where the series has the views {min(view, twin)} and "
            f"{max(view, twin)} (0-based): nothing says which. An .xf file has a line for both."
        )
    return views


def match_refined(file: Path, angles_deg: np.ndarray, nominal_deg: np.ndarray, what: str) -> np.ndarray:
    """As `match_rows`, where a file has refined angles only: those may differ by a constant, and 1 deg beside.

    The constant is that of the medians, and 0 where the file leaves views out.
    """
    offset = (
        float(np.median(angles_deg) - np.median(nominal_deg)) if len(angles_deg) == len(nominal_deg) else 0.0
    )
    return match_rows(file, angles_deg, nominal_deg + offset, tolerance_deg=_REFINED_DEG, what=what)


def check_order(file: Path, angles_deg: np.ndarray, nominal_deg: np.ndarray) -> None:
    """Raise FormatError if refined angles, one per view, are not those of the nominal ones in the same order.

    They may differ by a constant, and by 5 deg beside: a reversed, negated or sorted list differs by more.
    """
    if len(angles_deg) != len(nominal_deg):
        return  # the count is another check's
    difference = angles_deg - nominal_deg
    difference = np.abs(difference - np.median(difference))
    if difference.max() > _IN_ORDER_DEG:
        view = int(difference.argmax())
        raise FormatError(
            f"{file} must be for the views of the series in their order: its tilt angle of view {view} (0-based) is "
            f"{angles_deg[view]:g} deg, that of the series {nominal_deg[view]:g} deg."
        )


def spread(rows: np.ndarray, views: np.ndarray, n_views: int, default: np.ndarray | float) -> np.ndarray:
    """Values of rows at their views; the default elsewhere."""
    values = np.broadcast_to(np.asarray(default, dtype=np.float64), (n_views, *rows.shape[1:])).copy()
    values[views] = rows
    return values


def warn_lost(file: Path, sentence: str) -> None:
    """Say what of a file, or of an alignment, does not go through."""
    _log.warning("%s: %s", file, sentence)
