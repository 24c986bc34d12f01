"""Reading tilt series, volumes and labels: where each fact comes from, and real files."""

import logging
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from mrc_bytes import mrc_bytes, ramp

from tomo3d.errors import FormatError
from tomo3d.io import read_labels, read_tilt_series, read_volume
from tomo3d.planning import plan_of
from tomo3d.progress import listening

SHIPPED = Path(__file__).parents[1] / "examples" / "data" / "needle.mrc"
SHARED = Path(__file__).parents[2] / "shared" / "data"
ANGLES = [-60.0, 0.0, 45.5]
VIEWS = ramp((3, 4, 6), "i2")
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the collection of real files is not here")


@pytest.fixture
def put(tmp_path):
    def write(content, name="a.mrc"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def seri(angles):
    """A SerialEM extended header: tilt x 100 and the stage position (flags 1 and 4) as shorts."""
    return {
        "extended": b"".join(struct.pack("<3h", round(100 * a), 5, -5) for a in angles),
        "extended_type": b"SERI",
        "n_int": 6,
        "n_real": 5,
    }


def test_the_shipped_needle_reads_with_no_option():
    series = read_tilt_series(SHIPPED)
    assert series.images.shape == (77, 168, 188)
    np.testing.assert_array_equal(series.tilt_angles_deg, np.arange(-76, 77, 2))
    assert series.pixel_size_nm == 3.36  # of the extended header; the cell says 0.1
    assert series.sources["pixel_size_nm"].startswith("extended header")
    assert series.tilt_axis_deg == 0.0
    assert series.sources["tilt_axis_deg"].startswith("unknown")


@needs_shared
def test_the_shipped_needle_is_a_cut_of_the_real_one():
    real = read_tilt_series(SHARED / "needle" / "HAADF.mrc")
    assert real.images.shape == (77, 256, 256)
    assert (
        real.sources["tilt_angles_deg"] == "file HAADF.rawtlt"
    )  # which agrees with the header, or it would not read
    with (
        pytest.warns(RuntimeWarning, match="Map ID|machine stamp"),  # mrcfile's view of old FEI files
        mrcfile.open(SHARED / "needle" / "HAADF.mrc", permissive=True) as independent,
    ):
        np.testing.assert_array_equal(real.images, independent.data)
    np.testing.assert_array_equal(read_tilt_series(SHIPPED).images, real.images[:, 46:214, 40:228])
    original = (SHARED / "needle" / "HAADF.mrc").read_bytes()[1024 : 1024 + 131072]
    assert SHIPPED.read_bytes()[1024 : 1024 + 131072] == original


@needs_shared
def test_a_map_of_the_emdb_starts_where_its_header_says():
    volume = read_volume(SHARED / "emdb" / "EMD-3197.map")
    with mrcfile.open(SHARED / "emdb" / "EMD-3197.map") as independent:
        np.testing.assert_array_equal(volume.data, independent.data)
    np.testing.assert_allclose(volume.voxel_size_nm, 1.14, rtol=1e-12)
    np.testing.assert_allclose(volume.origin_nm, (0, 0, -2 * 1.14), rtol=1e-12)  # nxstart = -2


@needs_shared
def test_real_files_of_half_floats_read_as_mrcfile_reads_them():
    folder = SHARED / "sidecars" / "tiltstack" / "tilt_images"
    files = sorted(folder.glob("*.mrc"))
    assert len(files) == 41
    for path in files:
        with pytest.raises(FormatError, match="pass voxel_size_nm"):  # the cell is 0
            read_volume(path)
        data = read_volume(path, voxel_size_nm=0.54).data
        with mrcfile.open(path) as independent:
            assert independent.data.dtype == np.float16
            np.testing.assert_array_equal(data[0], independent.data)
        assert data.dtype == np.float32


@needs_shared
def test_a_real_file_without_pixel_size_is_refused_with_the_reason():
    etomo = SHARED / "sidecars" / "etomofiles_TS_001" / "TS_001.st"
    with pytest.raises(FormatError, match="pass pixel_size_nm"):
        read_tilt_series(etomo)
    series = read_tilt_series(etomo, pixel_size_nm=1.0)
    assert (series.n_tilts, series.sources["tilt_angles_deg"]) == (40, "file TS_001.rawtlt")
    assert (series.tilt_angles_deg[0], series.tilt_angles_deg[-1]) == (-60.0, 56.99)


@needs_shared
@pytest.mark.parametrize("name", ["emd_3197.map.gz", "EMD-3197.map.bz2"])
def test_packed_files_hold_what_the_plain_one_does(name):
    plain, packed = read_volume(SHARED / "emdb" / "EMD-3197.map"), read_volume(SHARED / "emdb" / name)
    np.testing.assert_array_equal(packed.data, plain.data)
    assert (packed.voxel_size_nm, packed.origin_nm) == (plain.voxel_size_nm, plain.origin_nm)
    assert not packed.data.flags.writeable


def test_values_are_mapped_not_read_and_cannot_be_written_to(put):
    path = put(mrc_bytes(VIEWS))
    images = read_tilt_series(path, angles=ANGLES).images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0] = 1
    swapped = read_volume(put(mrc_bytes(VIEWS, order=">"), "b.mrc")).data
    assert not swapped.flags.writeable


def test_angles_come_from_option_then_side_file_then_header(put):
    path = put(mrc_bytes(VIEWS, **seri(ANGLES)))
    assert list(read_tilt_series(path).tilt_angles_deg) == ANGLES
    assert read_tilt_series(path).sources["tilt_angles_deg"] == "extended header (SERI)"
    put(b"-60\n0.01\n\n# end\n45.5\n", "a.tlt")
    assert list(read_tilt_series(path).tilt_angles_deg) == [-60, 0.01, 45.5]
    put(b"-60.0\n0.02\n45.5\n", "a.rawtlt")
    series = read_tilt_series(path)
    assert list(series.tilt_angles_deg) == [-60, 0.02, 45.5]
    assert series.sources["tilt_angles_deg"] == "file a.rawtlt"
    assert list(read_tilt_series(path, angles=[1, 2, 3]).tilt_angles_deg) == [1, 2, 3]
    other = put(b"4\n5\n6\n", "other.txt")
    assert list(read_tilt_series(path, angles=str(other)).tilt_angles_deg) == [4, 5, 6]


def test_side_file_and_header_that_disagree_are_both_shown(put):
    path = put(mrc_bytes(VIEWS, **seri(ANGLES)))
    put(b"-60\n10\n45.5\n", "a.rawtlt")
    with pytest.raises(FormatError, match=r"view 1 .* 10 deg by file a\.rawtlt and 0 deg by extended header"):
        read_tilt_series(path)


def test_seri_records_are_known_without_their_name_too(put):
    path = put(mrc_bytes(VIEWS, **{**seri(ANGLES), "extended_type": b""}))
    assert list(read_tilt_series(path).tilt_angles_deg) == ANGLES


@pytest.mark.parametrize("order", ["<", ">"])
def test_old_fei_records_give_angles_and_pixel_size(put, order):
    records = np.zeros((1024, 32), order + "f4")
    records[:3, 0], records[:3, 11] = ANGLES, 0.25e-9
    content = mrc_bytes(
        VIEWS,
        order=order,
        extended=records.tobytes(),
        titles=["Fei Company (c)"],
        map_word=b"",
        stamp=b"",
        cell=(15, 10, 7.5),
    )
    series = read_tilt_series(put(content))
    assert list(series.tilt_angles_deg) == ANGLES
    assert series.pixel_size_nm == 0.25  # exactly: float32(2.5e-10) x 1e9 would be 0.24999999...


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("exttyp", [b"FEI1", b"FEI2"])
def test_fei1_and_fei2_records_as_mrcfile_lays_them_out(put, order, exttyp):
    records = np.zeros(3, mrcfile.dtypes.get_ext_header_dtype(exttyp, order))
    records["Metadata size"] = records.dtype.itemsize
    records["Bitmask 1"] = 1 << 7 | 1 << 14
    records["Alpha tilt"], records["Pixel size X"] = ANGLES, 0.42e-9
    content = mrc_bytes(
        VIEWS, order=order, extended=records.tobytes(), extended_type=exttyp, cell=(25.2, 16.8, 1)
    )
    series = read_tilt_series(put(content))
    assert list(series.tilt_angles_deg) == ANGLES
    assert series.pixel_size_nm == 0.42


def test_an_extended_header_with_too_few_records_is_refused(put):
    for changes in (
        {"extended": bytes(128 * 2), "titles": ["Fei Company"]},
        {**seri(ANGLES), "extended": bytes(12)},
        {"extended": struct.pack("<i", 768) + bytes(764), "extended_type": b"FEI1"},
        {"extended": bytes(768 * 3), "extended_type": b"FEI1"},
    ):
        with pytest.raises(FormatError, match="records of"):
            read_tilt_series(put(mrc_bytes(VIEWS, **changes)))


@pytest.mark.parametrize("sizes", [(1e-9, 1e-9, 2e-9), (1e-9, np.nan, 1e-9), (-1e-9, -1e-9, -1e-9)])
def test_views_that_differ_in_pixel_size_are_refused(put, sizes):
    records = np.zeros((3, 32), "<f4")
    records[:, 0], records[:, 11] = ANGLES, sizes
    with pytest.raises(FormatError, match=r"pixel size.*Pass pixel_size_nm"):
        read_tilt_series(put(mrc_bytes(VIEWS, extended=records.tobytes(), n_real=32)))


def test_missing_and_wrong_numbers_of_angles_are_said(put):
    path = put(mrc_bytes(VIEWS))
    with pytest.raises(FormatError, match=r"a\.rawtlt or \.tlt beside it: pass angles"):
        read_tilt_series(path)
    with pytest.raises(FormatError, match=r"2 angles .* for 3 views"):
        read_tilt_series(path, angles=[1, 2])
    with pytest.raises(FormatError, match=r"60 angles .* for 77 views"):
        read_tilt_series(SHIPPED, angles=np.arange(60))


def test_the_axis_comes_from_option_then_title(put):
    title = "    Tilt axis angle = 84.3, binning = 1  spot = 8  camera = 0"
    path = put(mrc_bytes(VIEWS, titles=[title]))
    series = read_tilt_series(path, angles=ANGLES)
    assert (series.tilt_axis_deg, series.sources["tilt_axis_deg"]) == (84.3, "title of the header")
    assert read_tilt_series(path, angles=ANGLES, tilt_axis_deg=-5).tilt_axis_deg == -5
    with pytest.raises(ValueError, match="tilt_axis_deg must be a finite angle"):
        read_tilt_series(path, angles=ANGLES, tilt_axis_deg=np.nan)


def test_pixels_of_exactly_one_angstrom_are_doubted_aloud(put, caplog):
    path = put(mrc_bytes(VIEWS, cell=(6.0, 4.0, 3.0)))
    with caplog.at_level(logging.WARNING, logger="tomo3d"):
        assert read_tilt_series(path, angles=ANGLES).pixel_size_nm == 0.1
        assert read_volume(path).voxel_size_nm == (0.1, 0.1, 0.1)
    assert "the pixel size is 1 angstrom" in caplog.text
    assert "the voxel size is 1 angstrom" in caplog.text
    caplog.clear()
    read_tilt_series(path, angles=ANGLES, pixel_size_nm=0.1)
    assert not caplog.text


def test_pixels_that_are_not_square_are_refused(put):
    with pytest.raises(FormatError, match=r"square pixels, got 2 x 1 nm"):
        read_tilt_series(put(mrc_bytes(VIEWS, cell=(60.0, 80.0, 30.0))), angles=ANGLES)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, "3"])
def test_sizes_given_must_be_lengths(put, bad):
    path = put(mrc_bytes(VIEWS))
    with pytest.raises(ValueError, match="pixel_size_nm must be a positive length"):
        read_tilt_series(path, angles=ANGLES, pixel_size_nm=bad)
    with pytest.raises(ValueError, match="voxel_size_nm must be"):
        read_volume(path, voxel_size_nm=[1, 1, bad])


def test_permuted_sections_are_no_tilt_series(put):
    with pytest.raises(FormatError, match="got the order"):
        read_tilt_series(put(mrc_bytes(VIEWS, axes=(2, 1, 3))), angles=ANGLES)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused_with_place_and_number(put, order, bad, monkeypatch):
    monkeypatch.setattr("tomo3d.io._images._SLAB_BYTES", 1_000_000)  # slabs of two views
    images = ramp((5, 300, 400)) * 1.0
    images[2, 1, 1] = images[4, 0, :3] = bad
    path = put(mrc_bytes(images.astype("f4"), order=order, statistics=(0, 1, 0)))
    steps = []
    with listening(lambda *step: steps.append(step)):
        with pytest.raises(
            FormatError, match=r"got 4 that are nan or infinite, the first in view 2 \(0-based\)"
        ):
            read_tilt_series(path, angles=[-20, -10, 0, 10, 20])
        with pytest.raises(FormatError, match="the first in section 2"):
            read_volume(path)
    assert steps
    assert steps[-1][1] == steps[-1][2]


def test_bytes_behind_the_data_are_said_to_be_left_out(put, caplog):
    np.testing.assert_array_equal(read_volume(put(mrc_bytes(VIEWS) + b"rest")).data, VIEWS)
    assert "4 bytes lie behind the data" in caplog.text


def test_labels_may_be_floats_only_if_whole(put):
    labels = read_labels(put(mrc_bytes(ramp((3, 4, 5)))))
    assert labels.data.dtype == np.int32
    np.testing.assert_array_equal(labels.data, ramp((3, 4, 5)))
    for bad in (0.5, np.nan, np.inf, 1e9):
        data = ramp((3, 4, 5))
        data[1, 1, 1] = bad
        with pytest.raises(FormatError, match="whole numbers to be labels"):
            read_labels(put(mrc_bytes(data)))


def test_titles_of_other_programs_are_not_names_of_classes(put):
    assert read_labels(put(mrc_bytes(VIEWS, titles=["1 = this is mine"]))).names == {}


@pytest.mark.parametrize(("order", "extra"), [("<", 0), (">", 1)])
def test_plans_know_the_result_and_its_cost_from_the_header(put, order, extra):
    path = put(mrc_bytes(ramp((50, 200, 300)), order=order))
    angles = np.linspace(-60, 60, 50)
    for read, options, kind in (
        (read_tilt_series, {"angles": angles}, "TiltSeries"),
        (read_volume, {}, "Volume"),
    ):
        result, plan = read(path, **options), plan_of(read)(path, **options)
        data = result.images if kind == "TiltSeries" else result.data
        assert (plan.result.kind, plan.result.shape, plan.result.dtype) == (kind, data.shape, data.dtype.name)
        assert plan.result.pixel_size_nm == 1.0
        assert plan.peak_bytes >= extra * data.nbytes
        assert plan.peak_bytes <= (1 + extra) * data.nbytes
    labels = read_labels(path)
    assert plan_of(read_labels)(path).result.dtype == labels.data.dtype.name
