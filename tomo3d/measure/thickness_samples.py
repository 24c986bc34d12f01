"""Samples of a thickness with their weights, places and directions: in a volume, at an interface, on a surface."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tomo3d.compute.geodesic import distance_to_body
from tomo3d.compute.wedge import wedge_depth_deg
from tomo3d.measure.profiles import points_of
from tomo3d.types import Labels, Surface, Volume

_NORMAL_SIGMA = 2.0  # voxels: the normal is that of the surface, not of its steps


@dataclass(frozen=True, eq=False)
class _Interface:
    """Where voxels have a face on a class, how far it is from their centres, and its normal there."""

    place: np.ndarray  # (n_z, n_y, n_x) of bool; n of them are set
    gaps_nm: np.ndarray  # (n,)
    normals: np.ndarray  # (n, 3), z, y, x, away from the class


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one definition at one place; values that are no thickness (0, nan, inf) are not among them."""

    values_nm: np.ndarray  # (n,)
    weights: np.ndarray  # (n,): 1 for a voxel, its area for a point of a surface
    places_nm: np.ndarray  # (n, 2), y, x
    normals: np.ndarray | None  # (n, 3), z, y, x; None in a volume
    extent_nm: tuple[float, float]  # of the specimen along y and x
    origin_nm: tuple[float, float]  # where it begins

    def at(self, chosen: np.ndarray) -> Sample:
        """The sample where flags (n,) are set."""
        normals = None if self.normals is None else self.normals[chosen]
        return Sample(
            self.values_nm[chosen],
            self.weights[chosen],
            self.places_nm[chosen],
            normals,
            self.extent_nm,
            self.origin_nm,
        )


def samples(
    thickness: Mapping[str, Volume] | None,
    labels: Labels | None,
    interface: int | None,
    surfaces: Mapping[str, Surface] | None,
) -> dict[str, Sample]:
    """All samples by name: NAME_volume and NAME_interface of maps, NAME_surface of surfaces.

    Raises
    ------
    ValueError
        If there is neither a map nor a surface, a grid differs, `interface` comes without `labels`, a surface holds no
        thickness, or a sample is empty.
    """
    thickness, surfaces = thickness or {}, surfaces or {}
    if not thickness and not surfaces:
        raise ValueError("thickness must hold at least one map, or surfaces at least one surface, got none.")
    if interface is not None and labels is None:
        raise ValueError(f"labels must be given with interface, got class {interface} without them.")
    grids = {tuple(volume.data.shape) for volume in thickness.values()}
    if labels is not None:
        grids.add(tuple(labels.data.shape))
    if len(grids) > 1:
        raise ValueError(f"thickness and labels must be on one grid, got {sorted(grids)}.")
    at_interface = None if labels is None or interface is None else _interface(labels, interface)
    found = {}
    for name, volume in thickness.items():
        found[f"{name}_volume"] = _of_volume(volume, None)
        if at_interface is not None:
            found[f"{name}_interface"] = _of_volume(volume, at_interface)
    found |= {f"{name}_surface": _of_surface(name, surface) for name, surface in surfaces.items()}
    for name, sample in found.items():
        if sample.values_nm.size == 0:
            what = "point" if name.endswith("_surface") else "voxel"
            raise ValueError(f"{name} must have at least one {what} with a positive thickness, got none.")
    return found


def is_sampled(sample: Sample, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """Whether a view saw a surface with the normal of each value, (n,)."""
    assert sample.normals is not None
    return np.asarray(wedge_depth_deg(sample.normals, tilt_range_deg) <= 0)


def _interface(labels: Labels, interface: int) -> _Interface:
    """The voxels with a face on a class; normals are those of the class, smoothed."""
    body = np.asarray(labels.data) == interface
    place = ndimage.binary_dilation(body) & ~body
    smooth = ndimage.gaussian_filter(body.astype(np.float32), _NORMAL_SIGMA, mode="nearest")
    slopes = [
        -np.gradient(smooth, edge, axis=axis)[place] if smooth.shape[axis] > 1 else np.zeros(int(place.sum()))
        for axis, edge in enumerate(labels.voxel_size_nm)
    ]
    normals = np.stack(slopes, axis=-1)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    return _Interface(place, distance_to_body(body, place, labels.voxel_size_nm), normals)


def _of_volume(volume: Volume, at: _Interface | None) -> Sample:
    data = np.asarray(volume.data, dtype=np.float64)
    chosen = np.isfinite(data) & (data > 0)
    values, normals = data[chosen], None
    if at is not None:
        is_known, chosen = chosen, chosen & at.place
        here = chosen[at.place]
        normals = at.normals[here]
        growth = _growth(data, is_known, np.argwhere(chosen), normals, np.array(volume.voxel_size_nm))
        values = data[chosen] + growth * at.gaps_nm[here]
    _, y, x = np.nonzero(chosen)
    size, origin = np.array(volume.voxel_size_nm[1:]), np.array(volume.origin_nm[1:])
    extent = size * data.shape[1:]
    return Sample(
        values,
        np.ones(len(y)),
        np.stack([y, x], axis=1) * size + origin,
        normals,
        (float(extent[0]), float(extent[1])),
        (float(origin[0] - 0.5 * size[0]), float(origin[1] - 0.5 * size[1])),
    )


def _growth(
    data: np.ndarray, is_known: np.ndarray, index: np.ndarray, normals: np.ndarray, size_nm: np.ndarray
) -> np.ndarray:
    """By how much a map grows towards the interface per length, from a voxel farther away to each voxel, (n,).

    From 0 to 1: a way to the interface is longer by at most what the interface is farther.
    """
    steps = normals / size_nm
    largest = np.abs(steps).max(axis=1, keepdims=True)
    steps = np.divide(steps, largest, out=np.zeros_like(steps), where=largest > 0)  # a voxel along one axis
    base = np.floor(steps + 1e-9)
    share = np.clip(steps - base, 0.0, 1.0)
    total, value, depth = (np.zeros(len(index)) for _ in range(3))
    here = data[tuple(index.T)]
    for corner in itertools.product((0, 1), repeat=3):
        offset = (base + corner).astype(np.int64)
        place = index + offset
        within = ((place >= 0) & (place < data.shape)).all(axis=1)
        place = tuple(np.clip(place, 0, np.array(data.shape) - 1).T)
        weight = np.where(corner, share, 1.0 - share).prod(axis=1) * (within & is_known[place])
        total += weight
        value += weight * (here - np.where(weight > 0, data[place], 0.0))
        depth += weight * (offset * size_nm * normals).sum(axis=1)
    growth = np.divide(value, depth, out=np.zeros_like(value), where=(total > 0.25) & (depth > 0))
    return np.clip(growth, 0.0, 1.0)


def _of_surface(name: str, surface: Surface) -> Sample:
    if "thickness_nm" not in surface.point_data:
        raise ValueError(
            f"surfaces[{name!r}] must hold thickness_nm, as of chord_thickness, got {sorted(surface.point_data)}."
        )
    points, normals, areas = points_of(surface)
    values = np.asarray(surface.point_data["thickness_nm"], dtype=np.float64)
    chosen = np.isfinite(values) & (values > 0) & (areas > 0)
    low, high = points[:, 1:].min(axis=0), points[:, 1:].max(axis=0)
    extent = np.maximum(high - low, 1e-9)
    return Sample(
        values[chosen],
        areas[chosen],
        points[chosen, 1:],
        normals[chosen],
        (float(extent[0]), float(extent[1])),
        (float(low[0]), float(low[1])),
    )
