"""Places for grains in a field and for particles on grains: random, without overlap, the same for a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tomo3d.phantoms._round_solids import Ball, Ellipsoid
from tomo3d.phantoms._solid import Vector, vector
from tomo3d.progress import track

N_TRIES = 2000  # places tried for one grain or particle
N_RESTARTS = 20  # packings begun anew when a grain finds no place


def pack(
    rng: np.random.Generator, semi_axes_nm: Sequence[Vector], *, size_nm: Vector, gap_nm: float
) -> list[Ellipsoid]:
    """Ellipsoids at random places and orientations, each but the first `gap_nm` from the nearest.

    All lie in the field at every tilt angle: in the box, and in the cylinder of diameter size_nm[2]
    about the tilt axis.

    Parameters
    ----------
    rng : numpy.random.Generator
    semi_axes_nm : sequence of tuple of float
        (z, y, x) of each, before its rotation.
    size_nm : tuple of float
        Edges (z, y, x) of the field.
    gap_nm : float

    Returns
    -------
    list of Ellipsoid, in the order of `semi_axes_nm`

    Raises
    ------
    ValueError
        If they do not find room.
    """
    largest_first = sorted(range(len(semi_axes_nm)), key=lambda i: -math.prod(semi_axes_nm[i]))
    most = 0
    for _ in track(range(N_RESTARTS), "pack the grains", N_RESTARTS):
        placed: dict[int, Ellipsoid] = {}
        for i in largest_first:
            found = _place(rng, semi_axes_nm[i], list(placed.values()), size_nm, gap_nm)
            if found is None:
                break
            placed[i] = found
        else:
            return [placed[i] for i in range(len(semi_axes_nm))]
        most = max(most, len(placed))
    raise ValueError(
        f"{len(semi_axes_nm)} grains with their coats must find room in a field of "
        f"{size_nm[0]:g} x {size_nm[1]:g} x {size_nm[2]:g} nm (z, y, x), got {most} in. "
        "Ask for fewer or smaller grains, or for a larger field."
    )


def seat(
    rng: np.random.Generator, grains: Sequence[Ellipsoid], *, diameters_nm: Sequence[float], outside: bool
) -> list[tuple[int, Ball]]:
    """Balls that touch the surface of a grain at one point, evenly over the surface, without overlap.

    Parameters
    ----------
    rng : numpy.random.Generator
    grains : sequence of Ellipsoid
    diameters_nm : sequence of float
    outside : bool
        Whether they touch the surface from outside, else from within.

    Returns
    -------
    list of (int, Ball)
        Number of the grain, and the ball.

    Raises
    ------
    ValueError
        If they do not find room.
    """
    areas = np.array([math.prod(grain.semi_axes_nm) ** (2 / 3) for grain in grains])  # nearly, up to a factor
    seated: list[tuple[int, Ball]] = []
    for diameter in diameters_nm:
        radius = 0.5 * float(diameter)
        for _ in range(N_TRIES):
            number = int(rng.choice(len(grains), p=areas / areas.sum()))
            point, normal = _surface_point(rng, grains[number])
            centre = point + (radius if outside else -radius) * normal
            if all(math.dist(centre, b.centre_nm) >= radius + b.radius_nm for _, b in seated):
                seated.append((number, Ball(radius_nm=radius, centre_nm=vector("centre_nm", centre))))
                break
        else:
            raise ValueError(
                f"{len(diameters_nm)} particles must find room on {len(grains)} grains, got {len(seated)} on. "
                "Ask for fewer or smaller particles."
            )
    return seated


def separation_nm(a: Ellipsoid, b: Ellipsoid) -> float:
    """Distance between two ellipsoids, from below; negative where none is proven.

    The distance of convex bodies is the largest gap between two parallel planes that part them, over all
    normals n; the gap is concave in n, and each n proves its own.
    """
    between = np.array(b.centre_nm) - np.array(a.centre_nm)
    shapes = [(s.axes * np.array(s.semi_axes_nm) ** 2) @ s.axes.T for s in (a, b)]
    step = 1.0 / (a.bounding_radius_nm + b.bounding_radius_nm)
    normal = between / max(float(np.linalg.norm(between)), 1e-300)
    best = -math.inf
    for _ in range(40):
        tips = [shape @ normal / math.sqrt(normal @ shape @ normal) for shape in shapes]
        uphill = between - tips[0] - tips[1]
        best = max(best, float(normal @ uphill))
        normal = normal + step * uphill
        normal /= np.linalg.norm(normal)
    return best


def _place(
    rng: np.random.Generator, semi_axes: Vector, others: list[Ellipsoid], size_nm: Vector, gap_nm: float
) -> Ellipsoid | None:
    """One ellipsoid at a free place, moved towards its nearest neighbour until it is a gap away."""
    reach = 0.5 * np.array(size_nm) - min(semi_axes)
    if (reach < 0).any():
        return None
    for _ in range(N_TRIES):
        turn = _random_rotation(rng)
        start = rng.uniform(-reach, reach)
        trial = _ellipsoid(semi_axes, start, turn)
        if not (_in_field(trial, size_nm) and _is_free(trial, others, gap_nm)):
            continue
        if not others:
            return trial
        target = min((np.array(other.centre_nm) for other in others), key=lambda c: math.dist(c, start))
        free, blocked = 0.0, 1.0
        for _ in range(20):
            middle = 0.5 * (free + blocked)
            moved = _ellipsoid(semi_axes, start + middle * (target - start), turn)
            if _is_free(moved, others, gap_nm):
                free, trial = middle, moved
            else:
                blocked = middle
        if _in_field(trial, size_nm):
            return trial
    return None


def _ellipsoid(semi_axes: Vector, centre: np.ndarray, rotation_deg: Vector) -> Ellipsoid:
    return Ellipsoid(semi_axes_nm=semi_axes, centre_nm=vector("centre_nm", centre), rotation_deg=rotation_deg)


def _is_free(trial: Ellipsoid, others: list[Ellipsoid], gap_nm: float) -> bool:
    for other in others:
        distance = math.dist(trial.centre_nm, other.centre_nm)
        if distance >= trial.bounding_radius_nm + other.bounding_radius_nm + gap_nm:
            continue  # their bounding balls are far enough apart already
        if distance < min(trial.semi_axes_nm) + min(other.semi_axes_nm) + gap_nm:
            return False
        if separation_nm(trial, other) < gap_nm:
            return False
    return True


def _in_field(trial: Ellipsoid, size_nm: Vector) -> bool:
    centre = np.array(trial.centre_nm)
    half_extents = np.linalg.norm(trial.axes * np.array(trial.semi_axes_nm), axis=1)
    in_box = (np.abs(centre) + half_extents <= 0.5 * np.array(size_nm)).all()
    return bool(in_box and math.hypot(centre[0], centre[2]) + trial.bounding_radius_nm <= 0.5 * size_nm[2])


def _random_rotation(rng: np.random.Generator) -> Vector:
    """Rotation vector (z, y, x) in degrees, even over all rotations."""
    w, *axis = rng.normal(size=4)  # a quaternion: its direction is even over the sphere in four dimensions
    sine = math.hypot(*axis)
    return vector("rotation_deg", np.array(axis) * (math.degrees(2.0 * math.atan2(sine, w)) / sine))


def _surface_point(rng: np.random.Generator, grain: Ellipsoid) -> tuple[np.ndarray, np.ndarray]:
    """Point on the surface, even by area, and outward unit normal there, both (z, y, x)."""
    semi_axes = np.array(grain.semi_axes_nm)
    while True:
        on_ball = rng.normal(size=3)
        on_ball /= np.linalg.norm(on_ball)
        normal = on_ball / semi_axes
        area = (
            float(np.linalg.norm(normal)) * semi_axes.min()
        )  # of the surface per area of the ball; 1 at most
        if rng.uniform() < area:
            break
    return np.array(grain.centre_nm) + grain.axes @ (semi_axes * on_ball), grain.axes @ (
        normal / np.linalg.norm(normal)
    )
