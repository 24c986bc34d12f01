"""Extended headers of MRC files: what they know of tilt angles, pixel size, stage, dose and defocus.

- FEI1 and FEI2 (Thermo Fisher): one record of doubles per view, with flags for what is set.
- the older FEI and Agard layout: 1024 records of 32 float32, number 0 the tilt angle, number 11 the pixel size in
  metres; announced by its length alone.
- SERI (SerialEM): short integers chosen by bit flags: tilt angle x 100, piece coordinates, stage position x 25 (in
  micrometres), magnification / 100, intensity, exposure dose as two shorts.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._mrc_fields import HEADER_BYTES, shortest
from tomo3d.io._mrc_header import MrcHeader

_FEI1_BYTES = 768
_FEI_LARGEST_RECORD = 65536  # far above the 888 bytes of FEI2, far below what the wrong byte order gives
_FEI1_TILT, _FEI1_AXIS, _FEI1_PIXEL_X, _FEI1_PIXEL_Y = 1 << 7, 1 << 12, 1 << 14, 1 << 15
_FEI1_TIME, _FEI1_VOLTAGE = 1 << 0, 1 << 5
_FEI1_VIEWS = (  # column, field, flag, factor to our unit
    ("exposure_dose_e_per_A2", "dose_per_m2", 1 << 6, 1e-20),
    ("stage_x_nm", "stage_x_m", 1 << 9, 1e9),
    ("stage_y_nm", "stage_y_m", 1 << 10, 1e9),
    ("stage_z_nm", "stage_z_m", 1 << 11, 1e9),
    ("defocus_nm", "defocus_m", 1 << 22, 1e9),
    ("magnification", "magnification", 1 << 31, 1.0),
)
_FEI1_FIRST_DAY = datetime.datetime(1899, 12, 30)  # of the OLE dates in which it counts
_AGARD_VIEWS = (("stage_x_nm", 2, 1e9), ("stage_y_nm", 3, 1e9), ("stage_z_nm", 4, 1e9), ("defocus_nm", 7, 1e9),
                ("exposure_time_s", 8, 1.0), ("magnification", 12, 1.0))  # fmt: skip
_AGARD_BYTES = 128
_SERI_ITEM_BYTES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)


@dataclass(frozen=True)
class Extended:
    """What an extended header says; None where it is silent."""

    layout: str
    tilt_angles_deg: np.ndarray | None = None
    pixel_size_nm: float | None = None
    axis_deg: float | None = None  # as stored: the sign of FEI rotations differs between programs
    views: Mapping[str, np.ndarray] = field(default_factory=dict)  # columns of tables.VIEWS
    voltage_v: float | None = None


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
        "time_days": (f8, 12),
        "voltage_v": (f8, 84),
        "dose_per_m2": (f8, 92),
        "tilt_deg": (f8, 100),
        "stage_x_m": (f8, 116),
        "stage_y_m": (f8, 124),
        "stage_z_m": (f8, 132),
        "axis_deg": (f8, 140),
        "pixel_x_m": (f8, 156),
        "pixel_y_m": (f8, 164),
        "defocus_m": (f8, 220),
        "magnification": (f8, 289),
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
    return header.read(HEADER_BYTES, n_views * record_bytes)


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

    views = {
        column: records[name].astype(np.float64) * factor
        for column, name, flag, factor in _FEI1_VIEWS
        if has(flag)
    }
    if has(_FEI1_TIME):
        views["time"] = _times(records["time_days"])
    return Extended(
        header.extended_type,
        records["tilt_deg"].astype(np.float64) if has(_FEI1_TILT) else None,
        _one_pixel_size(header, [shortest(v, 9) for v in records["pixel_x_m"]])
        if has(_FEI1_PIXEL_X)
        else None,
        float(records["axis_deg"][0]) if has(_FEI1_AXIS) else None,
        _known(views),
        float(records["voltage_v"][0]) if has(_FEI1_VOLTAGE) else None,
    )


def _times(days: np.ndarray) -> np.ndarray:
    """Days since the end of 1899 as ISO 8601; "" for what is no date of an electron microscope with a computer."""
    texts = []
    for day in days:
        if 29221 < day < 73051:  # 1980 to 2099
            when = _FEI1_FIRST_DAY + datetime.timedelta(days=float(day))
            texts.append(when.isoformat(timespec="milliseconds"))
        else:
            texts.append("")
    return np.array(texts)


def _known(views: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns that say something: numbers that are finite and not all zero, times that are all there."""
    return {
        name: values
        for name, values in views.items()
        if (all(values) if values.dtype.kind == "U" else np.isfinite(values).all() and values.any())
    }


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
        _known({name: values[:, k].astype(np.float64) * factor for name, k, factor in _AGARD_VIEWS}),
    )


def _is_seri(header: MrcHeader) -> bool:
    if header.extended_bytes == 0 or header.extended_type not in ("", "SERI"):
        return False
    if not 0 < header.n_real < 1 << len(_SERI_ITEM_BYTES):
        return False
    announced = sum(size for bit, size in enumerate(_SERI_ITEM_BYTES) if header.n_real >> bit & 1)
    return announced == header.n_int


def _seri(header: MrcHeader) -> Extended:
    shorts = np.frombuffer(_block(header, header.n_int), header.byte_order + "i2")
    records = shorts.reshape(-1, header.n_int // 2).astype(np.float64)
    starts = {}
    place = 0
    for bit, size in enumerate(_SERI_ITEM_BYTES):
        if header.n_real >> bit & 1:
            starts[bit] = place
            place += size // 2
    views = {}
    if 2 in starts:
        views["stage_x_nm"] = records[:, starts[2]] * 40.0  # 25 to the micrometre
        views["stage_y_nm"] = records[:, starts[2] + 1] * 40.0
    if 3 in starts:
        views["magnification"] = records[:, starts[3]] * 100.0
    if 5 in starts:
        views["exposure_dose_e_per_A2"] = _seri_float(records[:, starts[5]], records[:, starts[5] + 1])
    angles = records[:, starts[0]] / 100.0 if 0 in starts else None
    return Extended("SERI", angles, views=_known(views))


def _seri_float(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A number that SerialEM wrote as two shorts: 24 bits of mantissa, 7 of exponent, and their signs."""
    mantissa = np.sign(first) * (np.abs(first) * 256 + np.abs(second) % 256)
    return mantissa * 2.0 ** (np.sign(second) * (np.abs(second) // 256))


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
