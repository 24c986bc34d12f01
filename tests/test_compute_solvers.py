"""Iterative solvers against the explicit matrix of the projector."""

import numpy as np
import pytest

from tomo3d.compute import solvers
from tomo3d.compute.projector import Projector
from tomo3d.compute.solvers._equations import Weights

N_Z, N_X, N_U = 4, 6, 8
PROJECTOR = Projector(np.array([-60.0, -41.0, -17.0, 3.0, 22.0, 47.0, 60.0]), n_u=N_U, n_x=N_X, n_z=N_Z)

# its outer voxels leave the detector in some views: column sums differ
NARROW = Projector(PROJECTOR.tilt_angles_deg, n_u=5, n_x=N_X, n_z=N_Z)


def matrix_of(projector):
    """(n_views * n_u, n_z * n_x), from the images of single voxels, one to a slice."""
    volume = np.zeros((N_Z, N_Z * N_X, N_X), dtype=np.float32)
    for i in range(N_Z * N_X):
        volume[i // N_X, i, i % N_X] = 1.0
    images = projector.forward(volume)  # (view, voxel, u)
    return images.transpose(0, 2, 1).reshape(-1, N_Z * N_X).astype(np.float64)


@pytest.fixture(scope="module")
def matrix():
    return matrix_of(PROJECTOR)


def data(n_y, n_u=N_U):
    images = np.random.default_rng(0).random((PROJECTOR.n_views, n_y, n_u), dtype=np.float32)
    images.flags.writeable = False
    return images


def cgls(images, projector, *, n_iterations):
    return solvers.iterate(
        solvers.Cgls(), solvers.Problem(images, projector), n_iterations=n_iterations
    ).volume


def sirt(images, projector, *, n_iterations, relaxation=1.0, lower=None, upper=None):
    problem = solvers.Problem(images, projector, constraint=solvers.Constraint(lower, upper))
    found = solvers.iterate(solvers.Sirt(relaxation), problem, n_iterations=n_iterations)
    return found.volume, found.residual_norms


def flat(images):
    """(view * u, slice)."""
    return images.transpose(0, 2, 1).reshape(-1, images.shape[1]).astype(np.float64)


def weights(matrix):
    """SIRT's R and C from the matrix: inverse row and column sums."""
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    assert columns.min() > 1  # every voxel is seen
    return np.where(rows > 0.05, 1.0 / np.maximum(rows, 0.05), 0.0), 1.0 / columns


def test_conjugate_gradients_reach_the_weighted_least_squares_solution(matrix):
    images = data(5)
    row_weights, _ = weights(matrix)
    root = np.sqrt(row_weights)[:, None]
    expected, _, rank, singular = np.linalg.lstsq(root * matrix, root * flat(images), rcond=None)
    assert rank == N_Z * N_X  # one solution, whatever the preconditioner
    assert singular[0] / singular[-1] < 260
    found = cgls(images, PROJECTOR, n_iterations=200).transpose(0, 2, 1).reshape(N_Z * N_X, 5)
    # but for rounding: float32 times the square of the condition number, 0.4 %
    np.testing.assert_allclose(found, expected, atol=6e-8 * 260**2 * np.abs(expected).max())


def test_conjugate_gradients_lower_the_weighted_residual_in_every_iteration(matrix):
    images = data(3)
    row_weights, _ = weights(matrix)
    norms = []
    for n in range(1, 12):
        x = cgls(images, PROJECTOR, n_iterations=n).transpose(0, 2, 1).reshape(N_Z * N_X, 3)
        norms.append(np.sqrt((row_weights[:, None] * (flat(images) - matrix @ x) ** 2).sum(axis=0)))
    assert (np.diff(norms, axis=0) < 1e-5).all()
    assert (norms[-1] < 0.99 * norms[0]).all()


def test_the_first_conjugate_gradient_is_the_step_of_sirt_at_its_best_length():
    images, matrix = data(3, n_u=5), matrix_of(NARROW)
    row_weights, column_weights = weights(matrix)
    b = flat(images)
    step = column_weights[:, None] * (matrix.T @ (row_weights[:, None] * b))
    seen = matrix @ step
    length = (row_weights[:, None] * seen * b).sum(axis=0) / (row_weights[:, None] * seen**2).sum(axis=0)
    found = cgls(images, NARROW, n_iterations=1).transpose(0, 2, 1).reshape(-1, 3)
    np.testing.assert_allclose(found, length * step, rtol=1e-4, atol=1e-6)  # float32 sums


def test_ten_conjugate_gradients_do_what_fifty_of_sirt_do(matrix):
    truth = np.random.default_rng(3).random((N_Z, 4, N_X), dtype=np.float32)
    images = PROJECTOR.forward(truth)

    def error(volume):
        return np.linalg.norm(PROJECTOR.forward(volume) - images)

    ten = error(cgls(images, PROJECTOR, n_iterations=10))
    assert ten < error(sirt(images, PROJECTOR, n_iterations=50)[0])


def test_conjugate_gradients_treat_slices_independently():
    images = data(70)  # over two slabs
    together = cgls(images, PROJECTOR, n_iterations=6)
    loud = images.copy()
    loud[:, 3] *= 1e4
    beside = cgls(loud, PROJECTOR, n_iterations=6)
    for y in (0, 2, 63, 64, 69):
        alone = cgls(images[:, y : y + 1], PROJECTOR, n_iterations=6)
        # the same sums in another order
        np.testing.assert_allclose(together[:, y : y + 1], alone, atol=1e-4 * np.abs(alone).max())
        np.testing.assert_allclose(beside[:, y : y + 1], alone, atol=1e-4 * np.abs(alone).max())
    np.testing.assert_allclose(beside[:, 3], 1e4 * together[:, 3], rtol=1e-3, atol=1.0)


def test_nothing_is_reconstructed_from_nothing():
    images = np.zeros((PROJECTOR.n_views, 3, N_U), dtype=np.float32)
    assert not cgls(images, PROJECTOR, n_iterations=5).any()
    volume, norms = sirt(images, PROJECTOR, n_iterations=5)
    assert not volume.any()
    assert not norms.any()


@pytest.mark.parametrize("relaxation", [0.5, 1.0, 1.9])
def test_sirt_is_the_iteration_that_it_says(relaxation):
    images, matrix = data(2, n_u=5), matrix_of(NARROW)
    row_weights, column_weights = weights(matrix)
    b = flat(images)
    x = np.zeros((N_Z * N_X, 2))
    expected_norms = []
    for _ in range(7):
        residual = b - matrix @ x
        expected_norms.append(np.linalg.norm(residual))
        x = x + relaxation * column_weights[:, None] * (matrix.T @ (row_weights[:, None] * residual))
        x = np.clip(x, 0.02, 0.4)
    found, norms = sirt(images, NARROW, n_iterations=7, relaxation=relaxation, lower=0.02, upper=0.4)
    np.testing.assert_allclose(found.transpose(0, 2, 1).reshape(-1, 2), x, atol=1e-5)  # float32 sums
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-5)


def test_the_residual_of_sirt_falls():
    truth = np.random.default_rng(3).random((N_Z, 130, N_X), dtype=np.float32)
    images = PROJECTOR.forward(truth)
    volume, norms = sirt(images, PROJECTOR, n_iterations=60)
    assert norms[0] == pytest.approx(np.linalg.norm(images), rel=1e-5)  # over all slabs
    assert (np.diff(norms) < 0).all()
    assert norms[-1] < 0.05 * norms[0]
    assert np.linalg.norm(PROJECTOR.forward(volume) - images) < norms[-1]


WITH_NEGATIVE_WEIGHTS = {
    "turned": {"rotations_deg": np.linspace(-20.0, 30.0, 4)},
    "reduced": {"magnifications": np.full(4, 0.9)},
    "bent": {"local_shifts": np.random.default_rng(2).uniform(-2, 2, (4, 2, 3, 2))},
}


@pytest.mark.parametrize("relaxation", [0.7, 1.0, 1.5, 1.999])
@pytest.mark.parametrize("geometry", WITH_NEGATIVE_WEIGHTS.values(), ids=WITH_NEGATIVE_WEIGHTS.keys())
def test_any_relaxation_below_two_converges_where_weights_are_negative_too(geometry, relaxation):
    n_y, n_x, n_z, n_u = 7, 7, 3, 8
    projector = Projector(np.array([-55.0, -20.0, 10.0, 60.0]), n_u=n_u, n_x=n_x, n_z=n_z, **geometry)
    voxels = np.eye(n_z * n_x * n_y, dtype=np.float32).reshape(-1, n_z, n_x, n_y)
    matrix = np.array([projector.forward_inner(voxel).ravel() for voxel in voxels], dtype=np.float64).T
    assert matrix.min() < -0.01
    most = solvers.Sirt(relaxation).most_eigenvalue
    assert relaxation * most < 2
    known = Weights(projector, voxels, n_y, most)
    rows, columns = (np.asarray(part, dtype=np.float64).ravel() for part in (known.rows, known.columns))
    for weights, sizes in ((rows, abs(matrix).sum(axis=1)), (columns, abs(matrix).sum(axis=0))):
        assert (weights * sizes <= np.sqrt(most) * (1 + 1e-5)).all()  # hence the bound, for any matrix
    scaled = np.sqrt(rows)[:, None] * matrix * np.sqrt(columns)
    assert relaxation * np.linalg.norm(scaled, 2) ** 2 < 2  # of C A' R A


def test_steps_of_the_usual_length_are_not_shortened_where_weights_are_negative():
    given = {"rotations_deg": np.full(7, 2.0), "n_y": 9, "n_v": 9}
    projector = Projector(PROJECTOR.tilt_angles_deg, n_u=12, n_x=8, n_z=N_Z, **given)
    ones = np.ones((7, 12, 9), np.float32)
    usual = Weights(projector, ones, 9, solvers.Sirt().most_eigenvalue)
    middle = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(1 / usual.columns[middle], projector.back_inner(ones)[middle], rtol=1e-6)
