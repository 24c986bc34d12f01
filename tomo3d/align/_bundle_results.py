"""A solution of a bundle adjustment as an alignment and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import geometry, tables
from tomo3d.compute import tilt_model
from tomo3d.types import Alignment

if TYPE_CHECKING:
    import pandas as pd

_TRUSTED = 0.5  # mean weight of a view's observations
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Solution:
    """Parameters (n_used, 9), shifts (n_used, 2) and points (n_points, 3) in nm, for `used_views` of the series."""

    parameters: np.ndarray
    shifts_nm: np.ndarray
    points_nm: np.ndarray
    used_views: np.ndarray
    angles_deg: np.ndarray

    def of_all_views(self) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and shifts of every view: one that was not used continues its neighbours in tilt."""
        used_angles = self.angles_deg[self.used_views]
        changes = self.parameters.copy()
        changes[:, tilt_model.PARAMETERS.index("tilt")] -= np.deg2rad(used_angles)
        order = np.argsort(used_angles, kind="stable")
        both = np.concatenate((changes, self.shifts_nm), axis=1)[order]
        filled = np.stack(
            [np.interp(self.angles_deg, used_angles[order], column) for column in both.T], axis=1
        )
        filled[self.used_views] = np.concatenate((changes, self.shifts_nm), axis=1)
        filled[:, tilt_model.PARAMETERS.index("tilt")] += np.deg2rad(self.angles_deg)
        n = len(tilt_model.PARAMETERS)
        return filled[:, :n], filled[:, n:]


def in_frame(
    found: Solution, *, residual_nm: float, weights: np.ndarray, evidence: Mapping[str, pd.DataFrame]
) -> tuple[Alignment, np.ndarray]:
    """The alignment, and the points (n_points, 3) in its specimen.

    The specimen lies so that the image centre of the view nearest 0 deg stays where it is, and that the points' mean
    height is 0. Raw views are brought by a 2 x 2 matrix to where points at height 0 land at (y, x cos t'); tan t' is
    what points then shift across the axis per height over what they do per x.
    """
    parameters, shifts = found.of_all_views()
    projections = tilt_model.projections(parameters)
    in_plane = np.linalg.inv(projections[:, :, 1:])  # raw to (y, x) of the specimen
    per_height = np.einsum("nij,nj->ni", in_plane, projections[:, :, 0])
    tilt = np.arctan(per_height[:, 1])
    matrices = in_plane.copy()
    matrices[:, 1] *= np.cos(tilt)[:, None]
    reference = int(found.used_views[np.argmin(np.abs(found.angles_deg[found.used_views]))])
    centre = np.empty(3)
    centre[0] = found.points_nm[:, 0].mean()
    centre[1:] = -in_plane[reference] @ shifts[reference] - per_height[reference] * centre[0]
    moved = shifts + projections @ centre
    factors = geometry.view_factors(matrices)
    is_stretched, is_skewed = factors.distorts(_SAME)
    reliable = np.zeros(len(tilt), dtype=bool)
    reliable[found.used_views] = weights >= _TRUSTED
    alignment = Alignment(
        shifts_nm=-np.einsum("nij,nj->ni", matrices, moved),
        tilt_axis_deg=_unwrapped(factors.tilt_axis_deg, np.rad2deg(parameters[:, 0])),
        tilt_angles_deg=np.rad2deg(tilt),
        magnification=factors.magnification,
        residual_nm=residual_nm,
        reliable=reliable,
        evidence=evidence,
        stretch=factors.stretch if is_stretched else None,
        skew_deg=factors.skew_deg if is_skewed else None,
        z_shear=None if np.allclose(per_height[:, 0], 0.0, atol=_SAME) else per_height[:, 0],
    )
    return alignment, found.points_nm - centre


def _unwrapped(angles_deg: np.ndarray, near_deg: np.ndarray) -> np.ndarray:
    """The angles on the turn nearest to others."""
    return np.asarray(angles_deg + 360.0 * np.round((near_deg - angles_deg) / 360.0))


def residual_table(
    observed: pd.DataFrame, error: np.ndarray, left_out: np.ndarray, weights: np.ndarray
) -> pd.DataFrame:
    """`tables.TRACK_RESIDUALS` of observations, in their order."""
    import pandas as pd

    columns = {
        "track": observed["track"].to_numpy(),
        "view": observed["view"].to_numpy(),
        "y_nm": error[:, 0],
        "x_nm": error[:, 1],
        "left_out_y_nm": left_out[:, 0],
        "left_out_x_nm": left_out[:, 1],
        "weight": weights,
    }
    return tables.check(pd.DataFrame(columns), tables.TRACK_RESIDUALS)


def view_table(residuals: pd.DataFrame, angles_deg: np.ndarray) -> pd.DataFrame:
    """Mean length of the residuals in each view, in order of tilt."""
    import pandas as pd

    length = np.hypot(residuals["y_nm"], residuals["x_nm"])
    alone = np.hypot(residuals["left_out_y_nm"], residuals["left_out_x_nm"])
    means = pd.DataFrame({"view": residuals["view"], "residual_nm": length, "left_out_nm": alone})
    table = means.groupby("view", as_index=False).mean()
    table.insert(1, "tilt_angle_deg", angles_deg[table["view"].to_numpy()])
    return table.sort_values("tilt_angle_deg", ignore_index=True)


def point_table(
    used_tracks: np.ndarray, points_nm: np.ndarray, deviations_nm: np.ndarray, residuals: pd.DataFrame
) -> pd.DataFrame:
    """`tables.POINTS`, one row per track in use."""
    import pandas as pd

    table = pd.DataFrame({"track": used_tracks})
    for i, axis in enumerate("zyx"):
        table[f"{axis}_nm"] = points_nm[:, i]
    for i, axis in enumerate("zyx"):
        table[f"{axis}_uncertainty_nm"] = deviations_nm[:, i]
    index = np.searchsorted(used_tracks, residuals["track"].to_numpy())
    table["n_views"] = np.bincount(index)
    table["mean_residual_nm"] = (
        np.bincount(index, np.hypot(residuals["y_nm"], residuals["x_nm"])) / table["n_views"]
    )
    return tables.check(table, tables.POINTS)


def parameter_table(used_views: np.ndarray, parameters: np.ndarray, deviations: np.ndarray) -> pd.DataFrame:
    """`tables.VIEW_PARAMETERS`: all parameters of all views in use, angles in degrees."""
    import pandas as pd

    parts = []
    for index, name in enumerate(tilt_model.PARAMETERS):
        factor = 180.0 / np.pi if tilt_model.IS_ANGLE[index] else 1.0
        parts.append(
            pd.DataFrame(
                {
                    "parameter": name,
                    "view": used_views,
                    "value": factor * parameters[:, index],
                    "uncertainty": factor * deviations[:, index],
                    "unit": "deg" if tilt_model.IS_ANGLE[index] else "",
                }
            )
        )
    return tables.check(pd.concat(parts, ignore_index=True), tables.VIEW_PARAMETERS)


def thinning_table(found: Solution, deviations: np.ndarray, solved: list[int]) -> pd.DataFrame:
    """`tables.THINNING`; no rows where thinning was not solved."""
    import pandas as pd

    index = tilt_model.PARAMETERS.index("thinning")
    n = len(found.used_views) if index in solved else 0
    columns = {
        "view": found.used_views[:n],
        "tilt_angle_deg": found.angles_deg[found.used_views[:n]],
        "thinning": found.parameters[:n, index],
        "uncertainty": deviations[:n, index],
    }
    return tables.check(pd.DataFrame(columns), tables.THINNING)


def left_out_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """`tables.TRACKS_LEFT_OUT`."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=tables.names(tables.TRACKS_LEFT_OUT))
    return tables.check(table, tables.TRACKS_LEFT_OUT)
