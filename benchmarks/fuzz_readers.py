"""The readers that `benchmarks.fuzz_io` runs: a function of a path, and files to begin with.

One line here is all that a new reader needs. Files to begin with are written by our writers or put together here, and
taken from the real files beside the project where there are any.
"""

from __future__ import annotations

import io as streams
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import tifffile
import zarr

from tomo3d import Alignment, Labels, SpatialGraph, Surface, TiltSeries, Volume, io

_REAL = Path(__file__).parents[2] / "shared" / "data"
_LARGEST_REAL = 1 << 17
_SHAPE = (3, 4, 5)
_VOLUME = Volume((np.arange(60) % 7).reshape(_SHAPE).astype("f4"), (2.0, 1.5, 1.0), (1.0, 2.0, 3.0))
_LABELS = Labels(_VOLUME.data.astype("u1"), (2.0, 1.5, 1.0), names={1: "film", 2: "carbon"})
_ANGLES = [-3.0, 0.0, 3.0]
_SERIES = TiltSeries(_VOLUME.data.astype("i2"), np.array(_ANGLES), 0.5, 12.5, np.array([True, False, True]))


@dataclass(frozen=True)
class Reader:
    """What is run: `read` is given a file of this ending, which begins as one of `seeds`, and touches what it gets."""

    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    ending: str = ".bin"
    real: str = ""  # pattern of real files that are seeds, too
    within: str = ""  # of a reader of folders: the file in it that is changed
    store: Callable[[Path], None] | None = None  # makes the folder, where it is not one of ours


def _images(read: Callable[..., Any]) -> Callable[[Path], object]:
    def touch(path: Path) -> object:
        found = read(path)
        values = found.images if hasattr(found, "images") else found.data
        return np.asarray(values[0]).sum(), np.asarray(values[-1]).sum(), values.shape

    return touch


def _volume(path: Path) -> object:
    return _images(lambda place: io.read_volume(place, voxel_size_nm=1.0))(path)


def _series(path: Path) -> object:
    return _images(lambda place: io.read_tilt_series(place, pixel_size_nm=1.0))(path)


def _labels(path: Path) -> object:
    return _images(lambda place: io.read_labels(place, voxel_size_nm=1.0))(path)


def _written(
    write: Callable[..., None], value: object, *names: str, **options: object
) -> Callable[[], list[bytes]]:
    """What a writer of ours makes of a value."""

    def make() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                write(value, Path(folder) / name, **options)
            return [(Path(folder) / name).read_bytes() for name in names]

    return make


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _alignment() -> Alignment:
    zeros = np.zeros(3)
    return Alignment(
        np.array([[1.0, -2.0], [0.0, 0.5], [3.0, 4.0]]), zeros + 85.0, np.array(_ANGLES), zeros + 1.0, 0.4,
        np.array([True, True, False]), {"residuals": pd.DataFrame({"view": [0, 1], "nm": [0.5, 0.25]})},
    )  # fmt: skip


def _tiffs() -> list[bytes]:
    found = _written(io.write_volume, _VOLUME, "a.tif", "b.ome.tif")()
    found += _written(io.write_labels, _LABELS, "c.tif")()
    for options in ({"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}, {"byteorder": ">"}):
        stream = streams.BytesIO()
        byteorder, bigtiff = options.pop("byteorder", None), options.pop("bigtiff", False)
        with tifffile.TiffWriter(stream, byteorder=byteorder, bigtiff=bool(bigtiff)) as tiff:  # type: ignore[arg-type]
            tiff.write(_LABELS.data, photometric="minisblack", **options)
        found.append(stream.getvalue())
    return found


def _hdf5() -> list[bytes]:
    found = []
    for options in ({}, {"chunks": (1, 4, 5), "compression": "gzip"}):
        stream = streams.BytesIO()
        with h5py.File(stream, "w") as file:
            stored = file.create_dataset("data", data=_VOLUME.data, **options)
            stored.attrs["element_size_um"] = [0.002, 0.0015, 0.001]
            file.create_dataset("theta", data=_ANGLES)
        found.append(stream.getvalue())
    stream = streams.BytesIO()
    with h5py.File(stream, "w") as file:  # Berkeley's EMD
        group = file.create_group("data/a")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=_VOLUME.data)
        for axis, n in enumerate(_SHAPE, 1):
            dim = group.create_dataset(f"dim{axis}", data=np.arange(float(n)))
            dim.attrs["units"] = "[n_m]"
            dim.attrs["name"] = "zyx"[axis - 1]
        file.attrs["version_major"] = 0
    return [*found, stream.getvalue()]


def _numpy() -> list[bytes]:
    found = []
    for values in (_LABELS.data, np.asfortranarray(_LABELS.data)):
        stream = streams.BytesIO()
        np.save(stream, values)
        found.append(stream.getvalue())
    return found


def _ser() -> list[bytes]:
    head = struct.pack("<HHHiiiiii", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, 2, 2, 30, 0)
    element = struct.pack("<ddiddihii", 0.0, 1e-9, 0, 0.0, 1e-9, 0, 2, 5, 4) + bytes(range(40))
    return [head + struct.pack("<2i", 200, 300) + element * 8, head + bytes(400)]


def _amira() -> list[bytes]:
    text = (
        "# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n\ndefine Lattice 5 4 3\n\nParameters {\n    Materials {\n"
        "        Exterior {\n            Id 1\n        }\n        Film { Color 1 0 0, Id 2 }\n    }\n"
        '    Units { Coordinates "nm" }\n    BoundingBox 0 4 0 3 0 2,\n    CoordType "uniform"\n}\n\n'
        "Lattice { byte Labels } @1"
    )
    end = "\n\n# Data section follows\n@1\n"
    raw = _LABELS.data.tobytes()
    coded = (text + "(HxByteRLE,14)" + end).encode() + bytes([30, 1, 20, 2, 138, *range(10)])
    ascii_text = text.replace("BINARY-LITTLE-ENDIAN 2.1", "ASCII 1.0") + end + " ".join(map(str, raw))
    return [(text + end).encode() + raw, coded, ascii_text.encode()]


def _model() -> list[bytes]:
    points = np.arange(9, dtype=">f4").tobytes()
    contour = (
        b"CONT" + struct.pack(">iIii", 3, 0, 0, 0) + points + b"SIZE" + struct.pack(">i", 12) + bytes(12)
    )
    return [b"".join([b"IMODV1.2", bytes(232), b"OBJT", bytes(176), contour, contour, b"IEOF"])]


def _zarr_metadata(version: str) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "a.zarr"
            io.write_volume(_VOLUME, place, ome_zarr=version)  # type: ignore[arg-type]
            return [
                (place / name).read_bytes() for name in ("zarr.json", ".zattrs") if (place / name).exists()
            ]

    return make


def _zarr_packed(codec: str) -> dict[str, Any]:
    """A shard of chunks that are packed; the shard is what is changed."""
    from zarr import codecs

    def store(path: Path) -> None:
        packer = {"zstd": codecs.ZstdCodec(), "blosc": codecs.BloscCodec(), "gzip": codecs.GzipCodec()}[codec]
        options: dict[str, Any] = {"chunks": (3, 2, 5), "shards": (3, 4, 5), "compressors": packer}
        zarr.create_array(str(path), data=_VOLUME.data, overwrite=True, **options)

    def seeds() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            store(Path(folder) / "a.zarr")
            return [(Path(folder) / "a.zarr" / "c" / "0" / "0" / "0").read_bytes()]

    return {"seeds": seeds, "store": store, "within": "c/0/0/0"}


def _table(path: Path) -> object:
    return io.read_table(path).shape


_SURFACE = Surface(
    np.arange(12.0).reshape(4, 3),
    np.array([[0, 1, 2], [0, 2, 3]]),
    {"normal": np.ones((4, 3)), "is_in": np.array([True, False, True, True])},
)
_PLY_TEXT = """ply
format ascii 1.0
comment flag is_in
element vertex 3
property float x
property float y
property float z
property uchar is_in
element face 1
property list uchar int vertex_indices
end_header
0 0 0 1
1 0 0 0
0 1 0 1
3 0 1 2
"""
_ALN_LOCAL = """# AreTomo Alignment / Priims bprmMn
# RawSize = 64 48 2
# NumPatches = 2
# AlphaOffset = 0.00
# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT
0 85.0 1.0 2.5 -1.5 1.0 1.0 1.0 0.0 -20.0
1 84.0 1.0 0.5 -3.5 1.0 1.0 1.0 0.0 20.0
# Local Alignment
0 0 -10.5 3.5 1.25 -0.5 1.0
0 1 10.5 -3.5 -1.25 0.5 1.0
1 0 -10.5 3.5 1.25 -0.5 0.0
1 1 10.5 -3.5 -1.25 0.5 1.0
"""


def _read_local(path: Path) -> Any:
    return io.read_alignment(path, pixel_size_nm=1.0, use_local=True)


def _read_alignment(path: Path) -> object:
    return io.read_alignment(path, pixel_size_nm=0.5)


_MDOC = """PixelSpacing = 5.4
Voltage = 300
ImageFile = a.mrc
ImageSize = 5 4

[T =     Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 2]

[ZValue = 0]
TiltAngle = -3.0
StagePosition = 1.5 -2
ExposureDose = 2.0
SubFramePath = D:\\DATA\\f\\a_0.mrc
DateTime = 30-Nov-15  15:20:00

[ZValue = 1]
TiltAngle = 0.0
DateTime = 30-Nov-15  15:21:00
"""
_COM = "# tilt\n$tilt -StandardInput\nInputProjections a.ali\nTHICKNESS 900\nEXCLUDELIST 1,3-5\n$if (-e ./x) ./x\n"
_LOG = """ Pixel size = 1.08
 view   rotation    tilt    deltilt     mag      dmag      skew    resid-nm
   1      85.2      -3.0     0.00    1.0000   0.0000     0.00      0.42
   2      85.2       0.0     0.00    1.0000   0.0000     0.00      0.36
   #     X         Y         Z      obj  cont   resid-nm   weighted
   1    -12.5     15.7      3.66    1     1      0.31      0.29
"""
_RESID = """6 residuals
100.5 200.5 0 0.1 -0.2
101.5 200.5 1 0.1 0.2
102.5 200.5 2 0 0
9.5 8.5 0 0 0
9.5 8 1 0 0
9 8 2 1 1
"""
_LOCAL = "1 2 20 30 5 7 1 20.2 1\n0.1 0.2\n0.3 0.4\n1 2 3 4\n1 2 3 4 5 6\n7 8 9 10 11 12\n" + "0 " * 20


def _network() -> SpatialGraph:
    nodes = pd.DataFrame({"node": [0, 1], "z_nm": [0.0, 1.0], "y_nm": [0.5, 2.0], "x_nm": [3.0, 4.0]})
    branches = pd.DataFrame(
        {"branch": [0], "node_a": [0], "node_b": [1], "length_nm": [2.5], "is_cut": [True]}
    )
    line = np.array([[0.0, 0.5, 3.0], [1.0, 2.0, 4.0]])
    return SpatialGraph(nodes, branches, [line], [np.array([1.0, np.nan])], {"made": [1, "by hand"]})


READERS: dict[str, Reader] = {
    "mrc": Reader(_volume, _written(io.write_volume, _VOLUME, "a.mrc"), ".mrc", "emdb/*"),
    "mrc-series": Reader(_series, _written(io.write_tilt_series, _SERIES, "a.mrc"), ".mrc", "sidecars/**/*.mrc"),
    "mrc-labels": Reader(_labels, _written(io.write_labels, _LABELS, "a.mrc"), ".mrc"),
    "tiff": Reader(_volume, _tiffs, ".tif"),
    "hdf5": Reader(_volume, _hdf5, ".h5"),
    "numpy": Reader(_volume, _numpy, ".npy"),
    "ser": Reader(_volume, _ser, ".ser"),
    "dm": Reader(_volume, lambda: [b"\0\0\0\x03" + struct.pack(">ii", 60, 1) + b"\1\0" + bytes(60)], ".dm3"),
    "nrrd": Reader(_labels, _written(io.write_labels, _LABELS, "a.nrrd"), ".nrrd"),
    "amira": Reader(_labels, _amira, ".am"),
    "zarr-0.5": Reader(_volume, _zarr_metadata("0.5"), ".zarr", within="zarr.json"),
    "zarr-0.4": Reader(_volume, _zarr_metadata("0.4"), ".zarr", within=".zattrs"),
    "zarr-zstd": Reader(_volume, ending=".zarr", **_zarr_packed("zstd")),
    "zarr-blosc": Reader(_volume, ending=".zarr", **_zarr_packed("blosc")),
    "zarr-gzip": Reader(_volume, ending=".zarr", **_zarr_packed("gzip")),
    "csv": Reader(_table, _texts("a,b,c\n1,2.5,x\n2,nan,y\n"), ".csv"),
    "parquet": Reader(
        _table, _written(io.write_table, pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "a.parquet"), ".parquet"
    ),
    "graphml": Reader(io.read_graph, _written(io.write_graph, _network(), "a.graphml"), ".graphml"),
    "alignment-json": Reader(_read_alignment, _written(io.write_alignment, _alignment(), "a.json"), ".json"),
    "aln": Reader(
        _read_alignment, _written(io.write_alignment, _alignment(), "a.aln", series=_SERIES), ".aln",
        "sidecars/**/*.aln",
    ),
    "aln-local": Reader(_read_local, _texts(_ALN_LOCAL), ".aln", "sidecars/**/*.aln"),
    "star": Reader(_read_alignment, _written(io.write_alignment, _alignment(), "a.star", series=_SERIES), ".star"),
    "warp": Reader(
        _read_alignment, _written(io.write_alignment, _alignment(), "a.xml", series=_SERIES), ".xml", "sidecars/warp/*"
    ),
    "xf": Reader(io.read_transforms, _texts("0.98 -0.2 0.19 0.97 3.0 -4.0\n1 0 0 1 0 0\n"), ".xf", "beads_BBa/*.xf"),
    "angles": Reader(io.read_angle_file, _texts("-3.0\n0\n3e0\n"), ".rawtlt", "sidecars/**/*.rawtlt"),
    "views": Reader(io.read_views, _texts("-3 3 2.5\n0 1 2.0\n3 2 2.25\n", _MDOC), ".txt", "sidecars/**/*.tlt"),
    "mdoc": Reader(io.read_mdoc, _texts(_MDOC), ".mdoc", "sidecars/**/*.mdoc"),
    "command": Reader(io.read_command_file, _texts(_COM), ".com", "sidecars/**/*.com"),
    "log": Reader(io.read_alignment_log, _texts(_LOG), ".log", "sidecars/**/*.log"),
    "model": Reader(io.read_contours, _model, ".mod", "sidecars/**/*.mod"),
    "tracks": Reader(
        lambda path: io.read_tracks(path, pixel_size_nm=1.0), _texts(_RESID), ".resid", "beads_BBa/*.resid"
    ),
    "points": Reader(
        lambda path: io.read_point_positions(path, pixel_size_nm=1.0),
        _texts("1 2.5 3.5 4.5 1 1\n2 3.5 4.5 5.5 1 2\n"), ".xyz", "beads_BBa/*.xyz",
    ),
    "local": Reader(lambda path: io.read_local_transforms(path, 2, pixel_size_nm=1.0), _texts(_LOCAL), ".xf"),
    "surface": Reader(
        io.read_surface, lambda: [*_written(io.write_surface, _SURFACE, "a.ply")(), _PLY_TEXT.encode()], ".ply"
    ),
    "inspect": Reader(
        io.inspect, lambda: [*_written(io.write_tilt_series, _SERIES, "a.mrc")(), *_tiffs(), *_amira()]
    ),
}  # fmt: skip


def seeds_of(reader: Reader) -> list[bytes]:
    """Files to begin with: those made here, and real ones of moderate size."""
    found = reader.seeds()
    if reader.real and _REAL.is_dir():
        paths = sorted(path for path in _REAL.glob(reader.real) if path.is_file())
        found += [path.read_bytes() for path in paths if path.stat().st_size <= _LARGEST_REAL][:10]
    return found


def place_for(reader: Reader, folder: Path) -> tuple[Path, Path]:
    """What the reader is given, and the file that is changed: one and the same, but for a reader of folders."""
    path = folder / f"input{reader.ending}"
    if not reader.within:
        return path, path
    if reader.store is not None:
        reader.store(path)
    else:
        io.write_volume(
            _VOLUME, path, ome_zarr="0.4" if reader.within == ".zattrs" else "0.5", overwrite=True
        )
    return path, path / reader.within
