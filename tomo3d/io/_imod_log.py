"""What tiltalign reports in align.log and taSolution.log: its solution for each view, points, and residuals."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.errors import FormatError
from tomo3d.io._side_text import Lines, numbers, text_lines

if TYPE_CHECKING:
    import pandas as pd

_WHAT = "a log of IMOD's tiltalign (align.log, taSolution.log)"
_VIEWS = ("view", "rotation", "tilt", "deltilt", "mag", "dmag", "skew")
_MEAN = re.compile(
    r"Residual error (mean and sd|weighted mean):\s+([\d.]+)(?:\s+([\d.]+))?\s*(nm|pixels)?", re.IGNORECASE
)
_PIXEL = re.compile(r"UnbinnedPixelSize\s*=\s*([\d.]+)")
_BINNING = re.compile(r"ImagesAreBinned\s*=\s*([\d.]+)")
_BEAM = re.compile(r"Solved beam tilt\s*=\s*(-?[\d.]+)")


@dataclass(frozen=True, eq=False)
class AlignmentLog:
    """What tiltalign reports of its solution.

    Parameters
    ----------
    views : pandas.DataFrame
        view (0-based), tilt_axis_deg, tilt_angle_deg, tilt_change_deg, magnification, x_stretch_change, skew_deg,
        mean_residual_nm, as the log has them.
    points : pandas.DataFrame
        `tables.POINT_POSITIONS`, from the centroid of the points.
    mean_residual_nm, sd_residual_nm, weighted_residual_nm : float
        nan where the log does not say.
    pixel_size_nm : float
        Pixel of the images that the points are in; nan where the log does not say.
    beam_tilt_deg : float
        nan where it was not solved.
    """

    views: pd.DataFrame
    points: pd.DataFrame
    mean_residual_nm: float
    sd_residual_nm: float
    weighted_residual_nm: float
    pixel_size_nm: float
    beam_tilt_deg: float


def read_alignment_log(path: str | os.PathLike[str]) -> AlignmentLog:
    """Read the solution from a log of IMOD's tiltalign.

    Parameters
    ----------
    path : path
        align.log, or taSolution.log.

    Returns
    -------
    AlignmentLog

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is not such a file, or holds the solution of no view.
    """
    import pandas as pd

    file, lines = text_lines(path, _WHAT, encodings=("utf-8", "latin-1"))
    text = "\n".join(line for _, line in lines)
    pixel = _first(_PIXEL, text) * (1.0 if np.isnan(binned := _first(_BINNING, text)) else binned)
    start = [i for i, (_, line) in enumerate(lines) if tuple(line.lower().split()[:7]) == _VIEWS]
    rows = (
        _rows(file, lines, start[-1] + 1, 8, "view, rotation, tilt, deltilt, mag, dmag, skew, residual")
        if start
        else []
    )
    if not rows:
        raise FormatError(f"{file} must be {_WHAT}, with the table {' '.join(_VIEWS)}, got none.")
    table = np.array(rows)
    means = {found[1].lower(): found for found in _MEAN.finditer(text)}
    mean, weighted = means.get("mean and sd"), means.get("weighted mean")
    to_nm = 1.0 if mean is None or mean[4] == "nm" else pixel
    names = (
        "tilt_axis_deg",
        "tilt_angle_deg",
        "tilt_change_deg",
        "magnification",
        "x_stretch_change",
        "skew_deg",
    )
    views = pd.DataFrame(
        {
            "view": table[:, 0].astype(np.int64) - 1,
            **dict(zip(names, table[:, 1:7].T, strict=True)),
            "mean_residual_nm": table[:, 7] * to_nm,
        }
    )
    return AlignmentLog(
        views,
        _points(file, lines, pixel),
        float(mean[2]) * to_nm if mean else np.nan,
        float(mean[3]) * to_nm if mean and mean[3] else np.nan,
        float(weighted[2]) * to_nm if weighted else np.nan,
        pixel,
        _first(_BEAM, text),
    )


def _first(pattern: re.Pattern[str], text: str) -> float:
    found = pattern.search(text)
    try:
        return float(found[1]) if found else np.nan
    except ValueError:
        return np.nan


def _rows(file: os.PathLike[str], lines: Lines, at: int, n: int, what: str) -> list[list[float]]:
    """Lines of numbers from a place on, up to the first line that does not begin with a whole number."""
    rows: list[list[float]] = []
    while at < len(lines) and (words := lines[at][1].split())[0].isdecimal() and len(words[0]) < 7:
        rows.append(numbers(file, lines[at][0], words[:n], n, what))  # type: ignore[arg-type]
        at += 1
    return rows


def _points(file: os.PathLike[str], lines: Lines, pixel_nm: float) -> pd.DataFrame:
    import pandas as pd

    start = [
        i for i, (_, line) in enumerate(lines) if line.split()[:6] == ["#", "X", "Y", "Z", "obj", "cont"]
    ]
    rows = _rows(file, lines, start[-1] + 1, 6, "number, x, y, z, object, contour") if start else []
    table = np.array(rows).reshape(-1, 6)
    return tables.check(
        pd.DataFrame(
            {
                "track": np.arange(len(table)),
                **{f"{axis}_nm": table[:, i] * pixel_nm for axis, i in (("z", 3), ("y", 2), ("x", 1))},
            }
        ),
        tables.POINT_POSITIONS,
    )
