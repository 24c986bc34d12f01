"""What lies beside the images of a tilt series: .mdoc files of SerialEM and the log of the microscope."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._angles import SIDE_FILES
from tomo3d.io._images import Hints
from tomo3d.io._input import existing_file

MDOC_NAMES = ("{name}.mdoc", "{stem}.mdoc", "{stem}.mrc.mdoc", "{stem}.st.mdoc", "{stem}.tif.mdoc")
LOG_NAMES = ("{stem}.txt", "{stem}.log")
_LARGEST_MDOC = 64 << 20
_LOG_START = 1 << 16
_SECTION = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]\s*")
_AXIS = re.compile(r"tilt axis angle\s*=\s*([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)", re.IGNORECASE)
_LOG_AXIS = re.compile(r"Tilt Axis Angle \[.{1,2}\]:\s*([-+]?\d+(?:\.\d*)?)")
_LOG_PIXEL = re.compile(r"Image pixel size \[nm\]:\s*(\d+(?:\.\d*)?)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{2}|\d{4})\s+(\d{1,2}):(\d{2}):(\d{2})")
_NUMBERS = (  # column, key, which of its numbers, factor to our unit
    ("exposure_dose_e_per_A2", "ExposureDose", 0, 1.0),
    ("dose_before_e_per_A2", "PriorRecordDose", 0, 1.0),
    ("exposure_time_s", "ExposureTime", 0, 1.0),
    ("stage_x_nm", "StagePosition", 0, 1000.0),
    ("stage_y_nm", "StagePosition", 1, 1000.0),
    ("stage_z_nm", "StageZ", 0, 1000.0),
    ("defocus_nm", "Defocus", 0, 1000.0),
    ("target_defocus_nm", "TargetDefocus", 0, 1000.0),
    ("magnification", "Magnification", 0, 1.0),
    ("n_sub_frames", "NumSubFrames", 0, 1.0),
)
_ZERO_IS_UNKNOWN = (
    "exposure_dose_e_per_A2",
    "exposure_time_s",
    "magnification",
    "n_sub_frames",
    "target_defocus_nm",
)


@dataclass(frozen=True)
class Mdoc:
    """An .mdoc file: entries of the whole, titles, and the entries of each section of images."""

    path: Path
    entries: Mapping[str, str]
    titles: tuple[str, ...]
    sections: tuple[Mapping[str, str], ...]


def find_beside(image: Path, names: Sequence[str]) -> Path | None:
    """The first of the files of these names beside an image file, or None."""
    for name in names:
        candidate = image.parent / name.format(name=image.name, stem=image.stem)
        if candidate != image and candidate.is_file():
            return candidate
    return None


def files_beside(path: str | os.PathLike[str]) -> list[Path]:
    """Files beside an image file that `read_tilt_series` takes facts from: angles, .mdoc, log.

    Parameters
    ----------
    path : path
        The image file.

    Returns
    -------
    list of Path
        Those that exist.
    """
    image = Path(os.fspath(path).partition("::")[0])
    angles = [
        other for suffix in SIDE_FILES if (other := image.with_suffix(suffix)) != image and other.is_file()
    ]
    others = (find_beside(image, names) for names in (MDOC_NAMES, LOG_NAMES))
    return [*angles, *(other for other in others if other is not None)]


def read_sections(path: Path) -> Mdoc:
    """An .mdoc file of a tilt series, its sections in the order of the images.

    Raises
    ------
    FormatError
        If it is no .mdoc file of a tilt series, or a section is there twice.
    """
    file = existing_file(path)
    if file.stat().st_size > _LARGEST_MDOC:
        raise FormatError(f"{file} must be an .mdoc file of at most {_LARGEST_MDOC >> 20} MiB.")
    entries: dict[str, str] = {}
    titles: list[str] = []
    sections: dict[int, dict[str, str]] = {}
    now = entries
    for line in file.read_bytes().decode("latin-1").splitlines():
        found = _SECTION.fullmatch(line.strip())
        if found and found[1] == "ZValue":
            number = _number(found[2], 0)
            if not number.is_integer() or int(number) in sections:
                raise FormatError(
                    f"{file} must have one section [ZValue = n] per image, got {line[:60]!r} twice."
                )
            now = sections.setdefault(int(number), {})
        elif found and found[1] == "T":
            titles.append(found[2])
        elif found:
            now = {}  # a frame set or a montage: no view of a tilt series
        else:
            key, equals, value = line.partition("=")
            if equals:
                now[key.strip()] = value.strip()
    if not sections or any("PieceCoordinates" in section for section in sections.values()):
        raise FormatError(
            f"{file} must have a section [ZValue = n] per view, got {len(sections)} such sections"
            + (" of a montage." if sections else ": it describes no tilt series.")
        )
    return Mdoc(file, entries, tuple(titles), tuple(sections[z] for z in sorted(sections)))


def mdoc_hints(mdoc: Mdoc, image_size: tuple[int, int]) -> Hints:
    """What an .mdoc file says of the views, in the order of its sections; `image_size` is (n_y, n_x)."""
    source = f"mdoc {mdoc.path.name}"
    doubts: list[str] = []
    angles = _column(mdoc, "TiltAngle", 0)
    pixel, size_known = _column(mdoc, "PixelSpacing", 0) / 10, True
    if not np.isfinite(pixel).all():
        pixel = np.full(len(angles), _number(mdoc.entries.get("PixelSpacing", ""), 0) / 10)
    n_x, n_y = (_number(mdoc.entries.get("ImageSize", ""), k) for k in (0, 1))
    if math.isfinite(n_x) and math.isfinite(n_y) and (n_y, n_x) != image_size:
        doubts.append(
            f"{source} is of images of {n_x:g} x {n_y:g} pixels, these have {image_size[1]} x {image_size[0]}: "
            "its pixel size is not used."
        )
        size_known = False
    one_size = size_known and bool((pixel > 0).all()) and np.ptp(pixel) <= 1e-3 * pixel.max()
    return Hints(
        tilt_angles=((angles, source),) if np.isfinite(angles).all() else (),
        pixel_sizes=((float(pixel[0]), source),) if one_size else (),
        axes=_axes(mdoc, source),
        views=_views(mdoc),
        views_source=source,
        voltage_v=_voltage(mdoc),
        doubts=tuple(doubts),
    )


def log_hints(path: Path) -> Hints:
    """What the log of an FEI microscope says: pixel size and tilt axis."""
    with open(path, "rb") as stream:
        text = stream.read(_LOG_START).decode("latin-1")
    pixel, axis = _LOG_PIXEL.search(text), _LOG_AXIS.search(text)
    unverified = f"log {path.name}; its sign is not verified, so the hand of a volume is not known"
    return Hints(
        pixel_sizes=((float(pixel[1]), f"log {path.name}"),) if pixel and float(pixel[1]) > 0 else (),
        axes=((float(axis[1]), unverified),) if axis else (),
        doubts=(
            f"the tilt axis of {float(axis[1]):g} deg is that of the log {path.name}, whose sign differs between "
            "programs: the volume may be a mirror image. Pass tilt_axis_deg if you know it.",
        )
        if axis
        else (),
    )


def title_axis(titles: Sequence[str]) -> float | None:
    """Tilt axis in degrees from the title that IMOD and SerialEM write; None where there is none."""
    for title in titles:
        if found := _AXIS.search(title):
            return float(found[1])
    return None


def _axes(mdoc: Mdoc, source: str) -> tuple[tuple[float, str], ...]:
    axis = title_axis(mdoc.titles)
    if axis is not None:
        return ((axis, source),)
    rotation = _column(mdoc, "RotationAngle", 0)
    if np.isfinite(rotation).all() and np.ptp(rotation) < 0.5:
        return ((float(rotation[0]) - 90.0, f"{source}, RotationAngle - 90"),)
    return ()


def _voltage(mdoc: Mdoc) -> float | None:
    kilovolts = _number(mdoc.entries.get("Voltage", ""), 0)
    return 1000.0 * kilovolts if math.isfinite(kilovolts) and kilovolts > 0 else None


def _views(mdoc: Mdoc) -> dict[str, np.ndarray]:
    """Columns of tables.VIEWS that the file fills for every view."""
    views: dict[str, np.ndarray] = {}
    for column, key, which, factor in _NUMBERS:
        values = _column(mdoc, key, which) * factor
        known = np.isfinite(values).all() and not (column in _ZERO_IS_UNKNOWN and not values.all())
        if known:
            views[column] = values.astype(np.int64) if column == "n_sub_frames" else values
    if "exposure_dose_e_per_A2" not in views:
        counted = _column(mdoc, "FrameDosesAndNumber", 0) * _column(mdoc, "FrameDosesAndNumber", 1)
        if np.isfinite(counted).all() and counted.all():
            views["exposure_dose_e_per_A2"] = counted
    times = np.array([_iso_time(section.get("DateTime", "")) for section in mdoc.sections])
    if all(times):
        views["time"] = times
    # The name alone: the folder is that of another machine, and is never followed.
    frames = [PureWindowsPath(section.get("SubFramePath", "")).name for section in mdoc.sections]
    if any(frames):
        views["sub_frame_file"] = np.array(frames)
    return views


def _column(mdoc: Mdoc, key: str, which: int) -> np.ndarray:
    return np.array([_number(section.get(key, ""), which) for section in mdoc.sections])


def _number(text: str, which: int) -> float:
    """One of the numbers of an entry; nan where it is none."""
    words = text.split()
    try:
        return float(words[which])
    except (ValueError, IndexError):
        return math.nan


def _iso_time(text: str) -> str:
    """SerialEM's "30-Nov-15  15:21:38" as ISO 8601; "" where it is none."""
    found = _DATE.search(text)
    if not found or found[2].lower() not in _MONTHS:
        return ""
    year = int(found[3]) + (2000 if len(found[3]) == 2 else 0)
    month = _MONTHS.index(found[2].lower()) + 1
    return f"{year:04d}-{month:02d}-{int(found[1]):02d}T{int(found[4]):02d}:{found[5]}:{found[6]}"
