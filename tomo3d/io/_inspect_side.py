"""What a side file says of itself: alignments and their parts, records of views, tracks, models, tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tomo3d import geometry
from tomo3d.errors import FormatError
from tomo3d.io._alignment import UNKNOWN_KIND, read_alignment
from tomo3d.io._aln import FIRST
from tomo3d.io._beside import known_columns, log_hints
from tomo3d.io._command_file import read_command_file
from tomo3d.io._file_info import FileInfo, column_text, count_text, extent_text, range_text
from tomo3d.io._foreign_alignment import EXCLUDED
from tomo3d.io._imod_alignment import read_transforms, read_x_axis_tilts, read_z_factors
from tomo3d.io._imod_local import local_grid
from tomo3d.io._imod_log import read_alignment_log
from tomo3d.io._imod_model import MARK, read_contours
from tomo3d.io._tables import read_table
from tomo3d.io._tracks import read_point_positions, read_tracks
from tomo3d.io._views import read_views
from tomo3d.types import Alignment

_TEXT_WITH_IMAGES = (b"# AmiraMesh", b"# Avizo", b"NRRD")
_ONE_TRANSFORM, _LOCAL_HEADER = 6, 9  # numbers in a line of an .xf file, and in the first of a local.xf
_EDF = b"Setup."


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
    for knows, describe in _KINDS:
        if knows(file.suffix.lower(), start):
            return describe(file)
    try:
        return _described_alignment(file, read_alignment(file, pixel_size_nm=1.0))
    except (FormatError, OSError) as error:
        if start.startswith(FIRST.encode()):
            raise
        if _numbers_in_first_line(start) == _ONE_TRANSFORM:
            return _inspect_transforms(file, error)
        return _inspect_views(file, error)


def _numbers_in_first_line(start: bytes) -> int:
    """How many words the first line has; 0 where it does not begin with a number."""
    lines = [line.split() for line in start.splitlines() if line.strip()]
    return len(lines[0]) if lines and lines[0][0][:1].lstrip(b"-+.").isdigit() else 0


def _info(file: Path, kind: str, shape: tuple[int, ...] = (), **more) -> FileInfo:  # type: ignore[no-untyped-def]
    return FileInfo(file, kind, file.stat().st_size, shape, **more)


def _inspect_model(file: Path) -> FileInfo:
    contours = read_contours(file)
    n_points = sum(len(points) for _, _, points in contours)
    return _info(file, f"model of {count_text(len(contours), 'contour')}", (n_points,), unit="point")


def _inspect_transforms(file: Path, no_alignment: Exception) -> FileInfo:
    """Transforms without the angles that an alignment needs, or the reason why they are none."""
    try:
        matrices, _ = read_transforms(file)
    except FormatError:
        raise no_alignment from None
    axis = geometry.view_factors(matrices).tilt_axis_deg
    text = f"{extent_text(axis)} deg"
    return _info(file, "transforms of IMOD", (len(axis),), tilt_axis=text, suspicions=(str(no_alignment),))


def _inspect_x_axis_tilts(file: Path) -> FileInfo:
    tilts = read_x_axis_tilts(file)
    return _info(file, "x-axis tilts of IMOD", (len(tilts),), views={"x_axis_tilt_deg": column_text(tilts)})


def _inspect_z_factors(file: Path) -> FileInfo:
    factors = read_z_factors(file)
    views = {f"z_factor_{axis}": column_text(factors[:, i]) for i, axis in ((1, "x"), (0, "y"))}
    return _info(file, "Z factors of IMOD", (len(factors),), views=views)


def _inspect_tracks(file: Path) -> FileInfo:
    tracks = read_tracks(file, pixel_size_nm=1.0)
    n_tracks, n_views = tracks["track"].nunique(), tracks["view"].nunique()
    kind = f"residuals of IMOD: {count_text(n_tracks, 'track')} in {count_text(n_views, 'view')}"
    return _info(file, kind, (len(tracks),), unit="point")


def _inspect_positions(file: Path) -> FileInfo:
    positions = read_point_positions(file, pixel_size_nm=1.0)
    return _info(file, "positions of fiducials of IMOD", (len(positions),), unit="point")


def _inspect_commands(file: Path) -> FileInfo:
    programs = read_command_file(file)
    options = {f"{name} {key}": value for name, given in programs.items() for key, value in given.items()}
    return _info(file, f"command file of IMOD: {', '.join(programs)}", views=options)


def _inspect_local(file: Path) -> FileInfo:
    return _info(
        file, "local alignment of IMOD, read with the .xf of its name", local_grid(file), unit="patch"
    )


def _inspect_log(file: Path) -> FileInfo:
    log = read_alignment_log(file)
    solved = log.views
    views = {
        name: column_text(solved[name]) for name in solved.columns if name not in ("view", "tilt_angle_deg")
    }
    angles = solved["tilt_angle_deg"].to_numpy()
    pixel = (log.pixel_size_nm,) * 2 if log.pixel_size_nm > 0 else None
    kind = "log of tiltalign of IMOD"
    return _info(
        file,
        kind,
        (len(solved),),
        voxel_size_nm=pixel,
        tilt_angles=f"{range_text(angles)} (refined)",
        views=views,
    )


def _inspect_microscope_log(file: Path) -> FileInfo:
    hints = log_hints(file)
    pixel = (hints.pixel_sizes[0][0],) * 2 if hints.pixel_sizes else None
    axis = f"{hints.axes[0][0]:g} deg" if hints.axes else ""
    return _info(file, "log of a microscope", voxel_size_nm=pixel, tilt_axis=axis, suspicions=hints.doubts)


def _inspect_settings(file: Path) -> FileInfo:
    return _info(file, "settings of IMOD's etomo, which nothing here reads")


def _inspect_views(file: Path, no_alignment: Exception) -> FileInfo:
    try:
        record = read_views(file)
    except FormatError as error:
        reasons = [str(found) for found in (no_alignment, error) if UNKNOWN_KIND not in str(found)]
        raise FormatError(
            f"{file} must be images, an alignment, a record of views (.mdoc, list of angles, STAR, XML), a model or a "
            f"table, but is none that can be read. {' Or: '.join(dict.fromkeys(reasons))}"
        ) from error
    table = record.views
    angles = table["tilt_angle_deg"].to_numpy()
    return _info(
        file,
        record.kind,
        (len(table),),
        voxel_size_nm=(record.pixel_size_nm,) * 2 if record.pixel_size_nm else None,
        tilt_angles=range_text(angles) if np.isfinite(angles).all() else "",
        tilt_axis="" if record.tilt_axis_deg is None else f"{record.tilt_axis_deg:g} deg",
        views={name: column_text(values) for name, values in known_columns(table).items()},
        titles=record.titles,
        suspicions=record.notes,
    )


def _described_alignment(file: Path, alignment: Alignment) -> FileInfo:
    n, excluded = alignment.n_tilts, alignment.evidence.get(EXCLUDED, ())
    n_distrusted = int((~alignment.reliable).sum()) - len(excluded)
    suspicions = [f"{len(excluded)} of {n} views are left out or excluded."] if len(excluded) else []
    suspicions += [f"the method distrusts {n_distrusted} of {n} views."] if n_distrusted else []
    x_tilt = alignment.x_axis_tilt_deg
    return _info(
        file,
        "alignment",
        (n,),
        tilt_angles=f"{range_text(alignment.tilt_angles_deg)} (refined)" if n else "",
        tilt_axis=f"{extent_text(alignment.tilt_axis_deg)} deg" if n else "",
        views={"x_axis_tilt_deg": f"{x_tilt:g}"} if x_tilt else {},
        suspicions=tuple(suspicions),
    )


def _begins(pattern: bytes) -> Callable[[str, bytes], bool]:
    return lambda _, start: re.match(rb"\s*" + pattern, start) is not None


def _contains(pattern: bytes) -> Callable[[str, bytes], bool]:
    return lambda _, start: re.search(pattern, start) is not None


def _named(*suffixes: str) -> Callable[[str, bytes], bool]:
    return lambda suffix, _: suffix in suffixes


_KINDS: tuple[tuple[Callable[[str, bytes], bool], Callable[[Path], FileInfo]], ...] = (
    (lambda _, start: start.startswith(MARK), _inspect_model),
    (_named(".csv"), lambda file: _info(file, "table", read_table(file).shape)),
    (_begins(rb"\{"), lambda file: _described_alignment(file, read_alignment(file))),
    (_named(".xtilt"), _inspect_x_axis_tilts),  # a list of numbers, as of angles
    (_named(".zfac"), _inspect_z_factors),
    (_named(".xyz"), _inspect_positions),
    (_begins(rb"\d+ +residuals\b"), _inspect_tracks),
    (_contains(rb"(?m)^\$\s*[\w./-]+\s+-StandardInput\b"), _inspect_commands),
    (_contains(rb"\*\*\* Entries to program tiltalign"), _inspect_log),
    (_contains(rb"(?m)^" + _EDF + rb"\w[\w.]*="), _inspect_settings),
    (_contains(rb"(?m)^\d+/\d+/\d+ \d+:\d+:\d+ "), _inspect_microscope_log),
    (lambda _, start: _numbers_in_first_line(start) == _LOCAL_HEADER, _inspect_local),
)
