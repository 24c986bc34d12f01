"""What a file says of itself, without reading it whole: kind, sizes, angles, values, and what looks wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._alignment import read_alignment
from tomo3d.io._angles import side_file
from tomo3d.io._extended import Extended, read_extended
from tomo3d.io._facts import (
    UNKNOWN,
    axis_suspicion,
    default_size_suspicion,
    has_one_interval,
    is_default_size,
    tilt_angles,
    tilt_axis,
)
from tomo3d.io._input import existing_file
from tomo3d.io._mrc import map_values
from tomo3d.io._mrc_header import MODE_NAMES, MrcHeader, read_header
from tomo3d.io._tables import read_table

Found = TypeVar("Found")
Default = TypeVar("Default")
_SAMPLE_SECTIONS = 5
_SAMPLE_ROWS = 512


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file.

    Parameters
    ----------
    path : Path
    kind : str
        "tilt series", "volume" (or labels), "alignment" or "table".
    n_bytes : int
    shape : tuple of int
        (n_z, n_y, n_x) of images; (n_tilts,) of an alignment; (rows, columns) of a table.
    dtype : str
        Type of the values; "" where there is no one type.
    mode : str
        Name of the MRC mode and its byte order; "" for other files.
    voxel_size_nm : tuple of float, optional
        (z, y, x); for a tilt series (y, x). None where the file does not say.
    origin_nm : tuple of float, optional
        (z, y, x); None for what has none.
    tilt_angles : str
        Number, range and source of the angles; "" where there are none.
    tilt_axis : str
        Direction and source of the axis; "" where there is none.
    values : tuple of float, optional
        (minimum, maximum, mean) of a sample of up to five sections.
    titles : tuple of str
    suspicions : tuple of str
        One sentence for each thing to check before the file is used.
    """

    path: Path
    kind: str
    n_bytes: int
    shape: tuple[int, ...]
    dtype: str = ""
    mode: str = ""
    voxel_size_nm: tuple[float, ...] | None = None
    origin_nm: tuple[float, float, float] | None = None
    tilt_angles: str = ""
    tilt_axis: str = ""
    values: tuple[float, float, float] | None = None
    titles: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()


def inspect(path: str | os.PathLike[str]) -> FileInfo:
    """Say what a file is, and what in it looks wrong, without reading it whole.

    Parameters
    ----------
    path : path
        MRC file, alignment (JSON) or table (CSV).

    Returns
    -------
    FileInfo

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is none of these, or contradicts its own size.
    """
    file = existing_file(path)
    with open(file, "rb") as stream:
        start = stream.read(1024)
    if start.lstrip()[:1] == b"{":
        return _inspect_alignment(file)
    if _is_text(start) and file.suffix.lower() == ".csv":
        return _inspect_table(file)
    return _inspect_mrc(read_header(file))


def _is_text(start: bytes) -> bool:
    return b"\0" not in start


def _inspect_alignment(file: Path) -> FileInfo:
    alignment = read_alignment(file)
    n_distrusted = int((~alignment.reliable).sum())
    suspicions = (
        (f"the method distrusts {n_distrusted} of {alignment.n_tilts} views.",) if n_distrusted else ()
    )
    angles, axis = alignment.tilt_angles_deg, alignment.tilt_axis_deg
    return FileInfo(
        file,
        "alignment",
        file.stat().st_size,
        (alignment.n_tilts,),
        tilt_angles=f"{_range(angles)} (refined)" if len(angles) else "",
        tilt_axis=f"{axis.min():g} to {axis.max():g} deg" if len(axis) else "",
        suspicions=suspicions,
    )


def _inspect_table(file: Path) -> FileInfo:
    return FileInfo(file, "table", file.stat().st_size, read_table(file).shape)


def _inspect_mrc(header: MrcHeader) -> FileInfo:
    suspicions: list[str] = []
    extended = _noting(suspicions, lambda: read_extended(header), Extended("unreadable"))
    _, axis_source = tilt_axis(header, Extended("none"), None)
    is_series = (
        extended.tilt_angles_deg is not None
        or side_file(header.path) is not None
        or axis_source.startswith("title")
    )
    values = _sample(header, suspicions)
    size_nm: tuple[float, ...] = header.voxel_size_nm
    angles = axis = ""
    if is_series:
        angles, axis = _describe_geometry(header, extended, suspicions)
        size_nm = (extended.pixel_size_nm,) * 2 if extended.pixel_size_nm else size_nm[1:]
    known = all(size > 0 for size in size_nm)  # nan is not
    suspicions += _size_suspicions(header, size_nm, is_series)
    origin = None if is_series else header.origin_nm(header.voxel_size_nm)
    return FileInfo(
        path=header.path,
        kind="tilt series" if is_series else "volume",
        n_bytes=header.file_bytes,
        shape=header.shape,
        dtype=header.dtype.name,
        mode=f"{header.mode} ({MODE_NAMES[header.mode]}), {'little' if header.byte_order == '<' else 'big'}-endian",
        voxel_size_nm=size_nm if known else None,
        origin_nm=origin if origin is not None and all(np.isfinite(origin)) else None,
        tilt_angles=angles,
        tilt_axis=axis,
        values=values,
        titles=header.titles,
        suspicions=tuple(suspicions),
    )


def _noting(suspicions: list[str], read: Callable[[], Found], default: Default) -> Found | Default:
    """What `read` returns, or the default with its complaint noted: an inspection goes on where a reader stops."""
    try:
        return read()
    except (FormatError, OSError) as error:
        suspicions.append(str(error))
        return default


def _describe_geometry(header: MrcHeader, extended: Extended, suspicions: list[str]) -> tuple[str, str]:
    found = _noting(suspicions, lambda: tilt_angles(header, extended, None), None)
    axis_deg, axis_source = tilt_axis(header, Extended("none"), None)
    if extended.axis_deg is not None:
        suspicions.append(axis_suspicion(extended.axis_deg))
    if axis_source.startswith(UNKNOWN):
        suspicions.append(
            "the file does not give the tilt axis: pass tilt_axis_deg, or find it by alignment."
        )
        axis = "unknown"
    else:
        axis = f"{axis_deg:g} deg ({axis_source})"
    return (f"{_range(found[0])} ({found[1]})" if found else ""), axis


def _range(angles_deg: np.ndarray) -> str:
    steps = np.diff(np.sort(angles_deg))
    step = f", steps of {np.median(steps):g} deg (median)" if len(steps) else ""
    return f"{len(angles_deg)} angles, {angles_deg.min():g} to {angles_deg.max():g} deg{step}"


def _size_suspicions(header: MrcHeader, size_nm: tuple[float, ...], is_series: bool) -> list[str]:
    what = "pixel" if is_series else "voxel"
    found = []
    if not all(size > 0 for size in size_nm):
        found.append(f"the file has no {what} size: pass {what}_size_nm.")
    elif is_default_size(*size_nm):
        found.append(default_size_suspicion(what))
    elif not is_series and has_one_interval(header):
        found.append(
            f"the header counts one interval along z for {header.shape[0]} slices, so the voxel size "
            "along z is not believed: pass voxel_size_nm."
        )
    elif max(size_nm) > 1.01 * min(size_nm):
        found.append(f"the {what}s are not cubic: {' x '.join(f'{size:g}' for size in size_nm)} nm.")
    excess = header.file_bytes - header.data_offset - header.data_bytes
    if excess:
        found.append(f"{excess:,} bytes lie behind the data and are not read: check the sizes in the header.")
    return found


def _sample(header: MrcHeader, suspicions: list[str]) -> tuple[float, float, float] | None:
    """Minimum, maximum and mean of evenly spaced sections and rows: a few megabytes at most of any file."""
    n_sections, n_rows, _ = header.stored_shape
    sections = np.unique(np.linspace(0, n_sections - 1, _SAMPLE_SECTIONS).astype(int))
    rows = slice(None, None, -(-n_rows // _SAMPLE_ROWS))
    mapped = map_values(header)
    sample = np.stack([mapped[section, rows] for section in sections]).astype(np.float64)
    finite = sample[np.isfinite(sample)]
    if finite.size < sample.size:
        suspicions.append(
            f"{sample.size - finite.size:,} of {sample.size:,} sampled values are nan or infinite: "
            "replace them before use."
        )
    if not finite.size:
        return None
    low, high, mean = float(finite.min()), float(finite.max()), float(finite.mean())
    if low == high:
        suspicions.append(f"all sampled values are {low:g}: the file may be empty.")
    stored_low, stored_high = header.statistics[:2]
    if stored_low < stored_high and not (
        stored_low <= low + 1e-6 * abs(low) and high - 1e-6 * abs(high) <= stored_high
    ):
        suspicions.append(
            f"values reach from {low:g} to {high:g}, beyond the {stored_low:g} to {stored_high:g} of the header."
        )
    if header.mode == 1 and low < -30000:
        suspicions.append(
            f"the smallest value is {low:g}: counts of 16 bits may have been stored less 32,768. "
            "Subtract the background first."
        )
    return low, high, mean
