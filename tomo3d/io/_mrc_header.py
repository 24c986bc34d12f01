"""The gate of MRC files: 1,024 bytes are read and held against the file's size before anything else.

Files are known by content, not by name; old ones have neither the word
"MAP " nor a machine stamp.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file
from tomo3d.io._mrc_fields import (
    HALF_BYTES,
    HEADER_BYTES,
    IMOD_STAMP,
    MODE_NAMES,
    ByteOrder,
    axes_of,
    field_text,
    has_map_word,
    header_dtype,
    origins_nm,
    value_type,
    voxel_sizes_nm,
)
from tomo3d.io._packed import is_packed, unpack

_OTHER_FORMATS = (
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"# AmiraMesh", "an AmiraMesh file"),
    (b"# Avizo", "an AmiraMesh file"),
    (b"NRRD", "an NRRD file"),
)


@dataclass(frozen=True)
class MrcHeader:
    """A header that fits its file. Shapes and lengths are (z, y, x) after `axes` are undone, lengths in nm."""

    path: Path
    file_bytes: int
    byte_order: ByteOrder
    mode: int
    dtype: np.dtype
    stored_shape: tuple[int, int, int]  # sections, rows, columns
    stored_axes: tuple[int, int, int]  # axis (0 = z, 1 = y, 2 = x) of the sections, rows, columns
    data_offset: int
    intervals: tuple[int, int, int]
    voxel_size_nm: tuple[float, float, float]  # nan where the header has none
    stored_origin_nm: tuple[float, float, float]
    start: tuple[int, int, int]  # index of the first voxel
    extended_bytes: int
    extended_type: str
    n_int: int
    n_real: int
    statistics: tuple[float, float, float, float]  # minimum, maximum, mean, r.m.s. deviation, as stored
    titles: tuple[str, ...]
    has_map_word: bool
    in_half_bytes: bool = False  # two values of 4 bits in each byte, rows in whole bytes
    content: bytes | None = field(default=None, repr=False)  # of a file that was packed

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_z, n_y, n_x)."""
        z, y, x = (self.stored_shape[self.stored_axes.index(axis)] for axis in range(3))
        return z, y, x

    @property
    def order(self) -> tuple[int, int, int]:
        """Transposition that turns the stored array into (z, y, x)."""
        z, y, x = (self.stored_axes.index(axis) for axis in range(3))
        return z, y, x

    def origin_nm(self, voxel_size_nm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Centre of the first voxel: the stored origin if there is one, else the start index, as in EMDB's maps."""
        if any(self.stored_origin_nm):
            return self.stored_origin_nm
        z, y, x = (index * size for index, size in zip(self.start, voxel_size_nm, strict=True))
        return z, y, x

    @property
    def is_native(self) -> bool:
        """Whether the values can be used as they lie in the file."""
        return self.dtype.isnative and not self.in_half_bytes and self.mode != 12

    @property
    def data_bytes(self) -> int:
        """Bytes of the values in the file."""
        return _data_bytes(self.stored_shape, self.dtype, self.in_half_bytes)

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Some bytes of the file, fewer at its end."""
        if self.content is not None:
            return self.content[offset : offset + n_bytes]
        with open(self.path, "rb") as stream:
            stream.seek(offset)
            return stream.read(n_bytes)


def read_header(path: str | os.PathLike[str]) -> MrcHeader:
    """Read and check the header of an MRC file; nothing else is read, unless the file is packed by gzip or bzip2.

    Raises
    ------
    FormatError
        If it is no MRC file, contradicts its own size, or holds a kind of value that is not supported.
    """
    file = existing_file(path)
    file_bytes, content = file.stat().st_size, None
    with open(file, "rb") as stream:
        raw = stream.read(HEADER_BYTES)
    if is_packed(raw):
        content = unpack(file, HEADER_BYTES, lambda start: _announced_bytes(file, start))
        raw, file_bytes = content[:HEADER_BYTES], len(content)
    if file_bytes < HEADER_BYTES:
        raise FormatError(
            f"{file} is not a whole MRC file: the header alone takes {HEADER_BYTES:,} bytes, got {file_bytes:,} bytes."
        )
    byte_order, fields = _decode(file, raw)
    stored_shape, dtype, in_half_bytes = _layout(file, fields, byte_order)
    extended_bytes = int(fields["n_extended"])
    _check_size(file, file_bytes, extended_bytes, stored_shape, dtype, in_half_bytes)
    axes_xyz = axes_of(file, fields)
    return MrcHeader(
        path=file,
        file_bytes=file_bytes,
        byte_order=byte_order,
        mode=int(fields["mode"]),
        dtype=dtype,
        stored_shape=stored_shape,
        stored_axes=(3 - axes_xyz[2], 3 - axes_xyz[1], 3 - axes_xyz[0]),
        data_offset=HEADER_BYTES + extended_bytes,
        intervals=_zyx([int(m) for m in fields["m"]]),
        voxel_size_nm=_zyx(voxel_sizes_nm(fields)),
        stored_origin_nm=_zyx(origins_nm(file, fields)),
        start=_zyx([int(fields["n_start"][axes_xyz.index(axis)]) for axis in (1, 2, 3)]),
        extended_bytes=extended_bytes,
        extended_type=field_text(fields["extended_type"]),
        n_int=int(fields["n_int"]),
        n_real=int(fields["n_real"]),
        statistics=tuple(float(fields[name]) for name in ("minimum", "maximum", "mean", "rms")),  # type: ignore[arg-type]
        titles=tuple(text for text in map(field_text, fields["titles"]) if text),
        has_map_word=has_map_word(fields),
        in_half_bytes=in_half_bytes,
        content=content,
    )


def _announced_bytes(file: Path, raw: bytes) -> int:
    """Bytes that a file must have to hold what its header announces."""
    if len(raw) < HEADER_BYTES:
        return len(raw)
    byte_order, fields = _decode(file, raw)
    return HEADER_BYTES + max(0, int(fields["n_extended"])) + _data_bytes(*_layout(file, fields, byte_order))


def _layout(
    file: Path, fields: np.void, byte_order: ByteOrder
) -> tuple[tuple[int, int, int], np.dtype, bool]:
    """Shape, type, and whether there are two values in a byte."""
    n_z, n_y, n_x = _checked_shape(file, fields)
    dtype = value_type(file, fields).newbyteorder(byte_order)
    mode, stamped = int(fields["mode"]), int(fields["imod_stamp"]) == IMOD_STAMP
    if mode == 0 and stamped and int(fields["imod_flags"]) & HALF_BYTES:
        return (n_z, n_y, 2 * n_x), np.dtype("u1"), True
    return (n_z, n_y, n_x), dtype, mode == 101


def _data_bytes(shape: tuple[int, int, int], dtype: np.dtype, in_half_bytes: bool) -> int:
    n_z, n_y, n_x = shape  # Python integers: no overflow
    return n_z * n_y * (-(-n_x // 2) if in_half_bytes else n_x * dtype.itemsize)


def _zyx(xyz: list) -> tuple:
    return (xyz[2], xyz[1], xyz[0])


def _other_format(raw: bytes) -> str:
    """What a file that is no MRC file is, where its first bytes tell."""
    for magic, what in _OTHER_FORMATS:
        if raw.startswith(magic):
            return f"it is {what}"
    return f"sizes, mode and axes in its first {HEADER_BYTES:,} bytes make no sense in either byte order"


def _decode(file: Path, raw: bytes) -> tuple[ByteOrder, np.void]:
    """Byte order and fields: the stamp's order if the header makes sense in it, else the one in which it does."""
    stamped_big = raw[212:213] == b"\x11"
    orders: tuple[ByteOrder, ByteOrder] = (">", "<") if stamped_big else ("<", ">")
    for byte_order in orders:
        fields = np.frombuffer(raw, header_dtype(byte_order))[0]
        if _makes_sense(fields):
            return byte_order, fields
    if raw[208:212] == b"MAP ":  # it claims to be one: the checks that follow say what is wrong
        return orders[0], np.frombuffer(raw, header_dtype(orders[0]))[0]
    raise FormatError(
        f"{file} is not an MRC file, nor TIFF, HDF5, EMD, DM3, DM4, SER, Zarr or NumPy: {_other_format(raw)}."
    )


def _makes_sense(fields: np.void) -> bool:
    axes = sorted(int(a) for a in fields["axes"])
    return (
        bool((fields["n"] > 0).all()) and int(fields["mode"]) in MODE_NAMES and axes in ([1, 2, 3], [0, 0, 0])
    )


def _checked_shape(file: Path, fields: np.void) -> tuple[int, int, int]:
    n_x, n_y, n_z = (int(n) for n in fields["n"])
    if min(n_x, n_y, n_z) < 1:
        raise FormatError(
            f"{file} must have at least one column, row and section, its header says {n_x} x {n_y} x {n_z}: "
            "it was not written to its end, or is damaged."
        )
    return n_z, n_y, n_x


def _check_size(
    file: Path,
    file_bytes: int,
    extended_bytes: int,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    in_half_bytes: bool,
) -> None:
    """Raise FormatError unless the file is long enough to hold what the header announces."""
    if extended_bytes < 0 or HEADER_BYTES + extended_bytes > file_bytes:
        raise FormatError(
            f"{file} must hold the extended header of {extended_bytes:,} bytes that its header announces, "
            f"but has {file_bytes:,} bytes: it is cut short or damaged."
        )
    needed, offset = _data_bytes(shape, dtype, in_half_bytes), HEADER_BYTES + extended_bytes
    if offset + needed > file_bytes:
        n_z, n_y, n_x = shape
        kind = "4-bit integers" if in_half_bytes else dtype.name
        raise FormatError(
            f"{file} must hold the {n_x} x {n_y} x {n_z} values ({needed:,} bytes of {kind}) "
            f"that its header announces, but has {file_bytes - offset:,} bytes of data: it is cut short or damaged."
        )
