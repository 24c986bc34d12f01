"""Alignment of an isolated object by its centre of mass."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd

from tomo3d import geometry
from tomo3d.align._apply import apply
from tomo3d.align._working import all_rows, planner, rows_in_use, working_copy
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_MAX_PIXELS = 256
_LEVEL = 0.12  # of the view's maximum (of its 99.9 % quantile, which noise does not move)
_N_SLABS = 8


@planned(planner(256))
def center_of_mass(series: TiltSeries, *, alignment: Alignment | None = None) -> Alignment:
    """Put the centre of mass of an isolated object on the tilt axis, slab by slab along it.

    Parameters
    ----------
    series : TiltSeries
        Bright object on a dark background that does not leave the image across the axis.
    alignment : Alignment, optional
        Where to start from. Default: the nominal axis and no shifts.

    Returns
    -------
    Alignment
        Shifts across the axis such that the centre of mass of the slabs follows a cos t + b sin t;
        along it (where the object may be cut by the border) those of the start. Evidence
        "center_of_mass": view, tilt_angle_deg, residual_nm.

    Raises
    ------
    ValueError
        If fewer than three views are in use, a pixel is not finite, or a view is blank.

    Notes
    -----
    Values below 0.12 of a view's maximum (its quantile of 99.9 %) count as background. The median over
    slabs that are as thick as an eighth of the object is taken, so that a slab that is cut does no harm.
    Slabs are cut along the axis: where views are shifted along it, start from an alignment that undoes that.
    The centre of a slab at tilt t is c + a cos t + b sin t whatever its shape, as mass is projected
    onto the detector unchanged [1]_.

    References
    ----------
    .. [1] T. Sanders et al., Microsc. Microanal. 21 (2015), doi:10.1017/S1431927615000616
    """
    views = working_copy(series, max_pixels=_MAX_PIXELS, smooth=True)
    start = rows_in_use(series, alignment or geometry.nominal_alignment(series))
    images = np.array(apply(views, start).images)
    tops = np.quantile(images.reshape(len(images), -1), 0.999, axis=1)
    images[images < _LEVEL * tops[:, None, None]] = 0.0
    mass = images.sum(axis=2)  # (n_views, n_y)
    position = (images @ geometry.coordinates(images.shape[2]).astype(np.float32)) * views.pixel_size_nm
    total = np.cumsum(mass.sum(axis=0))
    if not total[-1] > 0:
        raise ValueError("the object must be brighter than its background, got views without a bright part.")
    edges = np.searchsorted(total, np.linspace(0.02, 0.98, _N_SLABS + 1) * total[-1])
    tilt = np.deg2rad(start.tilt_angles_deg)
    model = np.column_stack((np.cos(tilt), np.sin(tilt)))
    wanted = []
    for low, high in itertools.pairwise(edges):
        slab_mass = mass[:, low : max(high, low + 1)].sum(axis=1)
        if (slab_mass > 0).all():
            centre = position[:, low : max(high, low + 1)].sum(axis=1) / slab_mass
            wanted.append(_orbit(model, centre) - centre)
    if not wanted:
        raise ValueError("the object must be seen in every view in use, got views without a bright part.")
    move = np.median(wanted, axis=0)
    residual = np.median(np.abs(np.array(wanted) - move), axis=0)
    shifts_nm = start.shifts_nm.copy()
    shifts_nm[:, 1] += move
    found = replace(
        start,
        shifts_nm=shifts_nm,
        residual_nm=float(np.sqrt(np.mean(residual**2))),
        reliable=np.ones(views.n_tilts, dtype=bool),
        evidence={},
    )
    evidence = pd.DataFrame(
        {
            "view": np.flatnonzero(series.used),
            "tilt_angle_deg": start.tilt_angles_deg,
            "residual_nm": residual,
        }
    )
    return all_rows(series, found, {"center_of_mass": evidence})


def _orbit(model: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """a cos t + b sin t nearest to the centres, in the sense of least absolute values (jumps are outliers)."""
    weights = np.ones(len(centre))
    orbit = np.zeros(len(centre))
    for _ in range(20):
        root = np.sqrt(weights)
        coefficients, *_ = np.linalg.lstsq(model * root[:, None], centre * root, rcond=None)
        orbit = model @ coefficients
        distance = np.abs(centre - orbit)
        weights = 1.0 / np.maximum(distance, 1e-3 * max(float(distance.max()), 1e-12))
    return orbit
