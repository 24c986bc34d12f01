"""Slabs between host and device while the device works: the next is uploaded, the last one downloaded.

The work stays on the thread and the stream of the caller. Transfers go through page-locked memory on streams of their
own, each fed by a thread: `ReadAhead` reads, uploads and prepares the next slab, `WriteBehind` downloads what is
done and writes it. Events say what waits for what. CuPy gives memory that is freed back to the stream that it came
from, at once: so a stream may take memory again only after an event behind the last work that used it elsewhere.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from tomo3d.compute import backend

Array = Any
Key = tuple[slice, slice]
N_BUFFERS = 2  # slabs in page-locked memory on their way out: one is downloaded while the other is written
_STAGED_BYTES = 8 << 20  # page-locked memory for uploads, twice: far more than what starting a copy costs


@dataclass(frozen=True, eq=False)
class Uploaded:
    """An array on the host that reads as one on the device: what is asked for is uploaded, and no more.

    Parameters
    ----------
    host : array-like
        A NumPy array, memory map or Zarr array.
    xp : module
        CuPy.
    """

    host: Array
    xp: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array on the host."""
        return tuple(int(n) for n in self.host.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """In the order of bytes of the machine."""
        return np.dtype(self.host.dtype).newbyteorder("=")

    def get(self) -> Array:
        """The array on the host."""
        return self.host

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        part = np.asarray(self.host[key])
        there = self.xp.empty(part.shape, dtype=self.dtype)
        if part.size:
            _upload(self.xp, part, there)
        return there


def is_uploaded(images: Array) -> bool:
    """Whether views are on the host and used on a device, however they are read."""
    return isinstance(backend.held_in(images), Uploaded)


class ReadAhead:
    """Bands of rows of `images`, read in the order of `bands`; the next is made while the device works on the last.

    It reads as `images` does, by `[:, first:last]`. `go_on` begins the next band: whoever reads calls it when all work
    on the last one has been given to the device, and keeps none of it. Bands of arrays that are where the work is done
    are read when they are asked for. To be used as a context.
    """

    def __init__(self, images: Array, bands: Sequence[slice]) -> None:
        self.images = images
        self._keys: deque[Key] = deque((slice(None), band) for band in bands)
        self._next: tuple[Key, Future] | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return tuple(self.images.shape)

    def __enter__(self) -> ReadAhead:
        if is_uploaded(self.images) and len(self._keys) > 1:
            self._xp = backend.namespace(self.images)
            self._device = self._xp.cuda.Device()  # a thread of its own has the first device, if not told
            self._stream = self._xp.cuda.Stream(non_blocking=True)
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
            self.go_on()
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._next = None
            self._xp.cuda.get_current_stream().synchronize()
            # else CuPy would keep the memory of bands for a stream that is no more
            self._xp.get_default_memory_pool().free_all_blocks(stream=self._stream)

    def __getitem__(self, key: Key) -> Array:
        if self._next is None or self._next[0] != key:
            return self.images[key]
        (_, reading), self._next = self._next, None
        band, is_there = reading.result()
        self._xp.cuda.get_current_stream().wait_event(is_there)
        return band

    def go_on(self) -> None:
        """Begin to read the next band; nothing may work on the last any more but what the device was given."""
        if self._pool is None or not self._keys:
            return
        is_free = _recorded(self._xp, self._xp.cuda.get_current_stream())
        key = self._keys.popleft()
        self._next = (key, self._pool.submit(self._read, key, is_free))

    def _read(self, key: Key, is_free: Any) -> tuple[Array, Any]:
        with self._device, self._stream:
            self._stream.wait_event(is_free)  # the last band's memory may be taken again
            band = self.images[key]
            return band, _recorded(self._xp, self._stream)


class WriteBehind:
    """Slabs written as out[:, run] = slab: from a device to the host while the device works on.

    At most one slab waits on the device, and `N_BUFFERS` in page-locked memory; one at a time is written. To be used
    as a context, at the end of which all are written.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pending: list[Future] = []
        self._on_device = threading.Semaphore(1)
        self._writing = threading.Lock()
        self._buffers: SimpleQueue[np.ndarray | None] = SimpleQueue()

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=True)
        self._buffers = SimpleQueue()
        self._xp.get_default_pinned_memory_pool().free_all_blocks()  # else CuPy would keep two slabs
        if error is None:
            self._raise_failed()

    def write(self, slab: Array, out: Array, run: slice) -> None:
        """out[:, run] = slab, contiguous; on a device, nothing may change it from now on."""
        xp = backend.namespace(slab)
        if backend.namespace(out) is xp:
            out[:, run] = slab
            return
        if self._pool is None:
            self._begin(xp)
        self._raise_failed()
        is_done = _recorded(xp, xp.cuda.get_current_stream())
        self._on_device.acquire()
        assert self._pool is not None
        self._pending.append(self._pool.submit(self._download, [slab], out, run, is_done))

    def _begin(self, xp: Any) -> None:
        self._xp = xp
        self._device = xp.cuda.Device()
        self._stream = xp.cuda.Stream(non_blocking=True)
        self._pool = ThreadPoolExecutor(N_BUFFERS, thread_name_prefix="download")
        for _ in range(N_BUFFERS):
            self._buffers.put(None)

    def _raise_failed(self) -> None:
        self._pending, ended = (
            [f for f in self._pending if not f.done()],
            [f for f in self._pending if f.done()],
        )
        for future in ended:
            future.result()

    def _download(self, held: list[Array], out: Array, run: slice, is_done: Any) -> None:
        """`held` is the only reference to the slab, so that it can be let go of once it is on the host."""
        buffer = self._buffers.get()
        try:
            try:
                slab = held.pop()
                if buffer is None or buffer.nbytes < slab.nbytes:
                    buffer = _page_locked(self._xp, slab.nbytes)
                host = _shaped(buffer, slab.shape, slab.dtype)
                with self._device:
                    self._stream.wait_event(is_done)
                    slab.get(out=host, stream=self._stream, blocking=False)
                    self._stream.synchronize()
                del slab
            finally:
                self._on_device.release()
            with self._writing:
                out[:, run] = host
        finally:
            self._buffers.put(buffer)


def _upload(xp: Any, part: np.ndarray, there: Array) -> None:
    """there = part, on the current stream: of two page-locked buffers one is filled while the other is on its way."""
    item = part[0].nbytes
    n = min(len(part), max(1, _STAGED_BYTES // item))
    # whole buffers only: the pool keeps memory by its size
    n_bytes = -(-n * item // _STAGED_BYTES) * _STAGED_BYTES
    free: deque[tuple[np.ndarray, Any]] = deque()
    stream = xp.cuda.get_current_stream()
    try:
        for first in range(0, len(part), n):
            piece = part[first : first + n]
            if len(free) < 2:
                buffer = _page_locked(xp, n_bytes)
            else:
                buffer, is_sent = free.popleft()
                is_sent.synchronize()
            staged = _shaped(buffer, piece.shape, there.dtype)
            staged[...] = piece
            there[first : first + n].set(staged, stream=stream)
            free.append((buffer, _recorded(xp, stream)))
    finally:  # after an error too, nothing may be read from memory that is given back
        for _, is_sent in free:
            is_sent.synchronize()


def _recorded(xp: Any, stream: Any) -> Any:
    """An event behind all that a stream was given."""
    event = xp.cuda.Event(disable_timing=True)
    event.record(stream)
    return event


def _page_locked(xp: Any, n_bytes: int) -> np.ndarray:
    return np.frombuffer(xp.cuda.alloc_pinned_memory(n_bytes), dtype=np.uint8, count=n_bytes)


def _shaped(buffer: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The beginning of a buffer as an array."""
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return buffer[:n_bytes].view(dtype).reshape(shape)
