"""The CUDA kernels without a GPU: their source compiled as C++ against the numba kernels, and by NVRTC."""

import ctypes
import importlib.util
import re
import shutil
from pathlib import Path

import cuda_shim
import numpy as np
import pytest
from cuda_shim import stand_in
from projections import (
    AFFINE,
    SEPARABLE,
    affine_differences,
    affine_geometry,
    inside,
    relative,
    separable,
    separable_differences,
)

from tomo3d.compute.kernels import projection, projection_cuda
from tomo3d.compute.projector import Projector
from tomo3d.compute.solvers import Problem, Sirt, iterate


@pytest.fixture
def gpu():
    """The module of CUDA wrappers, on NumPy arrays."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to compile the CUDA source as C++")
    with cuda_shim.on_cpu() as module:
        yield module


@pytest.mark.parametrize(("shape", "n_u", "n_views"), SEPARABLE)
def test_separable_kernels_equal_numba_and_are_transposes(gpu, shape, n_u, n_views):
    assert max(separable_differences(shape, n_u, separable(n_u, n_views))) <= 1e-6


@pytest.mark.parametrize(("shape", "detector", "rotation_deg", "x_tilt_deg"), AFFINE)
def test_affine_kernels_equal_numba_and_are_transposes(gpu, shape, detector, rotation_deg, x_tilt_deg):
    geometry = affine_geometry(*detector, rotation_deg, x_tilt_deg)
    assert max(affine_differences(shape, detector, geometry)) <= 1e-6


def test_the_padding_is_left_as_it_is(gpu):
    images = np.full((4, 6 + projection.PAD, 5), 7.0, np.float32)
    gpu.forward_cuda(np.ones((3, 9, 5), np.float32), *separable(6, 4), images)
    assert (np.delete(images, np.r_[inside(6)], axis=1) == 7).all()
    assert (images[:, inside(6)] > 7).any()


@pytest.mark.parametrize("rotations_deg", [None, np.linspace(-1, 1, 5)])
def test_a_projector_and_a_solver_run_where_their_arrays_are(gpu, rotations_deg):
    projector = Projector(np.linspace(-60, 50, 5), n_u=9, n_x=10, n_z=6, rotations_deg=rotations_deg)
    images = np.random.default_rng(4).random((5, 7, 9), dtype=np.float32)
    expected = iterate(Sirt(), Problem(images, projector), n_iterations=3)
    with stand_in.cupy() as cupy:
        found = iterate(Sirt(), Problem(cupy.asarray(images), projector), n_iterations=3)
        assert isinstance(found.volume, cupy.ndarray)
        assert relative(found.volume.get(), expected.volume) <= 1e-5  # three iterations of 1e-6
        np.testing.assert_allclose(found.residual_norms, expected.residual_norms, rtol=1e-5)
        back = projector.back(cupy.asarray(images))
        assert relative(back.get(), projector.back(images)) <= 1e-6
        assert relative(projector.forward(back).get(), projector.forward(back.get())) <= 1e-6


def test_a_beam_along_y_and_a_geometry_beyond_the_detector_are_projected_too(gpu):
    along_y = np.array([[1.0, 0.0, 0.0, 2.5], [0.0, 0.0, 1.0, 3.0]])
    beyond = np.array([[1.0, 0.0, 0.0, -1e12], [0.0, 1.0, 0.0, 3.0]])
    geometry = np.stack([along_y, beyond])
    volume = np.random.default_rng(3).random((7, 6, 9), dtype=np.float32)
    images = np.zeros((2, 6, 7), np.float32)
    gpu.forward_affine_cuda(volume, geometry, images)
    assert relative(images[0], volume.sum(axis=2).T) <= 1e-6
    assert (images[1] == 0).all()
    back = np.zeros_like(volume)
    gpu.back_affine_cuda(np.ones_like(images), geometry, back)
    np.testing.assert_allclose(back, 1.0, rtol=1e-6)


def test_arrays_that_a_kernel_cannot_read_are_refused(gpu):
    volume, images = np.zeros((3, 4, 5), np.float32), np.zeros((2, 4 + projection.PAD, 5), np.float32)
    geometry = np.ones(2), np.zeros(2), np.zeros(2)
    with pytest.raises(TypeError, match="C-contiguous float32, got float64"):
        gpu.back_cuda(images.astype(np.float64), *geometry, volume)
    with pytest.raises(TypeError, match="not C-contiguous"):
        gpu.forward_cuda(volume.transpose(1, 0, 2), *geometry, images)


NVRTC = importlib.util.find_spec("nvidia")


def nvrtc_library():
    """The compiler of the wheel nvidia-cuda-nvrtc-cu12, which needs no GPU."""
    for place in NVRTC.submodule_search_locations if NVRTC else ():
        for path in sorted(Path(place).glob("cuda_nvrtc/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    pytest.skip("needs the wheel nvidia-cuda-nvrtc-cu12: pip install 'tomo3d[test]'")


def compile_for(architecture, options):
    """The cubin of the CUDA source, and the compiler's notes on it."""
    nvrtc = nvrtc_library()
    program = ctypes.c_void_p()
    source = projection_cuda.source_text().encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"projection.cu", 0, None, None) == 0
    given = [*options, f"-arch={architecture}", "--ptxas-options=-v"]
    array = (ctypes.c_char_p * len(given))(*(option.encode() for option in given))
    failed = nvrtc.nvrtcCompileProgram(program, len(given), array)

    def read(what):
        size = ctypes.c_size_t()
        assert getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
        text = ctypes.create_string_buffer(size.value)
        assert getattr(nvrtc, f"nvrtcGet{what}")(program, text) == 0
        return text.raw

    log = read("ProgramLog").decode()
    assert failed == 0, log
    return read("CUBIN"), log


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    ("pair", "x_per_lane"),
    [
        (("back_cuda", "forward_cuda"), projection_cuda.X_PER_LANE),
        (("back_affine_cuda", "forward_affine_cuda"), projection_cuda.X_PER_LANE_AFFINE),
    ],
)
def test_nvrtc_compiles_every_kernel_without_spilling_registers(architecture, pair, x_per_lane):
    cubin, log = compile_for(
        architecture, projection_cuda.compile_options(projection_cuda.MOST_PER_LANE, x_per_lane)
    )
    assert cubin[:4] == b"\x7fELF"
    for name in pair:
        notes = log[log.index(f"'{name}'") :]
        assert re.search(r"(\d+) bytes spill stores", notes).group(1) == "0"
        # a block of 256 threads leaves 128 registers for two blocks on a multiprocessor
        assert int(re.search(r"Used (\d+) registers", notes).group(1)) <= 128
