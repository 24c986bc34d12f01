"""Bias of a chain, on phantoms with chains whose error is known."""

import numpy as np
import pytest
from scipy import stats

from tomo3d import tables
from tomo3d.measure import correct_bias, measurement_bias
from tomo3d.phantoms import Ball, Body, Microscope, Specimen
from tomo3d.types import TiltSeries

FIELD = (32.0, 32.0, 32.0)


def ball(radius_nm):
    """A specimen of one ball, whose volume and diameter are known."""
    return Specimen([Body(Ball(radius_nm=radius_nm), "grain")], FIELD)


def mass_chain(factor=1.0, quantity="volume_grain"):
    """Volume of what the first view shows, by its mass, `factor` times too large."""

    def chain(series):
        mass = float(series.images[0].sum()) * series.pixel_size_nm**2
        return tables.summary([{"quantity": quantity, "value": factor * mass, "unit": "nm^3", "n": 1}])

    return chain


def test_a_chain_that_reads_ten_percent_too_much_has_a_ratio_of_1_1():
    specimens = [ball(r) for r in (4.0, 5.0, 6.0, 8.0)]
    row = measurement_bias(specimens, mass_chain(1.1)).iloc[0]
    truths = 4 / 3 * np.pi * np.array([4.0, 5.0, 6.0, 8.0]) ** 3
    assert row.ratio == pytest.approx(1.1, rel=3e-3)
    assert row.truth == pytest.approx(truths.mean())
    assert (row.truth_low, row.truth_high) == pytest.approx((truths.min(), truths.max()))
    assert row.offset == pytest.approx(0.1 * truths.mean(), rel=0.03)
    assert row.scatter < 5e-3  # 2 x 2 rays for each pixel of the smallest ball
    assert (row.n, row.n_failed) == (4, 0)


def test_correction_gives_back_the_truth_and_the_interval_of_one_more_phantom():
    ratios = np.array([1.05, 1.15, 1.10, 1.20])
    made = iter(ratios)

    def chain(series):
        return mass_chain(next(made))(series)

    bias = measurement_bias(ball(6.0), chain, n_repeats=4)
    summary = tables.summary(
        [
            {"quantity": "volume_grain", "value": 1000.0, "unit": "nm^3", "n": 1},
            {"quantity": "other", "value": 5.0, "unit": "nm", "n": 1},
        ]
    )
    corrected = correct_bias(summary, bias).set_index("quantity")
    row = corrected.loc["volume_grain"]
    logs = np.log(ratios)
    middle = 1000.0 / np.exp(logs.mean())
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) * np.sqrt(1.25)
    assert (row.value, row.low, row.high) == pytest.approx(
        (middle, middle * np.exp(-half), middle * np.exp(half)), rel=2e-3
    )
    assert "extrapolated: the phantoms had 905 to 905" in row.interval
    assert corrected.loc["other", "value"] == 5.0
    assert np.isnan(corrected.loc["other", "low"])


def test_the_measured_interval_is_corrected_and_added():
    bias = measurement_bias([ball(5.0), ball(6.0), ball(7.0)], mass_chain(2.0))
    summary = tables.summary(
        [{"quantity": "volume_grain", "value": 1800.0, "low": 1600.0, "high": 2200.0, "unit": "nm^3", "n": 1,
          "interval": "by hand"}]
    )  # fmt: skip
    row = correct_bias(summary, bias).iloc[0]
    assert (row.value, row.low, row.high) == pytest.approx((900.0, 800.0, 1100.0), rel=5e-3)
    assert row.interval.endswith("; and by hand")


def test_what_can_be_zero_is_corrected_by_its_offset():
    def chain(series):
        mass = float(series.images[0].sum())
        return tables.summary([{"quantity": "excess", "value": mass - 905.0, "unit": "", "n": 1}])

    known = tables.summary([{"quantity": "excess", "value": 0.0, "unit": "", "n": 1}])
    specimens = [Specimen(ball(r).bodies, FIELD, known) for r in (5.9, 6.0, 6.1)]
    row = measurement_bias(specimens, chain, quantities={"excess": "excess"}).iloc[0]
    assert np.isnan(row.ratio)
    bias = tables.check(measurement_bias(specimens, chain, quantities={"excess": "excess"}), tables.BIAS)
    got = correct_bias(tables.summary([{"quantity": "excess", "value": 10.0, "unit": "", "n": 1}]), bias)
    assert got.value[0] == pytest.approx(10.0 - row.offset)


def test_the_geometry_is_that_of_the_real_series():
    seen = []

    def chain(series):
        seen.append(series)
        return mass_chain()(series)

    use = np.array([True, False, True])
    like = TiltSeries(np.zeros((3, 40, 36)), np.array([-50.0, 0.0, 45.0]), 1.5, use=use)
    measurement_bias(ball(6.0), chain, like=like, microscope=Microscope(noise_fraction=0.05), n_repeats=2)
    assert seen[0].images.shape == (2, 40, 36)
    assert list(seen[0].tilt_angles_deg) == [-50.0, 45.0]
    assert seen[0].pixel_size_nm == 1.5
    assert (seen[0].images != seen[1].images).any()  # another seed, another noise


def test_phantoms_on_which_the_chain_fails_are_counted():
    values = iter([900.0, np.nan, 910.0])

    def chain(series):
        return tables.summary([{"quantity": "volume_grain", "value": next(values), "unit": "nm^3", "n": 1}])

    row = measurement_bias(ball(6.0), chain, n_repeats=3).iloc[0]
    assert (row.n, row.n_failed) == (2, 1)


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="at least one phantom, got none"):
        measurement_bias([], mass_chain())
    with pytest.raises(ValueError, match="n_repeats must be at least 1, got 0"):
        measurement_bias(ball(6.0), mass_chain(), n_repeats=0)
    with pytest.raises(ValueError, match="must have the name of a known one"):
        measurement_bias(ball(6.0), mass_chain(quantity="colour"))
    one = measurement_bias(ball(6.0), mass_chain())
    summary = tables.summary([{"quantity": "volume_grain", "value": 1.0, "unit": "nm^3", "n": 1}])
    with pytest.raises(ValueError, match="two phantoms at least, got 1"):
        correct_bias(summary, one)
    two = measurement_bias(ball(6.0), mass_chain(), n_repeats=2)
    with pytest.raises(ValueError, match="must have the unit of its bias, 'nm\\^3', got 'nm'"):
        correct_bias(summary.assign(unit="nm"), two)
    with pytest.raises(ValueError, match="must hold a quantity whose bias is known"):
        correct_bias(summary.assign(quantity="colour"), two)
