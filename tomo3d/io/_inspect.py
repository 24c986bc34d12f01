"""What a file says of itself, without reading it whole: kind, sizes, angles, values, and what looks wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._angles import side_file
from tomo3d.io._beside import beside_hints, known_columns
from tomo3d.io._facts import (
    UNKNOWN,
    check_length,
    default_size_suspicion,
    excluded_views,
    is_default_size,
    pixel_size,
    table_of_views,
    tilt_angles,
    tilt_axis,
)
from tomo3d.io._file_info import FileInfo, column_text, range_text
from tomo3d.io._images import Hints, ImageFile, open_images, release
from tomo3d.io._input import existing_file
from tomo3d.io._inspect_side import inspect_side, is_side_file

Found = TypeVar("Found")
Default = TypeVar("Default")
_SAMPLE_SECTIONS = 5
_SAMPLE_ROWS = 512
_READ_FOR_A_SAMPLE = 256 << 20  # a file that has to be unpacked to be looked at is, up to this size
_USUAL_VOLTAGE_V = 300e3


def inspect(path: str | os.PathLike[str], *, measured_size_nm: float | None = None) -> FileInfo:
    """Say what a file is, and what in it looks wrong, without reading it whole.

    Parameters
    ----------
    path : path
        Images of any known format, side file (.mdoc, list of angles, STAR, XML, .mod), alignment or table (CSV).
    measured_size_nm : float, optional
        Size of what is to be measured: the Fresnel fringes of a defocus, sqrt(wavelength x defocus) wide, must
        stay below half of it. Default: that is not checked.

    Returns
    -------
    FileInfo

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is none of these, or contradicts its own size.
    ValueError
        If `measured_size_nm` is no length.
    """
    if measured_size_nm is not None:
        check_length(measured_size_nm, "measured_size_nm")
    place = Path(os.fspath(path).partition("::")[0])
    if not place.is_dir():
        with open(existing_file(place), "rb") as stream:
            start = stream.read(1024)
        if is_side_file(start):
            return inspect_side(place, start)
    return _inspect_images(open_images(path), measured_size_nm)


def _inspect_images(image: ImageFile, measured_size_nm: float | None) -> FileInfo:
    suspicions: list[str] = list(image.doubts)
    own = _noting(suspicions, image.hints, Hints())
    beside = _noting(suspicions, lambda: beside_hints(image.path, image.shape[1:], None), Hints())
    is_series = image.is_series_layout and (
        bool(own.tilt_angles or own.axes or beside.tilt_angles) or side_file(image.path) is not None
    )
    sources: dict[str, str] = {}
    size_nm: tuple[float, ...] = image.voxel_size_nm
    angles = axis = ""
    views: Mapping[str, Any] = {}
    if is_series:
        angles, axis, views, source = _describe_geometry(image, own, beside, suspicions)
        found = _noting(suspicions, lambda: pixel_size(image, own, beside, None), None)
        size_nm = (found[0],) * 2 if found else size_nm[1:]
        sources = {"pixel": found[1]} if found else {}
        sources |= {"views": source} if views else {}
        suspicions += [*own.doubts, *beside.doubts]
        suspicions += _fresnel(views, beside.voltage_v or own.voltage_v, measured_size_nm)
    elif image.size_source:
        sources = {"voxel": image.size_source}
    known = all(size > 0 for size in size_nm)  # nan is not
    if not is_series or found:  # else what is wrong with the pixel is told
        suspicions += _size_suspicions(image, size_nm, is_series)
    origin = None if is_series else image.origin(image.voxel_size_nm)
    return FileInfo(
        path=image.path,
        kind="tilt series" if is_series else "volume",
        n_bytes=image.n_bytes,
        shape=image.shape,
        dtype=image.dtype.name,
        layout=image.layout,
        mode=image.mode,
        voxel_size_nm=size_nm if known else None,
        origin_nm=origin if origin is not None and all(np.isfinite(origin)) else None,
        tilt_angles=angles,
        tilt_axis=axis,
        values=_noting(suspicions, lambda: _sample(image, suspicions), None),
        views={name: column_text(values) for name, values in views.items()},
        sources=sources,
        titles=image.titles,
        suspicions=tuple(dict.fromkeys(suspicions)),
    )


def _noting(suspicions: list[str], read: Callable[[], Found], default: Default) -> Found | Default:
    """What `read` returns, or the default with its complaint noted: an inspection goes on where a reader stops."""
    try:
        return read()
    except (FormatError, OSError) as error:
        suspicions.append(str(error))
        return default


def _describe_geometry(
    image: ImageFile, own: Hints, beside: Hints, suspicions: list[str]
) -> tuple[str, str, Mapping[str, Any], str]:
    found = _noting(suspicions, lambda: tilt_angles(image, own, beside, None), None)
    axis = _noting(suspicions, lambda: tilt_axis(own, beside, None), None)
    views: Mapping[str, Any] = {}
    views_source = ""
    if found is not None:
        table, views_source = table_of_views(own, beside, found)
        views = known_columns(table)
    use = _noting(suspicions, lambda: excluded_views(image), None)
    excluded = f", {int((~use).sum())} of them excluded" if use is not None else ""
    angle_text = f"{range_text(found.values_deg)}{excluded} ({found.source})" if found else ""
    if axis is not None and axis[1].startswith(UNKNOWN):
        suspicions.append(
            "the file does not give the tilt axis: pass tilt_axis_deg, or find it by alignment."
        )
        axis = None
    axis_text = "unknown" if axis is None else f"{axis[0]:g} deg ({axis[1]})"
    return angle_text, axis_text, views, views_source


def _fresnel(views: Mapping[str, Any], voltage_v: float | None, measured_size_nm: float | None) -> list[str]:
    """What to say of fringes that are as wide as what one wants to measure."""
    if measured_size_nm is None or "defocus_nm" not in views:
        return []
    defocus_nm = float(np.abs(views["defocus_nm"]).max())
    width_nm = math.sqrt(wavelength_nm(voltage_v or _USUAL_VOLTAGE_V) * defocus_nm)
    if width_nm <= measured_size_nm / 2:
        return []
    assumed = "" if voltage_v else f", if the voltage is {_USUAL_VOLTAGE_V / 1e3:g} kV"
    return [
        f"the defocus of up to {defocus_nm:g} nm makes Fresnel fringes of {width_nm:.3g} nm{assumed}, more than half "
        f"of the {measured_size_nm:g} nm to be measured: edges will look displaced by as much. Use views nearer focus."
    ]


def wavelength_nm(voltage_v: float) -> float:
    """Wavelength of electrons of this accelerating voltage, with relativity: 0.00197 nm at 300 kV."""
    # h c / sqrt(E (E + 2 m c^2)), with h c = 1239.841984 eV nm and m c^2 = 510998.95 eV (CODATA 2018)
    return 1239.841984 / math.sqrt(voltage_v * (voltage_v + 2 * 510998.95))


def _size_suspicions(image: ImageFile, size_nm: tuple[float, ...], is_series: bool) -> list[str]:
    what = "pixel" if is_series else "voxel"
    if not all(size > 0 for size in size_nm):
        return [f"the file has no {what} size: pass {what}_size_nm."]
    if is_default_size(*size_nm):
        return [default_size_suspicion(what)]
    if not is_series and image.size_doubt:
        return [f"the file {image.size_doubt}: pass voxel_size_nm."]
    if max(size_nm) > 1.01 * min(size_nm):
        return [f"the {what}s are not cubic: {' x '.join(f'{size:g}' for size in size_nm)} nm."]
    return []


def _sample(image: ImageFile, suspicions: list[str]) -> tuple[float, float, float] | None:
    """Minimum, maximum and mean of evenly spaced sections and rows: a few megabytes at most of any file."""
    n_sections, n_rows, _ = image.shape
    sections = np.unique(np.linspace(0, n_sections - 1, _SAMPLE_SECTIONS).astype(int))
    rows = slice(None, None, -(-n_rows // _SAMPLE_ROWS))
    if image.peek is not None:
        values = image.peek()
    elif image.held_bytes <= _READ_FOR_A_SAMPLE:
        values = image.read()
    else:
        return None
    pieces = []
    for section in sections:
        pieces.append(np.array(values[section, rows]))
        release(values)
    sample = np.stack(pieces).astype(np.float64)
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
    stored_low, stored_high = image.statistics or (0.0, 0.0)
    if stored_low < stored_high and not (
        stored_low <= low + 1e-6 * abs(low) and high - 1e-6 * abs(high) <= stored_high
    ):
        suspicions.append(
            f"values reach from {low:g} to {high:g}, beyond the {stored_low:g} to {stored_high:g} of the header."
        )
    if image.dtype == np.int16 and low < -30000:
        suspicions.append(
            f"the smallest value is {low:g}: counts of 16 bits may have been stored less 32,768. "
            "Subtract the background first."
        )
    return low, high, mean
