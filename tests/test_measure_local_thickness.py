import numpy as np
import pytest
from scipy import ndimage

from tomo3d import phantoms
from tomo3d.compute import implicit_surface, subvoxel_thickness
from tomo3d.compute.distance import integer_metric, squared_distance
from tomo3d.measure import local_thickness
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)
OFF = (0.31, -0.22, 0.13)  # centres off the grid
OBLIQUE = (0.71, 0.52, 0.47)
SLABS = {
    f"slab of {t} {name}": (phantoms.Slab(thickness_nm=t, normal=normal, centre_nm=OFF), t, (24, 25, 26))
    for t in (3.0, 4.0, 8.0)
    for name, normal in (("along z", (1, 0, 0)), ("oblique", OBLIQUE), ("nearly along x", (0.1, 0.2, 0.97)))
}
ROUND = {
    "ball of 5.25": (phantoms.Ball(radius_nm=5.25, centre_nm=OFF), 10.5, (16, 17, 18)),
    "ball of 20.25": (phantoms.Ball(radius_nm=20.25, centre_nm=OFF), 40.5, (46, 47, 48)),
    "cylinder along z": (
        phantoms.Cylinder(radius_nm=8.25, length_nm=1e3, centre_nm=OFF),
        16.5,
        (20, 22, 23),
    ),
    "oblique cylinder": (
        phantoms.Cylinder(radius_nm=8.25, length_nm=1e3, axis=OBLIQUE, centre_nm=OFF),
        16.5,
        (30, 31, 32),
    ),
    "shell of 25 to 31": (
        phantoms.Shell(outer_radius_nm=31, thickness_nm=6, centre_nm=(31.2, 0.1, 0.3)),
        6.0,
        (34, 66, 66),
    ),
    "torus of 24 and 8": (
        phantoms.Torus(major_radius_nm=24, minor_radius_nm=8, centre_nm=OFF, axis=(0.9, 0.2, 0.4)),
        16.0,
        (46, 67, 66),
    ),
}
BODIES = {**SLABS, **ROUND}


def volume(fraction, voxel=CUBE):
    data = fraction.astype(np.float32)
    data.flags.writeable = False
    return Volume(data, voxel)


def labels(mask, voxel=CUBE):
    data = mask.astype(np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel)


def positions(shape, voxel=CUBE):
    axes = [(np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, voxel, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def inner(thickness, name):
    """Thickness away from where the border cuts a plate or a cylinder; the border is no surface, but bends them."""
    data = thickness.data
    return data[4:-4, 4:-4, 4:-4] if "slab" in name or "cylinder" in name else data


@pytest.mark.parametrize("name", BODIES)
def test_grey_thickness_is_that_of_the_body_within_one_per_cent(name):
    solid, truth, shape = BODIES[name]
    grey = solid.fraction(shape, 1.0, samples_per_voxel=3)
    thickness = inner(local_thickness(volume(grey), level=0.5), name)
    assert np.median(thickness[thickness > 0]) == pytest.approx(truth, rel=0.01)


@pytest.mark.parametrize("name", BODIES)
def test_mask_thickness_is_that_of_the_body_within_the_stated_error(name):
    solid, truth, shape = BODIES[name]
    mask = solid.depth_nm(positions(shape)) > 0
    whole = local_thickness(labels(mask))
    assert (whole.data > 0).tolist() == mask.tolist()
    thickness = inner(whole, name)
    assert np.median(thickness[thickness > 0]) == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_grey_plates_of_any_direction_keep_their_thickness(seed):
    rng = np.random.default_rng(seed)
    slab = phantoms.Slab(
        thickness_nm=3.0 + seed, normal=rng.standard_normal(3), centre_nm=rng.uniform(-0.5, 0.5, 3)
    )
    grey = slab.fraction((24, 23, 22), 1.0, samples_per_voxel=3)
    thickness = local_thickness(volume(grey), level=0.5).data[4:-4, 4:-4, 4:-4]
    assert np.median(thickness[thickness > 0]) == pytest.approx(3.0 + seed, rel=0.01)


# One direction in 80 lies so near to a diagonal of the grid that the steps of its mask are as wide as the field:
# 3 or 4 voxels are a layer more or less nearly everywhere. Seed 7, 2.5 deg off (0, 1, -1), is one.
@pytest.mark.parametrize(("seed", "error"), [*((seed, 0.03) for seed in (0, 1, 2, 3, 4, 5, 6, 8)), (7, 0.06)])
@pytest.mark.parametrize("thickness", [3.0, 4.0])
def test_mask_plates_of_any_direction_keep_their_thickness(seed, error, thickness):
    rng = np.random.default_rng(seed)
    slab = phantoms.Slab(
        thickness_nm=thickness, normal=rng.standard_normal(3), centre_nm=rng.uniform(-0.5, 0.5, 3)
    )
    values = local_thickness(labels(slab.depth_nm(positions((25, 26, 27))) > 0)).data[4:-4, 4:-4, 4:-4]
    assert np.median(values[values > 0]) == pytest.approx(thickness, rel=error)


def test_a_plate_of_two_voxels_reads_a_tenth_too_thin():
    mask = np.zeros((14, 15, 16), bool)
    mask[6:8] = True
    assert np.median(local_thickness(labels(mask)).data[mask]) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("voxel", [(2.0, 1.0, 1.0), (0.5, 0.8, 0.6)])
def test_voxels_of_unequal_edges_keep_lengths(voxel):
    ball = phantoms.Ball(radius_nm=9.3, centre_nm=OFF)
    shape = tuple(int(21 / edge) + 2 for edge in voxel)
    grey = ball.fraction(shape, voxel, samples_per_voxel=3)
    from_grey = local_thickness(volume(grey, voxel), level=0.5).data
    from_mask = local_thickness(labels(ball.depth_nm(positions(shape, voxel)) > 0, voxel)).data
    assert np.median(from_grey[from_grey > 0]) == pytest.approx(18.6, rel=0.01)
    assert np.median(from_mask[from_mask > 0]) == pytest.approx(18.6, abs=0.5 * max(voxel))


def test_a_cube_has_its_edge_but_in_its_corners():
    # The ball in a cube of edge a covers pi / 6 of it; towards edges and corners it must shrink.
    mask = np.zeros((26, 26, 26), bool)
    mask[5:21, 5:21, 5:21] = True
    thickness = local_thickness(labels(mask)).data
    assert thickness.max() == pytest.approx(16.0, rel=0.02)
    assert (thickness[mask] > 15.5).mean() == pytest.approx(np.pi / 6, abs=0.06)
    middle, edge, corner = thickness[13, 13, 5], thickness[13, 5, 5], thickness[5, 5, 5]
    assert middle > 15.5 > edge > corner


def test_an_angle_beam_has_its_width_in_the_arms_and_more_at_the_corner():
    # Two arms of width w: the largest ball at the corner touches the two outer sides and the inner edge,
    # r = (w - r) sqrt(2), so 2 r = 2 w sqrt(2) / (1 + sqrt(2)) = 1.1716 w.
    width = 10
    mask = np.zeros((9, 44, 44), bool)
    mask[:, 6 : 6 + width, 6:] = mask[:, 6:, 6 : 6 + width] = True
    thickness = local_thickness(labels(mask)).data[4]
    assert np.median(thickness[6 : 6 + width, 30:40]) == pytest.approx(width, rel=0.01)
    # The inner edge is rounded by about a voxel, which lets the ball in deeper.
    assert thickness.max() == pytest.approx(1.1716 * width, abs=0.5)


def test_parts_of_one_voxel_read_one_voxel():
    mask = np.zeros((12, 13, 14), bool)
    mask[6] = True
    mask[2, 3, 4] = True
    thickness = local_thickness(labels(mask, (0.5, 0.5, 0.5))).data
    assert set(thickness[mask]) == {0.5}


def test_faint_film_is_not_in_the_structure():
    grey = np.zeros((20, 21, 22), np.float32)
    grey[5] = 0.6  # smoothing by (1, 2, 1) / 4 leaves 0.3
    grey[10:16] = 1.0
    thickness = local_thickness(volume(grey), level=0.5).data
    assert not thickness[:8].any()
    assert np.median(thickness[10:16]) == pytest.approx(6.0, rel=0.01)


def test_thickness_scales_with_the_voxel_and_keeps_the_grid():
    grey = phantoms.Ball(radius_nm=5.25, centre_nm=OFF).fraction((15, 16, 17), 1.0)
    small = local_thickness(Volume(grey, CUBE, record={"method": "x"}), level=0.5)
    large = local_thickness(Volume(grey, (4.0, 4.0, 4.0), (1.0, 2.0, 3.0)), level=0.5)
    np.testing.assert_allclose(large.data, 4.0 * small.data, rtol=1e-6)
    assert (large.voxel_size_nm, large.origin_nm) == ((4.0, 4.0, 4.0), (1.0, 2.0, 3.0))
    assert small.record["input"] == {"method": "x"}
    assert small.data.dtype == np.float32


def test_grey_values_may_have_any_level_and_contrast():
    grey = phantoms.Ball(radius_nm=5.25, centre_nm=OFF).fraction((15, 16, 17), 1.0)
    plain = local_thickness(volume(grey), level=0.5).data
    scaled = local_thickness(volume(100.0 - 40.0 + 80.0 * grey), level=100.0).data
    np.testing.assert_allclose(scaled, plain, rtol=1e-4)


def blobs(shape, size, seed=1):
    field = np.random.default_rng(seed).standard_normal(shape)
    return ndimage.gaussian_filter(field, size / 4)


@pytest.mark.parametrize("kind", ["grey", "mask"])
@pytest.mark.parametrize("voxel", [CUBE, (0.7, 1.0, np.pi / 3)])
def test_slab_by_slab_equals_the_whole(kind, voxel, monkeypatch):
    field = blobs((76, 17, 18), 10)
    structure = labels(field > 0, voxel) if kind == "mask" else volume(field, voxel)
    level = None if kind == "mask" else 0.0
    limited = {"level": level, "max_thickness_nm": 5.0}
    whole = local_thickness(structure, **limited).data
    n_slabs = []
    slabs = subvoxel_thickness._diameters
    monkeypatch.setattr(subvoxel_thickness, "slab_depth", lambda *_: 1)
    monkeypatch.setattr(subvoxel_thickness, "_depth_of_slabs", lambda *_: 9)
    monkeypatch.setattr(subvoxel_thickness, "_diameters", lambda *a: n_slabs.append(a) or slabs(*a))
    parts = local_thickness(structure, **limited).data
    assert len(n_slabs) == 9
    np.testing.assert_array_equal(parts, whole)
    assert whole.max() == 5.0
    # Where no ball reaches the limit, the limit changes nothing.
    free = local_thickness(structure, level=level).data
    thin = free < 4.0
    assert thin.any()
    assert (np.abs(whole[thin] - free[thin]) < 1e-5).mean() > 0.98


@pytest.mark.parametrize("shape", [(17, 17, 17), (1, 9, 33), (40, 3, 5)])
@pytest.mark.parametrize("voxel", [CUBE, (0.7, 0.5, 0.3), (np.pi, np.e, 1.0)])
def test_the_nearest_site_is_background_beside_the_structure_and_that_near(shape, voxel):
    mask = np.random.default_rng(0).random(shape) < 0.95
    mask.flat[3] = False
    metric = integer_metric(shape, voxel)
    sites = implicit_surface.site_starts(mask)
    squared, nearest = implicit_surface.squared_and_nearest(mask, sites, metric)
    np.testing.assert_array_equal(squared, squared_distance(mask, metric))
    # Sites are numbered row by row: background with a face to the structure.
    faces = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 1)) & ~mask
    places = np.argwhere(faces)[nearest]
    offset = np.moveaxis(np.indices(shape), 0, -1) - places
    is_known = mask | faces
    np.testing.assert_array_equal((offset**2 * metric.weights).sum(axis=-1)[is_known], squared[is_known])
    assert (nearest[~is_known] == -1).all()


@pytest.mark.parametrize("kind", ["grey", "mask"])
@pytest.mark.parametrize(("value", "match"), [(0, "at least one voxel"), (1, "must leave some background")])
def test_structures_without_a_surface_are_refused(kind, value, match):
    if kind == "mask":
        with pytest.raises(ValueError, match=match):
            local_thickness(labels(np.full((6, 7, 8), value)))
        return
    grey = np.full((6, 7, 8), float(value), np.float32)
    grey[3, 3, 3] = 0.45 + 0.1 * (1 - value)  # above the level, or below it, until smoothed
    with pytest.raises(ValueError, match=match):
        local_thickness(volume(grey), level=0.5)


def test_a_volume_of_integers_without_a_level_is_a_mask():
    mask = positions((12, 13, 14))[..., 0] ** 2 < 9
    from_volume = local_thickness(Volume(mask.astype(np.int8), CUBE))
    np.testing.assert_array_equal(from_volume.data, local_thickness(labels(mask)).data)


def test_wrong_levels_are_refused():
    grey = phantoms.Ball(radius_nm=3.0).fraction((9, 9, 9), 1.0)
    with pytest.raises(ValueError, match="level must be given"):
        local_thickness(volume(grey))
    with pytest.raises(ValueError, match="must not be given for labels"):
        local_thickness(labels(grey > 0.5), level=0.5)
    for level in (1.0, 0.0, -3.0, np.nan):
        with pytest.raises(ValueError, match="level must lie between"):
            local_thickness(volume(grey), level=level)
    for value in (np.nan, np.inf):
        grey[2, 2, 2] = value
        with pytest.raises(ValueError, match="must be finite"):
            local_thickness(volume(grey), level=0.5)


@pytest.mark.parametrize("limit", [0.0, 1.9, -1.0, np.nan])
def test_limits_below_two_voxels_are_refused(limit):
    with pytest.raises(ValueError, match="at least two voxel edges"):
        local_thickness(labels(np.eye(5)[None] > 0), max_thickness_nm=limit)
