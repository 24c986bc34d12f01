"""One volume from two tilt series of one specimen, turned about the beam between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import registration, solvers
from tomo3d.compute.joint_projector import joint_projector
from tomo3d.compute.registration import Measured, Registration
from tomo3d.errors import ConvergenceError
from tomo3d.planning import planned
from tomo3d.reconstruct._dual_axis_memory import REGISTERED, Size, plan
from tomo3d.reconstruct._iterative import (
    Callback,
    Request,
    Stop,
    check_grids,
    check_relaxation,
    record_of,
)
from tomo3d.reconstruct._prepare import Prepared
from tomo3d.reconstruct._raw_views import JoinedViews, RawViews, raw_views
from tomo3d.reconstruct._slab_memory import check_peak
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume

_N_REGISTERED = 10  # conjugate gradients of each reconstruction that is only registered
_SEARCH_DEG = np.arange(-15.0, 15.1, 3.0)  # around the nominal angle, either way


@planned(plan)
def dual_axis(
    first: TiltSeries,
    second: TiltSeries,
    *,
    thickness_nm: float,
    n_iterations: int,
    relaxation: float = 1.0,
    lower: float | None = None,
    upper: float | None = None,
    mask: Labels | None = None,
    initial: Volume | None = None,
    stop: Stop | str | None = None,
    angle_deg: float = 90.0,
    min_agreement: float = 0.5,
    first_alignment: Alignment | None = None,
    second_alignment: Alignment | None = None,
    callback: Callback | None = None,
    out: ArraySink | None = None,
    memory_limit: int | str | None = None,
) -> Volume:
    """One reconstruction (SIRT) from two series of one specimen, whose relative place is found.

    Parameters
    ----------
    first, second : TiltSeries
        Grey values are line integrals: density x path in nm, on the same scale, without background.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        More iterations are sharper and noisier: 10 to 100. With `stop`, the most that are done.
    relaxation : float
        Length of a step, in (0, 2).
    lower, upper : float, optional
        Bounds on the density, in grey value per nm, applied after each step. Default: none.
    mask : Labels, shape (n_z, n_y, n_x), optional
        Support, in the frame of the first series: the density is 0 where it is 0. Default: the whole slab.
    initial : Volume, shape (n_z, n_y, n_x), optional
        Where to start, in grey value per nm, in the frame of the first series. Default: zeros.
    stop : Discrepancy, HalvesAgree or str, optional
        When to stop before `n_iterations`: "discrepancy:SIGMA" (noise of a pixel) or "halves", as in `sirt`, judged on
        all slices; each half has every other view of either series. Default: not.
    angle_deg : float
        By how much the specimen was turned about the beam from one series to the other, within 15 deg; the sense is
        found.
    min_agreement : float
        Least correlation of the two series' own reconstructions where both measured, in [0, 1).
    first_alignment, second_alignment : Alignment, optional
        How the views of each series fit together. Default: the series is aligned.
    callback : callable, optional
        callback(iteration, volume, residual_norm), as in `sirt`; True stops. Default: none.
    out : array-like, shape (n_z, n_y, n_x), optional
        Written as out[:, 0:n_y] = volume: a memory map, a Zarr store. Default: a new float32 array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    Volume, shape (round(thickness_nm / pixel), n_y, n_x), float32
        Density in grey value per nm, in the frame of the first series, centred at (0, 0, 0) nm, over `out` if given.
        Its record holds the norm of the residual before each iteration, why they ended, and the
        transform: a point p (z, y, x) of the volume lies at `rotation` p + `shift_nm` in the frame of the second;
        the angle about the beam, the rest of the rotation, the agreement, and the grey values of the second
        series over those of the first.

    Raises
    ------
    ConvergenceError
        If no transform reaches the least agreement.
    ValueError
        If the pixel sizes differ by more than 1e-4, a parameter is outside its range, or as for `sirt`.
    TypeError
        As for `sirt`.

    Notes
    -----
    Each series is reconstructed alone, on views binned to at most 128 pixels, by ten conjugate gradients. Both are
    compared at the frequencies that lie in neither missing wedge: over all translations for rotations around the
    nominal angle, then by Gauss-Newton in rotation, translation and amplitude. On balls with noise of 2 % of the
    brightest pixel, in views of 56 pixels, the transform is found within 0.15 deg and 0.1 pixel. The joint projector
    has the transform in it, so that the views are not resampled, and SIRT takes its weights from all views.
    Two wedges of +-60 deg become one pyramid: 16 % of all directions are unmeasured instead of 33 % [1]_.
    The series' tilt axes cross, so that no slice can be solved for itself: five volumes and five times all views are
    held at once, and a limit below that is refused before the first view is read.

    References
    ----------
    .. [1] P. Penczek, M. Marko, K. Buttle and J. Frank, Ultramicroscopy 60 (1995) 393-410
    """
    _check(first, second, relaxation, min_agreement)
    request = Request(
        thickness_nm,
        n_iterations,
        lower=lower,
        upper=upper,
        mask=mask,
        initial=initial,
        stop=stop,
        callback=callback,
        out=out,
        memory_limit=memory_limit,
    )
    rule = solvers.parse_stop(stop)
    views = (_views("first", first, first_alignment), _views("second", second, second_alignment))
    prepared = _prepared(first, views, request)
    found = _registered(views, thickness_nm, angle_deg)
    if found.agreement < min_agreement:
        raise ConvergenceError(
            f"the two series must agree by at least {min_agreement:g} where both measured, got "
            f"{found.agreement:.3f} at best: check that they show one specimen, their alignments and angle_deg."
        )
    pixel_nm, shape = prepared.voxel_nm, prepared.shape
    moved = views[1].projector(shape, pixel_nm)
    projector = joint_projector(prepared.projector, moved, found.transform, n_y=shape[1])
    problem = solvers.Problem(
        JoinedViews(views),
        projector,
        voxel=pixel_nm,
        constraint=solvers.Constraint(lower, upper, None if mask is None else mask.data),
        initial=None if initial is None else initial.data,
    )
    solved = solvers.iterate(
        solvers.Sirt(float(relaxation)),
        problem,
        n_iterations=n_iterations,
        stop=rule,
        callback=callback,
        out=out,
    )
    record = {
        "method": "dual_axis",
        "quantity": "density",
        "unit": "grey value per nm",
        **record_of(request, solved, relaxation=float(relaxation)),
        "n_views": projector.n_views,
        **_transform_record(found, pixel_nm),
        "tilt_range_deg": _range(views[0]),
        "second_tilt_range_deg": _range(views[1]),
    }
    voxel_size_nm = (pixel_nm,) * 3
    return Volume(solved.volume, voxel_size_nm, geometry.centred_origin_nm(shape, voxel_size_nm), record)


def _prepared(first: TiltSeries, views: Sequence[RawViews], request: Request) -> Prepared:
    """The grid, that of the first series, once what was given on it and the memory were checked."""
    pixel_nm = first.pixel_size_nm
    shape = geometry.reconstruction_shape(views[0].image_shape, request.thickness_nm, pixel_nm)
    prepared = Prepared(first.images, views[0].projector(shape, pixel_nm), shape, pixel_nm)
    check_grids(first, prepared, request)
    size = Size(shape, [(part.n_views, *part.image_shape) for part in views])
    has_mask, has_out = request.mask is not None, request.out is not None
    check_peak(
        size.peak_bytes(has_mask=has_mask, has_out=has_out, stop=request.stop),
        request.memory_limit,
        result=0 if has_out else 4 * math.prod(shape),
        title="Dual axis, which works on all slices of both series at once,",
        work="all slices of both series at once",
        advice="bin both series to larger voxels, or reconstruct a thinner slab"
        + ("" if has_out else ", or pass out=... to write to a file"),
    )
    return prepared


def _registered(views: Sequence[RawViews], thickness_nm: float, angle_deg: float) -> Registration:
    """Where the specimen of the second series lies in the frame of the first, in pixels of the series."""
    longest = max(max(part.image_shape) for part in views)
    factor = math.ceil(longest / REGISTERED)
    binned = [part.binned(factor) for part in views]
    alone = []
    for part in binned:
        shape = geometry.reconstruction_shape(
            part.image_shape, max(thickness_nm, part.pixel_nm), part.pixel_nm
        )
        problem = solvers.Problem(part.images.swapaxes(1, 2), part.projector(shape, part.pixel_nm))
        solved = solvers.iterate(solvers.Cgls(), problem, n_iterations=_N_REGISTERED)
        low, high = _range(part)
        alone.append(Measured(solved.volume, (low, high)))
    angles = [sign * (angle_deg + offset) for sign in (1, -1) for offset in _SEARCH_DEG]
    rotations = [registration.rotation_about_beam(angle) for angle in angles]
    found = registration.register(*alone, rotations=rotations)
    return replace(found, transform=replace(found.transform, shift=found.transform.shift * factor))


def _transform_record(found: Registration, pixel_nm: float) -> dict[str, Any]:
    """The transform for people: angle about the beam, what remains of the rotation, shift in nm."""
    rotation = found.transform.rotation
    angle_deg = math.degrees(math.atan2(rotation[1, 2] - rotation[2, 1], rotation[1, 1] + rotation[2, 2]))
    rest = rotation @ registration.rotation_about_beam(-angle_deg)
    rest_deg = math.degrees(math.acos(min(1.0, max(-1.0, 0.5 * (np.trace(rest) - 1.0)))))
    return {
        "rotation": [[float(value) for value in row] for row in rotation],
        "shift_nm": [float(value) * pixel_nm for value in found.transform.shift],
        "angle_about_beam_deg": angle_deg,
        "rotation_out_of_plane_deg": rest_deg,
        "agreement": found.agreement,
        "second_over_first": found.amplitude,
    }


def _range(views: RawViews) -> list[float]:
    angles = views.alignment.tilt_angles_deg
    return [float(angles.min()), float(angles.max())]


def _views(name: str, series: TiltSeries, alignment: Alignment | None) -> RawViews:
    try:
        return raw_views(series, alignment)
    except ValueError as error:
        raise ValueError(f"{name} series: {error}") from None


def _check(first: TiltSeries, second: TiltSeries, relaxation: float, min_agreement: float) -> None:
    """Raise ValueError unless the arguments go together."""
    sizes = first.pixel_size_nm, second.pixel_size_nm
    if abs(sizes[0] - sizes[1]) > 1e-4 * sizes[0]:
        raise ValueError(
            f"both series must have the same pixel size, got {sizes[0]:g} and {sizes[1]:g} nm: bin one of them."
        )
    check_relaxation(relaxation)
    if not 0.0 <= min_agreement < 1.0:
        raise ValueError(f"min_agreement must lie in [0, 1), got {min_agreement:g}.")
