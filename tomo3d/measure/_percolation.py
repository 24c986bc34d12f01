"""What of a phase is joined: open and closed porosity, percolation, and what a ball can enter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from tomo3d import tables
from tomo3d.compute.widest_way import crossing_diameters, widest_ball
from tomo3d.measure.bootstrap import blocks_of, resample
from tomo3d.measure.phase import (
    AXES,
    at_faces,
    check_axes,
    check_connectivity,
    check_faces,
    independent_edges,
    is_one_of,
    phase_voxels,
)
from tomo3d.types import Labels, Volume

if TYPE_CHECKING:
    import pandas as pd


def porosity(
    labels: Labels, *, phase: int | str = 0, faces: str = "all", connectivity: int = 6, seed: int = 0
) -> pd.DataFrame:
    """Share of the volume that a phase takes, and how much of it is open to faces of the volume or closed.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        The pore, by number or name.
    faces : str
        Faces that count as outside: "all", or some of z-, z+, y-, y+, x-, x+ with commas ("z" is both).
    connectivity : int
        Neighbours of a voxel that count as joined: 6 (faces) or 26 (edges and corners too).
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`: porosity, porosity_open and porosity_closed, shares of the volume, and
        open_share of the phase, each with the number of voxels.

    Raises
    ------
    ValueError
        If the phase has no voxel, no class has its name, a face is unknown, or `connectivity` is not 6 or 26.

    Notes
    -----
    What the border cuts may be open outside of it: closed porosity is an upper bound where `faces` leaves some out, and
    a lower bound where it has all. Intervals by block bootstrap as in `volume_fractions`: the components are those
    of the whole volume, not of the blocks.
    """
    structure = check_connectivity(connectivity)
    outside = check_faces(faces)
    inside = phase_voxels(labels, phase)
    components, n_components = ndimage.label(inside, structure=structure)
    is_open = is_one_of(components, at_faces(components, outside), n_components)
    blocks = blocks_of(inside.shape, independent_edges(inside))
    counts = np.array(
        [
            np.bincount(
                blocks.of_column.ravel(), weights=flags.sum(axis=0).ravel(), minlength=blocks.n_blocks
            )
            for flags in (inside, is_open)
        ]
    )

    def shares(weights: np.ndarray) -> np.ndarray:
        whole, opened = counts @ weights
        n = float(weights @ blocks.n_voxels)
        return np.array([whole / n, opened / n, (whole - opened) / n, opened / whole if whole else np.nan])

    values = shares(np.ones(blocks.n_blocks))
    (low, high), interval = resample(shares, blocks, labels.voxel_size_nm, seed)
    n_inside, n_open = (int(n) for n in counts.sum(axis=1))
    sizes = {
        "porosity": inside.size,
        "porosity_open": n_open,
        "porosity_closed": n_inside - n_open,
        "open_share": n_inside,
    }
    return tables.summary(
        {
            "quantity": name,
            "value": values[i],
            "low": low[i],
            "high": high[i],
            "unit": "",
            "n": n,
            "interval": interval,
        }
        for i, (name, n) in enumerate(sizes.items())
    )


def percolation(
    labels: Labels, *, phase: int | str, axes: str = "zyx", connectivity: int = 6
) -> pd.DataFrame:
    """Whether a phase joins opposite faces, how much of it does, and the largest ball that crosses.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        Class, by number or name.
    axes : str
        Axes, as "zyx" or "z".
    connectivity : int
        Neighbours of a voxel that count as joined: 6 (faces) or 26 (edges and corners too); also for
        the centre of the ball.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.PERCOLATION`, one for each axis.

    Raises
    ------
    ValueError
        If the phase has no voxel, no class has its name, an axis is unknown, or `connectivity` is not 6 or 26.

    Notes
    -----
    The ball moves from voxel to voxel; its radius is the distance to the nearest voxel centre outside the phase, and
    half the smallest voxel edge is taken off its diameter: a straight slot of n voxels reads n - 0.5 or n + 0.5.
    Beyond the volume counts as phase; a phase without any wall has the diameter inf.
    """
    import pandas as pd

    structure = check_connectivity(connectivity)
    chosen = check_axes(axes)
    inside = phase_voxels(labels, phase)
    components, n_components = ndimage.label(inside, structure=structure)
    sizes = np.bincount(components.ravel(), minlength=n_components + 1)
    sizes[0] = 0
    n_inside = int(sizes.sum())
    widest = crossing_diameters(inside, labels.voxel_size_nm, chosen, connectivity)
    rows = []
    for axis, diameter_nm in zip(chosen, widest, strict=True):
        both = np.intersect1d(at_faces(components, [(axis, 0)]), at_faces(components, [(axis, -1)]))
        rows.append(
            {
                "axis": AXES[axis],
                "percolates": len(both) > 0,
                "percolating_fraction": float(sizes[both].sum() / n_inside),
                "largest_component_fraction": float(sizes.max() / n_inside),
                "n_components": n_components,
                "diameter_nm": max(0.0, diameter_nm - 0.5 * min(labels.voxel_size_nm)),
                "connectivity": connectivity,
            }
        )
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.PERCOLATION)), tables.PERCOLATION)


def porosimetry(
    labels: Labels, *, phase: int | str = 0, faces: str = "all", connectivity: int = 26
) -> Volume:
    """Diameter of the widest ball that reaches each point of a phase from faces of the volume, as mercury does.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    phase : int or str
        The pore, by number or name.
    faces : str
        Faces that the ball enters by: "all", or some of z-, z+, y-, y+, x-, x+ with commas ("z" is both).
    connectivity : int
        Neighbours of a voxel that the centre of the ball moves to: 6 (faces) or 26 (edges and corners too).

    Returns
    -------
    Volume, same grid, float32
        Diameter in nm; 0 outside the phase and where no ball comes. `size_distribution` makes its curve: the volume
        that is entered at each diameter, which mercury intrusion measures.

    Raises
    ------
    ValueError
        If the phase has no voxel or fills the volume, no class has its name, a face is unknown, or `connectivity`
        is not 6 or 26.

    Notes
    -----
    Intrusion by Hilpert and Miller [1]_: a ball of diameter d enters what is joined to the faces among the places of
    its centre. Here for all diameters at once: the way to each centre is the widest one, found by flooding in order
    of falling distance, and balls of that width are painted. Definition on the grid, as in `local_thickness_voxel`,
    which is never smaller: their difference is what stands behind necks.

    References
    ----------
    .. [1] Adv. Water Resour. 24 (2001) 243-255, doi:10.1016/S0309-1708(00)00056-7
    """
    check_connectivity(connectivity)
    outside = check_faces(faces)
    inside = phase_voxels(labels, phase)
    diameter_nm = widest_ball(inside, labels.voxel_size_nm, outside, connectivity)
    record = {
        "method": "porosimetry",
        "phase": phase,
        "faces": faces,
        "connectivity": connectivity,
        "input": dict(labels.record),
    }
    return Volume(diameter_nm, labels.voxel_size_nm, labels.origin_nm, record)
