"""Lists of tilt angles: what is taken and what is refused."""

import numpy as np
import pytest
from mrc_bytes import mrc_bytes, ramp

from tomo3d.errors import FormatError
from tomo3d.io import read_tilt_series
from tomo3d.io._angles import check_angles, read_angle_file


@pytest.fixture
def put(tmp_path):
    def write(content):
        path = tmp_path / "a.rawtlt"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        b"-60\n0\n60.5",
        b" -60.00\r\n0\r\n  60.5\r\n",
        b"# angles\n\n-60\n0 # middle\n+60.5\n\n",
        b"\xef\xbb\xbf-6e1\n0\n60.5\n",
    ],
)
def test_one_angle_per_line_with_comments_and_blank_lines(put, content):
    assert list(read_angle_file(put(content))) == [-60, 0, 60.5]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"1\n2\n3 4\n", "line 3: must be one angle in degrees, got '3 4'"),
        (b"1\n\n#\nx\n", "line 4: .* got 'x'"),
        (b"# nothing\n\n", "got none"),
        (b"\xff\xfe1\n", "not plain text"),
    ],
)
def test_what_is_no_angle_is_refused_with_its_line(put, content, sentence):
    with pytest.raises(FormatError, match=sentence):
        read_angle_file(put(content))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 181, -180.5])
def test_angles_must_be_finite_and_within_half_a_turn(bad):
    with pytest.raises(FormatError, match=r"within 180 deg, got .* for view 1 \(0-based; given\)"):
        check_angles([0, bad, 10], 3, "given")


def test_angles_in_radians_are_recognised():
    degrees = np.linspace(-90, 90, 7)
    with pytest.raises(FormatError, match="look like radians"):
        check_angles(np.deg2rad(degrees), 7, "given")
    for fine in (degrees, np.deg2rad(degrees[:4]), np.zeros(7), np.linspace(-1.6, 1.6, 7)):
        np.testing.assert_array_equal(check_angles(fine, len(fine), "given"), fine)


def test_any_order_of_angles_is_kept():
    dose_symmetric = [0, 3, -3, -6, 6, 9, -9]
    assert list(check_angles(dose_symmetric, 7, "given")) == dose_symmetric


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0.98 -0.19 0.19 0.98 3.5 -2\n1 0 0 1 0 0\n", r"it is transforms of IMOD \(.xf\). Read it as an alignment"),
        ("# AreTomo Alignment / Priims bprmMn\n0 85 1 2 -1 1 1 1 0 -20\n1 85 1 2 -1 1 1 1 0 20\n",
         "it is an alignment of AreTomo, whose angles are not in the first column"),
        ("# Columns: #1 micrograph number; #2 - defocus 1 [A]; #3 - defocus 2\n1 25951 24469\n2 25951 24469\n",
         "it is the defocus that CTFFIND found"),
    ],
)  # fmt: skip
def test_columns_of_other_numbers_are_no_angles(tmp_path, text, sentence):
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(ramp((2, 3, 4))))
    for options in ({"angles": tmp_path / "a.txt"}, {"mdoc": tmp_path / "a.txt"}):
        with pytest.raises(FormatError, match=sentence):
            read_tilt_series(tmp_path / "a.mrc", **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"exclude": 1}, r"exclude must be a list of views \(0-based\), as \[1\], got one number"),
        ({"tilt_axis_deg": "x"}, "tilt_axis_deg must be a finite angle in degrees, got 'x'"),
        ({"pixel_size_nm": "3"}, "pixel_size_nm must be a positive length in nm, got '3'"),
        ({"angles": ["a", "b"]}, r"tilt angles must be numbers in degrees, or the name of a file \(given\)"),
    ],
)
def test_options_of_a_wrong_kind_are_told_in_a_sentence(tmp_path, options, sentence):
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(ramp((2, 3, 4))))
    with pytest.raises(ValueError, match=sentence):
        read_tilt_series(tmp_path / "a.mrc", **{"angles": [-1.0, 1.0], **options})


def test_a_data_set_is_named_of_hdf5_only(tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(ramp((2, 3, 4))))
    with pytest.raises(FormatError, match=r"a.mrc must be an HDF5 file, of which ::/x names a data set"):
        read_tilt_series(f"{tmp_path / 'a.mrc'}::/x")
