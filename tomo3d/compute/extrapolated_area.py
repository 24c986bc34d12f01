"""What a surface would measure without voxels: its areas after several smoothings, extrapolated to none.

A Gaussian of width s takes from a sharp rim an area in proportion to s, from a rounded surface one in proportion to
s^2: the area after smoothing is a polynomial of the width, whose value at 0 is that of the surface itself, rims and
all. The width counts what voxels and linear interpolation blur beside the Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from tomo3d.compute.iso_surface import heights, iso_surface
from tomo3d.compute.placed_surface import Grid
from tomo3d.types import Array

_DEGREE = 2
_INTERPOLATION = (
    1 / 24
)  # voxels^2: what linear interpolation along the edges of cells adds to the width of a rim
_PARTIAL_VOLUME = 1 / 12
_STEPS, _STEPS_FALL = (
    0.0028,
    4.3,
)  # share of area that the steps of a smoothed mask add, at 1 voxel, and its power


@dataclass(frozen=True)
class Widths:
    """Gaussians in voxels, least first, what else blurs (voxels^2), and whether steps of voxels remain.

    The area is off by up to five times the misfit of its polynomial; `most_misfit` keeps it within 3 %.
    """

    sigmas: tuple[float, ...]
    variance: float
    has_steps: bool
    most_misfit: float

    def wider(self, least: float) -> Widths:
        """The same from `least` voxels on."""
        factor = max(1.0, least / self.sigmas[0])
        return replace(self, sigmas=tuple(factor * s for s in self.sigmas))


GREY = Widths((0.6, 0.8, 1.2, 1.6, 2.0), _PARTIAL_VOLUME + _INTERPOLATION, has_steps=False, most_misfit=0.01)
MASK = Widths((1.0, 1.2, 1.5, 1.75), _INTERPOLATION, has_steps=True, most_misfit=0.005)


def extrapolated(
    measured: Callable[[np.ndarray, np.ndarray], np.ndarray],
    grid: Grid,
    values: Array,
    level: float,
    widths: Widths,
) -> np.ndarray | None:
    """What `measured` (vertices, faces) gives, all of them areas, extrapolated to no smoothing.

    None where the areas are no such polynomial, as parts vanish or merge.
    """
    values, level = heights(values, level)
    found = []
    for sigma in widths.sigmas:
        smooth = ndimage.gaussian_filter(values, sigma, mode="nearest")
        vertices, faces = iso_surface(smooth, level, grid.voxel_size, grid.origin)
        if not len(faces):
            return None
        areas = measured(vertices, faces)
        found.append(areas / (1.0 + _STEPS * sigma**-_STEPS_FALL) if widths.has_steps else areas)
    width = np.sqrt(np.square(widths.sigmas) + widths.variance)
    powers = width[:, None] ** np.arange(_DEGREE + 1)
    inverse = np.linalg.pinv(powers)
    weights, sums = inverse[0], np.array([areas.sum() for areas in found])
    misfit = float(np.abs(sums - powers @ (inverse @ sums)).max() * np.linalg.norm(weights))
    total = np.tensordot(weights, np.stack(found), 1)
    return total if misfit <= widths.most_misfit * float(total.sum()) else None
