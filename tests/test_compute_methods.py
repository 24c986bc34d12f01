"""Every iterative method: what it converges to, and what it keeps on the way."""

import numpy as np
import pytest
import scipy.optimize

from tomo3d.compute import solvers
from tomo3d.compute.projector import Projector
from tomo3d.compute.solvers import Cgls, Constraint, Dart, Mlem, Problem, Sart, Sirt, TotalVariation, iterate
from tomo3d.compute.solvers._sart import subsets

TILTS_DEG = np.array([-60.0, -41.0, -17.0, 3.0, 22.0, 47.0, 60.0])
N_Z, N_X, N_U = 4, 6, 8
PROJECTOR = Projector(TILTS_DEG, n_u=N_U, n_x=N_X, n_z=N_Z)
MANY = Projector(np.linspace(-85, 85, 19), n_u=N_U, n_x=N_X, n_z=N_Z)  # for slow references
METHODS = [
    Sirt(),
    Sart(0.5, 3),
    Cgls(),
    TotalVariation(0.02),
    Mlem(),
    Dart((0.1, 0.5), n_start=5, n_inner=3),
]
IDS = [method.title for method in METHODS]


def matrix(projector=PROJECTOR):
    """(n_views * n_u, n_z * n_x), from the images of single voxels, one to a slice."""
    n = projector.n_z * projector.n_x
    volume = np.zeros((projector.n_z, n, projector.n_x), dtype=np.float32)
    for i in range(n):
        volume[i // projector.n_x, i, i % projector.n_x] = 1.0
    return projector.forward(volume).transpose(0, 2, 1).reshape(-1, n).astype(np.float64)


def data(n_y=3, n_views=7):
    images = np.random.default_rng(0).random((n_views, n_y, N_U), dtype=np.float32) * 3
    images.flags.writeable = False
    return images


def flat(images):
    """(view * u, slice), or (voxel, slice) of a volume."""
    return images.transpose(0, 2, 1).reshape(-1, images.shape[1]).astype(np.float64)


def weights(a):
    rows = a.sum(axis=1)
    return np.where(rows > 0.05, 1 / np.maximum(rows, 0.05), 0.0), 1 / a.sum(axis=0)


def phantom(n=48, n_z=32, n_y=2):
    """A disc of 1 with two holes, through all slices."""
    z, x = np.arange(n_z)[:, None] - 0.5 * (n_z - 1), np.arange(n)[None] - 0.5 * (n - 1)

    def disc(at_z, at_x, radius):
        return (z - at_z) ** 2 + (x - at_x) ** 2 < radius**2

    inside = disc(0, 0, 12.5) & ~disc(3, 4, 4) & ~disc(-5, -5, 3)
    return np.repeat(inside[:, None].astype(np.float32), n_y, axis=1)


def relative_error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


# --- what each converges to ------------------------------------------------------------------------------------


def test_sart_with_one_subset_is_sirt():
    images = data()
    images = images.copy()
    images[2, 1, 3:5] = np.nan
    problem = Problem(images, PROJECTOR, constraint=Constraint(lower=0.0))
    one, other = (iterate(method, problem, n_iterations=6) for method in (Sart(0.8, 1), Sirt(0.8)))
    assert np.array_equal(one.volume, other.volume)
    assert np.array_equal(one.residual_norms, other.residual_norms)


@pytest.mark.parametrize("n_subsets", [2, 7])
def test_sart_corrects_after_each_subset(n_subsets):
    images, a = data(), matrix()
    parts = a.reshape(len(TILTS_DEG), N_U, -1), flat(images).reshape(len(TILTS_DEG), N_U, -1)
    x = np.zeros((N_Z * N_X, 3))
    for _ in range(3):
        for views in subsets(PROJECTOR, n_subsets):
            part, b = (p[views].reshape(len(views) * N_U, -1) for p in parts)
            rows, columns = weights(part)
            x += 0.7 * columns[:, None] * (part.T @ (rows[:, None] * (b - part @ x)))
    found = iterate(Sart(0.7, n_subsets), Problem(images, PROJECTOR), n_iterations=3).volume
    np.testing.assert_allclose(flat(found), x, atol=2e-5)  # float32 sums


@pytest.mark.parametrize(("n_views", "n_subsets"), [(61, 61), (61, 8), (10, 3), (5, 9)])
def test_subsets_hold_every_view_once_and_neighbours_in_time_lie_apart(n_views, n_subsets):
    tilts_deg = np.random.default_rng(0).permutation(np.linspace(-60, 60, n_views))
    parts = subsets(Projector(tilts_deg, n_u=4, n_x=4, n_z=2), n_subsets)
    assert sorted(np.concatenate(parts)) == list(range(n_views))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if n_subsets == n_views == 61:
        steps = np.abs(np.diff([tilts_deg[part[0]] for part in parts]))
        assert steps.min() > 120 * 0.35  # golden section: 0.38 or 0.62 of the range, but for rounding


def test_sart_needs_fewer_iterations_than_sirt():
    truth = phantom()
    projector = Projector(np.linspace(-70, 70, 36), n_u=48, n_x=48, n_z=32)
    problem = Problem(projector.forward(truth), projector, constraint=Constraint(lower=0.0))
    fast, slow = (
        relative_error(iterate(method, problem, n_iterations=n).volume, truth)
        for method, n in ((Sart(1.0, 9), 5), (Sirt(), 30))
    )
    assert fast < slow


def bounded_least_squares(a, b, rows, lower, upper):
    root = np.sqrt(rows)
    return np.stack(
        [
            scipy.optimize.lsq_linear(root[:, None] * a, root * column, (lower, upper), tol=1e-12).x
            for column in b.T
        ],
        axis=1,
    )


def test_conjugate_gradients_within_bounds_reach_the_least_squares_solution_there():
    images, a = data(), matrix()
    rows, _ = weights(a)
    expected = bounded_least_squares(a, flat(images), rows, 0.1, 0.6)
    assert (expected < 0.1 + 1e-6).any()
    assert (expected > 0.6 - 1e-6).any()
    problem = Problem(images, PROJECTOR, constraint=Constraint(0.1, 0.6))
    found = iterate(Cgls(), problem, n_iterations=300)
    np.testing.assert_allclose(flat(found.volume), expected, atol=2e-3)
    assert (np.diff(found.objectives) <= 1e-6 * found.objectives[0]).all()  # never rises, but for rounding


def test_solved_slices_do_not_wander_while_others_are_solved():
    images, a = np.random.default_rng(9).random((len(TILTS_DEG), 40, N_U), dtype=np.float32) * 3, matrix()
    rows, _ = weights(a)
    problem = Problem(images, PROJECTOR, constraint=Constraint(0.1, 0.6))

    def objective(n_iterations):
        x = flat(iterate(Cgls(), problem, n_iterations=n_iterations).volume)
        return np.sum(rows[:, None] * (flat(images) - a @ x) ** 2)

    assert objective(60) == pytest.approx(objective(600), rel=2e-6)


def test_conjugate_gradients_in_a_mask_solve_for_its_voxels_alone():
    images, a = data(), matrix()
    mask = np.zeros((N_Z, 3, N_X), dtype=bool)
    mask[1:3, :, 1:5] = True
    rows, _ = weights(a)
    inside = mask[:, 0].ravel()
    root = np.sqrt(rows)[:, None]
    expected, *_ = np.linalg.lstsq(root * a[:, inside], root * flat(images), rcond=None)
    found = iterate(Cgls(), Problem(images, PROJECTOR, constraint=Constraint(mask=mask)), n_iterations=60)
    np.testing.assert_allclose(flat(found.volume)[inside], expected, atol=1e-3)
    assert not found.volume[~mask].any()


def test_conjugate_gradients_within_bounds_are_faster_than_sirt():
    truth = phantom()
    projector = Projector(np.linspace(-70, 70, 21), n_u=48, n_x=48, n_z=32)
    images = projector.forward(truth)
    problem = Problem(images, projector, constraint=Constraint(0.0, 1.0))
    ten = iterate(Cgls(), problem, n_iterations=10).volume
    fifty = iterate(Sirt(), problem, n_iterations=50).volume
    assert np.linalg.norm(projector.forward(ten) - images) < np.linalg.norm(projector.forward(fifty) - images)


def total_variation(x):
    """Isotropic, forward differences, 0 at the last voxel; x (n_z, n_y, n_x) float64."""
    square = np.zeros_like(x)
    for axis in range(3):
        step = np.diff(x, axis=axis, append=np.take(x, [-1], axis=axis))
        square += step**2
    return np.sqrt(square)


def tv_objective(x, a, b, weight, edge=0.0):
    volume = x.reshape(N_Z, N_X, -1).transpose(0, 2, 1)
    length = np.sqrt(total_variation(volume) ** 2 + edge**2)
    return 0.5 * np.sum((a @ x - b) ** 2) + weight * length.sum()


@pytest.mark.parametrize("weight", [0.3, 3.0])
def test_total_variation_is_minimised(weight):
    images, a = data(2, MANY.n_views), matrix(MANY)
    b = flat(images)
    found = iterate(
        TotalVariation(weight),
        Problem(images, MANY, constraint=Constraint(lower=0.0)),
        n_iterations=1500,
    )
    # slow, smoothed at the corners, in float64: its minimum is at most weight * edge * n voxels too high
    edge, shape = 1e-5, (N_Z * N_X, 2)
    slow = scipy.optimize.minimize(
        lambda x: tv_objective(x.reshape(shape), a, b, weight, edge),
        np.maximum(np.linalg.lstsq(a, b, rcond=None)[0], 0).ravel(),
        method="L-BFGS-B",
        bounds=[(0, None)] * (shape[0] * 2),
        options={"maxiter": 5000, "maxfun": 400_000, "ftol": 1e-13, "gtol": 1e-9},
    )
    ours, theirs = (tv_objective(x, a, b, weight) for x in (flat(found.volume), slow.x.reshape(shape)))
    assert ours <= theirs * (1 + 1e-5)
    np.testing.assert_allclose(flat(found.volume), slow.x.reshape(shape), atol=0.02)


def test_the_objective_of_total_variation_is_what_it_says_and_falls():
    images, a = data(), matrix()
    problem = Problem(images, PROJECTOR, constraint=Constraint(lower=0.0))
    found = iterate(TotalVariation(0.5), problem, n_iterations=60)
    for n in (1, 7, 30):
        x = flat(iterate(TotalVariation(0.5), problem, n_iterations=n).volume)
        assert found.objectives[n] == pytest.approx(tv_objective(x, a, flat(images), 0.5), rel=1e-5)
        assert found.residual_norms[n] == pytest.approx(np.linalg.norm(a @ x - flat(images)), rel=1e-5)
    assert (np.diff(found.objectives[2::5]) < 1e-6 * found.objectives[0]).all()


def test_no_total_variation_is_least_squares_within_bounds():
    images, a = data(3, MANY.n_views), matrix(MANY)
    expected = bounded_least_squares(a, flat(images), np.ones(len(a)), 0.0, 0.6)
    problem = Problem(images, MANY, constraint=Constraint(0.0, 0.6))
    found = iterate(TotalVariation(0.0), problem, n_iterations=3000).volume
    np.testing.assert_allclose(flat(found), expected, atol=5e-3)


def test_much_total_variation_leaves_the_best_constant():
    images, a = data(), matrix()
    seen = a.sum(axis=1)[:, None] * np.ones(3)
    constant = np.sum(seen * flat(images)) / np.sum(seen**2)
    found = iterate(TotalVariation(1e4), Problem(images, PROJECTOR), n_iterations=2000).volume
    np.testing.assert_allclose(found, constant, rtol=0.01)


@pytest.mark.parametrize("weight", [0.0, 0.5, 50.0])
def test_a_constant_volume_has_no_variation_to_lose(weight):
    images = PROJECTOR.forward(np.full((N_Z, 3, N_X), 0.7, dtype=np.float32))
    found = iterate(TotalVariation(weight), Problem(images, PROJECTOR), n_iterations=400)
    np.testing.assert_allclose(found.volume, 0.7, rtol=0.01)


def test_total_variation_brings_out_flat_regions_from_few_noisy_views():
    truth = phantom()
    projector = Projector(np.linspace(-75, 75, 15), n_u=48, n_x=48, n_z=32)
    images = projector.forward(truth) + np.random.default_rng(0).normal(0, 0.3, (15, 2, 48)).astype(
        np.float32
    )
    problem = Problem(images, projector, constraint=Constraint(lower=0.0))
    smooth = relative_error(iterate(TotalVariation(1.0), problem, n_iterations=150).volume, truth)
    best = min(
        relative_error(iterate(Sirt(), problem, n_iterations=n).volume, truth) for n in (10, 20, 40, 80)
    )
    assert smooth < 0.7 * best


def test_mlem_is_the_iteration_that_it_says():
    images, a = data(), matrix()
    b, sums = flat(images), a.sum(axis=0)[:, None]
    x = np.ones_like(sums) * b.sum(axis=0) / a.sum()
    divergences = []
    for _ in range(8):
        m = a @ x
        divergences.append(np.sum(m - b + b * np.log(np.where(m > 0, b / np.where(m > 0, m, 1), 1))))
        x = x / sums * (a.T @ np.divide(b, m, out=np.zeros_like(b), where=m > 0))
    found = iterate(Mlem(), Problem(images, PROJECTOR), n_iterations=8)
    np.testing.assert_allclose(flat(found.volume), x, rtol=2e-4, atol=1e-6)
    lost = b[a.sum(axis=1) == 0].sum()  # rays that meet no voxel
    np.testing.assert_allclose(found.objectives, divergences, rtol=1e-4, atol=1e-3 + 1e-5 * lost)


def test_mlem_keeps_the_counts_and_raises_the_likelihood():
    truth = 40 * phantom()
    projector = Projector(np.linspace(-70, 70, 15), n_u=61, n_x=48, n_z=32)  # sees every voxel in every view
    counts = np.random.default_rng(1).poisson(projector.forward(truth)).astype(np.float32)
    seen = []
    iterate(
        Mlem(),
        Problem(counts, projector),
        n_iterations=25,
        callback=lambda i, volume, norm: seen.append((projector.forward(volume).sum(), volume.min())),
    )
    found = iterate(Mlem(), Problem(counts, projector), n_iterations=25)
    np.testing.assert_allclose([total for total, _ in seen], counts.sum(), rtol=1e-4)
    assert min(least for _, least in seen) >= 0
    assert (np.diff(found.objectives) < 0).all()


def test_mlem_raises_the_likelihood_within_bounds():
    counts = np.random.default_rng(1).poisson(data() * 20).astype(np.float32)
    problem = Problem(counts, PROJECTOR, constraint=Constraint(2.0, 9.0))
    found = iterate(Mlem(), problem, n_iterations=40)
    assert found.volume.min() == 2.0
    assert found.volume.max() == 9.0
    assert (np.diff(found.objectives) <= 1e-6 * found.objectives[0]).all()


def test_dart_finds_a_phantom_of_two_levels_that_sirt_does_not():
    truth = phantom()
    projector = Projector(np.linspace(-60, 60, 7), n_u=48, n_x=48, n_z=32)
    images = projector.forward(truth) + np.random.default_rng(0).normal(0, 0.2, (7, 2, 48)).astype(np.float32)
    found = iterate(Dart((0.0, 1.0)), Problem(images, projector), n_iterations=60)
    assert set(np.unique(found.volume)) == {0.0, 1.0}
    bounds = Constraint(0.0, 1.0)
    sirt = iterate(Sirt(), Problem(images, projector, constraint=bounds), n_iterations=100)
    wrong, wrong_by_sirt = np.mean(found.volume != truth), np.mean((sirt.volume > 0.5) != truth)
    assert wrong < 0.001
    assert wrong_by_sirt > 0.003


def test_dart_draws_other_voxels_in_every_slice():
    truth = phantom(n_y=1)
    projector = Projector(np.linspace(-60, 60, 7), n_u=48, n_x=48, n_z=32)
    images = np.repeat(
        projector.forward(truth) + np.random.default_rng(0).normal(0, 2, (7, 1, 48)), 3, axis=1
    )
    found = iterate(
        Dart((0.0, 1.0), free_share=0.5), Problem(images.astype(np.float32), projector), n_iterations=2
    )
    assert (found.volume[:, 0] != found.volume[:, 1]).any()
    assert (found.volume[:, 1] != found.volume[:, 2]).any()


def test_dart_estimates_its_levels():
    truth = 0.3 + 0.8 * phantom()
    truth[:, :, :10] = truth[:, :, 38:] = 0
    projector = Projector(np.linspace(-75, 75, 15), n_u=48, n_x=48, n_z=32)
    trial = solvers.pilot(Problem(projector.forward(truth), projector), Sirt())
    levels = solvers.estimate_levels(trial.equations, trial.start, trial.constraint, 3, 50)
    np.testing.assert_allclose(levels, [0.0, 0.3, 1.1], atol=0.05)


def test_levels_that_are_not_there_are_not_estimated():
    trial = solvers.pilot(Problem(np.zeros((7, 3, N_U), np.float32), PROJECTOR), Sirt())
    with pytest.raises(ValueError, match="must show 2 distinct levels"):
        solvers.estimate_levels(trial.equations, trial.start, trial.constraint, 2, 5)


# --- what all keep ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_bounds_and_mask_hold_after_every_iteration(method):
    mask = np.random.default_rng(5).random((N_Z, 3, N_X)) < 0.7
    seen = []
    iterate(
        method,
        Problem(data(), PROJECTOR, constraint=Constraint(0.05, 0.55, mask)),
        n_iterations=5,
        callback=lambda i, volume, norm: seen.append(volume.copy()),
    )
    assert len(seen) == 5
    for volume in seen:
        assert not volume[~mask].any()
        assert volume[mask].min() >= np.float32(0.05)
        assert volume[mask].max() <= np.float32(0.55)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_iterations_go_on_from_an_initial_volume(method):
    truth = np.random.default_rng(3).choice(np.float32([0.1, 0.5]), (N_Z, 3, N_X))
    images = PROJECTOR.forward(truth)
    truth.flags.writeable = False
    found = iterate(method, Problem(images, PROJECTOR, initial=truth), n_iterations=1)
    assert found.residual_norms[0] < 1e-5 * np.linalg.norm(images)
    cold = iterate(method, Problem(images, PROJECTOR), n_iterations=1)
    assert cold.residual_norms[0] > 0.1 * np.linalg.norm(images)


@pytest.mark.parametrize("method", [m for m in METHODS if not m.couples_slices], ids=lambda m: m.title)
def test_slabs_make_the_whole(method):
    images, mask = data(70), np.random.default_rng(5).random((N_Z, 70, N_X)) < 0.9
    problem = Problem(
        images,
        PROJECTOR,
        constraint=Constraint(lower=0.0, mask=mask),
        initial=np.full(mask.shape, 0.2, np.float32),
    )
    slabs, whole = (iterate(method, problem, n_iterations=6, n_slices=n) for n in (64, 70))
    np.testing.assert_allclose(slabs.volume, whole.volume, rtol=0, atol=1e-6 * np.abs(whole.volume).max())
    np.testing.assert_allclose(slabs.residual_norms, whole.residual_norms, rtol=1e-6)


# SART would divide other views into its subsets
@pytest.mark.parametrize("method", [m for m in METHODS if not isinstance(m, Sart)], ids=lambda m: m.title)
def test_unmeasured_pixels_count_for_nothing(method):
    """A view without pixels is no view; and what no pixel says cannot change the volume."""
    images = data().copy()
    images[3] = np.nan
    others = np.arange(len(TILTS_DEG)) != 3
    with_gap = iterate(method, Problem(images, PROJECTOR), n_iterations=5)
    without = iterate(method, Problem(images[others], PROJECTOR.views(others)), n_iterations=5)
    np.testing.assert_allclose(
        with_gap.volume, without.volume, atol=2e-5 * np.abs(without.volume).max() + 2e-5
    )
    np.testing.assert_allclose(with_gap.residual_norms, without.residual_norms, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_scattered_gaps_leave_a_finite_volume_and_no_residual(method):
    truth = np.random.default_rng(3).choice(np.float32([0.1, 0.5]), (N_Z, 3, N_X))
    images = PROJECTOR.forward(truth)
    images[np.random.default_rng(4).random(images.shape) < 0.2] = np.nan
    found = iterate(method, Problem(images, PROJECTOR, initial=truth), n_iterations=3)
    assert np.isfinite(found.volume).all()
    assert found.residual_norms[0] < 1e-5 * np.sqrt(np.nansum(images**2))


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_edge_of_a_voxel_only_changes_units(method):
    """Densities per length fall as the voxel grows; residuals are those of the images."""
    scaled = Dart((0.05, 0.25), n_start=5, n_inner=3) if isinstance(method, Dart) else method
    if isinstance(method, TotalVariation):
        scaled = TotalVariation(method.weight / 2.0)
    one = iterate(method, Problem(data(), PROJECTOR), n_iterations=4)
    two = iterate(scaled, Problem(data(), PROJECTOR, voxel=2.0), n_iterations=4)
    np.testing.assert_allclose(2 * two.volume, one.volume, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(two.residual_norms, one.residual_norms, rtol=1e-5)


def test_a_volume_of_coupled_slices_is_solved_in_one_piece():
    """Slices depend on each other under a tilt about x: SIRT is still the iteration of the whole matrix."""
    projector = Projector(TILTS_DEG, n_u=N_U, n_x=N_X, n_z=N_Z, x_tilt_deg=4.0)
    assert not projector.is_separable
    truth = np.random.default_rng(3).random((N_Z, 70, N_X), dtype=np.float32)
    images = projector.forward(truth)
    x, rows = np.zeros_like(truth), projector.forward(np.ones_like(truth))
    rows = np.where(rows > 0.05, 1 / np.maximum(rows, 0.05), 0).astype(np.float32)
    columns = projector.back(np.ones_like(images))
    columns = np.where(columns > 0.05, 1 / np.maximum(columns, 0.05), 0).astype(np.float32)
    for _ in range(4):
        x += columns * projector.back(rows * (images - projector.forward(x)))
    found = iterate(Sirt(), Problem(images, projector), n_iterations=4)
    np.testing.assert_allclose(found.volume, x, atol=1e-5)
    for method in (Cgls(), Mlem(), Sart(1.0, 2)):
        norms = iterate(method, Problem(images, projector), n_iterations=6).residual_norms
        assert (np.diff(norms) < 0).all()
        assert norms[-1] < 0.5 * norms[0]
