"""Normals and curvatures of the surfaces of constant value, from derivatives of a Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import implicit as kernels
from tomo3d.types import Array

_REACH = 4.0  # standard deviations of the Gaussian that take part
_N_POINTS = 1 << 13  # of a piece of work


@dataclass(frozen=True, eq=False)
class Bend:
    """How the surface of constant value through each point lies: values rise towards the inside.

    Attributes
    ----------
    normal : ndarray, shape (n, 3)
        Unit vector (z, y, x) to the outside; nan where the values have no slope.
    slope : ndarray, shape (n,)
        Of the values, per unit of length, after smoothing.
    form : ndarray, shape (n, 3, 3)
        Second fundamental form: its product with a tangent, from both sides, is the curvature along it, positive
        where the inside is convex. The normal has none.
    """

    normal: np.ndarray
    slope: np.ndarray
    form: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean curvature, (n,): 1 / r on a ball of radius r."""
        return np.asarray(0.5 * np.trace(self.form, axis1=1, axis2=2))

    @property
    def gaussian(self) -> np.ndarray:
        """Product of the principal curvatures, (n,)."""
        squares = np.einsum("nij,nij->n", self.form, self.form)
        return np.asarray(0.5 * ((2.0 * self.mean) ** 2 - squares))


def bend_at(
    values: Array,
    points: np.ndarray,
    *,
    voxel_size: tuple[float, float, float],
    origin: tuple[float, float, float],
    sigma: tuple[float, float, float],
) -> Bend:
    """Normal, slope and curvature at points (n, 3), (z, y, x), of values smoothed by a Gaussian; lengths in one unit.

    `sigma` is its standard deviation along each axis: at least 0.6 voxels, or it cannot be sampled.
    """
    values = np.asarray(values, dtype=np.float32)
    voxel = np.asarray(voxel_size)
    index = (points - np.asarray(origin)) / voxel
    in_voxels = np.asarray(sigma) / voxel
    reach = np.array([math.ceil(_REACH * s) for s in in_voxels])
    normal, slope, form = np.empty((len(points), 3)), np.empty(len(points)), np.empty((len(points), 3, 3))

    def derive(i: int) -> None:
        part = slice(i * _N_POINTS, (i + 1) * _N_POINTS)
        found = np.empty((len(index[part]), 10))
        kernels.derivatives_cpu(values, index[part], in_voxels, reach, found)
        normal[part], slope[part], form[part] = _lie(found, voxel)

    in_threads(derive, math.ceil(len(points) / _N_POINTS), "derivatives at the surface")
    return Bend(normal, slope, form)


def _lie(found: np.ndarray, voxel: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal, slope and second fundamental form from derivatives per voxel, (n, 10)."""
    gradient = found[:, 1:4] / voxel
    slope = np.linalg.norm(gradient, axis=1)
    hessian = np.empty((len(found), 3, 3))
    for column, (i, j) in zip(range(4, 10), ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), strict=True):
        hessian[:, i, j] = hessian[:, j, i] = found[:, column] / (voxel[i] * voxel[j])
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = -gradient / slope[:, None]
        across = np.eye(3) - normal[:, :, None] * normal[:, None, :]
        form = -(across @ hessian @ across) / slope[:, None, None]
    return normal, slope, form
