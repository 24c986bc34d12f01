"""Views repeated at one tilt: shrinkage, mass loss and shifts that are known by construction."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import TiltSeries, quality, tables

SHAPE = (200, 230)


def waves(y, x, seed=0, n=60):
    """A texture in closed form at any positions: plane waves of periods from 8 to 60 pixels about a level."""
    rng = np.random.default_rng(seed)
    period, angle, phase = np.exp(rng.uniform(np.log(8), np.log(60), n)), *rng.uniform(0, 2 * np.pi, (2, n))
    image = np.full(np.broadcast(y, x).shape, 40.0)
    for p, a, s in zip(period, angle, phase, strict=True):
        image = image + np.cos(2 * np.pi * (y * np.sin(a) + x * np.cos(a)) / p + s)
    return image


def pair(*, along=1.0, across=1.0, shift=(0.0, 0.0), axis_deg=0.0, mass=1.0, noise=0.0, seed=0):
    """A view, and the same specimen scaled about the middle, moved by minus `shift`, and `mass` times as heavy."""
    y, x = (np.arange(n) - 0.5 * (n - 1) for n in SHAPE)
    y, x = np.meshgrid(y, x, indexing="ij")
    turn = np.deg2rad(axis_deg)
    c, s = np.cos(turn), np.sin(turn)
    # along the axis: (cos, -sin) of (y, x), as it is counter-clockwise from +y
    a, b = c * (y + shift[0]) - s * (x + shift[1]), s * (y + shift[0]) + c * (x + shift[1])
    a, b = a / along, b / across
    first = waves(y, x, seed)
    second = mass / (along * across) * waves(c * a + s * b, -s * a + c * b, seed)
    rng = np.random.default_rng(seed + 1)
    images = np.stack((first, second)) + (rng.normal(0, noise, (2, *SHAPE)) if noise else 0.0)
    images = images.astype(np.float32)
    images.flags.writeable = False
    return TiltSeries(images, np.array([0.0, 0.0]), 0.5, tilt_axis_deg=axis_deg)


@pytest.mark.parametrize("axis_deg", [0.0, 84.0, -30.0])
@pytest.mark.parametrize(("along", "across"), [(0.97, 0.99), (1.0, 1.0), (1.01, 0.98)])
def test_shrinkage_and_shift_are_found(axis_deg, along, across):
    series = pair(along=along, across=across, shift=(5.3, -7.8), axis_deg=axis_deg)
    found = quality.repeated_views(series).pairs.iloc[0]
    assert found["magnification_along"] == pytest.approx(along, abs=5e-4)  # as the docstring claims
    assert found["magnification_across"] == pytest.approx(across, abs=5e-4)
    assert found["shift_y_nm"] == pytest.approx(0.5 * 5.3, abs=0.05)
    assert found["shift_x_nm"] == pytest.approx(-0.5 * 7.8, abs=0.05)
    assert found["mass_ratio"] == pytest.approx(1.0, abs=2e-3)


def test_mass_that_is_lost_shows_within_its_interval():
    tables_found = [
        quality.repeated_views(pair(mass=0.93, along=0.99, noise=3.0, seed=seed)).pairs.iloc[0]
        for seed in range(5)
    ]
    for found in tables_found:
        assert found["mass_ratio"] == pytest.approx(0.93, abs=4e-3)
        assert 0.0 < found["mass_ratio_high"] - found["mass_ratio_low"] < 0.008
    covered = [found["mass_ratio_low"] <= 0.93 <= found["mass_ratio_high"] for found in tables_found]
    assert sum(covered) >= 4


def test_the_stated_error_of_the_magnification_is_that_of_many_series():
    rows = [
        quality.repeated_views(pair(along=0.98, across=0.99, noise=12.0, seed=seed)).pairs.iloc[0]
        for seed in range(12)
    ]
    for name, truth in (("magnification_along", 0.98), ("magnification_across", 0.99)):
        pull = np.array([(row[name] - truth) / row[f"{name}_error"] for row in rows])
        assert 0.4 < np.sqrt(np.mean(pull**2)) < 1.8  # twelve series tell it within 20 %


def test_the_ring_correlation_falls_where_the_noise_takes_over():
    clean = quality.repeated_views(pair())
    assert (clean.curves["correlation"].iloc[3:20] > 0.999).all()
    noisy = quality.repeated_views(pair(noise=8.0))
    at = noisy.pairs["resolution_0_5_nm"][0]
    assert 2.5 < at < 8.0  # waves end at periods of 8 px, 4 nm; noise is white
    fine = noisy.curves["frequency_per_nm"] > 0.5
    assert np.abs(noisy.curves["correlation"][fine].mean()) < 0.05
    tables.check(noisy.curves, tables.REPEATED_RINGS)


@pytest.mark.parametrize("column", ["order", "acquisition_order"])
def test_the_order_of_acquisition_says_which_view_is_the_first(column):
    one = pair(mass=0.9)
    swapped = TiltSeries(one.images, one.tilt_angles_deg, 0.5, views=pd.DataFrame({column: [7, 2]}))
    found = quality.repeated_views(swapped).pairs.iloc[0]
    assert (found["first"], found["second"]) == (1, 0)
    assert found["mass_ratio"] == pytest.approx(1 / 0.9, rel=1e-3)


def test_every_angle_that_was_repeated_has_its_row():
    a, b = pair(seed=1).images, pair(seed=2).images
    images = np.stack((a[0], b[0], a[1], b[1], a[1]))
    series = TiltSeries(images, np.array([0.0, 30.0, 0.05, 30.0, 0.0]), 0.5)
    table = quality.repeated_views(series).pairs
    assert list(zip(table["first"], table["second"], strict=True)) == [(0, 2), (1, 3), (0, 4)]
    use = np.array([True, False, True, True, False])
    table = quality.repeated_views(TiltSeries(images, series.tilt_angles_deg, 0.5, use=use)).pairs
    assert list(zip(table["first"], table["second"], strict=True)) == [(0, 2)]


def test_what_cannot_be_compared_is_told():
    series = pair()
    apart = TiltSeries(series.images, np.array([0.0, 3.0]), 0.5)
    with pytest.raises(
        ValueError, match=r"one tilt angle \(within 0.1 deg\), got 2 views at different angles"
    ):
        quality.repeated_views(apart)
    with pytest.raises(ValueError, match="tolerance_deg must be 0 or more, got -1"):
        quality.repeated_views(series, tolerance_deg=-1.0)
    flat = TiltSeries(np.stack((series.images[0], np.ones(SHAPE, np.float32))), series.tilt_angles_deg, 0.5)
    with pytest.raises(ValueError, match="more than one value, got 1 everywhere in view 1"):
        quality.repeated_views(flat)
    below = TiltSeries(series.images - 100.0, series.tilt_angles_deg, 0.5)
    with pytest.raises(ValueError, match="total of a view must be positive"):
        quality.repeated_views(below)
    bad = series.images.copy()
    bad[1, 2, 3] = np.inf
    with pytest.raises(ValueError, match="got 1 NaN or infinite pixels in view 1"):
        quality.repeated_views(TiltSeries(bad, series.tilt_angles_deg, 0.5))
