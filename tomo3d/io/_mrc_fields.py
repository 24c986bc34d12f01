"""The fields of an MRC header: where they lie, and what each means.

Layout: MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015, doi:10.1016/j.jsb.2015.04.002) and IMOD's additions
(bytes 128 to 132 and 152 to 160).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np

from tomo3d.errors import FormatError

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


def shortest(value: np.floating, exponent: int) -> float:
    """value x 10^exponent, of the shortest decimal that is this float: 3.36e-9 m is 3.36 nm, not 3.35999997 nm."""
    mantissa, _, power = np.format_float_scientific(value, unique=True).partition("e")
    return float(f"{mantissa}e{int(power) + exponent}") if power else float(mantissa)  # nan, inf: no power


def field_text(raw: bytes) -> str:
    """Printable text of a field; what follows the first zero byte is rubbish."""
    text = bytes(raw).split(b"\0")[0].decode("latin-1")
    return "".join(c for c in text if c.isprintable()).strip()


def value_type(file: Path, fields: np.void) -> np.dtype:
    """Type of the values of a header's mode, in the machine's byte order; FormatError where it is not known."""
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
    return has_map_word(fields)


def axes_of(file: Path, fields: np.void) -> tuple[int, int, int]:
    """(mapc, mapr, maps); old files leave them 0, which means 1, 2, 3."""
    axes = tuple(int(a) for a in fields["axes"])
    if axes == (0, 0, 0):
        return 1, 2, 3
    if sorted(axes) != [1, 2, 3]:
        raise FormatError(f"{file} must order its axes by 1, 2 and 3 (mapc, mapr, maps), got {axes}.")
    return axes  # type: ignore[return-value]


def voxel_sizes_nm(fields: np.void) -> list[float]:
    """(x, y, z); nan where cell or number of intervals is no positive number. Not over n: label files differ there."""
    lengths = []
    for cell, intervals in zip(fields["cell"], fields["m"], strict=True):
        known = np.isfinite(cell) and cell > 0 and intervals > 0
        lengths.append(shortest(cell, 0) / (10 * int(intervals)) if known else math.nan)
    return lengths


def origins_nm(file: Path, fields: np.void) -> list[float]:
    """Stored origin (x, y, z); 0 in files without "MAP ", which had other things at that place."""
    if not has_map_word(fields):
        return [0.0, 0.0, 0.0]
    if not np.isfinite(fields["origin"]).all():
        raise FormatError(f"{file} must have a finite origin, its header says {fields['origin']} angstrom.")
    stamped = int(fields["imod_stamp"]) == IMOD_STAMP
    sign = -1.0 if stamped and not int(fields["imod_flags"]) & STANDARD_ORIGIN else 1.0
    return [sign * shortest(value, -1) + 0.0 for value in fields["origin"]]  # + 0.0: no minus zero


def has_map_word(fields: np.void) -> bool:
    """Whether the header has the word MAP, which old files of FEI and IMOD lack."""
    return bytes(fields["map_word"]).rstrip() == b"MAP"
