"""The gate: what is no MRC file, or is damaged, is refused for the right reason and at no cost."""

import bz2
import gzip
import tracemalloc

import numpy as np
import pytest
from mrc_bytes import IMOD_STAMP, mrc_bytes, ramp

from tomo3d.errors import FormatError
from tomo3d.io import inspect, read_labels, read_tilt_series, read_transform, read_volume

DATA = ramp((3, 4, 5))


@pytest.fixture
def put(tmp_path):
    def write(content, name="a.mrc"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2"])
@pytest.mark.parametrize("stamped", [True, False])
def test_every_supported_mode_is_read_in_both_byte_orders(put, order, dtype, stamped):
    data = ramp((3, 4, 5), dtype) - np.array(7, dtype)  # unsigned ones wrap around to 65,529
    changes = {} if stamped else {"stamp": b"\0\0\0\0"}
    volume = read_volume(put(mrc_bytes(data, order=order, **changes)))
    assert volume.data.dtype == np.dtype(dtype)
    assert volume.data.dtype.isnative
    np.testing.assert_array_equal(volume.data, data)
    assert volume.voxel_size_nm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stamp_that_lies_about_the_byte_order_does_not_mislead(put, order):
    lie = b"\x11\x11\0\0" if order == "<" else b"\x44\x44\0\0"
    np.testing.assert_array_equal(read_volume(put(mrc_bytes(DATA, order=order, stamp=lie))).data, DATA)


@pytest.mark.parametrize("suffix", [".mrc", ".map", ".tif", ".txt", ""])
def test_files_are_known_by_content_not_by_name(put, suffix):
    np.testing.assert_array_equal(read_volume(put(mrc_bytes(DATA), f"a{suffix}")).data, DATA)


@pytest.mark.parametrize("length", [0, 1, 512, 1023, 1024, 1025, 1024 + 239])
def test_a_truncated_file_is_refused(put, length):
    with pytest.raises(FormatError, match=r"whole MRC file|cut short"):
        read_volume(put(mrc_bytes(DATA)[:length]))


@pytest.mark.parametrize("n", [(0, 4, 5), (5, -4, 3), (5, 4, -(2**31)), (0, 0, 0)])
def test_sizes_that_are_not_positive_are_refused(put, n):
    with pytest.raises(FormatError, match="at least one column, row and section"):
        read_volume(put(mrc_bytes(DATA, n=n)))


@pytest.mark.parametrize("n", [(10_000, 10_000, 10_000), (2**31 - 1,) * 3, (500, 1000, 1000)])
@pytest.mark.parametrize(
    "read", [read_volume, read_labels, inspect, lambda p: read_tilt_series(p, angles=[0])]
)
def test_a_small_file_that_claims_to_be_huge_costs_nothing(put, n, read):
    path = put(mrc_bytes(ramp((3, 20, 25)), n=n, m=n))  # a 7 kB file
    tracemalloc.start()
    with pytest.raises(FormatError, match="cut short or damaged"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # the claim is 2 GB and more


@pytest.mark.parametrize("n_extended", [2**31 - 1, 241, -1, -1024])
def test_an_extended_header_that_is_not_there_is_refused(put, n_extended):
    with pytest.raises(FormatError, match=r"extended header|cut short"):
        read_volume(put(mrc_bytes(DATA, n_extended=n_extended)))


def test_colours_are_named_with_what_is_supported(put):
    with pytest.raises(FormatError, match=r"mode 16 \(RGB.*supported are 0 .*1 .*2 .*101 "):
        read_volume(put(mrc_bytes(DATA, mode=16)))


@pytest.mark.parametrize("mode", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_complex_modes_are_transforms_and_no_images(put, mode, order):
    parts = ramp((3, 4, 5, 2), "i2" if mode == 3 else "f4")
    header = {"mode": mode, "order": order, "n": (5, 4, 3), "m": (5, 4, 3), "cell": (50.0, 40.0, 30.0)}
    path = put(mrc_bytes(parts, **header))
    np.testing.assert_array_equal(read_transform(path), parts[..., 0] + 1j * parts[..., 1])
    for read in (read_volume, read_labels, lambda p: read_tilt_series(p, angles=[-1, 0, 1])):
        with pytest.raises(FormatError, match=r"real values, got complex ones.*read_transform"):
            read(path)
    with pytest.raises(FormatError, match=r"complex values \(mode 3 or 4\).*got mode 2"):
        read_transform(put(mrc_bytes(DATA), "real.mrc"))


@pytest.mark.parametrize("n_x", [4, 5])
@pytest.mark.parametrize("flagged", [False, True])
def test_values_of_four_bits_come_two_to_a_byte_the_low_bits_first(put, n_x, flagged):
    if flagged and n_x % 2:
        pytest.skip("the older way counts bytes, so its rows are even")
    truth = np.random.default_rng(3).integers(0, 16, (3, 2, n_x), dtype="u1")
    even = np.pad(truth, ((0, 0), (0, 0), (0, n_x % 2)))
    packed = even[..., 0::2] | even[..., 1::2] << 4
    if flagged:  # IMOD's older way: mode 0, a flag, and half the columns
        content = mrc_bytes(packed, imod=(IMOD_STAMP, 16))
    else:
        content = mrc_bytes(packed, mode=101, n=(n_x, 2, 3), m=(n_x, 2, 3))
    np.testing.assert_array_equal(read_volume(put(content), voxel_size_nm=1).data, truth)
    with pytest.raises(FormatError, match=r"of 4-bit integers\).*cut short"):
        read_volume(put(content[:-1]), voxel_size_nm=1)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_file_that_is_damaged_or_would_fill_the_memory_is_refused(put, pack):
    content = mrc_bytes(DATA)
    np.testing.assert_array_equal(read_volume(put(pack(content))).data, DATA)
    np.testing.assert_array_equal(read_volume(put(pack(content + bytes(5000)))).data, DATA)
    for bad, sentence in (
        (pack(content)[:-30], "be a whole .*zip2? file"),
        (pack(content[:-1]), "cut short"),
        (pack(b"text"), "header alone takes"),
        (pack(b"text" * 999), "not an MRC file"),
    ):
        with pytest.raises(FormatError, match=sentence):
            read_volume(put(bad))
    bomb = put(pack(mrc_bytes(DATA, n=(1000, 1000, 50), m=(1000, 1000, 50))[:1024] + bytes(10**7)))
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"announces 200,001,024 bytes: unpack it first"):
        read_volume(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("axes", [(1, 1, 3), (0, 1, 2), (7, 8, 9)])
def test_axes_that_are_no_permutation_are_refused(put, axes):
    with pytest.raises(FormatError, match="order its axes"):
        read_volume(put(mrc_bytes(DATA, axes=axes)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04" + bytes(range(256)) * 8, "ZIP archive: unpack"),
        (b"just some text " * 100, "make no sense"),
        (bytes(4096), "make no sense"),
        (np.random.default_rng(1).bytes(4096), "make no sense"),
    ],
)
def test_what_is_no_mrc_file_is_said_to_be_none(put, content, sentence):
    with pytest.raises(FormatError, match=f"not an MRC file, nor TIFF.*: .*{sentence}"):
        read_volume(put(content))


def test_a_folder_and_a_missing_file_are_said_to_be_that(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder: name one file"):
        read_volume(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.mrc\."):
        read_volume(tmp_path / "a.mrc")
    with pytest.raises(FileNotFoundError, match=r"the folder .*b does not exist"):
        read_volume(tmp_path / "b" / "a.mrc")


BYTES = np.array([[[0, 1, 127], [128, 200, 255]]], "u1")


@pytest.mark.parametrize(
    ("changes", "dtype"),
    [
        ({"imod": (IMOD_STAMP, 1)}, "i1"),
        ({"imod": (IMOD_STAMP, 0)}, "u1"),
        ({"imod": (IMOD_STAMP, 4)}, "u1"),
        ({"imod": (0, 1), "statistics": (0, 0, 0)}, "i1"),  # the standard: signed
        ({"statistics": (0, 255, 118)}, "u1"),  # no stamp, but the header's own maximum settles it
        ({"statistics": (-128, 127, 0)}, "i1"),
        ({"map_word": b"", "stamp": b"", "statistics": (0, 0, 0)}, "u1"),  # old IMOD
    ],
)
def test_the_sign_of_bytes_follows_imods_flag_then_the_value_range_then_the_standard(put, changes, dtype):
    data = read_volume(put(mrc_bytes(BYTES, **changes))).data
    assert data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(data, BYTES.view(dtype))


@pytest.mark.parametrize(
    "axes", [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1), (0, 0, 0)]
)
def test_permuted_axes_are_undone(put, axes):
    truth = ramp((3, 4, 5))  # (z, y, x)
    of_dimension = [3 - a for a in reversed(axes)] if any(axes) else [0, 1, 2]  # of sections, rows, columns
    n_start_zyx = (7, -8, 9)
    content = mrc_bytes(
        truth.transpose(of_dimension),
        axes=axes,
        m=(5, 4, 3),
        cell=(5 * 10.0, 4 * 20.0, 3 * 40.0),
        n_start=tuple(n_start_zyx[d] for d in reversed(of_dimension)),
    )
    volume = read_volume(put(content))
    np.testing.assert_array_equal(volume.data, truth)
    assert volume.voxel_size_nm == (4.0, 2.0, 1.0)
    assert volume.origin_nm == (28.0, -16.0, 9.0)


def test_the_voxel_is_cell_over_intervals_not_over_columns(put):
    volume = read_volume(put(mrc_bytes(DATA, m=(10, 8, 6), cell=(100.0, 80.0, 60.0))))
    assert volume.voxel_size_nm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("imod, sign", [((0, 0), 1), ((IMOD_STAMP, 5), 1), ((IMOD_STAMP, 1), -1)])  # noqa: PT006
def test_the_origin_has_the_sign_that_the_writer_used(put, imod, sign):
    volume = read_volume(put(mrc_bytes(DATA, origin=(30.0, -20.0, 10.0), n_start=(9, 9, 9), imod=imod)))
    assert volume.origin_nm == (sign * 1.0, sign * -2.0, sign * 3.0)


def test_old_files_have_no_origin_where_new_ones_have_it(put):
    volume = read_volume(put(mrc_bytes(DATA, map_word=b"", stamp=b"", origin=(np.nan, 3e38, 1.0))))
    assert volume.origin_nm == (0.0, 0.0, 0.0)


def test_an_origin_that_is_not_finite_is_refused(put):
    with pytest.raises(FormatError, match="finite origin"):
        read_volume(put(mrc_bytes(DATA, origin=(np.nan, 0.0, 0.0))))


@pytest.mark.parametrize(
    "changes",
    [{"cell": (0.0, 0.0, 0.0)}, {"cell": (np.nan, 1.0, 1.0)}, {"cell": (-50.0, 40.0, 30.0)}, {"m": (0, 0, 0)},
     {"m": (-5, 4, 3)}, {"cell": (np.inf, 1.0, 1.0)}],
)  # fmt: skip
def test_a_voxel_size_that_is_no_length_is_asked_for(put, changes):
    path = put(mrc_bytes(DATA, **changes))
    with pytest.raises(FormatError, match="no voxel size in its header: pass voxel_size_nm"):
        read_volume(path)
    with pytest.raises(FormatError, match="no pixel size in its header: pass pixel_size_nm"):
        read_tilt_series(path, angles=[-10, 0, 10])
    assert read_volume(path, voxel_size_nm=2).voxel_size_nm == (2.0, 2.0, 2.0)
    assert read_tilt_series(path, angles=[-10, 0, 10], pixel_size_nm=2.5).pixel_size_nm == 2.5


def test_one_interval_for_many_slices_is_not_believed(put):
    path = put(mrc_bytes(ramp((300, 2, 2), "i1"), m=(2, 2, 1), cell=(20.0, 20.0, 3000.0)))
    with pytest.raises(FormatError, match="one interval along z for 300 slices"):
        read_labels(path)
    assert read_labels(path, voxel_size_nm=(1, 1, 1)).voxel_size_nm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_headers_end_in_a_sentence_or_a_volume_of_the_file_s_size(put, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(mrc_bytes(DATA, extended=bytes(64)))
    for offset in rng.integers(0, 256, 4):
        content[offset] = rng.integers(256)
    path = put(bytes(content))
    try:
        n_bytes = read_volume(path).data.nbytes
    except FormatError as error:
        n_bytes, sentence = 0, str(error)
    else:
        sentence = str(path)
    assert n_bytes <= len(content) - 1024
    assert str(path) in sentence
