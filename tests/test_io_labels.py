"""Labels of other programs: recognised by content, with their names, on the grid of their volume."""

import bz2
import gzip
import json
import zlib

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tomo3d import FormatError, Labels, TiltSeries, Volume
from tomo3d.io import (
    read_labels,
    read_tilt_series,
    read_volume,
    write_labels,
    write_tilt_series,
    write_volume,
)

DATA = (np.arange(2 * 3 * 4).reshape(2, 3, 4) % 5).astype("u1")  # no two axes alike, no symmetry
VOXEL_NM, ORIGIN_NM = (3.25, 1.5, 0.7), (-7.125, 0.5, 12.25)
NAMES = {0: "pore", 1: "film; thin", 3: "탄소"}
MATERIALS = {0: "Exterior", 1: "Film", 2: "Carbon_black"}


def rle(values):
    """HxByteRLE: literal bytes and runs, as far apart as they come."""
    out, i = bytearray(), 0
    while i < len(values):
        run = 1
        while run < 127 and values[i : i + run + 1] == values[i : i + 1] * (run + 1):
            run += 1
        if run > 1:
            out += bytes([run, values[i]])
        else:
            out += bytes([129, values[i]])
        i += run
    return bytes(out)


def amira(
    data=DATA,
    first="BINARY-LITTLE-ENDIAN 2.1",
    kind="byte",
    coding="",
    unit='    Units { Coordinates "nm" }\n',
):
    n_z, n_y, n_x = data.shape
    box = " ".join(
        f"{start} {start + (n - 1) * size}"
        for start, size, n in zip(ORIGIN_NM[::-1], VOXEL_NM[::-1], (n_x, n_y, n_z), strict=True)
    )
    if "ASCII" in first:
        body = " ".join(map(str, data.ravel())).encode()
    else:
        order = "<" if "LITTLE" in first else ">"
        body = data.astype(data.dtype.newbyteorder(order)).tobytes()
    if coding == "HxByteRLE":
        body = rle(body)
    elif coding == "HxZip":
        body = zlib.compress(body)
    stored = f"({coding},{len(body)})" if coding else ""
    return (
        (
            f"# AmiraMesh {first}\n\n\ndefine Lattice {n_x} {n_y} {n_z}\n\nParameters {{\n"
            '    Colormap "labels, of {all}",\n'
            "    Materials {\n        Exterior {\n            Id 1\n        }\n"
            "        Film {\n            Color 0.64 0 0.8,\n            Id 2\n        }\n"
            f'        "Carbon_black" {{ Color 1 0 0, Id 3 }}\n    }}\n{unit}'
            f'    Content "{n_x}x{n_y}x{n_z} {kind}, uniform coordinates",\n    BoundingBox {box},\n'
            f'    CoordType "uniform"\n}}\n\nLattice {{ {kind} Labels }} @1{stored}\n\n# Data section follows\n@1\n'
        ).encode()
        + body
        + b"\n"
    )


def nrrd(data=DATA, encoding="raw", **changes):
    n_z, n_y, n_x = data.shape
    fields = {
        "type": {"u1": "unsigned char", "i2": "short", "i4": "int"}[data.dtype.str[1:]],
        "dimension": "3", "space": "left-posterior-superior", "sizes": f"{n_x} {n_y} {n_z}",
        "space directions": "(0.7,0,0) (0,1.5,0) (0,0,3.25)", "kinds": "domain domain domain",
        "endian": "little", "encoding": encoding, "space origin": "(12.25,0.5,-7.125)",
        "space units": '"nm" "nm" "nm"',
    } | changes  # fmt: skip
    pack = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}
    if encoding == "ascii":
        body = " ".join(map(str, data.ravel())).encode()
    else:
        order = "<" if fields["endian"] == "little" else ">"
        body = pack[encoding](data.astype(data.dtype.newbyteorder(order)).tobytes())
    head = "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)
    keys = (
        "Segment0_Name:=film\nSegment0_LabelValue:=1\nSegment1_LabelValue:=3\nSegment1_Name:=carbon black\n"
    )
    return (
        b"NRRD0004\n# Complete NRRD file format specification at:\n" + (head + keys).encode() + b"\n" + body
    )


def check_grid(labels):
    np.testing.assert_allclose(labels.voxel_size_nm, VOXEL_NM)
    np.testing.assert_allclose(labels.origin_nm, ORIGIN_NM)


@pytest.mark.parametrize("name", ["l.mrc", "l.tif", "l.ome.tif", "l.nrrd", "l.zarr"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_we_write_comes_back_with_names_and_size(tmp_path, name, version):
    write_labels(Labels(DATA, VOXEL_NM, ORIGIN_NM, names=NAMES), tmp_path / name, ome_zarr=version)
    (tmp_path / name).rename(tmp_path / "anything")  # known by its content
    back = read_labels(tmp_path / "anything")
    np.testing.assert_array_equal(back.data, DATA)
    assert back.names == NAMES
    np.testing.assert_allclose(back.voxel_size_nm, VOXEL_NM, rtol=1e-6)
    if not name.endswith(".tif"):  # which has no place for it
        np.testing.assert_allclose(back.origin_nm, ORIGIN_NM, rtol=1e-6)


@pytest.mark.parametrize("name", ["v.mrc", "v.tif", "v.ome.tif", "v.nrrd", "v.zarr"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "f4"])
def test_volumes_come_back_from_every_format(tmp_path, name, dtype):
    data = (np.arange(5 * 6 * 7).reshape(5, 6, 7) % 100).astype(dtype)
    write_volume(Volume(data, VOXEL_NM), tmp_path / name)
    back = read_volume(tmp_path / name)
    np.testing.assert_array_equal(back.data, data)
    np.testing.assert_allclose(back.voxel_size_nm, VOXEL_NM, rtol=1e-6)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_series_comes_back_from_ome_zarr(tmp_path, version):
    use = np.array([True, False, True])
    images = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype("i2")
    write_tilt_series(
        TiltSeries(images, [-60.1, 3, 60], 0.336, -84.25, use), tmp_path / "t.zarr", ome_zarr=version
    )
    back = read_tilt_series(tmp_path / "t.zarr")
    np.testing.assert_array_equal(back.images, images)
    np.testing.assert_array_equal(back.used, use)
    assert back.tilt_angles_deg.tolist() == [-60.1, 3, 60]
    assert (back.pixel_size_nm, back.tilt_axis_deg) == (0.336, -84.25)


@pytest.mark.parametrize(
    ("first", "kind", "dtype", "coding"),
    [
        ("ASCII 1.0", "byte", "u1", ""),
        ("3D ASCII 2.0", "short", "i2", ""),
        ("BINARY-LITTLE-ENDIAN 2.1", "byte", "u1", ""),
        ("BINARY-LITTLE-ENDIAN 2.1", "byte", "u1", "HxByteRLE"),
        ("BINARY-LITTLE-ENDIAN 2.1", "byte", "u1", "HxZip"),
        ("BINARY-LITTLE-ENDIAN 2.1", "ushort", "u2", ""),
        ("BINARY 2.0", "short", "i2", ""),
        ("BINARY 2.0", "int", "i4", "HxZip"),
        ("BINARY-LITTLE-ENDIAN 3.0", "float", "f4", ""),
    ],
)
def test_amiramesh_gives_labels_materials_and_box(tmp_path, first, kind, dtype, coding):
    (tmp_path / "a.am").write_bytes(amira(DATA.astype(dtype), first, kind, coding))
    back = read_labels(tmp_path / "a.am")
    np.testing.assert_array_equal(back.data, DATA)
    assert back.names == MATERIALS
    check_grid(back)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 300)), min_size=1, max_size=20))
def test_any_runs_come_back_from_amiramesh(tmp_path_factory, runs):
    data = np.concatenate([np.full(n, value, "u1") for value, n in runs])[None, None]
    path = tmp_path_factory.mktemp("any") / "a.am"
    path.write_bytes(amira(data, coding="HxByteRLE"))
    np.testing.assert_array_equal(read_labels(path, voxel_size_nm=1.0).data, data)


def test_amiramesh_without_a_unit_has_no_size(tmp_path):
    (tmp_path / "a.am").write_bytes(amira(unit=""))
    with pytest.raises(FormatError, match="has no voxel size in its header: pass voxel_size_nm"):
        read_labels(tmp_path / "a.am")
    assert read_labels(tmp_path / "a.am", voxel_size_nm=2.0).voxel_size_nm == (2, 2, 2)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize(("dtype", "endian"), [("u1", "little"), ("i2", "big"), ("i4", "little")])
def test_nrrd_gives_labels_segments_and_directions(tmp_path, encoding, dtype, endian):
    (tmp_path / "a").write_bytes(nrrd(DATA.astype(dtype), encoding, endian=endian))
    back = read_labels(tmp_path / "a")
    np.testing.assert_array_equal(back.data, DATA)
    assert back.names == {1: "film", 3: "carbon black"}
    check_grid(back)


def test_a_turned_axis_of_an_nrrd_is_turned_back(tmp_path):
    directions = "(-0.7,0,0) (0,1.5,0) (0,0,3.25)"
    (tmp_path / "a").write_bytes(
        nrrd(DATA[:, :, ::-1], **{"space directions": directions, "space origin": "(14.35,0.5,-7.125)"})
    )
    back = read_labels(tmp_path / "a")  # 12.25 nm + 3 steps of 0.7
    np.testing.assert_array_equal(back.data, DATA)
    check_grid(back)


def test_spacings_in_other_units_become_nm(tmp_path):
    fields = {"space": None, "space directions": None, "space origin": None, "space units": None}
    (tmp_path / "a").write_bytes(nrrd(spacings="0.0007 0.0015 0.00325", units='"um" "um" "um"', **fields))
    np.testing.assert_allclose(read_labels(tmp_path / "a").voxel_size_nm, VOXEL_NM)


@pytest.mark.parametrize("axes", ["zyxc", "tczyx", "xyzc", "cyxz"])
def test_ilastik_exports_are_read_with_their_volume_beside(tmp_path, axes):
    present = [axis for axis in axes if axis in "zyx"]
    data = (DATA + 1).transpose(["zyx".index(axis) for axis in present])
    data = data.reshape([1 if axis not in "zyx" else DATA.shape["zyx".index(axis)] for axis in axes])
    with h5py.File(tmp_path / "Simple Segmentation.h5", "w") as file:
        stored = file.create_dataset("exported_data", data=data, chunks=True, compression="gzip")
        tags = [{"key": axis, "typeFlags": 2, "resolution": 0, "description": ""} for axis in axes]
        stored.attrs["axistags"] = json.dumps({"axes": tags})
    write_volume(Volume(np.ones(DATA.shape, "f4"), VOXEL_NM, ORIGIN_NM), tmp_path / "v.mrc")
    with pytest.raises(FormatError, match="pass voxel_size_nm"):
        read_labels(tmp_path / "Simple Segmentation.h5")
    back = read_labels(tmp_path / "Simple Segmentation.h5", like=tmp_path / "v.mrc")
    np.testing.assert_array_equal(back.data, DATA + 1)  # ilastik counts its classes from 1
    np.testing.assert_allclose(back.origin_nm, ORIGIN_NM, rtol=1e-6)
    assert back.record["voxel_size_nm"] == "v.mrc: cell of the header"


@pytest.mark.parametrize("kind", ["npy", "tif", "zarr"])
def test_napari_layers_are_read(tmp_path, kind):
    """napari saves labels as TIFF or NumPy, its plugins as Zarr, without a voxel size."""
    path = tmp_path / f"Labels.{kind}"
    if kind == "npy":
        np.save(path, DATA.astype("i8"))
    elif kind == "tif":
        tifffile.imwrite(path, DATA[:, ::-1], photometric="minisblack", compression="zlib")
    else:
        zarr.create_array(str(path), data=DATA)
    back = read_labels(path, voxel_size_nm=VOXEL_NM)
    np.testing.assert_array_equal(back.data, DATA)
    assert back.voxel_size_nm == VOXEL_NM


def test_labels_must_fit_the_volume_that_they_are_of(tmp_path):
    write_labels(Labels(DATA, VOXEL_NM), tmp_path / "l.mrc")
    write_volume(Volume(np.ones(DATA.shape, "f4"), (3.25, 1.5, 0.8)), tmp_path / "other.mrc")
    with pytest.raises(
        FormatError,
        match=r"must have the voxels of .*other.mrc, 3.25 x 1.5 x 0.8 nm .* says 3.25 x 1.5 x 0.7 nm",
    ):
        read_labels(tmp_path / "l.mrc", like=tmp_path / "other.mrc")
    write_volume(Volume(np.ones((2, 3, 5), "f4"), VOXEL_NM), tmp_path / "longer.mrc")
    with pytest.raises(
        FormatError, match=r"must have the shape of .*longer.mrc, \(2, 3, 5\) .*got \(2, 3, 4\)"
    ):
        read_labels(tmp_path / "l.mrc", like=tmp_path / "longer.mrc")


def test_a_grey_volume_is_no_labels(tmp_path):
    write_volume(Volume(DATA + np.float32(0.5), VOXEL_NM), tmp_path / "v.nrrd")
    with pytest.raises(FormatError, match=r"must hold whole numbers to be labels, got 0.5: segment it first"):
        read_labels(tmp_path / "v.nrrd")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (amira()[:450], "ends where its values begin"),
        (amira()[:-20], "cut short or damaged"),
        (amira(coding="HxZip")[:-20], "AmiraMesh file|cut short"),
        (amira(coding="HxByteRLE")[:-10], "cut short or damaged"),
        (amira().replace(b"Lattice 4 3 2", b"Lattice 4 3 0"), "must hold a lattice of values"),
        (amira().replace(b"Lattice 4 3 2", b"Lattice 90000 90000 90000"), "cut short or damaged"),
        (amira().replace(b"byte Labels", b"complex Labels"), "one number per point"),
        (amira().replace(b"@1\n\n#", b"@1(HxNew,3)\n\n#"), "must be stored raw, HxByteRLE or HxZip"),
        (amira().replace(b"Id 1", b"Id 1 {" * 30), "nested less than"),
        (nrrd()[:100], "header that ends with an empty line"),
        (nrrd()[:-3], "announces, but has 21 of them"),
        (nrrd(encoding="gzip")[:-12], "NRRD file"),
        (nrrd(sizes="4 3"), "one stack of images|cut short|shape"),
        (nrrd(sizes="4 3 2000000000"), "cut short"),
        (nrrd(sizes="4 3 0"), "stack of images"),
        (nrrd(type="block"), "must hold numbers"),
        (nrrd(encoding="raw", endian="middle", type="short", sizes="4 3 1"), "little or big"),
        (nrrd(encoding="raw").replace(b"encoding: raw", b"encoding: hex"), "raw, gzip, bzip2 or text"),
        (nrrd(**{"data file": "/etc/passwd"}), "names another file"),
        (nrrd(**{"space directions": "(0.7,0.1,0) (0,1.5,0) (0,0,3.25)"}), "along x, y and z"),
        (nrrd(encoding="ascii").replace(b" 2 ", b" x "), "NRRD file"),
    ],
)
def test_damaged_labels_are_refused_in_one_sentence(tmp_path, content, sentence):
    (tmp_path / "l").write_bytes(content)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "l")
