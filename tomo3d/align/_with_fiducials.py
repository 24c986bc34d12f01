"""Alignment by beads: the chain that a user runs without knowing any of its parts."""

from __future__ import annotations

from tomo3d import geometry
from tomo3d.align._beads import Polarity, followed, found_beads, plan_alignment
from tomo3d.align._solve_tracks import solve, with_evidence
from tomo3d.align._working import require_tilts
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries


@planned(plan_alignment)
def with_fiducials(
    series: TiltSeries, *, diameter_nm: float, polarity: Polarity = "auto", local: bool = False
) -> Alignment:
    """Align a tilt series by its beads: found, followed, solved, followed again by what was solved, solved.

    Parameters
    ----------
    series : TiltSeries
        In any order of tilts; views may jump by up to half the image, and the nominal axis be wrong by 10 deg.
    diameter_nm, polarity
        As in `detect_beads`.
    local : bool
        True to look for local shifts as well, as `local_alignment` does.

    Returns
    -------
    Alignment
        Evidence: "views" (tracks, residual, and why a view is distrusted), "residuals" of all observations with those
        left out, "beads" (where they are in the specimen), "tracks", "models" (what was tried), "residual_per_view";
        with `local`, that of `local_alignment`, too.
        On clean views, shifts are right within 0.1 px r.m.s. and the axis within 0.1 deg, up to where the specimen is:
        a constant along the axis, and a + b cos t + c sin t across it.

    Raises
    ------
    ValueError
        If fewer than six views are in use or over less than 10 deg, no beads are found, fewer than three can be
        followed, they lie on one line, or as `detect_beads`.

    Notes
    -----
    What is solved depends on the data: from one direction of the axis and the shifts alone, to axis, tilts
    and magnifications in groups of views; a richer model is taken if it predicts observations that it has not
    seen better by 2 %. A view that shows no beads continues its neighbours, and is not reliable.
    """
    require_tilts(series, "alignment by beads")
    beads = found_beads(series, diameter_nm, polarity)
    tracks = followed(series, beads, diameter_nm, None)
    found = solve(series, tracks, series.tilt_axis_deg, "beads", n_models=2)
    again = followed(series, beads, diameter_nm, found.alignment)
    if len(again) >= len(tracks):
        tracks = again
    found = solve(series, tracks, geometry.mean_axis_deg(found.alignment.tilt_axis_deg), "beads", local=local)
    return with_evidence(series, tracks, found, "beads")
