"""What is known of a file without reading it whole, in words."""

from __future__ import annotations

import math
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
        (n_z, n_y, n_x) of images; (n_tilts,) of an alignment or a side file; (rows, columns) of a table; () of none.
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
    unit : str
        What the shape of a side file counts: view, point or patch.
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
    unit: str = "view"

    @property
    def size(self) -> str:
        """Shape in words: voxels and their type, rows and columns, or how many views, points or patches."""
        if self.dtype or not self.shape:
            return f"{' x '.join(str(n) for n in self.shape)} {self.dtype}".strip()
        if self.kind == "table":
            return f"{count_text(self.shape[0], 'row')}, {count_text(self.shape[1], 'column')}"
        return count_text(math.prod(self.shape), self.unit)


def count_text(n: int, what: str) -> str:
    """A number of things: 1 view, 2 views, 4 patches."""
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('ch') else 's'}"


def extent_text(values: np.ndarray) -> str:
    """Smallest and largest of numbers, once where they are shown alike."""
    low, high = (f"{value + 0.0:g}" for value in (values.min(), values.max()))  # no -0
    return low if low == high else f"{low} to {high}"


def range_text(angles_deg: np.ndarray) -> str:
    """Number, range and step of tilt angles."""
    steps = np.diff(np.sort(angles_deg))
    step = f", steps of {np.median(steps):g} deg (median)" if len(steps) and steps.any() else ""
    return f"{count_text(len(angles_deg), 'angle')}, {extent_text(angles_deg)} deg{step}"


def column_text(values: Any) -> str:
    """The range of a column, in words, and of how many views it is known where not of all."""
    items = np.asarray(values)
    if items.dtype.kind not in "iufb":
        known = items[items != ""]
        text = (
            ""
            if not len(known)
            else f"{known[0]}"
            if (known == known[0]).all()
            else f"{known[0]} to {known[-1]}"
        )
    else:
        known = items[np.isfinite(items)]
        text = extent_text(known.astype(float)) if len(known) else ""
    return (
        text
        if len(known) == len(items)
        else f"{text} (of {len(known)} of {count_text(len(items), 'view')})".lstrip()
    )
