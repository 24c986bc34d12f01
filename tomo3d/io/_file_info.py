"""What is known of a file without reading it whole, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file.

    Parameters
    ----------
    path : Path
    kind : str
        "tilt series", "volume" (or labels), "alignment", "table", or the kind of a side file (`ViewRecord.kind`).
    n_bytes : int
    shape : tuple of int
        (n_z, n_y, n_x) of images; (n_tilts,) of an alignment or a side file; (rows, columns) of a table.
    dtype : str
        Type of the values; "" where there is no one type.
    layout : str
        Name of the format of images; "" for other files.
    mode : str
        Name of the MRC mode and its byte order; "" for other files.
    voxel_size_nm : tuple of float, optional
        (z, y, x); for a tilt series (y, x). None where the file does not say.
    origin_nm : tuple of float, optional
        (z, y, x); None for what has none.
    tilt_angles : str
        Number, range and source of the angles; "" where there are none.
    tilt_axis : str
        Direction and source of the axis; "" where there is none.
    values : tuple of float, optional
        (minimum, maximum, mean) of a sample of up to five sections.
    views : mapping of str to str
        What is known of each view, by column of `tomo3d.tables.VIEWS`: its range.
    sources : mapping of str to str
        Where sizes and views are from.
    titles : tuple of str
    suspicions : tuple of str
        One sentence for each thing to check before the file is used.
    """

    path: Path
    kind: str
    n_bytes: int
    shape: tuple[int, ...]
    dtype: str = ""
    layout: str = ""
    mode: str = ""
    voxel_size_nm: tuple[float, ...] | None = None
    origin_nm: tuple[float, float, float] | None = None
    tilt_angles: str = ""
    tilt_axis: str = ""
    values: tuple[float, float, float] | None = None
    views: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()


def range_text(angles_deg: np.ndarray) -> str:
    """Number, range and step of tilt angles."""
    steps = np.diff(np.sort(angles_deg))
    step = f", steps of {np.median(steps):g} deg (median)" if len(steps) else ""
    return f"{len(angles_deg)} angles, {angles_deg.min():g} to {angles_deg.max():g} deg{step}"


def column_text(values: Any) -> str:
    """The range of a column, in words."""
    items = np.asarray(values)
    if items.dtype.kind not in "iufb":
        return f"{items[0]} to {items[-1]}" if len(items) > 1 else str(items[0])
    low, high = float(items.min()), float(items.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
