"""Views on a coarser grid: what it can hold is kept, what it cannot is gone, densities stay."""

import numpy as np
import pytest

from tomo3d import TiltSeries, geometry
from tomo3d.compute.coarse_views import CoarseViews, coarse_length
from tomo3d.compute.resampling import bin_images
from tomo3d.phantoms import Ball
from tomo3d.reconstruct import wbp

FACTORS = [1.3, 2.0, 3.7]
EDGE = 11  # coarse pixels: the kernel reaches 10


def gratings(factor, cycles, axis, n_coarse=80):
    """Cosine and sine of a number of cycles per coarse pixel along an axis; their exact values on the coarse grid."""
    n = round(n_coarse * factor)
    shape = (n, 3) if axis == 0 else (3, n)
    phase = 2 * np.pi * cycles / factor * geometry.coordinates(n)
    wave = np.stack([np.cos(phase), np.sin(phase)]).astype(np.float32)
    images = np.broadcast_to(wave[:, :, None] if axis == 0 else wave[:, None, :], (2, *shape))
    phase = 2 * np.pi * cycles * geometry.coordinates(coarse_length(n, factor))
    return CoarseViews(images, factor), np.stack([np.cos(phase), np.sin(phase)])


def along(views, axis):
    """(2, n) from the interior of a stack that is even across."""
    data = views[:]
    return (data[:, EDGE:-EDGE, 0] if axis == 0 else data[:, 0, EDGE:-EDGE]).astype(float)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("cycles", [0.03, 0.1, 0.2, 0.3, 0.35])
def test_a_grating_that_the_volume_can_hold_is_kept(factor, cycles, axis):
    views, exact = gratings(factor, cycles, axis)
    np.testing.assert_allclose(along(views, axis), exact[:, EDGE:-EDGE], atol=5e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("factor", "cycles"), [(f, c) for f in FACTORS for c in (0.5, 0.52, 0.6, 0.8, 1.0, 1.5) if c <= 0.5 * f]
)
def test_a_grating_above_the_limit_of_the_volume_vanishes(factor, cycles, axis):
    views, _ = gratings(factor, cycles, axis)
    assert np.abs(along(views, axis)).max() <= 5e-3


def test_means_over_blocks_would_bring_it_back():
    views, _ = gratings(2.0, 0.6, axis=1)
    binned = bin_images(views.images, 1)[:, 0].reshape(2, -1, 2).mean(axis=2)
    assert np.abs(binned).max() > 0.5


@pytest.mark.parametrize("factor", [1.0, *FACTORS])
@pytest.mark.parametrize("shape", [(7, 30), (24, 5), (2, 2)])
def test_what_is_even_stays_as_it_is_to_the_edges(factor, shape):
    views = CoarseViews(np.full((2, *shape), 3.25, dtype=np.float32), factor)
    data = views[:]
    assert data.shape == views.shape == (2, *(max(1, int(n / factor + 1e-6)) for n in shape))
    assert data.dtype == views.dtype == np.float32
    np.testing.assert_allclose(data, 3.25, rtol=1e-6)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("n", [90, 91])
def test_places_and_sums_are_kept(factor, n):
    y, x = geometry.coordinates(n)[:, None], geometry.coordinates(n)
    spot = np.exp(-0.5 * ((y + 3.3) ** 2 + (x - 5.6) ** 2) / (2.0 * factor) ** 2).astype(np.float32)
    data = CoarseViews(spot[None], factor)[0].astype(float)
    cy, cx = (geometry.coordinates(m) * factor for m in data.shape)
    total = data.sum()
    assert total * factor**2 == pytest.approx(spot.sum(dtype=float), rel=2e-3)  # an integral, in pixels
    assert (data.sum(axis=1) @ cy) / total == pytest.approx(-3.3, abs=0.02 * factor)
    assert (data.sum(axis=0) @ cx) / total == pytest.approx(5.6, abs=0.02 * factor)


class Recorder:
    """An array that notes what is read of it."""

    def __init__(self, data):
        self.data, self.shape, self.ndim, self.dtype = data, data.shape, data.ndim, data.dtype
        self.read = []

    def __getitem__(self, key):
        part = self.data[key]
        self.read.append(part.shape)
        return part


def test_a_band_is_the_same_part_of_the_whole_and_reads_little_more():
    data = np.random.default_rng(0).random((3, 200, 150), dtype=np.float32)
    data.flags.writeable = False
    whole = CoarseViews(data, 2.5)[:]
    source = Recorder(data)
    views = CoarseViews(source, 2.5)
    np.testing.assert_allclose(views[:, 30:38], whole[:, 30:38], atol=1e-6)
    assert all(shape[0] <= 8 * 2.5 + 2 * (10 * 2.5 + 1) for shape in source.read)
    np.testing.assert_allclose(views[1], whole[1], atol=1e-6)
    np.testing.assert_allclose(views[2, 5:9, 50:60], whole[2, 5:9, 50:60], atol=1e-6)
    np.testing.assert_allclose(views[1:, 70:], whole[1:, 70:], atol=1e-6)
    assert views[:, 4:4].shape == (3, 0, 60)


def test_integers_are_read_as_numbers():
    data = np.random.default_rng(0).integers(0, 2000, (2, 20, 31)).astype(np.int16)
    np.testing.assert_allclose(
        CoarseViews(data, 1.5)[:], CoarseViews(data.astype(np.float32), 1.5)[:], rtol=1e-6
    )


@pytest.mark.parametrize("factor", [2.0, 2.5])
def test_the_density_of_a_ball_is_the_same_on_coarser_voxels(factor):
    n, radius = 140, 40.0
    tilts_deg = np.arange(-90.0, 90.0, 2.0)
    ball = Ball(radius_nm=radius, centre_nm=(0.0, 10.0, 0.0), density=1.0)
    images = ball.project(tilts_deg, (n, n), 1.0, samples_per_pixel=2).astype(np.float32)
    coarse = TiltSeries(CoarseViews(images, factor), tilts_deg, factor)
    z, y, x = np.meshgrid(*[geometry.coordinates(int(n / factor)) * factor] * 3, indexing="ij")
    r = np.sqrt(z**2 + (y - 10.0) ** 2 + x**2)
    data = wbp(coarse, thickness_nm=n).data
    assert data.shape == r.shape
    assert data[r < radius - 4 * factor].mean() == pytest.approx(1.0, abs=1e-3)
    assert abs(data[(r > radius + 4 * factor) & (r < 60)].mean()) <= 1e-3


def test_noise_beyond_the_limit_does_not_reach_the_volume():
    # white noise, on pixels half as wide as the voxels: only a quarter of its power is below the volume's limit, and
    # the transition band (0.35 to 0.5) takes part of that
    noise = np.random.default_rng(1).normal(size=(1, 400, 400)).astype(np.float32)
    inner = CoarseViews(noise, 2.0)[0][EDGE:-EDGE, EDGE:-EDGE]
    assert 0.7**2 / 4 <= inner.var() <= 1.0 / 4
