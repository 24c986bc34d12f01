"""Local shifts of an alignment: where they lie, their sign, and every place that uses them."""

import dataclasses

import numpy as np
import pytest
from test_compute_warp import field_at

from tomo3d import align, geometry, io, quality, reconstruct
from tomo3d.compute.bending import bends
from tomo3d.reconstruct._raw_views import raw_views
from tomo3d.types import Alignment, TiltSeries, Volume

ANGLES = np.arange(-60.0, 61.0, 6.0)
N = len(ANGLES)
BEAD_ZYX = np.array([5.0, -4.0, 6.0])
SHAPE = (24, 38, 40)
RNG = np.random.default_rng(3)
NODES = RNG.uniform(-1.2, 1.2, (N, 1, 1, 2)) + RNG.uniform(-0.4, 0.4, (N, 3, 4, 2))


def alignment(axis_deg=0.0, n=N, **changes):
    wave = np.sin(np.arange(n))
    fields = {
        "shifts_nm": np.stack((wave, np.cos(np.arange(n))), axis=1),
        "tilt_axis_deg": axis_deg + wave,
        "tilt_angles_deg": ANGLES[:n],
        "magnification": 1.0 + 0.02 * wave,
        "residual_nm": 0.0,
        "reliable": np.ones(n, dtype=bool),
        "local_shifts_nm": NODES[:n],
    }
    return Alignment(**(fields | changes))


def bead(sigma=1.5):
    """A Gaussian at BEAD_ZYX from the centre."""
    z, y, x = np.meshgrid(*map(geometry.coordinates, SHAPE), indexing="ij")
    squares = (z - BEAD_ZYX[0]) ** 2 + (y - BEAD_ZYX[1]) ** 2 + (x - BEAD_ZYX[2]) ** 2
    return Volume(np.exp(-0.5 * squares / sigma**2).astype(np.float32), (1.0, 1.0, 1.0))


def centroid(image):
    image = np.maximum(image.astype(float), 0.0)
    return np.array([(image * index).sum() / image.sum() for index in np.indices(image.shape)])


def constant(shift, n=N):
    return np.broadcast_to(np.array(shift, dtype=float), (n, 1, 1, 2))


def test_between_nodes_the_field_is_that_of_the_projector():
    nodes = np.random.default_rng(0).normal(size=(2, 3, 5, 2))
    expected = field_at(nodes, (13, 22))  # what the kernel of the projector is tested against
    y, x = (index.ravel() for index in np.indices((13, 22)))
    fractions = (np.stack((y, x), axis=1) + 0.5) / (13, 22)
    for view in range(2):
        found = geometry.local_shifts(nodes, fractions, np.full(len(y), view))
        np.testing.assert_allclose(found.reshape(13, 22, 2), expected[view], atol=1e-12)
    middles = np.stack(np.meshgrid((np.arange(3) + 0.5) / 3, (np.arange(5) + 0.5) / 5, indexing="ij"), -1)
    at_nodes = geometry.local_shifts(nodes, middles.reshape(-1, 2), np.zeros(15, dtype=int))
    np.testing.assert_allclose(at_nodes.reshape(3, 5, 2), nodes[0], atol=1e-12)


@pytest.mark.parametrize("axis_deg", [0.0, 8.0, 90.0])
def test_the_content_of_a_raw_view_moves_by_the_local_shift_before_all_else(axis_deg):
    """A constant field s is a raw view moved by s: the sign and the frame, in closed form."""
    shift = np.array([2.0, -3.0])
    plain = alignment(axis_deg, local_shifts_nm=None)
    bent = dataclasses.replace(plain, local_shifts_nm=constant(shift))
    positions, views = np.random.default_rng(1).uniform(0, 30, (N, 2)), np.arange(N)
    centre = np.array([18.5, 19.5])
    np.testing.assert_allclose(
        geometry.aligned_nm(bent, positions, views, centre, 1.0),
        geometry.aligned_nm(plain, positions + shift, views, centre),
        atol=1e-12,
    )
    image = np.zeros((40, 40), dtype=np.float32)
    image[16:19, 24:27] = 1.0  # about (17, 25)
    series = TiltSeries(np.stack([image] * N), ANGLES, 1.0, axis_deg)
    moved = TiltSeries(np.stack([np.roll(image, (2, -3), axis=(0, 1))] * N), ANGLES, 1.0, axis_deg)
    found, expected = align.apply(series, bent).images, align.apply(moved, plain).images
    np.testing.assert_allclose(found, expected, atol=2e-5)  # float32 splines


def test_removing_local_shifts_inverts_adding_them():
    raw, views = np.random.default_rng(2).uniform(0, 37, (50, 2)), np.arange(50) % N
    there = raw + geometry.local_shifts(NODES, (raw + 0.5) / (38, 40), views)
    np.testing.assert_allclose(geometry.without_local_shifts(NODES, there, views, (38, 40)), raw, atol=1e-5)


def test_a_projected_bead_lands_where_the_alignment_says():
    given = alignment(7.0)
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    centre = np.array([geometry.centre(n) for n in SHAPE[1:]])
    z, y, x = BEAD_ZYX
    for view in range(0, N, 3):
        raw = centroid(series.images[view])
        landed = geometry.aligned_nm(given, raw[None], np.array([view]), centre, 1.0)[0]
        expected = (y, geometry.detector_position(x, z, ANGLES[view]))
        np.testing.assert_allclose(landed, expected, atol=0.05)  # the field bends within the bead


@pytest.mark.parametrize("axis_deg", [0.0, 7.0, 90.0])
def test_applied_and_reconstructed_the_bead_is_back(axis_deg):
    """One resampling undoes what the projector bent; without the field the bead is lost by more."""
    given = alignment(axis_deg)
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    aligned = align.apply(series, given).images
    centre = np.array([geometry.centre(n) for n in SHAPE[1:]])
    z, y, x = BEAD_ZYX
    expected = np.stack((np.full(N, y), geometry.detector_position(x, z, ANGLES)), axis=1)
    off = np.array([centroid(image) for image in aligned]) - centre - expected
    plain = align.apply(series, dataclasses.replace(given, local_shifts_nm=None)).images
    unbent = np.array([centroid(image) for image in plain]) - centre - expected
    assert np.sqrt((off**2).mean()) < 0.05 < 0.3 < np.sqrt((unbent**2).mean())
    volume = reconstruct.wbp(series, thickness_nm=SHAPE[0], alignment=given)
    truth = reconstruct.wbp(TiltSeries(aligned, ANGLES, 1.0), thickness_nm=SHAPE[0])
    np.testing.assert_allclose(
        volume.data, truth.data, atol=2e-3 * truth.data.max()
    )  # slab by slab, or before


def test_a_field_of_zeros_is_none():
    given = alignment(4.0, local_shifts_nm=np.zeros((N, 2, 2, 2)))
    none = dataclasses.replace(given, local_shifts_nm=None)
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=none)
    again = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    np.testing.assert_array_equal(again.images, series.images)
    np.testing.assert_array_equal(align.apply(series, given).images, align.apply(series, none).images)
    volumes = [reconstruct.wbp(series, thickness_nm=8.0, alignment=each).data for each in (given, none)]
    np.testing.assert_array_equal(*volumes)


def test_bands_of_rows_are_those_of_the_whole_view():
    given = bends(NODES, 1.0, (50, 40))
    matrix, offset = geometry.rotation_yx(6.0) * 1.02, np.array([3.0, -2.0])
    whole = given.places(2, matrix, offset, (0, 50), 37)
    band = given.places(2, matrix, offset, (19, 31), 37)
    np.testing.assert_allclose(band, whole[:, 19:31], atol=1e-10)
    y, x = (index.ravel() for index in np.indices((50, 37)))
    plain = np.stack((y, x), axis=1) @ matrix.T + offset
    exact = geometry.without_local_shifts(NODES[2:3], plain, np.zeros(len(y), dtype=int), (50, 40))
    # the field changes by up to 0.06 pixels a pixel here: twice what the docstring names
    assert np.abs(whole.reshape(2, -1).T - exact).max() < 2 * 0.02


def test_views_that_a_projector_turns_are_straightened_first():
    """As in `dual_axis`: what is left of the alignment acts within the projector."""
    given = alignment(90.0)
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES, alignment=given)
    views = raw_views(series, given)
    assert views.alignment.local_shifts_nm is None
    only_local = alignment(
        0.0, shifts_nm=np.zeros((N, 2)), tilt_axis_deg=np.zeros(N), magnification=np.ones(N)
    )
    straight = align.apply(series, only_local).images
    for view in (0, 7):
        np.testing.assert_allclose(views.view(view), np.rot90(straight[view]), atol=1e-5)
        np.testing.assert_allclose(views.binned(2).view(view).sum(), straight[view].sum() / 4, rtol=1e-3)


def test_channels_refuse_local_shifts():
    series = reconstruct.project(bead(), tilt_angles_deg=ANGLES)
    with pytest.raises(ValueError, match="Pt: views of channels are never resampled"):
        reconstruct.multi_channel(
            {"Pt": series}, thickness_nm=8.0, n_iterations=1, alignments={"Pt": alignment()}
        )


def test_views_that_are_left_out_are_straightened_too():
    given = alignment()
    series = reconstruct.project(bead(2.5), tilt_angles_deg=ANGLES, alignment=given)

    def error(alignment):
        def method(aligned):
            return reconstruct.sirt(aligned, thickness_nm=SHAPE[0], n_iterations=5)

        table = quality.leave_one_out(series, method, views=[N // 2], least_path=0.0, alignment=alignment)
        return float(table["error"].iloc[0])

    assert error(given) < 0.8 * error(dataclasses.replace(given, local_shifts_nm=None))


def test_rows_and_files_keep_local_shifts(tmp_path):
    given = alignment()
    index = np.array([4, 0])
    np.testing.assert_array_equal(geometry.rows(given, index).local_shifts_nm, NODES[index])
    io.write_alignment(given, tmp_path / "a.json")
    np.testing.assert_array_equal(io.read_alignment(tmp_path / "a.json").local_shifts_nm, NODES)
    io.write_alignment(alignment(local_shifts_nm=None), tmp_path / "b.json")
    assert io.read_alignment(tmp_path / "b.json").local_shifts_nm is None
    with pytest.raises(ValueError, match="cannot hold local_shifts_nm"):
        io.write_alignment(given, tmp_path / "a.xf", pixel_size_nm=1.0)


def test_bad_fields_are_refused():
    for shape in ((N, 3, 4), (N - 1, 3, 4, 2), (N, 3, 4, 3), (N, 0, 4, 2)):
        with pytest.raises(ValueError, match=r"Alignment.local_shifts_nm must have the shape"):
            alignment(local_shifts_nm=np.zeros(shape))
    with pytest.raises(ValueError, match="finite"):
        alignment(local_shifts_nm=np.full((N, 1, 1, 2), np.nan))
    with pytest.raises(ValueError, match="pixel_size_nm must be given"):
        geometry.aligned_nm(alignment(), np.zeros((1, 2)), np.zeros(1, dtype=int), np.zeros(2))
