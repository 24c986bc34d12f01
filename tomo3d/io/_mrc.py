"""Reading MRC files: their values as images, labels or transforms.

Values in the byte order of this machine are memory-mapped, read-only, and cost
no memory until they are used; others are converted slice by slice.
"""

from __future__ import annotations

import logging
import os

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._extended import read_extended
from tomo3d.io._facts import axis_suspicion
from tomo3d.io._images import Hints, ImageFile, check_values, frozen, slabs
from tomo3d.io._mrc_fields import MODE_NAMES
from tomo3d.io._mrc_header import MrcHeader, read_header
from tomo3d.io._titles import title_axis

_log = logging.getLogger(__name__)


def open_mrc(path: str | os.PathLike[str]) -> ImageFile:
    """What an MRC file says of itself."""
    header = read_header(path)
    order = "little" if header.byte_order == "<" else "big"
    packed = ", unpacked" if header.content is not None else ""
    return ImageFile(
        path=header.path,
        layout="MRC",
        shape=header.shape,
        dtype=_value_dtype(header),
        read=lambda: _values(header).transpose(header.order),
        held_bytes=0 if header.is_native else _held_bytes(header),
        voxel_size_nm=header.voxel_size_nm,
        size_source="cell of the header",
        size_doubt=_size_doubt(header),
        origin=header.origin_nm,
        hints=lambda: _hints(header),
        is_series_layout=header.stored_axes == (0, 1, 2),
        titles=header.titles,
        mode=f"{header.mode} ({MODE_NAMES[header.mode]}), {order}-endian{packed}",
        peek=None if header.in_half_bytes else lambda: map_values(header).transpose(header.order),
        statistics=header.statistics[:2],
        doubts=_doubts(header),
        n_bytes=header.path.stat().st_size,
    )


def read_transform(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a Fourier transform from an MRC file of mode 3 or 4, as IMOD's clip and fftrans write them.

    Parameters
    ----------
    path : path
        MRC file of complex values.

    Returns
    -------
    ndarray of complex64, shape (n_z, n_y, n_x / 2 + 1)
        As stored: which half, and where its origin lies, is up to the program that wrote it.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or holds no complex values.
    """
    header = read_header(path)
    if header.mode not in (3, 4):
        raise FormatError(
            f"{header.path} must hold complex values (mode 3 or 4) to be a transform, got mode {header.mode} "
            f"({MODE_NAMES[header.mode]}): read it as a volume or a tilt series."
        )
    mapped = map_values(header)
    if header.mode == 4:
        return frozen(mapped.astype(np.complex64)).transpose(header.order)
    pairs = mapped.view(header.byte_order + "i2").reshape(*header.stored_shape, 2)
    return frozen((pairs[..., 0] + 1j * pairs[..., 1]).astype(np.complex64)).transpose(header.order)


def map_values(header: MrcHeader) -> np.ndarray:
    """The values as they lie in the file, (sections, rows, columns), read-only; of 4-bit files, the bytes."""
    n_z, n_y, n_x = header.stored_shape
    shape = (n_z, n_y, -(-n_x // 2)) if header.in_half_bytes else header.stored_shape
    if header.content is not None:
        n_values = n_z * n_y * shape[2]
        return np.frombuffer(header.content, header.dtype, n_values, header.data_offset).reshape(shape)
    return np.memmap(header.path, header.dtype, mode="r", offset=header.data_offset, shape=shape)


def _value_dtype(header: MrcHeader) -> np.dtype:
    """Type of the values in memory; complex ones are told apart by `read_transform` only."""
    stored = np.dtype(np.complex64) if header.mode == 3 else header.dtype
    return check_values(header.path, stored)


def _held_bytes(header: MrcHeader) -> int:
    n_z, n_y, n_x = header.shape
    return n_z * n_y * n_x * _value_dtype(header).itemsize


def _values(header: MrcHeader) -> np.ndarray:
    """The values in the byte order of this machine: the map itself, or a converted copy."""
    for doubt in _doubts(header):
        _log.warning("%s: %s", header.path, doubt)
    dtype = _value_dtype(header)
    mapped = map_values(header)
    if header.is_native:
        return mapped
    converted = np.empty(header.stored_shape, dtype)
    for rows in slabs(mapped, f"reading of {header.path.name}"):
        if header.in_half_bytes:  # the first of two values lies in the lower four bits
            converted[rows, :, 0::2] = mapped[rows] & 15
            converted[rows, :, 1::2] = mapped[rows, :, : header.stored_shape[2] // 2] >> 4
        else:
            converted[rows] = mapped[rows]
    return frozen(converted)


def _doubts(header: MrcHeader) -> tuple[str, ...]:
    excess = header.file_bytes - header.data_offset - header.data_bytes
    if not excess:
        return ()
    return (f"{excess:,} bytes lie behind the data and are not read: check the sizes in the header.",)


def _size_doubt(header: MrcHeader) -> str:
    """What mz = 1 does to the voxels of many slices, as in some label files: far too tall; "" where all is well."""
    z, y, x = header.voxel_size_nm
    if not (header.intervals[0] == 1 < header.shape[0] and z > 3 * max(y, x)):
        return ""
    return (
        f"gives voxels of {z:g} x {y:g} x {x:g} nm (z, y, x), as its header counts one interval "
        f"along z for {header.shape[0]} slices: that is not believed"
    )


def _hints(header: MrcHeader) -> Hints:
    """What header and extended header say of the views."""
    found = read_extended(header)
    source = f"extended header ({found.layout})"
    axis = title_axis(header.titles)
    return Hints(
        tilt_angles=((found.tilt_angles_deg, source),) if found.tilt_angles_deg is not None else (),
        pixel_sizes=((found.pixel_size_nm, source),) if found.pixel_size_nm is not None else (),
        axes=((axis, "title of the header"),) if axis is not None else (),
        views=found.views,
        views_source=source,
        voltage_v=found.voltage_v,
        doubts=(axis_suspicion(found.axis_deg),) if found.axis_deg is not None else (),
    )
