"""Calls on a GPU: the data go there, and what comes of them comes back. No function moves data itself."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tomo3d.planning import Sketch, plan_of
from tomo3d.types import Labels, TiltSeries, Volume

GPU_FUNCTIONS: frozenset[str] = frozenset(
    {
        f"reconstruct.{name}"
        for name in ("wbp", "sirt", "sart", "cgls", "total_variation", "mlem", "dart", "project")
    }
    | {"quality.fourier_shell_correlation", "measure.local_thickness_voxel"}
)
"""Functions that compute where their arrays live; all others compute on the CPU."""


def check_function(run: str, device: str) -> None:
    """Raise ValueError unless the function, as "stage.function", can compute on the device."""
    if device == "gpu" and run not in GPU_FUNCTIONS:
        raise ValueError(f"{run} computes on the CPU only: leave out --device gpu.")


def device_of(run: str, device: str) -> str:
    """Where a function computes if `device` is asked for: "cpu" or "gpu"."""
    return device if run in GPU_FUNCTIONS else "cpu"


def described(device: str) -> str:
    """A device for the record: "cpu", or "gpu" with its name."""
    from tomo3d.compute import backend

    return f"gpu ({backend.gpu_status().reason})" if device == "gpu" else device


def call_on(
    device: str, function: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> Any:
    """Call a function with its data on a device ("cpu" or "gpu"); what it returns is on the host.

    A function that writes its volume a slab at a time reads its data so too: they stay on the host, and neither they
    nor the volume need fit on the GPU.
    """
    if device == "cpu":
        return function(*positional, **keywords)
    from tomo3d.compute import backend  # here, so that a list of commands loads nothing that computes
    from tomo3d.compute.streaming import Uploaded

    keywords = dict(keywords)
    go: Callable[[Any], Any] = partial(backend.to_device, device=device)
    if "out" in inspect.signature(function).parameters:
        go = partial(Uploaded, xp=backend.device_module())
        if keywords.get("out") is None:
            keywords["out"] = _room(function, positional, keywords)
    there = [_moved(value, go) for value in positional]
    options = {name: _moved(value, go) for name, value in keywords.items() if name != "out"}
    out = {"out": keywords["out"]} if "out" in keywords else {}
    return _moved(function(*there, **options, **out), partial(backend.to_device, device="cpu"))


def _room(
    function: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> np.ndarray | None:
    """An array on the host for the volume that a function is going to make, by its plan."""
    plan = plan_of(function)
    if plan is None:
        return None
    options = {name: sketched(value) for name, value in keywords.items()}
    made = plan(*(sketched(value) for value in positional), **options).result
    return np.empty(made.shape, dtype=made.dtype) if isinstance(made, Sketch) else None


def _moved(value: Any, go: Callable[[Any], Any]) -> Any:
    """A tilt series, volume or labels with its arrays gone elsewhere; all else as it is."""
    arrays = {TiltSeries: ("images",), Volume: ("data",), Labels: ("data", "probabilities")}
    if isinstance(value, Mapping):
        return {name: _moved(item, go) for name, item in value.items()}
    names = arrays.get(type(value), ())
    moved = {name: go(array) for name in names if (array := getattr(value, name)) is not None}
    return dataclasses.replace(value, **moved) if moved else value


def sketched(value: Any) -> Any:
    """The Sketch of a tilt series, volume or labels; all else as it is."""
    if isinstance(value, Mapping):
        return {name: sketched(item) for name, item in value.items()}
    if isinstance(value, TiltSeries):
        return Sketch("TiltSeries", tuple(value.images.shape), str(value.images.dtype), value.pixel_size_nm)
    if isinstance(value, (Volume, Labels)):
        shape, dtype = tuple(value.data.shape), str(value.data.dtype)
        return Sketch(type(value).__name__, shape, dtype, value.voxel_size_nm[2])
    return value
