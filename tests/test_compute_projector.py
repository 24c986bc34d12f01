"""The projector: an exact adjoint pair, with the signs of the geometry."""

from dataclasses import replace

import numpy as np
import pytest

from tomo3d import geometry
from tomo3d.compute.projector import Projector
from tomo3d.phantoms import Ellipsoid

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


def near_identity(n_views):
    return np.eye(2) + np.random.default_rng(7).uniform(-0.05, 0.05, (n_views, 2, 2))


OF_FIVE_VIEWS = {
    "distortion": {"distortions": near_identity(5)},
    "shear along the beam": {"z_shears": np.linspace(-0.04, 0.05, 5)},
    "shift of parts": {"local_shifts": np.random.default_rng(8).uniform(-2, 2, (5, 3, 2, 2))},
    "all in the plane": {
        "shifts": "yx",
        "rotations_deg": 30.0,
        "magnifications": 0.1,
        "distortions": near_identity(5),
        "local_shifts": np.random.default_rng(9).uniform(-2, 2, (5, 2, 4, 2)),
        "specimen_offset": (-1.5, 0.5, 2.25),
        "n_y": 11,
        "n_v": 16,
    },
    "all but that": {
        "shifts": "yx",
        "rotations_deg": 30.0,
        "magnifications": 0.1,
        "distortions": near_identity(5),
        "z_shears": np.linspace(-0.04, 0.05, 5),
        "x_tilt_deg": 8.0,
        "specimen_offset": (-1.5, 0.5, 2.25),
        "n_y": 14,
        "n_v": 9,
    },
    "positive": {"rotations_deg": 5.0, "is_positive": True},
    "sizes of weights": {"rotations_deg": 5.0, "magnifications": 0.05, "is_absolute": True},
}


@pytest.mark.parametrize(
    "options", [*GEOMETRIES.values(), *OF_FIVE_VIEWS.values()], ids=[*GEOMETRIES, *OF_FIVE_VIEWS]
)
@pytest.mark.parametrize(
    ("n_z", "n_y", "n_x", "n_u"), [(7, 11, 12, 15), (10, 70, 9, 8), (8, 12, 14, 10), (1, 1, 3, 4)]
)
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
        size = 1.0 if projector.magnifications is None else projector.magnifications[i]
        mass, place = wavering(size) if projector.is_planar else (0.0, 0.0)
        assert mass <= 2.3 * (size - 1) ** 2 + 1e-9  # as the docstring has it
        total = image.sum()
        assert total == pytest.approx(2.0 * size**2, rel=1e-5 + mass)  # the same line integral on more pixels
        moments = [geometry.coordinates(41) @ image.sum(1), geometry.coordinates(n_u) @ image.sum(0)]
        turn = geometry.rotation_yx(0.0 if projector.rotations_deg is None else projector.rotations_deg[i])
        shift = 0.0 if projector.shifts is None else projector.shifts[i]
        across = geometry.detector_position(x, up, projector.tilt_angles_deg[i])
        expected = size * turn @ np.array([along, across]) + shift
        # float32 weights on 40 pixels
        np.testing.assert_allclose(np.array(moments) / total, expected, atol=2e-5 + place)


def wavering(magnification):
    """How far the sum of all pixels that a voxel is seen on, and their mean, stray where cubics enlarge the views.

    A kernel's values on a lattice of spacing 1 / m sum to m where m is 1. Elsewhere the sum wavers with the place
    of the kernel, and so does the mean. The most of all places, relative and in pixels of the detector.
    """
    lattice = np.arange(-8, 9) / magnification
    place = np.linspace(0, 1, 101)[:, None] / magnification
    weights = keys(place - lattice) / magnification
    mass, moment = abs(weights.sum(1) - 1).max(), abs((weights * (lattice - place)).sum(1)).max()
    return (1 + mass) ** 2 - 1, magnification * moment * (1 + mass)


def keys(x):
    """Keys' cubic of a = -1/2."""
    x = abs(x)
    far = np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, far)


PLANAR = {
    "turned": {"rotations_deg": 3.0},
    "enlarged by 0.5 %": {"magnifications": 0.005},
    "enlarged by 2 %": {"magnifications": 0.02},
    "moved": {"shifts": "yx"},
    "all": {"rotations_deg": 1.0, "magnifications": 0.02, "shifts": "yx"},
}


@pytest.mark.parametrize("options", PLANAR.values(), ids=PLANAR.keys())
def test_views_of_an_ellipsoid_turned_by_cubics_are_nearer_the_closed_form_than_by_shares(options):
    radius = 13.0
    solid = Ellipsoid(
        semi_axes_nm=(radius, 0.7 * radius, 1.3 * radius),
        rotation_deg=(20.0, -35.0, 10.0),
        centre_nm=(0.6, -1.2, 0.9),
        density=2.0,
    )
    n = round(3.2 * radius)
    projector = projector_with(options, 13, n_u=n, n_x=n, n_z=n)
    exact = ellipsoid_views(solid, projector, n)
    fine = replace(projector, n_u=2 * n, n_x=2 * n, n_z=2 * n)
    if fine.shifts is not None:
        fine = replace(fine, shifts=2 * fine.shifts)
    volume = (solid.density * solid.fraction((2 * n,) * 3, 0.5)).astype(np.float32)

    def error(projector):
        views = projector.forward(volume).reshape(13, n, 2, n, 2).mean(axis=(2, 4)) / 2
        return np.linalg.norm(views - exact) / np.linalg.norm(exact)

    assert fine.is_planar
    cubic, shared = error(fine), error(replace(fine, is_positive=True))
    assert cubic <= shared
    assert cubic <= 0.1 / radius  # of first order in the voxel, as where slices are independent


def ellipsoid_views(solid, projector, n_v, n_parts=6):
    """Closed-form views (n_views, n_v, n_u) through its rotations, magnifications and shifts, by 6 x 6 rays."""
    parts = (np.arange(n_parts) + 0.5) / n_parts - 0.5
    v, u = ((geometry.coordinates(n)[:, None] + parts).ravel() for n in (n_v, projector.n_u))
    views = []
    for k, tilt_deg in enumerate(projector.tilt_angles_deg):
        turn = geometry.rotation_yx(0.0 if projector.rotations_deg is None else projector.rotations_deg[k])
        size = 1.0 if projector.magnifications is None else projector.magnifications[k]
        shift = np.zeros(2) if projector.shifts is None else projector.shifts[k]
        seen = np.stack(np.meshgrid(v, u, indexing="ij")) - shift[:, None, None]
        y, x = np.tensordot(turn.T / size, seen, axes=1)
        paths = solid.chord_nm(x, y, float(tilt_deg)).reshape(n_v, n_parts, projector.n_u, n_parts)
        views.append(solid.density * paths.mean(axis=(1, 3)))
    return np.array(views)


@pytest.mark.parametrize("nodes", [(1, 1), (3, 4), (5, 1)])
@pytest.mark.parametrize("options", [{}, PLANAR["all"]], ids=["alone", "turned too"])
@pytest.mark.parametrize(("n_z", "n_y", "n_x", "n_u"), [(7, 11, 12, 15), (10, 70, 9, 8)])
def test_back_is_the_transpose_of_forward_where_parts_of_a_view_move(options, nodes, n_z, n_y, n_x, n_u):
    rng = np.random.default_rng(1)
    local = rng.uniform(-2, 2, (5, *nodes, 2))
    projector = replace(projector_with(options, 5, n_u=n_u, n_x=n_x, n_z=n_z), local_shifts=local)
    volume = rng.random((n_z, n_y, n_x), dtype=np.float32)
    images = rng.random((5, n_y, n_u), dtype=np.float32)
    for array in (volume, images, local):
        array.flags.writeable = False
    forward = projector.forward(volume)
    a = np.vdot(forward.astype(np.float64), images.astype(np.float64))
    b = np.vdot(volume.astype(np.float64), projector.back(images).astype(np.float64))
    assert abs(a - b) <= 1e-6 * abs(a)  # float32 rounding of sums of hundreds of terms
    some = projector.views([1, 3])
    np.testing.assert_allclose(some.forward(volume), forward[[1, 3]], atol=1e-5 * forward.max())


def test_whole_local_shifts_that_are_the_same_everywhere_move_the_views():
    rng = np.random.default_rng(6)
    projector = projector_with(PLANAR["all"], 4, n_u=40, n_x=21, n_z=6)
    volume = rng.random((6, 35, 21), dtype=np.float32)
    local = replace(projector, local_shifts=np.broadcast_to([2.0, -1.0], (4, 3, 2, 2)))
    views, moved = projector.forward(volume), local.forward(volume)
    np.testing.assert_allclose(moved[:, 2:, :-1], views[:, :-2, 1:], atol=1e-5 * views.max())


def test_a_point_is_seen_where_less_the_local_shift_it_would_be():
    n, n_nodes = 48, 8
    volume = np.zeros((5, n, n), dtype=np.float32)
    places = np.array([(14, 15), (14, 33), (31, 16), (30, 29)])
    for y, x in places:
        volume[2, y, x] = 1.0
    # local = offset + gradient @ (v, u): cubics hold what is linear, but for the outer nodes
    offset, gradient = np.array([0.7, -1.3]), np.array([[0.01, -0.02], [0.015, -0.01]])
    nodes = (np.arange(n_nodes) + 0.5) * n / n_nodes - 0.5
    local = offset + np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1) @ gradient.T
    image = Projector(np.zeros(1), n, n, 5, local_shifts=local[None]).forward(volume)[0].astype(np.float64)
    coordinates = np.arange(-6.0, 7.0)
    for y, x in places:
        expected = np.linalg.solve(np.eye(2) - gradient, offset + np.array([y, x]))  # p - local(p) = (y, x)
        seen = image[y - 6 : y + 7, x - 6 : x + 7]
        landed = (y, x) + np.array([seen.sum(1) @ coordinates, seen.sum(0) @ coordinates]) / seen.sum()
        np.testing.assert_allclose(landed, expected, atol=3e-3)  # as cubics waver at 2 %


def test_local_shifts_of_another_shape_or_where_nothing_takes_them_are_refused():
    for shape in [(3, 2, 2, 2), (4, 2, 2), (4, 2, 2, 3), (4, 0, 2, 2)]:
        with pytest.raises(
            ValueError, match=r"local_shifts must have the shape \(4, n_nodes_v, n_nodes_u, 2\)"
        ):
            Projector(np.zeros(4), 5, 5, 5, local_shifts=np.ones(shape))
    for options in ({"x_tilt_deg": 1.0}, {"is_positive": True}):
        with pytest.raises(ValueError, match="without x-axis tilt, z_shears and is_positive"):
            Projector(np.zeros(4), 5, 5, 5, local_shifts=np.ones((4, 2, 2, 2)), **options)


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
