"""X-ray projections of a tooth, and another program's reconstructions of a small object."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks import tooth
from tomo3d.reconstruct import sirt, wbp

pytestmark = pytest.mark.skipif(not tooth.FOLDER.exists(), reason="the x-ray data are not there")


def sirt_of_the_small_object(n_iterations):
    return sirt(tooth.small_object(), thickness_nm=48.0, n_iterations=n_iterations).data


def test_four_iterations_of_sirt_are_those_of_another_program():
    error, correlation = tooth.agreement(sirt_of_the_small_object(4), "sirt")
    assert error <= 0.03
    assert correlation >= 0.998


@pytest.mark.parametrize("n_iterations", [2, 3, 6])
def test_another_number_of_iterations_is_farther_from_it(n_iterations):
    nearest, _ = tooth.agreement(sirt_of_the_small_object(4), "sirt")
    assert tooth.agreement(sirt_of_the_small_object(n_iterations), "sirt")[0] > 1.2 * nearest


def test_the_small_object_cannot_tell_a_mirror():
    # it is a square about the axis: neither the sign of the angles nor a mirror is tested by it
    reference = tooth.reference("sirt")
    for mirrored in (reference[:, :, ::-1], reference[:, ::-1], reference.transpose(0, 2, 1)):
        np.testing.assert_allclose(mirrored, reference, atol=1e-5)


@pytest.fixture(scope="module")
def sections():
    """(n_z, n_y, n_x), by the plain ramp."""
    pytest.importorskip("h5py")
    series, alignment = tooth.read()
    return wbp(series, thickness_nm=640.0, alignment=alignment).data


@pytest.mark.parametrize("y", [0, 1])
def test_tooth_and_air_are_flat_within_three_per_cent(sections, y):
    found = tooth.flatness(sections[:, y])
    for phase in tooth.PHASES:
        assert found.spread[phase] <= 0.03, phase
    assert abs(found.air) <= 0.03
    assert 0.55 <= found.dentine <= 0.65  # three levels, far apart against their spread


def test_the_axis_is_where_the_data_say(sections):
    # a wrong axis smears every edge: of the sections, the right one holds the most squared density
    series, alignment = tooth.read()

    def sharpness(shift_px):
        moved = dataclasses.replace(alignment, shifts_nm=alignment.shifts_nm + np.array([0.0, shift_px]))
        section = wbp(series, thickness_nm=640.0, alignment=moved, window="hann").data[160:480, 0, 160:480]
        return float((section.astype(np.float64) ** 2).sum())

    assert sharpness(0.0) > max(sharpness(-1.0), sharpness(1.0))


def test_the_tooth_makes_a_picture(sections, tmp_path):
    path = tmp_path / "tooth.png"
    tooth.picture(sections[:, 0]).savefig(path)
    assert path.stat().st_size > 50_000  # of detail, not a blank
