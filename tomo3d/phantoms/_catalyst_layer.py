"""A catalyst layer: a support of coated ellipsoids with small bright particles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.phantoms import _packing
from tomo3d.phantoms._round_solids import Ellipsoid
from tomo3d.phantoms._solid import Vector, length, vector
from tomo3d.phantoms._specimen import Body, Specimen, SpecimenSketch
from tomo3d.planning import Plan, planned


def _range(name: str, values: tuple[float, float]) -> tuple[float, float]:
    limits = tuple(float(value) for value in values)
    if len(limits) != 2 or not 0.0 < limits[0] <= limits[1] < math.inf:
        raise ValueError(f"{name} must be two positive lengths, the smaller first, in nm, got {values}.")
    return limits


@dataclass(frozen=True, kw_only=True)
class Support:
    """The grains of a catalyst layer.

    Parameters
    ----------
    n_grains : int
    semi_axis_nm : tuple of float
        Smallest and largest mean (geometric) semi-axis of a grain.
    aspect : float
        Largest ratio of two semi-axes of a grain, 1 to 1.3.
    gap_nm : float
        Pore between two coated neighbours at their closest.
    density : float
        Grey value per nm.
    """

    n_grains: int = 8
    semi_axis_nm: tuple[float, float] = (17.0, 22.0)
    aspect: float = 1.2
    gap_nm: float = 2.0
    density: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "semi_axis_nm", _range("Support.semi_axis_nm", self.semi_axis_nm))
        if self.n_grains < 1:
            raise ValueError(f"Support.n_grains must be at least 1, got {self.n_grains}.")
        if not 1.0 <= self.aspect <= 1.3:
            raise ValueError(
                f"Support.aspect must be from 1 to 1.3, so that the film's thickness is nearly constant, "
                f"got {self.aspect:g}."
            )
        if not (math.isfinite(self.gap_nm) and self.gap_nm >= 0):
            raise ValueError(f"Support.gap_nm must not be negative, got {self.gap_nm:g} nm.")


@dataclass(frozen=True, kw_only=True)
class Particles:
    """The small bright particles of a catalyst layer.

    Parameters
    ----------
    n_particles : int
        0 for none.
    diameter_nm : tuple of float
        Smallest and largest diameter.
    density : float
        Grey value per nm.
    in_film : bool
        True: they stand on the support, within the film. False: they lie in the support, just beneath its
        surface, and leave the film whole.
    """

    n_particles: int = 60
    diameter_nm: tuple[float, float] = (3.0, 5.0)
    density: float = 8.0
    in_film: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "diameter_nm", _range("Particles.diameter_nm", self.diameter_nm))
        if self.n_particles < 0:
            raise ValueError(f"Particles.n_particles must not be negative, got {self.n_particles}.")


SUPPORT, PARTICLES = Support(), Particles()
FILM_DENSITY = 1.8  # a stained ionomer beside carbon of density 1: bright enough to be told apart


@planned(
    lambda *, size_nm=(120.0, 190.0, 190.0), **_: Plan(SpecimenSketch("Specimen", size_nm=tuple(size_nm)), 0)
)
def catalyst_layer(
    *,
    seed: int = 0,
    size_nm: Vector = (120.0, 190.0, 190.0),
    film_thickness_nm: float = 8.0,
    film_density: float = FILM_DENSITY,
    support: Support = SUPPORT,
    particles: Particles = PARTICLES,
) -> Specimen:
    """Coated ellipsoids packed to touch, with small bright particles: a catalyst layer whose answers are known.

    Phases: "support", "film" and "particle", as carbon, stained ionomer and platinum in HAADF; densities
    are relative, per nm. No tilt angle takes any of it out of the field.

    Parameters
    ----------
    seed : int
    size_nm : tuple of float
        Edges (z, y, x) of the field.
    film_thickness_nm : float
        What each semi-axis of a grain grows by. 0 leaves the film out, for a specimen to control against.
    film_density : float
    support : Support
    particles : Particles

    Returns
    -------
    Specimen
        Its truth adds `surface_area_grains` (nm^2) and `euler_number_grains`, of the grains with what lies in
        them; and, with a film, `film_thickness_mean` and `film_thickness_median` (nm), the local thickness of the
        film with the particles that stand in it, each with a proven interval.

    Raises
    ------
    ValueError
        If the grains or particles do not find room, or the particles are too large for the film or the grains.

    Notes
    -----
    A grain with semi-axes a in a film with semi-axes a + t has, between parallel tangent planes of normal n,
    the width w(n) = |(a + t) n| - |a n|, products taken axis by axis. It is t on the axes and, by
    Kantorovich's inequality, nowhere below t_low = t 2 sqrt(q) / (1 + q), q being the ratio of the longest to
    the shortest semi-axis: 0.4 % less at q = 1.2. The local thickness lies between the two at every point. No
    larger ball fits: a plane parts it from the grain, so it lies between two tangent planes. And balls of
    diameter t_low fit on every point of either surface, and together reach all of the film. The values given
    are the mean and the median of w over the grains' surface. Coats of neighbours never meet (`gap_nm`), so
    nothing else adds to the thickness.
    """
    for edge in vector("size_nm", size_nm):
        length("size_nm", edge)
    length("film_density", film_density)
    coat_nm = _coat(film_thickness_nm, support, particles)
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(*support.semi_axis_nm, support.n_grains)
    semi_axes = sizes[:, None] * support.aspect ** rng.uniform(-0.5, 0.5, (support.n_grains, 3))
    coated = [vector("semi_axes_nm", axes + coat_nm) for axes in semi_axes]
    places = _packing.pack(rng, coated, size_nm=size_nm, gap_nm=support.gap_nm)
    grains = [
        replace(place, semi_axes_nm=vector("semi_axes_nm", axes), density=support.density)
        for place, axes in zip(places, semi_axes, strict=True)
    ]
    diameters = rng.uniform(*particles.diameter_nm, particles.n_particles)
    balls = _packing.seat(rng, grains, diameters_nm=list(diameters), outside=particles.in_film)
    bodies = _coated(grains, film_thickness_nm, film_density)
    cores = [i for i, body in enumerate(bodies) if body.phase == "support"]
    for i, ball in balls:
        host = bodies[cores[i]].inside if particles.in_film else cores[i]
        bodies.append(Body(replace(ball, density=particles.density), "particle", inside=host))
    return Specimen(bodies, size_nm, _known(semi_axes, film_thickness_nm))


def narrowest(film_thickness_nm: float, aspect: float) -> float:
    """Lower bound of the width of a film that adds `film_thickness_nm` to each semi-axis of an ellipsoid."""
    return film_thickness_nm * 2.0 * math.sqrt(aspect) / (1.0 + aspect)


def _coat(film_thickness_nm: float, support: Support, particles: Particles) -> float:
    """What must stay free around each grain, for its film and what stands in it; checks that particles fit."""
    if not (math.isfinite(film_thickness_nm) and film_thickness_nm >= 0):
        raise ValueError(f"film_thickness_nm must not be negative, got {film_thickness_nm:g} nm.")
    largest = particles.diameter_nm[1] if particles.n_particles else 0.0
    if not particles.in_film:
        # A ball touches the surface from within if its radius is below the radius of curvature everywhere.
        room = 2.0 * support.semi_axis_nm[0] / support.aspect**1.5
        if largest > room:
            raise ValueError(
                f"Particles.diameter_nm must be at most {room:.3g} nm to fit in the grains, got {largest:g} nm."
            )
        return film_thickness_nm
    if film_thickness_nm == 0:
        return largest / narrowest(1.0, support.aspect)
    room = narrowest(film_thickness_nm, support.aspect)
    if largest > room:
        raise ValueError(
            f"Particles.diameter_nm must be at most {room:.3g} nm to fit in the film, got {largest:g} nm. "
            "Make the film thicker or the particles smaller."
        )
    return film_thickness_nm


def _coated(grains: list[Ellipsoid], film_thickness_nm: float, film_density: float) -> list[Body]:
    """Each grain in its film, or bare where the film has no thickness."""
    if film_thickness_nm == 0:
        return [Body(grain, "support") for grain in grains]
    bodies: list[Body] = []
    for grain in grains:
        outer = vector("semi_axes_nm", np.array(grain.semi_axes_nm) + film_thickness_nm)
        bodies.append(Body(replace(grain, semi_axes_nm=outer, density=film_density), "film"))
        bodies.append(Body(grain, "support", inside=len(bodies) - 1))
    return bodies


def _known(semi_axes_nm: np.ndarray, film_thickness_nm: float) -> pd.DataFrame:
    """Surface and pieces of the grains; widths of their films, with the interval that holds every width."""
    on_ball = _even_directions(2000)
    widths, areas = [], []
    for axes in semi_axes_nm:
        scaled = on_ball / axes
        slope = np.linalg.norm(scaled, axis=1)
        normal = scaled / slope[:, None]
        outer = np.linalg.norm(normal * (axes + film_thickness_nm), axis=1)
        widths.append(outer - np.linalg.norm(normal * axes, axis=1))
        areas.append(slope * axes.prod())  # of the surface, for each area on the unit ball
    width, area = np.concatenate(widths), np.concatenate(areas)
    n = len(semi_axes_nm)
    surface_nm2 = float(area.sum()) * 4.0 * math.pi / len(on_ball)
    rows = [
        {"quantity": "surface_area_grains", "value": surface_nm2, "unit": "nm^2", "n": n},
        {"quantity": "euler_number_grains", "value": float(n), "unit": "", "n": n},
    ]
    if film_thickness_nm == 0:
        return tables.summary(rows)
    order = np.argsort(width)
    below = np.cumsum(area[order])
    median = float(width[order][np.searchsorted(below, 0.5 * below[-1])])
    worst = float((semi_axes_nm.max(axis=1) / semi_axes_nm.min(axis=1)).max())
    shared = {
        "low": narrowest(film_thickness_nm, worst),
        "high": film_thickness_nm,
        "unit": "nm",
        "n": n,
        "interval": "proven bounds at every point",
    }
    mean = float(np.average(width, weights=area))
    rows += [
        {"quantity": "film_thickness_mean", "value": mean, **shared},
        {"quantity": "film_thickness_median", "value": median, **shared},
    ]
    return tables.summary(rows)


def _even_directions(n: int) -> np.ndarray:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), shape (n, 3)."""
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    angle = math.pi * (3.0 - math.sqrt(5.0)) * np.arange(n)
    across = np.sqrt(1.0 - z**2)
    return np.stack([z, across * np.sin(angle), across * np.cos(angle)], axis=1)
