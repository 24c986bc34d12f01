"""Curvature of surfaces, and its integrals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import tables
from tomo3d.compute import triangles
from tomo3d.compute.implicit import Bend
from tomo3d.compute.placed_surface import bend_of, placed_surface
from tomo3d.measure._surface_mesh import as_surface, check_found, tilt_range_of
from tomo3d.measure.structure import field_of, is_mask
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Labels, Surface, Volume

if TYPE_CHECKING:
    import pandas as pd

_GREY_SIGMA, _MASK_SIGMA = 1.5, 3.0  # voxels
_LEAST_SIGMA = {False: 1.0, True: 1.5}  # of the longest voxel edge, by whether it is a mask
_IMPLICIT = "Gaussian derivatives"
_DEFICITS = "angle deficits of the mesh"


def _plan(structure: Sketch, **_: Any) -> Plan:
    return Plan(
        Sketch("Surface"), 45 * math.prod(structure.shape)
    )  # as `surface_mesh`, and five values a vertex


@planned(_plan)
def curvature(
    structure: Volume | Labels,
    *,
    level: float | None = None,
    curvature_sigma_nm: float | None = None,
    smoothing_nm: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
) -> Surface:
    """Mean, Gaussian and principal curvatures of the surface of a structure, and its shape index.

    Parameters
    ----------
    structure : Volume or Labels, shape (n_z, n_y, n_x)
        Grey values, with `level`; or a mask.
    level : float, optional
        Grey value of the surface of the structure, which is brighter.
    curvature_sigma_nm : float, optional
        Standard deviation of the Gaussian whose derivatives give the curvature: bends much tighter than it are
        rounded. Default: 1.5 voxels for grey values, 3 for a mask (the edge of a cube of the same volume; at
        least 1 and 1.5 times the longest edge).
    smoothing_nm, tilt_range_deg
        As in `surface_mesh`.

    Returns
    -------
    Surface
        That of `surface_mesh`, with more on its vertices: `mean_curvature_per_nm`, `gaussian_curvature_per_nm2`,
        `largest_curvature_per_nm`, `least_curvature_per_nm`, positive where the structure is convex (1 / r on a ball
        of radius r); and `shape_index`, from -1 (a pit) over -0.5 (a groove), 0 (a saddle) and 0.5 (a ridge) to 1 (a
        cap). nan where the values have no slope.

    Raises
    ------
    ValueError
        As `surface_mesh`; or if `curvature_sigma_nm` is below 0.6 times the longest voxel edge.

    Notes
    -----
    Of the surface of constant value through each vertex, from its gradient and its second derivatives [1]_, which a
    Gaussian centred on the vertex itself gives of the values as they are. R.m.s. error over r.m.s. value on balls
    and tori with radii of 8 voxels and more: 4 % from grey values, 10 % from masks; the same on balls where voxels are
    twice as long along one axis. Within three deviations of the border of the volume it is that of a surface
    that goes straight on.

    References
    ----------
    .. [1] Goldman, Computer Aided Geometric Design 22 (2005) 632-658, doi:10.1016/j.cagd.2005.06.005
    .. [2] Koenderink and van Doorn, Image and Vision Computing 10 (1992) 557-564,
       doi:10.1016/0262-8856(92)90076-F (shape index)
    """
    field = field_of(structure, level, smoothing_nm)
    edge = max(structure.voxel_size_nm)
    if curvature_sigma_nm is None:
        mask = is_mask(structure, level)
        sigma = field.grid.sigma(_MASK_SIGMA if mask else _GREY_SIGMA, _LEAST_SIGMA[mask])
    elif not (math.isfinite(curvature_sigma_nm) and curvature_sigma_nm >= 0.6 * edge):
        raise ValueError(
            f"curvature_sigma_nm must be at least 0.6 times the longest voxel edge ({0.6 * edge:g} nm), got "
            f"{curvature_sigma_nm:g} nm."
        )
    else:
        sigma = (curvature_sigma_nm,) * 3
    found = placed_surface(field)
    check_found(found)
    surface = as_surface(found, tilt_range_of(structure, tilt_range_deg))
    values = _values(bend_of(field, found.vertices, sigma))
    return Surface(surface.vertices_nm, surface.faces, {**surface.point_data, **values})


def _values(bend: Bend) -> dict[str, np.ndarray]:
    half = np.sqrt(np.maximum(bend.mean**2 - bend.gaussian, 0.0))
    with np.errstate(invalid="ignore"):
        shape = 2.0 / math.pi * np.arctan2(bend.mean, half)
    return {
        "mean_curvature_per_nm": bend.mean,
        "gaussian_curvature_per_nm2": bend.gaussian,
        "largest_curvature_per_nm": bend.mean + half,
        "least_curvature_per_nm": bend.mean - half,
        "shape_index": shape,
    }


def curvature_summary(surface: Surface) -> pd.DataFrame:
    """Means and spread of the curvatures over the area, and the integrals that topology fixes.

    Parameters
    ----------
    surface : Surface
        Of `curvature`.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SURFACE_SUMMARY`: mean, median, p05 and p95 of each curvature, every part of the area
        counting the same; `integrated_mean_curvature` and `integrated_gaussian_curvature`, each by the derivatives
        and by the mesh itself; `euler_characteristic` of the mesh; and `gauss_bonnet_deviation`, the
        integral of the Gaussian curvature less 2 pi times it, over 4 pi, by both: that of the mesh is exact.

    Raises
    ------
    ValueError
        If the surface has no triangles or no curvatures.

    Notes
    -----
    On an open surface the integral over the mesh includes the turn of its border, as the theorem of Gauss
    and Bonnet does; that by derivatives does not, and its deviation is then no error.
    """
    names = [name for name in surface.point_data if "curvature_per" in name or name == "shape_index"]
    if not names or not len(surface.faces):
        raise ValueError(
            "surface must have triangles and curvatures, as tomo3d.measure.curvature gives them, got "
            f"{len(surface.faces)} triangles with {', '.join(surface.point_data) or 'no values'}."
        )
    vertices, faces = np.asarray(surface.vertices_nm, dtype=np.float64), surface.faces
    areas = triangles.vertex_areas(vertices, faces)
    n = len(vertices)
    rows = []
    for name in names:
        quantity, _, unit = name.partition("_per_")
        unit = f"1/{unit.replace('nm2', 'nm^2')}" if unit else ""
        for statistic, value in _statistics(np.asarray(surface.point_data[name]), areas).items():
            rows.append((f"{quantity}_{statistic}", value, unit, _IMPLICIT))
    rows += _integrals(surface, vertices, areas)
    return tables.surface_summary(
        {"quantity": q, "value": v, "unit": u, "n": n, "estimator": e} for q, v, u, e in rows
    )


def _statistics(values: np.ndarray, areas: np.ndarray) -> dict[str, float]:
    known = np.isfinite(values) & (areas > 0)
    values, areas = values[known], areas[known]
    if not len(values):
        return dict.fromkeys(("mean", "median", "p05", "p95"), math.nan)
    order = np.argsort(values)
    below = np.cumsum(areas[order])
    quantiles = np.searchsorted(below, np.array([0.5, 0.05, 0.95]) * below[-1])
    median, low, high = values[order[np.minimum(quantiles, len(values) - 1)]]
    return {
        "mean": float(values @ areas / areas.sum()),
        "median": float(median),
        "p05": float(low),
        "p95": float(high),
    }


def _integrals(
    surface: Surface, vertices: np.ndarray, areas: np.ndarray
) -> list[tuple[str, float, str, str]]:
    faces = surface.faces
    edges = triangles.edges_of(faces)
    open_edge = triangles.is_on_open_edge(edges, len(vertices))
    euler = triangles.euler_characteristic(faces, edges)
    mean, gaussian = (
        float(np.nansum(surface.point_data[name] * areas)) if name in surface.point_data else math.nan
        for name in ("mean_curvature_per_nm", "gaussian_curvature_per_nm2")
    )
    deficit = math.fsum(triangles.angle_deficits(vertices, faces, open_edge))
    whole = 2.0 * math.pi * euler
    return [
        ("integrated_mean_curvature", mean, "nm", _IMPLICIT),
        (
            "integrated_mean_curvature",
            triangles.mean_curvature_integral(vertices, faces, edges),
            "nm",
            "turn of the mesh at its edges",
        ),
        ("integrated_gaussian_curvature", gaussian, "", _IMPLICIT),
        ("integrated_gaussian_curvature", deficit, "", _DEFICITS),
        ("euler_characteristic", float(euler), "", "vertices - edges + faces"),
        ("gauss_bonnet_deviation", (gaussian - whole) / (4.0 * math.pi), "", _IMPLICIT),
        ("gauss_bonnet_deviation", (deficit - whole) / (4.0 * math.pi), "", _DEFICITS),
    ]
