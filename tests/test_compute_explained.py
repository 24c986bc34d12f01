"""What one volume can explain of a set of views: linear, symmetric, and nothing is left of what a volume made."""

import numpy as np
import pytest

from tomo3d.compute import explained
from tomo3d.compute.explained import Explanation
from tomo3d.compute.projector import Projector

TILTS = np.linspace(-60.0, 60.0, 13)


def projector(n_u=21, n_x=21, n_z=9):
    return Projector(TILTS, n_u=n_u, n_x=n_x, n_z=n_z)


def images(seed, n_y=6, n_u=21):
    views = np.random.default_rng(seed).normal(size=(len(TILTS), n_y, n_u)).astype(np.float32)
    return projector(n_u).padded(views)


def weights(n_y=6, n_u=21, seed=5):
    return projector(n_u).padded(
        np.random.default_rng(seed).random((len(TILTS), n_y, n_u)).astype(np.float32)
    )


def support(n_z=9, n_x=21, n_y=6):
    return (np.random.default_rng(2).random((n_z, n_x, n_y)) > 0.4).astype(np.uint8)


def test_what_is_left_has_no_negative_part_where_that_is_asked_for():
    # views of a small square: as a matrix, whose least eigenvalue is that of what overshoots
    n, shape = 16, (len(TILTS), 1, 16)
    w = projector(n, n, n).padded(np.ones(shape, dtype=np.float32))
    inside = projector(n, n, n).inside
    least = {}
    for is_positive in (False, True):
        explanation = Explanation(projector(n, n, n), w, 12, is_positive=is_positive)
        columns = []
        for unit in np.eye(len(TILTS) * n, dtype=np.float32):
            views = projector(n, n, n).padded(unit.reshape(shape))
            columns.append(explanation.split(views)[0][:, inside].ravel())
        least[is_positive] = float(np.linalg.eigvalsh(np.array(columns, dtype=np.float64)).min())
    assert least[False] < -0.01
    assert least[True] > -1e-5


@pytest.mark.parametrize("inside", [None, support()], ids=["everywhere", "support"])
@pytest.mark.parametrize("n_iterations", [1, 7])
def test_what_is_left_is_a_symmetric_linear_map_of_the_views(n_iterations, inside):
    explanation = Explanation(projector(), weights(), n_iterations, inside)
    a, b = images(0), images(1)
    a.flags.writeable = b.flags.writeable = False
    of_a, of_b = explanation.split(a)[0], explanation.split(b)[0]
    both = explanation.split(2.0 * a - 3.0 * b)[0]
    np.testing.assert_allclose(both, 2.0 * of_a - 3.0 * of_b, atol=1e-4)
    left, right = float(np.vdot(of_a, b)), float(np.vdot(a, of_b))
    assert left == pytest.approx(right, abs=1e-5 * float(np.linalg.norm(a) * np.linalg.norm(b)))


def test_never_more_is_left_than_there_was_and_less_with_every_iteration():
    a = images(3)
    left = [
        float(np.vdot(a, Explanation(projector(), weights(), n).split(a)[0])) for n in (1, 2, 4, 8, 16, 32)
    ]
    assert 0.0 < left[-1] < float(np.vdot(a, a))
    assert (np.diff(left) < 0).all()


def test_views_of_a_volume_are_explained():
    # accelerated gradients: the objective falls as 2 L |x|^2 / (k + 1)^2, Nesterov's bound
    volume = np.zeros((9, 21, 6), dtype=np.float32)
    volume[3:6, 8:13] = 1.0
    w = weights()
    explanation = Explanation(projector(), w, 60)
    weighted = explanation.predict(volume) * w
    rest, found = explanation.split(weighted)
    bound = 4.0 * explanation.norm * float(np.vdot(volume, volume)) / 61**2
    assert float(np.vdot(rest, rest)) <= bound
    assert float(np.vdot(rest, rest)) < 1e-3 * float(np.vdot(weighted, weighted))
    assert found.shape == volume.shape


def test_a_volume_stays_in_its_support():
    inside = support()
    _, volume = Explanation(projector(), weights(), 5, inside).split(images(4))
    assert np.count_nonzero(volume[inside == 0]) == 0
    assert np.count_nonzero(volume[inside == 1]) > 0.9 * inside.sum()


def test_the_norm_bounds_the_weighted_projector():
    explanation = Explanation(projector(), weights(), 1)
    matrix_free = np.random.default_rng(0).random((9, 21, 6)).astype(np.float32)
    for _ in range(100):
        matrix_free /= np.linalg.norm(matrix_free)
        views = explanation.predict(matrix_free) * explanation.weights**2
        matrix_free = explanation.projector.back_inner(views)
    assert 1.0 <= explanation.norm / float(np.linalg.norm(matrix_free)) < 1.1


def test_the_norm_is_that_of_the_slice_with_the_largest():
    # 40 slices, most of them seen badly: more than are looked at to the end
    w = weights(n_y=40)
    w *= np.random.default_rng(1).uniform(0.2, 1.0, 40).astype(np.float32)
    inside = (np.random.default_rng(2).random((9, 21, 40)) > 0.2).astype(np.uint8)
    together = Explanation(projector(), w, 1, inside).norm
    alone = [
        Explanation(
            projector(), w[:, :, y : y + 1].copy(), 1, np.ascontiguousarray(inside[:, :, y : y + 1])
        ).norm
        for y in range(40)
    ]
    assert together == pytest.approx(max(alone), rel=0.01)


@pytest.mark.parametrize("rows", [slice(1, None, 3), slice(2, 18)], ids=["11 of 32", "16 of 32"])
def test_slices_are_explained_as_in_the_whole(rows):
    whole = Explanation(projector(), weights(32), 5, support(n_y=32))
    views = images(7, 32)
    views.flags.writeable = False
    rest, volume = whole.slices(rows).split(np.ascontiguousarray(views[:, :, rows]))
    expected = whole.split(views)
    np.testing.assert_allclose(rest, expected[0][:, :, rows], atol=1e-5)
    np.testing.assert_allclose(volume, expected[1][:, :, rows], atol=1e-5)


def test_a_small_support_is_worked_on_alone(monkeypatch):
    # off the middle, so that the part of the grid that is worked on is, too
    inside = np.zeros((9, 21, 16), dtype=np.uint8)
    inside[1:4, 12:19] = support(3, 7, 16)
    w, views = weights(16), images(9, 16)
    small = Explanation(projector(), w, 6, inside)
    assert small._box() == (slice(1, 4), slice(12, 19))
    rest, volume = small.split(views)
    monkeypatch.setattr(explained, "_MOST_OF_IT", 0.0)
    whole = Explanation(projector(), w, 6, inside)
    assert whole._box() is None
    assert small.norm == pytest.approx(whole.norm, rel=1e-5)
    expected = whole.split(views)
    np.testing.assert_allclose(rest, expected[0], atol=1e-5)
    np.testing.assert_allclose(volume, expected[1], atol=1e-5)


def test_part_of_the_views_is_explained_like_a_series_of_its_own():
    chosen = np.arange(1, len(TILTS), 2)
    part = Explanation(projector(), weights(), 9).part(chosen)
    alone = Explanation(projector().views(chosen), weights()[chosen], 9, norm=part.norm)
    views = np.ascontiguousarray(images(6)[chosen])
    np.testing.assert_array_equal(part.split(views)[0], alone.split(views)[0])
