"""Writing NRRD: volumes raw, labels compressed, names as Slicer has them.

The format: https://teem.sourceforge.net/nrrd/format.html.
NRRD holds positions in space, not pictures: the axes are x, y, z as here, and nothing is flipped.
"""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Iterable, Mapping

import numpy as np

from tomo3d.io._pieces import check_in_main_memory, converted, extremes, narrowest, slabs
from tomo3d.io._write import check_output, new_file
from tomo3d.types import Labels, Volume

NRRD_TYPES: dict[str, str] = {
    "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "f4": "float",
}  # fmt: skip
_STORED = {"b1": "u1", "f2": "f4", "f8": "f4", "i8": "i4", "u8": "u4"}  # the others are stored as they are


def write_nrrd_volume(
    volume: Volume, path: str | os.PathLike[str], *, dtype: np.dtype | None, overwrite: bool
) -> None:
    """Write a volume; `dtype` None: the type that holds the values, floats as float32."""
    check_in_main_memory(volume.data)
    kind = np.dtype(volume.data.dtype if dtype is None else dtype).str[1:]
    stored = np.dtype("<" + _STORED.get(kind, kind))
    header = _header(volume, stored, "raw", {})
    n_bytes = len(header) + math.prod(volume.data.shape) * stored.itemsize
    with new_file(path, n_bytes, overwrite=overwrite) as file:
        file.write(header)
        for start, slab in slabs(volume.data, f"writing {os.path.basename(path)}"):
            file.write(converted(slab, stored, start).data)


def write_nrrd_labels(labels: Labels, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write labels in the narrowest type, compressed."""
    check_output(path, overwrite=overwrite)
    stored = narrowest(*extremes(labels.data))
    with new_file(path, 0, overwrite=overwrite) as file:
        file.write(_header(labels, stored, "gzip", labels.names))
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
            for start, slab in slabs(labels.data, f"writing {os.path.basename(path)}"):
                stream.write(converted(slab, stored, start).data)


def _header(volume: Volume | Labels, dtype: np.dtype, encoding: str, names: Mapping[int, str]) -> bytes:
    z, y, x = volume.voxel_size_nm
    n_z, n_y, n_x = volume.data.shape
    lines = [
        "NRRD0005",
        "# https://teem.sourceforge.net/nrrd/format.html",
        f"type: {NRRD_TYPES[dtype.str[1:]]}",
        "dimension: 3",
        "space dimension: 3",
        f"sizes: {n_x} {n_y} {n_z}",
        f"space directions: ({x!r},0,0) (0,{y!r},0) (0,0,{z!r})",
        f"space origin: {_vector(reversed(volume.origin_nm))}",
        'space units: "nm" "nm" "nm"',
        "kinds: domain domain domain",
        "endian: little",
        f"encoding: {encoding}",
    ]
    for i, (value, name) in enumerate(names.items()):
        lines += [
            f"Segment{i}_ID:=Segment_{value}",
            f"Segment{i}_LabelValue:={value}",
            f"Segment{i}_Layer:=0",
        ]
        lines.append(f"Segment{i}_Name:={_escaped(name)}")
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _vector(values: Iterable[float]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _escaped(text: str) -> str:
    """A value of a key, with what would end its line escaped as the format says."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", " ")
