"""A centre line while it is made, and the mask that it runs in.

Lengths are in nm from the first voxel of a mask; the boundary of a mask lies at one half between its voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.voxel_list import Depths
from tomo3d.graph._lines import median

SPACING = 1.0  # voxels between the points of a line
CONTEXT = 3.0  # radii and voxels of a line that say where it goes


@dataclass
class Line:
    """A centre line: points (n, 3), cross-sections (n,), and which of them lie in the open, clear of junctions.

    `is_near` says where another strut of a junction may run beside this one.
    """

    a: int
    b: int
    points: np.ndarray
    area: np.ndarray
    is_clear: np.ndarray
    is_near: np.ndarray
    is_ring: bool = False
    radius: float = 0.0

    def set_area(self, area: np.ndarray) -> None:
        """Take new cross-sections; the radius is that of a circle with the median in the open, or of the middle."""
        self.area = area
        known = area[self.is_clear] if self.is_clear.any() else area[len(area) // 2 :][:1]
        self.radius = math.sqrt(max(median(known), 0.0) / math.pi)


@dataclass(frozen=True)
class Structure:
    """The mask that lines run in: cavities filled, uint8; voxel size (z, y, x); faces that are the volume's border."""

    inside: np.ndarray
    depths: Depths
    voxel: np.ndarray
    is_border: np.ndarray  # (3, 2) bool: at index 0, at the last index

    def within(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3), those beyond the border of the box put onto it: a straight way on may lead out."""
        return np.asarray(np.clip(points, -0.5 * self.voxel, self.end))

    @property
    def end(self) -> np.ndarray:
        """The last corner of the box."""
        return (np.array(self.inside.shape) - 0.5) * self.voxel

    def depth_at(self, points: np.ndarray) -> np.ndarray:
        """Distance to the background at the voxels nearest to points (n, 3)."""
        index = np.clip(np.rint(points / self.voxel).astype(int), 0, np.array(self.inside.shape) - 1)
        return self.depths.at(index)

    def radius_at(self, points: np.ndarray) -> np.ndarray:
        """Radius of the largest ball about points (n, 3), to about half a voxel."""
        half = 0.5 * float(self.voxel.min())
        return np.maximum(self.depth_at(points) - half, half)
