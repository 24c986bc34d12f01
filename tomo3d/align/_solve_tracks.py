"""Tracks made into an alignment: the model that they bear, and what is to be distrusted."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tomo3d.align._bundle_adjust import BundleAdjustment, bundle_adjust
from tomo3d.align._local_alignment import local_alignment
from tomo3d.errors import ConvergenceError
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)
_MODELS = (  # from the simplest; a richer one must predict what it has not seen better
    "rotation=global, tilt=fixed, magnification=fixed",
    "rotation=global, tilt=fixed, magnification=groups:10",
    "rotation=groups:10, tilt=fixed, magnification=groups:10",
    "rotation=groups:10, tilt=groups:10, magnification=groups:10",
    "rotation=groups:5, tilt=groups:5, magnification=groups:3",
)
_GAIN = 0.98  # of the leave-one-out residual
_PATIENCE = 2  # richer models in a row that do not
_OFF = 3.0  # median residuals from which a view is distrusted
_FEW = 3  # tracks below which it is, too


def solve(
    series: TiltSeries,
    tracks: pd.DataFrame,
    axis_deg: float,
    what: str,
    *,
    n_models: int = len(_MODELS),
    local: bool = False,
) -> BundleAdjustment:
    """The bundle adjustment of tracks with the simplest model that no richer one predicts better than.

    The candidates and their errors are in its alignment's evidence "models". With `local`, that model is solved with
    local shifts, too, where `local_alignment` finds that they predict tracks better.

    Raises
    ------
    ValueError
        If there are fewer than three tracks, they lie on one line, or no model can be solved.
    """
    import pandas as pd

    n_tracks = tracks["track"].nunique()
    if n_tracks < 3:
        raise ValueError(
            f"alignment needs at least three {what} that can be followed over three views, got {n_tracks}."
        )
    best: BundleAdjustment | None = None
    rows, first_error, chosen = [], None, ""
    n_worse = 0
    for model in _MODELS[:n_models]:
        if n_worse == _PATIENCE:
            break
        n_worse += 1
        try:
            found = bundle_adjust(
                tracks,
                series.tilt_angles_deg,
                image_shape=tuple(series.images.shape[1:]),
                pixel_size_nm=series.pixel_size_nm,
                tilt_axis_deg=axis_deg,
                model=model,
            )
        except (ValueError, ConvergenceError) as error:
            first_error = first_error or error
            continue
        error_nm = found.mean_left_out_nm
        rows.append((model, found.n_unknowns, found.mean_residual_nm, error_nm))
        if not math.isfinite(error_nm):
            continue
        if best is None or error_nm < _GAIN * best.mean_left_out_nm:
            best, chosen, n_worse = found, model, 0
    if best is None:
        raise first_error or ValueError(f"the {what} must tell the geometry of the views, which they do not.")
    _log.info("%d tracks solved with %s: %.3g nm left out", n_tracks, chosen, best.mean_left_out_nm)
    models = pd.DataFrame(rows, columns=["model", "n_unknowns", "residual_nm", "left_out_nm"])
    models["is_chosen"] = models["model"] == chosen
    if local:
        best = local_alignment(
            tracks,
            series.tilt_angles_deg,
            image_shape=(int(series.images.shape[1]), int(series.images.shape[2])),
            pixel_size_nm=series.pixel_size_nm,
            tilt_axis_deg=axis_deg,
            model=chosen,
        )
    evidence = {**best.alignment.evidence, "models": models}
    return replace(best, alignment=replace(best.alignment, evidence=evidence))


def with_evidence(series: TiltSeries, tracks: pd.DataFrame, found: BundleAdjustment, what: str) -> Alignment:
    """The alignment with tables of residuals, points, tracks and views; views that disagree are not reliable.

    A view is distrusted if it is not in use, shows fewer than three of the tracks, or its median residual, or that of
    its observations when left out, is three times that of the median view.
    """
    import pandas as pd

    views = pd.DataFrame(
        {"view": np.arange(series.n_tilts), "tilt_angle_deg": found.alignment.tilt_angles_deg}
    )
    counts = tracks.groupby("view").size()
    views["n_tracks"] = counts.reindex(views["view"], fill_value=0).to_numpy()
    for name, prefix in (("residual_nm", ""), ("left_out_nm", "left_out_")):
        length = pd.Series(
            np.hypot(found.residuals[f"{prefix}y_nm"].to_numpy(), found.residuals[f"{prefix}x_nm"].to_numpy())
        )
        medians = length.groupby(
            found.residuals["view"].to_numpy()
        ).median()  # robust to beads behind each other
        views[name] = medians.reindex(views["view"]).to_numpy()
    reliable = found.alignment.reliable & series.used & (views["n_tracks"].to_numpy() >= _FEW)
    reason = np.where(series.used, "", "not in use").astype(object)
    reason[series.used & (views["n_tracks"] < _FEW)] = f"fewer than {_FEW} {what}"
    for name in ("residual_nm", "left_out_nm"):
        values = views[name].to_numpy()
        off = values > _OFF * np.nanmedian(values) + 0.05 * series.pixel_size_nm
        reliable &= ~off
        reason[off & (reason == "")] = "its residual is three times the usual one"
    reason[~reliable & (reason == "")] = "its observations disagree with the others"
    views["is_reliable"], views["reason"] = reliable, reason.astype(str)
    evidence = {
        **found.alignment.evidence,
        "views": views,
        "residuals": found.residuals,
        what: found.points_nm,
        "tracks": tracks,
    }
    for row in views[~reliable].itertuples():
        _log.warning("view %d (%.1f deg) is distrusted: %s", row.view, row.tilt_angle_deg, row.reason)
    return replace(found.alignment, reliable=reliable, evidence=evidence)
