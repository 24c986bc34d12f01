import math

import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from scipy.special import digamma

from tomo3d import tables
from tomo3d.compute.diffusion import steady_diffusion
from tomo3d.errors import ConvergenceError
from tomo3d.measure import effective_diffusivity, geodesic_tortuosity, tortuosity
from tomo3d.types import Labels

VOXELS = [(1.0, 1.0, 1.0), (0.7, 2.0, 1.3)]


def labels(data, voxel=(1.0, 1.0, 1.0)):
    data = np.array(data, dtype=np.uint8)
    data.flags.writeable = False
    return Labels(data, voxel, names={1: "pore", 2: "film"})


def blobs(shape, share, seed=0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return field > np.quantile(field, 1 - share)


def rows(table, schema=tables.TRANSPORT):
    return tables.check(table, schema).set_index("axis")


def inclined_slot(width, tilt_deg, n_z):
    """A slot inclined to z in a plane one voxel thick."""
    slope, across = math.tan(math.radians(tilt_deg)), width / math.cos(math.radians(tilt_deg))
    z, x = np.arange(n_z) + 0.5, np.arange(int(n_z * slope + across + 3)) + 0.5
    return (np.abs(x - 1.5 - across / 2 - z[:, None] * slope) < across / 2)[:, None, :]


def inclined_factor(width, tilt_deg, length):
    """Closed form: 1 / cos^2, less what the slanted ends spare (a strip that ends in an oblique electrode).

    Schwarz and Christoffel map the strip to a half plane; the electrode acts as one straight across, moved inwards by
    `end` at its middle.
    """
    tilt = math.radians(tilt_deg)
    a = 0.5 - tilt / math.pi
    end = -(2 * math.log(2) + np.euler_gamma + 0.5 * (digamma(a) + digamma(1 - a))) * width / math.pi
    return (length / math.cos(tilt) - 2 * end) / (length * math.cos(tilt))


@pytest.mark.parametrize("voxel", VOXELS)
def test_a_straight_slot_has_tortuosity_one(voxel):
    data = np.zeros((8, 9, 11))
    data[:, 3:5] = 1
    table = rows(tortuosity(labels(data, voxel), phase="pore"))
    for axis in "zx":
        assert table.tortuosity[axis] == pytest.approx(1.0, abs=1e-9)
        assert table.diffusivity_ratio[axis] == pytest.approx(2 / 9, rel=1e-9)
        assert table.macmullin_number[axis] == pytest.approx(4.5, rel=1e-9)
    assert math.isinf(table.tortuosity["y"])
    assert table.diffusivity["y"] == 0.0


@pytest.mark.parametrize("tilt_deg", [45.0, 26.0, 10.0, 3.0])
@pytest.mark.parametrize(("width", "percent"), [(10, 1.5), (20, 1.0), (80, 1.0)])
def test_an_inclined_slot_has_the_closed_form(tilt_deg, width, percent):
    found = tortuosity(labels(inclined_slot(width, tilt_deg, 2 * width)), phase=1, axes="z").tortuosity[0]
    assert found == pytest.approx(inclined_factor(width, tilt_deg, 2 * width), rel=percent / 100)


@pytest.mark.parametrize("width", [10, 20])
def test_stairs_of_voxels_cost_at_most_three_quarters_of_a_voxel_of_width(width):
    for tilt_deg in (45.0, 20.0):
        slot = labels(inclined_slot(width, tilt_deg, 4 * width))
        found = tortuosity(slot, phase=1, axes="z", smooth_walls=False).tortuosity[0]
        assert 0 < (found / inclined_factor(width, tilt_deg, 4 * width) - 1) * width < 0.78


def test_voxels_four_times_as_large_give_the_same():
    field = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((64,) * 3), 8, mode="nearest")
    level = np.median(field)
    middles = (np.arange(16) + 0.5) * 4 - 0.5
    coarse = ndimage.map_coordinates(field, np.meshgrid(*[middles] * 3, indexing="ij"), order=1)
    fine, few = (
        tortuosity(labels(f > level), phase=1, axes="z").diffusivity_ratio[0] for f in (field, coarse)
    )
    stairs = tortuosity(labels(coarse > level), phase=1, axes="z", smooth_walls=False).diffusivity_ratio[0]
    assert few == pytest.approx(fine, rel=0.04)
    assert stairs < 0.93 * fine  # and the fine voxels have stairs, too


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_square_duct_conducts_as_its_voxels(width):
    data = np.zeros((6, 9, 9))
    data[:, 2 : 2 + width, 3 : 3 + width] = 1
    assert tortuosity(labels(data), phase=1, axes="z").tortuosity[0] == pytest.approx(1.0, abs=1e-9)


def test_no_corner_of_a_thin_oblique_wall_lets_anything_through():
    z, x = np.indices((40, 60))
    wall = (x - z > 5) & (x - z <= 7) & (z > 4)  # one diagonal layer, closed for faces, with a gap at its top
    both = [
        tortuosity(labels(~wall[:, None]), phase=1, axes="x", smooth_walls=smooth) for smooth in (True, False)
    ]
    assert both[0].diffusivity_ratio[0] == pytest.approx(both[1].diffusivity_ratio[0], rel=0.05)
    open_wall = tortuosity(labels(~(wall & (x - z == 6))[:, None]), phase=1, axes="x")
    assert open_wall.tortuosity[0] > 1.5  # corners that touch by edges alone are closed


def test_rooms_that_touch_by_an_edge_alone_stay_apart_there():
    data = np.zeros((20, 9, 20))
    data[:10, :, :10], data[10:, :, 10:] = 1, 1
    data[4:16, 5:, 4:16] = 1  # the only passage, wide enough for its own corners to count little
    smooth, plain = (
        tortuosity(labels(data), phase=1, axes="z", smooth_walls=s).diffusivity_ratio[0] for s in (1, 0)
    )
    assert smooth == pytest.approx(plain, rel=0.09)  # 17 % where they leak


def test_dead_ends_do_not_count():
    data = np.zeros((20, 12, 12))
    data[:, 2:5, 2:5] = 1
    straight = rows(tortuosity(labels(data), phase=1, axes="z"), tables.TRANSPORT).loc["z"]
    data[:9, 8:11, 8:11] = 1  # joined to one face only
    data[12:15, 8:11, 8:11] = 1  # to none
    found = rows(tortuosity(labels(data), phase=1, axes="z")).loc["z"]
    assert found.diffusivity == straight.diffusivity
    assert found.tortuosity == pytest.approx(1.0, abs=1e-9)
    assert found.percolating_fraction == pytest.approx(180 / 2880)
    assert found.tortuosity_whole == pytest.approx((180 + 81 + 27) / 180)


def test_a_blocked_phase_has_infinite_tortuosity():
    data = np.ones((9, 5, 6))
    data[4] = 0
    table = rows(tortuosity(labels(data), phase="pore"))
    assert table.diffusivity.to_dict() == {"z": 0.0, "y": pytest.approx(8 / 9), "x": pytest.approx(8 / 9)}
    for name in ("tortuosity", "tortuosity_whole", "macmullin_number"):
        assert math.isinf(table[name]["z"])


@pytest.mark.parametrize("voxel", VOXELS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_laminates_are_in_series_and_parallel(voxel, axis):
    layers = np.array([1, 1, 2, 0, 2, 1, 0, 0, 2])
    data = np.broadcast_to(layers.reshape([-1 if i == axis else 1 for i in range(3)]),
                           [9 if i == axis else 4 + i for i in range(3)])  # fmt: skip
    values = {"pore": 3.0, "film": 0.5, "background": 0.02}
    table = rows(effective_diffusivity(labels(data, voxel), diffusivities=values, tolerance=1e-7))
    of_layer = np.array([0.02, 3.0, 0.5])[layers]
    for i, name in enumerate("zyx"):
        expected = 1 / np.mean(1 / of_layer) if i == axis else of_layer.mean()
        assert table.diffusivity[name] == pytest.approx(
            expected, rel=1e-6
        )  # conductances in single precision


@pytest.mark.parametrize("voxel", VOXELS)
def test_it_solves_the_equations_of_the_grid(voxel):
    data = blobs((13, 10, 12), 0.6).astype(int) + (blobs((13, 10, 12), 0.3, seed=1))
    values = {0: 0.0, 1: 1.0, 2: 0.05}
    of_voxel = np.vectorize(values.get)(data).astype(float)
    table = rows(
        effective_diffusivity(
            labels(data, voxel), diffusivities={"1": 1.0, "2": 0.05}, smooth_walls=False, tolerance=1e-6
        )
    )
    for axis in range(3):
        turned = np.moveaxis(of_voxel, axis, 0)
        sizes = (voxel[axis], *(v for i, v in enumerate(voxel) if i != axis))
        assert table.diffusivity["zyx"[axis]] == pytest.approx(direct(turned, sizes), rel=2e-6)
    assert (table.flux_mismatch <= table.residual).all()
    assert (table.residual <= 1e-6).all()


def direct(diffusivity, sizes):
    """Effective diffusivity along the first axis by a direct solver."""
    n = diffusivity.size
    number = np.arange(n).reshape(diffusivity.shape)
    matrix, right = sparse.lil_matrix((n, n)), np.zeros(n)
    for axis in range(3):
        here, there = np.moveaxis(number, axis, 0)[:-1].ravel(), np.moveaxis(number, axis, 0)[1:].ravel()
        d, e = diffusivity.ravel()[here], diffusivity.ravel()[there]
        face = np.divide(2 * d * e, d + e, out=np.zeros(len(d)), where=d + e > 0) / sizes[axis] ** 2
        for i, j, g in zip(here, there, face, strict=True):
            matrix[i, i] += g
            matrix[j, j] += g
            matrix[i, j] -= g
            matrix[j, i] -= g
    ends = 2 * diffusivity.ravel() / sizes[0] ** 2
    for i in number[0].ravel():
        matrix[i, i] += ends[i]
        right[i] = ends[i]
    for i in number[-1].ravel():
        matrix[i, i] += ends[i]
    for i in range(n):
        if matrix[i, i] < 1e-12:
            matrix[i, i] = 1.0
    joined = sparse.csr_matrix(matrix) + 1e-13 * sparse.eye(
        n
    )  # pockets that no face reaches have no level of their own
    x = spsolve(joined.tocsc(), right)
    flux = (ends[number[0]] * (1 - x[number[0]])).sum()
    return flux * sizes[0] ** 2 * diffusivity.shape[0] / (diffusivity.shape[1] * diffusivity.shape[2])


def test_a_mirror_image_conducts_alike():
    inside = blobs((40, 33, 21), 0.5)
    both = [
        rows(tortuosity(labels(data), phase=1, axes="z")).diffusivity["z"] for data in (inside, inside[::-1])
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-4)


def test_work_on_large_grids_grows_with_their_voxels_only():
    # 11 steps for 64^3, and 15 to 25 for 256^3: plain conjugate gradients need hundreds
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((64,) * 3), 4, mode="wrap")
    table = rows(tortuosity(labels(field > np.quantile(field, 0.6)), phase=1, axes="x"))
    assert table.n_iterations["x"] <= 15
    assert table.flux_mismatch["x"] < 1e-5


def test_no_convergence_is_an_error_with_its_residual():
    inside = blobs((20, 20, 20), 0.7).astype(np.float32)
    inside[:, 0] = 1.0
    with pytest.raises(ConvergenceError, match=r"balance to 1e-09 of the flux, got .* after 1 iterations"):
        steady_diffusion(inside, (1.0, 1.0, 1.0), tolerance=1e-9, max_iterations=1, smooth_walls=False)


def test_a_phase_that_fills_the_volume_and_a_volume_of_one_voxel_conduct_freely():
    for shape in ((5, 4, 3), (1, 7, 6), (1, 1, 1)):
        table = rows(tortuosity(labels(np.ones(shape)), phase=1))
        assert table.tortuosity.to_numpy() == pytest.approx(1.0, abs=1e-9)


def test_shortest_paths_of_straight_inclined_and_blocked_slots():
    data = np.zeros((12, 9, 11))
    data[:, 3:5] = 1
    table = rows(geodesic_tortuosity(labels(data, (0.7, 2.0, 1.3)), phase="pore"), tables.PATHS)
    assert table.tortuosity["z"] == pytest.approx(1.0, abs=1e-4)
    assert table.tortuosity["x"] == pytest.approx(1.0, abs=1e-4)
    assert math.isinf(table.tortuosity["y"])
    assert table.n_ends["y"] == 0
    slot = rows(geodesic_tortuosity(labels(inclined_slot(6, 40.0, 120)), phase=1, axes="z"), tables.PATHS)
    # what a wide slot lets a path cut at its ends is width / length; 3 % by the sweeping
    assert slot.tortuosity["z"] == pytest.approx(1 / math.cos(math.radians(40.0)), rel=0.03 + 6 / 120)


def test_the_way_around_a_wall():
    data = np.ones((21, 1, 40))
    data[10, 0, :30] = 0  # two straight parts around the end of a thin wall
    found = rows(geodesic_tortuosity(labels(data), phase=1, axes="z"), tables.PATHS).loc["z"]
    # from the face below the gap straight up (least), or from it to the ends behind the wall, which lie 10 above
    behind = np.hypot(10.0, 30.0 - np.arange(30.0) - 0.5) + 11.0
    expected = np.concatenate([behind, np.full(10, 21.0)]) / 21.0
    assert found.least == pytest.approx(1.0, abs=1e-4)
    assert found.tortuosity == pytest.approx(expected.mean(), rel=0.04)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: tortuosity(one, phase="fim"), "names background, film, pore, got 'fim'"),
        (lambda one: tortuosity(one, phase=2), "at least one voxel, got none of class 2"),
        (lambda one: tortuosity(one, phase=1, axes="zz"), "some of z, y and x, each once"),
        (lambda one: tortuosity(one, phase=1, tolerance=0.0), "tolerance must lie above 0"),
        (lambda one: tortuosity(one, phase=1, tolerance=math.nan), "tolerance must lie above 0"),
        (
            lambda one: effective_diffusivity(one, diffusivities={"pore": -1.0}),
            "zero or more, one above zero",
        ),
        (
            lambda one: effective_diffusivity(one, diffusivities={"pore": math.nan}),
            "zero or more, one above zero",
        ),
        (lambda one: effective_diffusivity(one, diffusivities={}), "one above zero, got {}"),
        (
            lambda one: effective_diffusivity(one, diffusivities={"film": 1.0}),
            "at least one voxel must conduct",
        ),
        (lambda one: geodesic_tortuosity(one, phase=5), "at least one voxel, got none of class 5"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(labels(np.ones((3, 3, 3))))
