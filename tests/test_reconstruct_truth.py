"""Reconstructions against what is known in closed form: densities, the weights of the angles, truncated views."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks import bench_truth as truth
from benchmarks.bench_reconstruct import disc_errors
from tomo3d import TiltSeries, geometry
from tomo3d.compute import filters
from tomo3d.compute.projector import Projector
from tomo3d.reconstruct import wbp

TURN_DEG = np.arange(-90.0, 90.0)


@pytest.mark.parametrize("views", ["180", "181", "180 in random order"])
def test_a_unit_disc_is_one_inside_and_zero_outside_within_a_ten_thousandth(views):
    inside_error, outside_mean = disc_errors(truth.disc_section(truth.disc_angles(views)))
    assert abs(inside_error) <= 1e-4
    assert abs(outside_mean) <= 1e-4


def test_the_order_of_the_views_does_not_count():
    ordered = truth.disc_section(truth.disc_angles("180"))
    shuffled = truth.disc_section(truth.disc_angles("180 in random order"))
    np.testing.assert_allclose(shuffled, ordered, atol=2e-6)  # the same sums in another order


def test_the_exact_filter_raises_what_is_as_large_as_the_object():
    # a disc of the object's diameter, as the docstring of the filter has it
    inside_error, outside_mean = disc_errors(truth.disc_section(TURN_DEG, window="exact:160"))
    assert inside_error == pytest.approx(0.24, abs=0.01)
    assert outside_mean == pytest.approx(0.31, abs=0.01)


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_the_weights_of_the_angles_lower_the_error_of_uneven_series(width):
    # gains over eight phantoms of each width: 1.65 to 2.02, 1.60 to 2.17, 1.20 to 1.69
    for scheme, least in (("2 / 4 deg", 1.6), ("4 deg x cos", 1.4), ("five missing", 1.1)):
        equal, by_angle = truth.uneven_errors(scheme, width)
        assert equal / by_angle >= least, scheme


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_the_weights_of_even_angles_change_nothing(width):
    equal, by_angle = truth.uneven_errors("uniform", width)
    assert equal / by_angle == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("scheme", "n_views", "gaps_deg"),
    [("2 / 4 deg", 47, {2.0, 4.0}), ("five missing", 56, {2.0, 12.0}), ("uniform", 61, {2.0})],
)
def test_the_schemes_are_what_they_are_called(scheme, n_views, gaps_deg):
    angles_deg = truth.uneven_angles(scheme)
    assert len(angles_deg) == n_views
    assert set(np.diff(angles_deg)) == gaps_deg
    assert np.abs(angles_deg).max() == 60.0


def test_cosine_increments_are_four_degrees_times_the_cosine():
    half = truth.uneven_angles("4 deg x cos")
    half = half[half >= 0]
    np.testing.assert_allclose(np.diff(half), 4.0 * np.cos(np.deg2rad(half[:-1])))
    assert 56.0 < half[-1] <= 60.0


# A disc wider than the detector: what the flanks hold is not known, and no filter can tell.

N_U = 129
HALF = 0.5 * N_U


def mean_chords(n, radius):
    """Line integrals of a unit disc, meaned over n pixels, (n,)."""
    edges = np.clip((np.arange(n + 1) - 0.5 * n) / radius, -1.0, 1.0)
    return np.diff(radius**2 * (edges * np.sqrt(1.0 - edges**2) + np.arcsin(edges)))


def section_of_a_disc(radius):
    images = np.broadcast_to(mean_chords(N_U, radius).astype(np.float32), (len(TURN_DEG), 1, N_U))
    return wbp(TiltSeries(images, TURN_DEG, 1.0), thickness_nm=N_U).data[:, 0]


def ramp_kernel(distance):
    """1/4 at 0, -1 / (pi n)^2 at odd n, 0 at even n."""
    odd = np.where(distance % 2 == 1, distance, 1)
    return np.where(distance == 0, 0.25, np.where(distance % 2 == 1, -1.0 / (np.pi * odd) ** 2, 0.0))


def flank_error(radius, beside):
    """By how much each point of a centred disc is wrong, (N_U,) along x, if the flanks are taken to be `beside`.

    What is taken to be there less what is, filtered onto the detector and projected back: at distance r from
    the centre the mean over the half circle of pi times its value at r cos t.
    """
    n_flank = max(int(radius) + 2 - N_U // 2, filters.taper_length(N_U) + 1)
    n = N_U + 2 * n_flank
    wrong = beside(n_flank) - mean_chords(n, radius)
    wrong[n_flank : n_flank + N_U] = 0.0
    u = geometry.coordinates(N_U)
    filtered = ramp_kernel(np.round(u[:, None] - geometry.coordinates(n)).astype(int)) @ wrong
    seen = np.interp(u[:, None] * np.cos(np.deg2rad(TURN_DEG)), u, filtered)
    return np.pi * seen.mean(axis=1)


def tapered(radius):
    """Edge values that go on and fall to zero over a quarter of the detector."""

    def beside(n_flank):
        row = mean_chords(N_U, radius)
        n_taper = filters.taper_length(N_U)
        fall = np.zeros(n_flank)
        fall[:n_taper] = np.cos(0.5 * np.pi * np.arange(1, n_taper + 1) / (n_taper + 1)) ** 2
        return np.concatenate([row[0] * fall[::-1], row, row[-1] * fall])

    return beside


@pytest.mark.parametrize("radius", [80.0, 100.0])
def test_a_truncated_disc_is_wrong_by_what_its_flanks_are_taken_to_be_and_no_more(radius):
    section = section_of_a_disc(radius)
    middle = N_U // 2
    inside = np.abs(geometry.coordinates(N_U)) < HALF - 4
    expected = 1.0 + flank_error(radius, tapered(radius))
    # rows through the centre along x and along z; 180 views leave a ripple of a per cent at a single point
    for line in (section[middle], section[:, middle]):
        smooth = np.convolve(line, np.ones(5) / 5, mode="same")
        np.testing.assert_allclose(smooth[inside], expected[inside], atol=5e-3)


@pytest.mark.parametrize("radius", [80.0, 100.0])
def test_a_truncated_disc_is_cupped_far_less_than_with_nothing_beside_it(radius):
    section = section_of_a_disc(radius)
    c = geometry.coordinates(N_U)
    r = np.hypot(c[:, None], c)
    rise = section[np.abs(r - 0.9 * HALF) < 2].mean() - section[r < 4].mean()
    nothing = flank_error(radius, lambda n_flank: np.pad(mean_chords(N_U, radius), n_flank))
    rise_of_nothing = nothing[np.abs(c - 0.9 * HALF) < 2].mean() - nothing[N_U // 2]
    assert abs(rise) <= 0.25 * rise_of_nothing


def test_a_slab_beyond_the_detector_has_no_bright_rims():
    # an infinite slab: every view is even, and its density lies wholly in the missing wedge
    tilts_deg = np.arange(-60.0, 61.0, 2.0)
    views = np.stack([np.full((1, N_U), 30.0 / np.cos(np.deg2rad(t)), np.float32) for t in tilts_deg])
    found = wbp(TiltSeries(views, tilts_deg, 1.0), thickness_nm=41).data[20, 0]
    # the same without continuation: zeros beside the detector
    n = 8 * N_U
    filtered = np.fft.irfft(np.fft.rfft(views, n) * filters.ramp_response(n), n)[..., :N_U] * np.deg2rad(2.0)
    bare = Projector(tilts_deg, n_u=N_U, n_x=N_U, n_z=41).back(filtered.astype(np.float32))[20, 0]
    middle = N_U // 2
    assert found[0] - found[middle] <= 0.1 * (bare[0] - bare[middle])
    assert np.ptp(found[N_U // 4 : -N_U // 4]) <= 0.025  # of a density of 1
