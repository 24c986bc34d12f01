"""Half against half: the held-out criterion of alignment.

The volume of the even views predicts the odd ones, and the other way round. No
view is compared with a volume that it went into, so noise does not praise
itself, and the error can choose between alignments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomo3d.align._apply import apply
from tomo3d.compute import correlation, solvers
from tomo3d.compute.kernels.threads import threads_for
from tomo3d.compute.projector import Projector
from tomo3d.types import Alignment, TiltSeries


@dataclass(frozen=True, eq=False)
class Comparison:
    """How well each half predicts the other one."""

    error: float  # root of the summed squares of the differences over those of the views


def compare_halves(
    series: TiltSeries,
    alignment: Alignment,
    *,
    n_iterations: int,
    thickness_nm: float | None = None,
) -> Comparison:
    """Compare every view with its prediction from the other half of the views (every second tilt).

    `thickness_nm` defaults to the width of the image.
    """
    aligned = apply(series, alignment)
    images = np.asarray(aligned.images)
    n_views, n_y, n_x = images.shape
    n_z = n_x if thickness_nm is None else max(1, round(thickness_nm / series.pixel_size_nm))
    order = np.argsort(aligned.tilt_angles_deg, kind="stable")
    differences = np.zeros(n_views)
    powers = np.zeros(n_views)
    for half, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        known = solvers.Problem(images[half], Projector(aligned.tilt_angles_deg[half], n_x, n_x, n_z))
        with threads_for(n_z * n_x * n_y * len(half)):
            volume = solvers.iterate(solvers.Cgls(), known, n_iterations=n_iterations).volume
            predictions = Projector(aligned.tilt_angles_deg[other], n_x, n_x, n_z).forward(volume)
        for view, prediction in zip(other, predictions, strict=True):
            expected = correlation.apodise(prediction)
            seen = correlation.apodise(images[view])
            differences[view] = float(np.square(expected - seen).sum())
            powers[view] = float(np.square(seen).sum())
    return Comparison(
        error=float(np.sqrt(differences.sum() / powers.sum())),
    )
