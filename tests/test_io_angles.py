"""Lists of tilt angles: what is taken and what is refused."""

import numpy as np
import pytest

from tomo3d.errors import FormatError
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
