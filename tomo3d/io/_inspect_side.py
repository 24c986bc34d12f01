"""What a side file says of itself: alignments, records of views, models, tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._alignment import read_alignment
from tomo3d.io._beside import known_columns
from tomo3d.io._file_info import FileInfo, column_text, range_text
from tomo3d.io._imod_model import MARK, read_contours
from tomo3d.io._tables import read_table
from tomo3d.io._views import read_views
from tomo3d.types import Alignment

_TEXT_WITH_IMAGES = (b"# AmiraMesh", b"# Avizo", b"NRRD")
_ONE_TRANSFORM = 6  # numbers in a line of an .xf file


def is_side_file(start: bytes) -> bool:
    """Whether a file that begins so is no file of images: text, or a model of IMOD."""
    is_text = bool(start) and b"\0" not in start and not start.startswith(_TEXT_WITH_IMAGES)
    return is_text or start.startswith(MARK)


def inspect_side(file: Path, start: bytes) -> FileInfo:
    """What a side file holds; pixels of an alignment are taken to be 1 nm, and its shifts not shown.

    Raises
    ------
    FormatError
        If it is of no known kind, or damaged.
    """
    if start.startswith(MARK):
        return _inspect_model(file)
    if file.suffix.lower() == ".csv":
        return FileInfo(file, "table", file.stat().st_size, read_table(file).shape)
    if start.lstrip()[:1] == b"{":
        return _described_alignment(file, read_alignment(file))
    try:
        return _described_alignment(file, read_alignment(file, pixel_size_nm=1.0))
    except (FormatError, OSError) as error:
        if _begins_with_transforms(start):
            raise  # its own complaint: not a list of angles with columns behind them
        return _inspect_views(file, error)


def _begins_with_transforms(start: bytes) -> bool:
    lines = [line.split() for line in start.splitlines() if line.strip()]
    return bool(lines) and len(lines[0]) == _ONE_TRANSFORM and lines[0][0][:1].lstrip(b"-+.").isdigit()


def _inspect_model(file: Path) -> FileInfo:
    contours = read_contours(file)
    n_points = sum(len(points) for _, _, points in contours)
    return FileInfo(file, f"model of {len(contours)} contours", file.stat().st_size, (n_points,))


def _inspect_views(file: Path, no_alignment: Exception) -> FileInfo:
    try:
        record = read_views(file)
    except FormatError as error:
        raise FormatError(
            f"{file} must be images, an alignment, a record of views (.mdoc, list of angles, STAR, XML), a model or a "
            f"table, but is none that can be read. As an alignment: {no_alignment} As a record: {error}"
        ) from error
    table = record.views
    angles = table["tilt_angle_deg"].to_numpy()
    return FileInfo(
        file,
        record.kind,
        file.stat().st_size,
        (len(table),),
        voxel_size_nm=(record.pixel_size_nm,) * 2 if record.pixel_size_nm else None,
        tilt_angles=range_text(angles) if np.isfinite(angles).all() else "",
        tilt_axis="" if record.tilt_axis_deg is None else f"{record.tilt_axis_deg:g} deg",
        views={name: column_text(values) for name, values in known_columns(table).items()},
        sources={"pixel": "the file itself", "views": "the file itself"},
        titles=record.titles,
        suspicions=record.notes,
    )


def _described_alignment(file: Path, alignment: Alignment) -> FileInfo:
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
        tilt_angles=f"{range_text(angles)} (refined)" if len(angles) else "",
        tilt_axis=f"{axis.min():g} to {axis.max():g} deg" if len(axis) else "",
        suspicions=suspicions,
    )
