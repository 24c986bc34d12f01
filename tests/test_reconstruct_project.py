"""Projection of volumes: where a voxel lands, units, and the closed-form views of an ellipsoid."""

import tracemalloc

import numpy as np
import pytest

from tomo3d import Alignment, TiltSeries, Volume, geometry, io, planning
from tomo3d.cli import main
from tomo3d.compute.projector import Projector
from tomo3d.phantoms import Ball, Body, Ellipsoid, Microscope, Specimen, acquire
from tomo3d.reconstruct import project, sirt

TILTS_DEG = np.arange(-60.0, 61.0, 4.0)


def noise(shape, voxel_nm=1.0, seed=0):
    data = np.random.default_rng(seed).random(shape, dtype=np.float32)
    data.flags.writeable = False
    return Volume(data, (voxel_nm,) * 3)


@pytest.mark.parametrize("supersampling", [1, 2, 3])
@pytest.mark.parametrize("n", [6, 7])
def test_right_angles_are_sums_along_the_axes(n, supersampling):
    volume = noise((n, 3, n), voxel_nm=2.0)
    views = project(volume, [0.0, 90.0, 180.0, -90.0], supersampling=supersampling).images
    along_z, along_x = 2.0 * volume.data.sum(axis=0), 2.0 * volume.data.sum(axis=2).T  # in nm
    for view, expected in zip(views, (along_z, along_x, along_z[:, ::-1], along_x[:, ::-1]), strict=True):
        np.testing.assert_allclose(view, expected, rtol=1e-5)


@pytest.mark.parametrize("supersampling", [1, 2])
def test_a_point_lands_at_x_cos_t_plus_z_sin_t(supersampling):
    data = np.zeros((15, 4, 20), dtype=np.float32)
    data[11, 2, 4] = 1.0
    z, x = 11 - geometry.centre(15), 4 - geometry.centre(20)
    views = project(Volume(data, (1.0, 1.0, 1.0)), TILTS_DEG, supersampling=supersampling).images
    assert not views[:, [0, 1, 3]].any()  # v = y
    centre_of_mass = views[:, 2] @ geometry.coordinates(20) / views[:, 2].sum(axis=1)
    parts = (supersampling - 1) / (
        2 * supersampling
    )  # from the middle of a pixel to that of its outermost part
    expected = geometry.detector_position(x, z, TILTS_DEG)
    np.testing.assert_allclose(centre_of_mass, expected, atol=parts + 1e-4)


@pytest.mark.parametrize("supersampling", [1, 2])
def test_every_view_holds_all_of_the_mass(supersampling):
    volume = noise((9, 5, 12), voxel_nm=3.0)
    series = project(volume, TILTS_DEG, n_x=17, supersampling=supersampling)  # the diagonal is 15 voxels
    mass = volume.data.sum(dtype=np.float64) * 3.0**3  # density x nm3
    np.testing.assert_allclose(series.images.sum(axis=(1, 2)) * series.pixel_size_nm**2, mass, rtol=1e-5)


def ellipsoid_error(mean_radius, tilts_deg):
    """Relative L2 error of the projections, at two parts to a voxel, of an oblique ellipsoid off the centre."""
    solid = Ellipsoid(
        semi_axes_nm=tuple(mean_radius * np.array([1.0, 0.7, 1.3])),
        rotation_deg=(20.0, -35.0, 10.0),
        centre_nm=(0.6, -1.2, 0.9),
        density=2.0,
    )
    n = round(3.2 * mean_radius)
    volume = Volume(2.0 * solid.fraction((n, n, n), 1.0).astype(np.float32), (1.0, 1.0, 1.0))
    exact = solid.project(tilts_deg, (n, n), 1.0, samples_per_pixel=6)  # 6 x 6 rays: 1e-3 from the mean
    found = project(volume, tilts_deg, supersampling=2).images
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def test_an_ellipsoid_has_its_closed_form_projections_and_the_error_falls_with_the_voxel():
    radii = (13.0, 26.0)
    errors = [ellipsoid_error(radius, TILTS_DEG) for radius in radii]
    assert errors[0] <= 1e-2
    for radius, error in zip(radii, errors, strict=True):
        assert error * radius <= 0.14  # as the docstring has it
    # the path rises at the edge as the root of the distance d. Blurred over a voxel h it is wrong by sqrt(R h)
    # within h of the edge, and by h^2 times its second derivative, h^2 sqrt(R) d^(-3/2), farther in: both
    # add R h^2 to the square over each length of edge, of R^3 in all. So the error is of first order, h / R
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("supersampling", "most"), [(1, 0.068), (2, 0.019), (5, 0.004)])
def test_the_ripple_at_45_degrees_is_no_more_than_it_says(supersampling, most):
    volume = Volume(np.ones((40, 1, 40), dtype=np.float32), (1.0, 1.0, 1.0))
    view = project(volume, [45.0], n_x=61, supersampling=supersampling).images[0, 0]
    u = geometry.coordinates(61)
    path = 2 * (20 * np.sqrt(2) - np.abs(u))  # of a square on its corner
    inside = (np.abs(u) < 24) & (np.abs(u) > 2)
    assert np.sqrt(np.mean((view[inside] / path[inside] - 1) ** 2)) <= most


def test_without_supersampling_it_is_the_projector_of_the_reconstructions():
    volume = noise((7, 70, 11), voxel_nm=2.5)  # more than one slab of slices
    expected = 2.5 * Projector(TILTS_DEG, n_u=11, n_x=11, n_z=7).forward(volume.data)
    np.testing.assert_allclose(project(volume, TILTS_DEG).images, expected, rtol=1e-5, atol=1e-4)


def test_what_is_reconstructed_from_projections_projects_to_them():
    series = project(noise((8, 3, 16), voxel_nm=2.0), TILTS_DEG)
    found = sirt(series, thickness_nm=16.0, n_iterations=40)
    again = project(found, series.tilt_angles_deg)
    left = np.linalg.norm(again.images - series.images)
    assert left <= found.record["residual_norms"][-1]  # that was before the last iteration
    assert left >= 0.9 * found.record["residual_norms"][-1]
    assert left <= 0.03 * np.linalg.norm(series.images)


@pytest.mark.parametrize("n_x", [9, 10, 16])
def test_another_width_is_the_same_view_about_its_centre(n_x):
    volume = noise((6, 2, 10))
    wide = project(volume, TILTS_DEG, n_x=n_x + 4).images
    np.testing.assert_allclose(
        project(volume, TILTS_DEG, n_x=n_x).images, wide[..., 2:-2], rtol=1e-6, atol=1e-6
    )


def test_a_slice_depends_on_itself_alone():
    volume = noise((5, 9, 8))
    together = project(volume, TILTS_DEG, supersampling=2).images
    for y in (0, 4, 8):
        one = Volume(volume.data[:, y : y + 1], volume.voxel_size_nm)
        alone = project(one, TILTS_DEG, supersampling=2).images
        np.testing.assert_allclose(alone[:, 0], together[:, y], rtol=1e-6, atol=1e-6)


def test_the_series_is_aligned_and_says_where_it_comes_from():
    series = project(noise((4, 3, 6), voxel_nm=1.7), [30, 0, -30], n_x=8)
    assert isinstance(series, TiltSeries)
    assert series.images.shape == (3, 3, 8)
    assert series.images.dtype == np.float32
    assert (series.pixel_size_nm, series.tilt_axis_deg) == (1.7, 0.0)
    np.testing.assert_array_equal(series.tilt_angles_deg, [30.0, 0.0, -30.0])
    assert series.sources["images"] == "tomo3d.reconstruct.project"


def alignment_of(n_tilts, *, shifts_nm=(0.0, 0.0), axis_deg=0.0, magnification=1.0, x_axis_tilt_deg=None):
    return Alignment(
        shifts_nm=np.tile(shifts_nm, (n_tilts, 1)),
        tilt_axis_deg=np.full(n_tilts, axis_deg),
        tilt_angles_deg=np.zeros(n_tilts),  # these do not count
        magnification=np.full(n_tilts, magnification),
        residual_nm=0.0,
        reliable=np.ones(n_tilts, dtype=bool),
        x_axis_tilt_deg=x_axis_tilt_deg,
    )


@pytest.mark.parametrize(("axis_deg", "shape"), [(7.0, (48, 64)), (85.0, (64, 48))])
def test_misaligned_views_are_those_of_a_misaligned_microscope(axis_deg, shape):
    bodies = [
        Body(Ball(radius_nm=12.0, centre_nm=(5.0, -6.0, 4.0)), "a"),
        Body(Ball(radius_nm=7.0, centre_nm=(-8.0, 10.0, -18.0), density=2.0), "a"),
    ]
    specimen = Specimen(bodies, (48.0, 48.0, 64.0))
    microscope = Microscope(shift_nm=3.0, tilt_axis_deg=axis_deg)
    tilts_deg = TILTS_DEG[::4]
    acquired = acquire(specimen, tilt_angles_deg=tilts_deg, image_shape=shape, microscope=microscope, seed=2)
    volume = specimen.density_volume((48, 48, 64), 1.0)
    series = project(volume, tilts_deg, alignment=acquired.alignment, supersampling=2)
    assert series.images.shape == acquired.series.images.shape
    assert series.tilt_axis_deg == pytest.approx(axis_deg)
    error = np.linalg.norm(series.images - acquired.series.images) / np.linalg.norm(acquired.series.images)
    assert error <= 0.035  # balls of 7 and 12 voxels: 0.14 / 7 along u, and as much again along v
    other = project(volume, tilts_deg, alignment=alignment_of(len(tilts_deg), axis_deg=axis_deg))
    assert np.linalg.norm(other.images - acquired.series.images) > 0.1 * np.linalg.norm(
        acquired.series.images
    )


@pytest.mark.parametrize("supersampling", [1, 2])
def test_whole_pixel_shifts_move_the_views_the_other_way(supersampling):
    volume = noise((6, 9, 12), voxel_nm=2.0)
    aligned = project(volume, TILTS_DEG, supersampling=supersampling).images
    alignment = alignment_of(
        len(TILTS_DEG), shifts_nm=(4.0, -6.0)
    )  # up by 2 and left by 3 pixels makes it right
    raw = project(volume, TILTS_DEG, supersampling=supersampling, alignment=alignment).images
    np.testing.assert_allclose(raw[:, :-2, 3:], aligned[:, 2:, :-3], rtol=1e-4, atol=1e-4)
    assert not raw[:, -2:].any()  # beyond the volume


def test_an_alignment_that_does_nothing_changes_nothing():
    volume = noise((6, 70, 12))
    plain = project(volume, TILTS_DEG, supersampling=2)
    aligned = project(volume, TILTS_DEG, supersampling=2, alignment=alignment_of(len(TILTS_DEG)))
    np.testing.assert_allclose(aligned.images, plain.images, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("magnification", [0.95, 1.04])
def test_a_magnified_view_is_larger_and_as_bright(magnification):
    ball = Ball(radius_nm=16.0)
    volume = Volume(ball.fraction((40, 40, 40), 1.0).astype(np.float32), (1.0, 1.0, 1.0))
    alignment = alignment_of(len(TILTS_DEG), magnification=magnification)
    found = project(volume, TILTS_DEG, supersampling=2, alignment=alignment).images
    larger = Ball(radius_nm=16.0 * magnification).project(TILTS_DEG, (40, 40), 1.0, samples_per_pixel=4)
    exact = larger / magnification  # the path is that of the ball itself
    # 0.14 / 16 as for an ellipsoid, along u and along v, and the ripple of voxels that are no whole pixels
    assert np.linalg.norm(found - exact) / np.linalg.norm(exact) <= 0.03
    assert found.sum() == pytest.approx(exact.sum(), rel=2e-3)


def test_a_specimen_tilted_about_x_is_seen_so():
    # a rod along y, tilted about x by 20 deg: at tilt 0 it is shorter by the cosine, y' = y cos a - z sin a
    data = np.zeros((31, 61, 15), dtype=np.float32)
    data[15, 10:51, 7] = 1.0
    data[25, 30, 7] = 10.0  # a bead above its middle
    volume = Volume(data, (1.0, 1.0, 1.0))
    view = project(volume, [0.0], alignment=alignment_of(1, x_axis_tilt_deg=20.0)).images[0]
    v = geometry.coordinates(61)
    a = np.deg2rad(20.0)
    rod, bead = 41.0, 10.0
    assert view.sum() == pytest.approx(rod + bead, rel=1e-5)
    assert (view.sum(axis=1) @ v) / view.sum() == pytest.approx(
        -bead * 10 * np.sin(a) / (rod + bead), abs=1e-3
    )
    lit = np.flatnonzero(view.sum(axis=1) > 0.5)
    assert lit[-1] - lit[0] + 1 == pytest.approx(41 * np.cos(a), abs=1.5)


@pytest.mark.parametrize("alignment", [None, alignment_of(3, axis_deg=88.0)], ids=["aligned", "turned"])
def test_the_plan_is_what_it_makes(alignment):
    sketch = planning.Sketch("Volume", (6, 5, 12), "float32", 2.0)
    arguments = {"n_x": 14, "supersampling": 2, "alignment": alignment}
    plan = planning.plan_of(project)(sketch, [0.0, 10.0, 20.0], **arguments)
    series = project(noise((6, 5, 12), voxel_nm=2.0), [0.0, 10.0, 20.0], **arguments)
    assert plan.result.shape == series.images.shape
    assert plan.result.pixel_size_nm == series.pixel_size_nm
    assert plan.peak_bytes > series.images.nbytes


@pytest.mark.parametrize("n_z", [3, 20, 80])  # hardly more than the views; all planes at once; in three runs
@pytest.mark.parametrize(
    "turned",
    [{}, {"axis_deg": 3.0, "magnification": 1.01}, {"axis_deg": 3.0, "x_axis_tilt_deg": 2.0}],
    ids=["aligned", "turned", "tilted about x too"],
)
def test_the_plan_holds_the_memory_that_it_takes(turned, n_z):
    angles_deg = np.linspace(-60, 60, 61)
    arguments = {"supersampling": 2}
    if turned:
        arguments["alignment"] = alignment_of(61, shifts_nm=(1.5, 2.5), **turned)
    sketch = planning.Sketch("Volume", (n_z, 40, 48), "float32", 1.0)
    plan = planning.plan_of(project)(sketch, angles_deg, **arguments)
    volume = noise((n_z, 40, 48))
    project(volume, angles_deg, **arguments)  # compiled
    tracemalloc.start()
    try:
        project(volume, angles_deg, **arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.35 * plan.peak_bytes <= peak <= plan.peak_bytes


def test_the_command_takes_angles_as_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume = noise((4, 3, 6), voxel_nm=2.0)
    io.write_volume(volume, "v.mrc")
    assert (
        main.main(["reconstruct", "project", "v.mrc", "[-30, 0, 12.5]", "tilts.mrc", "--supersampling", "2"])
        == 0
    )
    series = io.read_tilt_series("tilts.mrc", tilt_axis_deg=0)
    expected = project(volume, [-30.0, 0.0, 12.5], supersampling=2)
    np.testing.assert_allclose(series.tilt_angles_deg, expected.tilt_angles_deg, atol=1e-2)  # of the header
    np.testing.assert_allclose(series.images, expected.images, rtol=1e-5)


@pytest.mark.parametrize(
    ("tilts_deg", "arguments", "message"),
    [
        ([], {}, "tilt_angles_deg must be a list of at least one finite angle in degrees"),
        ([np.nan], {}, "tilt_angles_deg must be a list of at least one finite angle in degrees"),
        ([[0.0]], {}, "tilt_angles_deg must be a list of at least one finite angle in degrees"),
        ([0.0], {"n_x": 0}, "n_x must be at least 1, got 0"),
        ([0.0], {"supersampling": 0}, "supersampling must be at least 1, got 0"),
        ([0.0], {"voxel_size_nm": (2.0, 1.0, 1.0)}, "must have cubic voxels, got 2 x 1 x 1 nm"),
        ([0.0], {"nan": True}, "every voxel must be finite, got NaN or infinity"),
        ([0.0], {"alignment": alignment_of(2)}, r"one row per tilt angle \(1\), got 2 rows"),
    ],
)
def test_bad_input_is_said_in_a_sentence(tilts_deg, arguments, message):
    data = np.ones((3, 4, 5), dtype=np.float32)
    if arguments.pop("nan", False):
        data[1, 2, 3] = np.nan
    volume = Volume(data, arguments.pop("voxel_size_nm", (1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=message):
        project(volume, tilts_deg, **arguments)
