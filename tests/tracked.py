"""Simulated tracks of beads with known parameters, independent of the package's own matrices, and IMOD's real ones."""

from pathlib import Path

import numpy as np
import pandas as pd

BBA = Path(__file__).parents[2] / "shared" / "data" / "beads_BBa"
SHAPE = (400, 500)
PIXEL_NM = 0.5
CENTRE_NM = 0.5 * (np.array(SHAPE) - 1) * PIXEL_NM


def turn(axis, angle):
    """Rotation of (x, y, z) about an axis of (x, y, z), right-handed."""
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def seen_at(
    point_xyz,
    *,
    rotation,
    tilt,
    magnification,
    x_stretch,
    skew,
    x_tilt,
    beam_tilt,
    thinning,
    projection_stretch,
):
    """Where a point lands, (y, x) from the image's centre before the shift: the order of effects, written out."""
    x, y, z = point_xyz
    x, y, z = x * x_stretch * np.cos(skew), y + x * x_stretch * np.sin(skew), z * thinning
    p = magnification * np.array([x, y, z])
    p = turn("x", x_tilt) @ p
    p = turn("x", beam_tilt) @ turn("y", tilt) @ turn("x", -beam_tilt) @ p
    p = turn("z", rotation) @ p
    return np.array([p[1] + projection_stretch * p[0], p[0] + projection_stretch * p[1]])


DEFAULTS = {"rotation": 0.0, "tilt": 0.0, "magnification": 1.0, "x_stretch": 1.0, "skew": 0.0, "x_tilt": 0.0,
            "beam_tilt": 0.0, "thinning": 1.0, "projection_stretch": 0.0}  # fmt: skip


def points_xyz(n, rng):
    """Beads in a slab of 80 nm in a field of 200 by 160 nm."""
    return rng.uniform(-1, 1, (n, 3)) * [100, 80, 40]


def simulate(points, parameters, shifts_nm, *, noise_nm, rng, missing=0.0):
    """Tracks of points (n, 3) for a list of parameters and shifts (y, x) per view."""
    rows = []
    for track, point in enumerate(points):
        for view, (values, shift) in enumerate(zip(parameters, shifts_nm, strict=True)):
            if rng.random() >= missing:
                y, x = seen_at(point, **values) + shift + CENTRE_NM + noise_nm * rng.normal(size=2)
                rows.append((track, view, y, x))
    return pd.DataFrame(rows, columns=["track", "view", "y_nm", "x_nm"])
