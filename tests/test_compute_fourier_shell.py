"""Shells of Fourier space are round in physical frequency, and their correlation is that of the formula."""

import math

import numpy as np
import pytest

from tomo3d.compute import fourier_shell
from tomo3d.compute.fourier_shell import Cone
from tomo3d.compute.sampling import crowther_limit_nm, psf_elongation

GRIDS = [((12, 14, 16), (1.0, 1.0, 1.0)), ((9, 13, 11), (2.0, 1.0, 0.7)), ((7, 10, 15), (0.5, 3.0, 1.0))]


def noise(shape, seed=0):
    data = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    data.flags.writeable = False
    return data


def by_the_formula(first, second, spacing, *, width, n_shells, cone=None):
    """Mean frequency, correlation and number of voxels of each shell, from the whole transform in double precision."""
    axes = [np.fft.fftfreq(n, d) for n, d in zip(first.shape, spacing, strict=True)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"))
    radius = np.sqrt((k**2).sum(axis=0))
    f, g = (np.fft.fftn(data.astype(np.float64) - data.mean(dtype=np.float64)) for data in (first, second))
    rows = []
    for s in range(1, n_shells + 1):
        shell = (radius >= (s - 0.5) * width) & (radius < (s + 0.5) * width)
        if cone is not None:
            shell &= np.abs(k[cone.axis]) >= (math.cos(math.radians(cone.half_angle_deg)) - 1e-9) * radius
        a, b = f[shell], g[shell]
        norm = math.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())
        rows.append((radius[shell].mean(), (a * b.conj()).sum().real / norm, shell.sum()))
    return np.array(rows).T


def correlate(first, second, spacing, **options):
    transforms = (fourier_shell.transform(first), fourier_shell.transform(second))
    return fourier_shell.correlate(*transforms, first.shape, spacing, **options)


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("cone", [None, Cone(0, 45.0), Cone(1, 30.0), Cone(2, 60.0)], ids=str)
def test_correlation_is_that_of_the_formula_on_the_whole_transform(shape, spacing, cone):
    first = noise(shape)
    second = first + noise(shape, 1)
    longest = int(np.argmax([n * d for n, d in zip(shape, spacing, strict=True)]))
    axis = longest if cone is None else cone.axis
    width = 1.0 / (shape[axis] * spacing[axis])
    n_shells = shape[axis] // 2
    made = correlate(first, second, spacing, width=width * (1 + 1e-9), n_shells=n_shells, cone=cone)
    frequency, correlation, n_voxels = by_the_formula(
        first, second, spacing, width=width * (1 + 1e-9), n_shells=n_shells, cone=cone
    )
    assert made.n_voxels.tolist() == n_voxels.astype(int).tolist()
    np.testing.assert_allclose(made.frequency, frequency, rtol=1e-12)
    np.testing.assert_allclose(
        made.correlation, correlation, atol=2e-6
    )  # the transform is in single precision


def test_all_shells_hold_all_voxels_but_the_mean():
    shape = (8, 9, 10)
    made = correlate(noise(shape), noise(shape, 1), (1.0, 1.0, 1.0), width=0.1, n_shells=9)  # corner: 0.87
    assert made.n_voxels.sum() == 8 * 9 * 10 - 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_a_large_offset_and_the_kind_of_number_do_not_matter(dtype):
    counts = np.random.default_rng(3).integers(0, 50, (10, 11, 12))
    plain = fourier_shell.transform(counts.astype(np.float32))
    offset = 200 if dtype == np.uint8 else 30_000
    shifted = fourier_shell.transform((counts + offset).astype(dtype))
    np.testing.assert_allclose(shifted, plain, atol=1e-6 * abs(plain).max())


def test_a_weight_takes_the_mean_where_it_looks():
    data = noise((8, 9, 10)) + 7.0
    weight = np.zeros(data.shape, np.float32)
    weight[2:6, 3:7, 1:9] = 0.5
    mean = float(np.average(data, weights=weight))
    expected = np.fft.rfftn((data.astype(np.float64) - mean) * weight)
    np.testing.assert_allclose(fourier_shell.transform(data, weight), expected, atol=1e-4)
    assert abs(fourier_shell.transform(data, weight)[0, 0, 0]) < 1e-3


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_random_phases_keep_amplitudes_and_all_below_the_limit(shape, spacing):
    data = noise(shape)
    beyond = 0.2
    changed = fourier_shell.randomise_phases(data, spacing, beyond=beyond, seed=5)
    before, after = (np.fft.fftn(d.astype(np.float64) - d.mean(dtype=np.float64)) for d in (data, changed))
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape, spacing, strict=True)]
    radius = np.sqrt(sum(k**2 for k in np.meshgrid(*axes, indexing="ij")))
    np.testing.assert_allclose(
        abs(after), abs(before), atol=1e-4
    )  # a sum of 2,000 numbers of 1 in single precision
    np.testing.assert_allclose(after[radius < beyond], before[radius < beyond], atol=1e-4)
    turned = np.angle(after[radius >= beyond] / before[radius >= beyond])
    assert abs(np.exp(1j * turned).mean()) < 4 / math.sqrt(turned.size)  # of random phases 1 / sqrt(n)
    assert np.array_equal(fourier_shell.randomise_phases(data, spacing, beyond=beyond, seed=5), changed)
    assert not np.array_equal(fourier_shell.randomise_phases(data, spacing, beyond=beyond, seed=6), changed)


def test_a_soft_edge_is_half_a_cosine_of_the_distance():
    inside = np.zeros((1, 1, 20), bool)
    inside[0, 0, 5:8] = True
    weight = fourier_shell.soft_edge(inside, (1.0, 1.0, 2.0), 8.0)[0, 0]
    assert weight[5:8].tolist() == [1.0, 1.0, 1.0]
    # voxels of 2 nm: at 2, 4, 6 and 8 nm of an edge of 8 nm
    np.testing.assert_allclose(
        weight[8:12], 0.5 + 0.5 * np.cos(np.pi * np.array([0.25, 0.5, 0.75, 1.0])), atol=1e-6
    )
    np.testing.assert_allclose(weight[1:5], weight[8:12][::-1], atol=1e-6)
    assert (weight[12:] == 0).all()
    assert np.array_equal(fourier_shell.soft_edge(inside, (1.0, 1.0, 2.0), 0.0), inside.astype(np.float32))


FREQUENCY, MANY = np.array([0.1, 0.2, 0.3, 0.4]), np.full(4, 1000)


def test_the_crossing_lies_on_the_line_between_two_shells():
    assert fourier_shell.crossing(FREQUENCY, np.array([1.0, 0.8, 0.4, 0.9]), MANY, 0.5) == pytest.approx(
        0.275
    )
    assert fourier_shell.crossing(FREQUENCY, np.array([0.4, 0.8, 0.4, 0.3]), MANY, 0.5) == 0.0
    assert math.isnan(fourier_shell.crossing(FREQUENCY, np.array([1.0, 0.8, 0.6, 0.5]), MANY, 0.5))


def test_first_shells_of_few_voxels_do_not_decide():
    few = np.array([18, 49, 50, 20])
    curve = np.array([0.1, 0.1, 0.8, 0.4])
    assert fourier_shell.n_undecided(few) == 2
    assert fourier_shell.crossing(FREQUENCY, curve, few, 0.5) == pytest.approx(0.375)
    assert fourier_shell.crossing(FREQUENCY, curve, few, 0.9) == 0.0
    assert fourier_shell.crossing(FREQUENCY, np.array([0.1, 1.0, 0.8, 0.4]), few, 0.9) == pytest.approx(0.25)
    assert (
        fourier_shell.crossing(FREQUENCY, curve, np.full(4, 20), 0.5) == 0.0
    )  # where all are, the first does


@pytest.mark.parametrize("half_deg", [20.0, 45.0, 60.0, 75.0, 90.0])
def test_elongation_is_the_ratio_of_the_second_moments_of_the_measured_fourier_space(half_deg):
    angle = np.deg2rad((np.arange(200_000) + 0.5) / 200_000 * 2 * half_deg - half_deg)
    moments = (np.cos(angle) ** 2).sum() / (np.sin(angle) ** 2).sum()
    assert psf_elongation(2 * half_deg) == pytest.approx(math.sqrt(moments), rel=1e-6)


def test_elongation_of_the_usual_range_is_1_55():
    assert psf_elongation(120.0) == pytest.approx(1.55, abs=0.005)


def test_crowther_is_pi_d_over_n_and_diameter_times_step():
    assert crowther_limit_nm(100.0, 90) == pytest.approx(math.pi * 100.0 / 90)
    assert crowther_limit_nm(100.0, 180, 179.0) == pytest.approx(
        math.pi * 100.0 / 180
    )  # the same step of 1 deg
    assert crowther_limit_nm(440.0, 61, 120.0) == pytest.approx(440.0 * math.radians(2.0))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: crowther_limit_nm(0.0, 61, 120.0), "diameter_nm must be a positive length in nm, got 0 nm"),
        (lambda: crowther_limit_nm(10.0, 1, 120.0), "n_views must be at least 2"),
        (lambda: crowther_limit_nm(10.0, 61, 181.0), "at most 180 deg, got 181 deg"),
        (lambda: psf_elongation(0.0), "above 0 and at most 180 deg, got 0 deg"),
        (lambda: psf_elongation(math.nan), "got nan deg"),
    ],
)
def test_limits_of_impossible_series_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
