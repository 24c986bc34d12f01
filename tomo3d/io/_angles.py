"""Lists of tilt angles: one angle in degrees per line, as in .rawtlt and .tlt files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file

SIDE_FILES = (".rawtlt", ".tlt")


def read_angle_file(path: str | os.PathLike[str]) -> np.ndarray:
    """Angles of a text file, one per line, in degrees, shape (n,); blank lines and # comments are skipped."""
    file = existing_file(path)
    angles = []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} must be a text file with one angle per line: it is not text.") from error
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            angles.append(float(text))
        except ValueError as error:
            raise FormatError(
                f"{file}, line {number}: must be one angle in degrees, got {text[:40]!r}."
            ) from error
    if not angles:
        raise FormatError(f"{file} must hold one angle per line, got none.")
    return np.array(angles)


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
    angles = np.array(angles_deg, dtype=np.float64)
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
