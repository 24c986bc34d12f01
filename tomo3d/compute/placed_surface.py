"""Surfaces of structures, put where they were before voxels, smoothing and interpolation moved them.

All three blur, and a blurred surface lies further to its hollow side, by half the variance along it times the
curvature. Each vertex is moved back along its normal by what the curvature there says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from tomo3d.compute.implicit import Bend, bend_at
from tomo3d.compute.iso_surface import heights, iso_surface
from tomo3d.compute.triangles import area_vectors, clipped, vertex_areas
from tomo3d.types import Array

MASK_SIGMA = 1.25  # voxels: takes the steps off a mask and leaves films of two voxels
# voxels: where an interface ends. Its own smoothing would draw the line where three classes meet into the two that
# leave less room, by most of a voxel
_END_SIGMA = np.full(3, 0.5)
_PARTIAL_VOLUME = 1 / 12  # voxels^2: variance of a voxel
_INTERPOLATION = 1 / 6  # voxels^2: mean variance that linear interpolation adds
_GREY_BEND, _MASK_BEND = 1.5, 2.0  # voxels: smoothing for the normals and for putting vertices back
_MOST_MOVED = 0.5  # shortest voxel edges: at sharp rims the curvature says nothing of the place
_BORDER = 1e-9

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel edges and the place of the centre of voxel [0, 0, 0], (z, y, x), and the number of voxels."""

    voxel_size: Triple
    origin: Triple
    shape: tuple[int, ...]

    def sigma(self, n_voxels: float, least: float) -> Triple:
        """One length for a Gaussian: so many voxels of the same volume, at least `least` of the longest edge."""
        mean_edge = float(np.prod(self.voxel_size) ** (1 / 3))
        length = max(n_voxels * mean_edge, least * max(self.voxel_size))
        return (length, length, length)

    def is_on_border(self, points: np.ndarray) -> np.ndarray:
        """(n, 3): whether each lies on the face of the outermost voxels, by axis."""
        index = (points - np.asarray(self.origin)) / np.asarray(self.voxel_size)
        return np.asarray((index < -0.5 + _BORDER) | (index > np.array(self.shape) - 0.5 - _BORDER))


@dataclass(frozen=True, eq=False)
class Field:
    """What a surface is taken from: `values` at a level, and `source`, not smoothed, for how it bends.

    `variance` is how much the surface is blurred, by axis, in the square of the unit of the voxels; `bend_sigma`
    smooths the source. `height` is where the surface is kept: not negative.
    """

    grid: Grid
    values: Array
    level: float
    source: Array
    variance: np.ndarray
    bend_sigma: Triple
    height: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class PlacedSurface:
    """Vertices (z, y, x), faces, and what the field says there.

    Attributes
    ----------
    vertices, faces : ndarray, shapes (n_vertices, 3), (n_faces, 3)
    normals : ndarray, shape (n_vertices, 3)
        Outward unit vectors (z, y, x).
    touches_border : ndarray of bool, shape (n_vertices,)
        On the border of the volume, where the surface ends or is closed by a cut.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    touches_border: np.ndarray

    @cached_property
    def areas(self) -> np.ndarray:
        """Area that each vertex stands for, (n_vertices,)."""
        return vertex_areas(self.vertices, self.faces)


def grey_field(grid: Grid, values: Array, level: float, smoothing: float = 0.0) -> Field:
    """Of grey values, whose voxels hold means over themselves; `smoothing` is the deviation of a Gaussian."""
    values, level = heights(values, level)
    voxel = np.asarray(grid.voxel_size)
    variance = (_PARTIAL_VOLUME + _INTERPOLATION) * voxel**2 + smoothing**2
    smooth = _gaussian(values, smoothing / voxel) if smoothing else values
    return Field(grid, smooth, level, values, variance, grid.sigma(_GREY_BEND, 1.0))


def mask_field(grid: Grid, inside: Array, smoothing: float | None = None) -> Field:
    """Of a mask, smoothed by a Gaussian of 1.25 voxels along each axis, or of one length."""
    source = (np.asarray(inside) != 0).astype(np.float32)
    sigma = _mask_sigma(grid, smoothing)
    variance = _mask_variance(grid, sigma)
    return Field(grid, _gaussian(source, sigma), 0.5, source, variance, grid.sigma(_MASK_BEND, 1.0))


def interface_field(
    grid: Grid, labels: Array, first: int, second: int, smoothing: float | None = None
) -> Field:
    """Of the boundary between two classes, `first` being inside, kept where the two together outweigh any third."""
    data = np.asarray(labels)
    sigma = _mask_sigma(grid, smoothing)
    source = (data == first).astype(np.float32) - (data == second)
    height = _gaussian(np.abs(source), _END_SIGMA)
    others = np.zeros_like(height)
    for number in np.unique(data):
        if number not in (first, second):
            np.maximum(others, _gaussian((data == number).astype(np.float32), _END_SIGMA), out=others)
    height -= others
    variance = _mask_variance(grid, sigma)
    return Field(grid, _gaussian(source, sigma), 0.0, source, variance, grid.sigma(_MASK_BEND, 1.0), height)


def placed_surface(field: Field, *, is_closed: bool = False) -> PlacedSurface:
    """The surface of a field, with outward normals; see `iso_surface` for the border."""
    grid = field.grid
    vertices, faces = iso_surface(
        field.values, field.level, grid.voxel_size, grid.origin, is_closed=is_closed
    )
    if field.height is not None and len(faces):
        index = (vertices - np.asarray(grid.origin)) / np.asarray(grid.voxel_size)
        height = ndimage.map_coordinates(field.height, index.T, order=1, mode="nearest")
        vertices, faces, _ = clipped(vertices, faces, height)
    bend = bend_of(field, vertices, field.bend_sigma)
    on_border = grid.is_on_border(vertices)
    touches = np.asarray(on_border.any(axis=1))
    move = np.nan_to_num(placement(field, bend)[:, None] * bend.normal)  # no slope, no direction
    move[on_border | (touches & is_closed)[:, None]] = 0.0
    vertices = vertices + move
    normals = bend.normal.copy()
    if is_closed:  # of the cut, not of the structure
        normals[touches] = _unit(_vertex_vectors(vertices, faces)[touches])
    return PlacedSurface(vertices, faces, normals, touches)


def bend_of(field: Field, points: np.ndarray, sigma: Triple) -> Bend:
    """How the surfaces of constant value of the source lie at points (n, 3)."""
    return bend_at(
        field.source, points, voxel_size=field.grid.voxel_size, origin=field.grid.origin, sigma=sigma
    )


def placement(field: Field, bend: Bend) -> np.ndarray:
    """How far outwards the blurred surface must be moved, (n,)."""
    most = _MOST_MOVED * min(field.grid.voxel_size)
    move = 0.5 * np.einsum("i,nii->n", field.variance, bend.form)
    return np.nan_to_num(np.clip(move, -most, most))


def _mask_sigma(grid: Grid, smoothing: float | None) -> np.ndarray:
    if smoothing is None:
        return np.full(3, MASK_SIGMA)
    return smoothing / np.asarray(grid.voxel_size)


def _mask_variance(grid: Grid, sigma: np.ndarray) -> np.ndarray:
    return np.asarray((sigma**2 + _INTERPOLATION) * np.asarray(grid.voxel_size) ** 2)


def _gaussian(values: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest"))


def _vertex_vectors(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    vectors = area_vectors(vertices, faces)
    return np.stack(
        [
            np.bincount(faces.ravel(), weights=np.repeat(vectors[:, i], 3), minlength=len(vertices))
            for i in range(3)
        ],
        axis=1,
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.full_like(vectors, np.nan), where=lengths > 0)
