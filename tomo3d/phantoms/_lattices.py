"""Cubic and diamond lattices of struts."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tomo3d.phantoms._networks import NetworkPhantom, network, straight_struts
from tomo3d.phantoms._round_solids import rotation_zyx
from tomo3d.phantoms._solid import Vector, length, vector


def cubic_network(
    *,
    n_nodes: int = 3,
    spacing_nm: float = 24.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A simple cubic lattice of struts; 3 nodes along each edge make 27 nodes and 54 branches.

    Parameters
    ----------
    n_nodes : int
        Along each edge, 2 or more.
    spacing_nm : float
        From node to node.
    radius_nm : float
        Of the struts.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If there are fewer than 2 nodes along an edge, or a length is not positive.
    """
    if n_nodes < 2:
        raise ValueError(f"n_nodes must be 2 or more along each edge, got {n_nodes}.")
    places = np.array(list(itertools.product(range(n_nodes), repeat=3)))
    return _lattice(places, 1.0, length("spacing_nm", spacing_nm), radius_nm, rotation_deg, voxel_size_nm)


def diamond_network(
    *,
    n_cells: int = 1,
    strut_nm: float = 24.0,
    radius_nm: float = 3.0,
    rotation_deg: Vector = (0.0, 0.0, 0.0),
    voxel_size_nm: float | Vector = 1.0,
) -> NetworkPhantom:
    """A diamond lattice of struts: four meet at each inner node.

    Parameters
    ----------
    n_cells : int
        Cubic cells along each edge. Nodes at its outside with two struts are left out, with their struts: they would
        be no junctions.
    strut_nm : float
        Length of a strut, node to node.
    radius_nm : float
        Of the struts.
    rotation_deg : tuple of float
        Rotation vector (z, y, x): turned about this direction, by its length.
    voxel_size_nm : float or tuple of float
        One edge, or (z, y, x).

    Returns
    -------
    NetworkPhantom

    Raises
    ------
    ValueError
        If there is no cell, or a length is not positive.
    """
    if n_cells < 1:
        raise ValueError(f"n_cells must be 1 or more, got {n_cells}.")
    corners = ((0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0))
    cells = itertools.product(range(n_cells + 1), repeat=3)
    sites = {
        tuple(4 * c + o + shift for c, o in zip(cell, corner, strict=True))
        for cell in cells
        for corner in corners
        for shift in (0, 1)
    }
    places = np.array(sorted(site for site in sites if max(site) <= 4 * n_cells))
    unit = length("strut_nm", strut_nm) / math.sqrt(3.0)
    return _lattice(places, math.sqrt(3.0), unit, radius_nm, rotation_deg, voxel_size_nm)


def _lattice(
    places: np.ndarray,
    strut: float,
    unit_nm: float,
    radius_nm: float,
    rotation_deg: Vector,
    voxel_size_nm: float | Vector,
) -> NetworkPhantom:
    """Struts between all places that are `strut` units apart; places of degree 0 and 2 are left out."""
    while True:
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        pairs = np.argwhere(np.triu(np.abs(gaps - strut) < 1e-6))
        degree = np.bincount(pairs.ravel(), minlength=len(places))
        kept = (degree != 0) & (degree != 2)
        if kept.all():
            break
        places = places[kept]
    turn = rotation_zyx(vector("rotation_deg", rotation_deg))
    nodes = (places - 0.5 * (places.min(axis=0) + places.max(axis=0))) * unit_nm @ turn.T
    struts = straight_struts(nodes, pairs.tolist(), itertools.repeat(radius_nm, len(pairs)))
    return network(nodes, struts, voxel_size_nm=voxel_size_nm)
