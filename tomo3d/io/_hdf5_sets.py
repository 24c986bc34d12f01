"""One data set of an HDF5 file, checked, and how it becomes a stack of images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import UNKNOWN_SIZE, Hints


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set that lies in this file, whole."""

    name: str
    layout: str
    shape: tuple[int, ...]
    dtype: np.dtype
    stored_bytes: int
    offset: int | None  # where its values begin, if they lie in one piece
    index: tuple[Any, ...]  # leaves three axes
    order: tuple[int, int, int]  # of those, as (z, y, x) or (view, y, x)
    flipped: bool  # row 0 is the top of the picture
    chunk_bytes: int = 0  # of one chunk, unpacked
    voxel_size_nm: tuple[float, float, float] = UNKNOWN_SIZE
    size_source: str = ""
    hints: Hints = field(default_factory=Hints)

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """The values as (z, y, x), row 0 at the bottom."""
        stack = values[self.index].transpose(self.order)
        return stack[:, ::-1] if self.flipped else stack

    @property
    def new_shape(self) -> tuple[int, int, int]:
        """Shape after `arrange`, without any values."""
        z, y, x = self.arrange(np.broadcast_to(np.zeros((), np.uint8), self.shape)).shape
        return z, y, x


def own(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """The group or data set of this name, if it and its values lie in the same file; links are not followed."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    item = group[name]
    if isinstance(item, h5py.Dataset):
        return None if item.is_virtual or item.external else item
    return item if isinstance(item, h5py.Group) else None


def describe(
    file: Path,
    item: h5py.Dataset,
    layout: str,
    *,
    index: tuple[Any, ...],
    order: tuple[int, int, int] = (0, 1, 2),
    flipped: bool = False,
    voxel_size_nm: tuple[float, float, float] = UNKNOWN_SIZE,
    size_source: str = "",
    hints: Hints | None = None,
) -> DataSet:
    """A data set, if its values lie in this file.

    Raises
    ------
    FormatError
        If they lie in other files.
    """
    if item.is_virtual or item.external:
        raise FormatError(
            f"{file} must hold its images itself, but {item.name} refers to other files, which are not followed: "
            "write them into one file."
        )
    # Only what is neither in chunks nor filtered has an offset; get_offset is None for all else.
    return DataSet(
        str(item.name),
        layout,
        item.shape,
        item.dtype,
        int(item.id.get_storage_size()),
        item.id.get_offset(),
        index,
        order,
        flipped,
        math.prod(item.chunks) * item.dtype.itemsize if item.chunks else 0,
        voxel_size_nm,
        size_source,
        hints or Hints(),
    )
