"""The kernels of `distance` and `thickness` on a GPU, on CuPy arrays: equal results. The source is thickness.cu."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import numpy as np

from tomo3d.compute import backend

LANES = 32  # threads along x: a warp
ROWS = 4  # warps of a block
_MOST_BLOCKS = 1 << 30  # along the first axis of a grid


def squared_distance_cuda(inside: Any, weights: tuple[int, int, int], dtype: Any) -> Any:
    """Squared distance from each voxel to the nearest that is 0 in `inside`, (n_z, n_y, n_x), of `dtype`.

    int32 or int64, whose largest value stands for "no background". Each pass looks as far as it found a background
    voxel before, so its time grows with the thickness of the structure.
    """
    xp = backend.namespace(inside)
    unreached = int(np.iinfo(dtype).max)
    source = xp.where(inside != 0, xp.asarray(unreached, dtype=dtype), xp.asarray(0, dtype=dtype))
    target = xp.empty(inside.shape, dtype=dtype)
    on_device = xp.asarray(np.array(weights, dtype=np.int64))
    for axis in (2, 1, 0):
        _launch("spread_distance_cuda", dtype, (source, on_device, target), (axis, *inside.shape))
        source, target = target, source
    return source


def mark_balls_cuda(
    squared: Any, offsets: Any, tables: Any, shells: Any, enclosing: Any, shift: int, kept: Any
) -> None:
    """`thickness.mark_balls_cpu` of every slice; the tables may be NumPy arrays."""
    xp = backend.namespace(squared)
    on_device = (
        xp.asarray(np.ascontiguousarray(values, dtype=dtype))
        for values, dtype in (
            (offsets, np.int32),
            (tables, np.int32),
            (shells, np.int64),
            (enclosing, np.int64),
        )
    )
    sizes = (len(shells), enclosing.shape[1], shift, *squared.shape)
    _launch("mark_balls_cuda", squared.dtype, (squared, *on_device, kept), sizes)


def paint_balls_cuda(kept: Any, squared: Any, weights: tuple[int, int, int]) -> Any:
    """Largest r2 of the balls, centred where `kept` is true, that cover each voxel, (n_z, n_y, n_x); else 0."""
    xp = backend.namespace(squared)
    places = xp.flatnonzero(kept)
    # The largest first: what they cover is not written again.
    places = xp.ascontiguousarray(places[xp.argsort(-squared.ravel()[places])].astype(np.int64))
    covered = xp.zeros(squared.shape, dtype=squared.dtype)
    kernel = backend.cuda_kernel(source_text(), "paint_balls_cuda", compile_options(squared.dtype))
    on_device = xp.asarray(np.array(weights, dtype=np.int64))
    sizes = tuple(np.int32(n) for n in squared.shape)
    for first in range(0, len(places), _MOST_BLOCKS):
        part = places[first : first + _MOST_BLOCKS]
        kernel((len(part), 1, 1), (LANES, ROWS, 1), (part, squared, on_device, covered, *sizes))
    return covered


def compile_options(dtype: Any) -> tuple[str, ...]:
    """What the compiler must be told: the sizes of a block, and the bits of squared distances."""
    return (f"-DLANES={LANES}", f"-DROWS={ROWS}", f"-DVALUE_BITS={8 * np.dtype(dtype).itemsize}")


@functools.cache
def source_text() -> str:
    """The CUDA source."""
    return resources.files(__package__).joinpath("thickness.cu").read_text(encoding="utf-8")


def _launch(name: str, dtype: Any, arrays: tuple[Any, ...], sizes: tuple[int, ...]) -> None:
    """A thread for each voxel; the last three sizes are those of the grid."""
    n_z, n_y, n_x = sizes[-3:]
    kernel = backend.cuda_kernel(source_text(), name, compile_options(dtype))
    grid = (-(-n_y // ROWS), n_z, -(-n_x // LANES))
    kernel(grid, (LANES, ROWS, 1), (*arrays, *(np.int32(size) for size in sizes)))
