"""Tilt series of a slab of Gaussian blobs at a known pose, in closed form."""

from __future__ import annotations

import numpy as np

from tomo3d.types import TiltSeries


def blob_slab(
    *,
    offset_deg: float = 0.0,
    pitch_deg: float = 0.0,
    thickness: float = 30.0,
    height: float = 0.0,
    n_pixels: int = 128,
    n_views: int = 41,
    noise: float = 0.0,
    density: float = 0.004,
    seed: int = 0,
) -> TiltSeries:
    """Blobs of 1.2 px, whose middles fill a slab that goes on beside the field; pixels are 1 nm.

    The angles of the series are the true ones less `offset_deg`; noise is in standard deviations of the untilted
    view, density in blobs per cubic pixel.
    """
    rng = np.random.default_rng(seed)
    named = np.linspace(-60.0, 60.0, n_views)
    edge_x, edge_y = 2.2 * n_pixels + 4.0 * thickness, 1.3 * n_pixels
    n_blobs = int(density * edge_x * edge_y * thickness)
    x, y = (rng.uniform(-0.5, 0.5, n_blobs) * edge for edge in (edge_x, edge_y))
    z = rng.uniform(-0.5, 0.5, n_blobs) * thickness + height
    mass = rng.choice([-1.0, 1.0], n_blobs) * rng.uniform(0.5, 1.5, n_blobs)
    a = np.deg2rad(pitch_deg)
    v, depth = y * np.cos(a) - z * np.sin(a), y * np.sin(a) + z * np.cos(a)
    grid = np.arange(n_pixels) - 0.5 * (n_pixels - 1)
    along = np.exp(-0.5 * np.square((grid[:, None] - v) / 1.2)).astype(np.float32)
    images = np.empty((n_views, n_pixels, n_pixels), dtype=np.float32)
    for image, t in zip(images, np.deg2rad(named + offset_deg), strict=True):
        u = x * np.cos(t) + depth * np.sin(t)
        seen = np.abs(u) < 0.5 * n_pixels + 6.0
        across = np.exp(-0.5 * np.square((grid[:, None] - u[seen]) / 1.2)).astype(np.float32)
        image[...] = (along[:, seen] * mass[seen].astype(np.float32)) @ across.T
    images += noise * images[n_views // 2].std() * rng.normal(size=images.shape).astype(np.float32)
    return TiltSeries(images, named, pixel_size_nm=1.0)
