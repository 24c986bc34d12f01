"""Alignment of an isolated object by its centre of mass."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tomo3d import geometry
from tomo3d.align._apply import apply
from tomo3d.align._working import all_rows, planner, rows_in_use, working_copy
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_log = logging.getLogger(__name__)
_MAX_PIXELS = 256
_LEVEL = 0.12  # of the view's maximum (of its 99.9 % quantile, which noise does not move)
_N_SLABS = 12
_END = 0.005  # of the mass, beyond the first and the last slab
_FAINT = 0.1  # of the mass of the mean slab: with less, a slab is nothing but background
_CUT = 0.1  # of the highest column of a slab: with more beside the border, the slab goes on beyond it
_MASS = 0.15  # of its mass a slab may gain or lose against the other slabs
_FEWEST = 2  # slabs that must agree on a view
_TUKEY = 4.685  # standard deviations
_FLOOR = 0.02  # pixels: slabs that agree better agree
_N_ROUNDS = 30


@planned(planner(256))
def center_of_mass(series: TiltSeries, *, alignment: Alignment | None = None) -> Alignment:
    """Put the centre of mass of an isolated object on the tilt axis, slab by slab along it.

    Parameters
    ----------
    series : TiltSeries
        Bright object on a dark background. Where it leaves the image, some slabs across it should not.
    alignment : Alignment, optional
        Where to start from. Default: the nominal axis and no shifts.

    Returns
    -------
    Alignment
        Shifts across the axis such that the centre of mass of the slabs follows a cos t + b sin t;
        along it (where the object may be cut by the border) those of the start. A view is reliable if at least two
        slabs of it can be trusted. Evidence "center_of_mass": view, tilt_angle_deg, residual_nm (median
        distance between slabs), n_slabs (that were used); and "center_of_mass_slabs": slab, y_low_nm, y_high_nm,
        n_views (in which it was used), n_views_cut (by the border), n_views_mass (with more or less in it than
        elsewhere), residual_nm.

    Raises
    ------
    ValueError
        If fewer than three views are in use, a pixel is not finite, or a view is blank.

    Notes
    -----
    Values below 0.12 of a view's maximum (its quantile of 99.9 %) count as background. The object is cut along the axis
    into twelve slabs. The centre of a slab at tilt t is a + b cos t + c sin t whatever its shape, as mass is projected
    onto the detector unchanged [1]_; a, of mean zero, is what a slab is off by if the axis is turned. All slabs of a
    view share its shift: one fit with Tukey's weights. A slab is left out of a view where it touches the border
    across the axis, or where its mass, relative to the other slabs, is off by 15 %: something came into the field or
    left it. A slab that is left out of half of the views is left out of all, if the view is seen in others. Where no
    slab of any view can be trusted, as in a film that fills the field, all are used, no view is reliable, and a warning
    says so.

    On three ellipsoids shifts are right within 0.1 px r.m.s., up to where the specimen is, and so they are if a
    third of the slabs is cut by the border, or another body comes into the field at high tilts. Slabs are cut
    along the axis: where views are shifted along it, start from an alignment that undoes that.

    References
    ----------
    .. [1] T. Sanders et al., Microsc. Microanal. 21 (2015), doi:10.1017/S1431927615000616
    """
    found = about_center_of_mass(series, alignment)
    is_sure = found.reliable[series.used]
    if not is_sure.any():
        _log.warning(
            "the centre of mass is not to be trusted in any view: what is bright reaches the border, "
            "or comes and goes, in every slab along the axis"
        )
    elif is_sure.mean() < 0.5:
        _log.warning(
            "the centre of mass is to be trusted in %d of %d views only", is_sure.sum(), len(is_sure)
        )
    return found


def about_center_of_mass(series: TiltSeries, alignment: Alignment | None) -> Alignment:
    """`center_of_mass` without its warnings, for those who try it beside others."""
    views = working_copy(series, max_pixels=_MAX_PIXELS, smooth=True)
    start = rows_in_use(series, alignment or geometry.nominal_alignment(series))
    slabs = _slabs(views, start)
    tilt = np.deg2rad(start.tilt_angles_deg)
    trusted = slabs.trusted
    is_sure = trusted.sum(axis=0) >= _FEWEST
    used = trusted if is_sure.all() else trusted | ~is_sure & slabs.good  # a view must be put somewhere
    used = np.where(used.any(axis=0), used, slabs.is_bright)
    move, residual = _shared_shifts(slabs.centre, used, tilt, _FLOOR * views.pixel_size_nm)
    orbit = np.column_stack((np.cos(tilt), np.sin(tilt)))
    shifts_nm = start.shifts_nm.copy()
    # where the specimen is, is free: it stays, in the sense of least absolute values, which views that jump do not pull
    shifts_nm[:, 1] = move - _least_absolute(orbit, move - shifts_nm[:, 1])
    by_view = np.array([np.median(np.abs(r[u])) for r, u in zip(residual.T, used.T, strict=True)])
    found = replace(
        start,
        shifts_nm=shifts_nm,
        residual_nm=float(np.sqrt(np.mean(by_view**2))),
        reliable=is_sure,
        evidence={},
    )
    evidence = {
        "center_of_mass": pd.DataFrame(
            {
                "view": np.flatnonzero(series.used),
                "tilt_angle_deg": start.tilt_angles_deg,
                "residual_nm": by_view,
                "n_slabs": np.where(is_sure, trusted.sum(axis=0), 0),
            }
        ),
        "center_of_mass_slabs": slabs.table(used, residual, views.pixel_size_nm),
    }
    return all_rows(series, found, evidence)


@dataclass(frozen=True, eq=False)
class _Slabs:
    """Slabs along the axis in every view, (n_slabs, n_views), and the first row of each and the row after the last."""

    centre: np.ndarray  # nm from the axis as the views were recorded
    is_bright: np.ndarray
    is_cut: np.ndarray  # by the border across the axis
    is_off: np.ndarray  # in mass
    edges: list[tuple[int, int]]
    n_y: int

    @property
    def good(self) -> np.ndarray:
        """Where a slab is seen that can be trusted in at least half of the views."""
        often = (self.is_bright & ~self.is_cut & ~self.is_off).mean(axis=1) >= 0.5
        return np.asarray(self.is_bright & often[:, None])

    @property
    def trusted(self) -> np.ndarray:
        return np.asarray(self.good & ~self.is_cut & ~self.is_off)

    def table(self, used: np.ndarray, residual: np.ndarray, pixel_nm: float) -> pd.DataFrame:
        low, high = np.array(self.edges).T
        first_nm = -0.5 * self.n_y * pixel_nm
        return pd.DataFrame(
            {
                "slab": np.arange(len(self.edges)),
                "y_low_nm": first_nm + low * pixel_nm,
                "y_high_nm": first_nm + high * pixel_nm,
                "n_views": used.sum(axis=1),
                "n_views_cut": self.is_cut.sum(axis=1),
                "n_views_mass": self.is_off.sum(axis=1),
                "residual_nm": [
                    float(np.median(np.abs(r[u]))) if u.any() else np.nan
                    for r, u in zip(residual, used, strict=True)
                ],
            }
        )


def _slabs(views: TiltSeries, start: Alignment) -> _Slabs:
    """Of the views turned, and moved along the axis only: what was recorded stays in the image across it."""
    along = replace(start, shifts_nm=start.shifts_nm * (1.0, 0.0))
    images = np.array(apply(views, along).images)
    tops = np.quantile(images.reshape(len(images), -1), 0.999, axis=1)
    images[images < _LEVEL * tops[:, None, None]] = 0.0
    n_y, n_x = images.shape[1:]
    total = np.cumsum(images.sum(axis=(0, 2), dtype=np.float64))
    if not total[-1] > 0:
        raise ValueError("the object must be brighter than its background, got views without a bright part.")
    first, last = np.searchsorted(total, np.array([_END, 1.0 - _END]) * total[-1])
    n_slabs = min(_N_SLABS, max(1, (int(last) - int(first)) // 2))
    edges = list(
        itertools.pairwise(np.linspace(first, max(last, first + 1), n_slabs + 1).round().astype(int).tolist())
    )
    profiles = np.stack([images[:, low:high].sum(axis=1, dtype=np.float64) for low, high in edges])
    mass = profiles.sum(axis=2)
    if not (mass > 0).any(axis=0).all():
        raise ValueError("the object must be seen in every view in use, got views without a bright part.")
    is_bright = mass > _FAINT * mass.mean(axis=0)
    centre = (profiles @ geometry.coordinates(n_x)) / np.where(is_bright, mass, 1.0) * views.pixel_size_nm
    strip = max(1, n_x // 64)
    beside = np.maximum(profiles[..., :strip].max(axis=2), profiles[..., -strip:].max(axis=2))
    is_cut = beside > _CUT * profiles.max(axis=2)
    return _Slabs(centre, is_bright, is_cut, _off_in_mass(mass, is_bright & ~is_cut), edges, n_y)


def _off_in_mass(mass: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where the mass (n_slabs, n_views) is not that of the slab times the brightness of the view."""
    known = known & (known.mean(axis=1) >= 0.5)[:, None]
    off = np.where(known, np.log(np.where(known, mass, 1.0)), np.nan)
    for _ in range(10):  # median polish
        for axis in (1, 0):
            off = off - np.ma.median(np.ma.masked_invalid(off), axis=axis, keepdims=True).filled(0.0)
    return np.asarray(np.abs(off) > _MASS)


def _shared_shifts(
    centre: np.ndarray, used: np.ndarray, tilt: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """The shift of each view (n_views,) that takes every slab to its orbit, and what is left (n_slabs, n_views).

    centre + shift = a + b cos t + c sin t for every slab, a of mean zero; the shifts are free to move along cos t and
    sin t. Tukey's weights, from the medians over slabs of what each wants by itself: one that strays has no say.
    """
    model = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
    slab, view = np.nonzero(used)
    place = np.searchsorted(np.flatnonzero(used.any(axis=1)), slab)
    n_views = len(tilt)
    rows = np.arange(len(slab))
    design = np.zeros((len(slab) + 1, n_views + 3 * (int(place.max()) + 1)))
    design[rows, view] = -1.0
    for mode in range(3):
        design[rows, n_views + 3 * place + mode] = model[view, mode]
    design[-1, n_views::3] = len(slab)  # the mean of a is zero
    target = np.append(centre[slab, view], 0.0)
    off = _strays(np.where(used, centre, np.nan), model)[slab, view]
    solution = np.zeros(design.shape[1])
    for _ in range(_N_ROUNDS):
        scale = max(1.4826 * float(np.median(np.abs(off))), floor)
        weights = np.square(np.maximum(1.0 - np.square(off / (_TUKEY * scale)), 0.0))
        root = np.sqrt(np.append(np.maximum(weights, 1e-6), 1.0))
        before, solution = solution, np.linalg.lstsq(design * root[:, None], target * root, rcond=1e-10)[0]
        off = (target - design @ solution)[:-1]
        if np.abs(design[:-1] @ (solution - before)).max() < 0.01 * floor:
            break
    residual = np.full(centre.shape, np.nan)
    residual[slab, view] = off
    return solution[:n_views], residual


def _strays(centre: np.ndarray, model: np.ndarray) -> np.ndarray:
    """How far centres (n_slabs, n_views), nan if unknown, are from orbits, if the median slab says the shift."""
    known = np.isfinite(centre)

    def off(values: np.ndarray, modes: np.ndarray) -> np.ndarray:
        fitted = np.full_like(values, np.nan)
        for row, value, is_known in zip(fitted, values, known, strict=True):
            if is_known.any():
                row[is_known] = value[is_known] - _least_absolute(modes[is_known], value[is_known])
        return fitted

    return off(centre - np.nanmedian(off(centre, model[:, 1:]), axis=0), model)


def _least_absolute(model: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The combination of modes nearest to the values in the sense of least absolute values."""
    weights = np.ones(len(values))
    nearest = np.zeros(len(values))
    for _ in range(20):
        root = np.sqrt(weights)
        nearest = model @ np.linalg.lstsq(model * root[:, None], values * root, rcond=None)[0]
        distance = np.abs(values - nearest)
        weights = 1.0 / np.maximum(distance, 1e-3 * max(float(distance.max()), 1e-12))
    return np.asarray(nearest)
