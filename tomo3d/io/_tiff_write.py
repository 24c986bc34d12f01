"""Writing TIFF: as ImageJ writes it where it can, so that Fiji and napari know the voxel size, else as OME-TIFF.

Row 0 of a TIFF is the top of the picture: y is flipped. ImageJ's description: tifffile's documentation and
ImageJ's ij.io.TiffEncoder; OME-TIFF: Linkert et al., J. Cell Biol. 189, 777 (2010), doi:10.1083/jcb.201004104.
"""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from tomo3d.io._facts import UNKNOWN, axis_title, excluded_titles
from tomo3d.io._pieces import check_in_main_memory, converted, extremes, narrowest, slabs
from tomo3d.io._titles import ANGLES_LINE, name_lines
from tomo3d.io._write import check_output, new_file
from tomo3d.types import Labels, TiltSeries, Volume

_log = logging.getLogger(__name__)
_IMAGEJ_TYPES = ("u1", "u2", "i2", "f4")
_STORED = {"b1": "u1", "f2": "f4", "f8": "f4", "i8": "i4", "u8": "u4"}  # the others are stored as they are
_LARGEST_CLASSIC = (
    2**32 - 2**26
)  # a TIFF of ImageJ counts bytes in 32 bits; room for what stands beside the values
_PAGE_BYTES = 1 << 10  # of one page's tags, an upper bound


def write_tiff_volume(
    volume: Volume, path: str | os.PathLike[str], *, dtype: np.dtype | None, overwrite: bool
) -> None:
    """Write a volume; `dtype` None: the type that holds the values, floats as float32."""
    kind = np.dtype(volume.data.dtype if dtype is None else dtype).str[1:]
    _write(volume, np.dtype("<" + _STORED.get(kind, kind)), path, "", overwrite)


def write_tiff_labels(labels: Labels, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write labels in the narrowest type, with their names in the description."""
    check_output(path, overwrite=overwrite)
    _write(labels, narrowest(*extremes(labels.data)), path, name_lines(labels.names), overwrite)


def write_tiff_series(
    series: TiltSeries, path: str | os.PathLike[str], *, dtype: np.dtype | None, overwrite: bool
) -> None:
    """Write a tilt series; its angles, axis and excluded views are lines of the description."""
    kind = np.dtype(series.images.dtype if dtype is None else dtype).str[1:]
    lines = [ANGLES_LINE + ", ".join(repr(angle) for angle in series.tilt_angles_deg.tolist())]
    if not series.sources.get("tilt_axis_deg", "").startswith(UNKNOWN):
        lines.append(axis_title(series.tilt_axis_deg))
    lines += [] if series.use is None else excluded_titles(series.use)
    pixel = series.pixel_size_nm
    _write(
        Volume(series.images, (pixel, pixel, pixel)),
        np.dtype("<" + _STORED.get(kind, kind)),
        path,
        "\n".join(lines),
        overwrite,
        is_deep=False,
    )
    _log.warning(
        "%s: a TIFF has no place for tilt angles, axis and excluded views: they are in its description, which tomo3d "
        "reads, and other programs only show. What else is known of the views is left out.",
        os.path.basename(path),
    )


def _write(
    volume: Volume | Labels,
    dtype: np.dtype,
    path: str | os.PathLike[str],
    text: str,
    overwrite: bool,
    *,
    is_deep: bool = True,
) -> None:
    """Write pages with a text that describes them; pages that are not deep are views, not slices."""
    import tifffile

    check_in_main_memory(volume.data)
    shape = tuple(int(n) for n in volume.data.shape)
    n_bytes = math.prod(shape) * dtype.itemsize
    n_bytes += shape[0] * _PAGE_BYTES + (1 << 16) + 4 * len(text)
    is_ome = _is_ome(path) or dtype.str[1:] not in _IMAGEJ_TYPES or n_bytes > _LARGEST_CLASSIC
    _, y_nm, x_nm = volume.voxel_size_nm
    metadata = _ome(volume, text) if is_ome else _imagej(volume, text)
    if not is_deep:
        for key in ("spacing", "PhysicalSizeZ", "PhysicalSizeZUnit"):
            metadata.pop(key, None)
    if any(volume.origin_nm):
        _log.warning(
            "%s: a TIFF has no place for the origin, (%.6g, %.6g, %.6g) nm in (z, y, x): note it, or write MRC or NRRD",
            os.path.basename(path),
            *volume.origin_nm,
        )
    with new_file(path, n_bytes, overwrite=overwrite) as file:
        measured = _Measured(file)
        with tifffile.TiffWriter(
            cast(BinaryIO, measured), bigtiff=n_bytes > _LARGEST_CLASSIC, ome=is_ome, imagej=not is_ome
        ) as tiff:
            tiff.write(
                _planes(volume, dtype, f"writing {os.path.basename(path)}"),
                shape=shape,
                dtype=dtype,
                photometric="minisblack",
                # pixels per centimetre in OME-TIFF; per unit of the description in ImageJ's
                resolution=(1e7 / x_nm, 1e7 / y_nm) if is_ome else (1.0 / x_nm, 1.0 / y_nm),
                resolutionunit="CENTIMETER" if is_ome else "NONE",
                metadata=metadata,
            )
        file.truncate(measured.end)


def _is_ome(path: str | os.PathLike[str]) -> bool:
    return Path(path).name.lower().endswith((".ome.tif", ".ome.tiff"))


def _imagej(volume: Volume | Labels, text: str) -> dict[str, Any]:
    described = {"axes": "ZYX", "spacing": volume.voxel_size_nm[0], "unit": "nm"}
    return described | ({"Info": text} if text else {})


def _ome(volume: Volume | Labels, text: str) -> dict[str, Any]:
    described: dict[str, Any] = {"axes": "ZYX"}
    for axis, size_nm in zip("ZYX", volume.voxel_size_nm, strict=True):
        described |= {f"PhysicalSize{axis}": size_nm, f"PhysicalSize{axis}Unit": "nm"}
    return described | ({"Description": text} if text else {})


def _planes(volume: Volume | Labels, dtype: np.dtype, what: str) -> Iterator[np.ndarray]:
    for start, slab in slabs(volume.data, what):
        for plane in converted(slab, dtype, start):
            yield np.ascontiguousarray(plane[::-1])


class _Measured(io.RawIOBase):
    """The file as tifffile writes to it, knowing how far it was written; it has neither a name nor a number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.end = 0

    def write(self, data: Any) -> int:
        n_written = self._file.write(data)
        self.end = max(self.end, self._file.tell())
        return n_written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(self.end + offset if whence == os.SEEK_END else offset, whence % os.SEEK_END)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined]

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
