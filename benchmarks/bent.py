"""Gaussian beads in views that a beam bends: positions and pictures in closed form, independent of the package."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tomo3d import geometry
from tomo3d.types import Alignment

SHAPE = (90, 110)
ANGLES = np.linspace(-60.0, 60.0, 31)
CENTRE = 0.5 * (np.array(SHAPE) - 1)
SIGMA = 1.3


def beads_zyx(n: int, rng: np.random.Generator, *, thickness: float = 16.0) -> np.ndarray:
    """Places in a slab that fills the field, in pixels from its centre."""
    return rng.uniform(-0.5, 0.5, (n, 3)) * [thickness, SHAPE[0] - 10, SHAPE[1] - 10]


def displacement(yx: np.ndarray, view: int, amplitude: float = 1.5) -> np.ndarray:
    """How far the beam has moved what a rigid specimen would show at (y, x): smooth, growing with tilt and dose."""
    y, x = np.moveaxis(np.asarray(yx) / SHAPE, -1, 0)  # fractions of the view from its centre
    tilt = ANGLES[view] / 60.0
    dose = view / (len(ANGLES) - 1.0)
    across = np.sin(np.pi * x) * np.cos(np.pi * y) * (dose - 0.5) + 0.5 * np.cos(2 * np.pi * x) * tilt**2
    along = np.cos(np.pi * x) * np.sin(1.5 * np.pi * y) * tilt + 0.4 * np.sin(2 * np.pi * x) * (dose - 0.5)
    return amplitude * np.stack((along, across), axis=-1)


def ideal(points: np.ndarray, view: int) -> np.ndarray:
    """Where a rigid specimen shows points (n, 3), (y, x) from the centre."""
    tilt = np.deg2rad(ANGLES[view])
    z, y, x = points.T
    return np.stack((y, x * np.cos(tilt) + z * np.sin(tilt)), axis=1)


def seen(points: np.ndarray, view: int, amplitude: float = 1.5) -> np.ndarray:
    """Where the bent view shows them: p less the displacement at p is where a rigid specimen would."""
    at = ideal(points, view)
    bent = at
    for _ in range(40):
        bent = at + displacement(bent, view, amplitude)
    return bent


def tracks_of(
    points: np.ndarray, *, noise_px: float = 0.0, seed: int = 0, amplitude: float = 1.5
) -> pd.DataFrame:
    """Tracks of points, in pixel indices."""
    rng, parts = np.random.default_rng(seed), []
    for view in range(len(ANGLES)):
        yx = seen(points, view, amplitude) + CENTRE
        yx = yx + noise_px * rng.normal(size=yx.shape)
        parts.append(
            pd.DataFrame({"track": range(len(points)), "view": view, "y_nm": yx[:, 0], "x_nm": yx[:, 1]})
        )
    return pd.concat(parts, ignore_index=True)


def views_of(points: np.ndarray, amplitude: float = 1.5) -> np.ndarray:
    """Line integrals of Gaussians of unit peak, bent, (n_views, n_y, n_x) float32."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - 0.5 * (n - 1) for n in SHAPE), indexing="ij"), axis=-1)
    images = np.zeros((len(ANGLES), *SHAPE))
    for view in range(len(ANGLES)):
        rigid = grid - displacement(grid, view, amplitude)
        for centre in ideal(points, view):
            images[view] += np.exp(-((rigid - centre) ** 2).sum(axis=-1) / (2 * SIGMA**2))
    return (np.sqrt(2 * np.pi) * SIGMA * images).astype(np.float32)


def volume_of(points: np.ndarray, thickness: int) -> np.ndarray:
    """The Gaussians themselves, (thickness, n_y, n_x)."""
    volume = np.zeros((thickness, *SHAPE))
    for centre in points:
        z, y, x = (
            np.exp(-((np.arange(n) - 0.5 * (n - 1) - at) ** 2) / (2 * SIGMA**2))
            for n, at in zip((thickness, *SHAPE), centre, strict=True)
        )
        volume += z[:, None, None] * y[:, None] * x
    return volume


def unseen_error(alignment: Alignment, amplitude: float = 1.5) -> float:
    """R.m.s. distance of points that were never tracked from any orbit that they could be on, in pixels.

    What moves or bends the specimen as a whole is in the orbits: a constant along the axis, a cos t + b sin t across.
    """
    points = beads_zyx(200, np.random.default_rng(99))
    landed = np.stack(
        [
            geometry.aligned_nm(alignment, seen(points, v, amplitude) + CENTRE, np.full(200, v), CENTRE, 1.0)
            for v in range(len(ANGLES))
        ]
    )
    tilt = np.deg2rad(alignment.tilt_angles_deg)
    orbits = np.column_stack((np.cos(tilt), np.sin(tilt)))
    along = landed[..., 0] - landed[..., 0].mean(axis=0)
    across = landed[..., 1] - orbits @ np.linalg.lstsq(orbits, landed[..., 1], rcond=None)[0]
    return float(np.sqrt((along**2 + across**2).mean()))
