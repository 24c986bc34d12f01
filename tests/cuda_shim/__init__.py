"""Runs the CUDA kernels on a CPU: the same source, compiled as C++ behind a thin shim, in place of CuPy."""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.kernels import projection_cuda, thickness_cuda, warp_cuda

FOLDER = Path(__file__).parent
SMALL = {  # small blocks: their threads are threads of the operating system
    "LANES": 4,
    "ROWS": 2,
    "MOST_PER_LANE": 3,
    "X_PER_LANE": 3,
    "X_PER_LANE_AFFINE": 2,
    "U_PER_LANE": 2,
    "VIEWS": 3,
    "LAYERS": 5,
}
SMALL_FIELD_BYTES = 20_000  # some views at a time, and one


class Dim3(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]


@functools.cache
def _library(source, options, launchers):
    """The shim around a source, compiled with a kernel's options."""
    folder = Path(tempfile.mkdtemp(prefix="cuda_shim_"))
    try:
        (folder / "source.cu").write_text(source)
        command = [
            "g++",
            *options,
            "-std=c++20",
            "-O2",
            "-pthread",
            "-shared",
            "-fPIC",
            "-Wno-unknown-pragmas",
        ]
        command += [f'-DSOURCE_CU="{folder / "source.cu"}"', str(launchers)]
        done = subprocess.run(
            [*command, "-o", str(folder / "shim.so")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(folder / "shim.so"))
    finally:
        shutil.rmtree(folder)


def kernel(source, name, options):
    """What `backend.cuda_kernel` gives, on NumPy arrays."""
    launchers = next(path for path in FOLDER.glob("launch_*.cpp") if f" launch_{name}(" in path.read_text())
    function = getattr(_library(source, options, launchers), f"launch_{name}")

    def launch(grid, block, arguments):
        passed = [
            ctypes.c_int(value) if isinstance(value, np.int32) else value.ctypes.data_as(ctypes.c_void_p)
            for value in arguments
        ]
        function((Dim3 * 2)(Dim3(*grid), Dim3(*block)), *passed)

    return launch


@contextmanager
def on_cpu():
    """While it lasts, the functions of the modules of CUDA kernels run on NumPy arrays, in small blocks."""
    with (
        mock.patch.object(backend, "cuda_kernel", kernel),
        mock.patch.multiple(projection_cuda, **SMALL),
        mock.patch.multiple(
            warp_cuda, LANES=SMALL["LANES"], ROWS=SMALL["ROWS"], FIELD_BYTES=SMALL_FIELD_BYTES
        ),
        mock.patch.multiple(thickness_cuda, LANES=SMALL["LANES"], ROWS=SMALL["ROWS"]),
    ):
        yield projection_cuda
