"""Thinning keeps topology, always; skeletons are thin, centred, and turn with their mask."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from tomo3d.compute import thinning
from tomo3d.compute.canonical_frame import canonical_frame
from tomo3d.compute.kernels import simple as kernels
from tomo3d.graph import medial_surface, skeletonize
from tomo3d.types import Labels

TOUCHING = np.ones((3, 3, 3))


def euler(mask, cell=None):
    """Vertices - edges + faces - voxels of the closed cubes of a mask: 26-connected; by cell of an even grid."""
    cell = cell or mask.shape
    total = 0
    for axes in itertools.product((0, 1), repeat=3):  # 1: an interval along this axis, 0: its end points
        part = np.pad(mask, [(0, 0) if a else (1, 1) for a in axes])
        for axis in (axis for axis in range(3) if not axes[axis]):
            n = part.shape[axis]
            part = part.take(range(n - 1), axis) | part.take(range(1, n), axis)
        part = part[
            tuple(slice(0, n) for n in mask.shape)
        ]  # of a grid, cells end with background: nothing is lost
        split = part.reshape(*(x for n, c in zip(mask.shape, cell, strict=True) for x in (n // c, c)))
        total = total + (-1) ** sum(axes) * split.sum(axis=(1, 3, 5), dtype=int)
    return total


def pieces(mask, cell):
    """Number of 26-connected pieces in each cell."""
    labels, _ = ndimage.label(mask, TOUCHING)
    split = labels.reshape(*(x for n, c in zip(mask.shape, cell, strict=True) for x in (n // c, c)))
    split = split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, np.prod(cell))
    return np.array([len(np.unique(row[row > 0])) for row in split])


def assert_same_topology(skeleton, mask):
    assert not (skeleton & ~mask).any()
    padded = [np.pad(m, 1) for m in (skeleton, mask)]
    assert euler(padded[0]) == euler(padded[1])
    assert pieces(padded[0], padded[0].shape) == pieces(padded[1], padded[1].shape)


def shell(edge, outer, inner):
    g = np.indices((edge,) * 3) - 0.5 * (edge - 1)
    square = (g**2).sum(axis=0)
    return (square <= outer**2) & (square > inner**2)


def torus(edge, major, minor):
    z, y, x = np.indices((edge,) * 3) - 0.5 * (edge - 1)
    return (np.hypot(x, y) - major) ** 2 + z**2 <= minor**2


def cubes_at_a_corner():
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1:4, 1:4, 1:4] = mask[4:8, 4:8, 4:8] = True
    return mask


def open_shell():
    mask = shell(19, 8.2, 5.0)
    mask[15:, 7:12, 7:12] = False
    return mask


SHAPES = {
    "4 x 4 bar": np.pad(np.ones((4, 4, 23), dtype=bool), 2),
    "4 x 4 bar that fills the volume": np.ones((4, 4, 9), dtype=bool),
    "plate": np.pad(np.ones((3, 17, 18), dtype=bool), 1),
    "plate of two layers": np.pad(np.ones((2, 12, 13), dtype=bool), 1),
    "torus": torus(25, 8.0, 3.0),
    "closed shell": shell(19, 8.2, 5.0),
    "open shell": open_shell(),
    "cubes at a corner": cubes_at_a_corner(),
    "one voxel": np.pad(np.ones((1, 1, 1), dtype=bool), 1),
    "empty": np.zeros((3, 4, 5), dtype=bool),
}


def is_simple(cube):
    """Bertrand and Malandain, by labelling."""
    cube = cube.copy()
    cube[1, 1, 1] = False
    _, n_object = ndimage.label(cube, TOUCHING)
    place = np.abs(np.indices((3, 3, 3)) - 1).sum(axis=0)
    labels, _ = ndimage.label(~cube & (place > 0) & (place < 3))
    return n_object == 1 and len(np.unique(labels[(place == 1) & (labels > 0)])) == 1


def test_a_voxel_is_simple_where_labelling_its_neighbourhood_says_so():
    rng = np.random.default_rng(0)
    cubes = rng.random((1500, 3, 3, 3)) < rng.uniform(0.05, 0.95, (1500, 1, 1, 1))
    bits = (cubes.reshape(-1, 27) * (1 << np.arange(27))).sum(axis=1)
    found = np.empty(len(bits), dtype=bool)
    kernels.are_simple_cpu(bits, found)
    expected = [is_simple(cube) for cube in cubes]
    assert 100 < sum(expected) < 1400
    assert found.tolist() == expected


@pytest.mark.parametrize("surfaces", [False, True], ids=["curves", "surfaces"])
def test_skeletons_of_2000_random_masks_have_their_pieces_and_euler_numbers(surfaces):
    rng = np.random.default_rng(1)
    cell, n = (9, 10, 11), (20, 10, 10)
    mask = np.zeros(tuple(c * k for c, k in zip(cell, n, strict=True)), dtype=bool)
    for place in itertools.product(*map(range, n)):
        size = rng.integers(1, np.array(cell) - 1)
        part = tuple(slice(p * c, p * c + s) for p, c, s in zip(place, cell, size, strict=True))
        mask[part] = rng.random(size) < rng.uniform(0.1, 0.95)
    skeleton = thinning.skeleton(mask, (1.0, 1.2, 2.0), surfaces=surfaces)
    assert 0 < skeleton.sum() < 0.8 * mask.sum()
    assert not (skeleton & ~mask).any()
    assert np.array_equal(euler(skeleton, cell), euler(mask, cell))
    assert np.array_equal(pieces(skeleton, cell), pieces(mask, cell))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("function", [skeletonize, medial_surface])
def test_solids_keep_their_topology(name, function):
    mask = SHAPES[name]
    mask.flags.writeable = False
    result = function(Labels(mask, (2.0, 2.0, 2.0), (5.0, 6.0, 7.0)))
    assert result.data.dtype == bool
    assert result.origin_nm == (5.0, 6.0, 7.0)
    assert_same_topology(result.data, mask)


def test_the_skeleton_of_a_4_x_4_bar_is_a_line_along_it():
    voxels = np.argwhere(skeletonize(Labels(SHAPES["4 x 4 bar"], (1, 1, 1))).data)
    assert len(np.unique(voxels[:, :2], axis=0)) == 1
    assert len(voxels) == len(np.unique(voxels[:, 2])) >= 23 - 4  # a radius may be lost at each end


def test_a_skeleton_is_one_voxel_wide_and_lies_on_the_axis():
    z, y, _ = np.indices((21, 22, 40))
    mask = np.hypot(z - 10.2, y - 10.7) <= 6.3
    voxels = np.argwhere(skeletonize(Labels(mask, (1, 1, 1))).data)
    off = np.hypot(voxels[:, 0] - 10.2, voxels[:, 1] - 10.7)
    assert off.max() <= 1.0
    assert len(voxels) == 40  # to both faces of the volume: beyond the border the structure goes on


def test_the_medial_surface_of_a_plate_is_its_middle_plane():
    found = medial_surface(Labels(SHAPES["plate"], (1, 1, 1))).data
    assert set(np.argwhere(found)[:, 0]) == {2}
    assert found.sum() >= 14 * 15  # the rim of a plate of three layers has none


def test_the_medial_surface_of_a_shell_is_one_voxel_thick_and_midway():
    found = np.argwhere(medial_surface(Labels(SHAPES["closed shell"], (1, 1, 1))).data) - 9.0
    radius = np.linalg.norm(found, axis=1)
    assert abs(np.median(radius) - 6.6) < 0.6
    assert len(found) < 1.3 * 4 * np.pi * 6.6**2


def test_a_ball_has_no_medial_surface_but_its_middle():
    ball = shell(24, 9.3, 0.0)
    assert 1 <= medial_surface(Labels(ball, (1, 1, 1))).data.sum() <= 27


def turned(array, axes, flips):
    return np.ascontiguousarray(
        array.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)]
    )


TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))


@pytest.mark.parametrize("function", [skeletonize, medial_surface])
def test_a_turned_or_mirrored_mask_has_the_turned_or_mirrored_skeleton(function):
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.standard_normal((18, 20, 22)), 1.5)
    mask, voxel = noise > 0.02, (1.0, 1.0, 1.5)
    expected = function(Labels(mask, voxel)).data
    for axes, flips in TURNS[::7]:
        found = function(Labels(turned(mask, axes, flips), tuple(voxel[axis] for axis in axes))).data
        assert np.array_equal(found, turned(expected, axes, flips))


def test_the_canonical_frame_of_all_turns_of_a_mask_shows_the_same_even_where_slices_do_not_tell():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 1, 2] = mask[1, 2, 3] = mask[2, 3, 0] = mask[3, 0, 1] = mask[1, 1, 0] = True
    mask[2, 0, 3] = mask[0, 3, 1] = mask[3, 2, 2] = True  # two voxels in every slice along each axis
    seen = set()
    for axes, flips in TURNS:
        copy = turned(mask, axes, flips)
        frame = canonical_frame(copy, (1.0, 1.0, 1.0))
        assert np.array_equal(frame.back(frame.turned(copy)), copy)
        seen.add(frame.turned(copy).tobytes())
    assert len(seen) == 1


def test_cavities_are_filled_and_pockets_that_reach_the_border_are_not():
    closed, opened = SHAPES["closed shell"], SHAPES["open shell"]
    assert np.array_equal(thinning.without_cavities(closed), ndimage.binary_fill_holes(closed))
    assert np.array_equal(thinning.without_cavities(opened), opened)
    rng = np.random.default_rng(3)
    noise = rng.random((14, 15, 16)) < 0.7
    rim = np.ones_like(noise)
    rim[1:-1, 1:-1, 1:-1] = False
    labels, _ = ndimage.label(~noise)
    expected = noise | ((labels > 0) & ~np.isin(labels, np.unique(labels[rim])))
    assert (expected & ~noise).any()
    assert np.array_equal(thinning.without_cavities(noise), expected)
