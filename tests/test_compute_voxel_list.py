"""Voxels as bits and as lists say what the volume says; what is nobody's goes to the nearest source."""

import heapq
import itertools

import numpy as np
import pytest

from tomo3d.compute.distance import distance_to_background
from tomo3d.compute.kernels import bits, spread
from tomo3d.compute.thinning import neighbour_steps
from tomo3d.compute.voxel_list import Bits, depths_of, listed

SHAPES = [(5, 7, 61), (4, 5, 62), (3, 4, 63), (2, 3, 64), (6, 3, 130), (1, 1, 1), (40, 2, 5)]


def random_mask(shape, share=0.6):
    mask = np.random.default_rng(sum(shape)).random(shape) < share
    mask.flat[0] = True
    mask.flags.writeable = False
    return mask


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_are_the_voxels_in_order_wherever_a_word_ends(shape):
    mask = random_mask(shape)
    packed = Bits.of(mask)
    places, starts = listed(packed.words)
    assert np.array_equal(packed.index(places), np.argwhere(mask))
    assert np.array_equal(packed.places(np.argwhere(mask)), places)
    assert np.array_equal(places // 64, np.repeat(np.arange(len(packed.words)), np.diff(starts)))


@pytest.mark.parametrize("shape", SHAPES)
def test_voxels_on_faces_are_those_at_the_first_or_last_index(shape):
    mask = random_mask(shape)
    packed = Bits.of(mask)
    for axis, last in itertools.product(range(3), (0, 1)):
        faces = np.zeros((3, 2), dtype=bool)
        faces[axis, last] = True
        kept = np.zeros(shape, dtype=bool)
        plane = tuple(slice(None) if a != axis else -last for a in range(3))
        kept[plane] = mask[plane]
        assert np.array_equal(packed.index(listed(packed.on_faces(faces))[0]), np.argwhere(kept))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_neighbourhood_of_bits_is_the_cube_around_the_voxel(shape):
    mask = random_mask(shape)
    packed = Bits.of(mask)
    padded = np.pad(mask, 1)
    for index, place in zip(np.argwhere(mask)[:200], listed(packed.words)[0][:200], strict=True):
        cube = padded[tuple(slice(i, i + 3) for i in index)]
        found = bits.neighbourhood(
            packed.words, np.uint64(place), np.uint64(packed.row), np.uint64(packed.plane)
        )
        assert found == (cube.ravel() * (1 << np.arange(27))).sum()


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (1.0, 1.2, 2.07)])
@pytest.mark.parametrize(("shape", "share"), [((20, 31, 64), 0.9), ((7, 40, 130), 0.99), ((33, 35, 61), 0.3)])
def test_depths_are_the_distances_to_the_background_exactly(shape, share, voxel):
    mask = random_mask(shape, share)
    depths = depths_of(mask, voxel)
    assert np.array_equal(depths.volume(), distance_to_background(mask, voxel))
    everywhere = np.argwhere(np.ones(shape, dtype=bool))
    assert np.array_equal(depths.at(everywhere), distance_to_background(mask, voxel).ravel())


def test_the_depth_of_a_volume_that_is_full_is_that_below_its_faces():
    volume = depths_of(np.ones((3, 4, 5), dtype=bool), (1.0, 1.0, 1.0)).volume()
    assert np.array_equal(
        volume, distance_to_background(np.pad(np.ones((3, 4, 5), bool), 1), (1, 1, 1))[1:-1, 1:-1, 1:-1]
    )


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
def test_voxels_go_to_the_nearest_source_by_the_way_within_the_mask(voxel):
    mask = random_mask((9, 11, 70), 0.45)
    packed = Bits.of(mask)
    counted = mask & (np.random.default_rng(5).random(mask.shape) < 0.8)
    shape = (packed.shape[0] + 2, packed.shape[1] + 2, 64 * packed.row)
    steps, ways = neighbour_steps(shape, voxel, 1)
    n_steps = np.rint(5 * ways / min(voxel)).astype(int)
    lengths = np.unique(n_steps[steps != 0])
    reached = np.array([sum(1 << k for k in np.flatnonzero((n_steps == n) & (steps != 0))) for n in lengths])
    sources = np.argwhere(mask)[[3, 700, 1500, 2200]]
    counts, on_border = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=bool)
    left = packed.words.copy()
    faces = np.array([[True, False], [False, False], [False, True]])
    spread.spread_cpu(
        steps, lengths, reached, packed.places(sources), np.arange(4, dtype=np.int32), left, Bits.of(counted).words,
        Bits.of(counted).on_faces(faces), np.uint64(packed.row), np.uint64(packed.plane), counts, on_border,
    )  # fmt: skip
    ways_of = np.array([shortest_ways(mask, source, n_steps) for source in sources])
    nearest = ways_of.min(axis=0)
    owned = counted & np.isfinite(nearest)
    assert counts.sum() == owned.sum()
    assert np.array_equal(packed.index(listed(left)[0]), np.argwhere(mask & ~np.isfinite(nearest)))
    alone = (ways_of == nearest).sum(axis=0) == 1
    for i, count in enumerate(counts):  # of equally near sources, one has the voxel
        is_nearest = owned & (ways_of[i] == nearest)
        assert (is_nearest & alone).sum() <= count <= is_nearest.sum()
        edge = np.concatenate([is_nearest[0].ravel(), is_nearest[:, :, -1].ravel()])
        assert on_border[i] <= edge.any()
    assert on_border.any()


def shortest_ways(mask, source, n_steps):
    """Dijkstra's, voxel by voxel."""
    cube = list(itertools.product((-1, 0, 1), repeat=3))
    way = np.full(mask.shape, np.inf)
    way[tuple(source)] = 0
    heap = [(0, tuple(source.tolist()))]
    while heap:
        length, place = heapq.heappop(heap)
        if length > way[place]:
            continue
        for step, n in zip(cube, n_steps.tolist(), strict=True):
            other = tuple(p + s for p, s in zip(place, step, strict=True))
            is_within = all(0 <= o < m for o, m in zip(other, mask.shape, strict=True))
            if is_within and mask[other] and length + n < way[other]:
                way[other] = length + n
                heapq.heappush(heap, (length + n, other))
    return way
