"""Beads of a tilt series, as the functions that find, follow and erase them share it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomo3d import geometry, tables
from tomo3d.compute import bead_detection, bead_scene, bead_tracking
from tomo3d.compute.bead_detection import Beads
from tomo3d.compute.checks import require_finite
from tomo3d.planning import Plan, Sketch
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd

Polarity = Literal["auto", "bright", "dark"]
_SIGNS: dict[str, int | None] = {"auto": None, "bright": 1, "dark": -1}
_HEIGHT_SHARE = 0.15  # of the image: standard deviation of heights, before anything is known of them


def plan_table(series: Sketch, **_: Any) -> Plan:
    """Plan of a function that looks at a view on each core and returns a table."""
    return Plan(Sketch("DataFrame"), 2 * 60 * series.shape[1] * series.shape[2])


def plan_alignment(series: Sketch, **_: Any) -> Plan:
    """Likewise, of one that returns an alignment."""
    return Plan(Sketch("Alignment"), 2 * 60 * series.shape[1] * series.shape[2])


def diameter_px(series: TiltSeries, diameter_nm: float) -> float:
    """The diameter in pixels, if a bead of it can be found.

    Raises
    ------
    ValueError
        If it is below two pixels, or above a quarter of the image.
    """
    largest_nm = 0.25 * min(series.images.shape[1:]) * series.pixel_size_nm
    if not (math.isfinite(diameter_nm) and 2.0 * series.pixel_size_nm <= diameter_nm <= largest_nm):
        raise ValueError(
            f"diameter_nm must lie between two pixels ({2.0 * series.pixel_size_nm:g} nm) and a quarter of the image "
            f"({largest_nm:g} nm), got {diameter_nm:g} nm."
        )
    return diameter_nm / series.pixel_size_nm


def found_beads(series: TiltSeries, diameter_nm: float, polarity: Polarity) -> dict[int, Beads]:
    """Beads of every view in use, by view.

    Raises
    ------
    ValueError
        If the diameter or the polarity cannot be, a pixel is not finite, all views are blank, or no view shows a bead.
    """
    diameter = diameter_px(series, diameter_nm)
    if polarity not in _SIGNS:
        raise ValueError(f"polarity must be one of {', '.join(map(repr, _SIGNS))}, got {polarity!r}.")
    used = np.flatnonzero(series.used)
    if not len(used):
        raise ValueError("at least one view must be in use to find beads in, got none.")
    require_finite(series.images, used)

    def view_of(view: int) -> np.ndarray:
        return np.asarray(series.images[view], dtype=np.float32)

    flat = [int(view) for view in used if np.ptp(view_of(int(view))) == 0]
    shown = np.setdiff1d(used, flat)
    if not len(shown):
        raise ValueError(f"at least one view must show something, got {len(used)} views of zero variance.")
    low = shown[np.argsort(np.abs(series.tilt_angles_deg[shown]), kind="stable")]
    n_y, n_x = series.images.shape[1:]
    found = bead_detection.detect(
        view_of, shown, (n_y, n_x), diameter_px=diameter, sign=_SIGNS[polarity], sign_views=low
    )
    if not any(beads.sure.any() for beads in found.values()):
        raise ValueError(
            f"beads must stand out from their surroundings, got none of {diameter_nm:g} nm ({diameter:.1f} px) in "
            f"{len(shown)} views: check diameter_nm and polarity."
        )
    return found | dict.fromkeys(flat, bead_detection.NONE)


def followed(
    series: TiltSeries, beads: dict[int, Beads], diameter_nm: float, alignment: Alignment | None
) -> pd.DataFrame:
    """Tracks of beads, `tables.BEAD_TRACKS`."""
    import pandas as pd

    start = geometry.nominal_alignment(series) if alignment is None else alignment
    geometry.check_fits(series, start)
    pixel_nm, used = series.pixel_size_nm, np.flatnonzero(series.used)
    shape = series.images.shape[1:]
    centre_nm = np.array([geometry.centre(n) for n in shape]) * pixel_nm
    views = []
    for view in used:
        each = beads[int(view)]
        same = np.full(len(each), view)
        at_nm = geometry.aligned_nm(start, each.positions * pixel_nm, same, centre_nm, pixel_nm)
        views.append(bead_scene.Seen(at_nm / pixel_nm, each.score, each.sure))
    aligned = geometry.aligned_shape(shape, geometry.mean_axis_deg(start.tilt_axis_deg))
    scene = bead_scene.Scene(
        views=views,
        tilts=np.deg2rad(start.tilt_angles_deg[used]),
        shear=np.zeros(len(used)) if start.z_shear is None else start.z_shear[used],
        diameter=diameter_nm / pixel_nm,
        reach=0.5 * np.array(aligned),
        height_sd=_HEIGHT_SHARE * min(shape),
        is_aligned=alignment is not None,
    )
    matches = bead_tracking.track(scene)
    rows = []
    for track, row in enumerate(matches.beads):
        for k in np.flatnonzero(row >= 0):
            each = beads[int(used[k])]
            y_nm, x_nm = each.positions[row[k]] * pixel_nm
            rows.append((track, int(used[k]), y_nm, x_nm, each.score[row[k]]))
    table = pd.DataFrame(rows, columns=tables.names(tables.BEAD_TRACKS))
    table = table.astype({"track": int, "view": int, "y_nm": float, "x_nm": float, "score": float})
    return tables.check(table, tables.BEAD_TRACKS)
