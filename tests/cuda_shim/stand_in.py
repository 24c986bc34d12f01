"""A stand-in for CuPy on the CPU: NumPy arrays of a class of their own, that do not mix with NumPy's."""

import importlib.machinery
import sys
import time
import types
from contextlib import contextmanager, nullcontext

import numpy as np
import scipy.fft
import scipy.ndimage

import cuda_shim


class DeviceArray(np.ndarray):
    """As CuPy's, it refuses to compute with a NumPy array, and to become one unasked."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        out = keywords.get("out", ())
        for array in (*inputs, *out):
            if type(array) is np.ndarray and array.ndim:
                raise TypeError(f"{ufunc.__name__} of an array on the GPU and one on the CPU")
        plain = [_plain(array) for array in inputs]
        if out:
            keywords["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*plain, **keywords)
        return out[0] if out else _device(result)

    def __setitem__(self, key, value):
        if type(value) is np.ndarray and value.ndim:
            raise TypeError("an array on the CPU put into one on the GPU")
        super().__setitem__(_plain(key), value)

    def get(self, *, out=None, stream=None, blocking=True):
        """The array in NumPy."""
        if out is None:
            return np.array(_plain(self))
        np.copyto(out, _plain(self))
        return out

    def set(self, host, stream=None):
        """Copy a NumPy array here."""
        np.copyto(_plain(self), host)


DeviceArray.__module__ = "cupy"


def _plain(value):
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _device(value):
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


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
            return _device(
                function(
                    *(_plain(value) for value in arguments),
                    **{key: _plain(value) for key, value in keywords.items()},
                )
            )

        return on_device


class _Event:
    """A point in the work of the device, which is done when it is asked for."""

    def record(self):
        self.at_ms = 1e3 * time.perf_counter()

    def synchronize(self):
        """Nothing is on its way."""


class _Stream(nullcontext):
    def __init__(self, *, non_blocking):
        super().__init__()

    def synchronize(self):
        """Nothing is on its way."""


class _Properties:
    """Of a device with 64 MB of free memory."""

    memGetInfo = staticmethod(lambda: (64_000_000, 128_000_000))
    getDeviceProperties = staticmethod(lambda device: {"name": b"a stand-in"})


class _Cuda:
    Event, Stream, Device, runtime = _Event, _Stream, nullcontext, _Properties
    alloc_pinned_memory = bytearray

    @staticmethod
    def get_elapsed_time(start, end):
        return end.at_ms - start.at_ms


class _Pool:
    free_bytes = staticmethod(lambda: 0)
    free_all_blocks = staticmethod(lambda: None)


@contextmanager
def cupy():
    """While it lasts, `import cupy` gives the stand-in and the CUDA kernels run on the CPU."""
    module = _Module("cupy", np)
    module.fft = _Module("cupy.fft", np.fft)
    module.cuda = _Cuda
    module.is_available = lambda: True
    module.asnumpy = lambda array: array.get()
    module.get_default_memory_pool = _Pool
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    modules = {
        "cupy": module,
        "cupyx.scipy.fft": _Module("cupyx.scipy.fft", scipy.fft),
        "cupyx.scipy.ndimage": _Module("cupyx.scipy.ndimage", scipy.ndimage),
    }
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        with cuda_shim.on_cpu():
            yield module
    finally:  # and no more than these: what was imported meanwhile stays
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)
