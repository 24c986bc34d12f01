"""Directions that no view of a tilt series samples: the missing wedge, for tilts about y."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tomo3d.geometry import detector_position


def normal_tilt_deg(normals: np.ndarray) -> np.ndarray:
    """Tilt angle, (n,), of the view that sees a surface with this normal (n, 3), (z, y, x), edge-on: -90 to 90 deg.

    nan for a normal along the tilt axis, which every view sees so.
    """
    # a view at tilt t has u = x cos t + z sin t: the normal lies in it where z cos t = x sin t
    z, x = normals[:, 0], normals[:, 2]
    tilt = np.degrees(np.arctan2(z, x))
    tilt = np.where(tilt > 90.0, tilt - 180.0, np.where(tilt <= -90.0, tilt + 180.0, tilt))
    return np.where((z == 0) & (x == 0), np.nan, tilt)


def normal_elevation_deg(normals: np.ndarray) -> np.ndarray:
    """Angle of normals (n, 3), (z, y, x), to the plane across the beam, (n,): 0 to 90 deg, 90 along the beam."""
    length = np.maximum(np.linalg.norm(normals, axis=-1), 1e-300)
    return np.asarray(np.degrees(np.arcsin(np.clip(np.abs(normals[..., 0]) / length, 0.0, 1.0))))


def normal_azimuth_deg(normals: np.ndarray) -> np.ndarray:
    """Angle of normals (n, 3), (z, y, x), to x in the plane across the beam, (n,): 0 to 90 deg, 90 along y."""
    return np.asarray(np.degrees(np.arctan2(np.abs(normals[..., 1]), np.abs(normals[..., 2]))))


def wedge_depth_deg(normals: np.ndarray, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """How deep normals (n, 3), (z, y, x), lie in the missing wedge, (n,), in degrees; negative outside of it.

    The angle to the nearest direction on the border of the wedge, which is two planes through the tilt axis.
    """
    depth = np.full(len(normals), np.inf)
    for tilt in tilt_range_deg:
        # at right angles to the plane that this view samples: its beam, along which u does not change
        beam = np.array(
            [
                detector_position(np.array(1.0), np.array(0.0), tilt),
                0.0,
                -detector_position(np.array(0.0), np.array(1.0), tilt),
            ]
        )
        depth = np.minimum(depth, np.degrees(np.arcsin(np.clip(np.abs(normals @ beam), 0.0, 1.0))))
    tilt_deg = normal_tilt_deg(normals)
    low, high = tilt_range_deg
    is_seen = np.isnan(tilt_deg) | ((tilt_deg >= low) & (tilt_deg <= high))
    return np.asarray(np.where(is_seen, -depth, depth))


def checked_tilt_range(tilt_range_deg: tuple[float, float]) -> tuple[float, float]:
    """The range, if it is two angles from -90 to 90 deg that ascend."""
    low, high = (float(angle) for angle in tilt_range_deg)
    if not (math.isfinite(low) and math.isfinite(high) and -90.0 <= low < high <= 90.0):
        raise ValueError(
            "tilt_range_deg must be the least and the largest tilt angle, from -90 to 90 deg, got "
            f"{low:g} and {high:g} deg."
        )
    return low, high


def recorded_tilt_range(record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Range of tilts that a volume was made from, as its record or that of its input says; None without one.

    None also for two tilt axes, whose missing directions are no wedge.
    """
    while record:
        if "second_tilt_range_deg" in record:
            return None
        if "tilt_range_deg" in record:
            low, high = record["tilt_range_deg"]
            return checked_tilt_range((max(float(low), -90.0), min(float(high), 90.0)))
        inner = record.get("input", {})
        record = inner if isinstance(inner, Mapping) else {}
    return None
