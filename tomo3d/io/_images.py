"""Files of images, whatever their format: what each says of itself, and its values, with row 0 at the bottom.

A file is known by its content. `open_images` reads what lies in front of the values, checks it against the size
of the file, and leaves the values where they are: `ImageFile.read` fetches them.
"""

from __future__ import annotations

import importlib
import math
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file
from tomo3d.memory import available_memory, bytes_text
from tomo3d.progress import track

Array: TypeAlias = Any
UNKNOWN_SIZE = (math.nan, math.nan, math.nan)
_SLAB_BYTES = 1 << 25
_START_BYTES = 1024
_FREELY_UNPACKED = 64 << 20
_LARGEST_RATIO = 2000  # of values to what is stored of them: no codec in use goes far beyond on real images
_DAMAGE = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    AssertionError,
    SyntaxError,
    SystemError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Hints:
    """What a file itself says of its views: (value, source) of each fact, the best source first."""

    tilt_angles: tuple[tuple[np.ndarray, str], ...] = ()
    pixel_sizes: tuple[tuple[float, str], ...] = ()
    axes: tuple[tuple[float, str], ...] = ()
    views: Mapping[str, Any] = field(default_factory=dict)  # columns of tables.VIEWS
    views_source: str = ""
    voltage_v: float | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageFile:
    """A file of images that fits its own size; lengths are nm, axes (z, y, x)."""

    path: Path
    layout: str  # name of the format
    shape: tuple[int, int, int]  # (n_z, n_y, n_x), or (n_views, n_y, n_x)
    dtype: np.dtype  # of what `read` returns
    read: Callable[[], Array]  # the values
    held_bytes: int = 0  # memory that `read` takes at its peak; 0 for a memory map
    voxel_size_nm: tuple[float, float, float] = UNKNOWN_SIZE
    size_source: str = ""
    size_doubt: str = ""  # why the voxel size is not believed, as what the file does
    origin: Callable[[tuple[float, float, float]], tuple[float, float, float]] = lambda size_nm: (
        0.0,
        0.0,
        0.0,
    )
    hints: Callable[[], Hints] = Hints
    is_series_layout: bool = True  # whether the sections may be views
    titles: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)  # of classes, where the file is of labels
    mode: str = ""
    peek: Callable[[], Array] | None = None  # the values, unconverted, where that costs nothing
    statistics: tuple[float, float] | None = None  # minimum and maximum by the header
    doubts: tuple[str, ...] = ()
    n_bytes: int = 0  # of the file


def _dm(start: bytes) -> bool:
    """Gatan's header: version, length, byte order, and the flags of the first group of tags."""
    if start[:4] not in (b"\0\0\0\x03", b"\0\0\0\x04") or start[208:212] == b"MAP ":
        return False
    order = 8 if start[3] == 3 else 12
    return start[order : order + 3] == b"\0\0\0" and all(byte <= 1 for byte in start[order + 3 : order + 6])


_FORMATS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (lambda start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "_tiff", "open_tiff"),
    (lambda start: start.startswith(b"\x89HDF\r\n\x1a\n"), "_hdf5", "open_hdf5"),
    (lambda start: start.startswith(b"\x93NUMPY"), "_numpy", "open_numpy"),
    (lambda start: start.startswith(b"II\x97\x01"), "_ser", "open_ser"),
    (lambda start: start.startswith(b"AAMVHFSS"), "_bruker", "open_bruker"),
    (lambda start: start.startswith(b"NRRD000"), "_nrrd", "open_nrrd"),
    (lambda start: start.startswith((b"# AmiraMesh", b"# Avizo")), "_amira", "open_amira"),
    (_dm, "_dm", "open_dm"),
)


def open_images(path: str | os.PathLike[str]) -> ImageFile:
    """What a file of images says of itself; the values stay where they are.

    Parameters
    ----------
    path : path
        A file, a folder with a Zarr store, or FILE::/DATASET for one of several data sets of an HDF5 file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is of no known format, or contradicts its own size.
    """
    place, _, dataset = os.fspath(path).partition("::")
    if Path(place).is_dir():
        from tomo3d.io._zarr_read import is_store, open_zarr

        if is_store(Path(place)):
            return _with_room(open_zarr(Path(place)))
    file = existing_file(place)
    with open(file, "rb") as stream:
        start = stream.read(_START_BYTES)
    for knows, module, function in _FORMATS:
        if dataset and module != "_hdf5":
            continue
        if knows(start):
            opener = getattr(importlib.import_module(f"tomo3d.io.{module}"), function)
            return _with_room(opener(file, dataset) if module == "_hdf5" else opener(file))
    if dataset:
        raise FormatError(f"{file} must be an HDF5 file, of which ::{dataset} names a data set: it is none.")
    from tomo3d.io._mrc import open_mrc

    return _with_room(open_mrc(file))


def _with_room(image: ImageFile) -> ImageFile:
    """The same file, whose values are read only where there is room for them."""

    def read() -> Array:
        available = available_memory()
        if image.held_bytes > available:
            raise MemoryError(
                f"{image.path} must fit into memory, as its values are unpacked or converted: that takes "
                f"{bytes_text(image.held_bytes)}, and {bytes_text(available)} are available. Write it as MRC, which is "
                "read where it lies, or bin or crop it in the program that it comes from."
            )
        return image.read()

    return replace(image, read=read)


@contextmanager
def translated(file: Path, kind: str, *more: type[Exception]) -> Iterator[None]:
    """Whatever a library raises over a damaged file, as one sentence."""
    try:
        yield
    except FormatError:
        raise
    except _DAMAGE + more as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise FormatError(
            f"{file} must be a whole {kind}, but cannot be read ({reason}): it is cut short, damaged, or of a "
            "kind that is not supported. Write it anew, as MRC for instance, in the program that it comes from."
        ) from error


def check_unpacked(file: Path, n_bytes: int, stored_bytes: int) -> None:
    """Raise FormatError if values that take `n_bytes` cannot honestly be stored in so few bytes."""
    if n_bytes > _FREELY_UNPACKED and n_bytes > _LARGEST_RATIO * stored_bytes:
        raise FormatError(
            f"{file} must hold the {n_bytes:,} bytes of values that it announces, but stores {stored_bytes:,} bytes "
            "for them: it is cut short, damaged, or was never filled."
        )


def check_piece(file: Path, piece_bytes: int, n_bytes: int) -> None:
    """Raise FormatError if one chunk or tile is unpacked to far more than all values take."""
    if piece_bytes > max(_FREELY_UNPACKED, n_bytes):
        raise FormatError(
            f"{file} must be packed in pieces of its values, which take {n_bytes:,} bytes, but one chunk or tile takes "
            f"{piece_bytes:,} bytes: it is damaged, or packed for something far larger."
        )


def check_values(file: Path, dtype: np.dtype) -> np.dtype:
    """The type that real values of this type have in memory: of this machine's byte order, no half floats.

    Raises
    ------
    FormatError
        If they are no real numbers.
    """
    if dtype.kind == "c":
        raise FormatError(
            f"{file} must hold real values, got complex ones ({dtype.name}): it is a Fourier transform, not an image. "
            "Transform it back, or read it with tomo3d.io.read_transform."
        )
    if dtype.kind not in "iufb":
        raise FormatError(f"{file} must hold one number per pixel, got values of type {dtype}.")
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind == "f" else dtype.newbyteorder("=")


def frozen(values: np.ndarray) -> np.ndarray:
    """The array itself, made read-only."""
    values.flags.writeable = False
    return values


def check_finite(file: Path, values: Array, what: str) -> None:
    """Raise FormatError if a float value is nan or infinite, with the first section and how many there are."""
    if np.dtype(values.dtype).kind != "f":
        return
    n_wrong, first = 0, -1
    for rows in slabs(values, f"checking values of {file.name}"):
        wrong = np.count_nonzero(~np.isfinite(values[rows]), axis=(1, 2))
        release(values)
        if wrong.any():
            first = rows.start + int(np.flatnonzero(wrong)[0]) if first < 0 else first
            n_wrong += int(wrong.sum())
    if n_wrong:
        raise FormatError(
            f"{file} must hold finite numbers, got {n_wrong:,} that are nan or infinite, "
            f"the first in {what} {first} (0-based). "
            "Replace them in the program that wrote the file, or leave that part out, as with IMOD's newstack."
        )


def slabs(values: Array, what: str) -> Iterator[slice]:
    """Slices along the first axis, of some tens of megabytes each."""
    n_sections = values.shape[0]
    step = slab_rows(values.shape, values.dtype)
    starts = range(0, n_sections, step)
    for start in track(starts, what, len(starts)):
        yield slice(start, min(start + step, n_sections))


def slab_rows(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Sections that fit a slab; at least one."""
    return max(1, _SLAB_BYTES // (shape[1] * shape[2] * dtype.itemsize))


def release(values: Array) -> None:
    """Let the system take back the pages of a read-only memory map that were looked at; nothing for other arrays."""
    base = values
    while isinstance(base, np.ndarray):
        if getattr(base, "mode", "r") != "r":  # pages that were written to may exist nowhere else
            return
        base = base.base
    if isinstance(base, mmap.mmap) and not values.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
