"""The model of a channel, and the joint objective of counts and an elastic series."""

import itertools

import numpy as np
import pytest

from tomo3d.compute import fused
from tomo3d.compute.binned_projector import area_weights, binned_projector
from tomo3d.compute.fused import Counts, Elastic
from tomo3d.compute.projector import Projector
from tomo3d.compute.resampling import bin_images

ANGLES = np.array([-58.0, -31.0, 4.0, 37.0, 61.0])


@pytest.mark.parametrize(
    ("n_pixels", "n_fine", "ratio"), [(4, 12, 3.0), (5, 12, 1.7), (7, 8, 0.5), (3, 9, 2.5)]
)
def test_a_pixel_is_the_mean_over_its_area(n_pixels, n_fine, ratio):
    weights = area_weights(n_pixels, n_fine, ratio)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)  # all lie within
    edges = (np.arange(n_pixels + 1) - n_pixels / 2) * ratio
    fine_edges = np.arange(n_fine + 1) - n_fine / 2
    image = np.random.default_rng(0).random(n_fine)
    integral = np.interp(edges, fine_edges, np.concatenate(([0], np.cumsum(image))))
    np.testing.assert_allclose(weights @ image, np.diff(integral) / ratio, rtol=1e-5)


def test_pixels_of_whole_blocks_are_binned_images():
    image = np.random.default_rng(1).random((1, 12, 18), dtype=np.float32)
    binned = area_weights(4, 12, 3.0) @ image[0] @ area_weights(6, 18, 3.0).T
    np.testing.assert_allclose(binned, bin_images(image, 3)[0], rtol=1e-5)


def test_a_pixel_that_looks_past_the_grid_is_not_measured():
    projector = Projector(np.array([0.0]), n_u=9, n_x=9, n_z=3)
    seen = binned_projector(projector, 9, (5, 5), 2.0, np.ones(1, np.float32)).seen[0]
    assert np.array_equal(
        seen > 0, np.pad(np.ones((3, 3), bool), 1)
    )  # 5 pixels of 2 reach past 9 pixels of 1


GEOMETRIES = {
    "tilts": {},
    "shifts": {"shifts": np.random.default_rng(2).uniform(-2, 2, 5)},
    "turned": {
        "shifts": np.random.default_rng(3).uniform(-2, 2, (5, 2)),
        "rotations_deg": np.linspace(-3, 3, 5),
        "magnifications": np.linspace(0.98, 1.03, 5),
        "n_y": 10,
        "n_v": 13,
    },
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize(("image_shape", "ratio"), [((9, 10), 1.0), ((5, 4), 2.5), ((6, 6), 1.7)])
def test_back_is_the_transpose_of_forward(geometry, image_shape, ratio):
    rng = np.random.default_rng(4)
    projector = Projector(ANGLES, n_u=12, n_x=11, n_z=7, **geometry)
    factors = rng.uniform(0.2, 1, 5).astype(np.float32)
    operator = binned_projector(projector, 10, image_shape, ratio, factors)
    assert (operator.seen > 0).mean() > 0.3
    volume = rng.random((7, 11, 10), dtype=np.float32)
    images = rng.random((5, *image_shape), dtype=np.float32)
    for array in (volume, images):
        array.flags.writeable = False
    a = np.vdot(operator.forward(volume).astype(np.float64), images.astype(np.float64))
    b = np.vdot(volume.astype(np.float64), operator.back(images).astype(np.float64))
    assert abs(a - b) <= 1e-6 * abs(a)  # float32 sums


def test_total_variation_has_its_gradient_and_stays_below_its_bound():
    rng = np.random.default_rng(5)
    x = rng.random((4, 5, 3)).astype(np.float64)
    value, slope, curvature = fused.total_variation(x, 0.1)
    for index in [(0, 0, 0), (2, 3, 1), (3, 4, 2)]:
        beside = x.copy()
        beside[index] += 1e-5
        rise = (fused.total_variation(beside, 0.1)[0] - value) / 1e-5
        assert rise == pytest.approx(slope[index], abs=1e-3)
    for size in (1e-3, 0.1, 1.0, 10.0):
        step = size * rng.normal(size=x.shape)
        bound = value + (slope * step).sum() + 0.5 * (curvature * step**2).sum()
        assert fused.total_variation(x + step, 0.1)[0] <= bound + 1e-9
    # the bound is met where all neighbours move apart: steps of a chessboard on a flat volume
    board = 1e-4 * (-1.0) ** np.indices((4, 5, 3)).sum(axis=0)
    value, slope, curvature = fused.total_variation(np.ones((4, 5, 3)), 0.1)
    bound = value + (slope * board).sum() + 0.5 * (curvature * board**2).sum()
    rise = fused.total_variation(1 + board, 0.1)[0] - value
    assert 0.99 * (bound - value) < rise <= bound - value


def test_the_joint_step_is_where_its_derivative_vanishes():
    rng = np.random.default_rng(6)
    shape = (3, 6, 5)
    x, gain, slope, curvature = (rng.uniform(0.01, 2, shape) for _ in range(4))
    curvature[:, :3] = 0
    weights = np.array([0.0, 3.0, 20.0])
    pull, stiffness = rng.normal(0, 50, shape[1:]), rng.uniform(0, 200, shape[1:])
    found = fused._joint_minimum(x, gain, slope, curvature, weights, pull, stiffness)
    force = pull + stiffness * np.tensordot(weights, found - x, axes=1)
    own = slope - gain / found + curvature * (found - x)
    # the least curvature that keeps a step finite shifts the balance by its own force
    slack = (
        fused._LEAST_CURVATURE * np.maximum(slope, 1) / x.mean(axis=(1, 2), keepdims=True) * abs(found - x)
    )
    assert (abs(own + weights[:, None, None] * force) <= slack + 0.02 * weights[:, None, None] + 1e-6).all()


def case(*, noise=None, contrast=None):
    """Counts of two elements, the second on pixels of 2, and the elastic series of their sum."""
    rng = np.random.default_rng(7)
    x = rng.random((2, 6, 12, 10), dtype=np.float32)
    x[0, :, :6] = 0
    x[1, :, 6:] = 0
    projectors = [Projector(ANGLES[k:], n_u=12, n_x=12, n_z=6) for k in (0, 1, 2)]
    operators = [
        binned_projector(
            projector, 10, shape, ratio, np.linspace(0.5, 1, projector.n_views, dtype=np.float32)
        )
        for projector, shape, ratio in zip(
            projectors, ((12, 10), (6, 5), (12, 10)), (1.0, 2.0, 1.0), strict=True
        )
    ]
    counts = [
        Counts(operator, rng.poisson(operator.forward(volume)).astype(np.float32))
        for operator, volume in zip(operators, x, strict=False)
    ]
    sums = operators[2].forward(2 * x[0] + 7 * x[1])
    elastic = None if noise is None else Elastic(
        operators[2], sums + rng.normal(0, noise, sums.shape).astype(np.float32), noise, contrast
    )  # fmt: skip
    return counts, elastic


@pytest.mark.parametrize("variation", [0.0, 0.2])
@pytest.mark.parametrize(
    ("noise", "contrast"), [(None, None), (0.5, None), (0.5, np.array([2.0, 7.0])), (0.05, None)]
)
def test_the_objective_never_rises(noise, contrast, variation):
    counts, elastic = case(noise=noise, contrast=contrast)
    x = np.stack([fused.uniform(channel, (6, 12, 10)) for channel in counts])
    steps = fused.fused(counts, x, elastic=elastic, variation=variation)
    totals = [objective.total for objective in itertools.islice(steps, 40)]
    assert (np.diff(totals) <= 1e-6 * np.array(totals[1:])).all()  # float32 sums
    assert totals[-1] < 0.8 * totals[0]
    assert (x >= 0).all()


def test_elastic_weights_are_found():
    counts, elastic = case(noise=1e-3)
    truth = np.zeros((2, 6, 12, 10), dtype=np.float32)
    rng = np.random.default_rng(7)
    truth[...] = rng.random(truth.shape, dtype=np.float32)
    truth[0, :, :6] = 0
    truth[1, :, 6:] = 0
    np.testing.assert_allclose(fused.fit_weights(elastic, truth), [2, 7], rtol=1e-3)  # noise over signal
    assert len(counts) == 2


def test_totals_of_the_likelihood_alone_are_those_counted():
    counts, _ = case()
    x = np.stack([fused.uniform(channel, (6, 12, 10)) for channel in counts])
    for _ in itertools.islice(fused.fused(counts, x), 3):
        pass
    for channel, volume in zip(counts, x, strict=True):
        measured = (channel.images * (channel.operator.seen > 0)).sum()
        assert channel.operator.forward(volume).sum() == pytest.approx(measured, rel=1e-5)
