"""The same numbers whatever does the work: CPU or GPU, one thread or two, the whole or slab by slab."""

import numba
import numpy as np
import pytest
from projections import (
    AFFINE,
    SEPARABLE,
    WARPS,
    affine_differences,
    affine_geometry,
    inside,
    padded,
    relative,
    separable,
    separable_differences,
    warp_differences,
    warp_maps,
)

from tomo3d.compute import backend
from tomo3d.compute.kernels import projection
from tomo3d.compute.kernels.affine import back_affine_cpu, forward_affine_cpu
from tomo3d.compute.projector import Projector
from tomo3d.compute.solvers import Problem, Sirt, iterate
from tomo3d.compute.streaming import Uploaded

GPU = backend.gpu_status()
needs_gpu = pytest.mark.skipif(not GPU.is_available, reason=GPU.reason)
TILTS_DEG = np.array([-70.0, -33.0, 0.0, 12.0, 45.0, 61.0, 90.0])


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


@needs_gpu
@pytest.mark.parametrize(
    ("shape", "n_u", "n_views"), [*SEPARABLE, ((33, 70, 130), 65, 12), ((40, 128, 260), 128, 12)]
)
def test_separable_kernels_of_the_gpu_equal_those_of_the_cpu(cupy, shape, n_u, n_views):
    assert max(separable_differences(shape, n_u, separable(n_u, n_views), xp=cupy)) <= 1e-6


@needs_gpu
@pytest.mark.parametrize(
    ("shape", "detector", "rotation_deg", "x_tilt_deg"), [*AFFINE, ((33, 70, 130), (65, 129), 2.0, 1.0)]
)
def test_affine_kernels_of_the_gpu_equal_those_of_the_cpu(cupy, shape, detector, rotation_deg, x_tilt_deg):
    geometry = affine_geometry(*detector, rotation_deg, x_tilt_deg)
    assert max(affine_differences(shape, detector, geometry, xp=cupy)) <= 1e-6


@needs_gpu
@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("geometry", [*WARPS, ((300, 270), (280, 257), 3.0, 1.01, (4, 6))])
def test_resampling_kernels_of_the_gpu_equal_those_of_the_cpu(cupy, geometry, is_absolute):
    found = warp_differences(*geometry[:2], warp_maps(*geometry), is_absolute=is_absolute, xp=cupy)
    assert max(found) <= 1e-6


@needs_gpu
@pytest.mark.parametrize(
    "geometry",
    [
        {"rotations_deg": np.linspace(-2, 2, 7), "magnifications": np.linspace(0.98, 1.02, 7)},
        {"shifts": np.linspace((-3, 2), (2, -1), 7), "local_shifts": np.full((7, 2, 3, 2), 1.3)},
    ],
)
def test_views_that_are_resampled_are_reconstructed_alike_on_both(cupy, geometry):
    projector = Projector(TILTS_DEG, n_u=40, n_x=50, n_z=20, **geometry)
    images = np.random.default_rng(0).random((len(TILTS_DEG), 70, 40), dtype=np.float32)
    found = iterate(Sirt(), Problem(cupy.asarray(images), projector), n_iterations=3)
    wanted = iterate(Sirt(), Problem(images, projector), n_iterations=3)
    assert relative(cupy.asnumpy(found.volume), wanted.volume) <= 1e-5  # three iterations of 1e-6


@needs_gpu
def test_slabs_streamed_through_the_gpu_are_the_whole(cupy):
    projector = Projector(TILTS_DEG, n_u=40, n_x=50, n_z=20)
    images = np.random.default_rng(0).random((len(TILTS_DEG), 100, 40), dtype=np.float32)
    volume = np.full((20, 100, 50), np.nan, np.float32)
    iterate(Sirt(), Problem(Uploaded(images, cupy), projector), n_iterations=3, out=volume, n_slices=17)
    wanted = iterate(Sirt(), Problem(images, projector), n_iterations=3).volume
    assert relative(volume, wanted) <= 1e-6


def threads(n):
    if n > numba.config.NUMBA_NUM_THREADS:
        pytest.skip(f"needs {n} threads, numba may use {numba.config.NUMBA_NUM_THREADS}")
    numba.set_num_threads(n)


@pytest.fixture
def restore_threads():
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


def both_ways(projector, volume, images):
    return projector.forward(volume), projector.back(images)


@pytest.mark.parametrize("rotation_deg", [0.0, 1.5, 30.0])
def test_one_thread_and_two_give_the_same(restore_threads, rotation_deg):
    rng = np.random.default_rng(1)
    volume, images = rng.random((19, 80, 37), np.float32), rng.random((7, 80, 33), np.float32)
    projector = Projector(TILTS_DEG, n_u=33, n_x=37, n_z=19, rotations_deg=np.full(7, rotation_deg))
    threads(1)
    one = both_ways(projector, volume, images)
    threads(2)
    two = both_ways(projector, volume, images)
    for a, b in zip(one, two, strict=True):
        assert relative(b, a) <= 1e-6


@pytest.mark.parametrize("n_slices", [1, 7, 64])
def test_slabs_put_together_are_the_whole(n_slices):
    rng = np.random.default_rng(2)
    volume, images = rng.random((19, 80, 37), np.float32), rng.random((7, 80, 33), np.float32)
    projector = Projector(TILTS_DEG, n_u=33, n_x=37, n_z=19, shifts=np.linspace(-2, 3, 7))
    whole = both_ways(projector, volume, images)
    slabs = [
        both_ways(projector, volume[:, y : y + n_slices], images[:, y : y + n_slices])
        for y in range(0, 80, n_slices)
    ]
    for parts, expected in zip(zip(*slabs, strict=True), whole, strict=True):
        assert relative(np.concatenate(parts, axis=1), expected) <= 1e-6


@pytest.mark.parametrize(("shape", "n_u", "n_views"), SEPARABLE)
def test_the_affine_pair_equals_the_separable_one_where_both_apply(shape, n_u, n_views):
    rng = np.random.default_rng(3)
    cos, sin, offset = separable(n_u, n_views)
    n_y = shape[2]
    affine = np.zeros((n_views, 2, 4))
    affine[:, 0] = np.stack([cos, 0 * cos, sin, offset], axis=1)
    affine[:, 1] = [0.0, 1.0, 0.0, 0.5 * (n_y - 1)]
    volume, images = rng.random(shape, np.float32), rng.random((n_views, n_u, n_y), np.float32)

    back, back_affine = np.zeros_like(volume), np.zeros_like(volume)
    projection.back_cpu(padded(images), cos, sin, offset, back)
    back_affine_cpu(images, affine, back_affine)
    assert relative(back_affine, back) <= 1e-6
    forward, forward_affine = np.zeros_like(padded(images)), np.zeros_like(images)
    projection.forward_cpu(volume, cos, sin, offset, forward)
    forward_affine_cpu(volume, affine, forward_affine)
    inner = forward[:, inside(n_u)]

    assert relative(forward_affine, inner) <= 1e-6
