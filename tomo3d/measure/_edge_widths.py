"""Width of bare edges against the direction of the normal: what a control tells of the point-spread function."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy.interpolate import RegularGridInterpolator

from tomo3d import tables
from tomo3d.compute.kernels import film_fit
from tomo3d.compute.normal_profiles import by_chunks
from tomo3d.compute.wedge import normal_azimuth_deg, normal_elevation_deg
from tomo3d.measure.profiles import FWHM, grey_range, profiles_along_normals
from tomo3d.types import Surface, Volume

_ELEVATIONS = np.linspace(0.0, 90.0, 10)
_AZIMUTHS = np.linspace(0.0, 90.0, 4)
_LEAST = 30  # points of a bin
_QUANTILES = {"fwhm_nm": 0.5, "fwhm_low_nm": 0.025, "fwhm_high_nm": 0.975}


def edge_widths(
    volume: Volume, surface: Surface, *, max_width_nm: float, averaging_radius_nm: float | None = None
) -> pd.DataFrame:
    """Width of the edges of a bare body, against the direction of their normals.

    For a control without film, recorded and reconstructed as the specimen is: its edges are as wide as the
    point-spread function is in their direction, the missing wedge included.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values of the control.
    surface : Surface
        Of its body, with faces.
    max_width_nm : float
        Widest edge that is looked for, as the full width at half maximum of a Gaussian.
    averaging_radius_nm : float, optional
        Profiles are averaged over this radius along the surface; as for the films that they are compared with.
        Default: a third of `max_width_nm`.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.EDGE_WIDTHS`: bins of 10 deg of elevation and 30 deg of azimuth that hold at least 30
        points.

    Raises
    ------
    ValueError
        If a grey value is not finite, `max_width_nm` is below two voxel edges, the radius negative, the surface has no
        faces or lies outside the volume, or no bin holds enough points.

    Notes
    -----
    Each profile is fitted by two levels and the error function between them.
    """
    grey_range(volume)
    if not max_width_nm >= 2 * max(volume.voxel_size_nm):
        raise ValueError(
            f"max_width_nm must be at least two voxel edges ({2 * max(volume.voxel_size_nm):g} nm), got "
            f"{max_width_nm:g} nm."
        )
    radius_nm = max_width_nm / 3.0 if averaging_radius_nm is None else averaging_radius_nm
    profiles = profiles_along_normals(
        volume,
        surface,
        width_nm=0.25 * max_width_nm,
        inward_nm=1.25 * max_width_nm,
        outward_nm=1.25 * max_width_nm,
        averaging_radius_nm=radius_nm,
    )
    fits = np.empty((len(profiles.grey), 5))
    by_chunks(
        len(fits),
        "fitting edges",
        lambda first, last: film_fit.fit_edges_cpu(
            profiles.steps_nm, profiles.grey, profiles.use, max_width_nm / FWHM, first, last, fits
        ),
    )
    place_nm, fwhm_nm = fits[:, 2], FWHM * fits[:, 3]
    is_plain = profiles.is_plain(place_nm, place_nm, fwhm_nm)
    return _by_direction(profiles.normals, np.where(is_plain, fwhm_nm, np.nan))


def _by_direction(normals: np.ndarray, fwhm_nm: np.ndarray) -> pd.DataFrame:
    known = np.isfinite(fwhm_nm)
    elevation, azimuth = normal_elevation_deg(normals), normal_azimuth_deg(normals)
    rows = []
    for (low, high), (left, right) in itertools.product(
        itertools.pairwise(_ELEVATIONS), itertools.pairwise(_AZIMUTHS)
    ):
        here = known & (elevation >= low) & (elevation <= high) & (azimuth >= left) & (azimuth <= right)
        n = int(here.sum())
        if n >= _LEAST:
            widths = np.quantile(fwhm_nm[here], list(_QUANTILES.values()))
            rows.append((0.5 * (low + high), 0.5 * (left + right), *widths, n))
    if not rows:
        raise ValueError(
            f"at least {_LEAST} points of the surface must have normals within 10 x 30 deg of each other, got "
            f"{int(known.sum())} points with an edge."
        )
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.EDGE_WIDTHS)), tables.EDGE_WIDTHS)


def widths_at(widths: pd.DataFrame, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, low and high width in nm at normals (n, 3), between the middles of bins; empty ones as the nearest."""
    tables.check(widths, tables.EDGE_WIDTHS)
    middles = [0.5 * (edges[1:] + edges[:-1]) for edges in (_ELEVATIONS, _AZIMUTHS)]
    grid = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    known = widths[["elevation_deg", "azimuth_deg"]].to_numpy(dtype=float)
    if len(known) == 0:
        raise ValueError("edge_widths must have at least one row, got none.")
    # 30 deg of azimuth matter as 10 of elevation do, and less the steeper the normal.
    scale = np.array([1.0, 1.0 / 3.0])
    nearest = np.linalg.norm((grid[:, :, None] - known) * scale, axis=-1).argmin(axis=-1)
    at = np.stack(
        [
            np.clip(normal_elevation_deg(normals), middles[0][0], middles[0][-1]),
            np.clip(normal_azimuth_deg(normals), middles[1][0], middles[1][-1]),
        ],
        axis=-1,
    )
    median, low, high = (
        RegularGridInterpolator(middles, widths[name].to_numpy(dtype=float)[nearest])(at)
        for name in _QUANTILES
    )
    return median, low, high
