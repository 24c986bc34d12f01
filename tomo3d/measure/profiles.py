"""Profiles of a volume along the normals of a surface: what films and bare edges are fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute import normal_profiles
from tomo3d.compute.triangles import vertex_areas, vertex_normals
from tomo3d.geometry import nm_to_index
from tomo3d.types import Surface, Volume

FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))  # of a Gaussian, in standard deviations
_STEPS = 6.0  # of a profile within a width
_CURVATURE_REACH = 4.0  # voxels
_GROOVE = 0.25
_N_SMOOTHINGS = 2  # the second has better normals to begin with


@dataclass(frozen=True, eq=False)
class Profiles:
    """Grey values along the outward normals of a surface, from inside to outside."""

    steps_nm: np.ndarray  # (n_steps,), 0 at the surface
    grey: np.ndarray  # (n, n_steps) float32, nan outside the volume
    use: np.ndarray  # (n, n_steps) bool: within the volume, and this side of the next surface
    points_nm: np.ndarray  # (n, 3), z, y, x, smoothed along the surface
    normals: np.ndarray  # (n, 3)
    curvatures_per_nm: np.ndarray  # (n, 2), mean and least principal curvature, 1 / R of a ball
    areas_nm2: np.ndarray  # (n,)

    def is_plain(self, start_nm: np.ndarray, end_nm: np.ndarray, width_nm: np.ndarray) -> np.ndarray:
        """Whether what was found from start to end is one edge or film by itself, (n,).

        The profile goes on by a width on either side, and the surface is no groove of a radius below four widths, where
        two bodies blur into one.
        """
        used = np.where(self.use, self.steps_nm, np.nan)
        used[~np.isfinite(used).any(axis=1)] = 0.0  # nothing is known: no width on either side
        first, last = np.nanmin(used, axis=1), np.nanmax(used, axis=1)
        with np.errstate(invalid="ignore"):
            is_long = (first <= start_nm - width_nm) & (last >= end_nm + width_nm)
            return np.asarray(is_long & (self.curvatures_per_nm[:, 1] * width_nm > -_GROOVE))

    @property
    def is_cut(self) -> np.ndarray:
        """Whether part of a profile is not used, (n,)."""
        return np.asarray(~self.use.all(axis=1))


def grey_range(volume: Volume) -> tuple[float, float]:
    """Least and largest grey value; raises ValueError if one is not finite."""
    low, high = math.inf, -math.inf
    for plane in volume.data:
        plane = np.asarray(plane)
        if not np.isfinite(plane).all():
            raise ValueError("grey values must be finite, got nan or inf. Replace them, or crop the volume.")
        low, high = min(low, float(plane.min())), max(high, float(plane.max()))
    return low, high


def profiles_along_normals(
    volume: Volume,
    surface: Surface,
    *,
    width_nm: float,
    inward_nm: float,
    outward_nm: float,
    averaging_radius_nm: float,
) -> Profiles:
    """Profiles at every vertex, each the mean of those within a radius along the surface (0: its own alone).

    Their steps suit edges of the width. With a radius the surface is first smoothed over it, by quadrics: noise
    that moves the surface would else move the profiles with it. Raises ValueError if the surface has no faces or lies
    outside the volume.
    """
    vertices, normals, areas = points_of(surface)
    step_nm = min(max(width_nm / _STEPS, 0.5 * min(volume.voxel_size_nm)), max(volume.voxel_size_nm))
    steps = step_nm * np.arange(-math.ceil(inward_nm / step_nm), math.ceil(outward_nm / step_nm) + 1)
    # Curvature needs some neighbours whatever is averaged.
    reach_nm = max(averaging_radius_nm, _CURVATURE_REACH * max(volume.voxel_size_nm))
    points, smooth_normals, curvatures = _smoothed(vertices, normals, areas, reach_nm)
    if averaging_radius_nm > 0:
        normals = smooth_normals
    else:
        points = vertices
    index = nm_to_index(volume, points)
    if not ((index >= -0.5) & (index <= np.array(volume.data.shape) - 0.5)).all(axis=1).any():
        raise ValueError(
            "surface must lie in the volume, got one that is wholly outside of it: its vertices are in nm, with the "
            "origin of the volume that it came from."
        )
    grey = np.ascontiguousarray(volume.data, dtype=np.float32)
    profiles = normal_profiles.sampled(grey, index, normals / np.array(volume.voxel_size_nm), steps)
    if averaging_radius_nm > 0:
        patch = normal_profiles.patches(points, normals, areas, averaging_radius_nm)
        profiles = patch.restored(
            normal_profiles.averaged(patch, np.ascontiguousarray(profiles[patch.order]))
        )
    use = _on_this_side(steps, profiles)
    return Profiles(steps, profiles, use, points, normals, curvatures, areas)


def points_of(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n, 3), outward unit normals (n, 3) and areas (n,) of a surface; its own `normal` where it has one."""
    if not len(surface.faces):
        raise ValueError("surface must have faces, which give it normals, got none.")
    vertices = np.asarray(surface.vertices_nm, dtype=np.float64)
    faces = np.asarray(surface.faces)
    normals = surface.point_data.get("normal")
    if normals is None or np.shape(normals) != vertices.shape:
        normals = vertex_normals(vertices, faces)
    return vertices, np.asarray(normals, dtype=np.float64), vertex_areas(vertices, faces)


def _smoothed(
    points: np.ndarray, normals: np.ndarray, areas: np.ndarray, radius_nm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, normals and curvatures of quadrics fitted along the surface."""
    curvatures = np.zeros((len(points), 2))
    for _ in range(_N_SMOOTHINGS):
        patch = normal_profiles.patches(points, normals, areas, radius_nm)
        points, normals, curvatures = (patch.restored(array) for array in normal_profiles.smoothed(patch))
    return points, normals, curvatures


def _on_this_side(steps: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Which samples belong to this surface: known without a gap from the middle, up to where a next surface begins.

    A profile that has fallen below a quarter of the way up from outside to inside and rises above three quarters again
    has met another body, or the far side of this one: it ends at its extreme on the way there.
    """
    known = np.isfinite(profiles)
    middle = int(np.argmin(np.abs(steps)))
    use = np.empty_like(known)
    use[:, middle::-1] = np.logical_and.accumulate(known[:, middle::-1], axis=1)
    use[:, middle:] = np.logical_and.accumulate(known[:, middle:], axis=1)
    quarter = max(1, middle // 2)
    with np.errstate(invalid="ignore"):
        inner, outer = (np.nanmedian(part) if np.isfinite(part).any() else math.nan
                        for part in (profiles[:, :quarter], profiles[:, -quarter:]))  # fmt: skip
    share = np.where(known, (profiles - outer) / (inner - outer or 1.0), 0.5)
    use[:, middle:] &= _before_turn(0.5 - share[:, middle:])
    use[:, middle::-1] &= _before_turn(share[:, middle::-1] - 0.5)
    return use


def _before_turn(height: np.ndarray) -> np.ndarray:
    """Along each row: up to its largest value between where it first exceeds 1/4 and where it then falls below -1/4."""
    n = height.shape[1]
    begun = np.logical_or.accumulate(height > 0.25, axis=1)
    ended = np.logical_or.accumulate(begun & (height < -0.25), axis=1)
    stretch = begun & ~ended
    peak = np.where(stretch, height, -np.inf).argmax(axis=1)
    last = np.where(ended.any(axis=1), peak, n - 1)
    return np.arange(n) <= last[:, None]
