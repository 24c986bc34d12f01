"""Resolution along each axis, against spectra that are known for each direction."""

import functools
import math

import numpy as np
import pytest

from tomo3d import quality, reconstruct, tables
from tomo3d.types import Labels, TiltSeries, Volume


def volume(data, voxel):
    data = np.asarray(data, np.float32)
    data.flags.writeable = False
    return Volume(data, voxel)


def halves_of_known_directions(shape, voxel, falls, seed=0):
    """Two volumes with a signal-to-noise ratio of 10 exp(-k / fall), with the fall of the nearest axis (z, y, x)."""
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape, voxel, strict=True)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"))
    snr = 10.0 * np.exp(-np.sqrt((k**2).sum(axis=0)) / np.array(falls)[np.abs(k).argmax(axis=0)])
    rng = np.random.default_rng(seed)
    signal = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) * np.sqrt(snr)).real
    return [volume(signal + rng.standard_normal(shape), voxel) for _ in range(2)]


@pytest.mark.parametrize(
    ("shape", "voxel"), [((96, 96, 96), (1.0, 1.0, 1.0)), ((48, 120, 101), (2.0, 1.0, 1.0))], ids=str
)
@pytest.mark.parametrize("half_angle_deg", [45.0, 30.0])
def test_each_direction_has_its_own_known_curve_and_resolution(shape, voxel, half_angle_deg):
    falls = {"z": 0.02, "y": 0.05, "x": 0.08}
    first, second = halves_of_known_directions(shape, voxel, list(falls.values()))
    made = quality.directional_resolution(first, second, half_angle_deg=half_angle_deg)
    tables.check(made.resolution, tables.DIRECTIONS)
    curves = tables.check(made.curves, tables.DIRECTIONAL_SHELLS)
    assert made.resolution.direction.tolist() == ["x", "y", "z"]
    assert (made.resolution.half_angle_deg == half_angle_deg).all()
    for axis, (direction, fall) in enumerate(falls.items()):
        curve = curves[curves.direction == direction]
        assert len(curve) == shape[axis] // 2  # up to the Nyquist frequency of its own axis
        snr = 10.0 * np.exp(-curve.frequency_per_nm / fall)
        # chance, taken four times, and what is left of the fall within a shell
        assert ((curve.correlation - snr / (1 + snr)).abs() < 4 * np.sqrt(2 / curve.n_voxels) + 0.02).all()
        row = made.resolution.set_index("direction").loc[direction]
        for threshold, name in ((0.5, "resolution_0_5_nm"), (0.143, "resolution_0_143_nm")):
            exact = fall * math.log(10.0 * (1 - threshold) / threshold)
            n_voxels = float(np.interp(exact, curve.frequency_per_nm, curve.n_voxels))
            tolerance = 3 * math.sqrt(2 / n_voxels) / (threshold * (1 - threshold)) * fall
            assert abs(1 / row[name] - exact) < tolerance + 0.01


def test_cones_of_45_degrees_share_no_more_than_their_border():
    shape = (20, 20, 20)
    first, second = halves_of_known_directions(shape, (1.0, 1.0, 1.0), (0.1, 0.1, 0.1))
    whole = quality.fourier_shell_correlation(first, second).curve
    cones = quality.directional_resolution(first, second, half_angle_deg=44.99).curves
    assert (cones.groupby("shell").n_voxels.sum().to_numpy() <= whole.n_voxels.to_numpy()).all()
    wide = quality.directional_resolution(first, second, half_angle_deg=45.0).curves
    assert wide.n_voxels.sum() > cones.n_voxels.sum()
    half_spaces = quality.directional_resolution(first, second, half_angle_deg=90.0).curves
    for direction in "xyz":
        assert half_spaces[half_spaces.direction == direction].n_voxels.tolist() == whole.n_voxels.tolist()


def test_a_missing_wedge_costs_resolution_along_the_beam_only():
    # Blobs of 2.5 pixels about random places, seen from -60 to 60 deg with noise of their own in each view.
    rng = np.random.default_rng(1)
    data = np.zeros((64, 32, 64), np.float32)
    data[tuple(rng.integers((16, 4, 12), (48, 28, 52), (300, 3)).T)] = 100.0
    series = reconstruct.project(Volume(data, (1.0, 1.0, 1.0)), np.arange(-60.0, 61.0, 2.0))
    noisy = TiltSeries(
        series.images + rng.normal(0, 30, series.images.shape).astype(np.float32), series.tilt_angles_deg, 1.0
    )
    halves = quality.half_volumes(noisy, functools.partial(reconstruct.wbp, thickness_nm=64.0))
    found = quality.directional_resolution(halves.first, halves.second).resolution.set_index("direction")
    assert found.resolution_0_5_nm["x"] < found.resolution_0_5_nm["z"]
    narrow = quality.directional_resolution(halves.first, halves.second, half_angle_deg=20.0)
    wedge = narrow.curves[(narrow.curves.direction == "z") & (narrow.curves.shell > 3)]
    assert wedge.correlation.mean() < 0.5  # wholly within the wedge


WHITE = np.random.default_rng(0).standard_normal((8, 9, 10)).astype(np.float32)
CUBE = (1.0, 1.0, 1.0)


def test_a_mask_weights_both_volumes():
    mask = np.zeros((8, 9, 10), bool)
    mask[2:6, 2:7, 2:8] = True
    weighted = quality.directional_resolution(
        Volume(WHITE, CUBE), Volume(WHITE[::-1].copy(), CUBE), mask=Labels(mask, CUBE), soft_edge_nm=0.0
    ).curves
    inside, turned = (np.where(mask, d - d[mask].mean(dtype=np.float64), 0) for d in (WHITE, WHITE[::-1]))
    by_hand = quality.directional_resolution(Volume(inside, CUBE), Volume(turned, CUBE)).curves
    np.testing.assert_allclose(weighted.correlation, by_hand.correlation, atol=1e-5)


@pytest.mark.parametrize("half_angle_deg", [0.0, 91.0, math.nan])
def test_an_impossible_angle_is_refused(half_angle_deg):
    with pytest.raises(ValueError, match="half_angle_deg must be above 0 and at most 90 deg, got"):
        quality.directional_resolution(
            Volume(WHITE, CUBE), Volume(WHITE, CUBE), half_angle_deg=half_angle_deg
        )


def test_a_single_slice_has_no_resolution_across():
    with pytest.raises(ValueError, match="at least 2 voxels along z, got 1"):
        quality.directional_resolution(Volume(WHITE[:1], CUBE), Volume(WHITE[1:2], CUBE))
