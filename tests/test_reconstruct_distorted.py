"""Stretch, skew and shear with height of an alignment, in projection and reconstruction."""

import numpy as np
import pytest

from tomo3d import align, geometry, reconstruct
from tomo3d.compute.projector import Projector
from tomo3d.types import Alignment, Volume

ANGLES = np.arange(-60.0, 61.0, 6.0)
N = len(ANGLES)
BEAD_ZYX = np.array([5.0, -4.0, 6.0])
SHAPE = (24, 38, 40)


def alignment(axis_deg=7.0, **changes):
    wave = np.sin(np.arange(N))
    fields = {
        "shifts_nm": np.stack((wave, np.cos(np.arange(N))), axis=1),
        "tilt_axis_deg": axis_deg + wave,
        "tilt_angles_deg": ANGLES,
        "magnification": 1.0 + 0.02 * wave,
        "residual_nm": 0.0,
        "reliable": np.ones(N, dtype=bool),
        "stretch": 1.1 + 0.05 * wave,
        "skew_deg": 6.0 * wave,
        "z_shear": 0.2 * np.cos(np.arange(N)),
    }
    return Alignment(**(fields | changes))


def bead():
    """A Gaussian of sigma 1.5 voxels at BEAD_ZYX from the centre."""
    z, y, x = np.meshgrid(*map(geometry.coordinates, SHAPE), indexing="ij")
    squares = (z - BEAD_ZYX[0]) ** 2 + (y - BEAD_ZYX[1]) ** 2 + (x - BEAD_ZYX[2]) ** 2
    return Volume(np.exp(-squares / 4.5).astype(np.float32), (1.0, 1.0, 1.0))


def centroid(image):
    return np.array([(image * index).sum() / image.sum() for index in np.indices(image.shape)])


def test_a_projected_bead_lands_in_the_raw_view_where_the_alignment_says():
    given = alignment()
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    assert series.images.shape[1:] == SHAPE[1:]
    centre = np.array([geometry.centre(n) for n in SHAPE[1:]])
    z, y, x = BEAD_ZYX
    for view in range(N):
        raw = centroid(series.images[view].astype(float))
        landed = geometry.aligned_nm(given, raw[None], np.array([view]), centre)[0]
        expected = (y + given.z_shear[view] * z, geometry.detector_position(x, z, ANGLES[view]))
        np.testing.assert_allclose(landed, expected, atol=0.02)  # linear interpolation of a symmetric bead


def test_a_stretched_view_holds_the_same_line_integrals():
    """They spread over the area that the view is magnified by: magnification^2 / stretch."""
    given = alignment()
    images = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given).images
    area = given.magnification**2 / given.stretch
    mass = images.sum(axis=(1, 2)) / bead().data.sum()
    np.testing.assert_allclose(mass, area, rtol=0.01)  # the bead is cut at 4 sigma or more


def test_a_distorted_projector_has_its_exact_transpose():
    rng = np.random.default_rng(0)
    given = alignment()
    projector = Projector(
        ANGLES, n_u=40, n_x=40, n_z=24, rotations_deg=given.tilt_axis_deg, magnifications=given.magnification,
        distortions=geometry.undistortions_yx(given), z_shears=given.z_shear, n_y=38, n_v=38,
    )  # fmt: skip
    x = rng.random(SHAPE, dtype=np.float32)
    y = rng.random((N, 38, 40), dtype=np.float32)
    forward = np.vdot(projector.forward(x).astype(float), y)
    assert abs(forward - np.vdot(x.astype(float), projector.back(y))) <= 1e-6 * abs(forward)
    assert not projector.is_separable


@pytest.mark.parametrize("changes", [{}, {"z_shear": None}, {"stretch": None, "skew_deg": None}])
def test_reconstruction_from_raw_views_puts_the_bead_back(changes):
    given = alignment(**changes)
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    volume = reconstruct.wbp(series, thickness_nm=SHAPE[0], alignment=given)
    peak = np.array(np.unravel_index(np.argmax(volume.data), volume.data.shape))
    expected = BEAD_ZYX + [geometry.centre(n) for n in SHAPE]
    np.testing.assert_allclose(peak, expected, atol=0.51)  # the voxel nearest to it


def test_counts_reconstructed_from_unresampled_views_put_the_bead_back():
    given = alignment()
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    volume = reconstruct.mlem(series, thickness_nm=SHAPE[0], alignment=given, n_iterations=8)
    peak = np.array(np.unravel_index(np.argmax(volume.data), volume.data.shape))
    np.testing.assert_allclose(peak, BEAD_ZYX + [geometry.centre(n) for n in SHAPE], atol=0.51)


def test_an_applied_alignment_keeps_the_bead_on_its_orbit():
    given = alignment(z_shear=None)
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    aligned = align.apply(series, given).images
    centre = np.array([geometry.centre(n) for n in SHAPE[1:]])
    for view in range(0, N, 4):
        found = centroid(np.maximum(aligned[view].astype(float), 0.0)) - centre
        expected = (BEAD_ZYX[1], geometry.detector_position(BEAD_ZYX[2], BEAD_ZYX[0], ANGLES[view]))
        np.testing.assert_allclose(found, expected, atol=0.05)  # spline, and rounding to float32
