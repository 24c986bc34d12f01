"""How many slices a reconstruction works on at a time, and the memory that this takes: stated before it is taken."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend, slabs
from tomo3d.compute.coarse_views import coarse_length
from tomo3d.compute.projector import SLAB
from tomo3d.compute.slabs import SlabWork
from tomo3d.compute.streaming import N_BUFFERS, is_uploaded
from tomo3d.memory import available_memory, bytes_text, check_held, parse_bytes
from tomo3d.planning import Plan, Sketch, voxels_along
from tomo3d.reconstruct._prepare import Prepared, voxel_edge_nm
from tomo3d.types import Alignment, Array, ArraySink

_log = logging.getLogger("tomo3d.reconstruct")
_DEVICE_SHARE = 0.8  # of the free memory of a GPU
_HOST_SHARE = 0.25  # of the free memory of the host that slabs may take on their way to it


def slices_within(
    memory_limit: int | str | None,
    prepared: Prepared,
    work: SlabWork,
    *,
    beside: Array,
    title: str,
    out: ArraySink | None = None,
    is_whole: bool = False,
    stop: object = None,
) -> int:
    """Slices to a slab; says what the call will take.

    Parameters
    ----------
    memory_limit : int or str, optional
        In bytes or as "8 GiB".
    prepared : Prepared
    work : SlabWork
        Arrays that the method holds for a slab.
    beside : array
        Lives where the work will be done.
    title : str
        Name of the method.
    out : array-like, optional
        Given if the result takes no memory.
    is_whole : bool
        Whether the method needs all slices at once.
    stop : Discrepancy, HalvesAgree or str, optional
        A rule that is judged on a pilot of up to 64 slices, before the result is made.

    Raises
    ------
    ValueError
        If the least slab is over the limit.
    MemoryError
        If it is over the free memory of the GPU.
    """
    n_z, n_y, n_x = prepared.shape
    sizes = (n_z, prepared.projector.n_x, prepared.projector.n_views, prepared.projector.n_u)
    xp = backend.namespace(beside)
    result = 4 * n_z * n_y * n_x if out is None else 0
    limit = None if memory_limit is None else parse_bytes(memory_limit)
    up, down = is_uploaded(beside), xp is not np and out is not None and backend.namespace(out) is np
    work = work.streamed(up=up, down=down)
    slice_bytes = work.n_bytes(1, *sizes)
    room = None  # a CPU gains nothing from larger slabs
    if xp is not np:
        room = _within_device(xp, limit) - result
        if down:
            room = min(room, _within_host(slice_bytes, 4 * n_z * n_x))
    is_whole = is_whole or not prepared.projector.is_separable
    n_slices = n_y
    if not is_whole:
        n_slices = slabs.slices_that_fit(n_y, slice_bytes, room, is_streamed=up or down)
    n_judged = min(SLAB, n_y) if prepared.projector.is_separable else n_y
    pilot = pilot_bytes(stop, work, n_judged, *sizes, is_separable=prepared.projector.is_separable)
    peak = max(result + work.n_bytes(n_slices, *sizes), pilot)
    check_peak(
        peak,
        memory_limit,
        result=result,
        title=f"{title}, which works on {n_slices} slices at a time,",
        work="all slices at once" if is_whole else f"a slab of {n_slices} slices",
        advice="bin the series, or pass out=... to write to a file",
        on_cpu=xp is np,
    )
    if xp is not np:
        _check_held_on_device(xp, peak, n_slices)
    return n_slices


def check_peak(
    peak: int,
    memory_limit: int | str | None,
    *,
    result: int,
    title: str,
    work: str,
    advice: str,
    on_cpu: bool = True,
) -> None:
    """Say what a call will take at its peak, `result` bytes of them for what it returns.

    Raises
    ------
    ValueError
        If that is over the limit, in a sentence that says what the rest is for (`work`) and what would help, or on
        a CPU more than the machine has.
    """
    limit = None if memory_limit is None else parse_bytes(memory_limit)
    if limit is not None and peak > limit:
        raise ValueError(
            f"memory_limit must be at least {bytes_text(peak)} ({peak} bytes: {bytes_text(result)} for the result, "
            f"the rest for {work}), got {bytes_text(limit)}: {advice}."
        )
    if on_cpu:
        check_held(peak, title)
    _log.info("%s %s of memory at most", title, bytes_text(peak))


def _within_device(xp: Any, limit: int | None) -> int:
    """Bytes that slabs may take on the GPU."""
    free = int(_DEVICE_SHARE * backend.free_device_memory(xp))
    return free if limit is None else min(free, limit)


def _check_held_on_device(xp: Any, peak: int, n_slices: int) -> None:
    free = backend.free_device_memory(xp)
    if peak > free:
        raise MemoryError(
            f"the GPU must have {bytes_text(peak)} of free memory for {n_slices} slices at a time, got "
            f"{bytes_text(free)}: bin or crop the series, or compute on the CPU."
        )


def _within_host(bytes_per_slice: int, result_per_slice: int) -> int:
    """Room for a slab on the GPU, so that what it makes fits in page-locked memory of the host on its way there."""
    return int(_HOST_SHARE * available_memory()) // (N_BUFFERS * result_per_slice) * bytes_per_slice


def pilot_bytes(stop: object, work: SlabWork, n_slices: int, *sizes: int, is_separable: bool = True) -> int:
    """What a stopping rule holds of a pilot of so many slices, sizes being (n_z, n_x, n_views, n_u).

    What the method does for a slab, where it began and a residual (and, where slices are not independent, which pixels
    count); or, with halves, what it does for both of them and for all.
    """
    if stop is None:
        return 0
    if str(stop).startswith("halves"):
        return 3 * work.n_bytes(n_slices, *sizes)
    n_images = work.n_images + (1 if is_separable else 2)
    return replace(work, n_volumes=work.n_volumes + 1, n_images=n_images).n_bytes(n_slices, *sizes)


def planner(n_volumes: int, n_images: int, *, is_whole: bool = False) -> Callable[..., Plan]:
    """Plan of a method that holds so many volumes and series of a slab, or of all slices, besides its result."""

    def plan(
        series: Sketch,
        *,
        thickness_nm: float,
        voxel_size_nm: float | None = None,
        margin_nm: float | str = 0.0,
        alignment: Alignment | Sketch | None = None,
        mask: Sketch | None = None,
        callback: Any = None,
        out: ArraySink | None = None,
        stop: object = None,
        **_: Any,
    ) -> Plan:
        pixel_nm = series.pixel_size_nm or 1.0
        voxel_nm = pixel_nm if voxel_size_nm is None else voxel_size_nm
        if series.pixel_size_nm is not None:
            voxel_nm = voxel_edge_nm(voxel_size_nm, pixel_nm)
        n_views, n_y, n_x = series.shape
        n_y, n_x = (coarse_length(n, voxel_nm / pixel_nm) for n in (n_y, n_x))
        if isinstance(alignment, Alignment):
            n_y, n_x = geometry.aligned_shape((n_y, n_x), geometry.mean_axis_deg(alignment.tilt_axis_deg))
        n_z = voxels_along(thickness_nm, voxel_nm)
        result = Sketch(
            "Volume", (n_z, n_y, n_x), "float32", None if series.pixel_size_nm is None else voxel_nm
        )
        n_slices = n_y if is_whole or callback is not None else min(SLAB, n_y)
        work = SlabWork(n_volumes, n_images, alignment is not None, mask is not None)
        margin = n_x  # at most
        if not isinstance(margin_nm, str):  # a number that is none, the method itself refuses
            margin = math.ceil(margin_nm / voxel_nm) if math.isfinite(margin_nm) else 0
        sizes = (n_z, n_x + 2 * margin, n_views, n_x)
        slab = work.n_bytes(n_slices, *sizes)
        peak = (result.n_bytes if out is None else 0) + slab
        return Plan(result, max(peak, pilot_bytes(stop, work, min(SLAB, n_y), *sizes)))

    return plan
