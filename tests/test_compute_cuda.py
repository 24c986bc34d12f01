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
    WARPS,
    affine_differences,
    affine_geometry,
    inside,
    relative,
    separable,
    separable_differences,
    warp_differences,
    warp_maps,
)
from scipy import ndimage

from tomo3d.compute import distance
from tomo3d.compute.kernels import projection, projection_cuda, thickness_cuda, warp_cuda
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


@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("geometry", WARPS)
def test_resampling_kernels_equal_numba_and_are_transposes(gpu, geometry, is_absolute):
    found = warp_differences(*geometry[:2], warp_maps(*geometry), is_absolute=is_absolute)
    assert max(found) <= 1e-6


def test_a_field_as_steep_as_the_pixels_leaves_none_out(gpu):
    rng = np.random.default_rng(5)
    field = rng.uniform(-6, 6, (3, 5, 7, 2))  # folds the view: several pixels see one place
    affine, _ = warp_maps((25, 19), (25, 19), 3.0, 1.0, (1, 1))
    assert max(warp_differences((25, 19), (25, 19), (affine, field))) <= 1e-6


def test_a_smooth_field_is_searched_for_near_each_place(gpu):
    size = (240, 9)
    affine, _ = warp_maps(size, size, 1.0, 1.0, (1, 1), n_views=1)
    field = np.zeros((1, 3, 1, 2))
    field[0, 2] = 4.0  # moves all that is on one side
    window = warp_cuda.windows_of(affine, field, *size)[0]
    assert window[6:8].min() > 5  # by the range of the field: ten pixels and more
    closer = window[8:].reshape(2, 2) @ [2.0, 2.0]
    assert closer.max() < 2.5  # by its slope, from a pixel that sees the place
    assert max(warp_differences(size, size, (affine, field))) <= 1e-6


def test_the_padding_is_left_as_it_is(gpu):
    images = np.full((4, 6 + projection.PAD, 5), 7.0, np.float32)
    gpu.forward_cuda(np.ones((3, 9, 5), np.float32), *separable(6, 4), images)
    assert (np.delete(images, np.r_[inside(6)], axis=1) == 7).all()
    assert (images[:, inside(6)] > 7).any()


def bent(n_views):
    """Local shifts of up to 1.5 pixels."""
    return np.random.default_rng(6).uniform(-1.5, 1.5, (n_views, 2, 3, 2))


GEOMETRIES = {
    "plain": {},
    "turned": {"rotations_deg": np.linspace(-3, 2, 5)},
    "magnified": {"magnifications": np.linspace(0.97, 1.04, 5)},
    "moved along the axis": {"shifts": np.random.default_rng(7).uniform(-2, 2, (5, 2))},
    "locally": {"local_shifts": bent(5)},
    "other sizes": {"rotations_deg": np.full(5, 1.0), "n_y": 6, "n_v": 7, "local_shifts": bent(5)},
    "tilted about x": {"x_tilt_deg": 3.0, "rotations_deg": np.linspace(-1, 1, 5)},
}


@pytest.mark.parametrize("options", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_a_projector_and_a_solver_run_where_their_arrays_are(gpu, options):
    projector = Projector(np.linspace(-60, 50, 5), n_u=9, n_x=10, n_z=6, **options)
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


@pytest.mark.parametrize("options", [GEOMETRIES["turned"], GEOMETRIES["locally"]])
def test_views_that_are_resampled_never_go_through_the_host(gpu, options, monkeypatch):
    projector = Projector(np.linspace(-60, 50, 5), n_u=9, n_x=10, n_z=6, **options)
    images = np.random.default_rng(4).random((5, 7, 9), dtype=np.float32)
    with stand_in.cupy() as cupy:
        there = cupy.asarray(images)

        def leaves(*arguments, **keywords):
            raise AssertionError("an array was taken to the host")

        monkeypatch.setattr(stand_in.DeviceArray, "get", leaves)
        projector.forward(projector.back(there))


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


def blobs(shape, size=10, seed=1):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), size / 4) > 0


THICK = {
    "blobs": (blobs((13, 14, 15)), (1.0, 1.0, 1.0)),
    "flat voxels": (blobs((9, 12, 17)), (2.0, 1.0, 1.0)),
    "edges without a common length": (blobs((7, 11, 12)), (np.pi, np.e, 1.0)),  # squares of 64 bits
    "a hole in a full volume": (np.arange(6 * 7 * 8).reshape(6, 7, 8) != 100, (1.0, 1.0, 1.0)),
    "noise in one slice": (np.random.default_rng(0).random((1, 13, 21)) < 0.8, (1.0, 1.0, 1.0)),
}


@pytest.mark.parametrize(("mask", "voxel"), THICK.values(), ids=THICK.keys())
def test_thickness_on_the_gpu_equals_that_on_the_cpu(gpu, mask, voxel):
    expected = distance.largest_ball_diameter(mask, voxel)
    with stand_in.cupy() as cupy:
        found = distance.largest_ball_diameter(cupy.asarray(mask), voxel)
        assert isinstance(found, cupy.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize(("value", "match"), [(0, "at least one voxel"), (1, "must leave some background")])
def test_structures_without_a_thickness_are_refused_on_the_gpu_too(gpu, value, match):
    with stand_in.cupy() as cupy, pytest.raises(ValueError, match=match):
        distance.largest_ball_diameter(cupy.asarray(np.full((3, 4, 5), value, np.uint8)), (1.0, 1.0, 1.0))


NVRTC = importlib.util.find_spec("nvidia")


def nvrtc_library():
    """The compiler of the wheel nvidia-cuda-nvrtc-cu12, which needs no GPU."""
    for place in NVRTC.submodule_search_locations if NVRTC else ():
        for path in sorted(Path(place).glob("cuda_nvrtc/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    pytest.skip("needs the wheel nvidia-cuda-nvrtc-cu12: pip install 'tomo3d[test]'")


def compile_for(architecture, source, options):
    """The cubin of a CUDA source, and the compiler's notes on it."""
    nvrtc = nvrtc_library()
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"a.cu", 0, None, None) == 0
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
    ("names", "source", "options"),
    [
        (
            ("back_cuda", "forward_cuda"),
            projection_cuda.source_text(),
            projection_cuda.compile_options(projection_cuda.MOST_PER_LANE, projection_cuda.X_PER_LANE),
        ),
        (
            ("back_affine_cuda", "forward_affine_cuda"),
            projection_cuda.source_text(),
            projection_cuda.compile_options(projection_cuda.MOST_PER_LANE, projection_cuda.X_PER_LANE_AFFINE),
        ),
        (
            ("field_cuda", "warp_cuda", "warp_transpose_cuda"),
            warp_cuda.source_text(),
            warp_cuda.compile_options(),
        ),
        *(
            (
                ("spread_distance_cuda", "mark_balls_cuda", "paint_balls_cuda"),
                thickness_cuda.source_text(),
                thickness_cuda.compile_options(dtype),
            )
            for dtype in (np.int32, np.int64)
        ),
    ],
    ids=["separable", "affine", "resampling", "thickness", "thickness in 64 bits"],
)
def test_nvrtc_compiles_every_kernel_without_spilling_registers(architecture, names, source, options):
    cubin, log = compile_for(architecture, source, options)
    assert cubin[:4] == b"\x7fELF"
    for name in names:
        notes = log[log.index(f"'{name}'") :]
        assert re.search(r"(\d+) bytes spill stores", notes).group(1) == "0"
        # a block of 256 threads leaves 128 registers for two blocks on a multiprocessor
        assert int(re.search(r"Used (\d+) registers", notes).group(1)) <= 128
