"""Mixtures of normal distributions with known means, widths and shares."""

import math

import numpy as np
import pytest

from tomo3d.errors import ConvergenceError
from tomo3d.segment import gaussian_mixture, mixture_fit
from tomo3d.types import Volume

CUBE = (1.0, 1.0, 1.0)


def drawn(means, sigmas, shares, shape=(30, 40, 50), seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.choice(len(means), size=shape, p=shares)
    return classes, np.take(means, classes) + np.take(sigmas, classes) * rng.standard_normal(shape)


@pytest.mark.parametrize(
    ("means", "sigmas", "shares"),
    [
        ([0.0, 8.0], [1.0, 1.0], [0.9, 0.1]),
        ([-3.0, 4.0, 30.0], [1.0, 0.5, 3.0], [0.6, 0.35, 0.05]),
        ([0.0, 10.0, 20.0, 30.0], [1.0, 1.5, 1.0, 2.0], [0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_means_widths_and_shares_are_those_drawn(means, sigmas, shares):
    classes, data = drawn(means, sigmas, shares)
    record = gaussian_mixture(Volume(data, CUBE), n_classes=len(means)).record
    n = np.bincount(classes.ravel())
    # at 7 sigma and more between classes, each has the sampling error of its own voxels: four of them allowed,
    # and the 1/1024 of the range that one bin has
    width = np.ptp(data) / 1024
    error = np.array(sigmas) / np.sqrt(n)
    assert (np.abs(np.subtract(record["class_means"], means)) <= 4 * error + 0.1 * width).all()
    assert (
        np.abs(np.subtract(record["class_sigmas"], sigmas)) <= 4 * error / math.sqrt(2) + 0.1 * width
    ).all()
    np.testing.assert_allclose(record["class_shares"], n / data.size, atol=5e-4)


def test_overlapping_classes_are_told_apart_where_their_densities_cross():
    # 3 sigma apart, shares 0.7 and 0.3: the densities cross at the mid-point + sigma^2 ln(0.7 / 0.3) / distance
    _, data = drawn([0.0, 3.0], [1.0, 1.0], [0.7, 0.3])
    labels = gaussian_mixture(Volume(data, CUBE), n_classes=2)
    level = 1.5 + math.log(0.7 / 0.3) / 3.0
    assert labels.record["levels"] == pytest.approx([level], abs=0.05)  # 60,000 voxels
    np.testing.assert_array_equal(labels.data, data >= labels.record["levels"][0])
    assert labels.record["class_shares"] == pytest.approx([0.7, 0.3], abs=0.015)


def test_probabilities_are_those_of_bayes_and_are_calibrated():
    classes, data = drawn([0.0, 3.0], [1.0, 1.0], [0.7, 0.3])
    probability = gaussian_mixture(Volume(data, CUBE), n_classes=2).probabilities
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(axis=0), 1.0, atol=1e-6)
    between = (data > 0) & (data < 3)
    exact = 1.0 / (1.0 + 0.7 / 0.3 * np.exp(4.5 - 3.0 * data[between]))
    np.testing.assert_allclose(probability[1][between], exact, atol=0.05)
    for low in (0.2, 0.5):  # of the voxels that are class 1 with probability p, a share of p is
        some = (probability[1] >= low) & (probability[1] < low + 0.1)
        assert classes[some].mean() == pytest.approx(float(probability[1][some].mean()), abs=0.03)


def test_the_wider_class_does_not_win_on_both_sides():
    _, data = drawn([0.0, 10.0], [0.5, 3.0], [0.5, 0.5])
    data[0, 0, :5] = -6.0  # where the density of the wide class is the larger
    labels = gaussian_mixture(Volume(data, CUBE), n_classes=2)
    assert len(labels.record["levels"]) == 1
    assert not labels.data[data < 0].any()
    assert labels.data[data > 10].all()


def test_integers_of_few_values_have_one_bin_each():
    _, data = drawn([20.0, 60.0], [0.6, 6.0], [0.5, 0.5])
    record = gaussian_mixture(Volume(np.rint(data).astype(np.uint8), CUBE), n_classes=2).record
    # n = 30,000 a class: four sampling errors; without Sheppard's correction the first width is 0.67
    assert record["class_means"] == pytest.approx([20.0, 60.0], abs=0.14)
    assert record["class_sigmas"] == pytest.approx([0.6, 6.0], abs=0.1)
    assert record["class_sigmas"][0] == pytest.approx(0.6, abs=0.015)


def test_brightness_and_contrast_do_not_change_the_classes():
    _, data = drawn([0.0, 5.0, 9.0], [1.0, 0.8, 1.2], [0.5, 0.3, 0.2])
    first = gaussian_mixture(Volume(data, CUBE))
    second = gaussian_mixture(Volume(8.0 * data - 64.0, CUBE))
    assert np.mean(first.data != second.data) < 1e-3  # rounding moves voxels between bins


def test_without_probabilities_the_classes_are_the_same_and_names_are_kept():
    _, data = drawn([0.0, 5.0], [1.0, 1.0], [0.5, 0.5])
    names = ["pore", "film"]
    whole = gaussian_mixture(Volume(data, CUBE), n_classes=2, names=names)
    less = gaussian_mixture(Volume(data, CUBE), n_classes=2, names=names, with_probabilities=False)
    np.testing.assert_array_equal(whole.data, less.data)
    assert less.probabilities is None
    assert less.names == {0: "pore", 1: "film"}


def clipped(darkest, side=-1, dtype=np.float32):
    """Three classes of known truth, all values beyond 0 put at 0 by a bound; with side 1 all turned over."""
    means, sigmas, shares = [darkest, 1.0, 2.0], [0.25, 0.12, 0.2], [0.6, 0.3, 0.1]
    classes, data = drawn(means, sigmas, shares)
    data = np.maximum(data, 0.0)
    if dtype == np.uint8:
        return classes, np.rint(40 * data).astype(np.uint8), 40 * np.array(means), 40 * np.array(sigmas)
    if side > 0:
        means, sigmas, classes = -np.array(means[::-1]), sigmas[::-1], 2 - classes
    return classes, (-side * data).astype(dtype), np.array(means), np.array(sigmas)


@pytest.mark.parametrize("darkest", [-0.125, 0.0, 0.125])
@pytest.mark.parametrize(("side", "dtype"), [(-1, np.float32), (1, np.float32), (-1, np.uint8)])
def test_classes_that_a_bound_clips_keep_their_truth(darkest, side, dtype):
    classes, data, means, sigmas = clipped(darkest, side, dtype)
    result = gaussian_mixture(Volume(data, CUBE))
    record, n = result.record, np.bincount(classes.ravel())
    (pile,) = record["piles"]
    bound = 0.0 if dtype == np.float32 else 0.5  # up to which values are rounded to 0
    assert pile == {"bound": bound, "share": pytest.approx((data == 0).mean())}
    assert pile["share"] > 0.15  # 31 to 69 % of the darkest class
    # The bound takes up to 69 % of what tells the mean.
    error = sigmas * (4 / np.sqrt(n) + 0.02)
    assert (np.abs(record["class_means"] - means) <= error).all()
    assert (np.abs(record["class_sigmas"] - sigmas) <= error).all()
    np.testing.assert_allclose(record["class_shares"], n / data.size, atol=0.003)
    # At the least error that is possible 1.3 % of the voxels are in the wrong class, where 0.125 is the mean.
    assert np.mean(result.data != classes) < 0.015
    assert (result.data[data == 0] == (0 if side < 0 else 2)).all()
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1.0, atol=1e-6)


def test_a_pile_with_a_tail_that_is_not_normal_is_one_class():
    # As SIRT with a bound leaves it: most of the pores at 0, an exponential tail of theirs, and two bodies.
    rng = np.random.default_rng(4)
    shares = np.array([0.75, 0.15, 0.06, 0.04])  # pile, its tail, film, support
    part = rng.choice(4, size=(30, 40, 50), p=shares)
    data = np.choose(
        part,
        [
            np.zeros(part.shape),
            rng.exponential(0.06, part.shape),
            0.45 + 0.07 * rng.standard_normal(part.shape),
            0.85 + 0.06 * rng.standard_normal(part.shape),
        ],
    )
    result = gaussian_mixture(Volume(np.maximum(data, 0.0).astype(np.float32), CUBE))
    truth = np.maximum(part - 1, 0)
    # The tail overlaps the film where their densities cross, near 0.3: 0.15 exp(-5) = 0.1 % of the voxels.
    assert np.mean(result.data != truth) < 0.003
    assert result.record["class_means"][1:] == pytest.approx([0.45, 0.85], abs=0.01)
    assert result.record["class_shares"] == pytest.approx([0.9, 0.06, 0.04], abs=0.005)
    # The classes are those of the values that have no bound.
    assert (result.data[part == 0] == 0).all()


def test_constant_pores_are_not_cut_off_by_a_bound():
    classes, data = drawn([0.0, 5.0], [0.0, 1.0], [0.7, 0.3])
    result = gaussian_mixture(Volume(data, CUBE), n_classes=2)
    assert result.record["piles"] == []
    assert result.record["class_means"] == pytest.approx([0.0, 5.0], abs=0.03)
    assert np.mean(result.data != classes) < 1e-4


def test_classes_that_are_all_beyond_the_bound_are_refused(monkeypatch):
    # All but the bodies is at the bound or in its tail: a third class finds nothing of its own.
    rng = np.random.default_rng(0)
    data = np.maximum(rng.standard_normal((12, 13, 14)) - 1.0, 0.0) ** 1.6
    monkeypatch.setattr(mixture_fit, "_TOLERANCE", 1e-6)  # sooner
    with pytest.raises(ConvergenceError, match="at most one class may lie beyond the bound at 0, where 84"):
        gaussian_mixture(Volume(data, CUBE), n_classes=3)


def test_a_fit_that_does_not_settle_says_so(monkeypatch):
    monkeypatch.setattr(mixture_fit, "_MAX_ITERATIONS", 5)
    _, data = drawn([0.0, 1.0], [1.0, 1.0], [0.5, 0.5])
    with pytest.raises(ConvergenceError, match="must settle within 5 iterations"):
        gaussian_mixture(Volume(data, CUBE), n_classes=2)


def bad(value):
    data = np.random.default_rng(0).random((5, 6, 7))
    data[3, 2, 1] = value
    return data


@pytest.mark.parametrize(
    ("data", "options", "match"),
    [
        (np.ones((4, 5, 6)), {}, "constant volume"),
        (bad(np.nan), {}, "must be finite"),
        (bad(0.5), {"n_classes": 6}, "2 to 5"),
        (bad(0.5), {"n_classes": 2, "names": ["a"]}, "one for each"),
        (np.arange(24).reshape(2, 3, 4) % 2, {"n_classes": 3}, "different grey values"),
    ],
)
def test_what_makes_no_sense_is_refused(data, options, match):
    with pytest.raises(ValueError, match=match):
        gaussian_mixture(Volume(data, CUBE), **options)
