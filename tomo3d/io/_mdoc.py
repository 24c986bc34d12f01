"""SerialEM's .mdoc files: tilt series, sets of frames, montages; one for a series, or a folder of one for each view.

Keys come in any order, lines end as on any system, text is UTF-8 or Latin-1, paths are those of another computer and
are never followed. Facts are converted here: angstrom and micrometres to nm. mdocfile reads these files too, but stops
at Latin-1 and at a second equals sign in the head, loses the pixel of sections where the head has none, and takes the
last of two values without a word.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._side_text import file_name, number_of, text_lines
from tomo3d.io._titles import title_axis
from tomo3d.io._view_record import ViewRecord, dose_before, order_of, view_table

_WHAT = "an .mdoc file of SerialEM"
_SECTIONS = ("ZValue", "FrameSet", "MontSection")
_DATE = re.compile(
    r"(\d{1,4})-(\w{2,3})-(\d{2,4})\s+(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?(?:\s*([AP]M))?", re.IGNORECASE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SAME_PIXEL = 1e-3
_MOST_FILES = 10_000

Section = dict[str, str]
# column of the table, key, which of its numbers, factor to the unit of the column
_NUMBERS = (
    ("tilt_angle_deg", "TiltAngle", 0, 1.0),
    ("exposure_dose_e_per_A2", "ExposureDose", 0, 1.0),
    ("stage_x_nm", "StagePosition", 0, 1e3),
    ("stage_y_nm", "StagePosition", 1, 1e3),
    ("stage_z_nm", "StageZ", 0, 1e3),
    ("defocus_nm", "Defocus", 0, 1e3),
    ("magnification", "Magnification", 0, 1.0),
    ("target_defocus_nm", "TargetDefocus", 0, 1e3),
    ("pixel_size_nm", "PixelSpacing", 0, 0.1),
    ("rotation_angle_deg", "RotationAngle", 0, 1.0),
    ("image_shift_x_nm", "ImageShift", 0, 1e3),
    ("image_shift_y_nm", "ImageShift", 1, 1e3),
    ("exposure_time_s", "ExposureTime", 0, 1.0),
    ("binning", "Binning", 0, 1.0),
    ("n_sub_frames", "NumSubFrames", 0, 1.0),
    ("piece_x", "PieceCoordinates", 0, 1.0),
    ("piece_y", "PieceCoordinates", 1, 1.0),
    ("piece_z", "PieceCoordinates", 2, 1.0),
)
_ALWAYS = 7  # the first of them are in every table; the others where a section has them
_INHERITED = ("StagePosition", "StageZ", "Magnification", "PixelSpacing", "Defocus", "TargetDefocus", "SubFramePath",
              "RotationAngle", "Binning")  # fmt: skip


def read_mdoc(path: str | os.PathLike[str]) -> ViewRecord:
    """Read an .mdoc file of SerialEM, or a folder of them with one or more views each.

    Parameters
    ----------
    path : path
        The file, or the folder.

    Returns
    -------
    ViewRecord
        One row per view (frame set, or piece of a montage), in the order of the file; those of a folder in the order
        in which they were taken.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is no such file or folder, or it cannot be read.
    FormatError
        If it is no such file, a section or key is there twice, a number is none, or the files of a folder disagree.

    Notes
    -----
    The acquisition order is that of the times, where every view has one; else that of the sections. The dose before a
    view is PriorRecordDose where every view has it; else the sum of the doses taken before. A dose of 0 in all views
    means that SerialEM was not calibrated: the doses are nan then, and a note says so. The axis is that of the title
    ("Tilt axis angle"); RotationAngle, which is 90 deg more in the samples seen, is only a column.
    """
    folder = Path(path)
    if folder.is_dir():
        return _read_folder(folder)
    head, sections = _parse(folder)
    return _record(folder, head, _views(sections))


def _parse(file: Path) -> tuple[Section, list[tuple[str, Section]]]:
    """Keys before the first section, titles under "T" in lines; and (kind, keys) of each section."""
    head: Section = {}
    sections: list[tuple[str, Section]] = []
    seen: set[tuple[str, str, int]] = set()
    titles: list[str] = []
    n_sets = 0
    for number, line in text_lines(file, _WHAT, encodings=("utf-8", "latin-1"))[1]:
        is_bracketed = line.startswith("[")
        bare = line[1:].removesuffix("]") if is_bracketed else line
        kind, _, value = (part.strip() for part in bare.partition("="))
        if is_bracketed and kind in _SECTIONS:
            if not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
                raise FormatError(f"{file}, line {number}: must number its section, got {line[:60]!r}.")
            n_sets += kind == "FrameSet"
            if (key := (kind, value, n_sets)) in seen:
                raise FormatError(f"{file}, line {number}: [{kind} = {value}] is there twice.")
            seen.add(key)
            sections.append((kind, {"section": value}))
        elif kind == "T":
            titles.append(value)
        else:
            _put(sections[-1][1] if sections else head, line, file, number)
    if not sections:
        raise FormatError(
            f"{file} must be {_WHAT}, with sections [ZValue], [FrameSet] or [MontSection], got none."
        )
    return {**head, "T": "\n".join(filter(None, titles))}, sections


def _put(into: Section, line: str, file: Path, number: int) -> None:
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not key or key.startswith("["):
        raise FormatError(f"{file}, line {number}: must be key = value or a section, got {line[:60]!r}.")
    if into.get(key, value) != value:
        raise FormatError(
            f"{file}, line {number}: {key} is there twice in a section, as {into[key][:40]!r} and {value[:40]!r}."
        )
    into[key] = value


def _views(sections: list[tuple[str, Section]]) -> tuple[str, list[Section]]:
    """Kind of the file and the sections that are views: those of the tilts inside a frame set, where it has them."""
    kinds = {kind for kind, _ in sections}
    pieces = [keys for kind, keys in sections if kind == "ZValue"]
    if kinds == {"ZValue"} or kinds == {"ZValue", "MontSection"}:
        is_montage = "MontSection" in kinds or all("PieceCoordinates" in keys for keys in pieces)
        return ("montage" if is_montage else "tilt series"), pieces
    if "FrameSet" not in kinds:
        return "montage", [keys for _, keys in sections]
    views: list[Section] = []
    current: Section = {}
    for i, (kind, keys) in enumerate(sections):
        if kind == "FrameSet":
            current = keys
            if i + 1 == len(sections) or sections[i + 1][0] != "ZValue":
                views.append(keys)
        elif kind == "ZValue":
            views.append({**{key: current[key] for key in _INHERITED if key in current}, **keys})
    return "frame sets", views


def _record(file: Path, head: Section, found: tuple[str, list[Section]]) -> ViewRecord:
    kind, sections = found
    columns: dict[str, np.ndarray | list[str]] = {}
    for i, (name, key, which, factor) in enumerate(_NUMBERS):
        if i < _ALWAYS or any(key in section for section in sections):
            columns[name] = np.array([_number(file, section, key, which) for section in sections]) * factor
    if (np.abs(angles := columns["tilt_angle_deg"]) > 180.0).any():
        raise FormatError(
            f"{file}: TiltAngle must be within 180 deg, got {angles[np.nanargmax(np.abs(angles))]:g}."
        )
    frames = [file_name(section.get("SubFramePath", "")) for section in sections]
    columns |= {
        "sub_frame_file": frames,
        "section": np.array([int(section["section"]) for section in sections]),
    }
    if any("ChannelName" in section for section in sections):
        columns["channel"] = [section.get("ChannelName", "") for section in sections]
    if kind == "frame sets" and any("FrameTSStartEndFrames" in section for section in sections):
        for which, name in enumerate(("first_frame", "last_frame")):
            columns[name] = np.array([_number(file, s, "FrameTSStartEndFrames", which) for s in sections])
    notes = _add_history(file, sections, columns)
    titles = tuple(filter(None, head.get("T", "").split("\n")))
    size = [_number(file, head, "ImageSize", which) for which in (0, 1)]
    voltage = _number(file, head, "Voltage", 0)
    return ViewRecord(
        views=view_table(len(sections), columns),
        kind=kind,
        pixel_size_nm=_pixel(file, head, columns.get("pixel_size_nm"), notes),
        tilt_axis_deg=title_axis(titles),
        image_file=file_name(head.get("ImageFile", "")),
        image_shape=(int(size[1]), int(size[0])) if all(1 <= n < 2**31 for n in size) else None,
        voltage_kv=None if math.isnan(voltage) else voltage,
        titles=titles,
        notes=tuple(notes),
    )


def _number(file: Path, section: Section, key: str, which: int) -> float:
    """One number of a key, nan where the section does not have it."""
    words = section.get(key, "").split()
    if not words:
        return math.nan
    value = number_of(words[which]) if which < len(words) else math.nan
    if not math.isfinite(value):
        where = f", section {section['section']}" if "section" in section else ""
        raise FormatError(f"{file}{where}: {key} must hold numbers, got {section[key][:60]!r}.")
    return value


def _add_history(file: Path, sections: list[Section], columns: dict) -> list[str]:
    """Put time, order and dose before each view into the columns; what is to be checked."""
    notes = []
    times = [_time(section.get("DateTime", "")) for section in sections]
    unread = [
        s["DateTime"] for s, time in zip(sections, times, strict=True) if s.get("DateTime") and not time
    ]
    if unread:
        notes.append(
            f"{len(unread)} times are not understood, as {unread[0][:40]!r}: the order is that of the file."
        )
    order = order_of(times) if all(times) else np.arange(len(sections))
    dose = columns["exposure_dose_e_per_A2"]
    if len(dose) and (dose == 0).all():
        notes.append(
            "ExposureDose is 0 in all views, as where the dose is not calibrated: it is not taken for known."
        )
        dose = columns["exposure_dose_e_per_A2"] = np.full(len(dose), math.nan)
    if (dose < 0).any():
        raise FormatError(f"{file}: ExposureDose must not be negative, got {dose.min():g}.")
    prior = np.array([_number(file, section, "PriorRecordDose", 0) for section in sections])
    given = np.isfinite(prior).all() and (prior > 0).any()
    columns |= {"time": times, "acquisition_order": order}
    columns["dose_before_e_per_A2"] = prior if given else dose_before(dose, order)
    return notes


def _time(text: str) -> str:
    """A time as 2015-11-30T15:21:38; "" where it is not understood."""
    found = _DATE.fullmatch(text.strip())
    if not found:
        return ""
    first, month, last, *clock = found.groups()
    name = month.lower()[:3]
    number = _MONTHS.index(name) + 1 if name in _MONTHS else int(month) if month.isdigit() else 0
    year, day = (int(first), int(last)) if len(first) == 4 else (int(last), int(first))
    year += 2000 if year < 70 else 1900 if year < 100 else 0
    hour, minute, second = (int(part) for part in clock[:3])
    if clock[3]:
        hour = hour % 12 + 12 * (clock[3].upper() == "PM")
    if not (1 <= number <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 62):
        return ""
    return f"{year:04d}-{number:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def _pixel(file: Path, head: Section, per_view: Any, notes: list[str]) -> float | None:
    pixel = _number(file, head, "PixelSpacing", 0) * 0.1
    found = [] if per_view is None else [float(value) for value in per_view if not math.isnan(value)]
    sizes = ([] if math.isnan(pixel) else [pixel]) + found
    if any(size <= 0 for size in sizes):
        notes.append("PixelSpacing is 0 or less somewhere: the pixel size is not known.")
        return None
    if not sizes or max(sizes) > min(sizes) * (1 + _SAME_PIXEL):
        if sizes:
            notes.append(
                f"PixelSpacing differs, {10 * min(sizes):g} to {10 * max(sizes):g} angstrom: it is not used."
            )
        return None
    return sizes[0]


def _read_folder(folder: Path) -> ViewRecord:
    """The files of a folder as one record, in the order of the times; files of the same content count once."""
    import pandas as pd

    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".mdoc" and file.is_file())
    if not 1 <= len(files) <= _MOST_FILES:
        raise FormatError(
            f"{folder} must be a folder of 1 to {_MOST_FILES:,} .mdoc files, got {len(files):,}."
        )
    records: list[ViewRecord] = []
    seen: dict[bytes, str] = {}
    notes: list[str] = []
    for file in files:
        content = file.read_bytes() if file.stat().st_size < 1 << 20 else file.name.encode()
        if content in seen:
            notes.append(f"{file.name} is the same as {seen[content]}: it counts once.")
            continue
        seen[content] = file.name
        records.append(read_mdoc(file))
    table = pd.concat([record.views for record in records], ignore_index=True)
    table["acquisition_order"] = (
        order_of(table["time"].tolist()) if (table["time"] != "").all() else np.arange(len(table))
    )
    table = table.sort_values("acquisition_order", kind="stable", ignore_index=True)
    if not (table["dose_before_e_per_A2"] > 0).any():
        table["dose_before_e_per_A2"] = dose_before(
            table["exposure_dose_e_per_A2"].to_numpy(), table["acquisition_order"].to_numpy()
        )
    table["view"] = np.arange(len(table))
    facts = {}
    for name in ("kind", "pixel_size_nm", "tilt_axis_deg", "image_shape", "voltage_kv"):
        values = {getattr(record, name) for record in records}
        if len(values) > 1:
            raise FormatError(
                f"{folder}: its files must agree in {name}, got {sorted(map(str, values))[:5]}."
            )
        facts[name] = values.pop()
    text = {column: table[column].fillna("") for column in ("channel",) if column in table}
    notes += list(dict.fromkeys(note for record in records for note in record.notes))
    return ViewRecord(table.assign(**text), titles=records[0].titles, notes=tuple(notes), **facts)
