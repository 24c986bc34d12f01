"""Slabs through a device, transfers and work overlapping, on a device that puts everything off.

The stand-in for CuPy queues uploads, work and downloads per stream, and runs a stream's queue only when it
is waited for. So a buffer that is reused too early, or read before its download, gives wrong numbers.
"""

import contextlib

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
        stream.queue("upload", lambda: np.copyto(self.values, host))

    def get(self, *, out, stream, blocking):
        assert not blocking
        assert out.shape == self.shape
        stream.queue("download", lambda: np.copyto(out, self.values))


class LateDevice:
    """As much of CuPy as `stream_slabs` uses, late, with a log of what the host asked for."""

    float32 = np.float32
    current = None

    def __init__(self):
        self.log = []
        self.cuda = self
        self.n_streams = 0
        self.pinned_bytes = 0

    def alloc_pinned_memory(self, n_bytes):
        self.pinned_bytes += n_bytes
        return bytearray(n_bytes)

    def Stream(self, *, non_blocking):
        assert non_blocking
        self.n_streams += 1
        return LateStream(self, self.n_streams - 1)

    def empty(self, shape, *, dtype):
        assert dtype is np.float32
        return LateArray(shape)

    def ascontiguousarray(self, array, *, dtype):
        return array

    def double_and_reverse(self, slab):
        """Two layers from every view, along the current stream."""
        result = LateArray((2 * slab.shape[0], slab.shape[1], slab.shape[2]))

        def work():
            result.values[...] = np.concatenate([2 * slab.values, slab.values[..., ::-1]])

        self.current.queue("work", work)
        return result


class LateStream(contextlib.AbstractContextManager):
    def __init__(self, device, name):
        self.device, self.name, self.waiting = device, name, []

    def queue(self, kind, job):
        self.device.log.append((kind, self.name))
        self.waiting.append(job)

    def synchronize(self):
        self.device.log.append(("wait", self.name))
        for job in self.waiting:
            job()
        self.waiting = []

    def __enter__(self):
        self.device.current = self

    def __exit__(self, *error):
        self.device.current = None


@pytest.mark.parametrize("n_y", [1, 2, 7, 12])
@pytest.mark.parametrize("n_slices", [1, 3, 5, 20])
def test_slabs_put_together_are_the_whole(n_y, n_slices):
    device = LateDevice()
    source = np.random.default_rng(0).random((3, n_y, 5), dtype=np.float32)
    source.flags.writeable = False
    target = np.full((6, n_y, 5), np.nan, np.float32)
    stream_slabs(device, source, target, device.double_and_reverse, n_slices=n_slices)
    np.testing.assert_array_equal(target, np.concatenate([2 * source, source[..., ::-1]]))


def test_a_slab_is_uploaded_and_worked_on_before_the_host_waits_for_the_one_before():
    device = LateDevice()
    stream_slabs(
        device,
        np.ones((1, 4, 2), np.float32),
        np.empty((2, 4, 2), np.float32),
        device.double_and_reverse,
        n_slices=1,
    )
    queued = [(kind, name) for name in (0, 1) for kind in ("upload", "work", "download")]
    assert device.log[:6] == queued  # both streams are full before anything is waited for
    assert device.log[6] == ("wait", 0)
    assert device.log[7:10] == queued[:3]  # and one always stays full


def test_the_page_locked_memory_is_that_of_two_slabs():
    device = LateDevice()
    source, target = np.ones((3, 40, 5), np.float32), np.empty((6, 40, 5), np.float32)
    stream_slabs(device, source, target, device.double_and_reverse, n_slices=4)
    assert device.n_streams == 2
    assert device.pinned_bytes == 2 * 4 * 4 * (3 * 5 + 6 * 5)


def test_work_that_fails_leaves_nothing_on_its_way():
    device = LateDevice()
    slabs = []

    def fails_at_the_second(slab):
        slabs.append(slab)
        if len(slabs) == 2:
            raise RuntimeError("out of memory")
        return device.double_and_reverse(slab)

    with pytest.raises(RuntimeError, match="out of memory"):
        stream_slabs(device, np.ones((1, 4, 2)), np.empty((2, 4, 2)), fails_at_the_second, n_slices=1)
    assert device.log[-2:] == [("wait", 0), ("wait", 1)]


def test_slabs_fill_nine_tenths_of_the_device_evenly():
    assert slices_that_fit(10**9, 10**6, 2048) == 410  # 450 would fit: five even slabs
    assert slices_that_fit(10**9, 10**6, 400) == 200  # room for all of it, but halves overlap
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
