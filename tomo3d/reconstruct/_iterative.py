"""What the iterative reconstructions share: checks, units, memory, and the record."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d.compute import backend, slabs, solvers
from tomo3d.compute.projector import SLAB
from tomo3d.compute.slabs import SlabWork
from tomo3d.planning import Plan, Sketch, bytes_text, parse_bytes
from tomo3d.reconstruct._prepare import Prepared, prepare
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume

_log = logging.getLogger(__name__)
_SAME = 1e-4  # relative: as far as a file header can tell voxel sizes apart
_DEVICE_SHARE = 0.8  # of the free memory of a GPU

Callback = Callable[[int, Any, float], bool | None]  # (iteration, volume, residual norm)
Stop = solvers.Discrepancy | solvers.HalvesAgree


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments that every iterative reconstruction takes."""

    thickness_nm: float
    n_iterations: int
    lower: float | None = None
    upper: float | None = None
    mask: Labels | None = None
    initial: Volume | None = None
    stop: Stop | str | None = None
    alignment: Alignment | None = None
    callback: Callback | None = None
    out: ArraySink | None = None
    memory_limit: int | str | None = None

    def __post_init__(self) -> None:
        if self.n_iterations < 1:
            raise ValueError(f"n_iterations must be at least 1, got {self.n_iterations}.")
        for name, value in (("lower", self.lower), ("upper", self.upper)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite density or left out, got {value:g}.")
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            raise ValueError(
                f"lower must be below upper, got lower {self.lower:g} and upper {self.upper:g} grey value per nm."
            )


def reconstruct(
    series: TiltSeries, method: solvers.Method, request: Request, name: str, **parameters: Any
) -> Volume:
    """Run a method on a series, and put its parameters on record."""
    rule = solvers.parse_stop(request.stop)
    prepared = prepare(series, request.thickness_nm, request.alignment, continued=False)
    check_grids(series, prepared, request)
    n_slices = _slices(method, series, prepared, request)
    found = solvers.iterate(
        method,
        problem(prepared, request),
        n_iterations=request.n_iterations,
        stop=rule,
        callback=request.callback,
        out=request.out,
        n_slices=n_slices,
    )
    record = {
        "thickness_nm": float(request.thickness_nm),
        **parameters,
        "lower": request.lower,
        "upper": request.upper,
        "has_mask": request.mask is not None,
        "has_initial": request.initial is not None,
        "stop": None if rule is None else str(rule),
        "max_iterations": int(request.n_iterations),
        "n_iterations": found.n_iterations,
        "stopped": found.stopped,
        "residual_norms": [float(value) for value in found.residual_norms],
    }
    if found.objectives is not None:
        record["objectives"] = [float(value) for value in found.objectives]
    return prepared.volume(found.volume, name, is_per_nm=True, **record)


def problem(prepared: Prepared, request: Request) -> solvers.Problem:
    """The equations of a series, in densities per nm."""
    mask = None if request.mask is None else request.mask.data
    initial = None if request.initial is None else request.initial.data
    constraint = solvers.Constraint(request.lower, request.upper, mask)
    return solvers.Problem(
        prepared.images, prepared.projector, voxel=prepared.voxel_nm, constraint=constraint, initial=initial
    )


def check_grids(series: TiltSeries, prepared: Prepared, request: Request) -> None:
    """Raise an error unless mask, initial volume and output fit the reconstruction."""
    for name, given in (("mask", request.mask), ("initial", request.initial)):
        if given is None:
            continue
        if tuple(given.data.shape) != prepared.shape:
            raise ValueError(
                f"{name} must have the shape of the reconstruction, {prepared.shape} (n_z, n_y, n_x), "
                f"got {tuple(given.data.shape)}."
            )
        if not np.allclose(given.voxel_size_nm, prepared.voxel_nm, rtol=_SAME):
            raise ValueError(
                f"{name} must have the voxels of the reconstruction, {prepared.voxel_nm:g} nm, got "
                f"{given.voxel_size_nm} nm."
            )
        if backend.namespace(given.data) is not backend.namespace(series.images):
            raise TypeError(f"{name} must live where the images do, got one on the GPU and one on the CPU.")
    if request.mask is not None and not any(bool((plane != 0).any()) for plane in request.mask.data):
        raise ValueError("mask must hold at least one voxel that is not 0, got an empty one.")
    if request.initial is not None:
        for z, plane in enumerate(request.initial.data):
            if not bool(backend.namespace(plane).isfinite(plane).all()):
                raise ValueError(f"initial must be finite, got NaN or infinity in slice z = {z}.")
    if request.out is not None and tuple(request.out.shape) != prepared.shape:
        raise ValueError(
            f"out must have the shape of the reconstruction, {prepared.shape} (n_z, n_y, n_x), "
            f"got {tuple(request.out.shape)}."
        )


def _slices(method: solvers.Method, series: TiltSeries, prepared: Prepared, request: Request) -> int:
    """Slices to a slab; says what the call will take, and raises ValueError if that is over the limit."""
    n_z, n_y, n_x = prepared.shape
    sizes = (n_z, n_x, prepared.projector.n_views, prepared.projector.n_u)
    work = _work(method, request.alignment is not None, request.mask is not None)
    xp = backend.namespace(series.images)
    result = 4 * n_z * n_y * n_x if request.out is None else 0
    limit = None if request.memory_limit is None else parse_bytes(request.memory_limit)
    room = None if limit is None or xp is np else limit - result  # a CPU gains nothing from larger slabs
    if xp is not np and limit is None:
        room = int(_DEVICE_SHARE * backend.free_device_memory(xp)) - result
    is_whole = request.callback is not None or method.couples_slices or not prepared.projector.is_separable
    n_slices = n_y if is_whole else slabs.slices_that_fit(n_y, work.n_bytes(1, *sizes), room)
    peak = result + work.n_bytes(n_slices, *sizes)
    if limit is not None and peak > limit:
        what = "all slices at once" if is_whole else f"a slab of {n_slices} slices"
        raise ValueError(
            f"memory_limit must be at least {bytes_text(peak)} ({peak} bytes: {bytes_text(result)} for the result, "
            f"the rest for {what}), got {bytes_text(limit)}: bin the series, or pass out=... to write to a file."
        )
    _log.info("%s: %s of memory at most, %d slices at a time", method.title, bytes_text(peak), n_slices)
    return n_slices


def _work(method: Any, has_gaps: bool, has_mask: bool) -> SlabWork:
    return SlabWork(method.n_volumes, method.n_images, has_gaps, has_mask)


def planner(method: Any) -> Callable[..., Plan]:
    """Plan of a reconstruction by a method (its class)."""

    def plan(
        series: Sketch,
        *,
        thickness_nm: float,
        alignment: Sketch | None = None,
        mask: Sketch | None = None,
        callback: Callback | None = None,
        out: ArraySink | None = None,
        **_: Any,
    ) -> Plan:
        n_views, n_y, n_x = series.shape
        n_z = max(1, round(thickness_nm / (series.pixel_size_nm or 1.0)))
        result = Sketch("Volume", (n_z, n_y, n_x), "float32", series.pixel_size_nm)
        n_slices = n_y if method.couples_slices or callback is not None else min(SLAB, n_y)
        work = _work(method, alignment is not None, mask is not None)
        slab = work.n_bytes(n_slices, n_z, n_x, n_views, n_x)
        return Plan(result, (result.n_bytes if out is None else 0) + slab)

    return plan


def check_relaxation(relaxation: float) -> None:
    """Raise ValueError unless SIRT converges with it."""
    if not 0.0 < relaxation < 2.0:
        raise ValueError(f"relaxation must lie between 0 and 2 (exclusive), got {relaxation:g}.")
