"""Solids with curved surfaces: ball, ellipsoid, shell, torus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import elliprg

from tomo3d.phantoms._solid import (
    TILT_AXIS,
    Solid,
    Vector,
    direction,
    length,
    ray_positions,
    unit,
    vector,
)


@dataclass(frozen=True, kw_only=True)
class Ball(Solid):
    """A ball.

    Parameters
    ----------
    radius_nm : float
    """

    radius_nm: float

    def __post_init__(self) -> None:
        super().__post_init__()
        length("Ball.radius_nm", self.radius_nm)

    @property
    def volume_nm3(self) -> float:
        """4/3 pi r^3."""
        return 4.0 / 3.0 * math.pi * self.radius_nm**3

    @property
    def area_nm2(self) -> float:
        """4 pi r^2."""
        return 4.0 * math.pi * self.radius_nm**2

    @property
    def thickness_nm(self) -> float:
        """Local thickness at every point: the diameter."""
        return 2.0 * self.radius_nm

    @property
    def bounding_radius_nm(self) -> float:
        """The radius."""
        return self.radius_nm

    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        return _ball_chord(du, dv, self.radius_nm)

    def _depth(self, position: np.ndarray) -> np.ndarray:
        return self.radius_nm - _norm(position)


@dataclass(frozen=True, kw_only=True)
class Ellipsoid(Solid):
    """An ellipsoid.

    Parameters
    ----------
    semi_axes_nm : tuple of float
        Half the length along each of its own axes, which are z, y and x before the rotation.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length, right-handed.
    """

    semi_axes_nm: Vector
    rotation_deg: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        semi_axes = vector("Ellipsoid.semi_axes_nm", self.semi_axes_nm)
        for value in semi_axes:
            length("Ellipsoid.semi_axes_nm", value)
        object.__setattr__(self, "semi_axes_nm", semi_axes)
        object.__setattr__(self, "rotation_deg", vector("Ellipsoid.rotation_deg", self.rotation_deg))

    @property
    def volume_nm3(self) -> float:
        """4/3 pi a b c."""
        return 4.0 / 3.0 * math.pi * math.prod(self.semi_axes_nm)

    @property
    def area_nm2(self) -> float:
        """Area of the surface: a complete elliptic integral (Carlson)."""
        return (
            4.0
            * math.pi
            * float(elliprg(*(math.prod(self.semi_axes_nm) ** 2 / a**2 for a in self.semi_axes_nm)))
        )

    @property
    def bounding_radius_nm(self) -> float:
        """The longest semi-axis."""
        return max(self.semi_axes_nm)

    @property
    def depth_excess(self) -> float:
        """Longest over shortest semi-axis."""
        return max(self.semi_axes_nm) / min(self.semi_axes_nm)

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors (z, y, x) of its own axes in the columns, shape (3, 3)."""
        return rotation_zyx(self.rotation_deg)

    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        # In the frame where the ellipsoid is the unit ball, the ray passes u p + v q + s d for all s.
        to_unit_ball = self.axes / np.array(self.semi_axes_nm)
        p, q, d = across @ to_unit_ball, TILT_AXIS @ to_unit_ball, beam @ to_unit_ball
        a = float(d @ d)
        uu, uv, vv = (p @ d) ** 2 - a * (p @ p), (p @ d) * (q @ d) - a * (p @ q), (q @ d) ** 2 - a * (q @ q)
        return 2.0 / a * np.sqrt(np.maximum(uu * du**2 + 2.0 * uv * du * dv + vv * dv**2 + a, 0.0))

    def _depth(self, position: np.ndarray) -> np.ndarray:
        semi_axes = np.array(self.semi_axes_nm)
        p = position @ (self.axes / semi_axes)
        scaled = _norm(p)
        slope = _norm(p / semi_axes) / np.maximum(scaled, 1e-300)  # of the scaled distance, per nm
        at_centre = scaled < 1e-12  # where no direction is defined
        return np.where(at_centre, semi_axes.min(), (1.0 - scaled) / np.where(at_centre, 1.0, slope))


@dataclass(frozen=True, kw_only=True)
class Shell(Solid):
    """What lies between two concentric balls.

    Parameters
    ----------
    outer_radius_nm : float
    thickness_nm : float
        Wall, less than the outer radius: the local thickness at every point.
    """

    outer_radius_nm: float
    thickness_nm: float

    def __post_init__(self) -> None:
        super().__post_init__()
        length("Shell.outer_radius_nm", self.outer_radius_nm)
        length("Shell.thickness_nm", self.thickness_nm)
        if self.thickness_nm >= self.outer_radius_nm:
            raise ValueError(
                f"Shell.thickness_nm must be less than its outer radius ({self.outer_radius_nm:g} nm), "
                f"got {self.thickness_nm:g} nm. A solid sphere is a Ball."
            )

    @property
    def inner_radius_nm(self) -> float:
        """Radius of the hollow."""
        return self.outer_radius_nm - self.thickness_nm

    @property
    def volume_nm3(self) -> float:
        """4/3 pi (R^3 - r^3)."""
        return 4.0 / 3.0 * math.pi * (self.outer_radius_nm**3 - self.inner_radius_nm**3)

    @property
    def area_nm2(self) -> float:
        """4 pi (R^2 + r^2): of both its surfaces."""
        return 4.0 * math.pi * (self.outer_radius_nm**2 + self.inner_radius_nm**2)

    @property
    def bounding_radius_nm(self) -> float:
        """The outer radius."""
        return self.outer_radius_nm

    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        return _ball_chord(du, dv, self.outer_radius_nm) - _ball_chord(du, dv, self.inner_radius_nm)

    def _depth(self, position: np.ndarray) -> np.ndarray:
        radius = _norm(position)
        return np.minimum(self.outer_radius_nm - radius, radius - self.inner_radius_nm)


@dataclass(frozen=True, kw_only=True)
class Torus(Solid):
    """A ring of circular cross-section.

    Parameters
    ----------
    major_radius_nm : float
        From the centre to the middle of the tube.
    minor_radius_nm : float
        Of the tube, less than the major radius.
    axis : tuple of float
        Direction (z, y, x) of the axis of revolution, of any length.
    """

    major_radius_nm: float
    minor_radius_nm: float
    axis: Vector = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        length("Torus.major_radius_nm", self.major_radius_nm)
        length("Torus.minor_radius_nm", self.minor_radius_nm)
        if self.minor_radius_nm >= self.major_radius_nm:
            raise ValueError(
                f"Torus.minor_radius_nm must be less than its major radius ({self.major_radius_nm:g} nm), "
                f"got {self.minor_radius_nm:g} nm."
            )
        object.__setattr__(self, "axis", direction("Torus.axis", self.axis))

    @property
    def volume_nm3(self) -> float:
        """2 pi^2 R r^2."""
        return 2.0 * math.pi**2 * self.major_radius_nm * self.minor_radius_nm**2

    @property
    def area_nm2(self) -> float:
        """4 pi^2 R r."""
        return 4.0 * math.pi**2 * self.major_radius_nm * self.minor_radius_nm

    @property
    def thickness_nm(self) -> float:
        """Local thickness at every point: the diameter of the tube."""
        return 2.0 * self.minor_radius_nm

    @property
    def bounding_radius_nm(self) -> float:
        """Major plus minor radius."""
        return self.major_radius_nm + self.minor_radius_nm

    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        # In units of the major radius, with s along the beam from the point nearest to the centre,
        # the surface is (s^2 + k)^2 = 4 (s^2 + m - (h + s g)^2): a quartic in s without a cubic term.
        axis = unit(self.axis)
        position = ray_positions(du, dv, across)
        p, r = position / self.major_radius_nm, self.minor_radius_nm / self.major_radius_nm
        m, h, g = _square(p), p @ axis, float(beam @ axis)
        hit = m < (1.0 + r) ** 2
        m, h, k = m[hit], h[hit], m[hit] + 1.0 - r**2
        quartic = np.stack([k**2 - 4.0 * (m - h**2), 8.0 * g * h, 2.0 * k - 4.0 * (1.0 - g**2)], axis=-1)
        chord = np.zeros(hit.shape)
        chord[hit] = self.major_radius_nm * _length_below_zero(quartic)
        return chord

    def _depth(self, position: np.ndarray) -> np.ndarray:
        along = position @ unit(self.axis)
        across = np.sqrt(np.maximum(_square(position) - along**2, 0.0))
        return self.minor_radius_nm - np.hypot(across - self.major_radius_nm, along)


@lru_cache(maxsize=256)
def rotation_zyx(rotation_deg: Vector) -> np.ndarray:
    """Right-handed rotation by a rotation vector (z, y, x) in degrees, for column vectors (z, y, x); read-only."""
    z, y, x = np.deg2rad(rotation_deg)
    angle = math.sqrt(x * x + y * y + z * z)
    xyz = np.eye(3)
    if angle > 0.0:
        x, y, z = x / angle, y / angle, z / angle
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        xyz = xyz + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross
    matrix = xyz[::-1, ::-1].copy()
    matrix.flags.writeable = False
    return matrix


def _length_below_zero(coefficients: np.ndarray) -> np.ndarray:
    """Total length, (n,), where s^4 + c s^2 + b s + a <= 0, for rows (a, b, c) of `coefficients` (n, 3)."""
    companion = np.zeros((len(coefficients), 4, 4))
    companion[:, [1, 2, 3], [0, 1, 2]] = 1.0
    companion[:, :3, 3] = -coefficients
    roots = np.linalg.eigvals(companion)
    # The eigenvalues of a real matrix come as exact conjugate pairs, so that a real one has no imaginary part
    # at all; the real ones, sorted, are where rays enter and leave by turns.
    real = np.sort(np.where(roots.imag == 0.0, roots.real, np.inf), axis=1)
    n_real = np.isfinite(real).sum(axis=1)
    real[~np.isfinite(real)] = 0.0
    first = np.where(n_real >= 2, real[:, 1] - real[:, 0], 0.0)
    return first + np.where(n_real == 4, real[:, 3] - real[:, 2], 0.0)


def _square(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("...i,...i->...", vectors, vectors))


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(_square(vectors)))


def _ball_chord(du: np.ndarray, dv: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(2.0 * np.sqrt(np.maximum(radius**2 - du**2 - dv**2, 0.0)))
