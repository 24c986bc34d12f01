"""Beads found in single views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.align._beads import Polarity, found_beads, plan_table
from tomo3d.planning import planned
from tomo3d.types import TiltSeries

if TYPE_CHECKING:
    import pandas as pd


@planned(plan_table)
def detect_beads(series: TiltSeries, *, diameter_nm: float, polarity: Polarity = "auto") -> pd.DataFrame:
    """Beads in every view in use, each with its position below a pixel.

    Parameters
    ----------
    series : TiltSeries
    diameter_nm : float
        Of the beads: at least two pixels, at most a quarter of the image. 20 % off is near enough.
    polarity : str
        "bright" or "dark" beads, as against their surroundings; "auto" tells by the lowest tilts.

    Returns
    -------
    pandas.DataFrame
        `tables.BEADS`: view, y_nm, x_nm (pixel index times pixel size), score and contrast.

    Raises
    ------
    ValueError
        If the diameter is out of range, a pixel is not finite, all views are blank, or no view shows a bead.

    Notes
    -----
    A view is correlated with the projection of a ball, 2 sqrt(r^2 - d^2), blurred; normalised by what surrounds each
    place. The score is the height of the ball in robust standard deviations of the background, times the
    correlation. Places of the other sign tell what the background makes; beads are the upper group of what lies
    above that. Each is then fitted, on a plane of its own, with its neighbours taken off: positions of beads a
    diameter apart are right within 0.1 px r.m.s. in clean views, and 0.3 px where the noise is a fifth of a bead's
    contrast. What is much darker or brighter than other beads is left out: two beads nearer than about 0.7
    diameters are not told apart, and neither is given.
    """
    import pandas as pd

    parts = []
    for view, beads in sorted(found_beads(series, diameter_nm, polarity).items()):
        sure = beads.taken(beads.sure)
        parts.append(
            pd.DataFrame(
                {
                    "view": np.full(len(sure), view, dtype=np.int64),
                    "y_nm": sure.positions[:, 0] * series.pixel_size_nm,
                    "x_nm": sure.positions[:, 1] * series.pixel_size_nm,
                    "score": sure.score,
                    "contrast": sure.contrast,
                }
            )
        )
    return tables.check(pd.concat([part for part in parts if len(part)], ignore_index=True), tables.BEADS)
