"""Intervals over an ensemble: closed forms of the spread, and whether they cover."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tomo3d import tables
from tomo3d.measure import pool_summaries, volume_fractions, with_uncertainty
from tomo3d.segment import threshold_ensemble
from tomo3d.types import Labels, Volume


def summary(value, low=np.nan, high=np.nan, *, quantity="size", unit="nm", n=7, interval="own"):
    """A summary of one row."""
    return tables.summary(
        [
            {
                "quantity": quantity,
                "value": value,
                "low": low,
                "high": high,
                "unit": unit,
                "n": n,
                "interval": interval,
            }
        ]
    )


def pooled(values, spread, **options):
    """The one row of the pool of summaries with these values."""
    return pool_summaries({str(i): summary(v, **options) for i, v in enumerate(values)}, spread=spread).iloc[
        0
    ]


def test_draws_give_the_interval_of_one_more_draw():
    row = pooled([9.0, 10.0, 11.0], "draws")
    half = stats.t.ppf(0.975, 2) * 1.0 * np.sqrt(4 / 3)
    assert (row.value, row.low, row.high) == pytest.approx((10.0, 10.0 - half, 10.0 + half))
    assert "3 draws" in row.interval


def test_a_range_reaches_from_the_smallest_to_the_largest_about_the_first():
    row = pooled([10.0, 9.5, 12.0, 11.0], "range")
    assert (row.value, row.low, row.high) == (10.0, 9.5, 12.0)


def test_subsets_give_the_interval_of_their_mean():
    row = pooled([9.0, 11.0], "subsets")
    half = stats.t.ppf(0.975, 1) * np.sqrt(2) / np.sqrt(2)
    assert (row.value, row.low, row.high) == pytest.approx((10.0, 10.0 - half, 10.0 + half))


def test_own_intervals_add_in_quadrature_on_their_side():
    tables_ = {"a": summary(10.0, 7.0, 14.0), "b": summary(14.0, 11.0, 18.0)}
    row = pool_summaries(tables_, spread="range").iloc[0]
    assert row.low == pytest.approx(10.0 - 3.0)  # nothing of the range lies below the first
    assert row.high == pytest.approx(10.0 + np.hypot(4.0, 4.0))
    assert row.interval.endswith("; and own")


def test_a_member_without_a_value_makes_the_quantity_unknown():
    assert np.isnan(pooled([10.0, np.nan], "draws").value)
    assert np.isnan(pooled([10.0, np.nan], "range").low)


def test_draws_of_a_normal_quantity_are_covered_in_95_percent():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        truth, *draws = rng.normal(50.0, 3.0, 6)
        row = pooled(draws, "draws")
        inside += row.low <= truth <= row.high
    assert 0.92 <= inside / 400 <= 0.98


def test_a_threshold_range_on_a_ramp_spans_the_fractions_that_it_allows():
    ramp = np.broadcast_to((np.arange(40) + 0.5) / 40, (3, 5, 40))
    table = with_uncertainty(
        volume_fractions,
        threshold_ensemble(Volume(ramp, (1.0, 2.0, 3.0)), 0.5, half_range=0.25),
        spread="range",
    )
    row = table.set_index("quantity").loc["volume_fraction_foreground"]
    assert (row.value, row.low, row.high) == pytest.approx((0.5, 0.25, 0.75))


@pytest.mark.parametrize(
    ("summaries", "match"),
    [
        ({}, "two or more tables of one specimen, got 0"),
        ({"a": summary(1.0)}, "got 1"),
        (
            {"a": summary(1.0), "b": summary(1.0, quantity="other")},
            r"'a' and 'b' differ in \['other', 'size'\]",
        ),
        (
            {"a": summary(1.0), "b": summary(1.0, unit="nm^2")},
            r"same units; 'size' is in 'nm' in 'a', in 'nm\^2' in 'b'",
        ),
        ({"a": tables.summary([]), "b": summary(1.0)}, "differ in"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(summaries, match):
    with pytest.raises(ValueError, match=match):
        pool_summaries(summaries)


def test_a_quantity_that_stands_twice_and_an_unknown_spread_are_refused():
    twice = pd.concat([summary(1.0), summary(2.0)], ignore_index=True)
    with pytest.raises(ValueError, match=r"'a' has \['size'\] more than once"):
        pool_summaries({"a": twice, "b": twice})
    with pytest.raises(
        ValueError, match="spread must be one of 'draws', 'range', 'subsets', got 'bootstrap'"
    ):
        pool_summaries({"a": summary(1.0), "b": summary(1.0)}, spread="bootstrap")


def test_one_member_is_no_ensemble():
    with pytest.raises(ValueError, match="got 1"):
        with_uncertainty(volume_fractions, [Labels(np.ones((2, 2, 2), np.uint8), (1.0, 1.0, 1.0))])
