"""Profile thickness: films near or under the resolution, from the grey value along the normal of what they cover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from tomo3d.compute.kernels import film_fit
from tomo3d.compute.normal_profiles import by_chunks
from tomo3d.compute.wedge import wedge_depth_deg
from tomo3d.measure._edge_widths import widths_at
from tomo3d.measure._surface_mesh import tilt_range_of
from tomo3d.measure.profiles import FWHM, Profiles, grey_range, profiles_along_normals
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Surface, Volume

_TAIL = 1.1  # FWHM: beyond, a blurred edge is within 0.5 % of its level
_INWARD, _OUTWARD = 3.0, 2.0  # FWHM that a profile goes into the support, and on beyond the thickest film
_LEAST_LEVEL = 3  # samples of a level
_THICKEST = 4.0  # FWHM


def _plan(volume: Sketch, *_: Any, **__: Any) -> Plan:
    # grey values as float32, and profiles of 300 bytes at the points of a surface that a tenth of the voxels touch
    return Plan(Sketch("Surface"), 40 * math.prod(volume.shape))


@planned(_plan)
def profile_thickness(
    volume: Volume,
    surface: Surface,
    *,
    film_level: float,
    psf_fwhm_nm: float | tuple[float, float, float] | None = None,
    edge_widths: pd.DataFrame | None = None,
    max_thickness_nm: float | None = None,
    averaging_radius_nm: float | None = None,
) -> Surface:
    """Thickness and mass per area of a film on a support, from profiles of the grey value along its normals.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values.
    surface : Surface
        Of the support, with faces: profiles go from inside it, through the film, to what is beyond.
    film_level : float
        Grey value of the film where it is thick.
    psf_fwhm_nm : float or (float, float, float), optional
        Full width at half maximum of the point-spread function, voxels included; or one along each of z, y and x.
    edge_widths : DataFrame, optional
        Instead, widths against the direction of the normal, from `edge_widths` of a control without film.
    max_thickness_nm : float, optional
        Thickest film that is looked for. Default: four times the (largest) width.
    averaging_radius_nm : float, optional
        Each profile is the mean of those within this radius along the surface, nearer ones counting more; 0 for none.
        Default: the (median) width.

    Returns
    -------
    Surface
        The same faces, the points where the profiles were taken, and on them `thickness_nm`; `mass_per_area`, in grey
        value x nm; `support_position_nm`, where the fit puts the support's surface along the normal; `support_level`,
        `film_level` and `outer_level`, grey values; `residual`, root mean square of what the fit leaves over the
        difference of the outer two; `fwhm_nm`, the width that was used; `false_thickness_nm`, what 97.5 % of the bare
        edges of the control read less than (0 without one); `is_plain`, where the profile goes on by a width on
        either side of the film, and the surface is no groove; `mean_curvature_per_nm`; `normal`, (z, y, x);
        `area_nm2`; with a tilt range in the record of the volume, `wedge_depth_deg` and `normal_in_wedge` as in
        `surface_mesh`. nan where nothing could be fitted; the thickness also where the profile is not plain.

    Raises
    ------
    ValueError
        If not exactly one of `psf_fwhm_nm` and `edge_widths` is given; if a width is below a voxel edge, a length is
        not positive, a grey value not finite, `film_level` beyond the grey values by more than their range; if the
        surface has no faces or lies outside the volume.

    Notes
    -----
    The profile is support, film and outside, with steps between them, convolved with a Gaussian; the levels on either
    side and the place of both steps are free, the film's level is fixed [1]_. Least squares by Levenberg and
    Marquardt, from a thin and from a thick film. A film whose level lies between the others widens the edge by
    t^2 p (1 - p) in variance, p being its level from 0 outside to 1 in the support: thin ones need the width of the
    point-spread function to be right, of which 1 % is 4.5 % of the thickness of a film of 0.4 widths (of any level).

    Mass per area is the excess of the profile over a bare edge at `surface`, (film - outside) x thickness: it needs no
    level of the film, but the support's own surface. What curvature moves a blurred edge by, variance x mean
    curvature, is taken off.

    Films of 0.4 to 2 widths, noise 0.1 of the contrast, averaged over 1.5 widths: thickness within 15 %, mass within
    5 %, medians of the errors of all points.

    References
    ----------
    .. [1] Treece et al., Medical Image Analysis 14 (2010) 276-290, doi:10.1016/j.media.2010.01.003
    """
    _check_level(volume, film_level)
    widest_nm, typical_nm = _widths(volume, psf_fwhm_nm, edge_widths)
    thickest_nm = _THICKEST * widest_nm if max_thickness_nm is None else max_thickness_nm
    radius_nm = typical_nm if averaging_radius_nm is None else averaging_radius_nm
    if not 0 < thickest_nm < math.inf:
        raise ValueError(f"max_thickness_nm must be a positive length in nm, got {thickest_nm:g} nm.")
    if not 0 <= radius_nm < math.inf:
        raise ValueError(f"averaging_radius_nm must be zero or a length in nm, got {radius_nm:g} nm.")
    profiles = profiles_along_normals(
        volume,
        surface,
        width_nm=typical_nm,
        inward_nm=_INWARD * widest_nm,
        outward_nm=thickest_nm + _OUTWARD * widest_nm,
        averaging_radius_nm=radius_nm,
    )
    fwhm_nm, low_nm, high_nm = _width_at(profiles.normals, psf_fwhm_nm, edge_widths)
    fits = np.empty((len(profiles.grey), 8))
    by_chunks(
        len(fits),
        "fitting films",
        lambda first, last: film_fit.fit_films_cpu(
            profiles.steps_nm,
            profiles.grey,
            profiles.use,
            film_level,
            fwhm_nm / FWHM,
            thickest_nm,
            first,
            last,
            fits,
        ),
    )
    inner, outer, start_nm, thickness_nm, square = fits[:, :5].T
    shift_nm = (fwhm_nm / FWHM) ** 2 * profiles.curvatures_per_nm[:, 0]
    contrast = np.abs(inner - outer)
    is_plain = profiles.is_plain(start_nm, start_nm + thickness_nm, fwhm_nm)
    values = {
        "thickness_nm": np.where(is_plain, thickness_nm, np.nan),
        "mass_per_area": _excess(profiles, fits, fwhm_nm, shift_nm),
        "support_position_nm": start_nm + shift_nm,
        "support_level": inner,
        "outer_level": outer,
        "residual": np.sqrt(square) / np.where(contrast > 0, contrast, np.nan),
        "fwhm_nm": fwhm_nm,
        "false_thickness_nm": _false_thickness(film_level, fits, fwhm_nm, low_nm, high_nm),
        "is_plain": is_plain,
        "film_level": np.full(len(fits), film_level),
        "mean_curvature_per_nm": profiles.curvatures_per_nm[:, 0],
        "normal": profiles.normals,
        "area_nm2": profiles.areas_nm2,
    }
    tilts_deg = tilt_range_of(volume, None)
    if tilts_deg is not None:
        depth = wedge_depth_deg(profiles.normals, tilts_deg)
        values |= {"wedge_depth_deg": depth, "normal_in_wedge": depth > 0}
    return Surface(profiles.points_nm, np.asarray(surface.faces), values)


def _check_level(volume: Volume, level: float) -> None:
    low, high = grey_range(volume)
    if not 2 * low - high <= level <= 2 * high - low or low == high:
        raise ValueError(
            f"film_level must be a grey value of this volume ({low:g} to {high:g}), or beyond by less than its range, "
            f"as that of a film too thin to reach its own level may be, got {level:g}."
        )


def _widths(
    volume: Volume, psf_fwhm_nm: float | tuple[float, float, float] | None, widths: pd.DataFrame | None
) -> tuple[float, float]:
    """Largest and typical width in nm, after checks."""
    if (psf_fwhm_nm is None) == (widths is None):
        raise ValueError(
            "exactly one of psf_fwhm_nm and edge_widths must be given, got "
            + ("none." if widths is None else "both.")
        )
    if widths is None:
        values = np.atleast_1d(np.asarray(psf_fwhm_nm, dtype=np.float64))
    else:
        values = widths["fwhm_nm"].to_numpy(dtype=np.float64)
    least = min(volume.voxel_size_nm)
    if not ((values >= least) & np.isfinite(values)).all() or len(values) == 0:
        raise ValueError(
            f"the width of the point-spread function must be at least a voxel edge ({least:g} nm), got "
            f"{values.min(initial=math.inf):g} nm."
        )
    return float(values.max()), float(np.median(values))


def _width_at(
    normals: np.ndarray, psf_fwhm_nm: float | tuple[float, float, float] | None, widths: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Width along each normal, and the range of what bare edges may show."""
    if widths is not None:
        return widths_at(widths, normals)
    along = np.broadcast_to(np.asarray(psf_fwhm_nm, dtype=np.float64), (3,))
    width = np.sqrt((normals**2) @ along**2)
    return width, width, width


def _false_thickness(
    level: float, fits: np.ndarray, fwhm: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Film that an edge as wide as `high` (or as sharp as `low`, for a film beyond both levels) reads."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (level - fits[:, 1]) / (fits[:, 0] - fits[:, 1])
        product = share * (1.0 - share)
        excess = np.where(product > 0, high**2 - fwhm**2, low**2 - fwhm**2) / FWHM**2
        return np.where(np.isfinite(product), np.sqrt(np.maximum(excess / product, 0.0)), np.nan)


def _excess(profiles: Profiles, fits: np.ndarray, fwhm: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Integral of each profile over a bare edge at the surface, in grey value x nm; nan where it was cut too early."""
    steps, grey, use = profiles.steps_nm, profiles.grey.astype(np.float64), profiles.use
    step_nm = steps[1] - steps[0]
    low, high = -_TAIL * fwhm, np.maximum(fits[:, 3], 0.0) + _TAIL * fwhm
    within = (steps >= low[:, None]) & (steps <= high[:, None])
    levels = []
    for beyond, fitted in ((steps < low[:, None], fits[:, 0]), (steps > high[:, None], fits[:, 1])):
        here = beyond & use
        n = here.sum(axis=1)
        mean = np.where(here, grey, 0.0).sum(axis=1) / np.maximum(n, 1)
        levels.append(np.where(n >= _LEAST_LEVEL, mean, fitted))
    inner, outer = levels
    inside = np.where(steps < 0, 1.0, np.where(steps == 0, 0.5, 0.0))
    bare = outer[:, None] + (inner - outer)[:, None] * inside
    total = np.where(within & use, grey - bare, 0.0).sum(axis=1) * step_nm + shift * (inner - outer)
    whole = (use | ~within).all(axis=1) & np.isfinite(fits[:, 3])
    return np.where(whole, total, np.nan)
