"""The kernels of `warp` on a GPU: same arguments and results, on CuPy arrays; the maps are NumPy arrays.

The source is warp.cu. Where there is a field, it is worked out at every pixel before, for some views at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.kernels.projection_cuda import check_arrays, on_device

LANES = 32  # threads along v or y: a warp
ROWS = 8  # warps of a block
FIELD_BYTES = 64 << 20  # of the field at every pixel, of as many views as that holds
_REACH = 2.001  # of a cubic in pixels, and for rounding: REACH of the source
_OVERSHOOT = 1.25  # of a cubic in one direction, over the largest of its nodes
_SLOPE = 1.5  # of a cubic, over the largest difference of neighbouring nodes
_ANYWHERE = 1e9  # pixels
_LEAST = 0.05  # of a determinant: what is nearer to singular bounds nothing


def warp_cuda(
    planes: Any, rows: tuple[int, int], affine: Any, field: Any, images: Any, is_absolute: bool = False
) -> None:
    """`warp.warp_cpu` on the GPU."""
    check_arrays(planes, images)
    _, n_u, n_v = images.shape
    affine, field = _folded(affine, field)
    launch = _kernel("warp_cuda", n_u, n_v)
    for views, moves in _fields(planes, field, n_u, n_v):
        arrays = planes[views], on_device(planes, affine[views]), moves, images[views]
        launch(arrays, (is_absolute, moves.size > 1, *_plane(planes, rows), n_u, n_v))


def warp_transpose_cuda(
    images: Any, rows: tuple[int, int], affine: Any, field: Any, planes: Any, is_absolute: bool = False
) -> None:
    """`warp.warp_transpose_cpu` on the GPU."""
    check_arrays(images, planes)
    _, n_u, n_v = images.shape
    affine, field = _folded(affine, field)
    windows = windows_of(affine, field, n_u, n_v)
    launch = _kernel("warp_transpose_cuda", rows[1] - rows[0], planes.shape[2])
    for views, moves in _fields(images, field, n_u, n_v):
        maps = (on_device(images, values[views]) for values in (affine, windows))
        launch(
            (images[views], *maps, moves, planes[views]),
            (is_absolute, moves.size > 1, *_plane(planes, rows), n_u, n_v),
        )


def windows_of(affine: np.ndarray, field: np.ndarray, n_u: int, n_v: int) -> np.ndarray:
    """Where the pixels are that may see a place of the plane: (n_views, 12), the `Window` of the source.

    Let g(q) = A q + b + f(q) be where pixel q sees the plane. Those with |g(q) - p| < 2 are no further from
    A^-1 (p - b - middle) than |A^-1| (2 + the most that f strays from its middle); and no further from a
    pixel q0 than (1 - |A^-1| L)^-1 |A^-1| (2 + |g(q0) - p|), L bounding the slopes of f, if that is an inverse
    without negative elements.
    """
    inverse = np.linalg.inv(affine[:, :, :2])
    size = abs(inverse)
    low, high = field.min(axis=(1, 2)), field.max(axis=(1, 2))
    strays = _OVERSHOOT**2 * 0.5 * (high - low)
    reach = np.einsum("kij,kj->ki", size, _REACH + strays)
    slopes = np.zeros((len(field), 2, 2))  # (view, (u, v) of the field, along u or v)
    for axis, n_pixels in enumerate((n_u, n_v)):
        n_nodes = field.shape[1 + axis]
        if n_nodes > 1:
            steps = abs(np.diff(field, axis=1 + axis)).max(axis=(1, 2))
            slopes[:, :, axis] = _SLOPE * _OVERSHOOT * steps * n_nodes / n_pixels
    rest = np.eye(2) - size @ slopes
    is_bound = (rest[:, 0, 0] > 0) & (np.linalg.det(rest) > _LEAST)
    rest[~is_bound] = np.eye(2) / _ANYWHERE
    closer = np.linalg.solve(rest, size)
    parts = (inverse.reshape(-1, 4), 0.5 * (low + high), reach, closer.reshape(-1, 4))
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def compile_options() -> tuple[str, ...]:
    """What the compiler must be told: the sizes of a block."""
    return (f"-DLANES={LANES}", f"-DROWS={ROWS}")


@functools.cache
def source_text() -> str:
    """The CUDA source."""
    return resources.files(__package__).joinpath("warp.cu").read_text(encoding="utf-8")


def _folded(affine: Any, field: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both on the host; a field of a single node is a part of the affine map."""
    affine, field = (np.asarray(values, dtype=np.float64) for values in (affine, field))
    if field.shape[1:3] == (1, 1):
        affine = np.concatenate((affine[:, :, :2], affine[:, :, 2:] + field[:, 0, 0, :, None]), axis=2)
        field = np.zeros_like(field)
    return affine, field


def _fields(beside: Any, field: np.ndarray, n_u: int, n_v: int) -> Iterator[tuple[slice, Any]]:
    """Views, and their field at every pixel, (n, 2, n_u, n_v) float32; a single zero for all views if there is none."""
    xp = backend.namespace(beside)
    n_views, n_across, n_along, _ = field.shape
    if (n_across, n_along) == (1, 1):
        yield slice(None), xp.zeros(1, dtype=np.float32)
        return
    launch = _kernel("field_cuda", n_u, n_v)
    together = max(1, FIELD_BYTES // (8 * n_u * n_v))
    for first in range(0, n_views, together):
        views = slice(first, min(first + together, n_views))
        moves = xp.empty((views.stop - first, 2, n_u, n_v), dtype=np.float32)
        launch((on_device(beside, field[views]), moves), (n_across, n_along, n_u, n_v))
        yield views, moves


def _plane(planes: Any, rows: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows of an array of planes, the first of the plane's own and their number, and its columns."""
    return planes.shape[1], rows[0], rows[1] - rows[0], planes.shape[2]


def _kernel(name: str, n_rows: int, n_columns: int) -> Callable[[tuple, tuple[int, ...]], None]:
    """A function that launches a kernel on (arrays, sizes), a thread for each of n_rows x n_columns of each view."""
    kernel = backend.cuda_kernel(source_text(), name, compile_options())

    def launch(arrays: tuple, sizes: tuple[int, ...]) -> None:
        grid = (-(-n_rows // ROWS), len(arrays[0]), -(-n_columns // LANES))
        if min(grid) > 0:  # nothing to do is no launch that CUDA accepts
            kernel(grid, (LANES, ROWS, 1), (*arrays, *(np.int32(size) for size in sizes)))

    return launch
