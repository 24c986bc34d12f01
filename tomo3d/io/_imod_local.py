"""IMOD's local alignments (local.xf): for a grid of patches, what changes against the alignment of the whole view."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._side_text import number_of, text_lines

if TYPE_CHECKING:
    import pandas as pd

_WHAT = "a local alignment of IMOD (local.xf)"
_HEADER = "patches along x and y, first x and y, steps of x and y, has x-axis tilts, pixel, has Z factors"
_MOST_PATCHES = 10_000


def read_local_transforms(
    path: str | os.PathLike[str], n_views: int, *, pixel_size_nm: float
) -> pd.DataFrame:
    """Read a local alignment of IMOD as a table.

    Parameters
    ----------
    path : path
        The file that tiltalign writes as OutputLocalFile.
    n_views : int
        Number of views of the series.
    pixel_size_nm : float
        Pixel of the aligned images.

    Returns
    -------
    pandas.DataFrame
        One row per patch and view: patch, view (0-based); y_nm, x_nm, the centre of the patch from the corner of the
        first pixel of the aligned view; tilt_change_deg, x_tilt_change_deg, z_factor_y, z_factor_x; a_yy,
        a_yx, a_xy, a_xx, shift_y_nm, shift_x_nm, the transform of column vectors. All as the file has them: on the one
        real file tried, IMOD's residuals are met best where the z factors replace those of the view, and the inverse
        transform acts about the centre of the image.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is not such a file, or holds more or fewer numbers than patches and views need.
    """
    import pandas as pd

    file, lines = text_lines(path, _WHAT)
    head = _header(file, lines[0])
    n_x, n_y = int(head[0]), int(head[1])
    values = np.concatenate([_words(file, line) for line in lines[1:]]) if len(lines) > 1 else np.empty(0)
    per_view = 1 + int(head[6]) + 2 * int(head[8]) + 6
    if len(values) != n_x * n_y * n_views * per_view:
        raise FormatError(
            f"{file} must hold {per_view} numbers for each of {n_x * n_y} patches and {n_views} views, "
            f"{n_x * n_y * n_views * per_view} in all, got {len(values)}."
        )
    patches = []
    for patch, block in enumerate(values.reshape(n_x * n_y, -1)):
        tilt, rest = block[:n_views], block[n_views:]
        x_tilt, rest = (rest[:n_views], rest[n_views:]) if head[6] else (np.zeros(n_views), rest)
        size = 2 * n_views * int(head[8])
        factors = rest[:size].reshape(-1, 2) if size else np.zeros((n_views, 2))
        a = rest[size:].reshape(n_views, 6)
        patches.append(
            pd.DataFrame(
                {
                    "patch": np.full(n_views, patch),
                    "view": np.arange(n_views),
                    "y_nm": (head[3] + head[5] * (patch // n_x)) * pixel_size_nm,
                    "x_nm": (head[2] + head[4] * (patch % n_x)) * pixel_size_nm,
                    "tilt_change_deg": tilt,
                    "x_tilt_change_deg": x_tilt,
                    "z_factor_y": factors[:, 1],
                    "z_factor_x": factors[:, 0],
                    **{name: a[:, i] for name, i in (("a_yy", 3), ("a_yx", 2), ("a_xy", 1), ("a_xx", 0))},
                    "shift_y_nm": a[:, 5] * pixel_size_nm,
                    "shift_x_nm": a[:, 4] * pixel_size_nm,
                }
            )
        )
    return pd.concat(patches, ignore_index=True)


def local_grid(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Numbers of patches (along y, along x) of a local alignment of IMOD, by its first line."""
    file, lines = text_lines(path, _WHAT)
    head = _header(file, lines[0])
    return int(head[1]), int(head[0])


def _header(file: os.PathLike[str], line: tuple[int, str]) -> np.ndarray:
    head = _words(file, line)
    if (
        len(head) != 9
        or not (head[:7] == np.round(head[:7])).all()
        or head[8] not in (0, 1)
        or head[6] not in (0, 1)
    ):
        raise FormatError(f"{file}, line 1: must be 9 numbers ({_HEADER}), got {line[1][:60]!r}.")
    n_x, n_y = int(head[0]), int(head[1])
    if not (1 <= n_x <= _MOST_PATCHES and 1 <= n_y <= _MOST_PATCHES and n_x * n_y <= _MOST_PATCHES):
        raise FormatError(f"{file}, line 1: must count 1 to {_MOST_PATCHES:,} patches, got {n_x} x {n_y}.")
    return head


def _words(file: os.PathLike[str], line: tuple[int, str]) -> np.ndarray:
    values = np.array([number_of(word) for word in line[1].split()])
    if not np.isfinite(values).all():
        raise FormatError(f"{file}, line {line[0]}: must hold numbers of {_WHAT}, got {line[1][:60]!r}.")
    return values
