"""Slabs to a device and back while it works, on a stand-in that forgives nothing.

It does copies as late as they may be done, and raises `Race` where work on memory is not ordered behind its earlier
use. So a buffer that is reused too early gives wrong numbers, and a missing event an error.
"""

import threading
import weakref

import numpy as np
import pytest
from cuda_shim import stand_in
from cuda_shim.streams import Race

from tomo3d.compute import backend, slabs, streaming
from tomo3d.compute.aligned_views import SelectedViews
from tomo3d.compute.slabs import SlabWork
from tomo3d.compute.streaming import N_BUFFERS, ReadAhead, Uploaded, WriteBehind, is_uploaded

SHAPE = (5, 13, 6)
WAIT_S = 20.0  # what is waited for comes at once, or never


@pytest.fixture
def cupy():
    with stand_in.cupy() as module:
        yield module


@pytest.fixture
def many_pieces(monkeypatch):
    """Page-locked memory for a few rows, so that both buffers are used again and again."""
    monkeypatch.setattr(streaming, "_STAGED_BYTES", 64)


def host(shape=SHAPE, dtype=np.float32):
    array = (np.random.default_rng(0).random(shape) * 1000).astype(dtype)
    array.flags.writeable = False
    return array


def bands(n_y, n_slices):
    return [slice(first, min(first + n_slices, n_y)) for first in range(0, n_y, n_slices)]


def through(source, out, n_slices, work):
    """out[:, y] = work(source[:, y]) slab by slab, as the solvers do it."""
    with ReadAhead(source, bands(source.shape[1], n_slices)) as images, WriteBehind() as written:
        for band in bands(source.shape[1], n_slices):
            rows = images[:, band]
            inner = 2 * rows
            del rows
            images.go_on()
            written.write(work(inner), out, band)


def plus_one(slab):
    return slab + 1


@pytest.mark.parametrize(
    "key",
    [2, slice(1, 4), (slice(None), slice(3, 11)), (3, slice(2, 9), slice(1, 5)), (slice(None), slice(4, 4))],
)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">i2", "u1"])
def test_what_is_asked_for_is_uploaded(cupy, many_pieces, key, dtype):
    array = host(dtype=dtype)
    there = Uploaded(array, cupy)
    assert (there.shape, there.ndim, len(there)) == (SHAPE, 3, 5)
    part = there[key]
    assert isinstance(part, cupy.ndarray)
    assert part.dtype == there.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(part.get(), array[key])
    assert there.get() is array


def test_what_reads_uploaded_views_is_on_the_device(cupy):
    views = SelectedViews(Uploaded(host(), cupy), np.array([3, 0]), np.array([1, -2]))
    assert backend.namespace(views) is cupy
    assert is_uploaded(ReadAhead(views, []))
    assert not is_uploaded(SelectedViews(host(), np.array([3, 0])))
    assert not is_uploaded(cupy.asarray(host()))


@pytest.mark.parametrize("n_y", [1, 2, 7, 13])
@pytest.mark.parametrize("n_slices", [1, 3, 5, 20])
def test_slabs_put_together_are_the_whole(cupy, many_pieces, n_y, n_slices):
    array = host((5, n_y, 6))
    out = np.full(array.shape, np.nan, np.float32)
    through(Uploaded(array, cupy), out, n_slices, plus_one)
    np.testing.assert_array_equal(out, 2 * array + 1)


def test_views_that_are_moved_on_the_device_are_read_ahead_too(cupy, many_pieces):
    moved = (np.array([3, 0, 4]), np.array([1, -2, 0]))
    out = np.full((3, 13, 6), np.nan, np.float32)
    through(SelectedViews(Uploaded(host(), cupy), *moved, continued=True), out, 4, plus_one)
    np.testing.assert_array_equal(out, 2 * SelectedViews(host(), *moved, continued=True)[:, 0:13] + 1)


@pytest.mark.parametrize("where", ["host", "device"])
def test_arrays_that_are_where_the_work_is_pass_through(cupy, where):
    array, out = host(), np.full(SHAPE, np.nan, np.float32)
    if where == "device":
        array, out = cupy.asarray(array), cupy.asarray(out)
    n_threads = threading.active_count()
    through(array, out, 4, plus_one)
    assert threading.active_count() == n_threads
    np.testing.assert_array_equal(backend.to_device(out, "cpu"), 2 * host() + 1)


class Source:
    """Rows on the host that say when they are read."""

    dtype, shape = np.dtype(np.float32), SHAPE

    def __init__(self):
        self.is_read = {first: threading.Event() for first in range(SHAPE[1])}

    def __getitem__(self, key):
        self.is_read[key[1].start].set()
        return host()[key]


def test_the_next_slab_is_read_while_the_device_works_on_the_last(cupy):
    source, started = Source(), []

    def work(slab):
        started.append(slab)
        if len(started) < SHAPE[1]:
            assert source.is_read[len(started)].wait(WAIT_S)
        if len(started) + 1 < SHAPE[1]:
            assert not source.is_read[len(started) + 1].is_set()  # and no more: there is room for one
        return slab + 1

    out = np.empty(SHAPE, np.float32)
    through(Uploaded(source, cupy), out, 1, work)
    np.testing.assert_array_equal(out, 2 * host() + 1)


def test_a_slab_is_written_while_the_device_works_on_the_next(cupy):
    begun = [threading.Event() for _ in range(4)]

    class Target:
        """Is still taking a slab when the one after the next is worked on, and takes one at a time."""

        shape, data, busy = SHAPE, np.empty(SHAPE, np.float32), threading.Lock()

        def __setitem__(self, key, slab):
            assert type(slab) is np.ndarray
            assert self.busy.acquire(blocking=False)
            k = key[1].start // 4
            assert begun[min(k + 2, 3)].wait(WAIT_S)
            threading.Event().wait(0.02)  # for another to come
            self.data[key] = slab
            self.busy.release()

    def work(slab):
        next(event for event in begun if not event.is_set()).set()
        return slab + 1

    target = Target()
    through(Uploaded(host(), cupy), target, 4, work)
    np.testing.assert_array_equal(target.data, 2 * host() + 1)


def test_one_slab_waits_on_the_device_and_two_in_page_locked_memory(cupy):
    slabs_made, out = [], np.empty((3, 40, 5), np.float32)
    with WriteBehind() as written:
        for band in bands(40, 4):
            slab = cupy.ones((3, 4, 5), dtype=np.float32)
            slabs_made.append(weakref.ref(slab))
            written.write(slab, out, band)
            del slab
            assert sum(made() is not None for made in slabs_made) <= 1
            assert cupy.cuda.streams.pinned_bytes <= N_BUFFERS * 4 * 3 * 4 * 5
    assert (out == 1).all()
    assert cupy.cuda.streams.pinned_bytes == 0  # CuPy keeps none


def test_uploads_take_two_buffers_at_a_time(cupy, monkeypatch):
    monkeypatch.setattr(streaming, "_STAGED_BYTES", 1000)
    Uploaded(host((40, 5, 10)), cupy)[:]  # views of 200 bytes: five to a buffer
    assert cupy.cuda.streams.pinned_bytes == 2 * 1000


def test_memory_of_uploads_is_given_back_once_it_is_used(cupy):
    out = cupy.zeros(SHAPE, dtype=np.float32)  # there, so that no download waits
    through(Uploaded(host(), cupy), out, 4, plus_one)
    assert list(cupy.cuda.streams.given_back.values()) == [True]
    assert set(cupy.cuda.streams.freed) <= {cupy.cuda.streams.null.id}


def test_what_fails_is_told_and_ends_the_rest(cupy):
    class Full:
        shape = SHAPE

        def __setitem__(self, key, slab):
            raise OSError("no space left")

    class Torn(Source):
        def __getitem__(self, key):
            if key[1].start == 4:
                raise OSError("cannot read")
            return host()[key]

    seen = []
    out = np.empty(SHAPE, np.float32)

    def fails(slab):
        seen.append(slab)
        if len(seen) == 2:
            raise RuntimeError("out of memory")
        return slab + 1

    n_threads = threading.active_count()
    with pytest.raises(OSError, match="no space left"):
        through(Uploaded(host(), cupy), Full(), 1, plus_one)
    with pytest.raises(OSError, match="cannot read"):
        through(Uploaded(Torn(), cupy), out, 2, plus_one)
    with pytest.raises(RuntimeError, match="out of memory"):
        through(Uploaded(host(), cupy), out, 2, fails)
    assert len(seen) == 2
    assert threading.active_count() == n_threads
    assert all(not stream.copies for stream in cupy.cuda.streams.by_id.values())


def test_the_stand_in_sees_work_that_waits_for_nothing(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    there = cupy.zeros((4, 4), dtype=np.float32)
    with stream, pytest.raises(Race, match="reads what stream 0 may still be using"):
        there + 1
    stream.wait_event(cupy.cuda.get_current_stream().record())
    with stream:
        made = there + 1
    del there  # its memory is free on stream 0, while the other stream may still read it
    with pytest.raises(Race, match="writes where stream 1 may still be using"):
        cupy.zeros((2, 2), dtype=np.float32)[...] = 1
    with pytest.raises(Race, match="reads what"):
        made + 1
    stream.synchronize()
    assert (made + 1 == 2).all()


def test_slabs_that_are_streamed_are_enough_to_overlap():
    assert slabs.slices_that_fit(2048, 10**6, 10**10) == 2048
    assert slabs.slices_that_fit(2048, 10**6, 10**10, is_streamed=True) == 256  # eight slabs
    assert slabs.slices_that_fit(8192, 10**6, 450 * 10**6, is_streamed=True) == 448  # no more fit
    assert slabs.slices_that_fit(200, 10**6, 10**10, is_streamed=True) == 128  # two, rather than thin ones
    assert slabs.slices_that_fit(50, 10**6, 1, is_streamed=True) == 50


def test_what_comes_and_goes_is_counted():
    work = SlabWork(n_volumes=2, n_images=3)
    sizes = (10, 16, 64, 7, 32)  # slices, z, x, views, u
    volume, views = 4 * 10 * 16 * 64, 4 * 10 * 7 * (32 + slabs.PAD)
    assert work.streamed(up=True, down=False).n_bytes(*sizes) == work.n_bytes(*sizes) + views
    assert work.streamed(up=False, down=True).n_bytes(*sizes) == work.n_bytes(*sizes) + volume
