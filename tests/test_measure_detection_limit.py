"""The limit of detection: curves through known shares, a volume and its chain alike, and what is refused."""

import math

import numpy as np
import pytest

from tomo3d import measure, reconstruct, tables
from tomo3d.compute.logistic import fit_logistic, size_of
from tomo3d.types import Labels, TiltSeries, Volume

ANGLES = np.arange(-60.0, 61.0, 6.0)
SIZES = [1.5, 2.5, 3.5, 5.0]


def noise(seed=0, strength=1.0):
    images = strength * np.random.default_rng(seed).standard_normal((len(ANGLES), 56, 60), dtype=np.float32)
    images.flags.writeable = False
    return TiltSeries(images, ANGLES, 1.0)


def test_a_logistic_curve_is_found_again():
    x, n = np.log(np.linspace(1.0, 8.0, 12)), np.full(12, 4000)
    truth = 1 / (1 + np.exp(-(-6.0 + 5.0 * x)))
    beta = fit_logistic(x, n, np.round(n * truth))
    np.testing.assert_allclose(beta[0], [-6.0, 5.0], rtol=0.01)
    assert size_of(beta, 0.5)[0] == pytest.approx(1.2, rel=0.01)
    assert size_of(beta, 0.95)[0] == pytest.approx((6.0 + math.log(19)) / 5.0, rel=0.01)


def test_what_is_parted_completely_still_has_a_curve():
    x, n = np.log([1.0, 2.0, 4.0, 8.0]), np.full(4, 10)
    beta = fit_logistic(x, n, [0, 0, 10, 10])
    assert np.isfinite(beta).all()
    assert 2.0 < math.exp(size_of(beta, 0.5)[0]) < 4.0
    # ten of ten do not make a probability of 0 or 1: half a success in eleven, about
    assert 0.02 < 1 / (1 + math.exp(-(beta[0, 0] + beta[0, 1] * x[1]))) < 0.1
    falling = fit_logistic(x, n, [10, 10, 0, 0])
    assert math.isnan(size_of(falling, 0.5)[0])


def test_intervals_hold_the_size_that_half_are_found_of():
    rng = np.random.default_rng(1)
    x, n = np.log([2.0, 3.0, 4.0, 5.0, 6.0]), np.full(5, 40)
    truth = 1 / (1 + np.exp(-(-8.0 + 6.0 * x)))
    n_held = 0
    for found in rng.binomial(n, truth, size=(200, 5)):
        beta = fit_logistic(x, n, found)
        fitted = 1 / (1 + np.exp(-(beta[0, 0] + beta[0, 1] * x)))
        draws = fit_logistic(x, n, rng.binomial(n, fitted, size=(200, 5)))
        low, high = np.nanquantile(size_of(draws, 0.5), (0.025, 0.975))
        n_held += low <= 8.0 / 6.0 <= high
    assert 0.90 <= n_held / 200 <= 0.99  # 0.95 +- 3 standard errors


@pytest.mark.parametrize("n_iterations", [None, 5])
def test_a_volume_gives_what_its_own_chain_gives(n_iterations):
    series = noise()
    options = {"diameters_nm": SIZES, "density": 1.0, "n_per_size": 6, "seed": 3}

    def made(views):
        if n_iterations is None:
            return reconstruct.wbp(views, thickness_nm=32)
        return reconstruct.sirt(views, thickness_nm=32, n_iterations=n_iterations)

    def chain(views):
        volume = made(views)
        return Labels(volume.data >= 0.45, volume.voxel_size_nm, volume.origin_nm)

    by_chain = measure.detection_limit(series, chain=chain, **options)
    by_volume = measure.detection_limit(
        made(series), level=0.45, tilt_angles_deg=list(ANGLES), n_iterations=n_iterations, **options
    )
    assert list(by_volume.table.columns) == tables.names(tables.INSERTED)
    # the same places; what is added is linear, but for the rounding of float32
    assert np.abs(by_volume.table["n_found"] - by_chain.table["n_found"]).max() <= 1
    assert by_volume.table["n_found"].is_monotonic_increasing
    assert by_volume.table["n_found"].iloc[0] < by_volume.table["n_found"].iloc[-1]


def test_dark_balls_in_the_negative_are_found_as_bright_ones_are():
    volume = reconstruct.wbp(noise(), thickness_nm=32)
    options = {"diameters_nm": SIZES, "tilt_angles_deg": ANGLES, "n_per_size": 4}
    bright = measure.detection_limit(volume, density=1.0, level=0.45, **options)
    negative = Volume(-volume.data, volume.voxel_size_nm)
    dark = measure.detection_limit(negative, density=-1.0, level=-0.45, **options)
    assert dark.table["n_found"].to_list() == bright.table["n_found"].to_list()
    assert bright.table["n_found"].sum() > 0


def test_more_noise_hides_larger_balls_and_the_summary_says_so():
    found = []
    for strength in (0.5, 3.0):
        volume = reconstruct.wbp(noise(strength=strength), thickness_nm=32)
        level = 0.3 + 2.5 * float(volume.data.std())
        result = measure.detection_limit(
            volume,
            diameters_nm=[1.0, 2.0, 3.0, 4.5],
            density=1.0,
            level=level,
            tilt_angles_deg=ANGLES,
            n_per_size=6,
        )
        row = result.summary.set_index("quantity").loc["diameter_found_50"]
        assert row["low"] <= row["value"] <= row["high"]
        found.append(row["value"])
    assert found[0] < found[1]


def test_balls_go_where_they_may_and_every_one_is_found_without_noise():
    volume = Volume(np.zeros((40, 40, 40), np.float32), (1.0, 1.0, 1.0))
    places = np.zeros((40, 40, 40), np.uint8)
    places[12:28, 12:28, 12:28] = 1
    seen = []

    def chain(series):
        seen.append(np.asarray(series.images))
        made = reconstruct.wbp(series, thickness_nm=40)
        return Labels(made.data >= 0.3, made.voxel_size_nm, made.origin_nm)

    series = TiltSeries(np.zeros((len(ANGLES), 40, 40), np.float32), ANGLES, 1.0)
    result = measure.detection_limit(
        series,
        diameters_nm=[4.0, 5.0, 6.0],
        density=1.0,
        chain=chain,
        places=Labels(places, volume.voxel_size_nm),
        n_per_size=2,
    )
    assert (result.table["probability"] == 1.0).all()
    assert result.summary["value"].isna().all()
    assert result.summary["interval"].str.contains("every ball was found").all()
    at_zero = np.abs(sum(seen)[len(ANGLES) // 2])
    assert at_zero.sum() == pytest.approx(
        2 * math.pi / 6 * (4**3 + 5**3 + 6**3), rel=0.01
    )  # all, and nothing else
    assert at_zero[:8].max() == at_zero[:, :8].max() == 0.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"diameters_nm": [2.0, 3.0]}, ValueError, "at least three different positive lengths"),
        ({"diameters_nm": [2.0, 3.0, -1.0]}, ValueError, "at least three different positive lengths"),
        ({"density": 0.0}, ValueError, "density must be a finite grey value per nm other than 0"),
        ({"n_per_size": 0}, ValueError, "n_per_size must be at least 1"),
        ({"level": None}, ValueError, "must come with level and tilt_angles_deg"),
        ({"chain": lambda series: None}, ValueError, "without chain"),
        ({"tilt_angles_deg": [0.0]}, ValueError, "at least two finite angles"),
        ({"data": Volume(np.zeros((8, 8, 8)), (2.0, 1.0, 1.0))}, ValueError, "cubic voxels"),
        ({"data": Volume(np.full((8, 8, 8), np.nan), (1.0, 1.0, 1.0))}, ValueError, "NaN or infinite"),
        ({"diameters_nm": [20.0, 30.0, 40.0]}, ValueError, "clear of the border .* got 0 of"),
        ({"places": Labels(np.ones((3, 3, 3), int), (1.0, 1.0, 1.0))}, ValueError, "on the grid"),
        ({"level": -1.0}, ValueError, "at least one voxel must be free"),
        ({"data": noise()}, ValueError, "a tilt series must come with chain"),
        (
            {"data": noise(), "chain": lambda s: 3, "level": None, "tilt_angles_deg": None},
            TypeError,
            "must return Labels, got int",
        ),
    ],
)
def test_bad_input_is_refused(changes, error, message):
    good = {
        "data": Volume(np.zeros((16, 16, 16), np.float32), (1.0, 1.0, 1.0)),
        "diameters_nm": [2.0, 3.0, 4.0],
        "density": 1.0,
        "level": 0.5,
        "tilt_angles_deg": [-50.0, 0.0, 50.0],
        "n_per_size": 2,
    }
    arguments = good | changes
    with pytest.raises(error, match=message):
        measure.detection_limit(arguments.pop("data"), **arguments)
