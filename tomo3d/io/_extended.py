"""Extended headers of MRC files: what they know of tilt angles and pixel size.

- FEI1 and FEI2 (Thermo Fisher): one record of doubles per view, with flags for what is set.
- the older FEI and Agard layout: 1024 records of 32 float32, number 0 the tilt angle, number 11 the pixel size in
  metres; announced by its length alone.
- SERI (SerialEM): short integers chosen by bit flags, the tilt angle x 100 first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._mrc_header import HEADER_BYTES, MrcHeader, shortest

_FEI1_BYTES = 768
_FEI_LARGEST_RECORD = 65536  # far above the 888 bytes of FEI2, far below what the wrong byte order gives
_FEI1_TILT, _FEI1_AXIS, _FEI1_PIXEL_X, _FEI1_PIXEL_Y = 1 << 7, 1 << 12, 1 << 14, 1 << 15
_AGARD_BYTES = 128
_SERI_ITEM_BYTES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)


@dataclass(frozen=True)
class Extended:
    """What an extended header says; None where it is silent."""

    layout: str
    tilt_angles_deg: np.ndarray | None = None
    pixel_size_nm: float | None = None
    axis_deg: float | None = None  # as stored: the sign of FEI rotations differs between programs


def read_extended(header: MrcHeader) -> Extended:
    """What the extended header of a tilt series knows.

    Raises
    ------
    FormatError
        If it is too short for the number of views, or its views differ in pixel size.
    """
    if header.extended_type in ("FEI1", "FEI2") and header.extended_bytes:
        return _fei1(header)
    if _is_seri(header):
        return _seri(header)
    if _is_agard(header):
        return _agard(header)
    return Extended(header.extended_type or "none")


def make_fei1(tilt_angles_deg: np.ndarray, pixel_size_nm: float) -> bytes:
    """A little-endian FEI1 extended header with the angles and the pixel size."""
    records = np.zeros(len(tilt_angles_deg), _fei1_dtype("<", _FEI1_BYTES))
    records["size"] = _FEI1_BYTES
    records["flags"] = _FEI1_TILT | _FEI1_PIXEL_X | _FEI1_PIXEL_Y
    records["tilt_deg"] = tilt_angles_deg
    records["pixel_x_m"] = records["pixel_y_m"] = shortest(np.float64(pixel_size_nm), -9)
    return records.tobytes()


def _fei1_dtype(byte_order: str, record_bytes: int) -> np.dtype:
    i4, f8 = byte_order + "i4", byte_order + "f8"
    fields = {
        "size": (i4, 0),
        "version": (i4, 4),
        "flags": ("<u4", 8),  # little-endian always, as mrcfile reads it
        "tilt_deg": (f8, 100),
        "axis_deg": (f8, 140),
        "pixel_x_m": (f8, 156),
        "pixel_y_m": (f8, 164),
    }
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": record_bytes,
        }
    )


def _block(header: MrcHeader, record_bytes: int) -> bytes:
    """The records of the views, if the extended header is long enough."""
    n_views = header.stored_shape[0]
    if n_views * record_bytes > header.extended_bytes:
        raise FormatError(
            f"{header.path} must hold {n_views} records of {record_bytes} bytes in its extended header, one per view, "
            f"but that has {header.extended_bytes:,} bytes."
        )
    with open(header.path, "rb") as stream:
        stream.seek(HEADER_BYTES)
        return stream.read(n_views * record_bytes)


def _fei1(header: MrcHeader) -> Extended:
    # The standard has these records little-endian; some writers follow the byte order of the file.
    first = _block(header, 4)[:4]
    byte_order = "<" if int.from_bytes(first, "little") <= _FEI_LARGEST_RECORD else ">"
    record_bytes = int.from_bytes(first, "little" if byte_order == "<" else "big")
    if not _FEI1_BYTES <= record_bytes <= _FEI_LARGEST_RECORD:
        raise FormatError(
            f"{header.path} must have {header.extended_type} records of at least {_FEI1_BYTES} bytes, "
            f"got {record_bytes} bytes."
        )
    records = np.frombuffer(_block(header, record_bytes), _fei1_dtype(byte_order, record_bytes))

    def has(flag: int) -> bool:
        return bool((records["flags"] & flag != 0).all())

    return Extended(
        header.extended_type,
        records["tilt_deg"].astype(np.float64) if has(_FEI1_TILT) else None,
        _one_pixel_size(header, [shortest(v, 9) for v in records["pixel_x_m"]])
        if has(_FEI1_PIXEL_X)
        else None,
        float(records["axis_deg"][0]) if has(_FEI1_AXIS) else None,
    )


def _is_agard(header: MrcHeader) -> bool:
    by_fei = any(title.lower().startswith("fei company") for title in header.titles)
    per_view = (header.n_int, header.n_real) == (0, _AGARD_BYTES // 4)
    return header.extended_type in ("", "AGAR") and header.extended_bytes > 0 and (by_fei or per_view)


def _agard(header: MrcHeader) -> Extended:
    values = np.frombuffer(_block(header, _AGARD_BYTES), header.byte_order + "f4").reshape(-1, 32)
    angles = values[:, 0].astype(np.float64)
    axis = float(values[0, 10])
    return Extended(
        "FEI, old layout",
        angles if angles.any() else None,  # a stack that was never tilted has zeros
        _one_pixel_size(header, [shortest(v, 9) for v in values[:, 11]]) if values[:, 11].any() else None,
        axis if axis != 0 and math.isfinite(axis) else None,
    )


def _is_seri(header: MrcHeader) -> bool:
    if header.extended_bytes == 0 or header.extended_type not in ("", "SERI"):
        return False
    if not 0 < header.n_real < 1 << len(_SERI_ITEM_BYTES):
        return False
    announced = sum(size for bit, size in enumerate(_SERI_ITEM_BYTES) if header.n_real >> bit & 1)
    return announced == header.n_int


def _seri(header: MrcHeader) -> Extended:
    if not header.n_real & 1:
        return Extended("SERI")
    shorts = np.frombuffer(_block(header, header.n_int), header.byte_order + "i2")
    return Extended("SERI", shorts.reshape(-1, header.n_int // 2)[:, 0] / 100.0)


def _one_pixel_size(header: MrcHeader, sizes_nm: list[float]) -> float | None:
    """The pixel size that all views share; None where it is 0."""
    sizes = np.array(sizes_nm)
    if not np.isfinite(sizes).all() or (sizes < 0).any():
        raise FormatError(
            f"{header.path} must give pixel sizes that are lengths in its extended header, got {sizes.min():g} nm. "
            "Pass pixel_size_nm."
        )
    if sizes.max() - sizes.min() > 1e-3 * sizes.max():
        raise FormatError(
            f"{header.path} must have one pixel size for all views, its extended header gives {sizes.min():g} to "
            f"{sizes.max():g} nm. Pass pixel_size_nm if the views were scaled."
        )
    return float(sizes[0]) or None
