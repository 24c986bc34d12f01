"""Rank correlation of few samples: exact p by all orders, ties, missing values, Holm."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tomo3d.graph import rank_correlation


def samples(**columns):
    """One tomogram a sample."""
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"sample": [f"s{i}" for i in range(n)], **columns})


@pytest.mark.parametrize(("n", "p"), [(3, 2 / 6), (4, 2 / 24), (5, 2 / 120), (6, 2 / 720)])
def test_a_perfect_ranking_has_the_smallest_p_that_n_allows(n, p):
    values = np.arange(n, dtype=float)
    row = rank_correlation(samples(a=values**3, b=values), "b").iloc[0]
    assert (row.rho, row.p_value, row.smallest_p) == pytest.approx((1.0, p, p))
    assert rank_correlation(samples(a=-values, b=values), "b").rho[0] == pytest.approx(-1)


@pytest.mark.parametrize("seed", range(5))
def test_p_is_that_of_all_orders_with_ties_too(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 6).astype(float), rng.integers(0, 5, 6).astype(float)
    row = rank_correlation(samples(a=a, b=b), "b").iloc[0]
    rho = stats.spearmanr(a, b).statistic
    all_rho = [stats.spearmanr(a, b[list(order)]).statistic for order in itertools.permutations(range(6))]
    assert row.rho == pytest.approx(rho)
    assert row.p_value == pytest.approx(np.mean(np.abs(all_rho) >= abs(rho) - 1e-9))
    assert row.smallest_p == pytest.approx(np.mean(np.abs(all_rho) >= np.max(np.abs(all_rho)) - 1e-9))


def test_holm_adjusts_over_descriptors():
    values = np.arange(5.0)
    rng = np.random.default_rng(0)
    table = rank_correlation(
        samples(
            a=values, b=rng.permutation(5.0 * values), c=rng.permutation(values), d=values * 0, prop=values
        ),
        "prop",
    )
    p = table.p_value.to_numpy()[:3]
    order = np.argsort(p)
    expected = np.minimum(1, np.maximum.accumulate(p[order] * [3, 2, 1]))
    assert table.p_holm.to_numpy()[:3][order] == pytest.approx(expected)
    assert np.isnan(table.p_holm[3])
    assert table.test[3] == "none: all values are equal"


def test_tomograms_are_averaged_within_samples_and_give_the_interval():
    table = pd.DataFrame(
        {
            "sample": np.repeat(["a", "b", "c", "d"], 3),
            "tomogram": list(range(12)),
            "degree": [1.0, 1.1, 0.9, 2.0, 2.9, 2.2, 3.1, 1.9, 3.0, 4.0, 4.1, 3.9],
        }
    )
    row = rank_correlation(table, {"a": 1.0, "b": 5.0, "c": 7.0, "d": 9.0}).iloc[0]
    assert (row.n_samples, row.n_tomograms) == (4, 12)
    assert row.rho == pytest.approx(1.0)
    assert row.low == pytest.approx(0.8)  # b and c change places in some draws
    assert row.high == pytest.approx(1.0)
    alone = rank_correlation(table[::3], {"a": 1.0, "b": 5.0, "c": 7.0, "d": 9.0}).iloc[0]
    assert np.isnan(alone.low)


def test_missing_values_leave_samples_out_and_too_few_give_no_number():
    values = np.arange(5.0)
    a = values.copy()
    a[1] = np.nan
    row = rank_correlation(samples(a=a, prop=values), "prop").iloc[0]
    assert (row.n_samples, row.p_value) == (4, pytest.approx(2 / 24))
    prop = np.array([0.0, np.nan, np.nan, np.nan, 1.0])
    row = rank_correlation(samples(a=values, prop=prop), "prop").iloc[0]
    assert row.n_samples == 2
    assert np.isnan(row.p_value)
    assert row.test == "none: fewer than three samples"


def test_many_samples_are_judged_by_orders_at_random():
    rng = np.random.default_rng(3)
    a = rng.normal(size=20)
    b = a + rng.normal(size=20)
    row = rank_correlation(samples(a=a, b=b), "b").iloc[0]
    assert row.test == "100000 orders drawn at random"
    assert row.p_value == pytest.approx(stats.spearmanr(a, b).pvalue, abs=5e-3)


def test_wrong_tables_are_refused():
    good = samples(a=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"property must be a column of samples, got 'x'"):
        rank_correlation(good, "x")
    with pytest.raises(
        ValueError, match=r"property must have values of samples \['s0', 's1', 's2'\], got \['q'\]"
    ):
        rank_correlation(good, {"q": 1.0})
    with pytest.raises(ValueError, match="'a' must be one value for a sample"):
        rank_correlation(good.assign(sample="s", b=1.0), "a")
    with pytest.raises(ValueError, match="must have a column of numbers beside"):
        rank_correlation(good, "a")
    with pytest.raises(ValueError, match="must have a column 'sample'"):
        rank_correlation(good.drop(columns="sample"), "a")
