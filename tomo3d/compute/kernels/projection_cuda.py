"""The kernels of `projection` and `affine` on a GPU: same names, arguments and results, on CuPy arrays.

The source is projection.cu, compiled on first use by CuPy, for the device at hand, and cached by it. Kernels are
launched on CuPy's current stream and return at once; the geometry may be in NumPy arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.kernels.projection import PAD, PAD_BEFORE

LANES = 32  # threads along y or v: a warp
ROWS = 8  # warps of a block
MOST_PER_LANE = 4  # slices that a thread works on at most
X_PER_LANE = 8  # columns of the volume that a thread works on, where one weight serves a row of slices
X_PER_LANE_AFFINE = 4  # the same for the affine pair, whose threads hold four taps
U_PER_LANE = 4  # detector pixels that a thread works on
VIEWS = 8  # views, or layers of the volume, whose taps are shared at a time
LAYERS = 8


def back_cuda(images: Any, cos: Any, sin: Any, offset: Any, volume: Any) -> None:
    """`projection.back_cpu` on the GPU."""
    _project("back_cuda", images, volume, (cos, sin, offset), volume, images)


def forward_cuda(volume: Any, cos: Any, sin: Any, offset: Any, images: Any) -> None:
    """`projection.forward_cpu` on the GPU; the padding is left as it is."""
    _project("forward_cuda", volume, images, (cos, sin, offset), volume, images)


def back_affine_cuda(images: Any, affine: Any, volume: Any) -> None:
    """`affine.back_affine_cpu` on the GPU."""
    check_arrays(images, volume)
    n_z, n_x, n_y = volume.shape
    launch, per_lane = _kernel("back_affine_cuda", n_y, X_PER_LANE_AFFINE)
    grid = (-(-n_x // X_PER_LANE_AFFINE), -(-n_z // ROWS), -(-n_y // (LANES * per_lane)))
    launch(grid, (images, on_device(images, affine), volume), (*images.shape, *volume.shape))


def forward_affine_cuda(volume: Any, affine: Any, images: Any) -> None:
    """`affine.forward_affine_cpu` on the GPU."""
    check_arrays(volume, images)
    n_views, n_u, n_v = images.shape
    launch, _ = _kernel("forward_affine_cuda", volume.shape[2], X_PER_LANE_AFFINE)
    grid = (-(-n_u // ROWS), n_views, -(-n_v // LANES))
    launch(grid, (volume, on_device(volume, affine), images), (*images.shape, *volume.shape))


def _project(name: str, source: Any, target: Any, geometry: tuple, volume: Any, images: Any) -> None:
    check_arrays(source, target)
    n_views, n_padded, n_y = images.shape
    n_z, n_x, _ = volume.shape
    n_u = n_padded - PAD
    launch, per_lane = _kernel(name, n_y, X_PER_LANE)
    across = (-(-n_x // X_PER_LANE), -(-n_z // ROWS))
    if name == "forward_cuda":
        across = (-(-n_u // (ROWS * U_PER_LANE)), n_views)
    grid = (*across, -(-n_y // (LANES * per_lane)))
    arrays = (source, *(on_device(source, values) for values in geometry), target)
    launch(grid, arrays, (n_views, n_padded, PAD_BEFORE, n_u, n_z, n_x, n_y))


def _kernel(name: str, n_y: int, x_per_lane: int) -> tuple[Callable[..., None], int]:
    """A function that launches a kernel, and the slices of a thread: no more than there are."""
    per_lane = max(1, min(MOST_PER_LANE, -(-n_y // LANES)))
    options = compile_options(per_lane, x_per_lane)
    kernel = backend.cuda_kernel(source_text(), name, options)

    def launch(grid: tuple[int, int, int], arrays: tuple, sizes: tuple[int, ...]) -> None:
        if min(grid) > 0:  # nothing to do is no launch that CUDA accepts
            kernel(grid, (LANES, ROWS, 1), (*arrays, *(np.int32(size) for size in sizes)))

    return launch, per_lane


def compile_options(y_per_lane: int, x_per_lane: int) -> tuple[str, ...]:
    """What the compiler must be told: the sizes of a block and of the tile of a thread."""
    sizes = {
        "LANES": LANES,
        "ROWS": ROWS,
        "Y_PER_LANE": y_per_lane,
        "X_PER_LANE": x_per_lane,
        "U_PER_LANE": U_PER_LANE,
        "VIEWS": VIEWS,
        "LAYERS": LAYERS,
    }
    return tuple(f"-D{name}={size}" for name, size in sizes.items())


@functools.cache
def source_text() -> str:
    """The CUDA source."""
    return resources.files(__package__).joinpath("projection.cu").read_text(encoding="utf-8")


def on_device(beside: Any, values: Any) -> Any:
    """Float64 values of the geometry, on the device of the array `beside`."""
    xp = backend.namespace(beside)
    return xp.ascontiguousarray(xp.asarray(values, dtype=xp.float64))


def check_arrays(source: Any, target: Any) -> None:
    """Raise TypeError unless a kernel can read the one and write the other."""
    for array in (source, target):
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            kind = "C-contiguous" if array.flags.c_contiguous else "not C-contiguous"
            raise TypeError(f"Images and volume must be C-contiguous float32, got {array.dtype}, {kind}.")
    if backend.namespace(source) is not backend.namespace(target):
        raise TypeError(
            "Images and volume must both be NumPy arrays or both CuPy arrays, got "
            f"{type(source).__module__} and {type(target).__module__}: use cupy.asarray or cupy.asnumpy."
        )
