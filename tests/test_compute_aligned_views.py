"""Views read a band of rows at a time: the same as all at once, and nothing made up beyond their edges."""

import numpy as np
import pytest

from tomo3d.compute.aligned_views import ResampledViews, SelectedViews
from tomo3d.compute.resampling import affine_images

N_Y, N_X = 90, 70


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(0).random((4, N_Y, N_X), dtype=np.float32)
    images.flags.writeable = False
    return images


def turns(angles_deg, out_shape):
    """Matrices and offsets that turn about the centre, with a shift."""
    angles = np.deg2rad(angles_deg)
    matrices = np.array([[[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]] for a in angles])
    raw, out = np.array([N_Y - 1, N_X - 1]) / 2, (np.array(out_shape) - 1) / 2
    return matrices, np.array([raw - matrix @ out + [0.3, -2.7] for matrix in matrices])


@pytest.mark.parametrize(
    ("angle_deg", "out_shape"), [(3.0, (N_Y, N_X)), (-88.0, (N_X, N_Y)), (40.0, (N_Y, N_X))]
)
@pytest.mark.parametrize("rows", [(0, 64), (17, 33), (60, 70)])
def test_a_band_of_resampled_views_is_the_band_of_the_whole(images, angle_deg, out_shape, rows):
    matrices, offsets = turns([angle_deg, angle_deg + 1.0], out_shape)
    whole = affine_images(images[[3, 1]], matrices, offsets, out_shape)
    views = ResampledViews(images, np.array([3, 1]), matrices, offsets, out_shape, continued=True)
    # the spline remembers pixels beyond the band at 0.27^16 of their value, and rounds in float32
    np.testing.assert_allclose(views[:, rows[0] : rows[1]], whole[:, rows[0] : rows[1]], atol=2e-6)


def test_what_lies_beyond_a_view_is_unknown(images):
    matrices, offsets = turns([90.0], (N_Y, N_X))
    view = ResampledViews(images, np.array([0]), matrices, offsets, (N_Y, N_X))[:, 0:N_Y][0]
    y, x = np.mgrid[:N_Y, :N_X]
    source = np.einsum("ij,jyx->iyx", matrices[0], np.array([y, x], dtype=float)) + offsets[0][:, None, None]
    beyond = ((source < -0.5) | (source > np.array([N_Y, N_X])[:, None, None] - 0.5)).any(axis=0)
    assert 0 < beyond.sum() < beyond.size
    np.testing.assert_array_equal(np.isnan(view), beyond)


def test_selected_views_are_read_where_they_lie(images):
    views = SelectedViews(images, np.array([2, 0]))
    assert views.shape == (2, N_Y, N_X)
    np.testing.assert_array_equal(views[:, 10:20], images[[2, 0], 10:20])
    whole = SelectedViews(images, np.arange(4))
    assert np.shares_memory(whole[:, 5:9], images)


@pytest.mark.parametrize("move", [-100, -3, 0, 5, 88])
def test_views_that_move_by_whole_rows_are_copied_and_the_rest_is_unknown(images, move):
    views = SelectedViews(images, np.array([1]), np.array([move]))[:, 0:N_Y][0]
    continued = SelectedViews(images, np.array([1]), np.array([move]), continued=True)[:, 0:N_Y][0]
    for row in range(N_Y):
        source = row + move
        if 0 <= source < N_Y:
            np.testing.assert_array_equal(views[row], images[1, source])
        else:
            assert np.isnan(views[row]).all()
        np.testing.assert_array_equal(continued[row], images[1, np.clip(source, 0, N_Y - 1)])


def test_views_are_read_by_bands_of_rows_only(images):
    with pytest.raises(IndexError, match=r"\[:, first:last\]"):
        SelectedViews(images, np.array([0]))[0:1, 0:4]
