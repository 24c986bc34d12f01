"""Reading MRC files: tilt series, volumes and labels.

Values in the byte order of this machine are memory-mapped, read-only, and cost
no memory until they are used; others are converted slice by slice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._facts import Angles, series_facts, voxel_size
from tomo3d.io._mrc_header import MrcHeader, read_header
from tomo3d.io._titles import read_names
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.types import Labels, TiltSeries, Volume

_SLAB_BYTES = 1 << 25
_log = logging.getLogger(__name__)


def _plan_series(
    path: str | os.PathLike[str],
    *,
    angles: Angles | None = None,
    pixel_size_nm: float | None = None,
    tilt_axis_deg: float | None = None,
) -> Plan:
    header = read_header(path)
    pixel = series_facts(header, angles, pixel_size_nm, tilt_axis_deg).pixel_size_nm
    return _plan("TiltSeries", header, header.dtype.newbyteorder("="), pixel)


def _plan_volume(
    path: str | os.PathLike[str], *, voxel_size_nm: float | Sequence[float] | None = None
) -> Plan:
    header = read_header(path)
    return _plan("Volume", header, header.dtype.newbyteorder("="), voxel_size(header, voxel_size_nm)[0][2])


def _plan_labels(
    path: str | os.PathLike[str], *, voxel_size_nm: float | Sequence[float] | None = None
) -> Plan:
    header = read_header(path)
    dtype = np.dtype(np.int32) if header.mode == 2 else header.dtype.newbyteorder("=")
    return _plan("Labels", header, dtype, voxel_size(header, voxel_size_nm)[0][2])


def _plan(kind: str, header: MrcHeader, dtype: np.dtype, pixel_size_nm: float) -> Plan:
    """A memory map holds nothing but the slab that is being checked; a conversion holds the result too."""
    sketch = Sketch(kind, header.shape, dtype.name, pixel_size_nm)
    converted = dtype != header.dtype
    slab = min(
        _slab_rows(header.stored_shape, header.dtype) * header.data_bytes // header.stored_shape[0],
        header.data_bytes,
    )
    return Plan(sketch, slab + (sketch.n_bytes if converted else 0))


@planned(_plan_series)
def read_tilt_series(
    path: str | os.PathLike[str],
    *,
    angles: Angles | None = None,
    pixel_size_nm: float | None = None,
    tilt_axis_deg: float | None = None,
) -> TiltSeries:
    """Read a tilt series from an MRC file (.mrc, .st, .ali).

    Parameters
    ----------
    path : path
        MRC file of mode 0, 1 or 2, of either byte order, old FEI files included.
    angles : path or sequence of float, optional
        Tilt angles in degrees: a file with one per line, or a list. Default: the .rawtlt or .tlt file beside
        the images, else the extended header.
    pixel_size_nm : float, optional
        Pixel size in nm. Default: the extended header, else the cell of the header.
    tilt_axis_deg : float, optional
        Direction of the tilt axis in degrees, from +y, counter-clockwise. Default: the title
        "Tilt axis angle = ..." of the header, else 0.

    Returns
    -------
    TiltSeries
        Images (n_tilts, n_y, n_x) as stored, a read-only memory map where the byte order allows; `sources` says where
        each fact came from.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or not supported, angles or pixel size are missing or contradict each
        other, or a pixel is not finite.
    ValueError
        If an option is no length or angle.

    Notes
    -----
    Float images are read through once, view by view, to look for values that are not finite. Row 0 of an MRC section is
    the bottom of the picture, as here, so nothing is flipped.
    """
    header = read_header(path)
    facts = series_facts(header, angles, pixel_size_nm, tilt_axis_deg)
    images = _values(header)
    _check_finite(header, images, "view")
    return TiltSeries(
        images,
        facts.tilt_angles_deg,
        facts.pixel_size_nm,
        facts.tilt_axis_deg,
        facts.use,
        sources={"images": header.path.name, **facts.sources},
    )


@planned(_plan_volume)
def read_volume(
    path: str | os.PathLike[str], *, voxel_size_nm: float | Sequence[float] | None = None
) -> Volume:
    """Read a volume from an MRC file (.mrc, .rec, .map).

    Parameters
    ----------
    path : path
        MRC file of mode 0, 1 or 2, of either byte order and any order of axes.
    voxel_size_nm : float or sequence of float, optional
        Voxel edge in nm, one or (z, y, x). Default: cell over intervals of the header.

    Returns
    -------
    Volume
        Values (n_z, n_y, n_x) as stored, a read-only memory map where the byte order allows. The origin is
        that of the header, taken as the centre of the first voxel; where it is zero, start index x voxel size.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or not supported, has no voxel size that can be believed, or a value is not finite.
    ValueError
        If `voxel_size_nm` is no length.

    Notes
    -----
    Float volumes are read through once, slab by slab, to look for values that are not finite.
    """
    header = read_header(path)
    size_nm, source = voxel_size(header, voxel_size_nm)
    stored = _values(header)
    _check_finite(header, stored, "section")
    return Volume(
        stored.transpose(header.order), size_nm, _origin(header, size_nm), record=_record(header, source)
    )


@planned(_plan_labels)
def read_labels(
    path: str | os.PathLike[str], *, voxel_size_nm: float | Sequence[float] | None = None
) -> Labels:
    """Read labels (classes) or a mask from an MRC file.

    Parameters
    ----------
    path : path
        MRC file of mode 0 or 1, or of mode 2 if every value is a whole number.
    voxel_size_nm : float or sequence of float, optional
        Voxel edge in nm, one or (z, y, x). Default: cell over intervals of the header.

    Returns
    -------
    Labels
        As stored; int32 if the file holds floats. The names are those that `write_labels` puts into the titles.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        As in `read_volume`, or if a value is not a whole number.
    ValueError
        If `voxel_size_nm` is no length.
    """
    header = read_header(path)
    size_nm, source = voxel_size(header, voxel_size_nm)
    stored = _whole_numbers(header) if header.mode == 2 else _values(header)
    return Labels(
        stored.transpose(header.order),
        size_nm,
        _origin(header, size_nm),
        record=_record(header, source),
        names=read_names(header.titles),
    )


def map_values(header: MrcHeader) -> np.memmap:
    """The values as they lie in the file, (sections, rows, columns), read-only."""
    return np.memmap(
        header.path, header.dtype, mode="r", offset=header.data_offset, shape=header.stored_shape
    )


def _values(header: MrcHeader) -> np.ndarray:
    """The values in the byte order of this machine: the map itself, or a converted copy."""
    _warn_of_excess(header)
    mapped = map_values(header)
    if header.is_native:
        return mapped
    converted = np.empty(header.stored_shape, header.dtype.newbyteorder("="))
    for rows in _slabs(header, "reading"):
        converted[rows] = mapped[rows]
    converted.flags.writeable = False
    return converted


def _whole_numbers(header: MrcHeader) -> np.ndarray:
    """Float values as int32, if they all are whole numbers."""
    mapped = map_values(header)
    converted = np.empty(header.stored_shape, np.int32)
    for rows in _slabs(header, "reading labels"):
        values = mapped[rows]
        wrong = ~((np.abs(values) <= 2**24) & (np.trunc(values) == values))
        if wrong.any():
            raise FormatError(
                f"{header.path} must hold whole numbers to be labels, got {values[wrong][0]:g}: segment it first "
                "(tomo3d.segment), or read it as a volume."
            )
        converted[rows] = values
    converted.flags.writeable = False
    return converted


def _check_finite(header: MrcHeader, values: np.ndarray, what: str) -> None:
    """Raise FormatError if a float value is nan or infinite, with the first section and how many there are."""
    if header.mode != 2:
        return
    n_wrong, first = 0, -1
    for rows in _slabs(header, "checking values"):
        wrong = np.count_nonzero(~np.isfinite(values[rows]), axis=(1, 2))
        if wrong.any():
            first = rows.start + int(np.flatnonzero(wrong)[0]) if first < 0 else first
            n_wrong += int(wrong.sum())
    if n_wrong:
        raise FormatError(
            f"{header.path} must hold finite numbers, got {n_wrong:,} that are nan or infinite, "
            f"the first in {what} {first} (0-based). "
            "Replace them in the program that wrote the file, or leave that part out, as with IMOD's newstack."
        )


def _slab_rows(shape: tuple[int, int, int], dtype: np.dtype) -> int:
    """Sections that fit a slab; at least one."""
    return max(1, _SLAB_BYTES // (shape[1] * shape[2] * dtype.itemsize))


def _slabs(header: MrcHeader, what: str) -> Iterator[slice]:
    n_sections = header.stored_shape[0]
    step = _slab_rows(header.stored_shape, header.dtype)
    starts = range(0, n_sections, step)
    for start in track(starts, f"{what} of {header.path.name}", len(starts)):
        yield slice(start, min(start + step, n_sections))


def _warn_of_excess(header: MrcHeader) -> None:
    excess = header.file_bytes - header.data_offset - header.data_bytes
    if excess:
        _log.warning(
            "%s has %s bytes behind its data, which are not read: check the sizes in its header.",
            header.path,
            f"{excess:,}",
        )


def _origin(header: MrcHeader, size_nm: tuple[float, float, float]) -> tuple[float, float, float]:
    z, y, x = header.origin_nm(size_nm)
    return z, y, x


def _record(header: MrcHeader, voxel_source: str) -> dict[str, str]:
    return {"file": header.path.name, "voxel_size_nm": voxel_source}
