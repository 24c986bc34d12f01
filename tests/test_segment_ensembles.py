"""Ensembles of segmentations: how often each voxel is drawn, and how far neighbours go together."""

import numpy as np
import pytest

from tomo3d.segment import probability_ensemble, threshold_ensemble
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)


def soft(probabilities, voxel_size_nm=CUBE, names=None):
    """Labels with probabilities, of classes 0, 1, ..."""
    probabilities = np.asarray(probabilities, dtype=np.float32)
    probabilities.flags.writeable = False
    data = probabilities.argmax(axis=0).astype(np.uint8)
    return Labels(data, voxel_size_nm, names=names or {}, probabilities=probabilities)


def test_each_class_is_drawn_as_often_as_its_probability_says():
    shares = np.array([0.2, 0.5, 0.3])
    grid = np.broadcast_to(shares[:, None, None, None], (3, 9, 10, 11))
    drawn = np.concatenate(
        [m.data.ravel() for m in probability_ensemble(soft(grid), n=200, correlation_nm=2)]
    )
    assert np.bincount(drawn) / drawn.size == pytest.approx(shares, abs=0.01)


def test_neighbours_go_together_over_the_correlation_length_in_nm():
    half = np.full((2, 8, 8, 400), 0.5)
    for size_x, lag in ((1.0, 4), (2.0, 2)):
        member = next(probability_ensemble(soft(half, (1.0, 1.0, size_x)), n=2, correlation_nm=8.0, seed=3))
        sign = 2.0 * member.data - 1.0
        # Noise smoothed by sigma is correlated as exp(-d^2 / 4 sigma^2); signs of normals r: 2 arcsin(r) / pi.
        r = np.exp(-((lag * size_x) ** 2) / (4 * 4.0**2))
        measured = (sign[..., lag:] * sign[..., :-lag]).mean()
        assert measured == pytest.approx(2 * np.arcsin(r) / np.pi, abs=0.1)


def test_sure_voxels_never_change_and_the_same_seed_draws_the_same():
    sure = np.zeros((2, 3, 4, 5))
    sure[1, :, :, 2:] = 1.0
    sure[0] = 1.0 - sure[1]
    members = list(probability_ensemble(soft(sure), n=5, correlation_nm=3))
    assert all((m.data == sure[1]).all() for m in members)
    blurred = soft(np.stack([np.full((3, 4, 5), 0.4), np.full((3, 4, 5), 0.6)]))
    first, again = (next(probability_ensemble(blurred, n=2, seed=8)).data for _ in range(2))
    assert (first == again).all()


def test_names_give_the_numbers_of_the_classes():
    grid = np.full((2, 4, 4, 4), 0.5)
    member = next(probability_ensemble(soft(grid, names={3: "film", 7: "support"}), n=2))
    assert set(np.unique(member.data)) == {3, 7}
    assert member.names == {3: "film", 7: "support"}


def test_levels_lie_evenly_about_the_best_which_comes_first():
    volume = Volume(np.arange(24.0).reshape(2, 3, 4), CUBE)
    counts = [int(m.data.sum()) for m in threshold_ensemble(volume, 12.0, half_range=6.0, n=5)]
    assert counts == [12, 18, 14, 10, 6]


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_an_ensemble_of_levels_has_a_middle(n):
    volume = Volume(np.zeros((2, 2, 2)), CUBE)
    with pytest.raises(ValueError, match=f"n must be odd and at least 3.*got {n}"):
        next(threshold_ensemble(volume, 0.5, half_range=0.1, n=n))
    with pytest.raises(ValueError, match="half_range must be a positive grey value, got 0"):
        next(threshold_ensemble(volume, 0.5, half_range=0.0))


def test_draws_need_probabilities():
    hard = Labels(np.zeros((2, 2, 2), np.uint8), CUBE)
    with pytest.raises(ValueError, match="labels must have probabilities, got none"):
        next(probability_ensemble(hard))
    with pytest.raises(ValueError, match="correlation_nm must be zero or a positive length, got -1 nm"):
        next(probability_ensemble(soft(np.full((2, 2, 2, 2), 0.5)), correlation_nm=-1))
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        next(probability_ensemble(soft(np.full((2, 2, 2, 2), 0.5)), n=1))
