"""Streams, events and memory of the stand-in for CuPy, which forgive nothing.

Copies through page-locked memory happen when they must: once the host has waited for them, or work that is ordered
behind them is given to the device. All other work is done at once, but only on memory whose earlier use is ordered
before it, by its stream, an event, or a wait of the host; else `Race` is raised. Memory that is freed goes back to
the stream that it came from, as in CuPy's pool, and is taken again with all that was done to it.
"""

import threading
import time
import weakref
from contextlib import contextmanager

import numpy as np


class Race(AssertionError):
    """Work on memory that other work may still be using."""


class _Use:
    """When each stream last wrote to and read from some memory."""

    def __init__(self, before=None):
        self.written = dict(before or {})
        self.read = {}

    def last(self):
        return _later(self.written, self.read)


def _later(one, other):
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in {*one, *other}}


class Streams:
    """What has been given to all streams of the device, and what is known to be done."""

    def __init__(self):
        self.lock = threading.RLock()
        self.local = threading.local()  # a thread's current device and stream
        self.by_id = {}
        self.known_to_host = {}
        self.uses = {}  # of live memory, by the identity of what holds it
        self.freed = {}  # by the stream that it came from: the last uses of all memory given back
        self.null = Stream(self)
        self.delay_s = 0.0  # of copies that a thread of its own waits for
        self.given_back = {}  # by the stream that it came from: whether the host knew that all was done with it
        self.pinned_bytes = 0
        self.held_bytes = self.most_held_bytes = 0  # by arrays on the device

    def current(self):
        return getattr(self.local, "stream", None) or self.null

    def work(self, reads=(), writes=(), *, later=None):
        """Work on arrays of the device, given to the current stream; done when this returns, or a copy for `later`."""
        with self.lock:
            stream = self.current()
            stream.begin()
            for array in reads:
                self._check(stream, self._use(array).written, "reads what")
            for array in writes:
                self._check(stream, self._use(array).last(), "writes where")
            if later is None:
                stream.run(stream.given, stream.behind)
            else:
                stream.copies.append((stream.given, dict(stream.behind), later))
            for array in reads:
                self._use(array).read[stream.id] = stream.given
            for array in writes:
                self._use(array).written[stream.id] = stream.given

    def _check(self, stream, before, what):
        for other, position in before.items():
            if other != stream.id and stream.behind.get(other, 0) < position:
                raise Race(f"stream {stream.id} {what} stream {other} may still be using")

    def made(self, array, *, is_written=True):
        """An array on the device, in memory of the current stream unless it is a view of another."""
        with self.lock:
            owner = _owner(array)
            if id(owner) in self.uses:
                return
            stream = self.current()
            use = self.uses[id(owner)] = _Use(self.freed.get(stream.id))
            weakref.finalize(owner, self._free, id(owner), stream.id, owner.nbytes)
            self.held_bytes += owner.nbytes
            self.most_held_bytes = max(self.most_held_bytes, self.held_bytes)
            if is_written:
                stream.behind = _later(stream.behind, self.known_to_host)
                self._check(stream, use.last(), "writes where")
                use.written[stream.id] = stream.given

    def _free(self, owner, stream, n_bytes):
        with self.lock:
            self.held_bytes -= n_bytes
            self.freed[stream] = _later(self.freed.get(stream, {}), self.uses.pop(owner).last())

    def give_back(self, stream=None):
        """All free memory, or that of one stream, to the device."""
        with self.lock:
            for key in [stream.id] if stream else list(self.freed):
                last = self.freed.pop(key, {})
                self.given_back[key] = all(
                    self.known_to_host.get(other, 0) >= at for other, at in last.items()
                )

    def _use(self, array):
        self.made(array, is_written=False)
        return self.uses[id(_owner(array))]

    @contextmanager
    def on(self, stream):
        before = getattr(self.local, "stream", None)
        self.local.stream = stream
        try:
            yield stream
        finally:
            self.local.stream = before


def _owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Stream:
    """Work in the order in which it was given."""

    def __init__(self, streams, *, non_blocking=True):
        assert non_blocking  # else it would wait for the default stream
        self.streams = streams
        with streams.lock:
            self.id = len(streams.by_id)
            streams.by_id[self.id] = self
        self.given = 0
        self.behind = {}  # how far other streams have come before what is given from now on
        self.copies = []  # not yet done: position, what it comes behind, copy
        self.contexts = []

    def begin(self):
        self.given += 1
        self.behind = _later(self.behind, self.streams.known_to_host)

    def run(self, position, behind):
        """Do the copies up to a position, and those of other streams that they come after."""
        for other, last in behind.items():
            if other != self.id:
                self.streams.by_id[other].run_own(last)
        self.run_own(position)

    def run_own(self, position):
        while self.copies and self.copies[0][0] <= position:
            _, behind, job = self.copies.pop(0)
            self.run(0, behind)
            job()

    def copy(self, job, reads=(), writes=()):
        """A copy through page-locked memory, done as late as may be."""
        with self.streams.on(self):
            self.streams.work(reads, writes, later=job)

    def wait_event(self, event):
        with self.streams.lock:
            self.behind = _later(self.behind, event.after)

    def record(self, event=None):
        event = event or Event(self.streams)
        event.record(self)
        return event

    def synchronize(self):
        self.record().synchronize()

    def __enter__(self):
        assert self is self.streams.null or on_device(self.streams)
        self.contexts.append(self.streams.on(self))
        return self.contexts[-1].__enter__()

    def __exit__(self, *error):
        self.contexts.pop().__exit__(*error)


class Event:
    """A point in the work of a stream."""

    def __init__(self, streams, *, disable_timing=False):
        self.streams = streams
        self.after = {}

    def record(self, stream=None):
        with self.streams.lock:
            stream = stream or self.streams.current()
            self.after = _later(stream.behind, {stream.id: stream.given})
            self.at_ms = 1e3 * time.perf_counter()

    def synchronize(self):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(self.streams.delay_s)
        with self.streams.lock:
            for stream, position in self.after.items():
                self.streams.by_id[stream].run_own(position)
            self.streams.known_to_host = _later(self.streams.known_to_host, self.after)


def on_device(streams):
    """Whether this thread uses the device of the caller: one of its own has the first, if not told."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main or getattr(streams.local, "is_on_device", False)


class Device:
    """The device that the caller uses, entered by threads."""

    def __init__(self, streams):
        assert on_device(streams)  # elsewhere it would be the first device
        self.streams = streams

    def __enter__(self):
        self.streams.local.is_on_device = True

    def __exit__(self, *error):
        self.streams.local.is_on_device = False
