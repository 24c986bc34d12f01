"""Writing surfaces: PLY, STL, glTF (.glb) and VTK (.vtp, .vtk), for ParaView, MeshLab, Blender, Fiji and napari.

Positions are x, y, z in nm, the origin of the volume included: one unit of the file is one nm, also in glTF, whose
unit is the metre, as viewers lose sight of a body of 1e-9 m. Each file says so where it has a place for a comment.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d._version import __version__
from tomo3d.io._mesh_read import FLAG
from tomo3d.io._write import check_output, new_file
from tomo3d.types import Surface

_TITLE = f"tomo3d {__version__}, lengths in nm"
_PLY_TYPES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float",
    "f8": "double",
}  # fmt: skip
_VTK_TYPES = {
    "i1": "Int8", "u1": "UInt8", "i2": "Int16", "u2": "UInt16", "i4": "Int32", "u4": "UInt32", "i8": "Int64",
    "u8": "UInt64", "f4": "Float32", "f8": "Float64",
}  # fmt: skip
_LEGACY_TYPES = {
    "i1": "char", "u1": "unsigned_char", "i2": "short", "u2": "unsigned_short", "i4": "int", "u4": "unsigned_int",
    "i8": "vtktypeint64", "u8": "vtktypeuint64", "f4": "float", "f8": "double",
}  # fmt: skip
_GLTF_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_FLOAT, _UINT = 5126, 5125  # glTF's numbers for float32 and uint32
_VERTICES, _INDICES = 34962, 34963  # and for what a part of its buffer holds


def write_surface(surface: Surface, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a surface to a PLY, STL, glTF or VTK file.

    Parameters
    ----------
    surface : Surface
        Triangles, with values on the vertices.
    path : path
        Where to write it. The ending chooses the format: .ply, .stl (without the values), .glb (binary glTF),
        .vtp (VTK XML), .vtk (VTK legacy); all binary.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If the ending is of no known format, a position is not finite, or there are no triangles.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    Positions are float32, as (x, y, z) in nm; a file's unit is 1 nm. The order of the vertices of a face is kept: a
    triangle has the same outside, in whatever order its coordinates are named. Values named `normal` are directions
    (z, y, x), and are written as (x, y, z), as nx, ny and nz in PLY and NORMAL in glTF.
    """
    check_output(path, overwrite=overwrite)
    encoders = {".stl": _stl, ".glb": _glb, ".vtp": _vtp, ".vtk": _vtk}
    ending = Path(path).suffix.lower()
    if ending not in (".ply", *encoders):
        raise ValueError(
            f"a surface must be named with one of the endings .ply, {', '.join(encoders)}, got {Path(path).name!r}."
        )
    if not len(surface.faces):
        raise ValueError("a surface must have triangles to be written, got none.")
    points = np.ascontiguousarray(surface.vertices_nm[:, ::-1], dtype="<f4")
    if not np.isfinite(points).all():
        raise ValueError(
            "the positions of a surface must be finite as float32 to be written, got some that are not."
        )
    values = {name: _stored(name, array) for name, array in surface.point_data.items()}
    flags = [name for name, array in surface.point_data.items() if np.asarray(array).dtype == bool]
    faces = np.ascontiguousarray(surface.faces, dtype="<i8")
    parts = list(
        _ply(points, faces, values, flags) if ending == ".ply" else encoders[ending](points, faces, values)
    )
    with new_file(path, sum(memoryview(part).nbytes for part in parts), overwrite=overwrite) as file:
        for part in parts:
            file.write(part)


def _stored(name: str, array: np.ndarray) -> np.ndarray:
    """Values on the vertices, little-endian, (n,) or (n, k)."""
    values = np.asarray(array)
    if values.dtype.kind not in "iufb" or values.ndim > 2:
        raise ValueError(
            f"point_data[{name!r}] must hold one number or a row of numbers per vertex, got {values.dtype} of shape "
            f"{values.shape}."
        )
    if _is_normal(name, values):
        values = values[:, ::-1]  # of (z, y, x)
    kind = {"b1": "u1", "f2": "f4"}.get(values.dtype.str[1:], values.dtype.str[1:])
    return np.ascontiguousarray(values, dtype="<" + kind)


def _is_normal(name: str, values: np.ndarray) -> bool:
    return name == "normal" and values.ndim == 2 and values.shape[1] == 3


def _columns(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values with several components as several columns."""
    found = {}
    for name, array in values.items():
        if array.ndim == 1:
            found[name] = array
        elif _is_normal(name, array):
            found |= {axis: array[:, i] for i, axis in enumerate(("nx", "ny", "nz"))}
        else:
            found |= {f"{name}_{i}": array[:, i] for i in range(array.shape[1])}
    return found


def _ply(
    points: np.ndarray, faces: np.ndarray, values: Mapping[str, np.ndarray], flags: Iterable[str]
) -> Iterable[bytes]:
    columns = {"_".join(name.split()): array for name, array in _columns(values).items()}
    columns = {name: _narrowed(array) for name, array in columns.items()}
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), *((name, a.dtype.str) for name, a in columns.items())]
    vertices = np.empty(len(points), fields)
    for i, axis in enumerate("xyz"):
        vertices[axis] = points[:, i]
    for name, array in columns.items():
        vertices[name] = array
    triangles = np.empty(len(faces), [("n", "u1"), ("indices", "<i4", 3)])
    triangles["n"], triangles["indices"] = 3, faces
    properties = [f"property {_PLY_TYPES[np.dtype(kind).str[1:]]} {name}" for name, kind in fields]
    header = [
        "ply", "format binary_little_endian 1.0", f"comment {_TITLE}",
        *(f"comment {FLAG} {'_'.join(name.split())}" for name in flags), f"element vertex {len(points)}", *properties,
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    return "\n".join(header).encode("ascii", "replace"), vertices.tobytes(), triangles.tobytes()


def _narrowed(array: np.ndarray) -> np.ndarray:
    """PLY has no integers of 64 bits."""
    return array.astype("<f8") if array.dtype.str[1:] in ("i8", "u8") else array


def _stl(points: np.ndarray, faces: np.ndarray, values: Mapping[str, np.ndarray]) -> Iterable[bytes]:
    corners = points[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).astype("f8")
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangles["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    triangles["corners"] = corners
    # a header that began with "solid" would be taken for text
    return _TITLE.encode("ascii").ljust(80), struct.pack("<I", len(faces)), triangles.tobytes()


def _glb(points: np.ndarray, faces: np.ndarray, values: Mapping[str, np.ndarray]) -> Iterable[bytes]:
    """glTF 2.0 binary; values on the vertices are attributes named _NAME, of float32."""
    parts: list[bytes] = []
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def add(array: np.ndarray, component: int, target: int, **more: Any) -> int:
        data = array.tobytes()
        offset = sum(map(len, parts))
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(data), "target": target})
        parts.append(data + bytes(-len(data) % 4))
        kind = _GLTF_TYPES[1 if array.ndim == 1 else array.shape[1]]
        accessor = {
            "bufferView": len(views) - 1,
            "componentType": component,
            "count": len(array),
            "type": kind,
        }
        accessors.append(accessor | more)
        return len(accessors) - 1

    attributes = {
        "POSITION": add(points, _FLOAT, _VERTICES, min=points.min(0).tolist(), max=points.max(0).tolist())
    }
    indices = add(faces.astype("<u4").ravel(), _UINT, _INDICES)
    for name, array in values.items():
        simple = (
            {name: array} if array.ndim == 1 or array.shape[1] in _GLTF_TYPES else _columns({name: array})
        )
        for key, column in simple.items():
            attribute = (
                "NORMAL" if _is_normal(name, array) and np.isfinite(array).all() else "_" + key.upper()
            )
            attributes[attribute] = add(np.ascontiguousarray(column, "<f4"), _FLOAT, _VERTICES)
    scene = {
        "asset": {"version": "2.0", "generator": f"tomo3d {__version__}", "extras": {"unit": "nm"}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "mode": 4}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": sum(map(len, parts))}],
    }
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    n_binary = sum(map(len, parts))
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + n_binary)
    return (
        head,
        struct.pack("<I4s", len(text), b"JSON"),
        text,
        struct.pack("<I4s", n_binary, b"BIN\0"),
        *parts,
    )


def _vtp(points: np.ndarray, faces: np.ndarray, values: Mapping[str, np.ndarray]) -> Iterable[bytes]:
    """PolyData of VTK's XML, values raw behind it."""
    blocks: list[bytes] = []
    point_data = "".join(vtk_array(name, data, blocks) for name, data in values.items())
    places = vtk_array("Points", points, blocks)
    offsets = np.arange(3, 3 * len(faces) + 1, 3, dtype="<i8")
    polygons = vtk_array("connectivity", faces.ravel(), blocks) + vtk_array("offsets", offsets, blocks)
    head = (
        '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian"'
        ' header_type="UInt64">\n'
        f'<!-- {_TITLE} -->\n<PolyData><Piece NumberOfPoints="{len(points)}" NumberOfPolys="{len(faces)}">'
        f"<PointData>{point_data}</PointData><Points>{places}</Points><Polys>{polygons}</Polys></Piece></PolyData>\n"
        '<AppendedData encoding="raw">_'
    )
    return head.encode(), *blocks, b"</AppendedData></VTKFile>\n"


def vtk_array(name: str, values: np.ndarray, blocks: list[bytes]) -> str:
    """What VTK's XML says of an array, little-endian, whose bytes are appended to the `blocks` behind it."""
    n_components = 1 if values.ndim == 1 else values.shape[1]
    offset = sum(map(len, blocks))
    data = values.tobytes()
    blocks.append(struct.pack("<Q", len(data)) + data)
    return (
        f'<DataArray type="{_VTK_TYPES[values.dtype.str[1:]]}" Name="{_xml(name)}" '
        f'NumberOfComponents="{n_components}" format="appended" offset="{offset}"/>'
    )


def _xml(text: str) -> str:
    from xml.sax.saxutils import quoteattr

    return quoteattr(text)[1:-1].replace("'", "&apos;").replace('"', "&quot;")


def _vtk(points: np.ndarray, faces: np.ndarray, values: Mapping[str, np.ndarray]) -> Iterable[bytes]:
    """PolyData of VTK's legacy format, big-endian."""
    cells = np.full((len(faces), 4), 3, dtype=">i4")
    cells[:, 1:] = faces
    yield f"# vtk DataFile Version 3.0\n{_TITLE}\nBINARY\nDATASET POLYDATA\nPOINTS {len(points)} float\n".encode()
    yield points.astype(">f4").tobytes()
    yield f"\nPOLYGONS {len(faces)} {4 * len(faces)}\n".encode()
    yield cells.tobytes()
    if values:
        yield f"\nPOINT_DATA {len(points)}\nFIELD FieldData {len(values)}".encode()
    for name, array in values.items():
        n_components = 1 if array.ndim == 1 else array.shape[1]
        kind = _LEGACY_TYPES[array.dtype.str[1:]]
        yield f"\n{'_'.join(name.split())} {n_components} {len(points)} {kind}\n".encode()
        yield array.astype(array.dtype.newbyteorder(">")).tobytes()
    yield b"\n"
