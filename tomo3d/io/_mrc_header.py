"""The gate of MRC files: 1,024 bytes are read and held against the file's size before anything else.

Layout: MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015, doi:10.1016/j.jsb.2015.04.002) and IMOD's additions
(bytes 128 to 132 and 152 to 160). Files are known by content, not by name; old ones have neither the word
"MAP " nor a machine stamp.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file
from tomo3d.io._packed import is_packed, unpack

ByteOrder = Literal["<", ">"]
HEADER_BYTES = 1024
IMOD_STAMP = 1146047817
SIGNED_BYTES = 1  # IMOD flag: bytes are signed
HALF_BYTES = 16  # IMOD flag: bytes hold two values of 4 bits each, and the header counts bytes, not columns
STANDARD_ORIGIN = 4  # IMOD flag: the sign of the origin is that of MRC2014, not IMOD's older one
MODE_NAMES = {
    0: "8-bit integer",
    1: "16-bit integer",
    2: "32-bit float",
    3: "complex 16-bit integer",
    4: "complex 32-bit float",
    6: "unsigned 16-bit integer",
    12: "16-bit float",
    16: "RGB",
    101: "4-bit integer",
}
_TYPES = {1: "i2", 2: "f4", 3: "V4", 4: "c8", 6: "u2", 12: "f2", 101: "u1"}
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"# AmiraMesh", "an AmiraMesh file"),
    (b"# Avizo", "an AmiraMesh file"),
    (b"NRRD", "an NRRD file"),
)


def header_dtype(byte_order: ByteOrder) -> np.dtype:
    """Layout of the header, "<" or ">"."""
    i4, i2, f4 = byte_order + "i4", byte_order + "i2", byte_order + "f4"
    fields: list[tuple[str, str, int | tuple[int, ...]]] = [
        ("n", i4, 3),  # columns, rows, sections
        ("mode", i4, 1),
        ("n_start", i4, 3),  # columns, rows, sections
        ("m", i4, 3),  # x, y, z
        ("cell", f4, 3),  # x, y, z, angstrom
        ("cell_angles", f4, 3),
        ("axes", i4, 3),  # mapc, mapr, maps: 1 = x, 2 = y, 3 = z
        ("minimum", f4, 1),
        ("maximum", f4, 1),
        ("mean", f4, 1),
        ("space_group", i4, 1),
        ("n_extended", i4, 1),
        ("extra_a", "S8", 1),
        ("extended_type", "S4", 1),
        ("version", i4, 1),
        ("extra_b", "S16", 1),
        ("n_int", i2, 1),
        ("n_real", i2, 1),
        ("extra_c", "S20", 1),
        ("imod_stamp", i4, 1),
        ("imod_flags", i4, 1),
        ("extra_d", "S36", 1),
        ("origin", f4, 3),  # x, y, z, angstrom
        ("map_word", "S4", 1),
        ("stamp", "u1", 4),
        ("rms", f4, 1),
        ("n_titles", i4, 1),
        ("titles", "S80", 10),
    ]
    return np.dtype([(n, t) if count == 1 else (n, t, count) for n, t, count in fields])


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
    axes_xyz = _axes(file, fields)
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
        voxel_size_nm=_zyx(_voxel_size_nm(fields)),
        stored_origin_nm=_zyx(_origin_nm(file, fields)),
        start=_zyx([int(fields["n_start"][axes_xyz.index(axis)]) for axis in (1, 2, 3)]),
        extended_bytes=extended_bytes,
        extended_type=_text(fields["extended_type"]),
        n_int=int(fields["n_int"]),
        n_real=int(fields["n_real"]),
        statistics=tuple(float(fields[name]) for name in ("minimum", "maximum", "mean", "rms")),  # type: ignore[arg-type]
        titles=tuple(text for text in map(_text, fields["titles"]) if text),
        has_map_word=_has_map_word(fields),
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
    dtype = _value_type(file, fields).newbyteorder(byte_order)
    mode, stamped = int(fields["mode"]), int(fields["imod_stamp"]) == IMOD_STAMP
    if mode == 0 and stamped and int(fields["imod_flags"]) & HALF_BYTES:
        return (n_z, n_y, 2 * n_x), np.dtype("u1"), True
    return (n_z, n_y, n_x), dtype, mode == 101


def _data_bytes(shape: tuple[int, int, int], dtype: np.dtype, in_half_bytes: bool) -> int:
    n_z, n_y, n_x = shape  # Python integers: no overflow
    return n_z * n_y * (-(-n_x // 2) if in_half_bytes else n_x * dtype.itemsize)


def shortest(value: np.floating, exponent: int) -> float:
    """value x 10^exponent, of the shortest decimal that is this float: 3.36e-9 m is 3.36 nm, not 3.35999997 nm."""
    mantissa, _, power = np.format_float_scientific(value, unique=True).partition("e")
    return float(f"{mantissa}e{int(power) + exponent}") if power else float(mantissa)  # nan, inf: no power


def _zyx(xyz: list) -> tuple:
    return (xyz[2], xyz[1], xyz[0])


def _text(raw: bytes) -> str:
    """Printable text of a field; what follows the first zero byte is rubbish."""
    text = bytes(raw).split(b"\0")[0].decode("latin-1")
    return "".join(c for c in text if c.isprintable()).strip()


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


def _value_type(file: Path, fields: np.void) -> np.dtype:
    mode = int(fields["mode"])
    if mode == 0:
        return np.dtype("i1" if _bytes_are_signed(fields) else "u1")
    if mode not in _TYPES:
        known = ", ".join(f"{number} ({MODE_NAMES[number]})" for number in (0, *_TYPES))
        raise FormatError(
            f"{file} holds values of mode {mode} ({MODE_NAMES.get(mode, 'unknown')}); the modes that are supported "
            f"are {known}. Convert it first, as with IMOD's 'newstack -mode 2'."
        )
    return np.dtype(_TYPES[mode])


def _bytes_are_signed(fields: np.void) -> bool:
    """IMOD's flag, else what the header's minimum and maximum allow, else the standard (signed) if it has "MAP "."""
    if int(fields["imod_stamp"]) == IMOD_STAMP:
        return bool(int(fields["imod_flags"]) & SIGNED_BYTES)
    if fields["minimum"] < 0:
        return True
    if fields["maximum"] > 127:
        return False
    return _has_map_word(fields)


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


def _axes(file: Path, fields: np.void) -> tuple[int, int, int]:
    """(mapc, mapr, maps); old files leave them 0, which means 1, 2, 3."""
    axes = tuple(int(a) for a in fields["axes"])
    if axes == (0, 0, 0):
        return 1, 2, 3
    if sorted(axes) != [1, 2, 3]:
        raise FormatError(f"{file} must order its axes by 1, 2 and 3 (mapc, mapr, maps), got {axes}.")
    return axes  # type: ignore[return-value]


def _voxel_size_nm(fields: np.void) -> list[float]:
    """(x, y, z); nan where cell or number of intervals is no positive number. Not over n: label files differ there."""
    lengths = []
    for cell, intervals in zip(fields["cell"], fields["m"], strict=True):
        known = np.isfinite(cell) and cell > 0 and intervals > 0
        lengths.append(shortest(cell, 0) / (10 * int(intervals)) if known else math.nan)
    return lengths


def _origin_nm(file: Path, fields: np.void) -> list[float]:
    """Stored origin (x, y, z); 0 in files without "MAP ", which had other things at that place."""
    if not _has_map_word(fields):
        return [0.0, 0.0, 0.0]
    if not np.isfinite(fields["origin"]).all():
        raise FormatError(f"{file} must have a finite origin, its header says {fields['origin']} angstrom.")
    stamped = int(fields["imod_stamp"]) == IMOD_STAMP
    sign = -1.0 if stamped and not int(fields["imod_flags"]) & STANDARD_ORIGIN else 1.0
    return [sign * shortest(value, -1) + 0.0 for value in fields["origin"]]  # + 0.0: no minus zero


def _has_map_word(fields: np.void) -> bool:
    return bytes(fields["map_word"]).rstrip() == b"MAP"
