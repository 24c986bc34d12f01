"""Gold beads on both faces of a slab, for alignment by fiducials."""

from __future__ import annotations

import math

import numpy as np

from tomo3d.phantoms._round_solids import Ball
from tomo3d.phantoms._solid import Vector, length, vector
from tomo3d.phantoms._specimen import Body, Specimen, SpecimenSketch
from tomo3d.planning import Plan, planned

_N_TRIES = 4000  # places tried for one bead
_GRAINS_PER_CUBE = 0.25  # share of the slab's cells that hold a grain


def _plan(
    *, size_nm: float = 256.0, thickness_nm: float = 80.0, diameter_nm: float = 10.0, **_: object
) -> Plan:
    return Plan(SpecimenSketch("Specimen", size_nm=(thickness_nm + 2.0 * diameter_nm, size_nm, size_nm)), 0)


@planned(_plan)
def bead_slab(
    *,
    size_nm: float = 256.0,
    thickness_nm: float = 80.0,
    diameter_nm: float = 10.0,
    n_beads: int = 30,
    texture: float = 0.1,
    seed: int = 0,
) -> Specimen:
    """Gold beads on both faces of a slab, at random and apart, and grains of low density within it.

    Parameters
    ----------
    size_nm : float
        Edge of the square field. Beads keep off its border by one diameter.
    thickness_nm : float
        Of the slab, between the beads of its two faces.
    diameter_nm : float
        Of the beads; their density is 1. Two centres on one face are at least 2.5 diameters apart.
    n_beads : int
        Half of them, and the odd one, on the upper face.
    texture : float
        Largest density of the grains, balls of up to two bead diameters. 0: nothing but beads.
    seed : int

    Returns
    -------
    Specimen
        Balls of the phase "bead" first, then those of the phase "grain".

    Raises
    ------
    ValueError
        If a size is not positive, a texture is negative, or the beads do not find room.
    """
    for name, value in (("size_nm", size_nm), ("thickness_nm", thickness_nm), ("diameter_nm", diameter_nm)):
        length(name, value)
    if n_beads < 1:
        raise ValueError(f"n_beads must be at least 1, got {n_beads}.")
    if not (math.isfinite(texture) and texture >= 0):
        raise ValueError(f"texture must be a density of 0 or more, got {texture:g}.")
    rng = np.random.default_rng(seed)
    bodies = [
        Body(Ball(radius_nm=0.5 * diameter_nm, centre_nm=centre), "bead")
        for centre in _bead_centres(rng, size_nm, thickness_nm, diameter_nm, n_beads)
    ]
    if texture > 0:
        bodies += _grains(rng, size_nm, thickness_nm, diameter_nm, texture)
    return Specimen(bodies, (thickness_nm + 2.0 * diameter_nm, size_nm, size_nm))


def _bead_centres(
    rng: np.random.Generator, size_nm: float, thickness_nm: float, diameter_nm: float, n_beads: int
) -> list[Vector]:
    reach = 0.5 * size_nm - diameter_nm
    placed: list[Vector] = []
    for i in range(n_beads):
        height = (0.5 if i % 2 == 0 else -0.5) * (thickness_nm + diameter_nm)
        for _ in range(_N_TRIES if reach > 0 else 0):
            trial = vector("centre_nm", (height, *rng.uniform(-reach, reach, 2)))
            if all(math.dist(trial, other) >= 2.5 * diameter_nm for other in placed):
                placed.append(trial)
                break
        else:
            raise ValueError(
                f"{n_beads} beads of {diameter_nm:g} nm must find room on a field of {size_nm:g} nm, "
                f"got {len(placed)} on. Ask for fewer or smaller beads, or for a larger field."
            )
    return placed


def _grains(
    rng: np.random.Generator, size_nm: float, thickness_nm: float, diameter_nm: float, texture: float
) -> list[Body]:
    """Balls in a cubic lattice of cells, each within its own: disjoint by construction."""
    edge = min(2.0 * diameter_nm, thickness_nm)
    counts = [max(1, int(extent / edge)) for extent in (thickness_nm, size_nm, size_nm)]
    grains = []
    for cell in np.ndindex(*counts):
        if rng.uniform() > _GRAINS_PER_CUBE:
            continue
        radius = 0.5 * edge * rng.uniform(0.4, 1.0)
        middle = (np.array(cell) - 0.5 * (np.array(counts) - 1)) * edge
        centre = vector("centre_nm", middle + rng.uniform(-1.0, 1.0, 3) * (0.5 * edge - radius))
        ball = Ball(radius_nm=radius, centre_nm=centre, density=texture * rng.uniform(0.3, 1.0))
        grains.append(Body(ball, "grain"))
    return grains
