"""What the angles of a tilt series allow at best, in closed form."""

from __future__ import annotations

import math


def crowther_limit_nm(diameter_nm: float, n_views: int, tilt_range_deg: float = 180.0) -> float:
    """Resolution that the angular step between the views allows, across the tilt axis (Crowther).

    Parameters
    ----------
    diameter_nm : float
        Of the object, or the thickness of a slab across the beam's path, in nm.
    n_views : int
        Number of views, evenly spread over the tilt range.
    tilt_range_deg : float
        From the lowest to the highest tilt: 120 for -60 to 60 deg. 180 is the full range.

    Returns
    -------
    float
        Finest period in nm: diameter x angular step. pi D / N over the full range; over a smaller one D times the
        step range / (N - 1) in radians.

    Raises
    ------
    ValueError
        If the diameter is not positive, there are fewer than two views, or the range is not above 0 and at most
        180 deg.

    Notes
    -----
    A central section of an object of diameter D is 1 / D thick in Fourier space; up to the frequency 1 / d the
    sections of neighbouring views touch [1]_. It says nothing of noise, misalignment or the missing wedge.

    References
    ----------
    .. [1] Crowther, DeRosier and Klug, Proc. R. Soc. Lond. A 317 (1970) 319-340, doi:10.1098/rspa.1970.0119
    """
    if not (math.isfinite(diameter_nm) and diameter_nm > 0):
        raise ValueError(f"diameter_nm must be a positive length in nm, got {diameter_nm:g} nm.")
    if n_views < 2:
        raise ValueError(f"n_views must be at least 2 for a step between views, got {n_views}.")
    _check_range(tilt_range_deg)
    n_steps = n_views if tilt_range_deg == 180.0 else n_views - 1  # at 180 deg the range closes on itself
    return diameter_nm * math.radians(tilt_range_deg) / n_steps


def psf_elongation(tilt_range_deg: float) -> float:
    """Elongation of the point-spread function along the beam by the missing wedge.

    Parameters
    ----------
    tilt_range_deg : float
        From the lowest to the highest tilt: 120 for -60 to 60 deg.

    Returns
    -------
    float
        Width along z over width along x: sqrt((a + sin a cos a) / (a - sin a cos a)), a half the range. 1.55 for
        120 deg, 1 for 180 deg.

    Raises
    ------
    ValueError
        If the range is not above 0 and at most 180 deg.

    Notes
    -----
    Root of the ratio of the curvatures of the point-spread function at its peak, along x and along z, for evenly
    spread views and the ramp filter [1]_.
    Objects are elongated less than the point-spread function: never correct a size by it.

    References
    ----------
    .. [1] M. Radermacher, J. Electron Microsc. Tech. 9 (1988) 359-394
    """
    _check_range(tilt_range_deg)
    half = math.radians(0.5 * tilt_range_deg)
    product = math.sin(half) * math.cos(half)
    return math.sqrt((half + product) / (half - product))


def _check_range(tilt_range_deg: float) -> None:
    if not 0.0 < tilt_range_deg <= 180.0:
        raise ValueError(
            f"tilt_range_deg must be above 0 and at most 180 deg, got {tilt_range_deg:g} deg: "
            "it is the angle from the lowest to the highest tilt."
        )
