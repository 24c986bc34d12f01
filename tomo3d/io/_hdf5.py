"""HDF5 of many writers, and EMD (Berkeley and Velox), which is HDF5 with row 0 at the top of the picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._emd import berkeley, velox
from tomo3d.io._hdf5_heaps import check_heaps
from tomo3d.io._hdf5_sets import DataSet, describe, own
from tomo3d.io._images import (
    UNKNOWN_SIZE,
    Hints,
    ImageFile,
    check_piece,
    check_unpacked,
    check_values,
    frozen,
    translated,
)
from tomo3d.io._stacks import nanometres, three_axes

_USUAL = ("/exchange/data", "/entry/data/data", "/entry1/data/data", "/data", "/volume", "/images")
_ANGLES = ("theta", "angles", "tilt_angles", "tilt_angles_deg", "rotation_angle")
_LARGEST_TAGS = 1 << 16
_LARGEST_LIST = 20


def open_hdf5(file: Path, dataset: str = "") -> ImageFile:
    """What an HDF5 or EMD file says of itself; `dataset` names one of several data sets."""
    check_heaps(file)
    with translated(file, "HDF5 file"), h5py.File(file, "r") as h5:
        for emd in (berkeley, velox):
            if (found := emd(file, h5, dataset)) is not None:
                return _image_file(file, found)
        return _image_file(file, _generic(file, h5, dataset))


def _generic(file: Path, h5: h5py.File, dataset: str) -> DataSet:
    candidates: list[h5py.Dataset] = []

    def visit(_: str, item: Any) -> None:  # links to other files are not followed by visititems
        if isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "iufbc":
            candidates.append(item)

    if dataset:
        link = h5.get(dataset, getlink=True)
        item = h5.get(dataset) if isinstance(link, (h5py.HardLink, h5py.SoftLink)) else None
        if not isinstance(item, h5py.Dataset) or item.file.filename != h5.filename:
            raise FormatError(
                f"{file} must hold the data set {dataset}, but has none of this name of its own."
            )
        candidates.append(item)
    else:
        h5.visititems(visit)
    stacks = [item for item in candidates if item.ndim >= 3] or candidates
    chosen = [item for name in _USUAL for item in stacks if item.name == name][:1] or stacks
    if len(chosen) != 1:
        names = ", ".join(f"{item.name} {item.shape}" for item in stacks[:_LARGEST_LIST])
        raise FormatError(
            f"{file} must hold one data set of images, got {len(stacks)}"
            + (f" ({names}): name one, as {file}::{stacks[0].name}." if stacks else ".")
        )
    item = chosen[0]
    index, order = _tagged_axes(item) or (three_axes(file, item.shape, ""), (0, 1, 2))
    return describe(
        file,
        item,
        "HDF5",
        index=index,
        order=order,
        voxel_size_nm=_element_size(item),
        size_source=f"element_size_um of {item.name}",
        hints=_theta(item),
    )


def _tagged_axes(item: h5py.Dataset) -> tuple[tuple[Any, ...], tuple[int, int, int]] | None:
    """Index and order of axes that vigra's tags name, as ilastik writes them; None where they name no one volume."""
    text = item.attrs.get("axistags")
    if not isinstance(text, (str, bytes)) or len(text) > _LARGEST_TAGS:
        return None
    try:
        keys = [str(axis["key"]) for axis in json.loads(text)["axes"]]
    except (ValueError, LookupError, TypeError):
        return None
    kept = [key for key in keys if key in ("z", "y", "x")]
    is_one_volume = sorted(kept) == ["x", "y", "z"] and len(keys) == item.ndim
    if not is_one_volume or any(n != 1 for n, key in zip(item.shape, keys, strict=True) if key not in kept):
        return None
    index = tuple(slice(None) if key in kept else 0 for key in keys)
    return index, (kept.index("z"), kept.index("y"), kept.index("x"))


def _element_size(item: h5py.Dataset) -> tuple[float, float, float]:
    """(z, y, x) from element_size_um, as Fiji's HDF5 and ilastik write it; nan without."""
    found = item.attrs.get("element_size_um")
    if found is None or np.shape(found) != (3,) or np.asarray(found).dtype.kind not in "iuf":
        return UNKNOWN_SIZE
    z, y, x = (nanometres(float(size), "um") for size in found)
    return z, y, x


def _theta(item: h5py.Dataset) -> Hints:
    """Angles in the group of the images, as Data Exchange has them."""
    for name in _ANGLES:
        found = own(item.parent, name)
        if isinstance(found, h5py.Dataset) and found.shape == item.shape[:1] and found.dtype.kind in "iuf":
            if found.nbytes > 1 << 20:
                continue
            values = np.asarray(found[()], dtype=np.float64)
            unit = found.attrs.get("units", "deg")
            unit = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)
            values = np.rad2deg(values) if unit.lower().startswith("rad") else values
            return Hints(tilt_angles=((values, f"data set {found.name}"),))
    return Hints()


def _image_file(file: Path, found: DataSet) -> ImageFile:
    """The file of one data set: mapped where its values lie in one piece, in the byte order of this machine."""
    dtype = check_values(file, found.dtype)
    n_bytes = math.prod(found.shape) * found.dtype.itemsize
    check_unpacked(file, n_bytes, found.stored_bytes)
    check_piece(file, found.chunk_bytes, n_bytes)
    is_mapped = found.offset is not None and dtype == found.dtype
    mapped: Callable[[], np.ndarray] = lambda: found.arrange(  # noqa: E731
        np.memmap(file, found.dtype, mode="r", offset=found.offset or 0, shape=found.shape)
    )

    def read() -> np.ndarray:
        if is_mapped:
            return mapped()
        with translated(file, "HDF5 file"), h5py.File(file, "r") as h5:
            values = np.empty(found.shape, dtype)
            h5[found.name].read_direct(values)
            return found.arrange(frozen(values))

    return ImageFile(
        path=file,
        layout=found.layout,
        shape=found.new_shape,
        dtype=dtype,
        read=read,
        held_bytes=0 if is_mapped else math.prod(found.shape) * dtype.itemsize + found.chunk_bytes,
        voxel_size_nm=found.voxel_size_nm,
        size_source=found.size_source,
        hints=lambda: found.hints,
        peek=mapped if found.offset is not None else None,
        n_bytes=file.stat().st_size,
    )
