"""Files that are damaged, lie, or mean harm, given to commands: one sentence, status 2, no traceback, little memory."""

import gzip
import io as streams
import json
import os
import re
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from mrc_bytes import mrc_bytes, ramp

from tomo3d import TiltSeries, io
from tomo3d.cli import main as entry

LARGEST_BYTES = 200 << 20
VIEWS = ramp((3, 4, 5))
BIN = ("preprocess", "bin-views", "bad.mrc", "out.mrc", "--factor", "2", "--pixel-size-nm", "1")
TILTS = (*BIN, "--angles", "bad.tlt")
VOLUME = ("io", "convert", "bad", "out.zarr", "--kind", "volume")
LABELS = ("io", "convert", "bad", "out.zarr", "--kind", "labels")
TABLE = ("io", "convert", "bad", "out.csv", "--kind", "table")
ALIGNMENT = ("io", "convert", "bad", "out.json", "--pixel-size-nm", "1")
INFO = ("info", "bad")
ANGLES = "-3\n0\n3\n"
MDOC = "PixelSpacing = 10\n\n" + "".join(
    f"[ZValue = {z}]\nTiltAngle = {angle}\nSubFramePath = D:\\f\\a_{z}.mrc\nDateTime = 30-Nov-15  15:2{z}:00\n\n"
    for z, angle in enumerate((-3, 0, 3))
)
STAR = "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesPixelSize #2\nTS_01 10.0\n\ndata_TS_01\n\nloop_\n"
NRRD = b'NRRD0004\ntype: uint8\ndimension: 3\nsizes: 5 4 3\nspacings: 1 1 1\nunits: "nm" "nm" "nm"\nencoding: raw\n\n'
AMIRA = (
    b'# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\ndefine Lattice 5 4 3\nParameters {\n Units { Coordinates "nm" }\n'
    b" BoundingBox 0 4 0 3 0 2\n}\nLattice { byte Labels } @1\n\n@1\n"
)
WARP = '<?xml version="1.0"?>\n<TiltSeries>\n<Angles>-3\n0\n3</Angles>\n</TiltSeries>\n'


def series(**changes):
    """Three views as an MRC that has everything but angles."""
    return {"bad.mrc": mrc_bytes(VIEWS, **changes), "bad.tlt": ANGLES}


def volume(**changes):
    return {"bad": mrc_bytes(VIEWS, **changes)}


def at(content, offset, kinds, *values):
    content = bytearray(content)
    struct.pack_into(kinds, content, offset, *values)
    return bytes(content)


def with_nan(dtype="f4"):
    values = VIEWS.astype(dtype)
    values[1, 2, 3] = np.nan
    return mrc_bytes(values, statistics=(0.0, 1.0, 0.5))


def bomb(start=b""):
    """2 GiB of zeros in 130 kB of gzip, behind a beginning."""
    return gzip.compress(start) + 32 * gzip.compress(bytes(1 << 26), 9)


def tiff(**options):
    stream = streams.BytesIO()
    tifffile.imwrite(stream, VIEWS.astype("u2"), photometric="minisblack", **options)
    return stream.getvalue()


def endless_tiff():
    """A page whose next page is itself."""
    content = tiff(metadata=None)
    place = struct.unpack_from("<I", content, 4)[0]
    n_entries = struct.unpack_from("<H", content, place)[0]
    return at(content, place + 2 + 12 * n_entries, "<I", place)


def tiff_tag(code, value, kind=4, **options):
    """A TIFF one of whose tags has another value, of this type (4 is unsigned, 9 signed)."""
    content = tiff(**options)
    place = struct.unpack_from("<I", content, 4)[0]
    for i in range(struct.unpack_from("<H", content, place)[0]):
        entry_place = place + 2 + 12 * i
        if struct.unpack_from("<H", content, entry_place)[0] == code:
            return at(content, entry_place + 2, "<HII", kind, 1, value)
    raise AssertionError(code)


def ome(text):
    return tiff(description=text, metadata=None)


def hdf5(make):
    stream = streams.BytesIO()
    with h5py.File(stream, "w") as file:
        make(file)
    return stream.getvalue()


def npy(head, body=b""):
    text = head.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body


def zarr(**changes):
    """An array of 3 x 4 x 5, uncompressed; `changes` overrules any field of its metadata."""
    fields = {
        "zarr_format": 3, "node_type": "array", "shape": [3, 4, 5], "data_type": "uint8", "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 4, 5]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes"}], "attributes": {},
    } | changes  # fmt: skip
    return {"bad/zarr.json": json.dumps(fields), "bad/c/0/0/0": bytes(60)}


def multiscale(path):
    ome = {"version": "0.5", "multiscales": [{"axes": [], "datasets": [{"path": path}]}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    return {"bad/zarr.json": json.dumps(group)}


def aln(n=3, angle="0.00", columns=10):
    rows = "".join(
        " ".join(f"{i} 85.0 1.0 1.0 2.0 1.0 1.0 1.0 0.0 {angle}".split()[:columns]) + "\n" for i in range(n)
    )
    return {"bad": "# AreTomo Alignment / Priims bprmMn\n# RawSize = 5 4 3\n# NumPatches = 0\n" + rows}


def alignment(**changes):
    """One of our own, with a field that is another."""
    fields = {
        "format": "tomo3d alignment", "version": 1, "written_by": "x", "shifts_nm": [[0.0, 0.0]] * 3,
        "tilt_axis_deg": [0.0] * 3, "tilt_angles_deg": [-3.0, 0.0, 3.0], "magnification": [1.0] * 3,
        "residual_nm": 0.5, "reliable": [True] * 3, "evidence": {},
    } | changes  # fmt: skip
    return {"bad": json.dumps(fields)}


def model(n_points=3):
    """One contour, as IMOD writes it."""
    contour = b"CONT" + struct.pack(">iIii", n_points, 0, 0, 0) + np.arange(9, dtype=">f4").tobytes()
    return b"".join([b"IMODV1.2", bytes(232), b"OBJT", bytes(176), contour, b"IEOF"])


CASES = {
    # MRC: what the header says of the file
    "an empty file": ({"bad": b""}, VOLUME, "not a whole MRC file"),
    "a header alone": ({"bad": mrc_bytes(VIEWS)[:1024]}, VOLUME, "cut short"),
    "half a header": ({"bad": mrc_bytes(VIEWS)[:500]}, VOLUME, "got 500 bytes"),
    "values cut short": ({"bad": mrc_bytes(VIEWS)[:-1]}, VOLUME, "cut short"),
    "noise": ({"bad": bytes(range(256)) * 8}, VOLUME, "not an MRC file|make no sense"),
    "text in place of images": ({"bad": "hello\n" * 300}, VOLUME, "not an MRC file|make no sense"),
    "10^12 voxels": (volume(n=(10_000, 10_000, 10_000)), VOLUME, "10000 x 10000 x 10000"),
    "2^93 voxels": (volume(n=(2**31 - 1,) * 3), VOLUME, "cut short"),
    "sizes of zero": (volume(n=(5, 0, 3)), VOLUME, "at least one column, row and section"),
    "sizes below zero": (volume(n=(-5, 4, 3)), VOLUME, "at least one column, row and section"),
    "an extended header of 2^31 bytes": (volume(n_extended=2**31 - 1), VOLUME, "extended header of 2,147,483,647"),
    "an extended header below zero": (volume(n_extended=-1024), VOLUME, "extended header of -1,024"),
    "an unknown mode": (volume(mode=77), VOLUME, "mode 77"),
    "complex values": (volume(mode=4, n=(2, 4, 3)), VOLUME, "complex|real values"),
    "one axis twice": (volume(axes=(1, 1, 3)), VOLUME, "order its axes by 1, 2 and 3"),
    "axes of a map as views": (series(axes=(3, 2, 1)), TILTS, "looks like a volume, not a tilt series"),
    "a cell of 0": (volume(cell=(0.0, 0.0, 0.0)), VOLUME, "pass voxel_size_nm|--pixel-size-nm"),
    "a cell that is nan": (volume(cell=(np.nan,) * 3), VOLUME, "pass voxel_size_nm"),
    "no intervals": (volume(m=(0, 0, 0)), VOLUME, "pass voxel_size_nm"),
    "one interval for many slices": (volume(m=(5, 4, 1), cell=(50.0, 40.0, 900.0)), VOLUME, "not believed. Pass"),
    "an origin that is nan": (volume(origin=(np.nan, 0.0, 0.0)), VOLUME, "finite origin"),
    "values that are nan": ({"bad": with_nan()}, VOLUME, "finite.* got 1 that are not|got 1 that are nan"),
    "views with values that are nan": ({"bad.mrc": with_nan(), "bad.tlt": ANGLES}, TILTS, "the first in view 1"),
    "grey values as labels": ({"bad": mrc_bytes(VIEWS + np.float32(0.5))}, LABELS, "whole numbers to be labels"),
    # packed files
    "a gzip bomb": ({"bad": bomb()}, VOLUME, "MRC file|unpack"),
    "a gzip bomb behind a good header": (
        {"bad": bomb(mrc_bytes(VIEWS, n=(1000, 1000, 2000), mode=0)[:1024])}, VOLUME, "unpack it first",
    ),
    "gzip cut short": ({"bad": gzip.compress(mrc_bytes(VIEWS))[:-30]}, VOLUME, "gzip file|cut short"),
    "gzip of noise": ({"bad": b"\x1f\x8b" + bytes(range(200))}, VOLUME, "gzip file"),
    "bzip2 of noise": ({"bad": b"BZh9" + bytes(range(200))}, VOLUME, "bzip2 file"),
    # angles and what lies beside
    "no angles": ({"bad.mrc": mrc_bytes(VIEWS)}, BIN, "must come with its tilt angles"),
    "too few angles": ({**series(), "bad.tlt": "-3\n0\n"}, TILTS, "3.*got 2|2.*3"),
    "too many angles": ({**series(), "bad.tlt": "1\n" * 4}, TILTS, "3.*got 4|4.*3"),
    "angles in radians": (
        {"bad.mrc": mrc_bytes(ramp((41, 4, 5))), "bad.tlt": "".join(f"{i / 20 - 1:.4f}\n" for i in range(41))},
        TILTS, "radians",
    ),
    "an angle of 1e27": ({**series(), "bad.tlt": "-3\n1e27\n3\n"}, TILTS, r"1e\+27"),
    "an angle that is nan": ({**series(), "bad.tlt": "-3\nnan\n3\n"}, TILTS, "line 2|finite|nan"),
    "an angle in words": ({**series(), "bad.tlt": "-3\nthree\n3\n"}, TILTS, "line 2"),
    "angles in UTF-16": ({**series(), "bad.tlt": ANGLES.encode("utf-16")}, TILTS, "bad.tlt"),
    "a line of 10 MB": ({**series(), "bad.tlt": "1" * 10_000_000}, TILTS, "bad.tlt"),
    "a section twice in an mdoc": (
        {"bad.mrc": mrc_bytes(VIEWS), "bad.mrc.mdoc": MDOC + "[ZValue = 1]\nTiltAngle = 9\n"}, BIN, "twice",
    ),
    "an mdoc that is nan": (
        {"bad.mrc": mrc_bytes(VIEWS), "bad.mrc.mdoc": MDOC.replace("TiltAngle = 0", "TiltAngle = nan")}, BIN, "mdoc",
    ),
    "an mdoc of other angles": (
        {**series(), "bad.mrc.mdoc": MDOC.replace("TiltAngle = 3", "TiltAngle = 5")}, TILTS[:-2], "5|3",
    ),
    # TIFF
    "a TIFF of a header alone": ({"bad": tiff()[:8]}, VOLUME, "TIFF file"),
    "a TIFF cut short": ({"bad": tiff(metadata=None)[:-20]}, VOLUME, "TIFF file|cut short"),
    "a TIFF without end": ({"bad": endless_tiff()}, VOLUME, "without end"),
    "a TIFF of 2^32 columns": ({"bad": tiff_tag(256, 2**32 - 1, metadata=None)}, VOLUME, "one size|announces"),
    "a TIFF whose values begin before it": ({"bad": tiff_tag(273, 2**32 - 64, 9)}, VOLUME, "has 0 of them"),
    "a TIFF in colours": (
        {"bad": (lambda s: (tifffile.imwrite(s, np.zeros((4, 5, 3), "u1"), photometric="rgb"), s.getvalue())[1])(
            streams.BytesIO())}, VOLUME, "one number per pixel",
    ),
    "an entity bomb in OME-XML": (
        {"bad": ome('<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><OME><Image>&c;</Image></OME>')}, VOLUME,
        "pass voxel_size_nm|TIFF file|entit",
    ),
    # HDF5, NumPy, Zarr, NRRD, AmiraMesh
    "HDF5 cut short": ({"bad": hdf5(lambda f: f.create_dataset("data", data=VIEWS))[:1500]}, VOLUME, "HDF5 file"),
    "HDF5 without images": ({"bad": hdf5(lambda f: f.create_group("a"))}, VOLUME, "one data set of images, got 0"),
    "HDF5 with two volumes": (
        {"bad": hdf5(lambda f: [f.create_dataset(name, data=VIEWS) for name in ("a", "b")])}, VOLUME,
        "one data set of images, got 2 .*name one",
    ),
    "HDF5 of 10^12 values that were never written": (
        {"bad": hdf5(lambda f: f.create_dataset("data", (10_000,) * 3, "f4", chunks=(100,) * 3))}, VOLUME,
        "stores 0 bytes|never filled",
    ),
    "HDF5 whose values lie elsewhere": (
        {"bad": hdf5(lambda f: f.create_dataset("data", (3, 4, 5), "u1", external=[("/etc/passwd", 0, 60)]))}, VOLUME,
        "not followed",
    ),
    "NumPy that runs code": (
        {"bad": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 4, 5)}")}, VOLUME, "bad",
    ),
    "NumPy of 10^12 values": (
        {"bad": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000, 10000, 10000)}")}, VOLUME, "bad",
    ),
    "NumPy with a header that is no table": ({"bad": npy("__import__('os').abort()")}, VOLUME, "bad"),
    "Zarr of 10^12 voxels": (zarr(shape=[10_000] * 3), VOLUME, "announces|never filled"),
    "Zarr of chunks of 10^12 voxels": (
        zarr(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [10_000] * 3}}), VOLUME, "announces",
    ),
    "Zarr with a size below zero": (zarr(shape=[-3, 4, 5]), VOLUME, "at least one element"),
    "Zarr of an unknown codec": (zarr(codecs=[{"name": "magic"}]), (*VOLUME, "--pixel-size-nm", "1"), "Zarr store"),
    "Zarr with metadata that is no JSON": ({"bad/zarr.json": "{"}, VOLUME, "Zarr store"),
    "Zarr whose level climbs out": (multiscale("../../other"), VOLUME, "which is not followed"),
    "NRRD cut short": ({"bad": NRRD + bytes(59)}, LABELS, "has 59 of them"),
    "NRRD of 10^12 voxels": ({"bad": NRRD.replace(b"5 4 3", b"10000 10000 10000") + bytes(60)}, LABELS, "cut short"),
    "NRRD that names another file": (
        {"bad": NRRD.replace(b"encoding", b"data file: /etc/passwd\nencoding") + bytes(60)}, LABELS, "another file",
    ),
    "an NRRD bomb": (
        {"bad": NRRD.replace(b"5 4 3", b"2000 2000 2000").replace(b"raw", b"gzip") + zlib.compress(bytes(1 << 20))},
        LABELS, "announces",
    ),
    "AmiraMesh cut short": ({"bad": AMIRA + bytes(50)}, LABELS, "cut short"),
    "AmiraMesh of 10^12 voxels": ({"bad": AMIRA.replace(b"5 4 3", b"10000 10000 10000")}, LABELS, "cut short"),
    "AmiraMesh of runs that end early": (
        {"bad": AMIRA.replace(b"@1\n\n", b"@1(HxByteRLE,4)\n\n") + bytes([20, 1, 20, 2])}, LABELS, "cut short",
    ),
    # alignments and tables
    "an alignment without shifts": (alignment(shifts_nm=None), ALIGNMENT, "shifts_nm"),
    "an alignment that is nan": (alignment(tilt_angles_deg=[0, "nan", 0]), ALIGNMENT, "tilt_angles_deg"),
    "an alignment of views of different number": (alignment(magnification=[1.0]), ALIGNMENT, "magnification"),
    "JSON that nests without end": ({"bad": '{"a":' * 100_000}, ALIGNMENT, "bad"),
    "an AreTomo file with a column less": (aln(columns=8), ALIGNMENT, "bad"),
    "an AreTomo file of angles of 1e27": (aln(angle="1e27"), ALIGNMENT, "bad|1e"),
    "a star file with a column less": (
        {"bad": STAR + "_rlnTomoXTilt #1\n_rlnTomoYTilt #2\n0.0 -3.0\n0.0 0.0\n"}, ALIGNMENT, "rlnTomo",
    ),
    "a star file with a ragged row": (
        {"bad": STAR + "_rlnTomoXTilt #1\n_rlnTomoYTilt #2\n0.0 -3.0\n0.0\n"}, ALIGNMENT, "bad",
    ),
    "an entity bomb in Warp's XML": (
        {"bad": WARP.replace("<TiltS", '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]>\n<TiltS', 1)},
        ALIGNMENT, "document type nor entities",
    ),
    "XML that is not closed": ({"bad": WARP[:60]}, ALIGNMENT, "bad"),
    "a transform with a number less": ({"bad": "1 0 0 1 0\n" * 3, "bad.tlt": ANGLES}, ALIGNMENT, "bad"),
    "a CSV with a ragged row": ({"bad": "a,b\n1,2\n3\n"}, TABLE, "line 3: must have 2 cells"),
    "a CSV that is not text": ({"bad": b"a,b\n\xff\xfe,2\n"}, TABLE, "not text"),
    "a CSV with one cell of 20 MB": ({"bad": "a\n" + "x" * 20_000_000 + "\n"}, TABLE, "CSV file"),
    "Parquet cut short": ({"bad": b"PAR1" + bytes(100)}, TABLE, "Parquet file"),
    # side files and models
    "an mdoc with a section twice": (
        {"bad": "[ZValue = 0]\nTiltAngle = 1\n[ZValue = 0]\nTiltAngle = 2\n"}, INFO, "is there twice",
    ),
    "an mdoc whose angle is nan": ({"bad": "[ZValue = 0]\nTiltAngle = nan\n"}, INFO, "must hold numbers, got 'nan'"),
    "a model that ends early": ({"bad": model()[:-5]}, INFO, "model of IMOD.*before its last mark|too early"),
    "a model of 2^30 points": ({"bad": model(2**30)}, INFO, "too early"),
    "a model of noise": ({"bad": b"IMODV1.2" + b"\xff" * 100}, INFO, "model of IMOD"),
    "a local alignment of 10^10 patches": (
        {"bad": "100000 100000 20 30 5 7 1 20.2 1\n" + "0 " * 30}, INFO, "1 to 10,000 patches",
    ),
    # what is no file
    "a file that is not there": ({}, VOLUME, "there is no file bad"),
    "a folder that holds nothing": ({"bad/empty": b""}, VOLUME, "is a folder|Zarr"),
    "info of noise": ({"bad": bytes(range(256)) * 8}, INFO, "not an MRC file|make no sense"),
}  # fmt: skip


def write(files):
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def high_water(word="VmHWM"):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(word))
    return int(line.split()[1]) << 10


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory):
    """What is imported late is there before memory is counted."""
    import pyarrow.parquet  # noqa: F401
    import zarr as library  # noqa: F401

    place = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("warm"))
    try:
        io.write_tilt_series(TiltSeries(VIEWS, [-3.0, 0.0, 3.0], 1.0, 0.0), "good.mrc")
        assert entry.main(["preprocess", "bin-views", "good.mrc", "out.mrc", "--factor", "2"]) == 0
        assert entry.main(["io", "convert", "good.mrc", "out.zarr"]) == 0
    finally:
        os.chdir(place)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_in_one_sentence(name, tmp_path, monkeypatch, capsys):
    files, words, sentence = CASES[name]
    monkeypatch.chdir(tmp_path)
    write(files)
    before = sorted(os.listdir(tmp_path))
    is_counted = os.access("/proc/self/clear_refs", os.W_OK)
    if is_counted:
        Path("/proc/self/clear_refs").write_text("5")  # the high water mark starts from here
        held = high_water("VmRSS")
    status = entry.main(list(words))
    used = high_water() - held if is_counted else 0
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if not line.startswith("tomo3d: warning:")]
    assert status == 2, said
    assert len(lines) == 1, said
    assert re.search(sentence, lines[0]), said
    assert "Traceback" not in said
    assert len(lines[0]) < 1000
    assert sorted(os.listdir(tmp_path)) == before
    assert used <= LARGEST_BYTES


def test_the_table_is_long_enough():
    assert len(CASES) >= 60
