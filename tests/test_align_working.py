"""The copy that alignment works on: means over blocks, read once, view by view, whatever holds the views."""

import numpy as np
import pytest

from tomo3d.align._working import reduced, working_copy
from tomo3d.types import TiltSeries

TILTS = np.linspace(-40.0, 40.0, 5)


class Counted:
    """Views that count how often each is read, and refuse to be read as a whole."""

    ndim = 3

    def __init__(self, images):
        self._images = images
        self.shape, self.dtype = images.shape, images.dtype
        self.n_reads = np.zeros(len(images), dtype=int)

    def __getitem__(self, key):
        assert isinstance(key, int)
        self.n_reads[key] += 1
        return self._images[key]

    def __array__(self, *_, **__):
        raise AssertionError("the whole stack was read")


def series(dtype=np.int16, use=None):
    images = np.random.default_rng(1).integers(-3000, 3000, (5, 25, 37)).astype(dtype)
    images.flags.writeable = False
    return TiltSeries(Counted(images), TILTS, pixel_size_nm=0.5, tilt_axis_deg=12.0, use=use), images


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, ">i2"])
def test_a_series_is_reduced_to_means_over_blocks_and_read_once(dtype):
    use = np.array([True, True, False, True, True])
    found, images = series(dtype, use)
    small = reduced(found, max_pixels=10)
    assert small.images.shape == (5, 6, 9)
    assert small.pixel_size_nm == 2.0
    assert small.tilt_axis_deg == 12.0
    np.testing.assert_array_equal(small.used, use)
    # 25 = 4 x 6 + 1 and 37 = 4 x 9 + 1: the odd row and column are left out at the end
    blocks = images[:, :24, :36].astype(float).reshape(5, 6, 4, 9, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(small.images[use], blocks[use], rtol=1e-5, atol=1e-3)
    assert not small.images[2].any()
    np.testing.assert_array_equal(found.images.n_reads, use)


def test_what_is_small_enough_stays_as_it_is():
    found, _ = series()
    assert reduced(found, max_pixels=37) is found


def test_a_working_copy_of_a_reduced_series_is_that_of_the_series():
    found, _ = series()
    direct = working_copy(found, max_pixels=10, smooth=True)
    again = working_copy(reduced(found, max_pixels=10), max_pixels=10, smooth=True)
    np.testing.assert_array_equal(direct.images, again.images)
    assert direct.pixel_size_nm == again.pixel_size_nm


@pytest.mark.parametrize("place", [(0, 0), (24, 36)], ids=["in a block", "beside the blocks"])
def test_what_is_not_finite_is_found_while_it_is_read(place):
    images = series(np.float32)[1].copy()
    images[(3, *place)] = np.nan
    broken = TiltSeries(Counted(images), TILTS, pixel_size_nm=0.5)
    with pytest.raises(ValueError, match=r"1 NaN or infinite pixels in view 3 \(0-based\)"):
        reduced(broken, max_pixels=10)
