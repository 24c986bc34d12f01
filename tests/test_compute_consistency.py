"""Positions from pairs of which many are wrong."""

from itertools import combinations

import numpy as np
import pytest

from tomo3d.compute.consistency import consistent_shifts


def pairs(n, wrong, noise, seed):
    """True positions, all pairs, what they measured, and which of them are right."""
    rng = np.random.default_rng(seed)
    where = np.cumsum(rng.normal(2.0, 1.0, (n, 2)), axis=0)
    first, second = np.array(list(combinations(range(n), 2))).T
    measured = where[second] - where[first] + rng.normal(0, noise, (len(first), 2))
    is_right = rng.random(len(first)) >= wrong
    measured[~is_right] = rng.uniform(-60, 60, ((~is_right).sum(), 2))
    return where, first, second, measured, is_right


def fit(first, second, measured, usable=None):
    return consistent_shifts(
        first, second, measured, usable=np.ones(len(first), bool) if usable is None else usable
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.6])
def test_more_than_half_of_the_pairs_may_be_wrong(wrong, seed):
    where, first, second, measured, is_right = pairs(16, wrong, 0.1, seed)
    found = fit(first, second, measured)
    n_right = np.bincount(np.concatenate((first[is_right], second[is_right])), minlength=16)
    np.testing.assert_array_equal(
        found.placed, n_right >= 3
    )  # where there are fewer, nothing tells right from wrong
    error = (found.shifts - where)[found.placed]
    error -= error.mean(axis=0)
    # 3 to 15 pairs on each position, each 0.1 off: 0.06 to 0.03, and four times that at most
    assert np.abs(error).max() < 0.24
    both = found.placed[first] & found.placed[second]
    np.testing.assert_array_equal(found.agrees, is_right & both)


def test_without_noise_and_errors_positions_are_exact():
    where, first, second, measured, _ = pairs(7, 0.0, 0.0, 1)
    found = fit(first, second, measured)
    off = found.shifts - where
    np.testing.assert_allclose(off - off[0], 0.0, atol=1e-12)


def test_chance_places_nothing():
    rng = np.random.default_rng(0)
    first, second = np.array(list(combinations(range(12), 2))).T
    assert not fit(first, second, rng.uniform(-40, 40, (len(first), 2))).placed.any()


def test_what_only_two_pairs_tie_to_the_rest_is_not_placed():
    where, first, second, measured, _ = pairs(8, 0.0, 0.0, 2)
    loose = (first == 5) | (second == 5)
    measured[np.flatnonzero(loose)[2:]] += np.arange(5)[:, None] * 11.0 + 20.0
    found = fit(first, second, measured)
    assert np.flatnonzero(~found.placed).tolist() == [5]
    assert np.isnan(found.shifts[5]).all()
    kept = np.arange(8) != 5
    np.testing.assert_allclose(
        (found.shifts - where)[kept], np.broadcast_to((found.shifts - where)[0], (7, 2)), atol=1e-9
    )


def test_pairs_that_are_not_to_be_believed_are_not():
    _, first, second, measured, _ = pairs(8, 0.0, 0.0, 3)
    usable = (first != 2) & (second != 2)
    found = fit(first, second, measured, usable)
    assert np.flatnonzero(~found.placed).tolist() == [2]
    assert not found.agrees[~usable].any()
