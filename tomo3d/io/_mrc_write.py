"""Writing MRC files (MRC2014, little-endian), slab by slab, so that the values may be larger than memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tomo3d._version import __version__
from tomo3d.io._extended import make_fei1
from tomo3d.io._facts import UNKNOWN, axis_title, excluded_titles
from tomo3d.io._mrc_fields import (
    HEADER_BYTES,
    IMOD_STAMP,
    SIGNED_BYTES,
    STANDARD_ORIGIN,
    header_dtype,
    shortest,
)
from tomo3d.io._pieces import Statistics, check_in_main_memory, converted, extremes, slabs
from tomo3d.io._titles import N_TITLES, name_titles
from tomo3d.io._write import check_output, new_file
from tomo3d.types import Array, Labels, TiltSeries, Volume

_MRC_VERSION = 20141
_MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}
_Zyx = tuple[float, float, float]


def write_mrc_volume(
    volume: Volume, path: str | os.PathLike[str], *, dtype: np.dtype | None, overwrite: bool
) -> None:
    """Write a volume; `dtype` None: the type that holds the values, float64 as float32."""
    _write(_volume_like(volume, _storage_type(volume.data, dtype)), path, overwrite)


def write_mrc_labels(labels: Labels, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write labels, with their names as titles.

    Raises
    ------
    ValueError
        If a label is below -32768 or above 65535, or the names do not fit into nine titles.
    """
    check_output(path, overwrite=overwrite)
    low, high = extremes(labels.data)
    if low < -32768 or high > (65535 if low >= 0 else 32767):
        raise ValueError(
            f"labels must lie within -32768 to 32767, or 0 to 65535, to fit an MRC file, got {low} to {high}: "
            "write them as TIFF, NRRD or OME-Zarr."
        )
    kind = "i1" if low >= -128 and high <= 127 else "i2" if high <= 32767 else "u2"
    _write(_volume_like(labels, np.dtype("<" + kind), name_titles(labels.names)), path, overwrite)


def write_mrc_series(
    series: TiltSeries, path: str | os.PathLike[str], *, dtype: np.dtype | None, overwrite: bool
) -> None:
    """Write a tilt series with its angles and pixel size in an FEI1 extended header, axis and exclusions as titles."""
    pixel = series.pixel_size_nm
    _, n_y, n_x = series.images.shape
    # An axis that was only assumed must not come back as one that is known.
    is_known = not series.sources.get("tilt_axis_deg", "").startswith(UNKNOWN)
    titles = [axis_title(series.tilt_axis_deg)] if is_known else []
    if series.use is not None:
        titles += excluded_titles(series.use)
    image = _Image(
        values=series.images,
        dtype=_storage_type(series.images, dtype),
        # An image stack counts one interval along z, of one pixel (MRC2014): the sections are not slices of a body.
        intervals=(1, n_y, n_x),
        cell_nm=(pixel, n_y * pixel, n_x * pixel),
        space_group=0,
        extended=make_fei1(series.tilt_angles_deg, pixel),
        titles=titles,
    )
    _write(image, path, overwrite)


@dataclass(frozen=True)
class _Image:
    """What goes into one file; sizes are (z, y, x)."""

    values: Array
    dtype: np.dtype
    intervals: tuple[int, int, int]
    cell_nm: _Zyx
    origin_nm: _Zyx = (0.0, 0.0, 0.0)
    space_group: int = 1
    extended: bytes = b""
    titles: Sequence[str] = field(default_factory=list)


def _volume_like(volume: Volume | Labels, dtype: np.dtype, titles: Sequence[str] = ()) -> _Image:
    n_z, n_y, n_x = volume.data.shape
    z, y, x = volume.voxel_size_nm
    cell_nm = (n_z * z, n_y * y, n_x * x)
    return _Image(volume.data, dtype, (n_z, n_y, n_x), cell_nm, volume.origin_nm, titles=titles)


def _storage_type(values: Array, dtype: np.dtype | None) -> np.dtype:
    kind = np.dtype(values.dtype if dtype is None else dtype).newbyteorder("<").str[1:]
    if dtype is not None:
        if kind not in _MODES:
            raise ValueError(
                f"an MRC file holds int8, int16, uint16, float16 or float32, got dtype {np.dtype(dtype).name}."
            )
        return np.dtype("<" + kind)
    # Unsigned bytes would be mode 0 only in IMOD's reading of it, so they take the next signed type.
    stored = {"b1": "i1", "u1": "i2"}.get(kind, kind)
    return np.dtype("<" + (stored if stored in _MODES else "f4"))


def _write(image: _Image, path: str | os.PathLike[str], overwrite: bool) -> None:
    check_in_main_memory(image.values)
    titles = [*image.titles, f"tomo3d {__version__}"]
    if len(titles) > N_TITLES:
        raise ValueError(
            f"the runs of excluded views must fit into {N_TITLES} titles of the header, got {len(titles)} titles."
        )
    offset = HEADER_BYTES + len(image.extended)
    n_bytes = offset + math.prod(image.values.shape) * image.dtype.itemsize
    statistics = Statistics()
    with new_file(path, n_bytes, overwrite=overwrite) as file:
        file.seek(HEADER_BYTES)
        file.write(image.extended)
        for start, slab in slabs(image.values, f"writing {os.path.basename(path)}"):
            ready = converted(slab, image.dtype, start)
            statistics.add(ready)
            file.write(ready.data)
        file.seek(0)
        file.write(_header(image, statistics, titles))


def _header(image: _Image, statistics: Statistics, titles: Sequence[str]) -> bytes:
    header = np.zeros((), header_dtype("<"))
    header["n"] = image.values.shape[::-1]
    header["mode"] = _MODES[image.dtype.str[1:]]
    header["m"] = image.intervals[::-1]
    header["cell"] = [shortest(np.float64(length), 1) for length in reversed(image.cell_nm)]
    header["cell_angles"] = 90.0
    header["axes"] = (1, 2, 3)
    header["minimum"], header["maximum"] = statistics.minimum, statistics.maximum
    header["mean"], header["rms"] = statistics.mean, statistics.rms
    header["space_group"] = image.space_group
    header["n_extended"] = len(image.extended)
    header["extended_type"] = b"FEI1" if image.extended else b""
    header["version"] = _MRC_VERSION
    header["imod_stamp"] = IMOD_STAMP
    header["imod_flags"] = SIGNED_BYTES | STANDARD_ORIGIN
    header["origin"] = [shortest(np.float64(position), 1) for position in reversed(image.origin_nm)]
    header["map_word"] = b"MAP "
    header["stamp"] = (0x44, 0x44, 0, 0)
    header["n_titles"] = len(titles)
    header["titles"][: len(titles)] = [title.encode("ascii") for title in titles]
    return header.tobytes()
