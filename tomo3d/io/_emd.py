"""EMD files: those of Berkeley (groups of data with dimensions), and those of Velox (images with JSON beside them)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._hdf5_sets import DataSet, describe, own
from tomo3d.io._images import Hints
from tomo3d.io._stacks import DEGREES, nanometres, three_axes

_LARGEST_METADATA = 64 << 20


def berkeley(file: Path, h5: h5py.File, dataset: str = "") -> DataSet | None:
    """The images of an EMD file of Berkeley or tomviz: the one group with emd_group_type 1; None in other files.

    `dataset` names the data of one of several groups.
    """
    groups: list[h5py.Group] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and _is_one(item.attrs.get("emd_group_type")):
            link = item.get("data", getlink=True)
            if isinstance(link, h5py.HardLink) and isinstance(item["data"], h5py.Dataset):
                groups.append(item)

    h5.visititems(visit)
    if dataset:
        groups = [group for group in groups if f"{group.name}/data" == _whole_name(dataset)]
    images = [group for group in groups if group["data"].ndim in (2, 3)]
    if not groups:
        return None
    if len(images) != 1:
        names = ", ".join(str(group.name) for group in groups[:20])
        raise FormatError(
            f"{file} must hold one stack of images, got {len(images)} among {names}: "
            f"name one, as {file}::{groups[0].name}/data."
        )
    return _of_group(file, images[0])


def _is_one(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and int(value) == 1


def _of_group(file: Path, group: h5py.Group) -> DataSet:
    item = group["data"]
    dims = [_dimension(group, axis + 1, n) for axis, n in enumerate(item.shape)]
    letters = [_letter(name, unit) for name, unit, _ in dims]
    order = (0, 1, 2)
    if len(letters) == 3 and sorted(letters) in (["x", "y", "z"], ["t", "x", "y"]):
        first = letters.index("t" if "t" in letters else "z")
        order = (first, letters.index("y"), letters.index("x"))
    axes = dims if len(dims) == 3 else [("", "", np.array([])), *dims]
    sizes = [_step_nm(values, unit) for _, unit, values in (axes[k] for k in order)]
    angles = axes[order[0]]
    source = f"dimensions of {group.name}"
    hints = Hints(tilt_angles=((angles[2], source),)) if len(letters) == 3 and "t" in letters else Hints()
    return describe(
        file,
        item,
        "EMD (Berkeley)",
        index=three_axes(file, item.shape, ""),
        order=order,
        flipped=True,
        voxel_size_nm=(sizes[0], sizes[1], sizes[2]),
        size_source=source,
        hints=hints,
    )


def _dimension(group: h5py.Group, number: int, n: int) -> tuple[str, str, np.ndarray]:
    """(name, unit, values) of a dimension; its values may be given by the first two."""
    found = own(group, f"dim{number}")
    if not isinstance(found, h5py.Dataset) or found.ndim != 1 or found.dtype.kind not in "iuf":
        return "", "", np.array([])
    values = np.asarray(found[: min(len(found), n)], dtype=np.float64)
    if len(values) == 2 < n:
        values = values[0] + np.arange(n) * (values[1] - values[0]) if n <= 1 << 20 else values
    return _text(found.attrs.get("name", "")), _text(found.attrs.get("units", "")), values


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _letter(name: str, unit: str) -> str:
    """Which axis a dimension is: "x", "y", "z", or "t" for tilt angles; "" where it does not say."""
    if unit.strip().lower() in DEGREES or "angle" in name.lower() or "tilt" in name.lower():
        return "t"
    return name.strip().lower() if name.strip().lower() in ("x", "y", "z") else ""


def _step_nm(values: np.ndarray, unit: str) -> float:
    return nanometres(float(abs(values[1] - values[0])), unit) if len(values) > 1 else math.nan


def _whole_name(dataset: str) -> str:
    return "/" + dataset.strip("/")


def velox(file: Path, h5: h5py.File, dataset: str = "") -> DataSet | None:
    """The images of a Velox EMD file, with pixel size and stage tilt of its metadata; None in other files.

    `dataset` names one of several: the image of a detector, or the map of an element.
    """
    data = own(h5, "Data")
    images = own(data, "Image") if isinstance(data, h5py.Group) else None
    if not isinstance(images, h5py.Group):
        return None
    groups = [group for name in images if isinstance(group := own(images, name), h5py.Group)]
    stacks = [
        group for group in groups if isinstance(own(group, "Data"), h5py.Dataset) and group["Data"].ndim == 3
    ]
    if dataset:
        stacks = [group for group in stacks if f"{group.name}/Data" == _whole_name(dataset)]
        if not stacks:
            return None
    if len(stacks) != 1:
        names = ", ".join(f"{group.name}/Data {group['Data'].shape}" for group in stacks[:20])
        raise FormatError(
            f"{file} must hold one stack of images, got {len(stacks)}"
            + (f" ({names}): name one, as {file}::{stacks[0].name}/Data." if stacks else ".")
        )
    group = stacks[0]
    item = group["Data"]  # (n_y, n_x, n_frames)
    frames = _metadata(group, item.shape[2])
    size = frames[0].get("BinaryResult", {}).get("PixelSize", {}) if frames else {}
    unit = frames[0].get("BinaryResult", {}).get("PixelUnitX", "") if frames else ""
    y, x = (nanometres(_number(size.get(name)), str(unit)) for name in ("height", "width"))
    return describe(
        file,
        item,
        "EMD (Velox)",
        index=three_axes(file, item.shape, ""),
        order=(2, 0, 1),
        flipped=True,
        voxel_size_nm=(math.nan, y, x),
        size_source="metadata of Velox",
        hints=_velox_hints(frames, item.shape[2]),
    )


def _metadata(group: h5py.Group, n_frames: int) -> list[dict[str, Any]]:
    """The JSON of each frame, or of the first alone where they share one."""
    found = own(group, "Metadata")
    if not isinstance(found, h5py.Dataset) or found.ndim != 2 or found.dtype != np.uint8:
        return []
    n = min(found.shape[1], n_frames)
    if found.shape[0] * n > _LARGEST_METADATA:
        return []
    columns = np.asarray(found[:, :n])
    texts = [columns[:, k].tobytes().rstrip(b"\0") for k in range(n)]
    frames = [json.loads(text) for text in texts if text]
    return [frame for frame in frames if isinstance(frame, dict)]


def _velox_hints(frames: list[dict[str, Any]], n_frames: int) -> Hints:
    if len(frames) != n_frames:
        return Hints()

    def column(group: str, name: str, factor: float) -> np.ndarray:
        return np.array([_number(_section(frame, group).get(name)) * factor for frame in frames])

    angles = column("Stage", "AlphaTilt", 180.0 / math.pi)
    defocus = column("Optics", "Defocus", 1e9)
    voltage = _number(_section(frames[0], "Optics").get("AccelerationVoltage"))
    is_tilted = np.isfinite(angles).all() and np.ptp(angles) > 0
    return Hints(
        tilt_angles=((angles, "stage tilt in the metadata of Velox"),) if is_tilted else (),
        views={"defocus_nm": defocus} if np.isfinite(defocus).all() else {},
        views_source="metadata of Velox",
        voltage_v=voltage if voltage > 0 else None,
    )


def _section(frame: dict[str, Any], name: str) -> dict[str, Any]:
    found = frame.get(name)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
