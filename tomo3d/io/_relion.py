"""RELION 5: tomograms.star and the STAR file of one tilt series.

A point of the specimen lands at Rz(rlnTomoZRot) Ry(rlnTomoYTilt) Rx(rlnTomoXTilt) times its position from the centre,
plus rlnTomoXShiftAngst, rlnTomoYShiftAngst, plus the centre of the view at index n // 2. Signs and order are ours, the
centre is not: it lies half a pixel beyond ours where n is even, and in the same place where n is odd.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.geometry import centre
from tomo3d.io._angles import check_angles
from tomo3d.io._foreign_alignment import (
    from_offsets,
    match_refined,
    match_rows,
    pixel_of,
    spread,
    warn_lost,
)  # fmt: skip
from tomo3d.io._side_text import file_name
from tomo3d.io._star import StarTable, read_star
from tomo3d.io._view_record import ViewRecord, order_of, view_table
from tomo3d.types import Alignment, TiltSeries

WHAT = "a STAR file of RELION"
_SERIES_FILE = "rlnTomoTiltSeriesStarFile"
NOMINAL = "rlnTomoNominalStageTiltAngle"
_SHIFTS = ("rlnTomoYShiftAngst", "rlnTomoXShiftAngst")
_ALIGNED = ("rlnTomoYTilt", "rlnTomoZRot", *_SHIFTS)
_MATRICES = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnTomoProjW")
_SAME_DEG = 0.05
_PARENTS = 4
_LEAST_DEFOCUS_A = 100.0  # 10 nm: no fit of a CTF finds less in a tilt series


def relion_files_beside(file: Path) -> list[Path]:
    """The STAR file of the views that tomograms.star names; none where it holds them itself, or is no such file."""
    try:
        blocks = read_star(file)
        overview = blocks.get("global", StarTable(file, ""))
        names = overview.columns.get("rlnTomoName", [])
        if len(names) != 1 or names[0] in blocks:
            return []
        return [_beside(file, overview.texts(_SERIES_FILE)[0])]
    except FormatError:  # the reader tells
        return []


def tilt_table(file: Path) -> tuple[StarTable, float | None]:
    """The table with one row per view, and the pixel in nm where the file says it.

    Raises
    ------
    FormatError
        If the file holds several series, or names a STAR file that is not there.
    """
    blocks = read_star(file)
    if "global" not in blocks:
        tables = [
            table for table in blocks.values() if NOMINAL in table.columns or "rlnTomoYTilt" in table.columns
        ]
        if len(tables) != 1:
            raise FormatError(
                f"{file} must be {WHAT} with one table of views ({NOMINAL}), got the blocks {list(blocks)[:10]}."
            )
        return tables[0], _pixel(tables[0])
    overview = blocks["global"]
    names = overview.texts("rlnTomoName")
    if len(names) != 1:
        raise FormatError(
            f"{file} must be of one tilt series, got {len(names)}: {names[:10]}. Name the STAR file of one of them "
            f"({_SERIES_FILE})."
        )
    if names[0] in blocks:
        return blocks[names[0]], _pixel(overview)
    table, _ = tilt_table(_beside(file, overview.texts(_SERIES_FILE)[0]))
    return table, _pixel(overview)


def _pixel(table: StarTable) -> float | None:
    if "rlnTomoTiltSeriesPixelSize" not in table.columns:
        return None
    pixel = table.numbers("rlnTomoTiltSeriesPixelSize")
    if not (pixel > 0).all() or np.ptp(pixel) > 0:
        raise FormatError(
            f"{table.file}: rlnTomoTiltSeriesPixelSize must be one positive length, got {pixel.min():g}."
        )
    return 0.1 * float(pixel[0])


def _beside(file: Path, named: str) -> Path:
    """The STAR file that a project names from its own folder, which is this file's or one above; never elsewhere."""
    parts = named.replace("\\", "/").split("/")
    folders = [file.parent, *list(file.resolve().parents)[:_PARENTS]]
    is_below = ".." not in parts and not named.startswith("/")
    tried = [(folder, folder.joinpath(*parts)) for folder in folders] if is_below else []
    tried += [(file.parent, file.parent / place / file_name(named)) for place in ("tilt_series", "")]
    for folder, candidate in tried:
        real = candidate.resolve()  # a link may lead anywhere
        if real.is_file() and real.is_relative_to(folder.resolve()) and real != file.resolve():
            return candidate
    raise FormatError(
        f"{file} names {named!r}, which is neither beside it nor below a folder above it: name it yourself."
    )


def relion_record(file: Path) -> ViewRecord:
    """What a tilt series of RELION says of its views."""
    table, pixel_nm = tilt_table(file)
    n = table.n_rows
    columns: dict[str, np.ndarray | list[str]] = {
        "tilt_angle_deg": table.numbers(NOMINAL)
        if NOMINAL in table.columns
        else table.numbers("rlnTomoYTilt")
    }
    notes = []
    if "rlnMicrographPreExposure" in table.columns:
        before = table.numbers("rlnMicrographPreExposure")
        if n > 1 and not before.any():
            notes.append("rlnMicrographPreExposure is 0 in all views: the dose is not taken for known.")
        else:
            columns["dose_before_e_per_A2"] = before
        if len(np.unique(before)) == n:
            columns["acquisition_order"] = order_of(before)
    for name, column, factor in (("defocus_nm", "rlnTomoNominalDefocus", 1e3), ("defocus_u_nm", "rlnDefocusU", 0.1),
                                 ("defocus_v_nm", "rlnDefocusV", 0.1)):  # fmt: skip
        if column not in table.columns:
            continue
        values = table.known_numbers(column)
        if (
            column != "rlnTomoNominalDefocus"
            and 0.0 < np.nanmax(np.abs(values), initial=0.0) < _LEAST_DEFOCUS_A
        ):
            notes.append(
                f"{column} is at most {np.nanmax(np.abs(values)):.3g} angstrom, which no CTF shows: it looks like "
                "micrometres, as some programs write them, and is not taken."
            )
        else:
            columns[name] = values * factor
    for column in ("rlnMicrographMovieName", "rlnMicrographName"):
        if column in table.columns:
            columns["sub_frame_file"] = [file_name(name) for name in table.texts(column)]
            break
    axis = table.numbers("rlnTomoNominalTiltAxisAngle", np.nan) if n else np.empty(0)
    return ViewRecord(
        view_table(n, columns),
        "RELION tilt series",
        pixel_size_nm=pixel_nm,
        tilt_axis_deg=float(axis[0]) if n and np.isfinite(axis).all() and np.ptp(axis) < _SAME_DEG else None,
        notes=tuple(notes),
    )


def relion_alignment(file: Path, pixel_nm: float | None, series: TiltSeries | None) -> Alignment:
    """The alignment of a STAR file of RELION, with a row for every view of the series.

    Raises
    ------
    FormatError
        If columns are missing, rows do not belong to the views, or x-axis tilts differ between views.
    ValueError
        If the pixel is not known.
    """
    table, stored_nm = tilt_table(file)
    missing = [name for name in _ALIGNED if name not in table.columns]
    if missing:
        matrices = all(name in table.columns for name in _MATRICES)
        how = (
            "it has the matrices of RELION 4 instead: open it with RELION 5 once"
            if matrices
            else "it is not aligned"
        )
        raise FormatError(f"{file} must have the columns {list(_ALIGNED)}, missing {missing}: {how}.")
    if not table.n_rows:
        raise FormatError(f"{file} must have one row per view, got none.")
    if stored_nm is None or pixel_nm is not None:
        stored_nm = pixel_of(file, series, pixel_nm)
    angles = check_angles(table.numbers("rlnTomoYTilt"), table.n_rows, str(file))
    views, n_views = np.arange(table.n_rows), table.n_rows
    if series is not None:
        n_views, nominal_deg = series.n_tilts, series.tilt_angles_deg
        if NOMINAL in table.columns:
            nominal = table.numbers(NOMINAL)
            views = match_rows(file, nominal, nominal_deg, tolerance_deg=_SAME_DEG, what=NOMINAL)
        else:
            views = match_refined(file, angles, nominal_deg, "rlnTomoYTilt")
    x_tilts = table.numbers("rlnTomoXTilt", 0.0)
    if np.ptp(x_tilts) > _SAME_DEG or not (np.abs(x_tilts) < 90.0).all():
        raise FormatError(
            f"{file}: rlnTomoXTilt must be one for all views and within 90 deg, got {x_tilts.min():g} to "
            f"{x_tilts.max():g} deg."
        )
    offsets = 0.1 * np.stack([table.numbers(name) for name in _SHIFTS], axis=1) + beyond_nm(
        file, stored_nm, series
    )
    excluded = np.ones(n_views, dtype=bool)
    excluded[views] = False
    axis = table.numbers("rlnTomoZRot")
    return from_offsets(
        spread(axis, views, n_views, float(np.median(axis))),
        spread(offsets, views, n_views, 0.0),
        spread(angles, views, n_views, 0.0 if series is None else series.tilt_angles_deg),
        excluded=excluded,
        x_axis_tilt_deg=float(np.median(x_tilts)) if x_tilts.any() else None,
    )


def beyond_nm(file: Path, pixel_nm: float, series: TiltSeries | None) -> np.ndarray:
    """How far RELION's centre of a view, index n // 2, lies beyond ours, (y, x)."""
    if series is None:
        warn_lost(
            file,
            "the size of the views is not known: even numbers of rows and columns taken; pass series if not.",
        )
        return np.full(2, 0.5 * pixel_nm)
    return np.array([n // 2 - centre(n) for n in series.images.shape[1:]]) * pixel_nm


def tomostar_record(file: Path, table: StarTable) -> ViewRecord:
    """What a .tomostar file of Warp says of its views: its angles are the negative of ours."""
    columns: dict[str, np.ndarray | list[str]] = {"tilt_angle_deg": 0.0 - table.numbers("wrpAngleTilt")}
    if "wrpMovieName" in table.columns:
        columns["sub_frame_file"] = [file_name(name) for name in table.texts("wrpMovieName")]
    notes: list[str] = []
    if "wrpDose" in table.columns:
        columns |= dose_columns(table.numbers("wrpDose"))
    axis = (
        table.numbers("wrpAxisAngle", np.nan)
        if table.n_rows and "wrpAxisAngle" in table.columns
        else np.array([np.nan])
    )
    return ViewRecord(
        view_table(table.n_rows, columns),
        "Warp tilt series",
        tilt_axis_deg=float(np.median(axis)) if np.isfinite(axis).all() else None,
        notes=tuple(notes),
    )


def dose_columns(before: np.ndarray) -> dict[str, np.ndarray]:
    """Dose before each view, order, and dose of each view but the last, of Warp's sums of dose."""
    columns: dict[str, np.ndarray] = {"dose_before_e_per_A2": before}
    if len(np.unique(before)) == len(before):
        columns["acquisition_order"] = order_of(before)
    return columns
