"""Resolution along x, y and z: Fourier shell correlation in cones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.compute import fourier_shell
from tomo3d.compute.fourier_shell import Cone
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.quality._pair import pair, resolution_nm
from tomo3d.types import Labels, Volume

if TYPE_CHECKING:
    import pandas as pd

_AXES = {"x": 2, "y": 1, "z": 0}


@dataclass(frozen=True, eq=False)
class DirectionalResolution:
    """Resolution along each axis, and the curves that show it."""

    resolution: pd.DataFrame  # tables.DIRECTIONS
    curves: pd.DataFrame  # tables.DIRECTIONAL_SHELLS


def _plan(
    first: Sketch,
    second: Sketch,
    *,
    half_angle_deg: float = 45.0,
    mask: Sketch | None = None,
    soft_edge_nm: float | None = None,
) -> Plan:
    results = {name: Sketch("DataFrame") for name in ("resolution", "curves")}
    return Plan(results, (12 if mask is None else 16) * math.prod(first.shape))


@planned(_plan)
def directional_resolution(
    first: Volume,
    second: Volume,
    *,
    half_angle_deg: float = 45.0,
    mask: Labels | None = None,
    soft_edge_nm: float | None = None,
) -> DirectionalResolution:
    """Resolution along x, y and z: Fourier shell correlation within a cone around each axis.

    Parameters
    ----------
    first, second : Volume, shape (n_z, n_y, n_x)
        Two independent volumes of one structure on one grid, as `half_volumes` makes them.
    half_angle_deg : float
        Frequencies up to this angle from the axis count. 45 deg are the widest cones that share no more than
        their border. A cone
        about z that is narrower than 90 deg less the largest tilt lies wholly in the missing wedge.
    mask : Labels, same grid, optional
        Structure to compare: every non-zero voxel. Default: the whole grid.
    soft_edge_nm : float, optional
        Width over which the mask falls to zero beyond its voxels; 0 is a hard edge. Default: four voxels.

    Returns
    -------
    DirectionalResolution
        Table (`tomo3d.tables.DIRECTIONS`) of the periods in nm at which the correlation along x, y and z first falls
        below 0.143 and 0.5: inf if it starts below, nan if it never falls below (first shells of fewer than 50 voxels
        do not count); and the curves
        (`DIRECTIONAL_SHELLS`), each up to the Nyquist frequency of its axis, in shells of one over its edge.

    Raises
    ------
    ValueError
        If the angle is not above 0 and at most 90 deg, the grids differ, a voxel is not finite, a volume is
        constant, the mask is empty or its edge negative.
    TypeError
        If one array is on the GPU and another is not.

    Notes
    -----
    Conical Fourier shell correlation [1]_. What a mask adds is not taken off here: use a wide soft edge.

    References
    ----------
    .. [1] C. A. Diebolder et al., Conical Fourier shell correlation applied to electron tomograms,
       J. Struct. Biol. 190 (2015) 215-223
    """
    import pandas as pd

    if not 0.0 < half_angle_deg <= 90.0:
        raise ValueError(f"half_angle_deg must be above 0 and at most 90 deg, got {half_angle_deg:g} deg.")
    both = pair(first, second, mask, soft_edge_nm)
    transforms = both.transforms(masked=True)
    rows, curves = [], []
    for direction, axis in _AXES.items():
        width = 1.0 / both.extent_nm(axis)
        n_shells = fourier_shell.n_complete_shells(0.5 / both.voxel_nm[axis], width)
        if n_shells == 0:
            raise ValueError(
                f"the grid must have at least 2 voxels along {direction}, got {both.shape[axis]}."
            )
        cone = Cone(axis, half_angle_deg)
        shells = fourier_shell.correlate(
            *transforms, both.shape, both.voxel_nm, width=width, n_shells=n_shells, cone=cone
        )
        columns = {
            "direction": direction,
            "shell": np.arange(1, n_shells + 1),
            "frequency_per_nm": shells.frequency,
            "correlation": shells.correlation,
            "n_voxels": shells.n_voxels,
        }
        curves.append(pd.DataFrame(columns))
        at = [resolution_nm(curves[-1], threshold) for threshold in (0.143, 0.5)]
        rows.append((direction, float(half_angle_deg), *at))
    resolution = pd.DataFrame(rows, columns=tables.names(tables.DIRECTIONS))
    return DirectionalResolution(
        tables.check(resolution, tables.DIRECTIONS),
        tables.check(pd.concat(curves, ignore_index=True), tables.DIRECTIONAL_SHELLS),
    )
