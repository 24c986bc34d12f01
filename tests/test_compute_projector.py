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


GEOMETRIES = {
    "shift along v": {"shifts": "yx"},
    "rotation": {"rotations_deg": 4.0},
    "magnification": {"magnifications": 0.03},
    "x-axis tilt": {"x_tilt_deg": -5.0},
    "offset across": {"specimen_offset": (2.5, 0.0, -1.25)},
    "offset along the axis": {"specimen_offset": (0.0, 1.75, 0.0)},
    "more rows than slices": {"n_y": 11, "n_v": 16},
    "all": {
        "shifts": "yx",
        "rotations_deg": 30.0,
        "magnifications": 0.1,
        "x_tilt_deg": 8.0,
        "specimen_offset": (-1.5, 0.5, 2.25),
    },
}


def projector_with(options, n_views, *, n_u, n_x, n_z, seed=5):
    """A projector with the options, per view where they are per view."""
    rng = np.random.default_rng(seed)
    chosen = dict(options)
    if "shifts" in chosen:
        chosen["shifts"] = rng.uniform(-3, 3, (n_views, 2))
    if "rotations_deg" in chosen:
        chosen["rotations_deg"] = rng.uniform(-1, 1, n_views) * chosen["rotations_deg"]
    if "magnifications" in chosen:
        chosen["magnifications"] = 1 + rng.uniform(-1, 1, n_views) * chosen["magnifications"]
    return Projector(rng.uniform(-75, 75, n_views), n_u=n_u, n_x=n_x, n_z=n_z, **chosen)


@pytest.mark.parametrize("options", GEOMETRIES.values(), ids=GEOMETRIES.keys())
@pytest.mark.parametrize(("n_z", "n_y", "n_x", "n_u"), [(7, 11, 12, 15), (10, 70, 9, 8)])
def test_back_is_the_transpose_of_forward_in_every_geometry(options, n_z, n_y, n_x, n_u):
    projector = projector_with(options, 5, n_u=n_u, n_x=n_x, n_z=n_z)
    rng = np.random.default_rng(1)
    volume = rng.random((n_z, projector.n_y or n_y, n_x), dtype=np.float32)
    images = rng.random((5, projector.n_v or n_y, n_u), dtype=np.float32)
    for array in (volume, images):
        array.flags.writeable = False
    a = np.vdot(projector.forward(volume).astype(np.float64), images.astype(np.float64))
    b = np.vdot(volume.astype(np.float64), projector.back(images).astype(np.float64))
    assert abs(a - b) <= 1e-6 * abs(a)  # float32 rounding of sums of hundreds of terms


@pytest.mark.parametrize("options", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_a_voxel_lands_where_every_geometry_says(options):
    n_z, n_y, n_x, n_u, n_views = 9, 12, 11, 40, 6
    projector = projector_with({**options, "n_y": n_y, "n_v": 41}, n_views, n_u=n_u, n_x=n_x, n_z=n_z)
    iz, iy, ix = 6, 3, 8
    volume = np.zeros((n_z, n_y, n_x), dtype=np.float32)
    volume[iz, iy, ix] = 2.0
    images = projector.forward(volume).astype(np.float64)
    z, y, x = np.array([iz, iy, ix]) - [geometry.centre(n) for n in (n_z, n_y, n_x)]
    z, y, x = np.array([z, y, x]) + projector.specimen_offset
    pitch = np.deg2rad(projector.x_tilt_deg)
    up, along = z * np.cos(pitch) + y * np.sin(pitch), y * np.cos(pitch) - z * np.sin(pitch)
    for i, image in enumerate(images):
        enlarged = 1.0 if projector.magnifications is None else projector.magnifications[i] ** 2
        # the same line integral on more pixels; for a lone voxel, the sharpest thing there is, up to the weights
        # of a cubic on a lattice that is not its own, which sum to 1 within 2e-4 at 2 to 3 %
        assert image.sum() == pytest.approx(
            2.0 * enlarged, rel=1e-5 if enlarged == 1 or projector.x_tilt_deg else 4e-4
        )
        moments = [geometry.coordinates(41) @ image.sum(1), geometry.coordinates(n_u) @ image.sum(0)]
        landed = np.array(moments) / (2.0 * enlarged)
        turn = geometry.rotation_yx(0.0 if projector.rotations_deg is None else projector.rotations_deg[i])
        size = 1.0 if projector.magnifications is None else projector.magnifications[i]
        shift = 0.0 if projector.shifts is None else projector.shifts[i]
        across = geometry.detector_position(x, up, projector.tilt_angles_deg[i])
        expected = size * turn @ np.array([along, across]) + shift
        # float32 weights on 40 pixels, and the same of a cubic
        np.testing.assert_allclose(
            landed, expected, atol=2e-5 if enlarged == 1 or projector.x_tilt_deg else 3e-3
        )


def test_the_general_projector_equals_the_separable_one_where_both_apply():
    rng = np.random.default_rng(3)
    tilts, shifts = np.array([-61.0, -20.5, 0.0, 33.0, 88.0]), rng.uniform(-2, 2, (5, 2))
    volume = rng.random((9, 20, 14), dtype=np.float32)
    images = rng.random((5, 20, 17), dtype=np.float32)
    separable = Projector(tilts, n_u=17, n_x=14, n_z=9, shifts=shifts[:, 1])
    general = Projector(tilts, n_u=17, n_x=14, n_z=9, shifts=shifts * [1e-9, 1.0])
    assert separable.is_separable
    assert not general.is_separable
    np.testing.assert_allclose(general.forward(volume), separable.forward(volume), rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(general.back(images), separable.back(images), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("shift_v", [0.0, 0.5])
@pytest.mark.parametrize("n_y", [5, 64, 83])
def test_a_step_along_the_back_projection_is_taken_in_place_and_within_bounds(n_y, shift_v):
    rng = np.random.default_rng(7)
    shifts = np.stack([np.full(9, shift_v), rng.uniform(-2, 2, 9)], axis=1)
    projector = Projector(np.linspace(-70, 70, 9), n_u=21, n_x=19, n_z=11, shifts=shifts)
    assert projector.is_separable == (shift_v == 0)
    images = projector.padded(rng.random((9, n_y, 21), dtype=np.float32))
    before = rng.random((11, 19, n_y), dtype=np.float32)
    weights = rng.random((11, 19, 1), dtype=np.float32) - np.float32(0.5)
    free, bound = before.copy(), before.copy()
    projector.back_step(images, weights, free)
    projector.back_step(images, weights, bound, lower=-0.25, upper=1.5)
    expected = before + weights * projector.back_inner(images)
    np.testing.assert_allclose(free, expected, rtol=1e-5, atol=1e-5)  # float32 sums of some 9 terms near 1
    np.testing.assert_allclose(bound, np.clip(expected, -0.25, 1.5), rtol=1e-5, atol=1e-5)
    assert bound.min() == -0.25
    assert bound.max() == 1.5


def test_some_of_the_views_are_projected_alone():
    projector = projector_with(GEOMETRIES["all"], 6, n_u=13, n_x=9, n_z=5)
    volume = np.random.default_rng(4).random((5, 8, 9), dtype=np.float32)
    some = projector.views([4, 1]).forward(volume)
    np.testing.assert_array_equal(some, projector.forward(volume)[[4, 1]])


@pytest.mark.parametrize("tilts", [[90.0, -90.0], [89.9, -66.5, -66.3], [0.0]])
def test_steep_views_see_what_the_matrix_says(tilts):
    n_z, n_x, n_u = 33, 21, 37  # more than one tile of layers each way
    rng = np.random.default_rng(6)
    volume = rng.random((n_z, 2, n_x), dtype=np.float32)
    images = Projector(np.array(tilts), n_u=n_u, n_x=n_x, n_z=n_z).forward(volume)
    z, x = np.meshgrid(geometry.coordinates(n_z), geometry.coordinates(n_x), indexing="ij")
    for image, tilt in zip(images, tilts, strict=True):
        landed = geometry.detector_position(x, z, tilt)[..., None] - geometry.coordinates(n_u)
        expected = np.einsum("zyx,zxu->yu", volume, np.maximum(0.0, 1.0 - np.abs(landed)))
        np.testing.assert_allclose(image, expected, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("shift_v", [0.0, 0.5])
def test_inner_arrays_must_be_what_the_kernels_read(shift_v):
    projector = Projector(np.zeros(2), n_u=6, n_x=5, n_z=4, shifts=np.full((2, 2), [shift_v, 0.0]))
    for volume in (np.ones((4, 5, 8)), np.ones((4, 8, 5), np.float32).transpose(0, 2, 1)):
        with pytest.raises(TypeError, match="must be C-contiguous float32"):
            projector.forward_inner(volume)
    with pytest.raises(TypeError, match="must be C-contiguous float32, got float64"):
        projector.back_inner(projector.padded(np.ones((2, 8, 6), np.float32)).astype(np.float64))
