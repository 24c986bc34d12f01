"""How well a reconstruction predicts a view that did not go into it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import geometry, tables
from tomo3d.compute import backend
from tomo3d.compute.bending import bends
from tomo3d.compute.projector import Projector
from tomo3d.compute.resampling import affine_images
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.quality._halves import Method, plan_of_method, reconstruct
from tomo3d.types import Alignment, Array, TiltSeries

if TYPE_CHECKING:
    import pandas as pd


def _plan(
    series: Sketch,
    method: Method,
    *,
    views: Sequence[int] | None = None,
    n_slices: int | None = None,
    least_path: float = 0.9,
    alignment: Sketch | None = None,
) -> Plan:
    n_views, n_y, n_x = series.shape
    rows = dataclasses.replace(series, shape=(n_views, min(n_slices or n_y, n_y), n_x))
    one = plan_of_method(method, rows, None)
    aligned = 0 if alignment is None else 2 * rows.n_bytes
    return Plan(Sketch("DataFrame"), one.peak_bytes + aligned)


@planned(_plan)
def leave_one_out(
    series: TiltSeries,
    method: Method,
    *,
    views: Sequence[int] | None = None,
    n_slices: int | None = None,
    least_path: float = 0.9,
    alignment: Alignment | None = None,
) -> pd.DataFrame:
    """Leave each view out, reconstruct from the others, and compare its projection with the view.

    Parameters
    ----------
    series : TiltSeries
        At least two views in use.
    method : callable
        From an aligned series to a Volume, as functools.partial(tomo3d.reconstruct.wbp, thickness_nm=100).
    views : sequence of int, optional
        Rows of the views to leave out, one at a time. Default: every view in use; each costs a reconstruction.
    n_slices : int, optional
        So many slices in the middle of the tilt axis are enough. Default: all.
    least_path : float
        Rays are compared whose path in the volume is at least this share of the longest at that tilt: at high tilt
        the others pass partly beside the volume, where a layer goes on. 0 takes all, for a specimen that
        ends within the volume.
    alignment : Alignment, optional
        How the views fit together. Default: the series is aligned.

    Returns
    -------
    DataFrame
        Columns of `tomo3d.tables.LEFT_OUT`, in order of tilt angle: `error`, the r.m.s. of prediction minus view over
        the r.m.s. of the view, and `correlation`, blind to scale and offset.

    Raises
    ------
    ValueError
        If fewer than two views are in use, a view to leave out is not in use, there is no slice, `least_path` is not
        from 0 to 1, the tilt axis is not y and no alignment is given, or the method makes a volume that does not fit
        the views.
    TypeError
        If the method returns something else than a Volume.

    Notes
    -----
    The leave-one-out test of Cardone et al. [1]_, in real space. Noise in the view itself is part of the error, which
    therefore has a floor; compare methods, parameters and alignments by it.
    The outermost views are extrapolated, not interpolated, and stand out.

    References
    ----------
    .. [1] G. Cardone, K. Gruenewald and A. C. Steven, A resolution criterion for electron tomography based on
       cross-validation, J. Struct. Biol. 151 (2005) 117-129
    """
    import pandas as pd

    if not 0.0 <= least_path <= 1.0:
        raise ValueError(f"least_path must be a share from 0 to 1, got {least_path:g}.")
    used = np.flatnonzero(series.used)
    left_out = _chosen(views, used)
    aligned = _aligned(series, used, n_slices, alignment)
    angles = aligned.tilt_angles_deg
    order = left_out[np.argsort(angles[left_out], kind="stable")]
    rows = []
    for view in track(order, "leaving views out", len(order)):
        made = reconstruct(aligned, used[used != view], method, None)
        _check_fits(made.data.shape, made.voxel_size_nm, aligned)
        prediction = _projection(made.data, float(angles[view]), int(aligned.images.shape[2]))
        prediction *= np.float32(aligned.pixel_size_nm)
        seen = _rays(made.data.shape, float(angles[view]), int(aligned.images.shape[2]), least_path)
        numbers = _compare(prediction[:, seen], aligned.images[view][:, seen])
        rows.append(
            (int(view), float(angles[view]), *numbers, (seen.stop - seen.start) * int(prediction.shape[0]))
        )
    return tables.check(pd.DataFrame(rows, columns=tables.names(tables.LEFT_OUT)), tables.LEFT_OUT)


def _chosen(views: Sequence[int] | None, used: np.ndarray) -> np.ndarray:
    if len(used) < 2:
        raise ValueError(f"at least two views must be in use to leave one out, got {len(used)}.")
    if views is None:
        return used
    chosen = np.unique(np.asarray(views, dtype=np.int64))
    wrong = np.setdiff1d(chosen, used)
    if len(wrong) or not len(chosen):
        named = f"view {int(wrong[0])} (0-based)" if len(wrong) else "none"
        raise ValueError(f"views must be rows of views in use, got {named}.")
    return chosen


def _aligned(
    series: TiltSeries, used: np.ndarray, n_slices: int | None, alignment: Alignment | None
) -> TiltSeries:
    """The middle slices of the aligned views; excluded views are zero."""
    n_y, n_x = (int(n) for n in series.images.shape[1:])
    if alignment is None:
        if series.tilt_axis_deg != 0.0:
            raise ValueError(
                "the tilt axis of the series must be 0 deg (along y) when no alignment is given, got "
                f"{series.tilt_axis_deg:g} deg: pass alignment=..., or apply one first."
            )
        rows = _middle(n_y, n_slices)
        return dataclasses.replace(series, images=series.images[:, rows])
    geometry.check_fits(series, alignment)
    shape = geometry.aligned_shape((n_y, n_x), geometry.mean_axis_deg(alignment.tilt_axis_deg))
    rows = _middle(shape[0], n_slices)
    matrices, offsets = geometry.alignment_matrices(alignment, series.pixel_size_nm, (n_y, n_x), shape)
    offsets = offsets + rows.start * matrices[:, :, 0]  # row 0 of what is made is row `start` of the whole
    images = np.zeros((series.n_tilts, rows.stop - rows.start, shape[1]), dtype=np.float32)
    bent = bends(alignment.local_shifts_nm, series.pixel_size_nm, (n_y, n_x))
    images[used] = affine_images(
        series.images[used],
        matrices[used],
        offsets[used],
        images.shape[1:],
        bent.views(used) if bent else None,
    )
    return dataclasses.replace(
        series, images=images, tilt_angles_deg=alignment.tilt_angles_deg, tilt_axis_deg=0.0
    )


def _middle(n_y: int, n_slices: int | None) -> slice:
    n = n_y if n_slices is None else n_slices
    if not 1 <= n <= n_y:
        raise ValueError(f"n_slices must be from 1 to the {n_y} slices along the tilt axis, got {n}.")
    return slice((n_y - n) // 2, (n_y - n) // 2 + n)


def _check_fits(shape: tuple[int, ...], voxel_nm: tuple[float, float, float], aligned: TiltSeries) -> None:
    if shape[1] != aligned.images.shape[1] or not np.allclose(voxel_nm, aligned.pixel_size_nm, rtol=1e-4):
        raise ValueError(
            f"the method must make a volume with a slice for each of the {aligned.images.shape[1]} rows and voxels of "
            f"{aligned.pixel_size_nm:g} nm, got {shape[1]} slices and voxels of {voxel_nm} nm."
        )


def _projection(data: Array, angle_deg: float, n_u: int) -> Array:
    """Line integrals (n_y, n_u) in voxels at one tilt."""
    n_z, _, n_x = (int(n) for n in data.shape)
    return Projector(np.array([angle_deg]), n_u=n_u, n_x=n_x, n_z=n_z).forward(data)[0]


def _rays(shape: tuple[int, ...], angle_deg: float, n_u: int, least_path: float) -> slice:
    """Detector columns whose rays have a share of the longest path in the volume: over u it is a trapezium."""
    across = 0.5 * shape[2] * abs(math.cos(math.radians(angle_deg)))
    along = 0.5 * shape[0] * abs(math.sin(math.radians(angle_deg)))
    plateau, edge = abs(across - along), across + along
    full = np.flatnonzero(np.abs(geometry.coordinates(n_u)) <= max(edge - least_path * (edge - plateau), 0.5))
    return slice(int(full[0]), int(full[-1]) + 1)


def _compare(prediction: Array, view: Array) -> tuple[float, float]:
    """Relative r.m.s. difference, and correlation about the means."""
    xp = backend.namespace(view)
    expected, seen = (xp.asarray(array).astype(np.float64) for array in (prediction, view))
    power = float((seen**2).mean())
    error = math.sqrt(float(((expected - seen) ** 2).mean()) / power) if power > 0 else math.nan
    expected, seen = expected - expected.mean(), seen - seen.mean()
    norm = math.sqrt(float((expected**2).sum()) * float((seen**2).sum()))
    return error, float((expected * seen).sum()) / norm if norm > 0 else math.nan
