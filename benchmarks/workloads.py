"""The workloads that a reconstruction is timed on, with a truth: ellipses in every slice.

61 views from -60 to 60 deg, of n x n pixels: S 256 into 128 layers, M 512 into 256, L 1024 into 300.
"""

from __future__ import annotations

import numpy as np

from tomo3d import geometry
from tomo3d.compute.projector import Projector
from tomo3d.types import TiltSeries

TILTS_DEG = np.linspace(-60.0, 60.0, 61)
THICKNESS = {256: 128, 512: 256, 1024: 300}
NAMES = {256: "S", 512: "M", 1024: "L"}
# centre (z, x) and half axes (z, x) in parts of (thickness, width), and density
_ELLIPSES = (
    ((0.0, 0.0), (0.42, 0.40), 1.0),
    ((0.1, -0.15), (0.15, 0.12), -0.5),
    ((-0.12, 0.18), (0.2, 0.06), 1.5),
    ((0.2, 0.22), (0.08, 0.03), 2.0),
)


def ellipse_rows(edge_pixels: int, tilt_angles_deg: np.ndarray) -> np.ndarray:
    """Projections of the ellipses, the mean over each pixel in closed form: (n_views, n_u) float32."""
    n_z = THICKNESS[edge_pixels]
    tilt = np.deg2rad(tilt_angles_deg)[:, None]
    edges = np.arange(edge_pixels + 1) - 0.5 * edge_pixels
    rows = np.zeros((len(tilt_angles_deg), edge_pixels))
    for (z, x), (half_z, half_x), density in _ELLIPSES:
        a, b = half_x * edge_pixels, half_z * n_z
        width = np.hypot(a * np.cos(tilt), b * np.sin(tilt))
        middle = geometry.detector_position(np.array(x * edge_pixels), np.array(z * n_z), tilt_angles_deg)[
            :, None
        ]
        s = np.clip((edges - middle) / width, -1.0, 1.0)
        rows += np.diff(density * a * b * (s * np.sqrt(1.0 - s**2) + np.arcsin(s)), axis=1)
    return rows.astype(np.float32)


def ellipse_section(edge_pixels: int, supersampling: int = 4) -> np.ndarray:
    """The ellipses themselves, (n_z, n_x), the mean over each voxel."""
    n_z = THICKNESS[edge_pixels]
    fine_z = geometry.coordinates(n_z * supersampling)[:, None] / supersampling
    fine_x = geometry.coordinates(edge_pixels * supersampling) / supersampling
    fine = np.zeros((n_z * supersampling, edge_pixels * supersampling), dtype=np.float32)
    for (z, x), (half_z, half_x), density in _ELLIPSES:
        inside = ((fine_x / edge_pixels - x) / half_x) ** 2 + ((fine_z / n_z - z) / half_z) ** 2 < 1.0
        fine += np.float32(density) * inside
    return np.asarray(fine.reshape(n_z, supersampling, edge_pixels, supersampling).mean(axis=(1, 3)))


def ellipse_series(edge_pixels: int, n_slices: int | None = None) -> TiltSeries:
    """The series of a workload, or of some of its slices."""
    rows = ellipse_rows(edge_pixels, TILTS_DEG)[:, None]
    return TiltSeries(np.repeat(rows, n_slices or edge_pixels, axis=1), TILTS_DEG, pixel_size_nm=1.0)


def relative_error(section: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the difference over that of the truth, after the best scaling."""
    a, b = section.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    return float(np.linalg.norm(a * (a @ b) / (a @ a) - b) / np.linalg.norm(b))


def projector(edge_pixels: int) -> Projector:
    """The projector of a workload."""
    return Projector(TILTS_DEG, n_u=edge_pixels, n_x=edge_pixels, n_z=THICKNESS[edge_pixels])
