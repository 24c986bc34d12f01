"""Levels of an OME-Zarr image: their chunks, written piece by piece, each level from the pieces of the one before.

The pieces of the finest level are read once; means of 2 x 2 x 2 voxels (labels: every second voxel) go down the levels
until the largest axis has at most 256. What a thread needs for a piece is allocated once: fresh memory costs more time
than the work that is done in it.
"""

from __future__ import annotations

import gzip
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.io._direct import aligned, write_through
from tomo3d.io._images import release
from tomo3d.io._pieces import check_finite, converted
from tomo3d.progress import track
from tomo3d.types import Array

CHUNK = (32, 256, 256)  # of the finest level; of the others half of it along each axis that they halve
_PIECE = (32, 256, 1024)  # what a thread takes at once: whole chunks, also of the next level
_N_THREADS = 4
_SMALL = 256  # no axis of the coarsest level is longer
Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Layout:
    """What goes into one group; `spacing` and `start` in units of the axes."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    axes: list[dict[str, str]]
    spacing: tuple[float, float, float]
    start: tuple[float, float, float]
    version: str
    shrinks: tuple[bool, bool, bool] = (True, True, True)  # axes that coarser levels halve
    by_mean: bool = True
    labels: dict[str, Any] | None = None  # names and colours of classes
    facts: Mapping[str, Any] = field(default_factory=dict)  # attributes of its own

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Shape of every level, finest first."""
        shapes = [self.shape]
        while max(n for n, shrinks in zip(shapes[-1], self.shrinks, strict=True) if shrinks) > _SMALL:
            halved = ((n + 1) // 2 if s else n for n, s in zip(shapes[-1], self.shrinks, strict=True))
            shapes.append(three(tuple(halved)))
        return shapes

    @property
    def n_bytes(self) -> int:
        """Of all levels; 0 where they are packed, so that it is not known."""
        return sum(math.prod(shape) for shape in self.shapes) * self.dtype.itemsize if self.by_mean else 0


class _Scratch(threading.local):
    """Arrays of each thread, kept from one piece to the next."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """An array to be written over."""
        held = self._held.get(name)
        if held is None or held.shape != tuple(shape) or held.dtype != dtype:
            held = self._held[name] = aligned(shape, dtype)
        return held


@dataclass(frozen=True)
class Level:
    """An array of the group; its chunks are written here, as the plain or packed files that they are."""

    array: Any
    folder: Path
    is_packed: bool
    key: str  # of a chunk, with a slash behind it
    is_read_again: bool  # for the next level
    scratch: _Scratch = field(default_factory=_Scratch)

    def put(self, block: Block, piece: np.ndarray) -> None:
        """Write a piece of whole chunks."""
        chunk = self.array.chunks
        whole = self.scratch.array("chunk", chunk, piece.dtype)
        for file, part in self._parts(block, piece):
            if part.shape != chunk:
                whole[:] = 0
            whole[tuple(slice(n) for n in part.shape)] = part
            file.parent.mkdir(parents=True, exist_ok=True)
            # synced now, while other threads compute
            if self.is_packed:  # without a time, so that the same labels make the same file
                packed = gzip.compress(whole.data, 1, mtime=0)
                write_through(file, memoryview(packed), past_cache=False)
            else:
                write_through(file, whole.data.cast("B"), past_cache=not self.is_read_again)

    def get(self, block: Block) -> np.ndarray:
        """Read a piece of whole chunks again; the next call in this thread overwrites it."""
        chunk, dtype = self.array.chunks, self.array.dtype
        piece = self.scratch.array("piece", [s.stop - s.start for s in block], dtype)
        whole = self.scratch.array("read", chunk, dtype)
        for file, part in self._parts(block, piece):
            try:
                if self.is_packed:
                    whole.data.cast("B")[:] = gzip.decompress(file.read_bytes())
                else:
                    with open(file, "rb", buffering=0) as stream:
                        if stream.readinto(whole.data.cast("B")) != whole.nbytes:
                            raise OSError(
                                f"{file} must be a whole chunk, but was cut short while it was written."
                            )
            except FileNotFoundError:  # a part that was never filled
                whole[:] = 0
            part[:] = whole[tuple(slice(n) for n in part.shape)]
        return piece

    def _parts(self, block: Block, piece: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
        """File of each chunk, and the part of the piece that lies in it."""
        chunk = self.array.chunks
        for start in itertools.product(*(range(0, n, c) for n, c in zip(piece.shape, chunk, strict=True))):
            place = [(s.start + first) // c for s, first, c in zip(block, start, chunk, strict=True)]
            part = piece[tuple(slice(first, first + c) for first, c in zip(start, chunk, strict=True))]
            yield self.folder / f"{self.key}{place[0]}/{place[1]}/{place[2]}", part


def write_levels(layout: Layout, values: Array, levels: Sequence[Level], name: str) -> None:
    """Fill all levels of an image."""

    def read(block: Block) -> np.ndarray:
        return _ready(np.asarray(values[block]), layout.dtype, block[0].start)

    _fill(layout, layout.shape, read, levels[:2], name, lambda: release(values))
    coarsen(layout, levels, 1)


def coarsen(layout: Layout, levels: Sequence[Level], first: int) -> None:
    """Make every level after the first from the one before."""
    for i in range(first, len(levels) - 1):
        _fill(layout, levels[i].array.shape, levels[i].get, [None, levels[i + 1]], f"level {i + 1}")


def _fill(
    layout: Layout,
    shape: tuple[int, int, int],
    read: Callable[[Block], np.ndarray],
    levels: Sequence[Level | None],
    name: str,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Write what is read into a level, where there is one, and its means into the next, a few pieces at a time."""
    fine, coarse = [*levels, None][:2]
    scratch = _Scratch()

    def work(block: Block) -> None:
        piece = read(block)
        if fine is not None:
            fine.put(block, piece)
        is_sound = False
        if coarse is not None:
            target = _halved(block, layout)
            means = scratch.array("means", [s.stop - s.start for s in target], layout.dtype)
            _coarser(piece, layout, means)
            coarse.put(target, means)
            is_sound = means.dtype.kind != "f" or math.isfinite(float(means.sum(dtype=np.float64)))
        if not is_sound:
            check_finite(piece, block[0].start)
        done()

    blocks = list(_blocks(shape))
    with ThreadPoolExecutor(_N_THREADS) as pool:
        try:
            for _ in track(pool.map(work, blocks), f"writing {name}", len(blocks)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _ready(piece: np.ndarray, dtype: np.dtype, start: int) -> np.ndarray:
    """The piece in the type of the file; floats of that type are checked later, by their means."""
    return piece if piece.dtype == dtype else converted(piece, dtype, start)


def _blocks(shape: tuple[int, int, int]) -> Iterator[Block]:
    """Pieces of whole chunks; each has an even number of voxels along every axis, but at the far end."""
    for first in itertools.product(*(range(0, n, step) for n, step in zip(shape, _PIECE, strict=True))):
        yield three(
            slice(start, min(start + step, n)) for start, step, n in zip(first, _PIECE, shape, strict=True)
        )


def _halved(block: Block, layout: Layout) -> Block:
    """Where a block lies in the next level."""
    return three(
        slice(s.start // 2, (s.stop + 1) // 2) if shrinks else s
        for s, shrinks in zip(block, layout.shrinks, strict=True)
    )


def _coarser(piece: np.ndarray, layout: Layout, out: np.ndarray) -> None:
    """Means of two along each axis (the last of an odd number stays itself), or every second value."""
    if not layout.by_mean:
        out[:] = piece[tuple(slice(None, None, 2 if shrinks else 1) for shrinks in layout.shrinks)]
        return
    step = 2 if layout.shrinks[0] else 1
    for i in range(len(out)):  # plane by plane, so that what is added is still in the cache
        planes = piece[step * i : step * (i + 1)]
        plane = _pair_means(planes, 0)[0] if len(planes) == 2 else planes[0]
        for axis in (0, 1):
            if layout.shrinks[axis + 1]:
                plane = _pair_means(plane, axis)
        out[i] = plane if layout.dtype.kind == "f" else np.rint(plane)


def _pair_means(values: np.ndarray, axis: int) -> np.ndarray:
    """Means of neighbours along an axis, float32; the last of an odd number stays itself."""
    n = values.shape[axis]
    before = (slice(None),) * axis
    first, second = values[(*before, slice(0, n - n % 2, 2))], values[(*before, slice(1, None, 2))]
    means = np.add(first, second, dtype=np.float32)
    means *= np.float32(0.5)
    if n % 2:
        return np.concatenate([means, values[(*before, slice(n - 1, None))]], axis=axis, dtype=np.float32)
    return means


def three(values: Any) -> tuple[Any, Any, Any]:
    """Three plain numbers or slices."""
    a, b, c = (value.item() if isinstance(value, np.generic) else value for value in values)
    return a, b, c
