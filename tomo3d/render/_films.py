"""Pictures of films: distributions of several thicknesses, thickness against the normal, the profile across a film."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr

from tomo3d import tables
from tomo3d.compute import normal_profiles
from tomo3d.geometry import nm_to_index
from tomo3d.render import _style
from tomo3d.types import Surface, Volume

_MOST = len(_style.PALETTE)
_N_BINS = 60
_SHOWN = 0.97  # of the widest distribution
_WIDTHS = 2.0  # of the point-spread function, drawn on either side of a film
_TYPICAL = 0.1  # of the points: those around the median thickness, whose profiles are drawn
_MOST_PROFILES = 4000
_NEEDED = ("thickness_nm", "support_position_nm", "support_level", "outer_level", "film_level", "fwhm_nm",
           "mean_curvature_per_nm", "normal", "is_plain")  # fmt: skip


@_style.styled
def thickness_distributions(
    thickness: Mapping[str, Volume] | None = None,
    *,
    surfaces: Mapping[str, Surface] | None = None,
    cutoff_nm: float = 0.0,
    truth_nm: float | None = None,
) -> Figure:
    """Distributions of the thickness by several definitions, one above the other on one axis.

    Parameters
    ----------
    thickness : mapping of str to Volume, shape (n_z, n_y, n_x), optional
        Maps in nm by name; 0, nan and inf are left out.
    surfaces : mapping of str to Surface, optional
        Surfaces with `thickness_nm` by name; points count by their `area_nm2` where they have it.
    cutoff_nm : float
        Resolution: what lies under it is hatched.
    truth_nm : float, optional
        Known thickness, marked by a line.

    Returns
    -------
    matplotlib.figure.Figure
        Each with its median (line), quartiles (bar), and number of voxels or points; the axis ends near the 97 %
        quantile of the widest.

    Raises
    ------
    ValueError
        If there is no distribution or more than eight, one is empty, a surface holds no thickness, or `cutoff_nm` is
        negative.
    """
    if not (math.isfinite(cutoff_nm) and cutoff_nm >= 0):
        raise ValueError(f"cutoff_nm must be zero or a positive length, got {cutoff_nm:g} nm.")
    found = {name: _of_volume(name, volume) for name, volume in (thickness or {}).items()}
    found |= {name: _of_surface(name, surface) for name, surface in (surfaces or {}).items()}
    if not 1 <= len(found) <= _MOST:
        raise ValueError(f"from 1 to {_MOST} distributions can be drawn, got {len(found)}.")
    top = max(float(np.quantile(values, _SHOWN)) for values, _, _ in found.values())
    top = 1.1 * max(top, truth_nm or 0.0, cutoff_nm)
    figure = _style.new_figure(_style.PAGE_IN, 0.7 + 0.75 * len(found), layout="constrained")
    rows = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for i, (axes, (name, (values, weights, unit))) in enumerate(zip(rows, found.items(), strict=True)):
        _draw_distribution(axes, values, weights, top, _style.PALETTE[i])
        text = f"{name}\nmedian {_quantiles(values, weights)[1]:.3g} nm\nn = {len(values):,} {unit}"
        axes.text(1.01, 0.95, text.replace("$", r"\$"), transform=axes.transAxes, va="top", fontsize=7)
        if cutoff_nm > 0:
            axes.axvspan(
                0, cutoff_nm, facecolor="none", edgecolor=_style.QUIET, hatch="////", lw=0, alpha=0.6
            )
        if truth_nm is not None:
            axes.axvline(truth_nm, color=_style.INK, ls=(0, (1, 1)), lw=1.2)
        axes.set(xlim=(0, top), yticks=[], ylim=(0, None))
        axes.spines["left"].set_visible(False)
    notes = ["" if truth_nm is None else f"dotted: truth, {truth_nm:.3g} nm"]
    notes.append(f"hatched: under the cut-off, {cutoff_nm:.3g} nm" if cutoff_nm > 0 else "")
    rows[-1].set_xlabel("Thickness (nm)" + "".join(f"; {note}" for note in notes if note))
    figure.supylabel("Share per nm", fontsize=8)
    return figure


def _of_volume(name: str, volume: Volume) -> tuple[np.ndarray, np.ndarray, str]:
    data = _style.host(volume.data[:])
    values = data[np.isfinite(data) & (data > 0)].astype(np.float64)
    return _checked(name, values, np.ones(len(values)), "voxels")


def _of_surface(name: str, surface: Surface) -> tuple[np.ndarray, np.ndarray, str]:
    if "thickness_nm" not in surface.point_data:
        raise ValueError(
            f"surfaces[{name!r}] must hold thickness_nm, as of chord_thickness, got {sorted(surface.point_data)}."
        )
    values = np.asarray(surface.point_data["thickness_nm"], dtype=np.float64)
    weights = np.asarray(surface.point_data.get("area_nm2", np.ones(len(values))), dtype=np.float64)
    known = np.isfinite(values) & (values > 0)
    return _checked(name, values[known], weights[known], "points")


def _checked(
    name: str, values: np.ndarray, weights: np.ndarray, unit: str
) -> tuple[np.ndarray, np.ndarray, str]:
    if values.size == 0:
        raise ValueError(f"{name} must have at least one thickness above 0 nm, got none.")
    return values, weights, unit


def _quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return np.asarray(
        values[order][np.searchsorted(cumulative, np.array([0.25, 0.5, 0.75]) * cumulative[-1])]
    )


def _draw_distribution(axes: Axes, values: np.ndarray, weights: np.ndarray, top: float, colour: str) -> None:
    share, edges = np.histogram(values, np.linspace(0.0, top, _N_BINS + 1), weights=weights)
    share = share / weights.sum() / np.diff(edges)
    axes.stairs(share, edges, fill=True, color=colour, alpha=0.45)
    axes.stairs(share, edges, color=colour, lw=0.8)
    low, median, high = _quantiles(values, weights)
    base = -0.06 * float(share.max())
    axes.plot([low, high], [base, base], color=_style.INK, lw=2.2, solid_capstyle="butt", clip_on=False)
    axes.axvline(median, color=_style.INK, lw=1.0)


@_style.styled
def thickness_by_angle(table: pd.DataFrame, *, truth_nm: float | None = None) -> Figure:
    """Thickness against the angle of the normal, with quartiles, and what share of each angle no view saw.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `measure.thickness_by_angle`.
    truth_nm : float, optional
        Known thickness, marked by a line.

    Returns
    -------
    matplotlib.figure.Figure
        Medians (lines) and quartiles (bands) above; below, the share of the area at each angle, dark where no view saw
        it.

    Raises
    ------
    ValueError
        If a column is missing, there is no row, or more than eight samples.
    """
    tables.check(table, tables.THICKNESS_BY_ANGLE)
    names = list(dict.fromkeys(table["sample"]))
    if not 1 <= len(names) <= _MOST:
        raise ValueError(f"the table must have from 1 to {_MOST} samples, got {len(names)}.")
    figure = _style.new_figure(_style.PAGE_IN, 3.4, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.5, 1.0))
    for i, name in enumerate(names):
        rows = table[table["sample"] == name]
        at, colour = rows["elevation_deg"], _style.PALETTE[i]
        upper.fill_between(at, rows["p25_nm"], rows["p75_nm"], color=colour, alpha=0.25, lw=0)
        label = str(name).replace("_", " ").replace("$", r"\$")
        upper.plot(at, rows["median_nm"], "o-", color=colour, label=label)
    if truth_nm is not None:
        upper.axhline(truth_nm, color=_style.INK, ls=(0, (1, 1)), lw=1.2, label=f"truth, {truth_nm:.3g} nm")
    upper.set(ylabel="Thickness (nm)", ylim=(0, None), xlim=(0, 90))
    figure.legend(loc="outside right upper")
    _draw_shares(lower, table[table["sample"] == names[0]])
    lower.set_xlabel("Angle of the normal to the plane across the beam (deg)")
    return figure


def _draw_shares(axes: Axes, rows: pd.DataFrame) -> None:
    at, share = rows["elevation_deg"].to_numpy(dtype=float), 100.0 * rows["share"].to_numpy(dtype=float)
    width = 0.9 * (float(np.diff(at).min()) if len(at) > 1 else 10.0)
    axes.bar(at, share, width, color="#c8c8c8")
    hidden = rows["share_in_wedge"].to_numpy(dtype=float)
    if np.isfinite(hidden).any():
        axes.bar(at, share * np.nan_to_num(hidden), width, color=_style.QUIET)
        axes.text(1.01, 0.5, "dark: no view\nsaw them", transform=axes.transAxes, va="center", fontsize=7)
    axes.set(ylabel="Area (%)", ylim=(0, None))


@_style.styled
def film_profile(volume: Volume, films: Surface) -> Figure:
    """The profile across a film with its fit: where the film is as thick as the median.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values that the films were measured in.
    films : Surface
        From `measure.profile_thickness`; with `is_covered`, as `measure.film_coverage` adds it, covered points alone.

    Returns
    -------
    matplotlib.figure.Figure
        Mean profile of the tenth of the points around the median thickness (circles), its spread (band: one standard
        deviation), the mean fit (line), and what is fitted before it is blurred (steps).

    Raises
    ------
    ValueError
        If the films have no profiles or no point has a film.
    """
    missing = [name for name in _NEEDED if name not in films.point_data]
    if missing:
        raise ValueError(f"films must come from profile_thickness, missing {missing}.")
    chosen = _typical(films)
    fit = {
        name: float(np.mean(films.point_data[name][chosen]))
        for name in _NEEDED
        if name not in ("normal", "is_plain")
    }
    span = _WIDTHS * fit["fwhm_nm"]
    steps = np.linspace(-span, fit["thickness_nm"] + span, 61)
    data = np.ascontiguousarray(_style.host(volume.data[:]), dtype=np.float32)
    normals = np.asarray(films.point_data["normal"])[chosen]
    start = (
        np.asarray(films.vertices_nm)[chosen]
        + np.asarray(films.point_data["support_position_nm"])[chosen, None] * normals
    )
    grey = normal_profiles.sampled(
        data, nm_to_index(volume, start), normals / np.array(volume.voxel_size_nm), steps
    )
    known = np.isfinite(grey)
    n_known = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, grey, 0.0).sum(axis=0) / n_known
    spread = np.sqrt(np.where(known, (grey - mean) ** 2, 0.0).sum(axis=0) / n_known)
    figure = _style.new_figure(_style.PAGE_IN, 2.8, layout="constrained")
    axes = figure.subplots()
    colour = _style.PALETTE[5]
    axes.fill_between(
        steps, mean - spread, mean + spread, color=colour, alpha=0.18, lw=0, label="spread of profiles"
    )
    axes.plot(steps[::2], mean[::2], "o", color=colour, ms=3, label=f"mean of {len(start):,} profiles")
    axes.plot(steps, _blurred(steps, fit), color=_style.PALETTE[4], label="fit")
    corners = np.array([steps[0], 0.0, 0.0, fit["thickness_nm"], fit["thickness_nm"], steps[-1]])
    levels = np.repeat([fit["support_level"], fit["film_level"], fit["outer_level"]], 2)
    axes.plot(
        corners,
        levels,
        color=_style.INK,
        lw=0.9,
        ls=(0, (4, 2)),
        label=f"film of {fit['thickness_nm']:.3g} nm",
    )
    axes.set(
        xlabel="Distance from the support along its normal (nm)",
        ylabel="Grey value",
        xlim=(steps[0], steps[-1]),
    )
    figure.legend(
        loc="outside right upper", title=f"width {fit['fwhm_nm']:.3g} nm", title_fontsize=7, alignment="left"
    )
    return figure


def _typical(films: Surface) -> np.ndarray:
    """Indices of the plain points around the median thickness."""
    thickness = np.asarray(films.point_data["thickness_nm"], dtype=np.float64)
    good = np.asarray(films.point_data["is_plain"]).astype(bool) & np.isfinite(thickness) & (thickness > 0)
    good &= np.asarray(films.point_data.get("is_covered", np.ones(len(good)))).astype(bool)
    index = np.flatnonzero(good)
    if not len(index):
        raise ValueError("films must be known and thicker than 0 nm somewhere, got no such point.")
    away = np.abs(thickness[index] - np.median(thickness[index]))
    nearest = index[np.argsort(away, kind="stable")[: max(1, int(_TYPICAL * len(index)))]]
    return nearest[:: max(1, len(nearest) // _MOST_PROFILES)]


def _blurred(steps: np.ndarray, fit: Mapping[str, float]) -> np.ndarray:
    """The film convolved with the point-spread function, its edges shifted by curvature as in the fit."""
    sigma = fit["fwhm_nm"] / (2.0 * math.sqrt(2.0 * math.log(2.0)))
    at = steps + sigma**2 * fit["mean_curvature_per_nm"]
    inner, film = ndtr(-at / sigma), ndtr((fit["thickness_nm"] - at) / sigma)
    return np.asarray(
        fit["support_level"] * inner + fit["film_level"] * (film - inner) + fit["outer_level"] * (1.0 - film)
    )
