"""What is written comes back, here and in mrcfile."""

import math
import tracemalloc

import mrcfile
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from tomo3d import Labels, TiltSeries, Volume, __version__
from tomo3d.io import (
    read_labels,
    read_tilt_series,
    read_volume,
    write_labels,
    write_tilt_series,
    write_volume,
)

EPS = float(np.finfo(np.float32).eps)
SHAPES = [(1, 1, 1), (3, 4, 5), (4, 3, 2), (7, 8, 9), (2, 6, 6)]
length = st.floats(1e-3, 1e5)
position = st.floats(-1e6, 1e6)
quick = settings(max_examples=60, deadline=None)


def values(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        array = rng.normal(3, 100, shape).astype(dtype)
    elif dtype.kind == "b":
        array = rng.integers(0, 2, shape).astype(bool)
    else:
        low, high = max(np.iinfo(dtype).min, -(2**24)), min(np.iinfo(dtype).max, 2**24)
        array = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "mode", "read_dtype"),
    [("bool", 0, "i1"), ("i1", 0, "i1"), ("u1", 1, "i2"), ("i2", 1, "i2"), (">i2", 1, "i2"), ("u2", 6, "u2"),
     ("i4", 2, "f4"), ("i8", 2, "f4"), ("f2", 12, "f2"), ("f4", 2, "f4"), (">f4", 2, "f4"), ("f8", 2, "f4")],
)  # fmt: skip
def test_a_volume_comes_back_with_its_values(tmp_path, shape, dtype, mode, read_dtype):
    volume = Volume(values(shape, np.dtype(dtype)), (3.36, 1.5, 0.7), (-7.1, 0.0, 12.25))
    path = tmp_path / "v.mrc"
    write_volume(volume, path)
    if mode in (0, 1, 2):
        back = read_volume(path)
        assert back.data.dtype == np.dtype(read_dtype)
        np.testing.assert_array_equal(back.data, volume.data.astype(read_dtype))
        np.testing.assert_allclose(back.voxel_size_nm, volume.voxel_size_nm, rtol=EPS)
        np.testing.assert_allclose(back.origin_nm, volume.origin_nm, rtol=EPS)
    with mrcfile.open(path) as independent:
        assert int(independent.header.mode) == mode
        np.testing.assert_array_equal(independent.data, volume.data.astype(read_dtype))


@quick
@given(
    stn.arrays(
        np.float32,
        st.tuples(*[st.integers(1, 5)] * 3),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.tuples(length, length, length),
    st.tuples(position, position, position),
)
def test_any_finite_volume_comes_back(tmp_path_factory, data, voxel_nm, origin_nm):
    path = tmp_path_factory.mktemp("any") / "v.mrc"
    write_volume(Volume(data, voxel_nm, origin_nm), path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.data, data)
    # the cell in angstrom is a float32; a position below the smallest normal float32 is lost
    np.testing.assert_allclose(back.voxel_size_nm, voxel_nm, rtol=EPS)
    np.testing.assert_allclose(back.origin_nm, origin_nm, rtol=EPS, atol=1e-37)


@pytest.mark.parametrize("shape", SHAPES)
def test_files_are_valid_mrc2014_by_mrcfile(tmp_path, shape, capsys):
    write_volume(Volume(values(shape, np.dtype("f4")), (2.0, 1.5, 1.0), (1.0, 2.0, 3.0)), tmp_path / "v.mrc")
    write_labels(
        Labels(values(shape, np.dtype(bool)), (2.0, 1.5, 1.0), names={1: "film"}), tmp_path / "l.mrc"
    )
    write_tilt_series(TiltSeries(values(shape, np.dtype("i2")), np.arange(shape[0]), 0.5), tmp_path / "t.mrc")
    for name in "vlt":
        assert mrcfile.validate(tmp_path / f"{name}.mrc"), capsys.readouterr().out


def test_sizes_and_origin_are_in_angstrom_for_other_programs(tmp_path):
    write_volume(
        Volume(values((3, 4, 5), np.dtype("f4")), (3.0, 2.0, 1.0), (-1.0, 0.5, 2.0)), tmp_path / "v.mrc"
    )
    with mrcfile.open(tmp_path / "v.mrc") as independent:
        voxel, origin = independent.voxel_size, independent.header.origin
        assert (float(voxel.z), float(voxel.y), float(voxel.x)) == (30.0, 20.0, 10.0)
        assert (float(origin.z), float(origin.y), float(origin.x)) == (-10.0, 5.0, 20.0)
        assert independent.is_volume()
        assert independent.get_labels() == [f"tomo3d {__version__}"]
        # IMOD: bytes are signed (1), the origin has the sign of the standard (4)
        raw = (tmp_path / "v.mrc").read_bytes()
        assert np.frombuffer(raw, "<i4", 2, 152).tolist() == [1146047817, 5]


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_the_statistics_of_the_header_are_those_of_the_values(tmp_path, dtype):
    data = values((40, 400, 900), np.dtype(dtype))  # more than one slab, of unequal sizes
    if dtype == "f4":
        # a mean far above the spread, where sums of squares fail, and different in every slab
        data = data + np.linspace(1e4, 1.1e4, 40, dtype="f4")[:, None, None]
    write_volume(Volume(data, (1, 1, 1)), tmp_path / "v.mrc")
    with mrcfile.open(tmp_path / "v.mrc", header_only=True) as independent:
        header = independent.header
    assert (float(header.dmin), float(header.dmax)) == (data.min(), data.max())
    assert float(header.dmean) == pytest.approx(float(data.mean(dtype="f8")), rel=EPS)
    assert float(header.rms) == pytest.approx(float(data.std(dtype="f8")), rel=1e-6)


def test_a_series_comes_back_without_options(tmp_path):
    angles = [-60.123456789, 3.0, -3.0, 59.999]
    series = TiltSeries(
        values((4, 5, 7), np.dtype("i2")), angles, 3.36, -84.25, np.array([True, False, False, True])
    )
    write_tilt_series(series, tmp_path / "t.mrc")
    back = read_tilt_series(tmp_path / "t.mrc")
    np.testing.assert_array_equal(back.images, series.images)
    np.testing.assert_array_equal(back.tilt_angles_deg, series.tilt_angles_deg)  # doubles: exactly
    assert (back.pixel_size_nm, back.tilt_axis_deg) == (3.36, -84.25)
    np.testing.assert_array_equal(back.use, series.use)
    with mrcfile.open(tmp_path / "t.mrc") as independent:
        np.testing.assert_array_equal(independent.indexed_extended_header["Alpha tilt"], angles)
        assert independent.is_image_stack()
        assert [float(independent.voxel_size[axis]) for axis in "xyz"] == pytest.approx([33.6] * 3)
        assert int(independent.header.mz) == 1  # a stack of images, not a body


@quick
@given(
    st.lists(st.floats(-180, 180), min_size=1, max_size=4),
    st.floats(1e-4, 1e4),
    st.floats(-360, 360),
)
def test_any_angles_pixel_size_and_axis_come_back(tmp_path_factory, angles, pixel_nm, axis_deg):
    path = tmp_path_factory.mktemp("any") / "t.mrc"
    write_tilt_series(TiltSeries(np.ones((len(angles), 2, 3), "f4"), angles, pixel_nm, axis_deg), path)
    back = read_tilt_series(path)
    assert (list(back.tilt_angles_deg), back.tilt_axis_deg) == (angles, axis_deg)
    assert back.pixel_size_nm == pytest.approx(pixel_nm, rel=1e-15, abs=0)
    assert back.use is None


def test_an_axis_that_was_assumed_does_not_come_back_as_known(tmp_path):
    images = values((3, 4, 5), np.dtype("f4"))
    write_tilt_series(TiltSeries(images, [1, 2, 3], 1.0), tmp_path / "a.mrc")
    assert read_tilt_series(tmp_path / "a.mrc").sources["tilt_axis_deg"] == "title of the header"
    unknown = TiltSeries(images, [1, 2, 3], 1.0, sources={"tilt_axis_deg": "unknown: along y assumed"})
    write_tilt_series(unknown, tmp_path / "b.mrc")
    assert read_tilt_series(tmp_path / "b.mrc").sources["tilt_axis_deg"].startswith("unknown")


@quick
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_excluded_views_come_back(tmp_path_factory, use):
    path = tmp_path_factory.mktemp("any") / "t.mrc"
    series = TiltSeries(np.ones((len(use), 1, 2), "f4"), np.zeros(len(use)), 1.0, use=np.array(use))
    write_tilt_series(series, path)
    np.testing.assert_array_equal(read_tilt_series(path).used, use)


def test_excluded_views_that_do_not_fit_are_refused(tmp_path):
    use = np.arange(1001) % 2 == 0
    series = TiltSeries(np.ones((1001, 1, 1), "f4"), np.zeros(1001), 1.0, use=use)
    with pytest.raises(ValueError, match="excluded views must fit into 10 titles"):
        write_tilt_series(series, tmp_path / "t.mrc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "largest", "mode"),
    [("bool", 1, 0), ("u1", 127, 0), ("i8", 127, 0), ("u1", 128, 1), ("u2", 32767, 1), ("i4", 300, 1)],
)
def test_labels_come_back_with_their_names(tmp_path, shape, dtype, largest, mode):
    data = np.zeros(shape, dtype)
    data.flat[-1] = largest
    names = {0: "pore", 1: "film; thin", 2: "탄소", 300: " spaced "}
    write_labels(Labels(data, (2, 2, 2), (1.0, -2.0, 0.5), names=names), tmp_path / "l.mrc")
    back = read_labels(tmp_path / "l.mrc")
    np.testing.assert_array_equal(back.data, data.astype(int))
    assert back.names == names
    assert back.origin_nm == (1.0, -2.0, 0.5)
    with mrcfile.open(tmp_path / "l.mrc") as independent:
        assert int(independent.header.mode) == mode
        np.testing.assert_array_equal(independent.data, data.astype(int))


@quick
@given(st.dictionaries(st.integers(-99, 32767), st.text(max_size=5), max_size=8))
def test_any_names_that_fit_come_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("any") / "l.mrc"
    write_labels(Labels(np.ones((1, 2, 3), "u1"), (1, 1, 1), names=names), path)
    assert read_labels(path).names == names


def test_labels_and_names_that_do_not_fit_are_refused(tmp_path):
    for data in (np.full((2, 2, 2), 65536), np.full((2, 2, 2), -32769), np.arange(-1, 32769)[None, None]):
        with pytest.raises(ValueError, match="within -32768 to 32767"):
            write_labels(Labels(data, (1, 1, 1)), tmp_path / "l.mrc")
    ones = np.ones((2, 2, 2), "u1")
    for names in ({1: "x" * 90}, dict.fromkeys(range(10), "y" * 60)):
        with pytest.raises(ValueError, match="must fit into 9 titles of 80 characters"):
            write_labels(Labels(ones, (1, 1, 1), names=names), tmp_path / "l.mrc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("bad", "dtype"), [(np.nan, "f4"), (np.inf, "f8"), (1e39, "f8"), (-1e300, "f8")])
def test_values_that_float32_cannot_hold_are_refused(tmp_path, bad, dtype):
    data = np.zeros((3, 4, 5), dtype)
    data[1, 2, 3] = bad
    with pytest.raises(ValueError, match=r"got 1 that are not, the first in section 1 "):
        write_volume(Volume(data, (1, 1, 1)), tmp_path / "v.mrc")
    with pytest.raises(ValueError, match=r"within \+-2\^24"):
        write_volume(Volume(np.full((1, 1, 2), 2**24 + 1), (1, 1, 1)), tmp_path / "v.mrc")
    assert not list(tmp_path.iterdir())


def test_arrays_on_a_gpu_are_refused(tmp_path):
    class OnGpu:
        shape, ndim, dtype = (1, 2, 3), 3, np.dtype("i4")
        __cuda_array_interface__ = {}  # noqa: RUF012

    for write, thing in ((write_volume, Volume), (write_labels, Labels)):
        with pytest.raises(TypeError, match="move them to the CPU first"):
            write(thing(OnGpu(), (1, 1, 1)), tmp_path / "v.mrc")


@pytest.mark.parametrize("kind", ["memory map", "zarr", "transposed", "strided"])
def test_arrays_of_every_kind_are_written_slab_by_slab(tmp_path, kind):
    truth = values((40, 300, 800), np.dtype("f4"))  # 38 MB: more than one slab
    if kind == "memory map":
        data = np.memmap(tmp_path / "raw", "f4", "w+", shape=truth.shape)
        data[:] = truth
    elif kind == "zarr":
        data = zarr.create_array(str(tmp_path / "z"), shape=truth.shape, dtype="f4", chunks=(4, 300, 800))
        data[:] = truth
    elif kind == "transposed":
        data = np.ascontiguousarray(truth.transpose(2, 1, 0)).transpose(2, 1, 0)
    else:
        data = np.repeat(truth, 2, axis=2)[:, :, ::2]
    tracemalloc.start()
    write_volume(Volume(data, (1, 1, 1)), tmp_path / "v.mrc")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(read_volume(tmp_path / "v.mrc").data, truth)
    if kind == "memory map":
        # mean and variance work in buffers; isfinite makes one byte per value; a slab is 34 MB, float64 twice that
        assert peak < 4 * 2**25 + 2**20
        assert math.prod(truth.shape) * 4 > 2**25


def test_a_map_may_be_written_over_the_file_it_comes_from(tmp_path):
    path = tmp_path / "v.mrc"
    write_volume(Volume(values((3, 4, 5), np.dtype("f4")), (1, 1, 1)), path)
    volume = read_volume(path)
    doubled = Volume(volume.data * 2, volume.voxel_size_nm)
    before = np.array(volume.data)
    write_volume(doubled, path, overwrite=True)
    np.testing.assert_array_equal(volume.data, before)  # the old file lives on under its map
    np.testing.assert_array_equal(read_volume(path).data, before * 2)
