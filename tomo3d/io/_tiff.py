"""TIFF, BigTIFF, OME-TIFF and ImageJ's TIFF: row 0 is the top of the picture, so the images are flipped."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from tomo3d.errors import FormatError
from tomo3d.io._images import (
    UNKNOWN_SIZE,
    Hints,
    ImageFile,
    check_piece,
    check_unpacked,
    check_values,
    frozen,
    translated,
)
from tomo3d.io._stacks import nanometres, stack_shape, three_axes
from tomo3d.io._titles import read_angle_line, read_name_lines, title_axis

_LARGEST_PAGES = 100_000
_MOST_TITLES = 100
_SOURCE = "description of the TIFF"
_LARGEST_PIXEL_NM = 10_000.0  # what is larger is the resolution of a print, not of an electron microscope
_LARGEST_OME = 16 << 20
_OTHER_FILE = re.compile(r"""<(?:\w+:)?UUID[^>]*\sFileName\s*=\s*["']([^"']*)""")


def open_tiff(file: Path) -> ImageFile:
    """What a TIFF file says of itself."""
    with translated(file, "TIFF file", tifffile.TiffFileError):
        _check_chain(file)
    with translated(file, "TIFF file", tifffile.TiffFileError), _opened(file) as tif:
        series = tif.series[0]
        _check_pages(file, tif)
        axes, shape = series.axes, series.shape
        if "S" in axes:
            raise FormatError(
                f"{file} must hold one number per pixel, got {shape[axes.index('S')]} colours: write it in grey."
            )
        stored = np.dtype(tif.byteorder + series.dtype.str[1:])
        dtype = check_values(file, stored)
        index = three_axes(file, shape, axes)
        new_shape = stack_shape(shape, index)
        offset = _contiguous(file, series)
        size_nm, source = _size(tif, series)
        text = _description(tif)
        names = read_name_lines(text)
        layout = "OME-TIFF" if tif.is_ome else "ImageJ TIFF" if tif.is_imagej else "TIFF"
    is_mapped = offset is not None and dtype == stored

    def mapped() -> np.ndarray:
        return np.memmap(file, stored, mode="r", offset=offset or 0, shape=shape)[index][:, ::-1]

    def read() -> np.ndarray:
        if is_mapped:
            return mapped()
        with translated(file, "TIFF file", tifffile.TiffFileError), _opened(file) as tif:
            values = tif.series[0].asarray(maxworkers=1)
            return frozen(np.asarray(values, dtype=dtype).reshape(shape))[index][:, ::-1]

    return ImageFile(
        path=file,
        layout=layout,
        shape=new_shape,
        dtype=dtype,
        read=read,
        held_bytes=0
        if is_mapped
        else math.prod(shape) * (dtype.itemsize + (stored.itemsize if dtype != stored else 0)),
        voxel_size_nm=size_nm,
        size_source=source,
        names=names,
        hints=lambda: _hints(text),
        titles=tuple(text.splitlines()[:_MOST_TITLES]) if text and read_angle_line(text) else (),
        peek=mapped if offset is not None else None,
        n_bytes=file.stat().st_size,
    )


def _hints(text: str) -> Hints:
    """Angles and axis in a description that tomo3d wrote."""
    angles = read_angle_line(text)
    if angles is None:
        return Hints()
    axis = title_axis(text.splitlines())
    return Hints(
        tilt_angles=((np.array(angles), _SOURCE),), axes=((axis, _SOURCE),) if axis is not None else ()
    )


def _check_chain(file: Path) -> None:
    """Raise FormatError if the pages, each of which says where the next one is, go round in a circle or never end."""
    with open(file, "rb") as stream:
        start = stream.read(16)
        order = "<" if start[:2] == b"II" else ">"
        is_big = start[2:4] in (b"+\0", b"\0+")
        counted, entry, pointer = ("Q", 20, "Q") if is_big else ("H", 12, "I")
        (place,) = struct.unpack_from(order + pointer, start, 8 if is_big else 4)
        seen: set[int] = set()
        while place:
            if place in seen or len(seen) >= _LARGEST_PAGES:
                raise FormatError(
                    f"{file} must hold at most {_LARGEST_PAGES:,} pages, one after the other, but they go on without "
                    "end: it is damaged."
                )
            seen.add(place)
            stream.seek(place)
            n_entries = struct.unpack(order + counted, stream.read(struct.calcsize("=" + counted)))[0]
            stream.seek(place + struct.calcsize("=" + counted) + entry * n_entries)
            place = struct.unpack(order + pointer, stream.read(struct.calcsize("=" + pointer)))[0]


def _opened(file: Path) -> tifffile.TiffFile:
    """The file alone: an OME-TIFF may name others, by any path, which tifffile opens if it is let."""
    return tifffile.TiffFile(file, _multifile=False)


def _check_pages(file: Path, tif: tifffile.TiffFile) -> None:
    """Raise FormatError unless all parts of the images lie in the file and can hold what they announce."""
    series, file_bytes = tif.series[0], file.stat().st_size
    others = set(_OTHER_FILE.findall(tif.ome_metadata or "" if tif.is_ome else ""))
    if len(others) > 1:  # one is its own name, or that before it was renamed
        raise FormatError(
            f"{file} must hold its images itself, but they lie in {len(others)} files, as {sorted(others)[0][:60]!r}, "
            "which are not followed: write them into one file."
        )
    if len(tif.series) > 1 and len(series.pages) == 1 and len(series.levels) == 1:
        sizes = {page.shape for page in (found.keyframe for found in tif.series[:20])}
        if len(sizes) > 1:
            raise FormatError(
                f"{file} must hold images of one size, got {len(tif.series)} series of images: "
                "write the one to be used into a file of its own."
            )
    if not 1 <= len(series.pages) <= _LARGEST_PAGES:
        raise FormatError(f"{file} must hold 1 to {_LARGEST_PAGES:,} pages, got {len(series.pages):,}.")
    announced = math.prod(series.shape) * series.dtype.itemsize  # Python integers: no overflow
    stored = 0
    if series.dataoffset is not None:
        found = max(0, file_bytes - series.dataoffset) if series.dataoffset > 0 else 0
        if found < announced:
            raise FormatError(
                f"{file} must hold the {announced:,} bytes of images that it announces, but has {found:,} of them: "
                "it is cut short or damaged."
            )
        stored = announced
    else:
        for page in series.pages:
            if page is None:
                raise FormatError(f"{file} must hold all pages of its series of images, but one is missing.")
            parts = tuple(zip(page.dataoffsets, page.databytecounts, strict=True))
            if not parts or any(start <= 0 or n <= 0 or start + n > file_bytes for start, n in parts):
                raise FormatError(
                    f"{file} must hold all parts of its images, but some lie beyond its {file_bytes:,} bytes: "
                    "it is cut short or damaged."
                )
            stored += sum(n for _, n in parts)
    check_unpacked(file, announced, min(stored, file_bytes))
    check_piece(file, _tile_bytes(series), announced)
    if announced > stored and series.keyframe.compression == 1:
        raise FormatError(
            f"{file} must hold the {announced:,} bytes of images that it announces, but has {stored:,} of them: "
            "it is cut short or damaged."
        )


def _tile_bytes(series: tifffile.TiffPageSeries) -> int:
    """Bytes of one tile, unpacked; 0 where there are none."""
    tile, dtype = series.keyframe.tile, series.keyframe.dtype
    return math.prod(tile) * dtype.itemsize if tile and dtype else 0


def _contiguous(file: Path, series: tifffile.TiffPageSeries) -> int | None:
    """Where the values begin, if they lie in one piece as an array does."""
    return None if series.dataoffset is None or series.keyframe.is_tiled else int(series.dataoffset)


def _size(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[tuple[float, float, float], str]:
    """Voxel size (z, y, x) in nm and its source; nan where it is not known. Resolutions of prints are no sizes."""
    if tif.is_ome and tif.ome_metadata:
        return _ome_size(tif.ome_metadata), "OME metadata"
    page = series.keyframe
    x, y = (_pixels_per_unit(page, f"{axis}Resolution") for axis in "XY")
    if tif.is_imagej and tif.imagej_metadata:
        unit = str(tif.imagej_metadata.get("unit", ""))
        spacing = tif.imagej_metadata.get("spacing", math.nan)
        z = nanometres(float(spacing), unit) if isinstance(spacing, (int, float)) else math.nan
        return (z, nanometres(1 / y, unit), nanometres(1 / x, unit)), "ImageJ metadata"
    unit_tag = page.tags.get("ResolutionUnit")
    if unit_tag is not None and unit_tag.value == 3:
        sizes = [nanometres(1 / density, "cm") for density in (y, x)]
        if all(size <= _LARGEST_PIXEL_NM for size in sizes):
            return (math.nan, sizes[0], sizes[1]), "resolution tags"
    return UNKNOWN_SIZE, ""


def _description(tif: tifffile.TiffFile) -> str:
    """Text that the images are described by: ImageJ's "Info", or the description of an OME image."""
    if tif.is_imagej and tif.imagej_metadata:
        return str(tif.imagej_metadata.get("Info", ""))
    if not tif.is_ome or not tif.ome_metadata or not _is_plain(tif.ome_metadata):
        return ""
    found = ElementTree.fromstring(tif.ome_metadata).find("{*}Image/{*}Description")
    return "" if found is None else str(found.text)


def _pixels_per_unit(page: tifffile.TiffPage, name: str) -> float:
    tag = page.tags.get(name)
    if tag is None or not isinstance(tag.value, tuple) or len(tag.value) != 2:
        return math.nan
    above, below = tag.value
    return above / below if above > 0 and below > 0 else math.nan


def _is_plain(text: str) -> bool:
    """Whether an XML may be read: of bounded size, and without entities of its own, which may grow without bound."""
    return len(text) <= _LARGEST_OME and "<!ENTITY" not in text and "<!DOCTYPE" not in text


def _ome_size(text: str) -> tuple[float, float, float]:
    """PhysicalSizeZ, Y and X of the first image of OME-XML; an XML with entities of its own is not read."""
    if not _is_plain(text):
        return UNKNOWN_SIZE
    for element in ElementTree.fromstring(text).iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            found = []
            for axis in "ZYX":
                value = element.get(f"PhysicalSize{axis}")
                unit = element.get(f"PhysicalSize{axis}Unit", "µm")
                found.append(math.nan if value is None else nanometres(float(value), unit))
            return found[0], found[1], found[2]
    return UNKNOWN_SIZE
