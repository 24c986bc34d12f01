"""What the iterative reconstructions share: checks, units, memory, and the record."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend, solvers
from tomo3d.compute.slabs import SlabWork
from tomo3d.planning import Plan
from tomo3d.reconstruct import _slab_memory
from tomo3d.reconstruct._prepare import Prepared, check_out, prepare
from tomo3d.reconstruct._slab_memory import slices_within
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume

_SAME = 1e-4  # relative: as far as a file header can tell voxel sizes apart

Callback = Callable[[int, Any, float], bool | None]  # (iteration, volume, residual norm)
Stop = solvers.Discrepancy | solvers.HalvesAgree
Margin: TypeAlias = float | Literal["auto"]  # nm, on either side of the field in x


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
    voxel_size_nm: float | None = None
    margin_nm: Margin = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.n_iterations, numbers.Integral):
            raise TypeError(f"n_iterations must be a whole number, got {self.n_iterations!r}.")
        if self.n_iterations < 1:
            raise ValueError(f"n_iterations must be at least 1, got {self.n_iterations}.")
        if self.margin_nm != "auto":
            if isinstance(self.margin_nm, str):
                raise ValueError(f"margin_nm must be a width in nm or 'auto', got {self.margin_nm!r}.")
            check_number("margin_nm", self.margin_nm, at_least=0, unit="nm")
        for name, value in (("lower", self.lower), ("upper", self.upper)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite density or left out, got {value:g}.")
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            raise ValueError(
                f"lower must be below upper, got lower {self.lower:g} and upper {self.upper:g} grey value per nm."
            )


def reconstruct(
    series: TiltSeries,
    method: solvers.Method,
    request: Request,
    name: str,
    *,
    objective_factor: float = 1.0,
    objective_power: int = 0,
    **parameters: Any,
) -> Volume:
    """Run a method on a series, and put its parameters on record.

    The record holds the method's objective times `objective_factor`, and times the voxel's edge to `objective_power`.
    """
    rule = solvers.parse_stop(request.stop)
    prepared, problem = prepared_problem(series, request)
    margin_nm = problem.margin * prepared.voxel_nm
    n_slices = slices_within(
        request.memory_limit,
        prepared,
        SlabWork(method.n_volumes, method.n_images, request.alignment is not None, request.mask is not None),
        beside=series.images,
        title=method.title,
        out=request.out,
        is_whole=request.callback is not None or method.couples_slices,
        stop=request.stop,
    )
    found = solvers.iterate(
        method,
        problem,
        n_iterations=request.n_iterations,
        stop=rule,
        callback=request.callback,
        out=request.out,
        n_slices=n_slices,
    )
    record = record_of(request, found, margin_nm=margin_nm, **parameters)
    if found.objectives is not None:
        scale = objective_factor * prepared.voxel_nm**objective_power
        record["objectives"] = [float(value) * scale for value in found.objectives]
    return prepared.volume(found.volume, name, **record)


def record_of(request: Request, found: solvers.Solution, **parameters: Any) -> dict[str, Any]:
    """What was asked for, how many iterations were done, why they ended, and the residual before each."""
    rule = solvers.parse_stop(request.stop)
    return {
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


def prepared_problem(series: TiltSeries, request: Request) -> tuple[Prepared, solvers.Problem]:
    """The equations of a series, in densities per nm, once its arguments were checked."""
    prepared = prepare(
        series, request.thickness_nm, request.alignment, voxel_size_nm=request.voxel_size_nm, continued=False
    )
    check_grids(series, prepared, request)
    margin = margin_voxels(prepared, request.margin_nm)
    wide = replace(prepared.projector, n_x=prepared.shape[2] + 2 * margin)
    prepared = replace(prepared, projector=wide)
    mask = None if request.mask is None else request.mask.data
    initial = None if request.initial is None else request.initial.data
    constraint = solvers.Constraint(request.lower, request.upper, mask)
    problem = solvers.Problem(
        prepared.images,
        wide,
        voxel=prepared.voxel_nm,
        constraint=constraint,
        initial=initial,
        margin=margin,
    )
    return prepared, problem


def margin_voxels(prepared: Prepared, margin_nm: Margin) -> int:
    """Whole voxels that are solved for on either side of the field, in x."""
    if margin_nm == "auto":
        return solvers.margin_of_views(prepared.projector, prepared.shape[1])
    return math.ceil(margin_nm / prepared.voxel_nm - _SAME)


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
        centred_nm = geometry.centred_origin_nm(prepared.shape, (prepared.voxel_nm,) * 3)
        if any(given.origin_nm) and not np.allclose(
            given.origin_nm, centred_nm, atol=0.01 * prepared.voxel_nm
        ):
            raise ValueError(
                f"{name} must lie where the reconstruction does, its first voxel at {centred_nm} nm (z, y, x), got "
                f"{given.origin_nm} nm."
            )
        if backend.namespace(given.data) is not backend.namespace(series.images):
            raise TypeError(f"{name} must live where the images do, got one on the GPU and one on the CPU.")
    if request.mask is not None and not any(bool((plane != 0).any()) for plane in request.mask.data):
        raise ValueError("mask must hold at least one voxel that is not 0, got an empty one.")
    if request.initial is not None:
        for z, plane in enumerate(request.initial.data):
            if not bool(backend.namespace(plane).isfinite(plane).all()):
                raise ValueError(f"initial must be finite, got NaN or infinity in slice z = {z}.")
    check_out(request.out, prepared)


def planner(method: Any) -> Callable[..., Plan]:
    """Plan of a reconstruction by a method (its class)."""
    return _slab_memory.planner(method.n_volumes, method.n_images, is_whole=method.couples_slices)


def check_relaxation(relaxation: float) -> None:
    """Raise ValueError unless SIRT converges with it."""
    if not 0.0 < relaxation < 2.0:
        raise ValueError(f"relaxation must lie between 0 and 2 (exclusive), got {relaxation:g}.")


def check_number(
    name: str,
    value: float,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    above: float = -math.inf,
    unit: str = "",
) -> None:
    """Raise ValueError unless a parameter is finite and within its range."""
    if math.isfinite(value) and at_least <= value <= at_most and value > above:
        return
    bounds = (
        (f"at least {at_least:g}", at_least),
        (f"at most {at_most:g}", at_most),
        (f"above {above:g}", above),
    )
    wanted = " and ".join(text for text, bound in bounds if math.isfinite(bound))
    raise ValueError(f"{name} must be {wanted}, got {value:g}{' ' + unit if unit else ''}.")


def check_counts(series: TiltSeries, initial: Volume | None) -> None:
    """Raise ValueError unless the views in use, and the first volume, hold no negative value."""
    for view in np.flatnonzero(series.used):
        least = float(series.images[int(view)].min())
        if least < 0:
            raise ValueError(
                f"counts must be 0 or more, got {least:g} in view {int(view)} (0-based): "
                "use sirt for signals that may be negative."
            )
    if initial is not None:
        least = min(float(plane.min()) for plane in initial.data)
        if least < 0:
            raise ValueError(f"initial must be 0 or more for counts, got {least:g} counts per nm.")
