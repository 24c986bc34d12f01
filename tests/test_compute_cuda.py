"""The CUDA kernels without a GPU: their source compiled as C++ against the numba kernels, and by NVRTC."""

import ctypes
import importlib.util
import re
import shutil
from pathlib import Path

import cuda_shim
import numpy as np
import pytest
from projections import AFFINE, SEPARABLE, affine_geometry, dot, inside, padded, relative, separable

from tomo3d.compute.kernels import affine, projection, projection_cuda


@pytest.fixture
def gpu(monkeypatch):
    """The module of CUDA wrappers, on NumPy arrays."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to compile the CUDA source as C++")
    cuda_shim.install(monkeypatch)
    return projection_cuda


@pytest.mark.parametrize(("shape", "n_u", "n_views"), SEPARABLE)
def test_separable_kernels_equal_numba_and_are_transposes(gpu, shape, n_u, n_views):
    rng = np.random.default_rng(1)
    geometry = separable(n_u, n_views)
    volume = rng.random(shape, dtype=np.float32)
    images = padded(rng.random((n_views, n_u, shape[2]), dtype=np.float32))
    volume.flags.writeable = images.flags.writeable = False

    results = {}
    for name, module in (("cpu", projection), ("cuda", gpu)):
        # both add: start from ones
        back, forward = np.ones_like(volume), np.ones_like(images)
        getattr(module, f"back_{name}")(images, *geometry, back)
        getattr(module, f"forward_{name}")(volume, *geometry, forward)
        results[name] = back, forward
    detector = inside(n_u)
    (back_cpu, forward_cpu), (back, forward) = results["cpu"], results["cuda"]
    assert relative(back, back_cpu) <= 1e-6
    assert relative(forward[:, detector], forward_cpu[:, detector]) <= 1e-6
    assert (np.delete(forward, np.r_[detector], axis=1) == 1).all()  # the padding is left alone
    a, b = dot(forward[:, detector] - 1, images[:, detector]), dot(volume, back - 1)
    assert abs(a - b) <= 1e-6 * max(abs(a), images.sum())


@pytest.mark.parametrize(("shape", "detector", "rotation_deg", "x_tilt_deg"), AFFINE)
def test_affine_kernels_equal_numba_and_are_transposes(gpu, shape, detector, rotation_deg, x_tilt_deg):
    rng = np.random.default_rng(2)
    geometry = affine_geometry(*detector, rotation_deg, x_tilt_deg)
    volume = rng.random(shape, dtype=np.float32)
    images = rng.random((len(geometry), *detector), dtype=np.float32)
    volume.flags.writeable = images.flags.writeable = False
    back, forward = np.ones_like(volume), np.ones_like(images)
    gpu.back_affine_cuda(images, geometry, back)
    gpu.forward_affine_cuda(volume, geometry, forward)
    back_cpu, forward_cpu = np.ones_like(volume), np.ones_like(images)
    affine.back_affine_cpu(images, geometry, back_cpu)
    affine.forward_affine_cpu(volume, geometry, forward_cpu)
    assert relative(back, back_cpu) <= 1e-6
    assert relative(forward, forward_cpu) <= 1e-6
    a, b = dot(forward - 1, images), dot(volume, back - 1)
    assert abs(a - b) <= 1e-6 * abs(a)


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
def test_nvrtc_compiles_every_kernel_without_spilling_registers(architecture):
    cubin, log = compile_for(architecture, projection_cuda.compile_options(4, projection_cuda.X_PER_LANE))
    kernels = re.findall(
        r'extern "C" __global__ void .*?(\w+_cuda)\(', projection_cuda.source_text(), re.DOTALL
    )
    assert sorted(kernels) == ["back_affine_cuda", "back_cuda", "forward_affine_cuda", "forward_cuda"]
    assert cubin[:4] == b"\x7fELF"
    assert all(name.encode() in cubin for name in kernels)
    assert re.findall(r"(\d+) bytes spill stores", log) == ["0"] * 4
    # a block of 256 threads leaves 128 registers for two blocks on a multiprocessor
    assert max(int(used) for used in re.findall(r"Used (\d+) registers", log)) <= 128
