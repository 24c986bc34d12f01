"""Projection of a volume: the views that a tilt series of it would hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.projector import SLAB, Projector
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.types import TiltSeries, Volume


def _plan(
    volume: Sketch,
    tilt_angles_deg: Sequence[float] | np.ndarray,
    *,
    n_x: int | None = None,
    supersampling: int = 1,
) -> Plan:
    n_z, n_y, volume_n_x = volume.shape
    shape = (len(tilt_angles_deg), n_y, n_x or volume_n_x)
    series = Sketch("TiltSeries", shape, "float32", volume.pixel_size_nm)
    # a slab with its voxels split, while they are: along x, then along z too; and its fine views, with their mean
    voxels = n_z * volume_n_x * (1 + supersampling + supersampling**2)
    pixels = shape[0] * shape[2] * (supersampling + 1)
    return Plan(series, series.n_bytes + 4 * min(SLAB, n_y) * (voxels + pixels))


@planned(_plan)
def project(
    volume: Volume,
    tilt_angles_deg: Sequence[float] | np.ndarray,
    *,
    n_x: int | None = None,
    supersampling: int = 1,
) -> TiltSeries:
    """Project a volume: line integrals of its density along the beam, at each tilt angle.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Density in grey value per nm, on cubic voxels. The tilt axis is y, through the centre of the grid
        (whatever its `origin_nm`).
    tilt_angles_deg : sequence of float
        In any order.
    n_x : int, optional
        Columns of the views, about the same centre. Default: those of the volume. What lands beside
        them is not seen.
    supersampling : int
        Each voxel is cut into this many parts along x and z, and each pixel is the mean of so many. 1 is the
        projector that the reconstructions invert.

    Returns
    -------
    TiltSeries, shape (n_tilts, n_y, n_x), float32
        Density x path in nm, aligned, the pixel being the voxel.

    Raises
    ------
    ValueError
        If the voxels are not cubic, a voxel is not finite, there is no tilt angle or one is not finite, or a number
        is under 1.

    Notes
    -----
    A voxel at (z, x) lands at u = x cos t + z sin t and is shared between the two pixels nearest to it.
    The error on a smooth body lies at its edge, where the path rises as the root of the distance, and is
    of first order: at `supersampling` 2 the relative L2 error of an ellipsoid is at most 0.14 voxel / mean radius.
    Voxels form a lattice, though, whose rows land on each other at 45 deg (and, less, where tan t is
    another whole number): there a ripple of 6.8 % from pixel to pixel stays at any resolution; 1.9 % at
    `supersampling` 2, 0.4 % at 5.
    """
    angles_deg = np.array(tilt_angles_deg, dtype=np.float64)
    if angles_deg.ndim != 1 or not angles_deg.size or not np.isfinite(angles_deg).all():
        raise ValueError(
            f"tilt_angles_deg must be a list of at least one finite angle in degrees, got {tilt_angles_deg}."
        )
    n_z, n_y, volume_n_x = (int(n) for n in volume.data.shape)
    n_columns = volume_n_x if n_x is None else n_x
    for name, number in (("n_x", n_columns), ("supersampling", supersampling)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}.")
    voxel_nm = volume.voxel_size_nm[2]
    if not np.allclose(volume.voxel_size_nm, voxel_nm, rtol=1e-4):  # as far as a file header can tell
        sizes = " x ".join(f"{size:g}" for size in volume.voxel_size_nm)
        raise ValueError(f"a volume to be projected must have cubic voxels, got {sizes} nm.")
    s = supersampling
    projector = Projector(angles_deg, n_u=n_columns * s, n_x=volume_n_x * s, n_z=n_z * s)
    images = backend.namespace(volume.data).empty((len(angles_deg), n_y, n_columns), dtype=np.float32)
    for y in track(range(0, n_y, SLAB), "projection", -(-n_y // SLAB)):
        images[:, y : y + SLAB] = _slab_images(volume.data[:, y : y + SLAB], projector, s)
    images *= np.float32(voxel_nm / s)
    facts = ("images", "tilt_angles_deg", "pixel_size_nm", "tilt_axis_deg")
    return TiltSeries(
        images, angles_deg, voxel_nm, sources=dict.fromkeys(facts, "tomo3d.reconstruct.project")
    )


def _slab_images(data: Any, projector: Projector, s: int) -> Any:
    """Views (n_views, n_y, n_x) of a slab (n_z, n_y, n_x), in the s-th parts of its voxels."""
    xp = backend.namespace(data)
    slab = xp.ascontiguousarray(data.transpose(0, 2, 1), dtype=np.float32)
    if not bool(xp.isfinite(slab).all()):
        raise ValueError("every voxel must be finite, got NaN or infinity: set it to a density first.")
    fine = xp.repeat(xp.repeat(slab, s, axis=1), s, axis=0) if s > 1 else slab
    views = projector.forward_inner(fine)[: projector.n_views, projector.inside]
    n_views, n_u, n_y = views.shape
    return views.reshape(n_views, n_u // s, s, n_y).mean(axis=2).transpose(0, 2, 1)
