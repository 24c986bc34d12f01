"""DM3 and DM4 of Gatan's DigitalMicrograph: a tree of tags with the images in it, row 0 at the top of the picture.

The layout is not published; it is that which the field has worked out: big-endian groups of named tags, whose values
are in the byte order of the third word of the file. DM4 has the same with 64-bit counts.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import Hints, ImageFile, check_values, frozen, translated
from tomo3d.io._stacks import DEGREES, nanometres, stack_shape, three_axes

_VALUES = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "b", 11: "q", 12: "Q"}
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_IMAGE_TYPES = {1: "i2", 2: "f4", 3: "c8", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 13: "c16",
                14: "u1", 23: "V4", 39: "i8", 40: "u8"}  # fmt: skip
_DEEPEST = 64
_LONGEST_TEXT = 1 << 16  # items; longer arrays are kept as where they lie


@dataclass(frozen=True)
class _Block:
    """An array of the file that is not read: where it lies."""

    offset: int
    n_bytes: int


class _Tags:
    """Reader of the tree of tags."""

    def __init__(self, stream: BinaryIO, n_bytes: int) -> None:
        self.stream, self.n_bytes = stream, n_bytes
        self.is_4 = self._unpack(">i")[0] == 4
        self.count = ">Q" if self.is_4 else ">I"
        self._unpack(self.count)  # length of the tree
        self.order: Literal["<", ">"] = "<" if self._unpack(">i")[0] == 1 else ">"

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        raw = self.stream.read(struct.calcsize(layout))
        return struct.unpack(layout, raw)

    def group(self, depth: int = 0) -> dict[str, Any]:
        """Tags by name; those without one by their number."""
        if depth > _DEEPEST:
            raise ValueError(f"tags within tags, more than {_DEEPEST} deep")
        self._unpack(">2B")
        (n_tags,) = self._unpack(self.count)
        found: dict[str, Any] = {}
        for number in range(n_tags):
            kind, n_name = self._unpack(">BH")
            name = self.stream.read(n_name).decode("latin-1") or str(number)
            if self.is_4:
                self._unpack(">Q")  # bytes of the tag
            if kind == 20:
                found[name] = self.group(depth + 1)
            elif kind == 21:
                found[name] = self._value()
            else:
                raise ValueError(f"a tag of kind {kind}")
        return found

    def _value(self) -> Any:
        if self.stream.read(4) != b"%%%%":
            raise ValueError("a tag without its mark")
        (n_words,) = self._unpack(self.count)
        if not 1 <= n_words <= 4096:
            raise ValueError(f"a tag described in {n_words} words")
        words = self._unpack(f">{n_words}{self.count[1]}")
        if words[0] in _VALUES:
            return self._unpack(self.order + _VALUES[words[0]])[0]
        if words[0] == _STRUCT:
            return self._unpack(self._struct(words[1:]))
        if words[0] == _STRING:
            return self._array("H", words[1])
        if words[0] == _ARRAY and words[1] == _STRUCT:
            return self._skip(struct.calcsize(self._struct(words[2:-1])) * words[-1])
        if words[0] == _ARRAY and words[1] in _VALUES:
            return self._array(_VALUES[words[1]], words[-1])
        raise ValueError(f"a value of kind {words[0]}")

    def _struct(self, words: tuple[int, ...]) -> str:
        """Layout of a struct: length of its name, number of fields, then length of name and kind of each."""
        n_fields = words[1]
        kinds = words[3 : 3 + 2 * n_fields : 2]
        return self.order + "".join(_VALUES[kind] for kind in kinds)

    def _array(self, kind: str, n: int) -> Any:
        n_bytes = n * struct.calcsize("=" + kind)
        if n > _LONGEST_TEXT:
            return self._skip(n_bytes)
        raw = self.stream.read(n_bytes)
        if len(raw) < n_bytes:
            raise EOFError("the file ends within a tag")
        return (
            raw.decode("utf-16-le" if self.order == "<" else "utf-16-be", "replace") if kind == "H" else raw
        )

    def _skip(self, n_bytes: int) -> _Block:
        offset = self.stream.tell()
        if offset + n_bytes > self.n_bytes:
            raise EOFError(f"the file ends before the {n_bytes:,} bytes of one of its arrays")
        self.stream.seek(n_bytes, 1)
        return _Block(offset, n_bytes)


def open_dm(file: Path) -> ImageFile:
    """What a DM3 or DM4 file says of its largest image."""
    n_bytes = file.stat().st_size
    with translated(file, "DM3 or DM4 file"), open(file, "rb") as stream:
        tags = _Tags(stream, n_bytes)
        tree, order, kind = tags.group(), tags.order, "DM4" if tags.is_4 else "DM3"
        image = _largest(file, tree)
        data = image["ImageData"]
        block, code = data["Data"], data["DataType"]
        if isinstance(block, bytes):
            raise FormatError(f"{file} must hold an image of some size, got {len(block)} bytes of one.")
        if code not in _IMAGE_TYPES or not all(
            isinstance(n, int) and n > 0 for n in data["Dimensions"].values()
        ):
            raise FormatError(
                f"{file} must hold an image of numbers, got one of type {code}: write it as MRC or TIFF."
            )
        shape = tuple(reversed(list(data["Dimensions"].values())))
        stored = np.dtype(_IMAGE_TYPES[code]).newbyteorder(order)
        dtype = check_values(file, stored)
        if math.prod(shape) * stored.itemsize > block.n_bytes:
            raise FormatError(
                f"{file} must hold the image of {' x '.join(map(str, shape))} values that it announces, "
                f"but has {block.n_bytes:,} bytes of it: it is damaged."
            )
        index = three_axes(file, shape, "")
        new_shape = stack_shape(shape, index)
        sizes, angles = _calibrations(image, shape)
    is_native = dtype == stored

    def mapped() -> np.ndarray:
        return np.memmap(file, stored, mode="r", offset=block.offset, shape=shape)[index][:, ::-1]

    return ImageFile(
        path=file,
        layout=kind,
        shape=new_shape,
        dtype=dtype,
        read=lambda: mapped() if is_native else frozen(mapped().astype(dtype)),
        held_bytes=0 if is_native else math.prod(shape) * dtype.itemsize,
        voxel_size_nm=sizes,
        size_source="calibration of the image",
        hints=lambda: _hints(image, angles),
        peek=mapped,
        n_bytes=n_bytes,
    )


def _largest(file: Path, tree: dict[str, Any]) -> dict[str, Any]:
    """The image with the most bytes: the others are thumbnails."""
    images = [
        image
        for image in tree.get("ImageList", {}).values()
        if isinstance(image, dict) and isinstance(image.get("ImageData", {}).get("Data"), (_Block, bytes))
    ]
    if not images:
        raise FormatError(f"{file} must hold an image, but has none.")

    def size(image: dict[str, Any]) -> int:
        data = image["ImageData"]["Data"]
        return data.n_bytes if isinstance(data, _Block) else len(data)

    return max(images, key=size)


def _calibrations(
    image: dict[str, Any], shape: tuple[int, ...]
) -> tuple[tuple[float, float, float], np.ndarray | None]:
    """Voxel size (z, y, x) in nm, and the tilt angles where the first axis is one of angles."""
    axes = list(image["ImageData"].get("Calibrations", {}).get("Dimension", {}).values())
    sizes = [_length_nm(axes[k]) if k < len(axes) else math.nan for k in range(3)]
    angles = None
    if len(shape) == 3 and len(axes) >= 3 and str(axes[2].get("Units", "")).strip().lower() in DEGREES:
        angles = (np.arange(shape[0]) - axes[2]["Origin"]) * axes[2]["Scale"]
        sizes[2] = math.nan
    return (sizes[2], sizes[1], sizes[0]), angles


def _length_nm(axis: dict[str, Any]) -> float:
    units = axis.get("Units", b"")
    return nanometres(float(axis.get("Scale", math.nan)), units if isinstance(units, str) else "")


def _hints(image: dict[str, Any], angles: np.ndarray | None) -> Hints:
    microscope = image.get("ImageTags", {}).get("Microscope Info", {})
    voltage = microscope.get("Voltage") if isinstance(microscope, dict) else None
    return Hints(
        tilt_angles=((angles, "calibration of the image"),) if angles is not None else (),
        voltage_v=float(voltage) if isinstance(voltage, (int, float)) and voltage > 0 else None,
    )
