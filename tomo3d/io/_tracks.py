"""Tracks of beads and patches, and their positions in the specimen, as IMOD writes them: .resid, .fid, .xyz."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.errors import FormatError
from tomo3d.io._imod_model import MARK, read_contours
from tomo3d.io._input import existing_file
from tomo3d.io._side_text import numbers, text_lines

if TYPE_CHECKING:
    import pandas as pd

_RESID = "residuals of IMOD (.resid)"
_XYZ = "positions of fiducials of IMOD (.xyz)"
_MOST_VIEWS = 100_000
_MOST_POINTS = 1_000_000


def read_tracks(path: str | os.PathLike[str], *, pixel_size_nm: float) -> pd.DataFrame:
    """Read the measured positions of tracked beads or patches from IMOD's residuals or from a model of IMOD.

    Parameters
    ----------
    path : path
        The .resid file that tiltalign writes, or a model (.fid, .mod) with one contour per track; known by content.
    pixel_size_nm : float
        Pixel of the images that its positions are in (the pre-aligned stack, as it is binned for a model).

    Returns
    -------
    pandas.DataFrame
        `tables.TRACKS`: track, view (0-based), y_nm, x_nm, as pixel index times pixel size.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is not such a file, holds fewer or more lines than it announces, or a contour has two points in a view.
    ValueError
        If the pixel size is not a positive length.

    Notes
    -----
    Residuals have no column for the track: a new one starts where the view does not increase. Positions count from
    the outer corner of the first pixel, so that the centre of that pixel is at 0.5 there and at 0 here; the z of a
    model is the view. Contours without points make no track.
    """
    if _is_model(path):
        return _from_model(path, pixel_size_nm)
    return _read(path, pixel_size_nm)[0]


def _is_model(path: str | os.PathLike[str]) -> bool:
    with open(existing_file(path), "rb") as stream:
        return stream.read(4) == MARK[:4]


def _from_model(path: str | os.PathLike[str], pixel_size_nm: float) -> pd.DataFrame:
    import pandas as pd

    _check_pixel(pixel_size_nm)
    contours = [points for _, _, points in read_contours(path) if len(points)]
    if not contours:
        raise FormatError(f"{path} must be a model of IMOD with one contour per track, got none with points.")
    if (n_points := sum(map(len, contours))) > _MOST_POINTS:
        raise FormatError(
            f"{path} must be a model of tracks, of at most {_MOST_POINTS:,} points, got {n_points:,}."
        )
    points = np.concatenate(contours).astype(np.float64)
    track = np.repeat(np.arange(len(contours)), [len(points) for points in contours])
    view = np.rint(points[:, 2])
    if not ((view >= 0) & (view < _MOST_VIEWS)).all():
        raise FormatError(
            f"{path}: the z of its points must be views from 0, got {view.min():g} to {view.max():g}."
        )
    table = pd.DataFrame(
        {
            "track": track,
            "view": view.astype(np.int64),
            "y_nm": (points[:, 1] - 0.5) * pixel_size_nm,
            "x_nm": (points[:, 0] - 0.5) * pixel_size_nm,
        }
    ).sort_values(["track", "view"], ignore_index=True)
    twice = table[table.duplicated(["track", "view"])]
    if len(twice):
        raise FormatError(
            f"{path}: a track must have one point per view, got more in view {twice['view'].iloc[0]} (0-based) of "
            f"track {twice['track'].iloc[0]}: it is a model of something else, or must be edited."
        )
    return tables.check(table, tables.TRACKS)


def _check_pixel(pixel_size_nm: float) -> None:
    if not (math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"pixel_size_nm must be a positive length in nm, got {pixel_size_nm}.")


def read_track_residuals(path: str | os.PathLike[str], *, pixel_size_nm: float) -> np.ndarray:
    """Residuals (y, x) in nm of each row of `read_tracks`, measured minus predicted (IMOD's have the other sign)."""
    return _read(path, pixel_size_nm)[1]


def _read(path: str | os.PathLike[str], pixel_size_nm: float) -> tuple[pd.DataFrame, np.ndarray]:
    import pandas as pd

    _check_pixel(pixel_size_nm)
    file, lines = text_lines(path, _RESID)
    first = lines[0][1].split()
    if len(first) != 2 or first[1] != "residuals" or not first[0].isdecimal():
        raise FormatError(
            f"{file} must be {_RESID}, with the number of residuals in the first line, got {' '.join(first)[:60]!r}."
        )
    if first[0].lstrip("0") != str(len(lines) - 1):
        raise FormatError(
            f"{file} must hold {first[0][:20]} residuals as its first line says, got {len(lines) - 1}."
        )
    rows = np.array(
        [numbers(file, number, line.split(), 5, "x, y, view, residuals") for number, line in lines[1:]]
    )
    view = rows[:, 2]
    if not ((view == np.round(view)) & (view >= 0) & (view < _MOST_VIEWS)).all():
        raise FormatError(
            f"{file} must number its views from 0 in whole numbers, got {view.min():g} to {view.max():g}."
        )
    track = np.concatenate(([0], np.cumsum(np.diff(view) <= 0)))
    table = pd.DataFrame(
        {
            "track": track,
            "view": view.astype(np.int64),
            "y_nm": (rows[:, 1] - 0.5) * pixel_size_nm,
            "x_nm": (rows[:, 0] - 0.5) * pixel_size_nm,
        }
    )
    return tables.check(table, tables.TRACKS), -rows[:, [4, 3]] * pixel_size_nm


def read_point_positions(path: str | os.PathLike[str], *, pixel_size_nm: float) -> pd.DataFrame:
    """Read the positions of beads in the specimen from an .xyz file of IMOD's tiltalign.

    Parameters
    ----------
    path : path
        Lines of number, x, y, z, object, contour; the first may also say pixel size and image size.
    pixel_size_nm : float
        Pixel of the images.

    Returns
    -------
    pandas.DataFrame
        `tables.POINT_POSITIONS`: track (0-based, in the order of the file), z_nm, y_nm, x_nm. x and y are pixel
        index times pixel size, z counts from the middle of the specimen.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is not such a file.
    """
    import pandas as pd

    _check_pixel(pixel_size_nm)
    file, lines = text_lines(path, _XYZ)
    rows = np.array(
        [
            numbers(file, number, line.split()[:6], 6, "number, x, y, z, object, contour")
            for number, line in lines
        ]
    )
    table = pd.DataFrame(
        {
            "track": np.arange(len(rows)),
            "z_nm": rows[:, 3] * pixel_size_nm,
            "y_nm": (rows[:, 2] - 0.5) * pixel_size_nm,
            "x_nm": (rows[:, 1] - 0.5) * pixel_size_nm,
        }
    )
    return tables.check(table, tables.POINT_POSITIONS)
