"""Beads followed through the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tomo3d.align._beads import Polarity, followed, found_beads, plan_table
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd


@planned(plan_table)
def track_beads(
    series: TiltSeries,
    *,
    diameter_nm: float,
    polarity: Polarity = "auto",
    alignment: Alignment | None = None,
) -> pd.DataFrame:
    """Follow beads through the views of a tilt series, in any order of tilts.

    Parameters
    ----------
    series : TiltSeries
    diameter_nm, polarity
        As in `detect_beads`.
    alignment : Alignment, optional
        Where the views are, within two diameters. Default: the nominal axis, right within 10 deg, and views that may
        jump by up to half the image.

    Returns
    -------
    pandas.DataFrame
        `tables.BEAD_TRACKS`: track, view, y_nm, x_nm (pixel index times pixel size in the raw view) and score. A bead
        has a row in each view that shows it apart from others; a track has at least three. There may be none.

    Raises
    ------
    ValueError
        As `detect_beads`, or if the alignment has another number of views.

    Notes
    -----
    Outward from the lowest tilt, the shift of a view is the one that brings most of the points found so far to a bead;
    points are beads in the specimen, each with the covariance of its position (a Kalman filter), which says how far
    from the expected place its bead may be. Where two beads would do for one point, or two points lie behind
    each other, there is a gap. Then the axis, all shifts and points are solved at once (`bundle_adjust` without
    distortions), points that are one are merged, and all views are matched anew by that geometry, with fainter beads
    where one is expected.
    """
    return followed(series, found_beads(series, diameter_nm, polarity), diameter_nm, alignment)
