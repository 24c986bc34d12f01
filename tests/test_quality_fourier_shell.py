"""Fourier shell correlation against what is known of the two volumes."""

import math

import numpy as np
import pytest

from tomo3d import quality, tables
from tomo3d.progress import listening
from tomo3d.types import Labels, Volume

CUBE = (1.0, 1.0, 1.0)


def radii(shape, voxel):
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape, voxel, strict=True)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"))
    return k, np.sqrt((k**2).sum(axis=0))


def coloured(shape, amplitude, seed):
    """Noise with an expected amplitude at each frequency."""
    white = np.fft.fftn(np.random.default_rng(seed).standard_normal(shape))
    return np.fft.ifftn(white * amplitude).real


def volume(data, voxel=CUBE):
    data = np.asarray(data, np.float32)
    data.flags.writeable = False
    return Volume(data, voxel)


def noisy_halves(shape, voxel, snr, seed=0):
    """Two volumes whose spectral signal-to-noise ratio is `snr`: one signal, and white noise of their own."""
    signal = coloured(shape, np.sqrt(snr), seed)
    return [volume(signal + coloured(shape, 1.0, seed + i), voxel) for i in (1, 2)]


def curve(*volumes, **options):
    return quality.fourier_shell_correlation(*volumes, **options).curve


@pytest.mark.parametrize(
    ("shape", "voxel"),
    [((96, 96, 96), CUBE), ((64, 91, 150), (1.5, 1.0, 0.7)), ((33, 300, 101), (2.0, 0.5, 1.0))],
)
def test_correlation_of_known_signal_to_noise_is_snr_over_one_plus_snr(shape, voxel):
    steps = np.array([0.0, 30.0, 9.0, 3.0, 1.0, 0.4, 0.1, 0.0])  # one SNR for each shell
    width = 0.5 / max(voxel) / 7
    _, k = radii(shape, voxel)
    snr = steps[np.minimum(np.floor(k / width + 0.5).astype(int), 7)]
    table = tables.check(curve(*noisy_halves(shape, voxel, snr), shell_width_per_nm=width), tables.SHELLS)
    error = (table.correlation - steps[1:] / (1 + steps[1:])).abs()
    # chance: (1 - FSC^2) sqrt(2 / n), taken four times
    chance = 4 * (1 - (steps[1:] / (1 + steps[1:])) ** 2) * np.sqrt(2 / table.n_voxels)
    assert (error < chance).all()
    assert chance.min() < 0.02
    assert (error[table.n_voxels > 5_000] < 0.02).all()


def test_correlation_of_two_phases_is_the_cosine_of_their_difference():
    # F = S exp(ia), G = S exp(-ia), with a odd so that both are real: the correlation is cos 2a, without any chance
    shape, voxel = (31, 25, 27), (1.0, 1.5, 0.8)  # odd: no frequency is its own negative but zero
    axes, k = radii(shape, voxel)
    shell = np.floor(k * 37.5 + 0.5)  # the longest edge is 25 x 1.5 nm
    turn = np.sign(axes[0] + 1e-3 * axes[1] + 1e-6 * axes[2])
    signal = np.fft.fftn(np.random.default_rng(0).standard_normal(shape))
    angle = 0.1 * shell * turn
    first, second = (volume(np.fft.ifftn(signal * np.exp(sign * 1j * angle)).real, voxel) for sign in (1, -1))
    table = curve(first, second)
    np.testing.assert_allclose(table.correlation, np.cos(0.2 * table.shell), atol=2e-6)


@pytest.mark.parametrize(("shape", "voxel"), [((96, 96, 96), CUBE), ((60, 91, 128), (1.5, 1.0, 0.8))])
def test_resolution_is_where_the_known_curve_crosses(shape, voxel):
    _, k = radii(shape, voxel)
    fall = 0.1 * 0.5 / max(voxel)
    result = quality.fourier_shell_correlation(*noisy_halves(shape, voxel, 10.0 * np.exp(-k / fall)))
    for threshold, made in ((0.5, result.resolution_0_5_nm), (0.143, result.resolution_0_143_nm)):
        exact = fall * math.log(10.0 * (1 - threshold) / threshold)  # where SNR = threshold / (1 - threshold)
        # slope of the curve there: FSC (1 - FSC) / fall; chance in a shell of some 3,000 voxels: 0.026, times three
        assert abs(1 / made - exact) < 0.08 / (threshold * (1 - threshold)) * fall
    assert result.note == (
        f"The correlation falls below 0.143 at {result.resolution_0_143_nm:.3g} nm. "
        f"The correlation falls below 0.5 at {result.resolution_0_5_nm:.3g} nm."
    )


def test_shells_reach_the_lowest_nyquist_frequency_in_steps_of_one_over_the_longest_edge():
    table = curve(*noisy_halves((20, 30, 40), (2.0, 1.0, 1.5), np.ones((20, 30, 40))))
    assert table.shell.tolist() == list(range(1, 16))  # 0.25 1/nm in steps of 1/60 1/nm
    np.testing.assert_allclose(table.frequency_per_nm, table.shell / 60, atol=0.3 / 60)
    wide = curve(*noisy_halves((20, 30, 40), (2.0, 1.0, 1.5), np.ones((20, 30, 40))), shell_width_per_nm=0.05)
    assert len(wide) == 5


@pytest.mark.parametrize("shape", [(16, 17, 18), (9, 24, 15)])
def test_a_volume_correlates_with_itself_by_exactly_one(shape):
    first = volume(np.random.default_rng(0).standard_normal(shape))
    result = quality.fourier_shell_correlation(first, first)
    assert (result.curve.correlation == 1.0).all()
    assert math.isnan(result.resolution_0_143_nm)
    assert math.isnan(result.resolution_0_5_nm)
    assert "never falls below 0.5: finer than" in result.note


def test_the_negative_of_a_volume_correlates_by_minus_one():
    first = volume(np.random.default_rng(0).standard_normal((16, 17, 18)))
    result = quality.fourier_shell_correlation(first, volume(-first.data))
    np.testing.assert_allclose(result.curve.correlation, -1.0, atol=1e-12)
    assert math.isinf(result.resolution_0_5_nm)
    coarsest = 1 / result.curve.frequency_per_nm[result.curve.n_voxels >= 50].iloc[0]
    assert f"starts below 0.5: nothing finer than {coarsest:.3g} nm" in result.note


def test_scale_and_offset_do_not_matter():
    first, second = noisy_halves((20, 21, 22), CUBE, np.ones((20, 21, 22)))
    scaled = volume(30.0 * second.data + 500.0)
    np.testing.assert_allclose(curve(first, scaled).correlation, curve(first, second).correlation, atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (2, 0)])
def test_a_quarter_turn_of_both_changes_nothing(axes):
    first, second = noisy_halves((18, 24, 21), CUBE, np.ones((18, 24, 21)))
    turned = [volume(np.rot90(v.data, axes=axes)) for v in (first, second)]
    np.testing.assert_allclose(curve(*turned).correlation, curve(first, second).correlation, atol=1e-6)
    assert (curve(turned[0], turned[0]).correlation == 1.0).all()


def test_a_shift_of_both_changes_nothing_and_of_one_turns_the_phases():
    shape = (20, 24, 26)
    first, second = noisy_halves(shape, CUBE, np.full(shape, 4.0))
    moved = [volume(np.roll(v.data, (3, -2, 5), axis=(0, 1, 2))) for v in (first, second)]
    np.testing.assert_allclose(curve(*moved).correlation, curve(first, second).correlation, atol=1e-6)
    # of a volume with itself moved by 1 nm along x: the mean of cos(2 pi k_x), sinc(2 k) over a shell
    white = volume(np.random.default_rng(4).standard_normal((64, 64, 64)))
    table = curve(white, volume(np.roll(white.data, 1, axis=2)))
    expected = np.sinc(2 * table.frequency_per_nm)
    assert (abs(table.correlation - expected) < np.maximum(0.03, 4 * np.sqrt(2 / table.n_voxels))).all()


def test_the_voxel_size_scales_the_frequencies():
    first, second = noisy_halves((20, 21, 22), CUBE, np.ones((20, 21, 22)))
    larger = [Volume(v.data, (2.5, 2.5, 2.5)) for v in (first, second)]
    table, scaled = curve(first, second), curve(*larger)
    np.testing.assert_allclose(scaled.frequency_per_nm, table.frequency_per_nm / 2.5)
    np.testing.assert_allclose(scaled.correlation, table.correlation)


def masked_case(seed=0):
    """A strong signal at low frequencies, noise beyond, and a mask with a sharp edge."""
    shape = (64, 64, 64)
    _, k = radii(shape, CUBE)
    halves = noisy_halves(shape, CUBE, np.where(k < 0.15, 3000.0, 0.0), seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) - 31.5 for n in shape], indexing="ij"))
    mask = np.sqrt((grid**2).sum(axis=0)) < 14
    return halves, Labels(mask, CUBE)


def test_what_a_sharp_mask_adds_is_taken_off():
    halves, mask = masked_case()
    table = tables.check(curve(*halves, mask=mask, soft_edge_nm=0.0), tables.MASKED_SHELLS)
    beyond = table.frequency_per_nm.between(0.2, 0.45)  # no signal there: the correlation is 0
    assert table.correlation_masked[beyond].mean() > 0.4  # what leaks out of the strong shells
    assert abs(table.correlation_unmasked[beyond]).max() < 0.1
    # 4 % of the shells' 8,000 voxels are independent within the mask: each scatters by some 0.1
    assert abs(table.correlation[beyond].mean()) < 0.1
    low = table.frequency_per_nm < 0.12
    assert table.correlation[low].min() > 0.99
    assert np.array_equal(table.correlation[low], table.correlation_masked[low])


def test_phases_are_random_from_the_shell_on_that_falls_below_0_8():
    shape = (48, 48, 48)
    _, k = radii(shape, CUBE)
    halves = noisy_halves(shape, CUBE, np.where(k < 0.1, 99.0, np.where(k < 0.3, 1.5, 0.0)))
    table = curve(*halves, mask=Labels(np.ones(shape, bool), CUBE))  # all of the grid: no shell leaks
    first = int(np.flatnonzero(table.correlation_unmasked < 0.8)[0])
    before, after = table[:first], table[first:]
    assert 0.08 < after.frequency_per_nm.iloc[0] < 0.13
    np.testing.assert_allclose(before.correlation_random_phases, before.correlation_unmasked, atol=1e-4)
    assert (after.correlation_random_phases.abs() < 4 * np.sqrt(2 / after.n_voxels)).all()


def test_a_soft_edge_adds_less_than_a_hard_one():
    halves, mask = masked_case()
    hard, soft = (curve(*halves, mask=mask, soft_edge_nm=edge) for edge in (0.0, 8.0))
    beyond = hard.frequency_per_nm > 0.25
    assert soft.correlation_masked[beyond].mean() < 0.3 * hard.correlation_masked[beyond].mean()
    default = curve(*halves, mask=mask)
    four = curve(*halves, mask=mask, soft_edge_nm=4.0)
    assert np.array_equal(default.correlation_masked, four.correlation_masked)


def test_a_mask_of_the_whole_grid_masks_nothing():
    halves = noisy_halves((24, 25, 26), CUBE, np.full((24, 25, 26), 2.0))
    table = curve(*halves, mask=Labels(np.ones((24, 25, 26), np.uint8), CUBE))
    assert np.array_equal(table.correlation_masked, table.correlation_unmasked)
    assert np.array_equal(table.correlation_unmasked, curve(*halves).correlation)


def test_the_seed_decides_the_random_phases():
    halves, mask = masked_case()
    first, again, other = (curve(*halves, mask=mask, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not np.allclose(first.correlation_random_phases.dropna(), other.correlation_random_phases.dropna())


def test_nothing_is_randomised_where_the_volumes_agree_everywhere():
    first = volume(np.random.default_rng(0).standard_normal((16, 17, 18)))
    mask = Labels(np.pad(np.ones((8, 9, 10), np.uint8), 4), CUBE)
    table = curve(first, first, mask=mask)
    assert table.correlation_random_phases.isna().all()
    assert (table.correlation == 1.0).all()


def test_inputs_of_integers_are_taken_as_they_are():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 60_000, (16, 17, 18)).astype(np.uint16)
    as_float, as_integer = (
        curve(Volume(a, CUBE), Volume(a[::-1].copy(), CUBE)) for a in (first.astype(float), first)
    )
    np.testing.assert_allclose(as_float.correlation, as_integer.correlation, atol=1e-6)


def test_progress_is_reported():
    heard = []
    with listening(lambda what, done, total: heard.append((what, done, total))):
        curve(*noisy_halves((8, 9, 10), CUBE, np.ones((8, 9, 10))))
    assert heard[0] == ("Fourier shells", 0, 8)
    assert heard[-1] == ("Fourier shells", 8, 8)


WHITE = np.random.default_rng(0).standard_normal((8, 9, 10)).astype(np.float32)


def bad(value):
    data = WHITE.copy()
    data[3, 2, 1] = value
    return Volume(data, CUBE)


@pytest.mark.parametrize(
    ("second", "options", "sentence"),
    [
        (
            Volume(WHITE[:, :, 1:], CUBE),
            {},
            r"on the grid of the first, \(8, 9, 10\) voxels, got \(8, 9, 9\)",
        ),
        (Volume(WHITE, (1.0, 1.0, 1.1)), {}, "must have the voxel size of the first"),
        (Volume(WHITE, CUBE, (0.0, 0.5, 0.0)), {}, "must have the origin of the first"),
        (bad(np.nan), {}, "finite, got NaN or infinity in the second volume, slice z = 3"),
        (bad(np.inf), {}, "finite, got NaN or infinity in the second volume, slice z = 3"),
        (Volume(np.full((8, 9, 10), 2.0), CUBE), {}, "second volume must hold more than one value, got 2"),
        (Volume(WHITE, CUBE), {"mask": Labels(np.zeros((8, 9, 10), bool), CUBE)}, "got an empty mask"),
        (
            Volume(WHITE, CUBE),
            {"mask": Labels(np.ones((8, 9, 9), bool), CUBE)},
            "the mask must be on the grid",
        ),
        (
            Volume(WHITE, CUBE),
            {"mask": Labels(np.ones((8, 9, 10), bool), CUBE), "soft_edge_nm": -1.0},
            "soft_edge_nm must be 0",
        ),
        (
            Volume(WHITE, CUBE),
            {"shell_width_per_nm": 0.09},
            r"longest edge of the grid \(0.1 1/nm\).*got 0.09 1/nm",
        ),
        (Volume(WHITE, CUBE), {"shell_width_per_nm": 0.6}, r"Nyquist frequency \(0.5 1/nm\), got 0.6"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(second, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        quality.fourier_shell_correlation(Volume(WHITE, CUBE), second, **options)
