"""The projector: an exact adjoint pair, with the signs of the geometry."""

import numpy as np
import pytest

from tomo3d import geometry
from tomo3d.compute.projector import Projector

SHAPES = [(7, 5, 12, 12), (8, 64, 17, 15), (13, 70, 9, 21), (1, 1, 4, 4)]  # n_z, n_y, n_x, n_u


@pytest.mark.parametrize(("n_z", "n_y", "n_x", "n_u"), SHAPES)
@pytest.mark.parametrize("n_views", [1, 4, 7])
def test_back_is_the_transpose_of_forward(n_z, n_y, n_x, n_u, n_views):
    rng = np.random.default_rng(1)
    projector = Projector(
        rng.uniform(-89, 89, n_views), n_u=n_u, n_x=n_x, n_z=n_z, shifts=rng.uniform(-3, 3, n_views)
    )
    volume = rng.random((n_z, n_y, n_x), dtype=np.float32)
    images = rng.random((n_views, n_y, n_u), dtype=np.float32)
    for array in (volume, images):
        array.flags.writeable = False
    a = np.vdot(projector.forward(volume).astype(np.float64), images.astype(np.float64))
    b = np.vdot(volume.astype(np.float64), projector.back(images).astype(np.float64))
    assert abs(a - b) <= 1e-6 * abs(a)  # float32 rounding of sums of hundreds of terms


@pytest.mark.parametrize("n_z", [16, 17])
@pytest.mark.parametrize("n_x", [24, 25])
@pytest.mark.parametrize("tilt_deg", [-70.0, -30.0, 0.0, 45.0, 60.0])
def test_a_voxel_lands_where_the_geometry_says(n_z, n_x, tilt_deg):
    volume = np.zeros((n_z, 3, n_x), dtype=np.float32)
    volume[12, 1, 15] = 2.0
    n_u = 31
    image = Projector(np.array([tilt_deg]), n_u=n_u, n_x=n_x, n_z=n_z).forward(volume)[0]
    assert image[[0, 2]].sum() == 0  # v = y
    assert image.sum() == pytest.approx(2.0, rel=1e-6)  # mass is projected unchanged
    landed = (image[1] @ geometry.coordinates(n_u)) / image.sum()
    x = 15 - geometry.centre(n_x)
    z = 12 - geometry.centre(n_z)
    # float32 weights on a detector of 31 pixels
    assert landed == pytest.approx(float(geometry.detector_position(x, z, tilt_deg)), abs=1e-5)


def test_a_shift_moves_the_axis_on_the_detector():
    volume = np.zeros((5, 1, 9), dtype=np.float32)
    volume[2, 0, 4] = 1.0  # on the axis
    image = Projector(np.array([33.0]), n_u=15, n_x=9, n_z=5, shifts=np.array([2.25])).forward(volume)[0, 0]
    assert (image @ geometry.coordinates(15)) == pytest.approx(2.25, abs=1e-6)


def test_what_leaves_the_detector_is_lost_not_wrapped():
    volume = np.zeros((1, 1, 20), dtype=np.float32)
    volume[0, 0, 0] = 1.0
    assert Projector(np.array([0.0]), n_u=6, n_x=20, n_z=1).forward(volume).sum() == 0


def test_slices_along_y_are_independent():
    rng = np.random.default_rng(2)
    projector = Projector(np.linspace(-60, 60, 9), n_u=20, n_x=20, n_z=11)
    volume = rng.random((11, 100, 20), dtype=np.float32)
    whole = projector.forward(volume)
    assert np.array_equal(whole[:, 70:71], projector.forward(volume[:, 70:71]))
    # the same products in the same order: equal up to the rounding of fused operations
    images = rng.random((9, 100, 20), dtype=np.float32)
    np.testing.assert_allclose(projector.back(images)[:, 70:71], projector.back(images[:, 70:71]), rtol=1e-6)
