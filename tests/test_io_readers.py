"""TIFF, HDF5, EMD, DM, SER, Zarr and NumPy: the same asymmetric picture in each, and files of other programs."""

import gzip
import json
import pickle
import re
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from mrc_bytes import mrc_bytes
from numcodecs import Blosc
from other_formats import dm_bytes, ser_bytes

from tomo3d.cli.main import main
from tomo3d.errors import FormatError
from tomo3d.io import _images, _packed, inspect, read_movie, read_tilt_series, read_volume
from tomo3d.planning import plan_of
from tomo3d.preprocess import align_frames
from tomo3d.progress import listening

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the collection of real files is not here")
# The letter F as one sees it, first row on top: any mirror image or turn of it differs.
LETTER = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])
AS_SEEN = (LETTER * np.array([100, 200, 50])[:, None, None]).astype(np.uint16)
OURS = AS_SEEN[:, ::-1]  # row 0 at the bottom
ANGLES = [-60.0, 0.0, 60.0]


def write_tiff(path, data, **options):
    tifffile.imwrite(path, data, **{"photometric": "minisblack", **options})


def read(path, size_nm=2.0):
    return read_volume(path, voxel_size_nm=size_nm).data


TIFF_KINDS = [{}, {"byteorder": ">"}, {"bigtiff": True}, {"compression": "zlib"}, {"tile": (16, 16)},
              {"rowsperstrip": 2}, {"imagej": True}, {"ome": True}]  # fmt: skip


@pytest.mark.parametrize("options", TIFF_KINDS)
def test_pictures_in_tiff_stand_upright(tmp_path, options):
    write_tiff(tmp_path / "a.tif", AS_SEEN, **options)
    image = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image, OURS)
    assert image.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1


def test_one_picture_and_axes_of_one_element_are_stacks_too(tmp_path):
    write_tiff(tmp_path / "one.tif", AS_SEEN[0])
    np.testing.assert_array_equal(read(tmp_path / "one.tif"), OURS[:1])
    write_tiff(tmp_path / "tczyx.tif", AS_SEEN[None, :, None], imagej=True, metadata={"axes": "TZCYX"})
    np.testing.assert_array_equal(read(tmp_path / "tczyx.tif"), OURS)
    write_tiff(
        tmp_path / "channels.tif", np.stack([AS_SEEN, AS_SEEN]), metadata={"axes": "TZYX"}, imagej=True
    )
    with pytest.raises(FormatError, match=r"one stack of images.*\(2, 3, 5, 3\)"):
        read(tmp_path / "channels.tif")
    write_tiff(tmp_path / "rgb.tif", np.zeros((5, 4, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match="got 3 colours"):
        read(tmp_path / "rgb.tif")


def test_sizes_in_tiff_are_those_of_microscopes_not_of_prints(tmp_path):
    write_tiff(tmp_path / "ij.tif", AS_SEEN, imagej=True, resolution=(1 / 1.5, 1 / 1.5),
                     metadata={"spacing": 3.0, "unit": "nm", "axes": "ZYX"})  # fmt: skip
    assert read_volume(tmp_path / "ij.tif").voxel_size_nm == pytest.approx((3.0, 1.5, 1.5), rel=1e-6)
    sizes = {"PhysicalSizeX": 12.0, "PhysicalSizeXUnit": "Å", "PhysicalSizeY": 12.0, "PhysicalSizeYUnit": "Å",
             "PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "µm", "axes": "ZYX"}  # fmt: skip
    write_tiff(tmp_path / "a.ome.tif", AS_SEEN, metadata=sizes)
    volume = read_volume(tmp_path / "a.ome.tif")
    assert volume.voxel_size_nm == pytest.approx((2.0, 1.2, 1.2), rel=1e-12)
    assert volume.record["voxel_size_nm"] == "OME metadata"
    for unit, density in (("INCH", 300), ("CENTIMETER", 118)):
        write_tiff(tmp_path / "print.tif", AS_SEEN, resolution=(density, density), resolutionunit=unit)
        with pytest.raises(FormatError, match="no pixel size in its header: pass pixel_size_nm"):
            read_tilt_series(tmp_path / "print.tif", angles=ANGLES)
    write_tiff(tmp_path / "cm.tif", AS_SEEN, resolution=(5e6, 5e6), resolutionunit="CENTIMETER")
    assert read_tilt_series(tmp_path / "cm.tif", angles=ANGLES).pixel_size_nm == 2.0


@needs_shared
@pytest.mark.parametrize("name", ["13pf_MT.tif", "14pf_MT.tif"])
def test_real_tiff_volumes_of_microtubules(name):
    volume = read_volume(SHARED / "microtubules" / name)
    np.testing.assert_array_equal(volume.data, tifffile.imread(SHARED / "microtubules" / name)[:, ::-1])
    assert volume.voxel_size_nm == pytest.approx(
        (1.052,) * 3, rel=1e-9
    )  # "spacing=1.052", "unit=nm" in the file


def test_values_in_hdf5_zarr_and_numpy_are_never_turned(tmp_path):
    np.save(tmp_path / "a.npy", AS_SEEN)
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["some/where/stack"] = AS_SEEN
        h5["some/table"] = np.arange(5.0)
    with h5py.File(tmp_path / "packed.h5", "w") as h5:
        h5.create_dataset("data", data=AS_SEEN.astype(">u2"), chunks=(1, 2, 2), compression="gzip")
    store = zarr.create_array(str(tmp_path / "a.zarr"), shape=AS_SEEN.shape, chunks=(2, 2, 2), dtype="u2")
    store[:] = AS_SEEN
    for name in ("a.npy", "a.h5", "packed.h5", "a.zarr"):
        values = read(tmp_path / name)
        np.testing.assert_array_equal(values, AS_SEEN)
        assert values.dtype == np.uint16
        assert not values.flags.writeable
    assert isinstance(read(tmp_path / "a.npy"), np.memmap)
    assert isinstance(read(tmp_path / "a.h5"), np.memmap)


def test_one_of_several_data_sets_is_named(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as h5:
        h5["a"], h5["b"] = AS_SEEN, AS_SEEN + 1
        h5["out"] = h5py.ExternalLink("other.h5", "a")
    with h5py.File(tmp_path / "other.h5", "w") as h5:
        h5["a"] = AS_SEEN
    with pytest.raises(FormatError, match=r"one data set of images, got 2 \(/a .*, /b .*two\.h5::/a"):
        read(tmp_path / "two.h5")
    np.testing.assert_array_equal(read(f"{tmp_path}/two.h5::/b"), AS_SEEN + 1)
    for name in ("/c", "/out", "out"):
        with pytest.raises(FormatError, match="has none of this name of its own"):
            read(f"{tmp_path}/two.h5::{name}")


def test_hdf5_that_refers_to_other_files_is_refused(tmp_path):
    (tmp_path / "raw.bin").write_bytes(AS_SEEN.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5.create_dataset("a", AS_SEEN.shape, "u2", external=[(str(tmp_path / "raw.bin"), 0, AS_SEEN.nbytes)])
    with pytest.raises(FormatError, match="refers to other files, which are not followed"):
        read(tmp_path / "a.h5")


def test_data_exchange_has_its_angles(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["exchange/data"], h5["exchange/data_white"] = AS_SEEN, AS_SEEN
        h5["exchange/theta"] = np.deg2rad(ANGLES)
        h5["exchange/theta"].attrs["units"] = "rad"
    series = read_tilt_series(tmp_path / "a.h5", pixel_size_nm=2)
    np.testing.assert_allclose(series.tilt_angles_deg, ANGLES, rtol=1e-12)
    assert series.sources["tilt_angles_deg"] == "data set /exchange/theta"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_emd_of_berkeley_orders_its_axes_by_name(tmp_path, order):
    dims = [
        ("angles", "[deg]", ANGLES),
        ("y", "[n_m]", np.arange(5) * 2.0),
        ("x", "[n_m]", np.arange(3) * 2.0),
    ]
    with h5py.File(tmp_path / "a.emd", "w") as h5:
        group = h5.create_group("data/tomography")
        group.attrs["emd_group_type"] = 1
        group["data"] = AS_SEEN.transpose(order)
        for number, axis in enumerate(order, start=1):
            name, unit, values = dims[axis]
            group[f"dim{number}"] = values
            group[f"dim{number}"].attrs["name"], group[f"dim{number}"].attrs["units"] = name, unit
    series = read_tilt_series(tmp_path / "a.emd")
    np.testing.assert_array_equal(series.images, OURS)
    assert (list(series.tilt_angles_deg), series.pixel_size_nm) == (ANGLES, 2.0)
    assert series.sources["images"] == "a.emd (EMD (Berkeley))"


@pytest.mark.parametrize("n_bytes", [0, 2**64 - 1])  # the second is 0 when libhdf5 rounds it up
def test_a_heap_that_leads_nowhere_is_refused_before_the_library_walks_it_for_ever(tmp_path, n_bytes):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as h5:
        h5["data"] = AS_SEEN
        h5["data"].attrs["name"] = "a text in the heap"
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    while int.from_bytes(data[at : at + 2], "little"):  # to the free object behind the texts
        at += 16 + (int.from_bytes(data[at + 8 : at + 16], "little") + 7) // 8 * 8
    _images.open_images(path)
    data[at + 8 : at + 16] = n_bytes.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(FormatError, match=rf"damaged.* of {n_bytes} bytes"):
        _images.open_images(path)


@pytest.mark.parametrize("n_detectors", [1, 2])
def test_emd_of_velox_has_frames_last_and_metadata_in_json(tmp_path, n_detectors):
    frames = [{"BinaryResult": {"PixelSize": {"width": "2e-09", "height": "2e-09"}, "PixelUnitX": "m"},
               "Stage": {"AlphaTilt": str(np.deg2rad(angle))},
               "Optics": {"Defocus": "-1e-6", "AccelerationVoltage": "200000"}} for angle in ANGLES]  # fmt: skip
    metadata, place = np.zeros((1000, 3), np.uint8), tmp_path / "a.emd"
    for k, frame in enumerate(frames):
        text = json.dumps(frame).encode()
        metadata[: len(text), k] = np.frombuffer(text, np.uint8)
    with h5py.File(tmp_path / "a.emd", "w") as h5:
        h5["Data/Image/0123/Data"] = AS_SEEN.transpose(1, 2, 0)
        h5["Data/Image/0123/Metadata"] = metadata
        h5["Version"] = "1"
        if n_detectors == 2:
            h5["Data/Image/4567/Data"] = AS_SEEN.transpose(1, 2, 0) + 1
    if n_detectors == 2:
        with pytest.raises(FormatError, match=r"one stack of images, got 2 .*::/Data/Image/0123/Data"):
            read_tilt_series(tmp_path / "a.emd")
        place = f"{tmp_path}/a.emd::/Data/Image/0123/Data"
    series = read_tilt_series(place)
    np.testing.assert_array_equal(series.images, OURS)
    np.testing.assert_allclose(series.tilt_angles_deg, ANGLES, atol=1e-12)
    assert series.pixel_size_nm == 2.0
    np.testing.assert_allclose(series.views["defocus_nm"], -1000)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_dm_files_hold_the_largest_image_its_size_and_its_angles(tmp_path, version, little, dtype):
    axes = [(0, 0.002, "µm"), (0, 0.002, "µm"), (1, 60, "deg")]
    stack = AS_SEEN.astype(dtype).repeat(90, 1).repeat(90, 2)  # large enough to lie in the file as a block
    path = tmp_path / "a.dm"
    path.write_bytes(dm_bytes(stack, version=version, little=little, calibrations=axes))
    series = read_tilt_series(path)
    np.testing.assert_array_equal(series.images, stack[:, ::-1])
    assert series.images.dtype == dtype
    assert (list(series.tilt_angles_deg), series.pixel_size_nm) == (ANGLES, 2.0)
    assert series.sources["images"] == f"a.dm (DM{version})"


@needs_shared
def test_a_real_dm3_file_is_a_tilt_series_of_91_views(tmp_path):
    (tmp_path / "HAADF.dm3").symlink_to(
        SHARED / "needle" / "HAADF.dm3"
    )  # alone, without the .rawtlt of another
    series = read_tilt_series(tmp_path / "HAADF.dm3")
    # By RosettaSciIO 0.15: shape, type, sum of all values, the first values of the top row, scale and offset
    assert (series.images.shape, series.images.dtype) == ((91, 64, 64), np.uint16)
    assert series.images.sum(dtype=np.int64) == 1740283202
    np.testing.assert_array_equal(series.images[0, -1, :9], [524, 524, 525, 524, 524, 524, 523, 524, 525])
    np.testing.assert_array_equal(series.tilt_angles_deg, np.arange(-90, 91, 2))
    assert series.pixel_size_nm == pytest.approx(17.994916066527367, rel=1e-12)
    with pytest.raises(FormatError, match=r"77 angles \(file HAADF\.rawtlt\) for 91 views"):
        read_tilt_series(SHARED / "needle" / "HAADF.dm3")


@pytest.mark.parametrize("version", [0x210, 0x220])
def test_ser_files_have_their_first_row_at_the_bottom(tmp_path, version):
    path = tmp_path / "a.ser"
    path.write_bytes(ser_bytes(OURS, version=version, delta_m=2e-9))
    volume = read(path)
    np.testing.assert_array_equal(volume, OURS)
    series = read_tilt_series(path, angles=ANGLES)
    assert (series.pixel_size_nm, series.sources["pixel_size_nm"]) == (2.0, "calibration of the image")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ome_zarr_gives_its_finest_level_with_size_and_origin(tmp_path, zarr_format):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=zarr_format)
    fine = group.create_array("0", shape=(1, 1, *AS_SEEN.shape), chunks=(1, 1, 2, 2, 2), dtype="u2")
    fine[:] = AS_SEEN[None, None]
    group.create_array("1", shape=(1, 1, 2, 3, 2), chunks=(1, 1, 2, 2, 2), dtype="u2")
    units = {"space": "angstrom"}
    axes = [{"name": n, "type": t, **({"unit": units[t]} if t in units else {})}
            for n, t in zip("tczyx", ("time", "channel", "space", "space", "space"), strict=True)]  # fmt: skip
    levels = [{"path": str(k), "coordinateTransformations": [
        {"type": "scale", "scale": [1, 1, 40 * 2**k, 20 * 2**k, 20 * 2**k]},
        {"type": "translation", "translation": [0, 0, 10, 20, 30]}]} for k in range(2)]  # fmt: skip
    image = {"axes": axes, "datasets": levels, "name": "a"}
    if zarr_format == 2:
        group.attrs["multiscales"] = [{**image, "version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    volume = read_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volume.data, AS_SEEN)
    assert volume.voxel_size_nm == (4.0, 2.0, 2.0)
    assert volume.origin_nm == (1.0, 2.0, 3.0)
    assert inspect(tmp_path / "a.zarr").layout == ("OME-Zarr 0.4" if zarr_format == 2 else "OME-Zarr 0.5")


def test_a_level_outside_of_its_store_is_not_followed(tmp_path):
    store = zarr.create_array(str(tmp_path / "secret.zarr"), shape=(2, 2, 2), dtype="u2", zarr_format=2)
    store[:] = 1
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.attrs["multiscales"] = [{"axes": list("zyx"), "datasets": [{"path": "../secret.zarr"}]}]
    with pytest.raises(FormatError, match=r"hold its levels itself, got the path '\.\./secret\.zarr'"):
        read(tmp_path / "a.zarr")


def test_what_has_no_size_or_angles_asks_for_them(tmp_path):
    np.save(tmp_path / "a.npy", AS_SEEN)
    with pytest.raises(FormatError, match="pass voxel_size_nm"):
        read_volume(tmp_path / "a.npy")
    with pytest.raises(FormatError, match="pass angles"):
        read_tilt_series(tmp_path / "a.npy", pixel_size_nm=1)
    with pytest.raises(FormatError, match="pass pixel_size_nm"):
        read_tilt_series(tmp_path / "a.npy", angles=ANGLES)
    (tmp_path / "a.rawtlt").write_text("-60\n0\n60\n")
    assert list(read_tilt_series(tmp_path / "a.npy", pixel_size_nm=1).tilt_angles_deg) == ANGLES


def test_arrays_that_would_run_code_or_are_no_numbers_are_refused(tmp_path):
    np.save(tmp_path / "object.npy", np.array([[[print]]], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match=r"whole NumPy array.*(pickle|object)"):
        read(tmp_path / "object.npy")
    np.save(tmp_path / "complex.npy", AS_SEEN * 1j)
    with pytest.raises(FormatError, match="real values, got complex ones"):
        read(tmp_path / "complex.npy")
    np.save(tmp_path / "line.npy", np.arange(5))
    with pytest.raises(FormatError, match=r"stack of images, got an array of shape \(5,\)"):
        read(tmp_path / "line.npy")


@pytest.mark.parametrize("place", [4, 8, 12])  # bytes of the chunk, of a block, of what is stored
def test_a_chunk_of_zarr_whose_header_lies_is_refused(tmp_path, place):
    store = zarr.create_array(str(tmp_path / "a.zarr"), shape=(2, 40, 50), chunks=(2, 40, 50), dtype="u2",
                              zarr_format=2, compressors=Blosc())  # fmt: skip
    store[:] = np.arange(4000).reshape(2, 40, 50)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").ravel(), np.arange(4000))
    chunk = tmp_path / "a.zarr" / "0.0.0"
    content = bytearray(chunk.read_bytes())
    content[place : place + 4] = struct.pack("<I", 2**31 - 1)
    chunk.write_bytes(content)
    with pytest.raises(FormatError, match=r"0\.0\.0 is not the 8,000 bytes of one, packed by blosc"):
        read(tmp_path / "a.zarr")


def _bytes_of_each_format(tmp_path):
    write_tiff(tmp_path / "a.tif", AS_SEEN)
    write_tiff(tmp_path / "z.tif", AS_SEEN, compression="zlib")
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["data"] = AS_SEEN
    np.save(tmp_path / "a.npy", AS_SEEN)
    (tmp_path / "a.dm3").write_bytes(dm_bytes(AS_SEEN.repeat(90, 1).repeat(90, 2)))
    (tmp_path / "a.ser").write_bytes(ser_bytes(AS_SEEN))
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(AS_SEEN))
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_end_in_one_sentence_or_in_values_that_are_there(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for path in _bytes_of_each_format(tmp_path):
        content = bytearray(path.read_bytes())
        if seed % 2:
            del content[rng.integers(1, len(content)) :]
        else:
            for offset in rng.integers(0, min(len(content), 400), 3):
                content[offset] = rng.integers(256)
        path.write_bytes(content)
        try:
            n_bytes, sentence = read(path).nbytes, str(path)
        except FormatError as error:
            n_bytes, sentence = 0, str(error)
        assert n_bytes <= 100 * len(content)
        assert str(path) in sentence
        assert "\n" not in sentence


def test_claims_beyond_the_file_are_refused_before_memory_is_spent(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5.create_dataset("data", (10_000, 10_000, 10_000), "f4", chunks=(1, 100, 100))
    zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(10_000,) * 3, chunks=(100,) * 3, dtype="f4", zarr_format=2
    )
    for name in ("a.h5", "a.zarr"):
        with pytest.raises(FormatError, match=r"4,000,000,000,000 bytes.* stores \d"):
            read(tmp_path / name)
    np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype="f4", shape=(1, 2, 3))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(1, 2, 3), }", b"(9999,999,9)}")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FormatError, match="whole NumPy array"):
        read(tmp_path / "a.npy")
    dm = bytearray(dm_bytes(AS_SEEN.repeat(90, 1).repeat(90, 2)))
    place = dm.find(struct.pack("<i", 3 * 90))  # n_x of the stack
    dm[place : place + 4] = struct.pack("<i", 2**30)
    (tmp_path / "a.dm3").write_bytes(dm)
    with pytest.raises(FormatError, match="that it announces, but has 729,000 bytes of it"):
        read(tmp_path / "a.dm3")


@pytest.mark.parametrize("name", ["a.tif", "z.tif", "a.h5", "a.npy", "a.dm3", "a.ser", "a.mrc"])
def test_plans_and_inspections_need_no_values(tmp_path, name):
    _bytes_of_each_format(tmp_path)
    path = tmp_path / name
    plan = plan_of(read_volume)(path, voxel_size_nm=2.0)
    values = read(path)
    assert (plan.result.shape, plan.result.dtype) == (values.shape, values.dtype.name)
    assert plan.peak_bytes <= 3 * values.nbytes
    info = inspect(path)
    assert (info.kind, info.shape, info.dtype) == ("volume", values.shape, "uint16")
    assert info.values == (values.min(), values.max(), pytest.approx(values.mean()))


@pytest.mark.parametrize("name", ["movie.tif", "movie.mrc"])
def test_frames_of_a_movie_go_to_their_alignment(tmp_path, name):
    rng = np.random.default_rng(5)
    scene = rng.normal(0, 40, (40, 40)).cumsum(0).cumsum(1)
    frames = np.stack(
        [scene[k : k + 32, 4:36] for k in range(4)]
    )  # the specimen drifts down by a pixel a frame
    frames = (frames - frames.min() + rng.random(frames.shape)).astype(np.float32)
    if name.endswith("tif"):
        write_tiff(tmp_path / name, frames[:, ::-1])
    else:
        (tmp_path / name).write_bytes(mrc_bytes(frames))
    movie = read_movie(tmp_path / name, pixel_size_nm=0.5, tilt_angle_deg=12)
    np.testing.assert_array_equal(movie.images, frames)
    assert (set(movie.views["movie"]), list(movie.views["frame"])) == ({0}, [0, 1, 2, 3])
    aligned = align_frames(movie, max_drift_nm=4)
    assert (aligned.series.n_tilts, aligned.series.tilt_angles_deg[0]) == (1, 12)
    steps = np.diff(aligned.shifts["shift_y_nm"])
    np.testing.assert_allclose(steps, 0.5, atol=0.1)  # a fifth of a pixel, as align_frames claims


def test_a_bcf_file_says_what_to_install(tmp_path):
    path = tmp_path / "a.bcf"
    path.write_bytes(b"AAMVHFSS" + bytes(2000))
    with pytest.raises(FormatError, match=r"pip install tomo3d\[formats\]|whole BCF file"):
        read(path)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident memory is read from Linux")
def test_a_file_larger_than_its_share_of_memory_is_mapped_and_checked_in_little(tmp_path):
    n = (96, 1024, 1024)  # 384 MiB of holes, which take no room on the disk
    header = mrc_bytes(np.zeros((1, 1, 1), "f4"), n=n[::-1], m=n[::-1], cell=(1e4, 1e4, 960))[:1024]
    path = tmp_path / "big.mrc"
    with open(path, "wb") as stream:
        stream.write(header)
        stream.truncate(1024 + 4 * np.prod(n))

    def resident_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before, seen = resident_bytes(), []
    with listening(lambda *_: seen.append(resident_bytes())):
        volume = read_volume(path)
    assert volume.data.shape == n
    assert len(seen) > 10
    assert max(seen) - before < 100 << 20


@pytest.mark.parametrize("name", ["a.h5::/second", "a.zarr"])
def test_commands_take_data_sets_and_stores(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as h5:
        h5["first"], h5["second"] = AS_SEEN, AS_SEEN + 1
    store = zarr.create_array("a.zarr", shape=AS_SEEN.shape, chunks=(2, 2, 2), dtype="u2")
    store[:] = AS_SEEN + 1
    Path("angles.txt").write_text("-60\n0\n60\n")
    command = ["preprocess", "flag_views", name, "out.mrc", "--pixel-size-nm", "2", "--angles", "angles.txt"]
    assert main([*command, "--exclude", "1"]) == 0
    written = read_tilt_series("out.mrc")
    np.testing.assert_array_equal(written.images, AS_SEEN + 1)
    assert list(written.used) == [True, False, True]


def huge_chunk(path):
    """An HDF5 file of 16 values in one chunk of 100 million bytes."""
    with h5py.File(path, "w") as h5:
        chunks = (10_000, 10_000)
        made = h5.create_dataset(
            "data", (4, 4), "u1", maxshape=(None, None), chunks=chunks, compression="gzip"
        )
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(10**8)))


def huge_chunk_zarr(path):
    codec = zarr.codecs.GzipCodec(level=1)
    made = zarr.create_array(path, shape=(4, 4), chunks=(10_000, 10_000), dtype="u1", compressors=codec)
    made[:] = 1


def huge_tile(path):
    """A TIFF of 16 x 16 values in one tile of 10,000 x 10,000."""
    tifffile.imwrite(path, np.ones((16, 16), np.uint8), tile=(16, 16), compression="zlib")
    packed, tile = path.read_bytes(), zlib.compress(bytes(10**8))
    with tifffile.TiffFile(path) as tif:
        places = {
            name: tif.pages[0].tags[name].valueoffset for name in ("TileWidth", "TileLength", "TileOffsets")
        }
        places["TileByteCounts"] = tif.pages[0].tags["TileByteCounts"].valueoffset
        assert all(tif.pages[0].tags[name].dtype == 4 for name in ("TileWidth", "TileLength", "TileOffsets"))
    content = bytearray(packed + tile)
    for name, value in (("TileWidth", 10_000), ("TileLength", 10_000), ("TileOffsets", len(packed))):
        content[places[name] : places[name] + 4] = struct.pack("<I", value)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "name"), [(huge_chunk, "a.h5"), (huge_chunk_zarr, "a.zarr"), (huge_tile, "a.tif")]
)
def test_a_piece_that_is_far_larger_than_its_values_is_not_unpacked(tmp_path, write, name):
    write(tmp_path / name)
    sentence = r"values, which take (16|256) bytes, but one chunk or tile takes 100,000,000 bytes"
    with pytest.raises(FormatError, match=sentence):
        read(tmp_path / name)


def test_values_that_do_not_fit_into_memory_are_not_read(tmp_path, monkeypatch, capsys):
    """What lies in the file as in memory is mapped, and takes none; what is packed is unpacked whole."""
    values = np.arange(4000, dtype=np.uint8).reshape(10, 20, 20)
    write_tiff(tmp_path / "mapped.tif", values)
    write_tiff(tmp_path / "packed.tif", values, compression="zlib")
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(10, 20, 20))
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5.create_dataset("data", data=values, chunks=(10, 20, 20), compression="gzip")
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(mrc_bytes(values.view(np.int8))))
    for module in (_images, _packed):
        monkeypatch.setattr(module, "available_memory", lambda: 3000)
    assert read(tmp_path / "mapped.tif").shape == values.shape
    for name in ("packed.tif", "a.zarr", "a.h5"):
        with pytest.raises(
            MemoryError, match=rf"{name} must fit .* that takes .*, and 2.93 KiB are available"
        ):
            read(tmp_path / name)
    with pytest.raises(FormatError, match=r"at most 1,500 bytes .* announces 5,024 bytes: unpack it first"):
        read(tmp_path / "a.mrc.gz")
    words = ["segment", "otsu", str(tmp_path / "packed.tif"), str(tmp_path / "m.mrc"), "--voxel-size-nm", "1"]
    assert main(words) == 2
    assert "packed.tif must fit into memory" in capsys.readouterr().err


OME = """<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"
 UUID="urn:uuid:a"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="8"
 SizeC="1" SizeZ="2" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>
<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:a</UUID></TiffData>
<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="../out.tif">urn:uuid:b</UUID></TiffData>
</Pixels></Image></OME>"""


def ome_elsewhere(folder):
    write_tiff(folder / "out.tif", np.full((8, 8), 2, np.uint16))
    path = folder / "in" / "a.ome.tif"
    write_tiff(path, np.ones((8, 8), np.uint16), description=OME, metadata=None)
    return path, "out.tif"


def velox_elsewhere(folder):
    """The one image is a link to that of another file."""
    with h5py.File(folder / "out.h5", "w") as h5:
        h5["g/Data"] = np.ones((8, 8, 2), np.uint16)
    with h5py.File(folder / "in" / "a.emd", "w") as h5:
        h5.create_group("Data/Image")["a"] = h5py.ExternalLink(str(folder / "out.h5"), "/g")
    return folder / "in" / "a.emd", "out.h5"


def angles_elsewhere(folder):
    """The angles are the bytes of another file."""
    (folder / "out.raw").write_bytes(bytes([1, 2, 3]))
    with h5py.File(folder / "in" / "a.h5", "w") as h5:
        h5["exchange/data"] = np.ones((3, 4, 4), np.float32)
        h5.create_dataset("exchange/theta", (3,), "u1", external=[(str(folder / "out.raw"), 0, 3)])
    return folder / "in" / "a.h5", "out.raw"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (ome_elsewhere, "they lie in 2 files, as '../out.tif', which are not followed"),
        (velox_elsewhere, "must hold one stack of images, got 0|must hold one data set of images, got 0"),
        (angles_elsewhere, "must come with its tilt angles, but has none"),
    ],
)
def test_no_path_in_a_file_is_followed_out_of_it(tmp_path, make, sentence):
    (tmp_path / "in").mkdir()
    path, other = make(tmp_path)
    code = (
        "import sys; from tomo3d.io import read_tilt_series\n"
        "sys.addaudithook(lambda event, args: event == 'open' and print('OPEN', args[0]))\n"
        f"read_tilt_series({str(path)!r}, pixel_size_nm=1.0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(sentence, done.stderr), done.stderr
    assert other not in done.stdout  # hdf5 opens by itself: told by the sentence


class Payload:
    """Unpickled, it would make a file: as any code could be run."""

    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('owned').write_text('x')",)


@pytest.mark.parametrize("place", ["compressor", "filters", "v3", "npy"])
def test_nothing_is_ever_unpickled(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    store, pickled = tmp_path / "a.zarr", pickle.dumps(Payload())
    (store / "c" / "0" / "0").mkdir(parents=True)
    (store / "0.0.0").write_bytes(pickled)
    (store / "c" / "0" / "0" / "0").write_bytes(pickled)
    codec = {"id": "pickle", "protocol": 5}
    old = {
        "zarr_format": 2,
        "shape": [2, 3, 4],
        "chunks": [2, 3, 4],
        "dtype": "<f4",
        "fill_value": 0,
        "order": "C",
    }
    grid = {"name": "regular", "configuration": {"chunk_shape": [2, 3, 4]}}
    new = {"zarr_format": 3, "node_type": "array", "shape": [2, 3, 4], "data_type": "float32", "chunk_grid": grid,
           "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "attributes": {},
           "codecs": [{"name": "numcodecs.pickle", "configuration": {}}, {"name": "bytes"}]}  # fmt: skip
    if place == "npy":
        store = tmp_path / "a.npy"
        np.save(store, np.array([[Payload()]], dtype=object), allow_pickle=True)
    elif place == "v3":
        (store / "zarr.json").write_text(json.dumps(new))
    else:
        where = (
            {"compressor": codec, "filters": None}
            if place == "compressor"
            else {"compressor": None, "filters": [codec]}
        )
        (store / ".zarray").write_text(json.dumps(old | where))
    with pytest.raises(FormatError, match="cannot be read"):
        read(store)
    assert not (tmp_path / "owned").exists()


def test_a_chunk_that_is_a_link_out_of_its_store_is_not_followed(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=AS_SEEN, chunks=AS_SEEN.shape)
    chunk = next(path for path in (tmp_path / "a.zarr" / "c").rglob("*") if path.is_file())
    chunk.rename(tmp_path / "secret")
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="must hold its chunks itself, but 0 is a link"):
        read(tmp_path / "a.zarr")
