"""Single struts whose length and width are known: capsules, helices and rings."""

from __future__ import annotations

import math

import numpy as np

from tomo3d.phantoms import _sampling
from tomo3d.phantoms._networks import NetworkPhantom, Strut, network, straight_struts
from tomo3d.phantoms._round_solids import rotation_zyx
from tomo3d.phantoms._solid import Vector, length, vector

_SEGMENT = 0.5  # voxels: pieces of a curve that is painted straight


def capsule(
    *,
    length_nm: float = 30.0,
    radius_nm: float = 3.0,
    direction: Vector = (0.0, 0.0, 1.0),
    centre_nm: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A straight strut with round caps.

    Parameters
    ----------
    length_nm : float
        From the centre of one cap to that of the other.
    radius_nm : float
    direction : tuple of float
        (z, y, x), of any length.
    centre_nm : tuple of float
        (z, y, x) of the middle.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom
        Two nodes, one branch.

    Raises
    ------
    ValueError
        If a length is not positive, or the direction is none.
    """
    way = np.array(vector("direction", direction))
    if not way.any():
        raise ValueError("direction must be (z, y, x) other than (0, 0, 0).")
    half = 0.5 * length("length_nm", length_nm) * way / np.linalg.norm(way)
    ends = np.array([centre_nm - half, centre_nm + half])
    return network(ends, straight_struts(ends, [(0, 1)], [radius_nm]), voxel_size_nm=voxel_size_nm)


def helix(
    *,
    helix_radius_nm: float = 16.0,
    pitch_nm: float = 20.0,
    n_turns: float = 2.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A strut along a helix about z.

    Parameters
    ----------
    helix_radius_nm, pitch_nm : float
        Of the centre line: its distance from the axis, and its rise in one turn.
    n_turns : float
    radius_nm : float
        Of the strut.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom
        Two nodes, one branch.

    Raises
    ------
    ValueError
        If a length or the number of turns is not positive.
    """
    step = _SEGMENT * float(_sampling.voxel_edges(voxel_size_nm).min())
    turn = math.hypot(2 * math.pi * length("helix_radius_nm", helix_radius_nm), length("pitch_nm", pitch_nm))
    if not (math.isfinite(n_turns) and n_turns > 0):
        raise ValueError(f"n_turns must be a positive number, got {n_turns:g}.")
    t = np.linspace(-0.5 * n_turns, 0.5 * n_turns, math.ceil(n_turns * turn / step) + 1)
    angle = 2 * math.pi * t
    line = np.stack([pitch_nm * t, helix_radius_nm * np.sin(angle), helix_radius_nm * np.cos(angle)], axis=1)
    line = line @ rotation_zyx(vector("rotation_deg", rotation_deg)).T
    return network(line[[0, -1]], [Strut(0, 1, line, radius_nm)], voxel_size_nm=voxel_size_nm)


def ring(
    *,
    ring_radius_nm: float = 16.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A closed strut around z.

    Parameters
    ----------
    ring_radius_nm : float
        Of the centre line.
    radius_nm : float
        Of the strut, less than that of the ring.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom
        One branch, from its only node to the same.

    Raises
    ------
    ValueError
        If a length is not positive, or the strut leaves no hole.
    """
    if not length("radius_nm", radius_nm) < length("ring_radius_nm", ring_radius_nm):
        raise ValueError(
            f"radius_nm must be less than ring_radius_nm ({ring_radius_nm:g} nm), got {radius_nm:g} nm."
        )
    step = _SEGMENT * float(_sampling.voxel_edges(voxel_size_nm).min())
    angle = np.linspace(0.0, 2 * math.pi, math.ceil(2 * math.pi * ring_radius_nm / step) + 1)
    line = ring_radius_nm * np.stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)], axis=1)
    line = line @ rotation_zyx(vector("rotation_deg", rotation_deg)).T
    return network(line[:1], [Strut(0, 0, line, radius_nm)], voxel_size_nm=voxel_size_nm)
