"""Curvatures of balls, tori and saddles in closed form; integrals that topology fixes."""

import math

import numpy as np
import pytest

from tomo3d import geometry, measure, phantoms, tables
from tomo3d.compute.implicit import bend_at
from tomo3d.types import Labels, Surface, Volume

CUBE = (1.0, 1.0, 1.0)
OFF = (0.31, -0.22, 0.13)
BALL = phantoms.Ball(radius_nm=8, centre_nm=OFF)
TORUS = phantoms.Torus(major_radius_nm=20, minor_radius_nm=8, centre_nm=OFF, axis=(0.9, 0.2, 0.4))


def frozen(array):
    array.flags.writeable = False
    return array


def found(solid, kind, voxel=CUBE):
    shape = tuple(int(2 * solid.bounding_radius_nm / edge) + 8 + i for i, edge in enumerate(voxel))
    origin = tuple(-geometry.centre(n) * edge for n, edge in zip(shape, voxel, strict=True))
    if kind == "grey":
        data = solid.fraction(shape, voxel).astype(np.float32)
        return measure.curvature(Volume(frozen(data), voxel, origin), level=0.5)
    axes = [geometry.coordinates(n) * edge for n, edge in zip(shape, voxel, strict=True)]
    inside = solid.depth_nm(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)) > 0
    return measure.curvature(Labels(frozen(inside), voxel, origin))


def truth(solid, vertices):
    """Mean and Gaussian curvature at the nearest point of the surface."""
    if isinstance(solid, phantoms.Ball):
        one = np.ones(len(vertices))
        return one / solid.radius_nm, one / solid.radius_nm**2
    axis = np.array(solid.axis) / np.linalg.norm(solid.axis)
    position = vertices - np.array(solid.centre_nm)
    along = position @ axis
    across = np.linalg.norm(position - along[:, None] * axis, axis=1) - solid.major_radius_nm
    c = across / np.hypot(across, along)
    big, r = solid.major_radius_nm, solid.minor_radius_nm
    return (big + 2 * r * c) / (2 * r * (big + r * c)), c / (r * (big + r * c))


def rms(error, value):
    return math.sqrt(np.mean(error**2) / np.mean(value**2))


@pytest.mark.parametrize("kind", ["grey", "mask"])
@pytest.mark.parametrize("solid", [BALL, TORUS], ids=["ball", "torus"])
def test_mean_and_gaussian_curvature_are_right(solid, kind):
    surface = found(solid, kind)
    values = surface.point_data
    mean, gaussian = truth(solid, surface.vertices_nm)
    tolerance = 0.04 if kind == "grey" else 0.10
    assert rms(values["mean_curvature_per_nm"] - mean, mean) < tolerance
    assert rms(values["gaussian_curvature_per_nm2"] - gaussian, gaussian) < tolerance
    largest, least = values["largest_curvature_per_nm"], values["least_curvature_per_nm"]
    assert (largest >= least).all()
    np.testing.assert_allclose(0.5 * (largest + least), values["mean_curvature_per_nm"])
    expected = 2 / math.pi * np.arctan2(largest + least, largest - least)
    np.testing.assert_allclose(values["shape_index"], expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["grey", "mask"])
def test_voxels_that_are_longer_along_one_axis_bend_nothing(kind):
    surface = found(phantoms.Ball(radius_nm=9, centre_nm=OFF), kind, (2.0, 1.0, 1.0))
    for name, value in (("mean_curvature_per_nm", 1 / 9), ("gaussian_curvature_per_nm2", 1 / 81)):
        error = surface.point_data[name] - value
        assert rms(error, np.full(len(error), value)) < (0.04 if kind == "grey" else 0.10)


def test_a_hollow_is_a_pit_and_a_saddle_is_neither():
    z, y, x = np.indices((24, 25, 26)) - 12.0
    pit = measure.curvature(Volume((np.sqrt(z**2 + y**2 + x**2)).astype(np.float32), CUBE), level=8.0)
    assert pit.point_data["shape_index"].max() < -0.9
    saddle = measure.curvature(Volume((0.02 * (y**2 - x**2) - z).astype(np.float32), CUBE), level=0.0)
    middle = np.linalg.norm(saddle.vertices_nm - 12.0, axis=1) < 3
    assert np.abs(saddle.point_data["shape_index"][middle]).max() < 0.1
    # z = 0.02 (y^2 - x^2) has the principal curvatures +-0.04 at its saddle
    at = np.argmin(np.linalg.norm(saddle.vertices_nm - 12.0, axis=1))
    assert saddle.point_data["largest_curvature_per_nm"][at] == pytest.approx(0.04, rel=0.03)
    assert saddle.point_data["least_curvature_per_nm"][at] == pytest.approx(-0.04, rel=0.03)


def test_derivatives_of_a_parabola_are_exact_anywhere_between_voxels():
    voxel, origin = (2.0, 1.5, 1.0), (-3.0, 5.0, 100.0)
    z, y, x = (np.indices((22, 24, 30)).T * voxel + origin).T
    values = 3 * x + 0.1 * x**2 - 0.05 * z**2 + 0.04 * y * x - 0.02 * z * y
    points = np.random.default_rng(0).uniform((9, 7, 9), (12, 14, 20), (40, 3)) * voxel + origin
    bend = bend_at(frozen(values), points, voxel_size=voxel, origin=origin, sigma=(2.4, 2.0, 1.5))
    z, y, x = points.T
    gradient = np.stack([-0.1 * z - 0.02 * y, 0.04 * x - 0.02 * z, 3 + 0.2 * x + 0.04 * y], axis=1)
    np.testing.assert_allclose(bend.slope, np.linalg.norm(gradient, axis=1), rtol=1e-4)
    np.testing.assert_allclose(bend.normal, -gradient / bend.slope[:, None], atol=1e-4)
    hessian = np.array([[-0.1, -0.02, 0], [-0.02, 0, 0.04], [0, 0.04, 0.2]])
    across = np.eye(3) - bend.normal[:, :, None] * bend.normal[:, None, :]
    np.testing.assert_allclose(bend.form, -across @ hessian @ across / bend.slope[:, None, None], atol=1e-4)


@pytest.mark.parametrize(("solid", "euler"), [(BALL, 2), (TORUS, 0)], ids=["ball", "torus"])
def test_gauss_and_bonnet_hold_exactly_on_the_mesh_and_nearly_by_derivatives(solid, euler):
    table = measure.curvature_summary(found(solid, "grey"))
    tables.check(table, tables.SURFACE_SUMMARY)
    rows = {(row.quantity, row.estimator): row.value for row in table.itertuples()}
    assert rows["euler_characteristic", "vertices - edges + faces"] == euler
    assert abs(rows["gauss_bonnet_deviation", "angle deficits of the mesh"]) < 1e-9
    assert abs(rows["gauss_bonnet_deviation", "Gaussian derivatives"]) < 0.01
    exact = rows["integrated_gaussian_curvature", "angle deficits of the mesh"]
    assert exact == pytest.approx(2 * math.pi * euler, abs=1e-9)
    # the integral of the mean curvature: 4 pi r, and 2 pi^2 R
    mean = 4 * math.pi * 8 if euler else 2 * math.pi**2 * 20
    for estimator in ("Gaussian derivatives", "turn of the mesh at its edges"):
        assert rows["integrated_mean_curvature", estimator] == pytest.approx(mean, rel=0.01)
    if euler:
        assert rows["mean_curvature_median", "Gaussian derivatives"] == pytest.approx(1 / 8, rel=0.01)


def test_what_cannot_be_summarised_or_derived_is_refused():
    with pytest.raises(
        ValueError, match=r"must have triangles and curvatures.*got 1 triangles with no values"
    ):
        measure.curvature_summary(Surface(np.eye(3), np.array([[0, 1, 2]])))
    volume = Volume(np.eye(6, dtype=np.float32)[None].repeat(6, axis=0), (1.0, 2.0, 1.0))
    with pytest.raises(ValueError, match=r"at least 0.6 times the longest voxel edge \(1.2 nm\), got 1 nm"):
        measure.curvature(volume, level=0.5, curvature_sigma_nm=1.0)
