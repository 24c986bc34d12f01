"""A flat specimen at a known pose: its offset, pitch, thickness and height, and a volume that comes out level."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tomo3d import align, geometry
from tomo3d.compute import slab_fit
from tomo3d.phantoms import Ball, Body, Specimen, acquire, asymmetric
from tomo3d.reconstruct import wbp
from tomo3d.types import TiltSeries

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks.slabs import blob_slab

THICKNESS = 30.0


@pytest.fixture(scope="module", params=[(-9.0, 3.0, 6.0), (13.0, -4.0, -5.0)])
def posed(request):
    offset_deg, pitch_deg, height = request.param
    series = blob_slab(
        offset_deg=offset_deg,
        pitch_deg=pitch_deg,
        thickness=THICKNESS,
        height=height,
        n_views=31,
        density=0.01,
        seed=1,
    )
    series.images.flags.writeable = False
    return request.param, series, align.level_slab(series)


def values(found):
    return found.evidence["slab"].set_index("quantity")


def test_pose_of_a_slab_is_found(posed):
    (offset_deg, pitch_deg, height), series, found = posed
    table = values(found)
    # 112 px of field hold about (112 / 5)^2 speckles, which place each face within 3 px: planes are known to about
    # 3 / sqrt(500) / sqrt(2) = 0.1 px and sqrt(12) 0.1 / 112 rad = 0.2 deg; three times that. Fields of 256 px,
    # where the targets of the benchmark hold, take too long here
    assert table.value["tilt_offset"] == pytest.approx(offset_deg, abs=0.6)
    assert table.value["x_axis_tilt"] == pytest.approx(pitch_deg, abs=0.6)
    assert table.value["centre_z"] == pytest.approx(height, abs=0.5)
    assert table.value["thickness"] == pytest.approx(THICKNESS, abs=1.5)
    np.testing.assert_allclose(found.tilt_angles_deg - series.tilt_angles_deg, table.value["tilt_offset"])
    assert found.x_axis_tilt_deg == table.value["x_axis_tilt"]
    assert (table.low < table.value).all()
    assert (table.value < table.high).all()


def test_volume_comes_out_level_about_zero(posed):
    """Of the whole chain of signs: power of the reconstruction in four quarters of the field has one middle, at 0."""
    _, series, found = posed
    power = np.square(wbp(series, thickness_nm=70.0, window="hann", alignment=found).data[:, 10:-10, 10:-10])
    z = geometry.coordinates(len(power))

    def middle(block):
        profile = block.mean(axis=(1, 2))
        profile = np.maximum(profile - np.median(profile[np.abs(z) > 25]), 0.0)
        return float(profile @ z / profile.sum())

    half = power.shape[1] // 2
    quarters = np.array(
        [
            [middle(power[:, y, x]) for x in (slice(half), slice(half, None))]
            for y in (slice(half), slice(half, None))
        ]
    )
    # before: 54 px from quarter to quarter times tan 9 deg = 8 px along x, 3 px along y, and 6 px of height
    assert abs(quarters.mean()) < 0.8
    assert abs(np.diff(quarters.mean(axis=0))[0]) < 1.2
    assert abs(np.diff(quarters.mean(axis=1))[0]) < 1.2


def test_a_level_slab_stays_as_it_is(posed):
    """Once more from the result: nothing is left to turn, and the pitch is not added twice."""
    _, series, found = posed
    again = align.level_slab(series, alignment=found)
    table, before = values(again), values(found)
    assert table.value["tilt_offset"] == pytest.approx(0.0, abs=0.2)
    assert table.value["x_axis_tilt"] == pytest.approx(before.value["x_axis_tilt"], abs=0.2)
    assert table.value["centre_z"] == pytest.approx(0.0, abs=0.3)


def test_excluded_views_keep_their_rows():
    series = blob_slab(offset_deg=5.0, n_pixels=64, thickness=16.0)
    images = series.images.copy()
    images[7] = np.nan
    use = np.ones(series.n_tilts, dtype=bool)
    use[7] = False
    found = align.level_slab(replace(series, images=images, use=use))
    assert found.n_tilts == series.n_tilts
    np.testing.assert_array_equal(np.flatnonzero(~found.reliable), [7])


@pytest.mark.parametrize(
    ("slope_y", "slope_x", "thickness"), [(0.0, 0.0, 12.0), (0.05, -0.3, 20.5), (-0.2, 0.2, 9.25)]
)
def test_exact_profiles_give_the_exact_slab(slope_y, slope_x, thickness):
    y, x = (grid.ravel() for grid in np.meshgrid(np.arange(-40.0, 41.0, 16), np.arange(-40.0, 41.0, 16)))
    z = geometry.coordinates(80)
    kernel = np.array([-0.02, 0.27, 0.5, 0.27, -0.02])
    truth = np.array([1.7, slope_y, slope_x, thickness, 1.3])
    heights = z[None, :] - (truth[0] + slope_y * y + slope_x * x)[:, None]
    levels = np.linspace(0.8, 2.0, len(y))[:, None]
    profiles = levels * slab_fit._box(heights, thickness, 1.3, kernel) + 0.1
    found = slab_fit.fit(slab_fit.Tiles(profiles, y, x), kernel)
    np.testing.assert_allclose(found.parameters, truth, atol=2e-2)
    assert found.explained.min() > 0.999


def test_faces_are_placed_by_what_is_near_them():
    """Tails of a sheet are longer in theory than in a field that ends: they tilt what is far off, not the faces."""
    z = geometry.coordinates(100)
    reach = np.arange(-40, 41)
    core = np.exp(-0.5 * np.square(reach / 1.2)) / (1.2 * np.sqrt(2 * np.pi))
    ends, goes_on = (core + 0.02 * np.exp(-np.abs(reach) / scale) for scale in (8.0, 16.0))
    y, x = (grid.ravel() for grid in np.meshgrid(np.arange(-40.0, 41.0, 16), np.arange(-40.0, 41.0, 16)))
    profiles = slab_fit._box(np.tile(z, (len(y), 1)), 25.0, 1.0, ends)
    found = slab_fit.fit(slab_fit.Tiles(profiles, y, x), goes_on)
    assert found.thickness == pytest.approx(25.0, abs=0.15)
    assert found.centre == pytest.approx(0.0, abs=0.01)


def test_isolated_particles_are_refused():
    ball = Specimen([Body(Ball(radius_nm=12.0, centre_nm=(2.0, 1.0, -3.0)), "ball")], (64.0, 64.0, 64.0))
    for specimen in (ball, asymmetric(size_nm=64.0)):
        series = acquire(
            specimen, tilt_angles_deg=np.linspace(-60, 60, 31).tolist(), image_shape=(64, 64)
        ).series
        with pytest.raises(ValueError, match=r"flat specimen|thinner than the box"):
            align.level_slab(series)


def test_bad_input_is_one_clear_sentence():
    series = blob_slab(n_pixels=64, n_views=5, thickness=16.0)
    with pytest.raises(ValueError, match="at least six views in use, got 5"):
        align.level_slab(series)
    noise = np.random.default_rng(0).normal(size=(21, 64, 64)).astype(np.float32)
    with pytest.raises(ValueError, match="needs a flat specimen"):
        align.level_slab(TiltSeries(noise, np.linspace(-60, 60, 21), 1.0))
    with pytest.raises(ValueError, match="thickness_nm must be at least 16 nm here, got 9 nm"):
        align.level_slab(blob_slab(n_pixels=64, thickness=16.0), thickness_nm=9.0)
