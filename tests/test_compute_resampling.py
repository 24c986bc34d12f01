"""Resampling: exact where a cubic spline is exact, nothing wrapped around, bins that are means."""

import numpy as np
import pytest
import scipy.ndimage

from tomo3d.compute.resampling import affine_images, bin_images


def quadratic(y, x):
    return 3.0 + 0.5 * y - 0.25 * x + 0.02 * y**2 - 0.03 * x * y + 0.01 * x**2


def test_a_quadratic_is_resampled_exactly_in_the_interior():
    y, x = np.indices((60, 70), dtype=float)
    image = quadratic(y, x).astype(np.float32)
    image.flags.writeable = False
    turn = np.array([[0.96, 0.28], [-0.28, 0.96]])
    matrices = np.stack([np.eye(2), 1.1 * turn])
    offsets = np.array([[0.3, -0.7], [-6.0, 12.0]])
    result = affine_images(np.stack([image, image]), matrices, offsets, (50, 40))
    assert result.shape == (2, 50, 40)
    assert result.dtype == np.float32
    for k in range(2):
        there = np.einsum("ij,jyx->iyx", matrices[k], np.indices((50, 40), dtype=float))
        there_y, there_x = there + offsets[k][:, None, None]
        # a spline forgets its edge by a factor of 3.7 a pixel: 12 pixels inside, below 1e-6
        inside = (np.minimum(there_y, 59 - there_y) > 12) & (np.minimum(there_x, 69 - there_x) > 12)
        assert inside.sum() > 500
        expected = quadratic(there_y, there_x)
        np.testing.assert_allclose(result[k][inside], expected[inside], rtol=2e-6, atol=2e-5)  # float32


def test_the_value_at_an_index_is_taken_from_where_matrix_and_offset_say():
    image = np.zeros((9, 12), dtype=np.float32)
    image[3, 8] = 1.0
    swap = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    result = affine_images(image[None], swap, np.array([[1.0, 2.0]]), (12, 9))[0]
    # 3 = x + 1, 8 = y + 2
    assert np.unravel_index(int(result.argmax()), result.shape) == (6, 2)
    assert result[6, 2] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("step", [-7.0, 7.0])
def test_nothing_wraps_around(axis, step):
    image = np.zeros((20, 20), dtype=np.float32)
    image[(slice(None),) * axis + (slice(0, 4),)] = 1.0  # a bright strip along the first edge
    offset = np.zeros(2)
    offset[axis] = step
    result = np.moveaxis(affine_images(image[None], np.eye(2)[None], offset[None], (20, 20))[0], axis, 0)
    # moved out of sight, or continued from the edge as far as the image was moved
    expected = np.zeros(20) if step > 0 else np.where(np.arange(20) < 4 - step, 1.0, 0.0)
    np.testing.assert_allclose(result.mean(axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_any_kind_of_number_comes_back_as_float32(dtype):
    images = np.arange(3 * 16 * 16).reshape(3, 16, 16).astype(dtype)
    result = affine_images(images, np.broadcast_to(np.eye(2), (3, 2, 2)), np.zeros((3, 2)), (16, 16))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, images, atol=1e-3)  # float32 spline at values of 768
    assert bin_images(images, 2).dtype == np.float32


@pytest.mark.parametrize(("shape", "factor"), [((6, 8), 2), ((7, 11), 2), ((11, 10), 3), ((5, 9), 5)])
def test_bins_are_means_about_the_middle(shape, factor):
    y, x = np.indices(shape, dtype=float)
    binned = bin_images((y + 100 * x)[None], factor)[0]
    assert binned.shape == (shape[0] // factor, shape[1] // factor)
    # the mean of a plane is its value in the middle: half a pixel before that of the image where one is left over
    leftover = [n % factor % 2 for n in shape]
    middle = [0.5 * (n - 1) - 0.5 * odd for n, odd in zip(shape, leftover, strict=True)]
    assert binned.mean() == pytest.approx(middle[0] + 100 * middle[1], rel=1e-6)
    np.testing.assert_allclose(np.diff(binned, axis=1), 100 * factor, rtol=1e-6)
    np.testing.assert_allclose(np.diff(binned, axis=0), factor, rtol=1e-4)


def test_bins_of_small_integers_do_not_overflow():
    assert bin_images(np.full((1, 4, 4), 255, dtype=np.uint8), 4)[0, 0, 0] == 255.0


@pytest.mark.parametrize("shape", [(31, 40), (3, 5), (1, 7)])
@pytest.mark.parametrize("turn_deg", [0.0, 7.0, 90.0, 200.0])
def test_a_spline_is_that_of_scipy_inside_and_beyond_the_edge(shape, turn_deg):
    image = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    offset = np.array([12.3, -4.7])
    result = affine_images(image[None], matrix[None], offset[None], (26, 33))[0]
    expected = scipy.ndimage.affine_transform(
        image.astype(float), matrix, offset, (26, 33), order=3, mode="nearest"
    )
    np.testing.assert_allclose(result, expected, atol=5e-6)  # float32, of coefficients up to 9 times as large


def test_views_that_are_not_finite_say_nothing_of_others():
    images = np.random.default_rng(4).normal(size=(2, 12, 14)).astype(np.float32)
    images[0, 3, 5] = np.nan
    result = affine_images(images, np.stack([np.eye(2)] * 2), np.full((2, 2), 0.25), (12, 14))
    assert np.isnan(result[0]).any()
    assert np.isfinite(result[1]).all()
