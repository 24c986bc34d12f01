"""The projector of any affine geometry: against its definition, and an exact adjoint pair."""

import numpy as np
import pytest
from projections import AFFINE, affine_geometry, dot, relative

from tomo3d.compute.kernels.affine import back_affine_cpu, forward_affine_cpu


def backprojection(images, affine, shape):
    """The definition, voxel by voxel in float64."""
    z, x, y = np.meshgrid(*[np.arange(n) - 0.5 * (n - 1) for n in shape], indexing="ij")
    volume = np.zeros(shape)
    _, n_u, n_v = images.shape
    for image, (row_u, row_v) in zip(images, affine, strict=True):
        u = row_u[0] * x + row_u[1] * y + row_u[2] * z + row_u[3]
        v = row_v[0] * x + row_v[1] * y + row_v[2] * z + row_v[3]
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            inside = (i + a >= 0) & (i + a < n_u) & (j + b >= 0) & (j + b < n_v)
            weight = (1 - abs(u - i - a)) * (1 - abs(v - j - b))
            tap = image[np.clip(i + a, 0, n_u - 1), np.clip(j + b, 0, n_v - 1)]
            volume += np.where(inside, weight * tap, 0)
    return volume


@pytest.mark.parametrize(("shape", "detector", "rotation_deg", "x_tilt_deg"), AFFINE)
def test_back_projection_is_bilinear_interpolation_and_zero_outside(
    shape, detector, rotation_deg, x_tilt_deg
):
    affine = affine_geometry(*detector, rotation_deg, x_tilt_deg)
    images = np.random.default_rng(1).normal(size=(len(affine), *detector)).astype(np.float32)
    images.flags.writeable = affine.flags.writeable = False
    volume = np.zeros(shape, np.float32)
    back_affine_cpu(images, affine, volume)
    assert relative(volume, backprojection(images, affine, shape)) <= 1e-6  # sums of 28 terms in float32


@pytest.mark.parametrize(("shape", "detector", "rotation_deg", "x_tilt_deg"), AFFINE)
def test_forward_is_the_transpose_of_back(shape, detector, rotation_deg, x_tilt_deg):
    affine = affine_geometry(*detector, rotation_deg, x_tilt_deg)
    rng = np.random.default_rng(2)
    volume = rng.random(shape, dtype=np.float32)
    images = rng.random((len(affine), *detector), dtype=np.float32)
    volume.flags.writeable = images.flags.writeable = False
    projected, gathered = np.zeros_like(images), np.zeros_like(volume)
    forward_affine_cpu(volume, affine, projected)
    back_affine_cpu(images, affine, gathered)
    a = dot(projected, images)
    b = dot(volume, gathered)
    assert abs(a - b) <= 1e-6 * abs(a)


def test_positions_hold_a_hundred_thousandth_of_a_pixel_across_4096_pixels():
    # an image whose value is its column, then its row, gives the position back
    n_y, slope = 4096, 1e-3
    affine = np.array([[[1.0, slope, 0.0, 3.25], [0.0, 1.0 - slope, 0.0, 2047.5]]])
    ramp_u, ramp_v = (
        np.broadcast_to(np.arange(8.0)[:, None], (8, n_y)),
        np.broadcast_to(np.arange(n_y) - 2047.5, (8, n_y)),
    )
    y = np.arange(n_y) - 2047.5
    for ramp, expected in ((ramp_u, 3.25 + slope * y), (ramp_v, (1 - slope) * y)):
        volume = np.zeros((1, 1, n_y), np.float32)
        back_affine_cpu(np.ascontiguousarray(ramp, np.float32)[None], affine, volume)
        # float32 itself holds columns near 2048 to 1.2e-4: compare where the ramp is below 64
        exact = np.abs(expected) < 64
        assert np.abs(volume[0, 0] - expected)[exact].max() <= 1e-5


def test_both_add_to_what_is_there():
    affine = affine_geometry(6, 9, 1.0, 1.0)
    images = np.ones((len(affine), 6, 9), np.float32)
    volume, again = np.zeros((3, 5, 8), np.float32), np.ones((3, 5, 8), np.float32)
    back_affine_cpu(images, affine, volume)
    back_affine_cpu(images, affine, again)
    np.testing.assert_allclose(again, volume + 1, rtol=1e-6)
    projected, twice = np.zeros_like(images), np.ones_like(images)
    forward_affine_cpu(volume, affine, projected)
    forward_affine_cpu(volume, affine, twice)
    np.testing.assert_allclose(twice, projected + 1, rtol=1e-5)
