"""OME-Zarr 0.4 and 0.5, and plain Zarr arrays: read from the metadata by hand, the chunks by zarr. Never flipped."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._facts import excluded_titles
from tomo3d.io._images import (
    UNKNOWN_SIZE,
    Hints,
    ImageFile,
    check_piece,
    check_unpacked,
    check_values,
    frozen,
    slabs,
    translated,
)
from tomo3d.io._stacks import nanometres, stack_shape, three_axes
from tomo3d.io._zarr_chunks import check_chunks

_LARGEST_METADATA = 16 << 20
_SOURCE = "attributes of the store"
_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def is_store(folder: Path) -> bool:
    """Whether a folder holds a Zarr array or group."""
    return any((folder / name).is_file() for name in _FILES)


def open_zarr(folder: Path) -> ImageFile:
    """What a Zarr array, or the finest level of an OME-Zarr image, says of itself."""
    with translated(folder, "Zarr store"):
        attributes, is_array = _attributes(folder)
        array, sizes, origin, layout = folder, UNKNOWN_SIZE, (0.0, 0.0, 0.0), "Zarr"
        if not is_array:
            array, sizes, origin, layout, names = _finest(folder, attributes)
        else:
            names = ""
        shape, stored, chunk = _array_metadata(array)
        dtype = check_values(folder, stored)
        index = three_axes(folder, shape, names)
        new_shape = stack_shape(shape, index)
        _check_stored(folder, array, shape, stored, chunk)
        own = attributes.get("tilt_angles_deg")
        axis, titles = attributes.get("tilt_axis_deg"), _excluded(attributes.get("use"), new_shape[0])
    n_bytes = math.prod(new_shape) * dtype.itemsize

    def read() -> np.ndarray:
        import zarr

        with translated(folder, "Zarr store"):
            metadata = _json(array / "zarr.json") or _json(array / ".zarray")
            check_chunks(folder, array, metadata, math.prod(chunk) * stored.itemsize)
            opened: Any = zarr.open_array(str(array), mode="r")
            values = np.empty(new_shape, dtype)
            for rows in slabs(values, f"reading of {folder.name}"):
                values[rows] = (
                    opened[tuple(0 if item == 0 else rows for item in index)] if len(shape) > 2 else opened[:]
                )
            return frozen(values)

    angles = np.asarray(own, dtype=np.float64) if isinstance(own, list) and len(own) == new_shape[0] else None
    return ImageFile(
        path=folder,
        layout=layout,
        shape=new_shape,
        dtype=dtype,
        read=read,
        held_bytes=n_bytes + max(math.prod(chunk) * stored.itemsize, 1 << 20),
        voxel_size_nm=sizes,
        size_source="scale of the finest level" if layout != "Zarr" else "",
        origin=lambda size_nm: origin,
        hints=lambda: Hints(
            tilt_angles=((angles, _SOURCE),) if angles is not None else (),
            axes=((float(axis), _SOURCE),) if isinstance(axis, (int, float)) else (),
        ),
        titles=titles,
        names=_names(attributes),
        n_bytes=_bytes_of(array),
    )


def _excluded(use: Any, n_views: int) -> tuple[str, ...]:
    """Which views are not used, as the titles of an MRC say it."""
    if not isinstance(use, list) or len(use) != n_views:
        return ()
    return tuple(excluded_titles(np.array([bool(flag) for flag in use])))


def _names(attributes: dict[str, Any]) -> dict[int, str]:
    """Names of classes in `image-label`."""
    ome = attributes.get("ome", attributes)
    found = ome.get("image-label") if isinstance(ome, dict) else None
    rows = found.get("properties") if isinstance(found, dict) else None
    named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {
        int(row["label-value"]): str(row["name"])
        for row in named
        if isinstance(row.get("label-value"), int) and "name" in row
    }


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_METADATA:
        raise FormatError(f"{path} must be metadata of at most {_LARGEST_METADATA >> 20} MiB.")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise FormatError(f"{path} must hold a table of metadata, got {type(found).__name__}.")
    return found


def _attributes(folder: Path) -> tuple[dict[str, Any], bool]:
    """Attributes of a group or array, and whether it is an array."""
    found = _json(folder / "zarr.json")
    if found:
        attributes = found.get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}, found.get("node_type") == "array"
    return _json(folder / ".zattrs"), (folder / ".zarray").is_file()


def _finest(
    folder: Path, attributes: dict[str, Any]
) -> tuple[Path, tuple[float, float, float], tuple[float, float, float], str, str]:
    """Folder, voxel size, origin, layout and names of axes of the finest level of a multiscale image."""
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales") if isinstance(ome, dict) else None
    if not isinstance(images, list) or not images:
        raise FormatError(
            f"{folder} must be a Zarr array or an OME-Zarr image with multiscales, got a group without: "
            "name the folder of one of its arrays."
        )
    image, version = images[0], str(ome.get("version") or images[0].get("version") or "")
    level = image["datasets"][0]
    array = (folder / str(level["path"])).resolve()
    if folder.resolve() not in array.parents:
        raise FormatError(
            f"{folder} must hold its levels itself, got the path {level['path']!r}, which is not followed."
        )
    axes = [axis if isinstance(axis, dict) else {"name": str(axis)} for axis in image.get("axes", [])]
    names = [str(axis.get("name", "")).lower() for axis in axes]
    scale, shift = [1.0] * len(axes), [0.0] * len(axes)
    known = False
    for transform in [
        *level.get("coordinateTransformations", []),
        *image.get("coordinateTransformations", []),
    ]:
        if transform.get("type") == "scale":
            factor = [float(value) for value in transform["scale"]]
            shift = [a * b for a, b in zip(shift, factor, strict=True)]
            scale = [a * b for a, b in zip(scale, factor, strict=True)]
            known = True
        elif transform.get("type") == "translation":
            shift = [a + float(b) for a, b in zip(shift, transform["translation"], strict=True)]
    sizes, origin = [], []
    for axis in "zyx":
        place = names.index(axis) if axis in names else -1
        unit = str(axes[place].get("unit", "")) if place >= 0 else ""
        sizes.append(nanometres(scale[place], unit) if known and place >= 0 else math.nan)
        one = nanometres(1.0, unit)
        origin.append(shift[place] * one if place >= 0 and math.isfinite(one) else 0.0)
    layout = f"OME-Zarr {version}".strip()
    return array, (sizes[0], sizes[1], sizes[2]), (origin[0], origin[1], origin[2]), layout, "".join(names)


def _array_metadata(array: Path) -> tuple[tuple[int, ...], np.dtype, tuple[int, ...]]:
    """Shape, type and chunk of an array."""
    found = _json(array / "zarr.json")
    if found:
        grid = found["chunk_grid"]["configuration"]["chunk_shape"]
        kind = found["data_type"]
    else:
        found = _json(array / ".zarray")
        grid, kind = found["chunks"], found["dtype"]
    shape, chunk = (tuple(_whole(n) for n in items) for items in (found["shape"], grid))
    if len(chunk) != len(shape):
        raise FormatError(f"{array} must have chunks of as many axes as the array, got {chunk} for {shape}.")
    return shape, np.dtype(kind), chunk


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormatError(f"a Zarr array must have axes and chunks of at least one element, got {value!r}.")
    return value


def _check_stored(
    folder: Path, array: Path, shape: tuple[int, ...], dtype: np.dtype, chunk: tuple[int, ...]
) -> None:
    stored = _bytes_of(array)
    check_unpacked(folder, math.prod(shape) * dtype.itemsize, stored)
    check_unpacked(folder, math.prod(chunk) * dtype.itemsize, stored)
    check_piece(folder, math.prod(chunk) * dtype.itemsize, math.prod(shape) * dtype.itemsize)


def _bytes_of(array: Path) -> int:
    """Bytes of the files of an array, none of which may be a link out of it."""
    found = list(array.rglob("*"))
    for path in found:
        if path.is_symlink() and not path.resolve().is_relative_to(array.resolve()):
            raise FormatError(
                f"{array} must hold its chunks itself, but {path.name} is a link, which is not followed."
            )
    return sum(path.lstat().st_size for path in found if not path.is_symlink() and path.is_file())
