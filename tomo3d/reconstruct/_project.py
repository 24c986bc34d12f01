"""Projection of a volume: the views that a tilt series of it would hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.inner_order import to_inner, to_public
from tomo3d.compute.kernels.projection import PAD
from tomo3d.compute.projector import SLAB, Projector
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.types import Alignment, TiltSeries, Volume


def _plan(
    volume: Sketch,
    tilt_angles_deg: Sequence[float] | np.ndarray,
    *,
    n_x: int | None = None,
    supersampling: int = 1,
    alignment: Alignment | Sketch | None = None,
) -> Plan:
    n_z, n_y, volume_n_x = volume.shape
    n_columns = n_x or volume_n_x
    shape = (len(tilt_angles_deg), n_y, n_columns)
    if isinstance(alignment, Alignment):
        shape = (shape[0], *_raw_shape((n_y, n_columns), alignment))
    series = Sketch("TiltSeries", shape, "float32", volume.pixel_size_nm)
    s = supersampling
    if (
        alignment is None
    ):  # slices are independent: a slab of them, its voxels split, and its fine views twice
        rows = shape[0] * (shape[2] * (2 * s + 1) + PAD)
        working = min(SLAB, n_y) * (n_z * volume_n_x * (1 + s + s**2) + rows)
    else:  # a few planes with their voxels split, and all the fine views: so far, of these planes, and in their plane
        planes = min(max(1, SLAB // s), n_z) * n_y * volume_n_x
        working = planes * (1 + s + s**2 + 2 * s**3) + 3 * shape[0] * shape[1] * shape[2] * s**2
    return Plan(series, series.n_bytes + 4 * working)


@planned(_plan)
def project(
    volume: Volume,
    tilt_angles_deg: Sequence[float] | np.ndarray,
    *,
    n_x: int | None = None,
    supersampling: int = 1,
    alignment: Alignment | None = None,
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
    alignment : Alignment, optional
        The raw views are made that it aligns: turned, magnified, shifted. It has one row per tilt angle; its own
        tilt angles do not count. Default: aligned views.

    Returns
    -------
    TiltSeries, shape (n_tilts, n_y, n_x), float32
        Density x path in nm, the pixel being the voxel. Raw views swap n_y and n_x if the axis is nearer 90 than
        0 deg.

    Raises
    ------
    ValueError
        If the voxels are not cubic, a voxel is not finite, there is no tilt angle or one is not finite, a number
        is under 1, or the alignment has another number of views.

    Notes
    -----
    A voxel at (z, x) lands at u = x cos t + z sin t and is shared between the two pixels nearest to it. Views that the
    alignment turns, magnifies or shifts along y are interpolated from such views, by cubics; with an x-axis tilt
    a voxel is shared among four pixels instead.
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
    n_columns = int(volume.data.shape[2]) if n_x is None else n_x
    for name, number in (("n_x", n_columns), ("supersampling", supersampling)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}.")
    if alignment is not None and alignment.n_tilts != len(angles_deg):
        raise ValueError(
            f"the alignment must have one row per tilt angle ({len(angles_deg)}), got {alignment.n_tilts} rows."
        )
    voxel_nm = volume.voxel_size_nm[2]
    if not np.allclose(volume.voxel_size_nm, voxel_nm, rtol=1e-4):  # as far as a file header can tell
        sizes = " x ".join(f"{size:g}" for size in volume.voxel_size_nm)
        raise ValueError(f"a volume to be projected must have cubic voxels, got {sizes} nm.")
    s = supersampling
    projector = _fine_projector(volume, angles_deg, n_columns, s, alignment)
    images = (_by_slices if projector.is_separable else _by_planes)(volume.data, projector, s)
    images *= np.float32(voxel_nm / s)
    axis_deg = 0.0
    if alignment is not None:
        axis_deg = geometry.mean_axis_deg(alignment.tilt_axis_deg)
    facts = ("images", "tilt_angles_deg", "pixel_size_nm", "tilt_axis_deg")
    sources = dict.fromkeys(facts, "tomo3d.reconstruct.project")
    return TiltSeries(images, angles_deg, voxel_nm, axis_deg, sources=sources)


def _raw_shape(aligned_shape: tuple[int, int], alignment: Alignment) -> tuple[int, int]:
    """(n_y, n_x) of the raw views of aligned ones."""
    return geometry.aligned_shape(aligned_shape, geometry.mean_axis_deg(alignment.tilt_axis_deg))


def _fine_projector(
    volume: Volume, angles_deg: np.ndarray, n_columns: int, s: int, alignment: Alignment | None
) -> Projector:
    """The projector of the s-th parts of the voxels onto the s-th parts of the pixels."""
    n_z, n_y, n_x = (int(n) * s for n in volume.data.shape)
    if alignment is None:
        return Projector(angles_deg, n_u=n_columns * s, n_x=n_x, n_z=n_z)
    matrices, _ = geometry.alignment_matrices(alignment, 1.0, (1, 1), (1, 1))  # aligned to raw
    moves = s / volume.voxel_size_nm[2] * np.einsum("kij,kj->ki", matrices, alignment.shifts_nm)
    n_v, n_u = _raw_shape((n_y, n_columns * s), alignment)
    return Projector(
        angles_deg,
        n_u=n_u,
        n_x=n_x,
        n_z=n_z,
        shifts=-moves,
        rotations_deg=alignment.tilt_axis_deg,
        magnifications=alignment.magnification,
        distortions=geometry.undistortions_yx(alignment),
        z_shears=alignment.z_shear,
        x_tilt_deg=alignment.x_axis_tilt_deg or 0.0,
        n_y=n_y,
        n_v=n_v,
        local_shifts=_on_detector(alignment, volume.voxel_size_nm[2] / s),
    )


def _on_detector(alignment: Alignment, pixel_nm: float) -> np.ndarray | None:
    """What the projector moves on the detector, that local shifts then move back."""
    return None if alignment.local_shifts_nm is None else -alignment.local_shifts_nm / pixel_nm


def _by_slices(data: Any, projector: Projector, s: int) -> Any:
    """Sums over the fine voxels along the beam, (n_views, n_y, n_x), a slab of slices at a time."""
    n_y = int(data.shape[1])
    shape = (projector.n_views, n_y, projector.n_u // s)
    images = backend.namespace(data).empty(shape, dtype=np.float32)
    projector = dataclasses.replace(projector, n_y=None, n_v=None)  # slices are whole: v is y
    for y in track(range(0, n_y, SLAB), "projection", -(-n_y // SLAB)):
        fine = _split(_finite(to_inner(data[:, y : y + SLAB])), s, axes=(0, 1))
        views = projector.forward_inner(fine)[: projector.n_views, projector.inside]
        to_public(_means(views, s, axes=(1,)), images[:, y : y + SLAB])
    return images


def _by_planes(data: Any, projector: Projector, s: int) -> Any:
    """The same where slices mix, some planes at a time."""
    n_z = int(data.shape[0])
    depth = max(1, SLAB // s)
    total: Any = None
    for z in track(range(0, n_z, depth), "projection", -(-n_z // depth)):
        planes = data[z : z + depth]
        fine = _split(_finite(to_inner(planes)), s, axes=(0, 1, 2))
        middle = s * (z + geometry.centre(len(planes)) - geometry.centre(n_z))
        part = dataclasses.replace(projector, n_z=len(fine), specimen_offset=(middle, 0.0, 0.0))
        views = part.forward_inner(fine)[: part.n_views, part.inside]
        del fine
        if total is None:
            total = views
        else:
            total += views
        del views
    coarse = _means(total, s, axes=(1, 2))
    images = backend.namespace(data).empty(coarse.transpose(0, 2, 1).shape, dtype=np.float32)
    to_public(coarse, images)
    return images


def _finite(slab: Any) -> Any:
    if not bool(backend.namespace(slab).isfinite(slab).all()):
        raise ValueError("every voxel must be finite, got NaN or infinity: set it to a density first.")
    return slab


def _split(slab: Any, s: int, axes: tuple[int, ...]) -> Any:
    """Each voxel cut into s along the axes."""
    for axis in axes if s > 1 else ():
        slab = backend.namespace(slab).repeat(slab, s, axis=axis)
    return slab


def _means(views: Any, s: int, axes: tuple[int, ...]) -> Any:
    """Means over s neighbours along the axes."""
    for axis in axes:
        shape = (*views.shape[:axis], views.shape[axis] // s, s, *views.shape[axis + 1 :])
        views = views.reshape(shape).mean(axis=axis + 1)
    return views
