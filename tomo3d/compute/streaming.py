"""A device works on slabs while the host feeds it and takes what is done.

Two slots take the slabs in turn. Each has a stream, in which a slab is uploaded, worked on and downloaded in this
order, and page-locked memory at both ends. While the device works in one stream, the other one's transfers
go on, and the host moves the slabs before and after between its arrays and the page-locked memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

N_SLOTS = 2


@dataclass
class _Slot:
    stream: Any
    incoming: np.ndarray  # page-locked, flat
    outgoing: np.ndarray
    y: slice | None = None  # the slab that is on its way
    result: Any = None  # kept until it has been downloaded


def stream_slabs(xp: Any, source: Any, target: Any, compute: Callable[[Any], Any], *, n_slices: int) -> None:
    """target[:, y] = compute(source[:, y]) for slabs y of `n_slices`, transfers and work overlapping.

    Parameters
    ----------
    xp : module
        CuPy.
    source, target : array-like, shapes (n_a, n_y, n_b) and (n_c, n_y, n_d)
        On the host; arrays, memory maps or Zarr arrays. They are read and written slab by slab.
    compute : callable
        Takes a float32 device array (n_a, n, n_b) and gives one (n_c, n, n_d), working on the current stream
        alone. It may be called for a slab before the former one is done: it must not change what they share.
    n_slices : int
        Slices of a slab, see `slices_that_fit`; the last slab has what is left.
    """
    n_y = source.shape[1]
    if n_slices < 1 or target.shape[1] != n_y:
        raise ValueError(
            f"A slab must have at least one slice and source and target as many, got slabs of {n_slices} slices, "
            f"{n_y} and {target.shape[1]} slices."
        )
    slots = [_slot(xp, source, target, min(n_slices, n_y)) for _ in range(min(N_SLOTS, -(-n_y // n_slices)))]
    try:
        for i, first in enumerate(range(0, n_y, n_slices)):
            slot = slots[i % len(slots)]
            _finish(slot, target)  # its slab before last: the memory of the slot is free from here on
            _begin(xp, slot, source, target, slice(first, min(first + n_slices, n_y)), compute)
        for slot in sorted(slots, key=lambda slot: slot.y.start if slot.y else 0):
            _finish(slot, target)
    finally:
        for slot in slots:  # after an error too, nothing may run on into memory that is given back
            slot.stream.synchronize()


def slices_that_fit(free_bytes: int, bytes_per_slice: int, n_y: int) -> int:
    """Slices of a slab so that all slots fit in 90 % of the free memory, in even slabs, at least two if it can be.

    bytes_per_slice is what one slice takes on the device, intermediate arrays included.
    """
    most = int(0.9 * free_bytes) // (N_SLOTS * bytes_per_slice)
    if most < 1:
        raise MemoryError(
            f"The device must have room for {N_SLOTS} slices of {bytes_per_slice / 1e6:.3g} MB, "
            f"got {free_bytes / 1e6:.3g} MB of free memory: free some, or bin the data."
        )
    n_slabs = max(-(-n_y // most), min(2, n_y))
    return -(-n_y // n_slabs)


def _slot(xp: Any, source: Any, target: Any, n: int) -> _Slot:
    sizes = [array.shape[0] * n * array.shape[2] for array in (source, target)]
    incoming, outgoing = (
        np.frombuffer(xp.cuda.alloc_pinned_memory(4 * size), dtype=np.float32, count=size) for size in sizes
    )
    return _Slot(xp.cuda.Stream(non_blocking=True), incoming, outgoing)


def _begin(xp: Any, slot: _Slot, source: Any, target: Any, y: slice, compute: Callable[[Any], Any]) -> None:
    """Queue a slab: returns while it is on its way."""
    host = _shaped(slot.incoming, source, y)
    host[...] = source[:, y]
    slot.y = y
    with slot.stream:
        slab = xp.empty(host.shape, dtype=xp.float32)
        slab.set(host, stream=slot.stream)
        slot.result = xp.ascontiguousarray(compute(slab), dtype=xp.float32)
        slot.result.get(out=_shaped(slot.outgoing, target, y), stream=slot.stream, blocking=False)


def _finish(slot: _Slot, target: Any) -> None:
    """Wait for the slab that is on its way in a slot, if any, and put it where it belongs."""
    if slot.y is None:
        return
    slot.stream.synchronize()
    target[:, slot.y] = _shaped(slot.outgoing, target, slot.y)
    slot.y = slot.result = None


def _shaped(flat: np.ndarray, array: Any, y: slice) -> np.ndarray:
    shape = (array.shape[0], y.stop - y.start, array.shape[2])
    return flat[: shape[0] * shape[1] * shape[2]].reshape(shape)
