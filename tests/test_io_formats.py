"""Volumes, labels, series, surfaces and tables in other programs' formats, read back by other libraries."""

import builtins
import gzip
import json
import struct
import tracemalloc

import mrcfile
import numpy as np
import pandas as pd
import pytest
import pyvista
import tifffile
import zarr

from tomo3d import FormatError, Labels, Surface, TiltSeries, Volume
from tomo3d.io import (
    new_zarr_volume,
    read_surface,
    read_table,
    read_tilt_series,
    write_labels,
    write_surface,
    write_table,
    write_tilt_series,
    write_volume,
)

VOXEL_NM, ORIGIN_NM = (3.25, 1.5, 0.7), (-7.125, 0.0, 12.25)
SHAPES = [(1, 1, 1), (3, 4, 5), (4, 3, 2), (1, 6, 7)]
TYPES = ["?", "i1", "u1", "i2", "u2", "i4", "f4", ">f4"]
NAMES = {0: "pore", 1: "film; thin", 3: "탄소"}


def values(shape, dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
    array.flags.writeable = False
    return array


def from_nrrd(path):
    """Fields, keys and values (z, y, x), by the text of the format alone."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    lines = head.decode().splitlines()
    assert lines[0] == "NRRD0005"
    keys = dict(line.split(":=", 1) for line in lines if ":=" in line)
    fields = dict(
        line.split(": ", 1) for line in lines[1:] if ": " in line and ":=" not in line and line[0] != "#"
    )
    kind = {"float": "<f4", "uint8": "u1", "int8": "i1", "int16": "<i2", "uint16": "<u2", "int32": "<i4"}
    body = gzip.decompress(body) if fields["encoding"] == "gzip" else body
    shape = tuple(int(n) for n in reversed(fields["sizes"].split()))
    return fields, keys, np.frombuffer(body, kind[fields["type"]]).reshape(shape)


@pytest.mark.parametrize("name", ["v.tif", "v.ome.tif"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TYPES)
def test_the_top_row_of_a_tiff_is_the_last_row_of_the_volume(tmp_path, name, shape, dtype):
    volume = Volume(values(shape, dtype), VOXEL_NM, ORIGIN_NM)
    write_volume(volume, tmp_path / name)
    with tifffile.TiffFile(tmp_path / name) as tiff:
        np.testing.assert_array_equal(tiff.asarray().reshape(shape)[:, ::-1], volume.data)
        is_imagej = name == "v.tif" and dtype not in ("i1", "i4")  # ImageJ knows neither
        assert (tiff.is_imagej, tiff.is_ome) == (is_imagej, not is_imagej)
        across, up = tiff.pages[0].resolution  # per nm or per cm
        unit = 1.0 if is_imagej else 1e7
        assert (unit / across, unit / up) == pytest.approx((0.7, 1.5), rel=1e-6)
        if is_imagej:
            assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["spacing"]) == ("nm", 3.25)
        else:
            for axis, size in zip("ZYX", VOXEL_NM, strict=True):
                assert f'PhysicalSize{axis}="{size}" PhysicalSize{axis}Unit="nm"' in tiff.ome_metadata
        # nothing stands behind what the file needs
        assert (tmp_path / name).stat().st_size < volume.data.nbytes + 4096


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TYPES)
def test_nrrd_holds_values_sizes_and_origin(tmp_path, shape, dtype):
    volume = Volume(values(shape, dtype), VOXEL_NM, ORIGIN_NM)
    write_volume(volume, tmp_path / "v.nrrd")
    fields, _, data = from_nrrd(tmp_path / "v.nrrd")
    np.testing.assert_array_equal(data, volume.data)
    assert fields["space directions"] == "(0.7,0,0) (0,1.5,0) (0,0,3.25)"
    assert fields["space origin"] == "(12.25,0.0,-7.125)"
    assert fields["space units"] == '"nm" "nm" "nm"'


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_levels_of_ome_zarr_are_means_at_their_places(tmp_path, version, dtype):
    shape = (5, 90, 527)  # several blocks along x, odd along all axes
    volume = Volume(values(shape, dtype), VOXEL_NM, ORIGIN_NM)
    write_volume(volume, tmp_path / "v.ome.zarr", ome_zarr=version)
    group = zarr.open_group(tmp_path / "v.ome.zarr", mode="r")
    facts = group.attrs.asdict()
    assert group.metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]
    (multiscale,) = facts["multiscales"] if version == "0.4" else facts["ome"]["multiscales"]
    assert (multiscale if version == "0.4" else facts["ome"])["version"] == version
    assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    assert facts["y_up"] is True
    assert [dataset["path"] for dataset in multiscale["datasets"]] == ["0", "1", "2"]
    np.testing.assert_array_equal(group["0"][:], volume.data)
    # each voxel of a level is the mean of the 2 x 2 x 2 below it (whole numbers are rounded)
    for fine, coarse in (("0", "1"), ("1", "2")):
        below = group[fine][:].astype(float)
        below = np.pad(below, [(0, n % 2) for n in below.shape], mode="edge")
        n_z, n_y, n_x = (n // 2 for n in below.shape)
        means = below.reshape(n_z, 2, n_y, 2, n_x, 2).mean(axis=(1, 3, 5))
        np.testing.assert_allclose(group[coarse][:], means, atol=0.5 if dtype == "u2" else 1e-4)
    # the centre of the first voxel of a level is the mean of the centres of the 2 (4) that it covers
    for level, n in enumerate((1, 2, 4)):
        scale, translation = multiscale["datasets"][level]["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [n * size for size in VOXEL_NM]}
        expected = [start + 0.5 * (n - 1) * size for start, size in zip(ORIGIN_NM, VOXEL_NM, strict=True)]
        assert translation["translation"] == pytest.approx(expected)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_in_ome_zarr_keep_names_and_are_never_averaged(tmp_path, version):
    data = values((3, 70, 530), "u1") % 4
    write_labels(Labels(data, VOXEL_NM, names=NAMES), tmp_path / "l.zarr", ome_zarr=version)
    group = zarr.open_group(tmp_path / "l.zarr", mode="r")
    facts = group.attrs.asdict() if version == "0.4" else group.attrs["ome"]
    assert {p["label-value"]: p["name"] for p in facts["image-label"]["properties"]} == NAMES
    assert [c["label-value"] for c in facts["image-label"]["colors"]] == [1, 3]  # the background stays clear
    np.testing.assert_array_equal(group["0"][:], data)
    np.testing.assert_array_equal(group["1"][:], data[::2, ::2, ::2])
    first = facts["multiscales"][0]["datasets"][1]["coordinateTransformations"][1]
    assert first["translation"] == [0.0, 0.0, 0.0]  # of every second voxel, the first stays where it is


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_series_in_ome_zarr_keeps_angles_axis_and_exclusions(tmp_path, version):
    use = np.array([True, False, True])
    series = TiltSeries(values((3, 20, 300), "i2"), [-60.1, 3.0, 59.9], 3.36, -84.25, use)
    write_tilt_series(series, tmp_path / "t.zarr", ome_zarr=version)
    group = zarr.open_group(tmp_path / "t.zarr", mode="r")
    facts = group.attrs
    assert facts["tilt_angles_deg"] == [-60.1, 3.0, 59.9]
    assert (facts["tilt_axis_deg"], facts["use"]) == (-84.25, use.tolist())
    np.testing.assert_array_equal(group["0"][:], series.images)
    assert group["1"].shape == (3, 10, 150)  # views stay apart


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("l.mrc", lambda path: mrcfile.read(path)),
        ("l.tif", lambda path: tifffile.imread(path)[:, ::-1]),
        ("l.ome.tif", lambda path: tifffile.imread(path)[:, ::-1]),
        ("l.nrrd", lambda path: from_nrrd(path)[2]),
        ("l.zarr", lambda path: zarr.open_group(path, mode="r")["0"][:]),
    ],
)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 256), (0, 65535), (-1, 300)])
def test_labels_are_stored_in_the_narrowest_type(tmp_path, name, read, low, high):
    data = np.zeros((2, 3, 4), "i8")
    data[1, 2, 3], data[0, 0, 0] = high, low
    write_labels(Labels(data, VOXEL_NM, names=NAMES), tmp_path / name)
    back = read(tmp_path / name)
    np.testing.assert_array_equal(back, data)
    assert back.dtype.itemsize == (2 if high > 255 or (high > 127 and name == "l.mrc") else 1)


def test_names_of_classes_stand_where_other_programs_show_them(tmp_path):
    labels = Labels(values((2, 3, 4), "u1"), VOXEL_NM, names=NAMES)
    for name in ("l.tif", "l.ome.tif", "l.nrrd"):
        write_labels(labels, tmp_path / name)
    expected = "0 = pore\n1 = film; thin\n3 = 탄소"
    with tifffile.TiffFile(tmp_path / "l.tif") as tiff:
        assert tiff.imagej_metadata["Info"] == expected  # Image > Show Info in Fiji
    with tifffile.TiffFile(tmp_path / "l.ome.tif") as tiff:
        assert f"<Description>{expected}</Description>" in tiff.ome_metadata
    keys = from_nrrd(tmp_path / "l.nrrd")[1]
    assert (keys["Segment1_Name"], keys["Segment1_LabelValue"]) == ("film; thin", "1")  # as in Slicer


@pytest.mark.parametrize(
    ("dtype", "bad", "sentence"),
    [
        ("int16", 40000.0, "within -32768 to 32767"),
        ("uint16", -1.0, "within 0 to 65535"),
        ("int8", 0.5, "whole numbers to be stored as int8, got 0.5"),
        ("float16", 1e6, "finite as float16"),
    ],
)
@pytest.mark.parametrize("name", ["v.mrc", "v.zarr"])
def test_values_that_a_type_does_not_hold_are_refused(tmp_path, name, dtype, bad, sentence):
    data = np.ones((2, 3, 4))
    write_volume(Volume(data, VOXEL_NM), tmp_path / name, dtype=dtype)
    back = (
        mrcfile.read(tmp_path / name)
        if name == "v.mrc"
        else zarr.open_group(tmp_path / name, mode="r")["0"][:]
    )
    assert back.dtype == dtype
    data[1, 2, 3] = bad
    with pytest.raises(ValueError, match=sentence):
        write_volume(Volume(data, VOXEL_NM), tmp_path / f"bad-{name}", dtype=dtype)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_whole_numbers_beyond_a_half_float_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"within \+-2\^11 to be exact as float16"):
        write_volume(Volume(np.full((1, 1, 2), 2049), VOXEL_NM), tmp_path / "v.mrc", dtype="float16")


@pytest.mark.parametrize("write", [write_volume, write_labels])
def test_an_ending_that_stands_for_nothing_is_refused(tmp_path, write):
    with pytest.raises(ValueError, match=r"one of the endings .mrc, .*.zarr, got 'v.jpg'"):
        write(Labels(values((2, 3, 4), "u1"), VOXEL_NM), tmp_path / "v.jpg")


@pytest.mark.parametrize("name", ["t.tif", "t.ome.tif"])
@pytest.mark.parametrize("axis_deg", [None, -84.25])
def test_a_series_in_tiff_comes_back_and_what_others_do_not_read_is_said(tmp_path, caplog, name, axis_deg):
    use = np.array([True, False, True])
    sources = {"tilt_axis_deg": "unknown: nobody said"} if axis_deg is None else {}
    series = TiltSeries(
        values((3, 5, 7), "i2"), [-60.1, 3.0, 1 / 3], 3.36, axis_deg or 0.0, use, sources=sources
    )
    write_tilt_series(series, tmp_path / name)
    assert "a TIFF has no place for tilt angles, axis and excluded views" in caplog.text
    with tifffile.TiffFile(tmp_path / name) as tiff:  # row 0 is the top of the picture
        np.testing.assert_array_equal(tiff.asarray()[:, ::-1], series.images)
        assert "PhysicalSizeZ" not in (tiff.ome_metadata or "")  # views are not slices
    back = read_tilt_series(tmp_path / name)
    np.testing.assert_array_equal(back.images, series.images)
    np.testing.assert_array_equal(back.tilt_angles_deg, series.tilt_angles_deg)  # to the last bit
    np.testing.assert_array_equal(back.use, use)
    assert back.pixel_size_nm == pytest.approx(3.36)
    assert back.tilt_axis_deg == (axis_deg or 0.0)
    assert back.sources["tilt_axis_deg"].startswith("unknown" if axis_deg is None else "description")


def test_angles_have_no_place_in_nrrd(tmp_path):
    with pytest.raises(ValueError, match=r"as NRRD has no place for its angles"):
        write_tilt_series(TiltSeries(values((2, 3, 4)), [0, 1], 1.0), tmp_path / "t.nrrd")


@pytest.mark.parametrize("name", ["v.tif", "v.ome.tif", "v.nrrd", "v.zarr"])
def test_a_volume_is_written_piece_by_piece(tmp_path, name):
    on_disk = np.memmap(tmp_path / "raw", "f4", "w+", shape=(96, 300, 1100))  # 127 MB
    on_disk[::7] = 1.0
    tracemalloc.start()
    write_volume(Volume(on_disk, VOXEL_NM), tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # a block, its means and chunks on their way; a whole copy would be 127 MB
    assert on_disk.nbytes > 126e6


def test_a_zarr_volume_takes_slabs_in_any_order(tmp_path):
    truth = values((40, 70, 300))
    with new_zarr_volume(tmp_path / "v.zarr", truth.shape, voxel_size_nm=VOXEL_NM) as sink:
        for first in (50, 0, 25):
            sink[:, first : first + 25] = truth[:, first : first + 25]
        assert not (tmp_path / "v.zarr").exists()
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][:], truth)
    assert group["1"][0, 0, 0] == pytest.approx(truth[:2, :2, :2].mean(), rel=1e-6)
    origin = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][1][
        "translation"
    ]
    assert origin == pytest.approx([-19.5 * 3.25, -34.5 * 1.5, -149.5 * 0.7])  # that of a reconstruction
    with (
        pytest.raises(RuntimeError, match="stopped"),
        new_zarr_volume(tmp_path / "w.zarr", (4, 4, 4), voxel_size_nm=VOXEL_NM),
    ):
        raise RuntimeError("stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["v.zarr"]


# Surfaces

TETRAHEDRON = Surface(  # a right-angled corner with edges of 5, 3 and 2 nm along z, y and x: 5 nm3
    np.array([[0, 0, 0], [0, 0, 2], [0, 3, 0], [5, 0, 0]], float),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
    {
        "thickness_nm": np.array([1.5, 2, 3, 4]),
        "grain": np.arange(4),
        "normal": np.arange(12.0).reshape(4, 3),
    },
)


def mesh(path):
    found = pyvista.read(path)
    while isinstance(found, pyvista.MultiBlock):
        found = found[0]
    return found


@pytest.mark.parametrize("ending", ["ply", "stl", "glb", "vtp", "vtk"])
def test_a_surface_keeps_its_place_and_its_outside(tmp_path, ending):
    write_surface(TETRAHEDRON, tmp_path / f"s.{ending}")
    found = mesh(tmp_path / f"s.{ending}")
    assert tuple(found.bounds) == (0, 2, 0, 3, 0, 5)  # x, y, z
    assert (found.n_points, found.n_cells) == (4, 4)
    # by the divergence theorem: the sign of the volume is that of the faces' direction
    triangles = np.asarray(found.points, float)[found.regular_faces]
    assert np.linalg.det(triangles).sum() / 6 == pytest.approx(5.0)


@pytest.mark.parametrize("ending", ["vtp", "vtk"])
def test_values_on_the_vertices_reach_paraview(tmp_path, ending):
    write_surface(TETRAHEDRON, tmp_path / f"s.{ending}")
    found = mesh(tmp_path / f"s.{ending}")
    for name, array in TETRAHEDRON.point_data.items():
        expected = array[:, ::-1] if name == "normal" else array  # (z, y, x) of a direction becomes (x, y, z)
        np.testing.assert_array_equal(found.point_data[name], expected)


def test_values_on_the_vertices_of_ply_and_gltf(tmp_path):
    write_surface(TETRAHEDRON, tmp_path / "s.ply")
    head, _, body = (tmp_path / "s.ply").read_bytes().partition(b"end_header\n")
    names = [line.split()[-1] for line in head.decode().splitlines() if line.startswith("property")]
    assert names == [
        "x",
        "y",
        "z",
        "thickness_nm",
        "grain",
        "nx",
        "ny",
        "nz",
        "vertex_indices",
    ]
    rows = [struct.unpack_from("<3f5d", body, 52 * i) for i in range(4)]
    assert [row[3:5] for row in rows] == [(1.5, 0), (2, 1), (3, 2), (4, 3)]
    write_surface(TETRAHEDRON, tmp_path / "s.glb")
    raw = (tmp_path / "s.glb").read_bytes()
    n_text = struct.unpack_from("<I", raw, 12)[0]
    scene = json.loads(raw[20 : 20 + n_text])
    accessor = scene["accessors"][scene["meshes"][0]["primitives"][0]["attributes"]["_THICKNESS_NM"]]
    offset = 28 + n_text + scene["bufferViews"][accessor["bufferView"]]["byteOffset"]
    assert struct.unpack_from("<4f", raw, offset) == (1.5, 2, 3, 4)
    assert struct.unpack_from("<I", raw, 8)[0] == len(raw)


def test_a_ply_surface_comes_back_with_its_values_and_flags(tmp_path):
    flags = np.array([True, False, False, True])
    written = Surface(TETRAHEDRON.vertices_nm, TETRAHEDRON.faces, {**TETRAHEDRON.point_data, "is_in": flags})
    write_surface(written, tmp_path / "s.ply")
    found = read_surface(tmp_path / "s.ply")
    np.testing.assert_array_equal(found.vertices_nm, written.vertices_nm)  # whole numbers: exact as float32
    np.testing.assert_array_equal(found.faces, written.faces)
    assert list(found.point_data) == ["normal", "thickness_nm", "grain", "is_in"]
    for name, values in written.point_data.items():
        np.testing.assert_array_equal(found.point_data[name], values)
    assert found.point_data["is_in"].dtype == bool


@pytest.mark.parametrize("binary", [True, False])
def test_ply_surfaces_of_vtk_are_read_with_their_outside(tmp_path, binary):
    ball = pyvista.Sphere(radius=3.0, center=(7.0, 5.0, 2.0))
    ball.save(tmp_path / "vtk.ply", binary=binary)
    found = read_surface(tmp_path / "vtk.ply")
    np.testing.assert_allclose(found.vertices_nm, ball.points[:, ::-1], rtol=1e-5)
    np.testing.assert_array_equal(found.faces, ball.regular_faces)
    np.testing.assert_allclose(found.point_data["normal"], ball.point_data["Normals"][:, ::-1], atol=1e-5)


def test_big_endian_and_extra_elements_are_read(tmp_path):
    head = (
        b"ply\nformat binary_big_endian 1.0\nelement camera 1\nproperty float f\nelement vertex 3\nproperty double x\n"
        b"property double y\nproperty double z\nelement face 1\nproperty list uchar int vertex_index\n"
        b"property uchar part\nend_header\n"
    )
    body = struct.pack(">f9dB3iB", 1.0, *range(9), 3, 0, 1, 2, 7)
    (tmp_path / "s.ply").write_bytes(head + body)
    found = read_surface(tmp_path / "s.ply")
    assert found.vertices_nm.tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]
    assert found.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-1], r"must hold 52 bytes for 4 of 'face', got 51"),
        (lambda raw: raw.replace(b"ply\n", b"plx\n", 1), "must begin with the line 'ply'"),
        (lambda raw: raw.replace(b"vertex 4", b"vertex 4000000000"), "cut short"),
        (lambda raw: raw.replace(b"vertex 4", b"vertex -4"), "must say how many"),
        (
            lambda raw: raw.replace(b"1.0\n", b"1.0\nproperty list x\n", 1),
            "must have a header of PLY, got the line",
        ),
        (lambda raw: raw.replace(b"property float y", b"property float x"), "name each value once, got 'x'"),
        (
            lambda raw: raw.replace(b"element face", b"element fact"),
            "must hold vertices and faces, got vertex, fact",
        ),
        (lambda raw: raw.replace(b"binary_little_endian", b"binary_middle"), "must be stored as one of"),
        (lambda raw: raw[:-13] + b"\x03" + struct.pack("<3i", 0, 1, 4), "got one from 0 to 4"),
        (lambda raw: raw[:-13] + b"\x04" + raw[-12:], "triangulate it first"),
        (lambda raw: b"ply\n" + b"comment x\n" * 20_000, "got no end of it"),
    ],
)
def test_damaged_ply_surfaces_are_refused(tmp_path, change, message):
    write_surface(Surface(TETRAHEDRON.vertices_nm, TETRAHEDRON.faces), tmp_path / "s.ply")
    (tmp_path / "bad.ply").write_bytes(change((tmp_path / "s.ply").read_bytes()))
    with pytest.raises(FormatError, match=message):
        read_surface(tmp_path / "bad.ply")


def test_surfaces_that_no_file_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of the endings .ply, .stl, .glb, .vtp, .vtk, got 's.obj'"):
        write_surface(TETRAHEDRON, tmp_path / "s.obj")
    with pytest.raises(ValueError, match="must have triangles"):
        write_surface(Surface(np.zeros((3, 3)), np.zeros((0, 3), int)), tmp_path / "s.ply")
    with pytest.raises(ValueError, match="must be finite"):
        write_surface(Surface(np.full((3, 3), np.nan), np.array([[0, 1, 2]])), tmp_path / "s.ply")
    texts = Surface(TETRAHEDRON.vertices_nm, TETRAHEDRON.faces, {"a": np.array(["x"] * 4)})
    with pytest.raises(ValueError, match=r"point_data\['a'\] must hold one number"):
        write_surface(texts, tmp_path / "s.ply")
    assert not list(tmp_path.iterdir())


# Tables

TABLE = pd.DataFrame(
    {"pore": [1, 2], "volume_nm3": [0.1 + 0.2, np.nan], "name": ["007", ""], "is_open": [True, False]}
)


def test_parquet_keeps_every_column_as_it_is(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), TABLE, check_exact=True)
    (tmp_path / "t.parquet").rename(tmp_path / "t.csv")  # known by its content
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), TABLE, check_exact=True)


def test_damaged_parquet_is_refused(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="must be a whole Parquet file"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="values of one kind"):
        write_table(pd.DataFrame({"a": [1, "x", None]}), tmp_path / "u.parquet")


def test_without_pyarrow_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install 'tomo3d\[parquet\]', or write the table as .csv"
    ):
        write_table(TABLE, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["v.tif", "v.ome.tif"])
@pytest.mark.parametrize(("origin_nm", "n_told"), [((0.0, 0.0, 0.0), 0), ((-2.0, 0.0, 3.5), 1)])
def test_an_origin_that_a_tiff_cannot_hold_is_told(tmp_path, caplog, name, origin_nm, n_told):
    write_volume(Volume(np.ones((2, 3, 4), np.float32), VOXEL_NM, origin_nm), tmp_path / name)
    assert caplog.text.count("no place for the origin") == n_told
