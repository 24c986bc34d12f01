"""What particles say of an alignment: how well it is known, and the tables that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.compute.spot_motion import Settled
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    import pandas as pd

APART_PX = 0.4  # r.m.s. half difference of shifts by one half of the particles and by the other
MOST_LEFT = 0.5  # of known moves, after the views are aligned again
_NORMAL_90 = 1.645  # standard errors to either side hold 90 %


@dataclass(frozen=True, eq=False)
class Found:
    """An alignment of the views in use, and what the particles say of it.

    Parameters
    ----------
    alignment : Alignment
    sigma_nm : ndarray, shape (n_views, 2)
        Standard errors of the shifts (y, x), up to what is free.
    apart_nm : float
        R.m.s. half difference of shifts by one half of the particles and by the other.
    left : float
        Share of known moves that is left after the views are aligned again.
    pixel_nm : float
        Of the working copy.
    evidence : dict of DataFrame
    """

    alignment: Alignment
    sigma_nm: np.ndarray
    apart_nm: float
    left: float
    pixel_nm: float
    evidence: dict[str, pd.DataFrame]

    @property
    def is_sure(self) -> bool:
        """Whether halves of the particles say the same, and would have said so from elsewhere."""
        return self.apart_nm <= APART_PX * self.pixel_nm and self.left <= MOST_LEFT


def uncertainty(axis_deg: float, settled: Settled) -> pd.DataFrame:
    """Of the axis, as `projection_matching` states its own."""
    reach = _NORMAL_90 * float(np.rad2deg(settled.turn_deviation))
    return tables.summary(
        [
            {
                "quantity": "tilt_axis",
                "value": axis_deg,
                "low": axis_deg - reach,
                "high": axis_deg + reach,
                "unit": "deg",
                "n": len(settled.positions),
                "interval": "90 %, from the scatter of the particles, and their halves",
            }
        ]
    )


def scale_table(rows: list[tuple[str, float, int, float]]) -> pd.DataFrame:
    """Of polarity, width, number of particles, and how far their halves are apart, with what was chosen."""
    import pandas as pd

    scales = pd.DataFrame(rows, columns=["polarity", "width_nm", "n_particles", "apart_nm"])
    scales["is_chosen"] = scales["apart_nm"] == scales["apart_nm"].min()
    return scales


def particle_tables(
    series: TiltSeries, views: TiltSeries, settled: Settled, sigma_nm: np.ndarray
) -> dict[str, pd.DataFrame]:
    """The particles, and the views by their particles, as `with_particles` describes them."""
    import pandas as pd

    pixel_nm = views.pixel_size_nm
    seen = settled.weights > 0.0
    length_nm = np.where(seen, np.linalg.norm(settled.residuals, axis=2), np.nan) * pixel_nm
    z_nm, y_nm, x_nm = settled.positions.T * pixel_nm
    return {
        "particles": pd.DataFrame(
            {
                "particle": np.arange(len(seen)),
                "z_nm": z_nm,
                "y_nm": y_nm,
                "x_nm": x_nm,
                "n_views": seen.sum(axis=1),
                "residual_nm": _medians(length_nm),
            }
        ),
        "particle_views": pd.DataFrame(
            {
                "view": np.flatnonzero(series.used),
                "tilt_angle_deg": views.tilt_angles_deg,
                "n_particles": seen.sum(axis=0),
                "residual_nm": _medians(length_nm.T),
                "sigma_y_nm": sigma_nm[:, 0],
                "sigma_x_nm": sigma_nm[:, 1],
            }
        ),
    }


def _medians(lengths: np.ndarray) -> np.ndarray:
    """Of each row that has any, else nan."""
    return np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in lengths])
