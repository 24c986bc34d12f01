"""The one convention of axes, centres and signs."""

import numpy as np
import pytest

from tomo3d import Alignment, TiltSeries, Volume, geometry


@pytest.mark.parametrize("n", [1, 4, 5])
def test_the_centre_is_half_way_for_odd_and_even(n):
    assert geometry.coordinates(n).sum() == 0
    assert geometry.coordinates(n)[0] == -geometry.centre(n)


def test_a_point_above_moves_to_positive_u_at_positive_tilt():
    assert geometry.detector_position(0.0, 10.0, 30.0) == pytest.approx(5.0)
    assert geometry.detector_position(10.0, 0.0, 60.0) == pytest.approx(5.0)


def test_rotation_is_counter_clockwise_with_y_up():
    y, x = geometry.rotation_yx(90.0) @ np.array([0.0, 1.0])  # +x turns to +y
    assert (y, x) == (pytest.approx(1.0), pytest.approx(0.0))


def single(shift, axis, magnification=1.0):
    return Alignment(
        np.array([shift]), np.array([axis]), np.zeros(1), np.array([magnification]), np.nan, np.ones(1, bool)
    )


@pytest.mark.parametrize("raw", [(8, 11), (9, 6)])
@pytest.mark.parametrize("axis", [0.0, 12.0, 85.0, -91.0, 180.0])
def test_the_axis_becomes_y_and_the_shift_comes_after(raw, axis):
    out = geometry.aligned_shape(raw, axis)
    alignment = single((2.0, -3.0), axis, 1.25)
    matrices, offsets = geometry.alignment_matrices(alignment, 0.5, raw, out)
    raw_centre = np.array([geometry.centre(n) for n in raw])
    out_centre = np.array([geometry.centre(n) for n in out])
    along = np.array(
        [np.cos(np.deg2rad(axis)), -np.sin(np.deg2rad(axis))]
    )  # (y, x), counter-clockwise from +y
    p_raw = raw_centre + 5 * along
    p_aligned = np.linalg.solve(matrices[0], p_raw - offsets[0])
    # R(-axis) takes the axis to +y; then magnification; then the shift of (4, -6) px
    np.testing.assert_allclose(p_aligned, out_centre + np.array([5 / 1.25 + 4.0, -6.0]), atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "swapped"), [(0, False), (44, False), (46, True), (-88, True), (134, True), (136, False)]
)
def test_the_image_is_transposed_when_the_axis_is_nearer_90(axis, swapped):
    assert geometry.aligned_shape((3, 5), axis) == ((5, 3) if swapped else (3, 5))


def test_the_mean_axis_does_not_average_across_the_branch():
    assert geometry.mean_axis_deg(np.array([89.0, -89.0])) == pytest.approx(90.0)
    assert geometry.mean_axis_deg(np.array([10.0, 14.0])) == pytest.approx(12.0)


def test_nm_and_index_are_inverse():
    volume = Volume(np.zeros((3, 4, 5)), (2.0, 1.0, 0.5), (-2.0, 7.0, 0.25))
    index = np.array([[0, 0, 0], [2, 1.5, 4]])
    positions = geometry.index_to_nm(volume, index)
    np.testing.assert_allclose(positions, [[-2.0, 7.0, 0.25], [2.0, 8.5, 2.25]])
    np.testing.assert_allclose(geometry.nm_to_index(volume, positions), index)


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 2, 3)])
def test_a_reconstruction_is_centred(shape):
    origin = geometry.centred_origin_nm(shape, (2.0, 2.0, 2.0))
    last = np.array(origin) + 2.0 * (np.array(shape) - 1)
    np.testing.assert_allclose(np.array(origin) + last, 0.0)


def test_thickness_is_rounded_to_pixels_and_checked():
    assert geometry.reconstruction_shape((4, 6), 20.9, 2.0) == (10, 4, 6)
    with pytest.raises(ValueError, match="at least one pixel"):
        geometry.reconstruction_shape((4, 6), 1.0, 2.0)


def test_the_nominal_alignment_moves_nothing():
    series = TiltSeries(np.zeros((2, 3, 4)), np.array([0.0, 1.0]), 1.0, tilt_axis_deg=7.0)
    alignment = geometry.nominal_alignment(series)
    assert not alignment.shifts_nm.any()
    assert (alignment.tilt_axis_deg == 7.0).all()
