"""A stand-in for CuPy on the CPU: NumPy arrays of a class of their own, that do not mix with NumPy's."""

import sys
import types
from contextlib import contextmanager
from unittest import mock

import numpy as np

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

    def get(self):
        """The array in NumPy."""
        return np.array(_plain(self))


DeviceArray.__module__ = "cupy"


def _plain(value):
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _device(value):
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


class _Module(types.ModuleType):
    """Functions of NumPy whose results are on the device; only `asarray` and the like take NumPy's arrays."""

    ndarray = DeviceArray

    def __getattr__(self, name):
        function = getattr(np, name)
        if not callable(function) or isinstance(function, (type, np.ufunc)):
            return function

        def on_device(*arguments, **keywords):
            if name not in ("asarray", "array", "ascontiguousarray"):
                for value in arguments:
                    if type(value) is np.ndarray and value.ndim:
                        raise TypeError(f"cupy.{name} of an array on the CPU")
            return _device(
                function(
                    *(_plain(value) for value in arguments),
                    **{key: _plain(value) for key, value in keywords.items()},
                )
            )

        return on_device


@contextmanager
def cupy():
    """While it lasts, `import cupy` gives the stand-in and the CUDA kernels run on the CPU."""
    module = _Module("cupy")
    with mock.patch.dict(sys.modules, cupy=module), cuda_shim.on_cpu():
        yield module
