"""What every solid has in common: a place, a density, line integrals and voxel fractions.

A solid is defined by two closed forms in its own frame: the length of a ray inside it,
and the depth of a point below its surface. Everything else is built on these.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tomo3d import geometry

Vector = tuple[float, float, float]
TILT_AXIS = np.array([0.0, 1.0, 0.0])  # (z, y, x), in an aligned view


@dataclass(frozen=True, kw_only=True)
class Solid(ABC):
    """A homogeneous body of known shape; all its fields are given by name.

    Parameters
    ----------
    centre_nm : tuple of float
        (z, y, x).
    density : float
        Grey value per nm of path.
    """

    centre_nm: Vector = (0.0, 0.0, 0.0)
    density: float = 1.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "centre_nm", vector(f"{name}.centre_nm", self.centre_nm))
        if not math.isfinite(self.density):
            raise ValueError(f"{name}.density must be a finite grey value per nm, got {self.density}.")

    @property
    @abstractmethod
    def volume_nm3(self) -> float:
        """Volume; inf for an infinite slab."""

    @property
    @abstractmethod
    def bounding_radius_nm(self) -> float:
        """Radius of a ball about the centre that holds the solid; inf for an infinite slab."""

    @property
    def depth_excess(self) -> float:
        """How many times larger than the distance to the surface `depth_nm` may be; 1 where it is exact."""
        return 1.0

    @abstractmethod
    def _chord(self, du: np.ndarray, dv: np.ndarray, across: np.ndarray, beam: np.ndarray) -> np.ndarray:
        """Length inside of rays that pass the centre at du along `across` and dv along the tilt axis."""

    @abstractmethod
    def _depth(self, position: np.ndarray) -> np.ndarray:
        """Depth below the surface, (...,), of positions (..., 3) from the centre."""

    def chord_nm(self, u_nm: np.ndarray, v_nm: np.ndarray, tilt_angle_deg: float) -> np.ndarray:
        """Length of the beam inside the solid at positions (u, v) of the aligned view, in nm.

        Parameters
        ----------
        u_nm, v_nm : ndarray, shapes that broadcast
            Across and along the tilt axis, from the centre of the view.
        tilt_angle_deg : float

        Returns
        -------
        ndarray, the broadcast shape
        """
        across, beam = view_frame(tilt_angle_deg)
        du = np.asarray(u_nm, dtype=np.float64) - across @ np.array(self.centre_nm)
        dv = np.asarray(v_nm, dtype=np.float64) - self.centre_nm[1]
        return self._chord(du, dv, across, beam)

    def depth_nm(self, position_nm: np.ndarray) -> np.ndarray:
        """Depth below the surface in nm, positive inside, negative outside.

        Exact to first order in the distance to the surface (exact there and in sign; see `depth_excess`).

        Parameters
        ----------
        position_nm : ndarray, shape (..., 3)
            (z, y, x).

        Returns
        -------
        ndarray, shape (...)
        """
        return self._depth(np.asarray(position_nm, dtype=np.float64) - np.array(self.centre_nm))

    def project(
        self,
        tilt_angles_deg: Sequence[float] | np.ndarray,
        image_shape: tuple[int, int],
        pixel_size_nm: float,
        *,
        samples_per_pixel: int = 1,
    ) -> np.ndarray:
        """Closed-form line integrals, density x path in nm, in aligned views.

        Parameters
        ----------
        tilt_angles_deg : sequence of float
        image_shape : tuple of int
            (n_y, n_x).
        pixel_size_nm : float
        samples_per_pixel : int
            Rays along each edge of a pixel, of which the pixel is the mean. 1 is the value at its centre.

        Returns
        -------
        ndarray, shape (n_tilts, n_y, n_x), float64

        Raises
        ------
        ValueError
            If a size is not positive, or an infinite slab is seen edge-on.
        """
        from tomo3d.phantoms import _sampling

        angles = _sampling.tilt_angles(tilt_angles_deg)
        _sampling.check_image(image_shape, pixel_size_nm)
        images = np.zeros((len(angles), *image_shape))
        for image, angle in zip(images, angles, strict=True):
            frame = _sampling.ViewFrame.aligned(float(angle), image_shape, pixel_size_nm)
            _sampling.add_projection(image, self, self.density, frame, samples_per_pixel)
        return images

    def fraction(
        self,
        shape: tuple[int, int, int],
        voxel_size_nm: float | Vector,
        *,
        samples_per_voxel: int = 2,
    ) -> np.ndarray:
        """Fraction of each voxel that the solid fills, on a grid centred at (0, 0, 0) nm.

        Voxels that the surface may cross are cut into `samples_per_voxel` ** 3; in each part the
        surface is a plane, placed by the part's mean depth, which includes the curvature. Rims and
        corners are no plane: there a part is filled to within a half.

        Parameters
        ----------
        shape : tuple of int
            (n_z, n_y, n_x).
        voxel_size_nm : float or tuple of float
            One edge, or (z, y, x).
        samples_per_voxel : int

        Returns
        -------
        ndarray, shape (n_z, n_y, n_x), float64, 0 to 1
            Their sum gives the volume of a ball of radius 2 voxels to 0.1 %, from 5 voxels up to 0.01 %.

        Raises
        ------
        ValueError
            If a size is not positive.
        """
        from tomo3d.phantoms import _sampling

        out = np.zeros(shape)
        _sampling.add_fraction(out, self, 1.0, _sampling.voxel_edges(voxel_size_nm), samples_per_voxel)
        return out


@lru_cache(maxsize=1024)
def view_frame(tilt_angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (z, y, x) of a view: across the tilt axis (along u), and along the beam; read-only."""
    x_and_z = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    u_of_x, u_of_z = geometry.detector_position(*x_and_z, tilt_angle_deg)
    across, beam = np.array([u_of_z, 0.0, u_of_x]), np.array([u_of_x, 0.0, -u_of_z])
    across.flags.writeable = beam.flags.writeable = False
    return across, beam


def ray_positions(du: np.ndarray, dv: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Positions (z, y, x), (..., 3), at du along `across` and dv along the tilt axis."""
    du, dv = np.broadcast_arrays(du, dv)
    position = du[..., None] * across
    position[..., 1] += dv
    return position


def length(name: str, value: float) -> float:
    """The value, if it is a positive finite length."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive length in nm, got {value:g} nm.")
    return float(value)


def vector(name: str, values: Sequence[float] | np.ndarray) -> Vector:
    """The values as a tuple, if they are three finite numbers."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be three finite numbers (z, y, x), got {values}.")
    z, y, x = (float(value) for value in array)
    return (z, y, x)


def direction(name: str, values: Sequence[float]) -> Vector:
    """The values, if they are a direction (z, y, x) of any length but 0."""
    checked = vector(name, values)
    if not any(checked):
        raise ValueError(f"{name} must be a direction (z, y, x) other than (0, 0, 0).")
    return checked


def unit(values: Vector) -> np.ndarray:
    """Unit vector of a direction (z, y, x)."""
    array = np.asarray(values)
    return array / np.linalg.norm(array)
