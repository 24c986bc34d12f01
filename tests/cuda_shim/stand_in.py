"""A stand-in for CuPy on the CPU: NumPy arrays of a class of their own, that do not mix with NumPy's.

Their streams are as strict, see `streams`.
"""

import importlib.machinery
import sys
import types
import weakref
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
import scipy.fft
import scipy.ndimage

import cuda_shim
from cuda_shim.streams import Device, Event, Stream, Streams
from tomo3d.compute import backend

_streams = Streams()  # anew whenever the stand-in is
_pinned = {}  # page-locked memory: where it begins, and its bytes


class DeviceArray(np.ndarray):
    """As CuPy's, it refuses to compute with a NumPy array, and to become one unasked."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        out = keywords.get("out", ())
        for array in (*inputs, *out):
            if type(array) is np.ndarray and array.ndim:
                raise TypeError(f"{ufunc.__name__} of an array on the GPU and one on the CPU")
        _streams.work(_there(inputs), _there(out))
        plain = [_plain(array) for array in inputs]
        if out:
            keywords["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*plain, **keywords)
        return out[0] if out else _device(result)

    def __setitem__(self, key, value):
        if type(value) is np.ndarray and value.ndim:
            raise TypeError("an array on the CPU put into one on the GPU")
        _streams.work(_there([value]), [self])
        super().__setitem__(_plain(key), value)

    def astype(self, *arguments, **keywords):
        _streams.work([self])
        return _device(_plain(self).astype(*arguments, **keywords))

    def copy(self, *arguments, **keywords):
        _streams.work([self])
        return _device(_plain(self).copy(*arguments, **keywords))

    def get(self, *, out=None, stream=None, blocking=True):
        """The array in NumPy: at once, or with a stream when it comes to that."""
        if blocking:
            _streams.work([self])
            _streams.current().synchronize()
            return np.array(_plain(self))
        assert out.shape == self.shape
        assert out.dtype == self.dtype
        assert out.flags.c_contiguous
        assert _is_page_locked(out), "other memory would make the copy wait"
        stream.copy(partial(np.copyto, out, _plain(self)), reads=[self])
        return out

    def set(self, host, stream):
        """Copy a NumPy array here, when the stream comes to it."""
        assert host.shape == self.shape
        assert host.dtype == self.dtype
        assert host.flags.c_contiguous
        assert _is_page_locked(host), "other memory would make the copy wait"
        stream.copy(partial(np.copyto, _plain(self), host), writes=[self])


DeviceArray.__module__ = "cupy"


def _plain(value):
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _device(value, *, is_written=True):
    if not isinstance(value, np.ndarray):
        return value
    there = value.view(DeviceArray)
    _streams.made(there, is_written=is_written)
    return there


def _there(values):
    return [value for value in values if isinstance(value, DeviceArray)]


def _page_locked(n_bytes):
    """Memory that copies of a stream go through, full of NaN."""
    memory = np.full(n_bytes, 0xFF, np.uint8)
    _pinned[memory.ctypes.data] = n_bytes
    weakref.finalize(memory, _pinned.pop, memory.ctypes.data)
    _streams.pinned_bytes += n_bytes
    return memory


def _is_page_locked(host):
    first = host.ctypes.data
    return any(at <= first and first + host.nbytes <= at + n_bytes for at, n_bytes in list(_pinned.items()))


class _Module(types.ModuleType):
    """Functions of NumPy or SciPy with results on the device; only `asarray` and the like take NumPy's arrays."""

    ndarray = DeviceArray

    def __init__(self, name, of):
        super().__init__(name)
        self.of = of

    def __getattr__(self, name):
        function = getattr(self.of, name)
        if not callable(function) or isinstance(function, (type, np.ufunc)):
            return function

        def on_device(*arguments, **keywords):
            if name not in ("asarray", "array", "ascontiguousarray"):
                for value in (*arguments, *keywords.values()):
                    if type(value) is np.ndarray and value.ndim:
                        raise TypeError(f"{self.__name__}.{name} of an array on the CPU")
            out = keywords.get("out", keywords.get("output"))
            _streams.work(_there([*arguments, *keywords.values()]), _there([out]))
            result = function(
                *(_plain(value) for value in arguments),
                **{key: _plain(value) for key, value in keywords.items()},
            )
            if type(arguments[0]) is np.ndarray:
                result = result.copy()  # what comes from the CPU is not there as well
            return _device(result, is_written=not name.startswith("empty"))

        return on_device


class _Properties:
    """Of a device with 64 MB of free memory."""

    memGetInfo = staticmethod(lambda: (64_000_000, 128_000_000))
    getDeviceProperties = staticmethod(lambda device: {"name": b"a stand-in"})


def _cuda():
    """The module cupy.cuda, with no work given to any stream."""
    cuda = types.SimpleNamespace(runtime=_Properties, alloc_pinned_memory=_page_locked)
    cuda.Event, cuda.Stream, cuda.Device = (partial(cls, _streams) for cls in (Event, Stream, Device))
    cuda.get_current_stream = _streams.current
    cuda.get_elapsed_time = lambda start, end: end.at_ms - start.at_ms
    cuda.streams = _streams
    return cuda


def _kernel(source, name, options):
    """A CUDA kernel on the CPU; its last array is what it writes."""
    kernel = cuda_shim.kernel(source, name, options)

    def launch(grid, block, arguments):
        arrays = _there(arguments)
        _streams.work(arrays[:-1], arrays[-1:])
        kernel(grid, block, arguments)

    return launch


class _Pool:
    free_bytes = staticmethod(lambda: 0)
    free_all_blocks = staticmethod(lambda stream=None: _streams.give_back(stream))


class _PinnedPool:
    """What is let go of is kept until it is freed."""

    @staticmethod
    def free_all_blocks():
        _streams.pinned_bytes = sum(_pinned.values())


@contextmanager
def cupy():
    """While it lasts, `import cupy` gives the stand-in and the CUDA kernels run on the CPU."""
    global _streams
    _streams = Streams()
    module = _Module("cupy", np)
    module.fft = _Module("cupy.fft", np.fft)
    module.cuda = _cuda()
    module.is_available = lambda: True
    module.asnumpy = lambda array: array.get()
    module.get_default_memory_pool = _Pool
    module.get_default_pinned_memory_pool = _PinnedPool
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    modules = {
        "cupy": module,
        "cupyx.scipy.fft": _Module("cupyx.scipy.fft", scipy.fft),
        "cupyx.scipy.ndimage": _Module("cupyx.scipy.ndimage", scipy.ndimage),
    }
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        with cuda_shim.on_cpu(), mock.patch.object(backend, "cuda_kernel", _kernel):
            yield module
    finally:  # and no more than these: what was imported meanwhile stays
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)
