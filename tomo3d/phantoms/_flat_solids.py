"""Solids with flat faces: slab and cylinder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.phantoms._solid import Solid, Vector, direction, length, ray_positions, unit

Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Slab(Solid):
    """A plate between two parallel planes, infinite or cut to a rectangle.

    Parameters
    ----------
    thickness_nm : float
        The local thickness, away from the edges of a finite slab by half of it.
    normal : tuple of float
        Direction (z, y, x) at right angles to the plates, of any length.
    extent_nm : tuple of float
        Edges of the rectangle: the first lies along the tilt axis y as nearly as the normal allows (along x
        if the normal is y), the second at right angles to it. inf, the default, is no edge.
    """

    thickness_nm: float
    normal: Vector = (1.0, 0.0, 0.0)
    extent_nm: tuple[float, float] = (math.inf, math.inf)

    def __post_init__(self) -> None:
        super().__post_init__()
        length("Slab.thickness_nm", self.thickness_nm)
        object.__setattr__(self, "normal", direction("Slab.normal", self.normal))
        extent = tuple(float(value) for value in self.extent_nm)
        if len(extent) != 2 or not all(value > 0 for value in extent):
            raise ValueError(
                f"Slab.extent_nm must be two positive lengths in nm or inf, got {self.extent_nm}."
            )
        object.__setattr__(self, "extent_nm", extent)

    @property
    def volume_nm3(self) -> float:
        """Thickness times extent."""
        return self.thickness_nm * math.prod(self.extent_nm)

    @property
    def area_nm2(self) -> float:
        """Of all six faces; inf without edges."""
        a, b, c = self.thickness_nm, *self.extent_nm
        return 2.0 * (a * b + b * c + c * a)

    @property
    def bounding_radius_nm(self) -> float:
        """Half the space diagonal."""
        return 0.5 * math.hypot(self.thickness_nm, *self.extent_nm)

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors (z, y, x) of the normal and of the two edges in the columns, shape (3, 3)."""
        normal = unit(self.normal)
        y, x = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
        along = y if abs(normal[1]) < 1.0 - 1e-12 else x
        first = along - (along @ normal) * normal
        first /= np.linalg.norm(first)
        return np.stack([normal, first, np.cross(normal, first)], axis=1)

    def _half_edges(self) -> np.ndarray:
        return 0.5 * np.array([self.thickness_nm, *self.extent_nm])

    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        position = ray_positions(du, dv, across)
        offsets, slopes, half_edges = position @ self.axes, beam @ self.axes, self._half_edges()
        low, high = np.full(position.shape[:-1], -np.inf), np.full(position.shape[:-1], np.inf)
        for i in np.flatnonzero(np.isfinite(half_edges)):
            low, high = _overlap(
                (low, high), _between_planes(offsets[..., i], float(slopes[i]), half_edges[i])
            )
        path = np.where(high > low, high - low, 0.0)
        if np.isinf(path).any():
            raise ValueError(
                "an infinite slab must not be seen edge-on, where the path is infinite. "
                "Leave out that tilt angle, or give Slab.extent_nm."
            )
        return path

    def _depth(self, position: np.ndarray) -> np.ndarray:
        return np.asarray((self._half_edges() - np.abs(position @ self.axes)).min(axis=-1))


@dataclass(frozen=True, kw_only=True)
class Cylinder(Solid):
    """A circular cylinder of finite length.

    Parameters
    ----------
    radius_nm : float
    length_nm : float
    axis : tuple of float
        Direction (z, y, x), of any length.
    """

    radius_nm: float
    length_nm: float
    axis: Vector = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        length("Cylinder.radius_nm", self.radius_nm)
        length("Cylinder.length_nm", self.length_nm)
        object.__setattr__(self, "axis", direction("Cylinder.axis", self.axis))

    @property
    def volume_nm3(self) -> float:
        """pi r^2 l."""
        return math.pi * self.radius_nm**2 * self.length_nm

    @property
    def area_nm2(self) -> float:
        """2 pi r (l + r): of the side and both ends."""
        return 2.0 * math.pi * self.radius_nm * (self.length_nm + self.radius_nm)

    @property
    def thickness_nm(self) -> float:
        """Local thickness, away from the ends by a radius: the diameter, or the length of a disc."""
        return min(2.0 * self.radius_nm, self.length_nm)

    @property
    def bounding_radius_nm(self) -> float:
        """From the centre to the rim."""
        return math.hypot(self.radius_nm, 0.5 * self.length_nm)

    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        position = ray_positions(du, dv, across)
        axis = unit(self.axis)
        along, slope = position @ axis, float(beam @ axis)
        low, high = _overlap(
            _between_planes(along, slope, 0.5 * self.length_nm),
            _inside_tube(position - along[..., None] * axis, beam - slope * axis, self.radius_nm),
        )
        return np.where(high > low, high - low, 0.0)

    def _depth(self, position: np.ndarray) -> np.ndarray:
        axis = unit(self.axis)
        along = position @ axis
        across = np.linalg.norm(position - along[..., None] * axis, axis=-1)
        return np.minimum(self.radius_nm - across, 0.5 * self.length_nm - np.abs(along))


def _between_planes(offset: np.ndarray, slope: float, half: float) -> Interval:
    """Where |offset + s slope| <= half, as (low, high) of s; low = inf where nowhere."""
    if abs(slope) < 1e-12:  # the ray runs along the planes
        inside = np.abs(offset) <= half
        return np.where(inside, -np.inf, np.inf), np.where(inside, np.inf, -np.inf)
    a, b = (-half - offset) / slope, (half - offset) / slope
    return np.minimum(a, b), np.maximum(a, b)


def _inside_tube(position: np.ndarray, slope: np.ndarray, radius: float) -> Interval:
    """Where |position + s slope| <= radius, for vectors at right angles to the tube's axis."""
    a = float(slope @ slope)
    c = np.einsum("...i,...i->...", position, position) - radius**2
    if a < 1e-24:  # the ray runs along the tube
        return np.where(c <= 0.0, -np.inf, np.inf), np.where(c <= 0.0, np.inf, -np.inf)
    b = position @ slope
    root = np.sqrt(np.maximum(b**2 - a * c, 0.0))
    return (-b - root) / a, (-b + root) / a


def _overlap(first: Interval, second: Interval) -> Interval:
    return np.maximum(first[0], second[0]), np.minimum(first[1], second[1])
