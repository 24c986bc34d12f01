"""A device works on slabs while the host feeds it and takes what is done.

Two slots take the slabs in turn, each a thread of the host with a stream of the device and page-locked memory at both
ends. In a slot a slab is read, uploaded, worked on, downloaded and written, one after the other; meanwhile the
other slot is elsewhere in the same round, so that the transfers and the host's copies go on while the device works,
even if the work waits for the device itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

N_SLOTS = 2
_ENOUGH_SLABS = 8  # what the first upload and the last download take overlaps nothing: an eighth
_ENOUGH_SLICES = 128  # of a slab; with fewer the threads of a GPU are not all used


def stream_slabs(xp: Any, source: Any, target: Any, compute: Callable[[Any], Any], *, n_slices: int) -> None:
    """target[:, y] = compute(source[:, y]) for slabs y of `n_slices`, transfers and work overlapping.

    Parameters
    ----------
    xp : module
        CuPy.
    source, target : array-like, shapes (n_a, n_y, n_b) and (n_c, n_y, n_d)
        On the host; arrays, memory maps or Zarr arrays. One slab at a time is read, and one written.
    compute : callable
        Takes a float32 device array (n_a, n, n_b) and gives one (n_c, n, n_d), working on the current stream
        alone. It is called from two threads at a time: it must not change what they share.
    n_slices : int
        Slices of a slab, see `slices_that_fit`; the last slab has what is left.

    Raises
    ------
    ValueError
        If a slab has no slice, or source and target have different numbers of slices.
    """
    n_y = source.shape[1]
    if n_slices < 1 or target.shape[1] != n_y:
        raise ValueError(
            f"A slab must have at least one slice and source and target as many, got slabs of {n_slices} slices, "
            f"{n_y} and {target.shape[1]} slices."
        )
    slabs = deque(slice(first, min(first + n_slices, n_y)) for first in range(0, n_y, n_slices))
    reading, writing = threading.Lock(), threading.Lock()
    device = xp.cuda.Device()  # a thread of its own has the first device, if not told

    def work() -> None:
        with device:
            stream = xp.cuda.Stream(non_blocking=True)
            incoming = _page_locked(xp, source, min(n_slices, n_y))
            outgoing = _page_locked(xp, target, min(n_slices, n_y))
            try:
                while True:
                    with reading:
                        if not slabs:
                            break
                        y = slabs.popleft()
                        host = _shaped(incoming, source, y)
                        host[...] = source[:, y]
                    done = _shaped(outgoing, target, y)
                    _through(xp, stream, host, done, compute)
                    with writing:
                        target[:, y] = done
            except BaseException:
                slabs.clear()  # the other slot ends too
                raise
            finally:
                stream.synchronize()  # after an error too, nothing may run on into memory that is given back

    with ThreadPoolExecutor(min(N_SLOTS, len(slabs))) as pool:
        for slot in [pool.submit(work) for _ in range(min(N_SLOTS, len(slabs)))]:
            slot.result()


def slices_that_fit(free_bytes: int, bytes_per_slice: int, n_y: int) -> int:
    """Slices of a slab, so that all slots fit in 90 % of the free memory; eight slabs or more, unless they get thin.

    bytes_per_slice is what one slice takes on the device, intermediate arrays included.
    """
    most = int(0.9 * free_bytes) // (N_SLOTS * bytes_per_slice)
    if most < 1:
        raise MemoryError(
            f"The device must have room for {N_SLOTS} slices of {bytes_per_slice / 1e6:.3g} MB, "
            f"got {free_bytes / 1e6:.3g} MB of free memory: free some, or bin the data."
        )
    n_slabs = max(-(-n_y // most), min(_ENOUGH_SLABS, -(-n_y // _ENOUGH_SLICES)))
    return -(-n_y // n_slabs)


def _through(
    xp: Any, stream: Any, incoming: np.ndarray, outgoing: np.ndarray, compute: Callable[[Any], Any]
) -> None:
    """One slab through the device, from page-locked memory to page-locked memory."""
    with stream:
        slab = xp.empty(incoming.shape, dtype=xp.float32)
        slab.set(incoming, stream=stream)
        result = xp.ascontiguousarray(compute(slab), dtype=xp.float32)
        result.get(out=outgoing, stream=stream, blocking=False)
        stream.synchronize()


def _page_locked(xp: Any, array: Any, n: int) -> np.ndarray:
    """Page-locked memory, flat, for n slices of an array."""
    size = array.shape[0] * n * array.shape[2]
    return np.frombuffer(xp.cuda.alloc_pinned_memory(4 * size), dtype=np.float32, count=size)


def _shaped(flat: np.ndarray, array: Any, y: slice) -> np.ndarray:
    shape = (array.shape[0], y.stop - y.start, array.shape[2])
    return flat[: shape[0] * shape[1] * shape[2]].reshape(shape)
