"""Lists of tilt angles: one line per view, as in .rawtlt and .tlt files, maybe with columns of order and dose."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._side_text import number_of, text_lines
from tomo3d.io._view_record import ViewRecord, dose_before, view_table

_OTHERS = {  # files of other columns of numbers, by how they begin
    "micrograph number; #2 - defocus": "the defocus that CTFFIND found, and has no tilt angles",
    "# aretomo alignment": "an alignment of AreTomo, whose angles are not in the first column: read it as an alignment",
}
SIDE_FILES = (".rawtlt", ".tlt")


def read_angle_file(path: str | os.PathLike[str]) -> np.ndarray:
    """Angles of a text file in degrees, shape (n,): the first column of `read_tilt_list`."""
    return _rows(path)[:, 0]


def read_tilt_list(path: str | os.PathLike[str]) -> ViewRecord:
    """Read a list of tilt angles, with an order of acquisition or doses behind them where it has them.

    Parameters
    ----------
    path : path
        Text file (.rawtlt, .tlt, AreTomo's _TLT.txt, ...), one line per view: the angle in degrees, and further
        columns. Blank lines, and what follows a #, are skipped.

    Returns
    -------
    ViewRecord

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is no such file, or lines differ in their number of columns.

    Notes
    -----
    The second column is the order where its values are 0 to n - 1 or 1 to n in any order, and the third the dose of
    each view in electrons per square angstrom where that is so and none is negative: so does AreTomo. What a column
    means that is neither is not guessed: it is kept as column_2 and so on (1-based), and a note says so.
    """
    rows = _rows(path)
    n = len(rows)
    columns: dict[str, np.ndarray] = {"tilt_angle_deg": rows[:, 0]}
    rest = list(range(1, rows.shape[1]))
    if rest and n > 1 and any(np.array_equal(np.sort(rows[:, 1]), np.arange(n) + first) for first in (0, 1)):
        columns["acquisition_order"] = (rows[:, rest.pop(0)] - rows[:, 1].min()).astype(np.int64)
        if rest and (rows[:, 2] >= 0).all():
            dose = columns["exposure_dose_e_per_A2"] = rows[:, rest.pop(0)]
            columns["dose_before_e_per_A2"] = dose_before(dose, columns["acquisition_order"])
    columns |= {f"column_{i + 1}": rows[:, i] for i in rest}
    notes = (
        (f"columns {', '.join(str(i + 1) for i in rest)} are kept, but nothing says what they mean.",)
        if rest
        else ()
    )
    return ViewRecord(view_table(n, columns), "list of angles", notes=notes)


def _rows(path: str | os.PathLike[str]) -> np.ndarray:
    """Numbers of a list of angles, shape (n_views, n_columns)."""
    what = "a text file with one angle per line"
    file, lines = text_lines(path, what, encodings=("utf-8",))
    rows: list[list[float]] = []
    for head, other in _OTHERS.items():
        if head in lines[0][1].lower():
            raise FormatError(f"{file} must be {what}: it is {other}.")
    for number, line in lines:
        words = line.partition("#")[0].split()
        if not words:
            continue
        values = [number_of(word) for word in words]
        if any(map(math.isnan, values)) or len(values) != len(rows[0] if rows else values):
            n = len(rows[0] if rows else words)
            if not rows and all(map(math.isnan, values)):
                raise FormatError(
                    f"{file}, line {number}: must begin with an angle in degrees, got {line[:40]!r}."
                )
            want = (
                "one angle in degrees" if n == 1 else f"{n} numbers in each line, the angle in degrees first"
            )
            raise FormatError(f"{file}, line {number}: must be {want}, got {line[:40]!r}.")
        rows.append(values)
    if not rows:
        raise FormatError(f"{file} must hold one angle per line, got none.")
    table = np.array(rows)
    if (
        table.shape[1] == 6
        and (np.abs(table[:, 0] * table[:, 3] - table[:, 1] * table[:, 2] - 1.0) < 0.2).all()
    ):
        raise FormatError(f"{file} must be {what}: it is transforms of IMOD (.xf). Read it as an alignment.")
    return table


def side_file(image_file: Path) -> Path | None:
    """The .rawtlt or .tlt file beside an image file, or None."""
    for suffix in SIDE_FILES:
        candidate = image_file.with_suffix(suffix)
        if candidate.is_file():
            return candidate
    return None


def check_angles(angles_deg: Sequence[float] | np.ndarray, n_views: int, source: str) -> np.ndarray:
    """The angles as float64, if they can be tilt angles of `n_views` views.

    Raises
    ------
    FormatError
        If their number differs, one is not finite or beyond 180 deg, or they look like radians.
    """
    try:
        angles = np.array(angles_deg, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"tilt angles must be numbers in degrees, or the name of a file ({source})."
        ) from None
    if angles.ndim != 1 or len(angles) != n_views:
        raise FormatError(
            f"there must be one tilt angle per view, got {angles.size} angles ({source}) for {n_views} views."
        )
    for view in np.flatnonzero(~(np.abs(angles) <= 180)):
        raise FormatError(
            f"tilt angles must be finite and within 180 deg, got {angles[view]} for view {view} (0-based; {source})."
        )
    if n_views >= 5 and np.abs(angles).max() <= math.pi / 2 + 0.01 and np.ptp(angles) > 0:
        raise FormatError(
            f"tilt angles must be in degrees, got {angles.min():g} to {angles.max():g} ({source}), "
            "which look like radians: convert them, as with numpy.rad2deg, and pass the result as angles."
        )
    return angles


def check_agreement(first: np.ndarray, first_source: str, second: np.ndarray, second_source: str) -> None:
    """Raise FormatError unless two lists of angles agree within 0.05 deg, the rounding of the formats."""
    difference = np.abs(first - second)
    if difference.max() > 0.05:
        view = int(difference.argmax())
        raise FormatError(
            f"tilt angles disagree: view {view} (0-based) is at {first[view]:g} deg by {first_source} and "
            f"{second[view]:g} deg by {second_source}. Pass the right ones as angles."
        )
