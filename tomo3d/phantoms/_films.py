"""Films whose thickness is known by every definition: on a ball, oblique on a plate, bridging a slot."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
from scipy.integrate import quad

from tomo3d import tables
from tomo3d.phantoms._flat_solids import Slab
from tomo3d.phantoms._round_solids import Ball
from tomo3d.phantoms._solid import Vector, length
from tomo3d.phantoms._specimen import Body, Specimen, SpecimenSketch
from tomo3d.planning import Plan, planned

_ROOM = 1.25  # edges of the field over those of what is in it


def _cube(edge_nm: float) -> Vector:
    return (edge_nm, edge_nm, edge_nm)


@planned(
    lambda *, radius_nm=24.0, thickness_nm=6.0, **_: Plan(
        SpecimenSketch("Specimen", size_nm=_cube(2 * _ROOM * (radius_nm + thickness_nm))), 0
    )
)
def film_on_ball(
    *,
    radius_nm: float = 24.0,
    thickness_nm: float = 6.0,
    film_density: float = 0.5,
    centre_nm: Vector = (0.0, 0.0, 0.0),
) -> Specimen:
    """A ball of density 1 with a film all around.

    Parameters
    ----------
    radius_nm : float
        Of the ball.
    thickness_nm : float
        Of the film: its local thickness everywhere, its distance and chord thickness at the ball.
    film_density : float
    centre_nm : tuple of float

    Returns
    -------
    Specimen
        Phases "film" and "support". Known: each thickness; the mean over the film's volume of what slices show
        (`film_slice_thickness`), and over the length of their traces (`film_trace_thickness`), which tend to pi / 2 and
        4 / pi thicknesses for a thin film; the distance averaged over the volume of the film.

    Raises
    ------
    ValueError
        If a length is not positive.
    """
    radius, t = length("radius_nm", radius_nm), length("thickness_nm", thickness_nm)
    outer = radius + t
    bodies = [
        Body(Ball(radius_nm=outer, density=film_density, centre_nm=centre_nm), "film"),
        Body(Ball(radius_nm=radius, centre_nm=centre_nm), "support", 0),
    ]
    by_volume, by_trace = _ring_means(radius, outer)
    volume = outer**3 - radius**3
    depth = outer - 0.75 * (outer**4 - radius**4) / volume
    rows = {
        **_same(t),
        "film_distance_thickness_volume": depth,
        "film_slice_thickness": by_volume,
        "film_trace_thickness": by_trace,
    }
    return Specimen(bodies, _cube(2 * _ROOM * outer), _known(rows))


@planned(
    lambda *, width_nm=12.0, length_nm=48.0, **_: Plan(
        SpecimenSketch("Specimen", size_nm=_bridge_size(width_nm, length_nm)), 0
    )
)
def bridge_in_slot(*, width_nm: float = 12.0, length_nm: float = 48.0, film_density: float = 0.5) -> Specimen:
    """A film that fills a slot between two plates of density 1, open at both ends.

    Parameters
    ----------
    width_nm : float
        Of the slot, along z: the local thickness.
    length_nm : float
        Of the film, along y. Along x all goes on to the border of the field and beyond.
    film_density : float

    Returns
    -------
    Specimen
        Phases "support" and "film". Known: local and chord thickness, the width; distance thickness, from 0 at the ends
        to half the length, a quarter of it on the mean.

    Raises
    ------
    ValueError
        If a length is not positive.
    """
    width, long = length("width_nm", width_nm), length("length_nm", length_nm)
    size = _bridge_size(width, long)
    wide, wall = 4.0 * size[2], 0.5 * width + 2.0
    bodies = [
        Body(Slab(thickness_nm=wall, extent_nm=(1.2 * long, wide), centre_nm=(side * 0.5 * (width + wall), 0.0, 0.0)),
             "support")
        for side in (-1.0, 1.0)
    ]  # fmt: skip
    bodies.append(Body(Slab(thickness_nm=width, extent_nm=(long, wide), density=film_density), "film"))
    rows = {
        "film_local_thickness": width,
        "film_chord_thickness": width,
        "film_distance_thickness_volume": 0.25 * long,
        "film_distance_thickness_largest": 0.5 * long,
    }
    return Specimen(bodies, size, _known(rows))


@planned(lambda **_: Plan(SpecimenSketch("Specimen", size_nm=_cube(60.0)), 0))
def oblique_film(
    *, thickness_nm: float = 6.0, normal: Vector = (0.7, 0.5, 0.51), film_density: float = 0.5
) -> Specimen:
    """A film on one side of a plate of density 1, both beyond the field in their plane.

    Parameters
    ----------
    thickness_nm : float
        Of the film. The plate is 20 nm thick, its side with the film through the centre.
    normal : tuple of float
        Direction (z, y, x) from the plate into the film, of any length.
    film_density : float

    Returns
    -------
    Specimen
        Phases "support" and "film". Known: each thickness, and what slices across z read: over the sine of
        the angle between z and the normal.

    Raises
    ------
    ValueError
        If the thickness is not positive or the normal has no direction.
    """
    t, plate = length("thickness_nm", thickness_nm), 20.0
    film = Slab(thickness_nm=t, normal=normal, density=film_density)
    z, y, x = film.axes[:, 0]
    support = Slab(thickness_nm=plate, normal=normal, centre_nm=(-10.0 * z, -10.0 * y, -10.0 * x))
    film = Slab(
        thickness_nm=t,
        normal=normal,
        density=film_density,
        centre_nm=(0.5 * t * z, 0.5 * t * y, 0.5 * t * x),
    )
    sine = math.hypot(y, x)
    rows = {**_same(t), "film_distance_thickness_volume": 0.5 * t}
    if sine > 0:
        rows["film_slice_thickness"] = t / sine
    return Specimen([Body(support, "support"), Body(film, "film")], _cube(60.0), _known(rows))


def _bridge_size(width_nm: float, length_nm: float) -> Vector:
    return (2.0 * width_nm + 8.0, 1.4 * length_nm, 1.4 * length_nm)


def _same(thickness_nm: float) -> dict[str, float]:
    names = ("local", "distance", "chord", "profile")
    return {f"film_{name}_thickness": thickness_nm for name in names}


def _known(rows: dict[str, float]) -> pd.DataFrame:
    return tables.summary(
        {"quantity": name, "value": value, "unit": "nm", "n": 1} for name, value in rows.items()
    )


def _ring_means(inner: float, outer: float) -> tuple[float, float]:
    """Mean width of the rings (discs, beyond the inner radius) that slices show, by their area and by their length."""

    def radii(z: float) -> tuple[float, float]:
        return math.sqrt(max(inner**2 - z * z, 0.0)), math.sqrt(max(outer**2 - z * z, 0.0))

    def width(z: float) -> float:
        a, b = radii(z)
        return b - a if z < inner else 2.0 * b

    def integral(of: Callable[[float], float]) -> float:
        return float(quad(of, 0.0, inner)[0] + quad(of, inner, outer)[0])

    def area(z: float) -> float:
        a, b = radii(z)
        return math.pi * (b * b - a * a)

    def trace(z: float) -> float:
        return area(z) / width(z) if width(z) > 0 else 0.0

    return (
        integral(lambda z: width(z) * area(z)) / integral(area),
        integral(lambda z: width(z) * trace(z)) / integral(trace),
    )
