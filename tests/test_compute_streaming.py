"""Slabs through a device, transfers and work overlapping, on a device that puts everything off.

The stand-in for CuPy queues uploads, work and downloads per stream, and runs a stream's queue only when it
is waited for. So a buffer that is reused too early, or read before its download, gives wrong numbers.
"""

import contextlib
import threading

import numpy as np
import pytest

from tomo3d.compute import streaming
from tomo3d.compute.streaming import slices_that_fit, stream_slabs


class LateArray:
    """An array on the device: its values are there when its stream has run."""

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.values = np.full(shape, np.nan, np.float32)

    def set(self, host, *, stream):
        assert host.flags.c_contiguous
        stream.queue(lambda: np.copyto(self.values, host))

    def get(self, *, out, stream, blocking):
        assert not blocking
        assert out.shape == self.shape
        stream.queue(lambda: np.copyto(out, self.values))


class OfTheCaller:
    """The device that the caller uses, entered by threads."""

    def __init__(self, local):
        self.local = local

    def __enter__(self):
        self.local.is_on_device = True

    def __exit__(self, *error):
        self.local.is_on_device = False


class LateDevice:
    """As much of CuPy as `stream_slabs` uses, late."""

    float32 = np.float32

    def __init__(self):
        self.cuda = self
        self.local = threading.local()  # a thread's current device and stream
        self.streams = []
        self.pinned_bytes = 0

    def Device(self):
        assert threading.current_thread() is threading.main_thread()  # elsewhere it would be the first device
        return OfTheCaller(self.local)

    def alloc_pinned_memory(self, n_bytes):
        self.pinned_bytes += n_bytes
        return bytearray(n_bytes)

    def Stream(self, *, non_blocking):
        assert non_blocking
        assert self.local.is_on_device
        self.streams.append(LateStream(self))
        return self.streams[-1]

    def empty(self, shape, *, dtype):
        assert self.local.is_on_device
        assert dtype is np.float32
        return LateArray(shape)

    def ascontiguousarray(self, array, *, dtype):
        return array

    def double_and_reverse(self, slab):
        """Two layers from every view, along the current stream."""
        result = LateArray((2 * slab.shape[0], slab.shape[1], slab.shape[2]))

        def work():
            result.values[...] = np.concatenate([2 * slab.values, slab.values[..., ::-1]])

        self.local.stream.queue(work)
        return result


class LateStream(contextlib.AbstractContextManager):
    def __init__(self, device):
        self.device, self.waiting = device, []

    def queue(self, job):
        self.waiting.append(job)

    def synchronize(self):
        for job in self.waiting:
            job()
        self.waiting = []

    def __enter__(self):
        self.device.local.stream = self

    def __exit__(self, *error):
        self.device.local.stream = None


@pytest.mark.parametrize("n_y", [1, 2, 7, 12])
@pytest.mark.parametrize("n_slices", [1, 3, 5, 20])
def test_slabs_put_together_are_the_whole(n_y, n_slices):
    device = LateDevice()
    source = np.random.default_rng(0).random((3, n_y, 5), dtype=np.float32)
    source.flags.writeable = False
    target = np.full((6, n_y, 5), np.nan, np.float32)
    stream_slabs(device, source, target, device.double_and_reverse, n_slices=n_slices)
    np.testing.assert_array_equal(target, np.concatenate([2 * source, source[..., ::-1]]))


def test_two_slabs_are_worked_on_at_a_time():
    device, both = LateDevice(), threading.Barrier(2)

    def meet(slab):
        both.wait(timeout=20)  # a slab that had to wait for the other's end would break the barrier
        return device.double_and_reverse(slab)

    target = np.empty((2, 6, 2), np.float32)
    stream_slabs(device, np.ones((1, 6, 2), np.float32), target, meet, n_slices=1)
    assert (target[0] == 2).all()


def test_one_slab_at_a_time_is_read_and_one_written():
    class Watched:
        """An array that a second reader or writer must not meet in."""

        def __init__(self, values):
            self.values, self.shape, self.busy = values, values.shape, threading.Lock()

        def __getitem__(self, key):
            assert self.busy.acquire(blocking=False)
            threading.Event().wait(0.005)
            self.busy.release()
            return self.values[key]

        def __setitem__(self, key, value):
            self[key][...] = value

    device = LateDevice()
    source, target = Watched(np.ones((1, 12, 2))), Watched(np.zeros((2, 12, 2)))
    stream_slabs(device, source, target, device.double_and_reverse, n_slices=1)
    assert (target.values[0] == 2).all()


def test_the_page_locked_memory_is_that_of_two_slabs():
    device = LateDevice()
    source, target = np.ones((3, 40, 5), np.float32), np.empty((6, 40, 5), np.float32)
    stream_slabs(device, source, target, device.double_and_reverse, n_slices=4)
    assert len(device.streams) == 2
    assert device.pinned_bytes == 2 * 4 * 4 * (3 * 5 + 6 * 5)


def test_work_that_fails_ends_the_rest_and_leaves_nothing_on_its_way():
    device = LateDevice()
    slabs = []

    def fails_at_the_second(slab):
        slabs.append(slab)
        if len(slabs) == 2:
            device.double_and_reverse(slab)
            raise RuntimeError("out of memory")
        return device.double_and_reverse(slab)

    with pytest.raises(RuntimeError, match="out of memory"):
        stream_slabs(device, np.ones((1, 99, 2)), np.empty((2, 99, 2)), fails_at_the_second, n_slices=1)
    assert len(slabs) < 99
    assert [stream.waiting for stream in device.streams] == [[], []]


def test_slabs_fit_the_device_and_are_enough_to_overlap():
    assert slices_that_fit(10**9, 10**6, 8192) == 432  # 450 would fit: 19 even slabs
    assert slices_that_fit(10**9, 10**6, 2048) == 256  # eight slabs
    assert slices_that_fit(10**9, 10**6, 200) == 100  # of at most 128 slices
    assert slices_that_fit(10**9, 10**6, 1) == 1
    for free in (5 * 10**6, 77 * 10**6, 10**9):
        n = slices_that_fit(free, 10**6, 999)
        assert streaming.N_SLOTS * n * 10**6 <= 0.9 * free
    with pytest.raises(MemoryError, match=r"room for 2 slices of 1 MB, got 1\.5 MB"):
        slices_that_fit(1_500_000, 10**6, 10)


def test_slabs_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one slice"):
        stream_slabs(LateDevice(), np.ones((1, 4, 2)), np.empty((1, 4, 2)), None, n_slices=0)
    with pytest.raises(ValueError, match="4 and 5 slices"):
        stream_slabs(LateDevice(), np.ones((1, 4, 2)), np.empty((1, 5, 2)), None, n_slices=2)
