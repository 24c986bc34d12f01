"""Surfaces between voxels: of grey values at a level, of masks, and between two classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d.compute.placed_surface import PlacedSurface, interface_field, placed_surface
from tomo3d.compute.wedge import checked_tilt_range, normal_tilt_deg, recorded_tilt_range, wedge_depth_deg
from tomo3d.measure.structure import field_of, grid_of
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Labels, Surface, Volume


def _plan(structure: Sketch, **_: Any) -> Plan:
    # smoothed values and their working copy, flags, and about two vertices and four faces on each voxel of a surface
    # that a tenth of the voxels touch
    return Plan(Sketch("Surface"), 40 * math.prod(structure.shape))


@planned(_plan)
def surface_mesh(
    structure: Volume | Labels,
    *,
    level: float | None = None,
    smoothing_nm: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    close_border: bool = False,
) -> Surface:
    """Surface of a structure, placed between voxels, with its normals and which of them no view saw.

    Parameters
    ----------
    structure : Volume or Labels, shape (n_z, n_y, n_x)
        Grey values, with `level`; or a mask, every non-zero voxel of which belongs to the structure: labels, or
        a volume of integers (as files give them) without a level.
    level : float, optional
        Grey value of the surface of the structure, which is brighter.
    smoothing_nm : float, optional
        Standard deviation of a Gaussian that takes noise, or the steps of a mask, off the surface. Default: none for
        grey values; for a mask 1.25 voxels along each axis.
    tilt_range_deg : tuple of float, optional
        Least and largest tilt angle about y, for `normal_in_wedge`. Default: what the record of the structure says.
    close_border : bool
        True: the structure is closed where it meets the border of the volume. False: the surface ends there.

    Returns
    -------
    Surface
        Triangles, their outside where the structure is not, without cracks: every edge has two faces but at the border,
        where open edges end half a voxel beyond the centres of the outermost voxels. On the vertices: `normal`
        (z, y, x), outward; `normal_tilt_deg`, the tilt at which a view sees the surface edge-on (-90 to 90; nan
        along y); `touches_border`; and with a tilt range `wedge_depth_deg`, the angle from the normal to the border of
        the missing wedge, positive inside it, and `normal_in_wedge`.

    Raises
    ------
    ValueError
        If a mask is empty or fills the volume; if `level` is missing for grey values, given for labels, or outside of
        the grey values; if a grey value is not finite; if an option is out of its range; or if nothing is left of the
        structure after smoothing.

    Notes
    -----
    Marching cubes [1]_ with linear interpolation; where a face of a cell is crossed four times, voxels inside
    that share only an edge are apart. Voxels, interpolation and smoothing move a curved surface to its hollow side, by
    half their variance times the curvature: each vertex is put back along its normal, by at most half a voxel.
    Normals: Gaussian derivatives of 1.5 voxels (2 for masks).

    Error of the area of balls, shells and tori, from a radius of 5 voxels up: 1 % from grey values, 1.5 % from masks
    (2 % where voxels are twice as long along one axis); of their volume 0.5 and 1.5 %. Sharp rims are rounded:
    oblique cubes with edges of 20 voxels lose up to 3 % of their area from grey values, 7 % from a mask (`surface_area`
    has an estimator that keeps them). Parts of a
    mask that are one voxel thick are lost to its Gaussian, and a warning says how much was; use grey values, or
    less smoothing, for them.

    References
    ----------
    .. [1] Lorensen and Cline, Computer Graphics 21 (1987) 163-169, doi:10.1145/37402.37422
    """
    found = placed_surface(field_of(structure, level, smoothing_nm), is_closed=close_border)
    check_found(found)
    return as_surface(found, tilt_range_of(structure, tilt_range_deg))


@planned(_plan)
def interface_mesh(
    labels: Labels,
    *,
    first: int,
    second: int,
    smoothing_nm: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
) -> Surface:
    """Surface that two classes share, placed between voxels, with normals from the first into the second.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    first, second : int
        The two classes; 0 is the background.
    smoothing_nm : float, optional
        Standard deviation of the Gaussian that takes the steps of voxels off. Default: 1.25 voxels along each axis.
    tilt_range_deg : tuple of float, optional
        As in `surface_mesh`.

    Returns
    -------
    Surface
        As of `surface_mesh`; it ends, with open edges, at the border of the volume and at lines where a third class
        begins.

    Raises
    ------
    ValueError
        If the classes are the same, one has no voxel, they share no boundary or none that is left after smoothing,
        or an option is out of its range.

    Notes
    -----
    Classes are smoothed, and the interface is where the two have equal shares. It ends where a third, smoothed by half
    a voxel, outweighs both together: where two classes meet in front of a flat third, at the right place. A class
    that is one voxel thick still parts its neighbours, but its own interfaces are drawn in. Whether an interface is
    real, or the blurred edge of a brighter phase, labels do not tell: look at the profile along the normal.
    """
    data = np.asarray(labels.data)
    if first == second:
        raise ValueError(f"first and second must be two classes, got {first} for both.")
    for name, number in (("first", first), ("second", second)):
        if not (data == number).any():
            raise ValueError(f"{name} must have at least one voxel, got none of class {number}.")
    if smoothing_nm is not None and not (math.isfinite(smoothing_nm) and smoothing_nm >= 0):
        raise ValueError(f"smoothing_nm must be zero or a positive length, got {smoothing_nm:g} nm.")
    found = placed_surface(interface_field(grid_of(labels), data, first, second, smoothing_nm))
    if not len(found.faces):
        if (ndimage.binary_dilation(data == first, np.ones((3, 3, 3))) & (data == second)).any():
            raise ValueError(
                f"the interface of classes {first} and {second} must be wider than the smoothing, got one that it "
                "takes away whole. Smooth less (smoothing_nm)."
            )
        raise ValueError(f"first and second must touch somewhere, got classes {first} and {second} apart.")
    return as_surface(found, tilt_range_of(labels, tilt_range_deg))


def tilt_range_of(
    structure: Volume | Labels, tilt_range_deg: tuple[float, float] | None
) -> tuple[float, float] | None:
    """The range of tilts that was given, or that the record says."""
    if tilt_range_deg is not None:
        return checked_tilt_range(tilt_range_deg)
    return recorded_tilt_range(structure.record)


def check_found(found: PlacedSurface) -> None:
    """Raise ValueError if a structure has no surface at all."""
    if not len(found.faces):
        raise ValueError(
            "the structure must have a surface in the volume, got none: what is as thin as its smoothing, or lies "
            "within half a voxel of the border, is lost. Smooth less (smoothing_nm)."
        )


def as_surface(found: PlacedSurface, tilt_range_deg: tuple[float, float] | None) -> Surface:
    """The surface with what is known of its normals."""
    values = {
        "normal": found.normals,
        "normal_tilt_deg": normal_tilt_deg(found.normals),
        "touches_border": found.touches_border,
    }
    if tilt_range_deg is not None:
        depth = wedge_depth_deg(found.normals, tilt_range_deg)
        values |= {"wedge_depth_deg": depth, "normal_in_wedge": depth > 0}
    return Surface(found.vertices, found.faces, values)
