"""Writing MRC files (MRC2014, little-endian), slab by slab, so that the values may be larger than memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
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
from tomo3d.io._titles import N_TITLES, name_titles
from tomo3d.io._write import check_output, new_file
from tomo3d.progress import track
from tomo3d.types import Array, Labels, TiltSeries, Volume

_SLAB_BYTES = 1 << 25
_EXACT_FLOAT = 2**24  # largest n such that float32 holds every whole number up to it
_MRC_VERSION = 20141
_MODES = {np.dtype("i1"): 0, np.dtype("<i2"): 1, np.dtype("<f4"): 2}
_Zyx = tuple[float, float, float]


def write_volume(volume: Volume, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a volume to an MRC file.

    Parameters
    ----------
    volume : Volume
        Booleans and int8 become mode 0, int16 and uint8 mode 1, all else float32 (mode 2): float64 is rounded
        to float32.
    path : path
        Where to write it.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If a value is not finite, or an integer is not exact in float32 (beyond 2^24).
    TypeError
        If the values lie on a GPU.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    `record` is not part of the file. Voxel size and origin are stored as float32, in angstrom.
    """
    _write(_volume_like(volume, volume.data, _storage_type(volume.data)), path, overwrite)


def write_labels(labels: Labels, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write labels or a mask to an MRC file.

    Parameters
    ----------
    labels : Labels
        Values up to 127 become mode 0 (a mask comes back as 0 and 1), up to 32767 mode 1. Their names go into
        the titles.
    path : path
        Where to write them.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If a label is below -32768 or above 32767, or the names do not fit into nine titles.
    TypeError
        If the labels lie on a GPU.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    `record` and `probabilities` are not part of the file.
    """
    check_output(path, overwrite=overwrite)
    low, high = _extremes(labels.data)
    if low < -32768 or high > 32767:
        raise ValueError(f"labels must lie within -32768 to 32767 to fit an MRC file, got {low} to {high}.")
    dtype = np.dtype("i1") if low >= -128 and high <= 127 else np.dtype("<i2")
    _write(_volume_like(labels, labels.data, dtype, name_titles(labels.names)), path, overwrite)


def write_tilt_series(series: TiltSeries, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a tilt series to an MRC file that holds its angles, pixel size, axis and excluded views.

    Parameters
    ----------
    series : TiltSeries
        Images are stored as `write_volume` stores values.
    path : path
        Where to write it.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If a value is not finite or not exact in float32, or the runs of excluded views do not fit into the titles.
    TypeError
        If the images lie on a GPU.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    Angles and pixel size are doubles of an FEI1 extended header, which mrcfile reads too; the axis is IMOD's title
    "Tilt axis angle = ...", left out where `sources` says that it is unknown. `read_tilt_series` needs no option to
    read them back. `views` and `sources` are not part of the file.
    """
    pixel = series.pixel_size_nm
    _, n_y, n_x = series.images.shape
    # An axis that was only assumed must not come back as one that is known.
    is_known = not series.sources.get("tilt_axis_deg", "").startswith(UNKNOWN)
    titles = [axis_title(series.tilt_axis_deg)] if is_known else []
    if series.use is not None:
        titles += excluded_titles(series.use)
    image = _Image(
        values=series.images,
        dtype=_storage_type(series.images),
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


def _volume_like(
    volume: Volume | Labels, values: Array, dtype: np.dtype, titles: Sequence[str] = ()
) -> _Image:
    n_z, n_y, n_x = values.shape
    z, y, x = volume.voxel_size_nm
    return _Image(
        values, dtype, (n_z, n_y, n_x), (n_z * z, n_y * y, n_x * x), volume.origin_nm, titles=titles
    )


def _storage_type(values: Array) -> np.dtype:
    dtype = np.dtype(values.dtype)
    if dtype in (np.dtype(bool), np.dtype("i1")):
        return np.dtype("i1")
    # Unsigned bytes would be mode 0 only in IMOD's reading of it, so they take the next signed type.
    if dtype == np.dtype("u1") or dtype.newbyteorder("<") == np.dtype("<i2"):
        return np.dtype("<i2")
    return np.dtype("<f4")


def _write(image: _Image, path: str | os.PathLike[str], overwrite: bool) -> None:
    if hasattr(image.values, "__cuda_array_interface__"):
        raise TypeError(
            "values must lie in main memory to be written, got a GPU array: move them to the CPU first."
        )
    titles = [*image.titles, f"tomo3d {__version__}"]
    if len(titles) > N_TITLES:
        raise ValueError(
            f"the runs of excluded views must fit into {N_TITLES} titles of the header, got {len(titles)} titles."
        )
    offset = HEADER_BYTES + len(image.extended)
    n_bytes = offset + math.prod(image.values.shape) * image.dtype.itemsize
    statistics = _Statistics()
    with new_file(path, n_bytes, overwrite=overwrite) as file:
        file.seek(HEADER_BYTES)
        file.write(image.extended)
        for start, slab in _slabs(image.values, f"writing {os.path.basename(path)}"):
            converted = _converted(slab, image.dtype, start)
            statistics.add(converted)
            file.write(converted.data)
        file.seek(0)
        file.write(_header(image, statistics, titles))


def _slabs(values: Array, what: str) -> Iterator[tuple[int, np.ndarray]]:
    n_z, n_y, n_x = values.shape
    step = max(1, _SLAB_BYTES // (n_y * n_x * np.dtype(values.dtype).itemsize))
    starts = range(0, n_z, step)
    for start in track(starts, what, len(starts)):
        yield start, np.asarray(values[start : start + step])


def _converted(slab: np.ndarray, dtype: np.dtype, start: int) -> np.ndarray:
    """The slab in the type of the file, C-ordered, if that loses nothing but the last digits of float64."""
    if dtype.kind == "f":
        if slab.dtype.kind in "iu" and slab.dtype.itemsize > 2:
            beyond = (slab > _EXACT_FLOAT) | (slab < -_EXACT_FLOAT)
            if beyond.any():
                raise ValueError(
                    f"integers must lie within +-2^24 to be exact as float32, got {slab[beyond][0]}: scale them first."
                )
        with np.errstate(over="ignore"):  # an overflow is infinite, and said below
            converted = np.ascontiguousarray(slab, dtype=dtype)
        wrong = np.count_nonzero(~np.isfinite(converted), axis=(1, 2))
        if wrong.any():
            first = start + int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"values must be finite as float32 to be written, got {int(wrong.sum()):,} that are not, "
                f"the first in section {first} (0-based)."
            )
        return converted
    return np.ascontiguousarray(slab, dtype=dtype)


def _extremes(values: Array) -> tuple[int, int]:
    if np.dtype(values.dtype).kind == "b":
        return 0, 1
    if hasattr(values, "__cuda_array_interface__"):
        raise TypeError(
            "labels must lie in main memory to be written, got a GPU array: move them to the CPU first."
        )
    ends = [(int(slab.min()), int(slab.max())) for _, slab in _slabs(values, "checking labels")]
    return min(low for low, _ in ends), max(high for _, high in ends)


class _Statistics:
    """Minimum, maximum, mean and r.m.s. deviation of values that come in slabs (Chan et al. 1979: stable merging)."""

    def __init__(self) -> None:
        self.minimum, self.maximum = math.inf, -math.inf
        self.n, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, slab: np.ndarray) -> None:
        mean = float(slab.mean(dtype=np.float64))
        squares = float(slab.var(dtype=np.float64)) * slab.size
        delta, n = mean - self.mean, self.n + slab.size
        self.squares += squares + delta**2 * self.n * slab.size / n
        self.mean += delta * slab.size / n
        self.n = n
        self.minimum = min(self.minimum, float(slab.min()))
        self.maximum = max(self.maximum, float(slab.max()))

    @property
    def rms(self) -> float:
        return math.sqrt(self.squares / self.n)


def _header(image: _Image, statistics: _Statistics, titles: Sequence[str]) -> bytes:
    header = np.zeros((), header_dtype("<"))
    header["n"] = image.values.shape[::-1]
    header["mode"] = _MODES[image.dtype]
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
