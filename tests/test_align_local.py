"""Local alignment against beads in views that bend by a known field."""

import dataclasses
import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from test_align_patches import PATCH, SPACING, textured
from tracked import BBA

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks.bent import (
    ANGLES,
    CENTRE,
    SHAPE,
    beads_zyx,
    displacement,
    tracks_of,
    unseen_error,
    views_of,
    volume_of,
)
from tomo3d import align, geometry, io, reconstruct, tables
from tomo3d.align import bundle_adjust, local_alignment
from tomo3d.compute.local_field import places_of
from tomo3d.types import TiltSeries

RIGID = "rotation=global, tilt=fixed, magnification=fixed"
N = len(ANGLES)


def found_from(tracks, function=local_alignment, model=RIGID, **options):
    return function(tracks, ANGLES, image_shape=SHAPE, pixel_size_nm=1.0, model=model, **options)


@functools.cache
def solved(n=60, amplitude=1.5, noise_px=0.2, seed=1):
    """Points about z = 0, tracks of them, and what is found without and with local shifts."""
    rng = np.random.default_rng(seed)
    points = beads_zyx(n, rng)
    points[:, 0] -= points[:, 0].mean()
    tracks = tracks_of(points, noise_px=noise_px, seed=seed, amplitude=amplitude)
    return points, tracks, found_from(tracks, bundle_adjust), found_from(tracks)


def test_a_known_field_comes_out():
    _, _, rigid, local = solved()
    assert (
        unseen_error(local.alignment) <= 0.12 < 0.6 < unseen_error(rigid.alignment)
    )  # px, as the docstring says
    assert local.mean_left_out_nm < 0.5 * rigid.mean_left_out_nm
    noise = 0.2 * np.sqrt(np.pi / 2)  # mean length of the noise
    assert 0.9 * noise < local.mean_residual_nm < noise < local.mean_left_out_nm < 1.2 * noise


def test_its_sign_and_place_are_those_of_the_field():
    """Without noise, a field that no rigid specimen explains and that changes sign with tilt, node by node."""
    points = beads_zyx(50, np.random.default_rng(4))
    local = found_from(tracks_of(points)).alignment
    y, x = ((np.arange(5) + 0.5) / 5 - 0.5 for _ in range(2))
    nodes = np.stack(np.meshgrid(y * SHAPE[0], x * SHAPE[1], indexing="ij"), axis=-1)
    truth = np.stack([-displacement(nodes, view) for view in range(N)])
    tilt = np.deg2rad(ANGLES)
    for axis, free in ((0, np.ones((N, 1))), (1, np.column_stack((np.cos(tilt), np.sin(tilt))))):
        ours, theirs = (field[..., axis].reshape(N, -1) for field in (local.local_shifts_nm, truth))
        ours, theirs = (
            field - field.mean(axis=1)[:, None] for field in (ours, theirs)
        )  # a shift of the view
        ours, theirs = (
            field - free @ np.linalg.lstsq(free, field, rcond=None)[0] for field in (ours, theirs)
        )
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.4 * np.sqrt(np.mean(theirs**2))


@pytest.mark.parametrize(("n", "seed"), [(60, 1), (25, 2), (25, 3)])
def test_noise_alone_stays_global(n, seed):
    _, _, rigid, local = solved(n, 0.0, 0.2, seed)
    assert local.alignment.local_shifts_nm is None
    assert local.mean_residual_nm == rigid.mean_residual_nm
    models = local.alignment.evidence["local_models"]
    tables.check(models, tables.LOCAL_MODELS)
    assert models["is_chosen"].tolist() == [True] + [False] * (len(models) - 1)
    assert (models["left_out_nm"] > 0.98 * models["left_out_nm"].iloc[0]).all()


def test_tracks_left_out_are_predicted_as_by_a_fit_without_them():
    """The error that decides, against solving anew without each track: they differ by what is linearised."""
    _, tracks, _, local = solved(25, 1.5, 0.2, 5)
    table = local.alignment.evidence["local_tracks"]
    for track in (7, 13):
        without = found_from(tracks[tracks["track"] != track]).alignment
        own = tracks[tracks["track"] == track]
        seen_at = own[["y_nm", "x_nm"]].to_numpy()
        landed = geometry.aligned_nm(without, seen_at, own["view"].to_numpy(), CENTRE, 1.0)
        tilt = np.deg2rad(without.tilt_angles_deg)
        orbits = np.column_stack((np.cos(tilt), np.sin(tilt)))
        across = landed[:, 1] - orbits @ np.linalg.lstsq(orbits, landed[:, 1], rcond=None)[0]
        expected = np.sqrt(np.mean((landed[:, 0] - landed[:, 0].mean()) ** 2 + across**2))
        assert table["local_left_out_nm"].iloc[track] == pytest.approx(expected, rel=0.25)


def test_an_observation_left_out_is_predicted_as_by_a_fit_without_it():
    _, tracks, _, local = solved(25, 1.5, 0.2, 5)
    for row in (40, 417):
        track, view = (int(tracks[name].iloc[row]) for name in ("track", "view"))
        without = found_from(tracks.drop(index=row))
        seen_at = tracks.loc[[row], ["y_nm", "x_nm"]].to_numpy()
        landed = geometry.aligned_nm(without.alignment, seen_at, np.array([view]), CENTRE, 1.0)[0]
        z, y, x = without.points_nm.set_index("track").loc[track, ["z_nm", "y_nm", "x_nm"]]
        expected = landed - (y, geometry.detector_position(x, z, without.alignment.tilt_angles_deg[view]))
        stated = local.residuals.query("track == @track and view == @view")
        kept = stated[["y_nm", "x_nm"]].to_numpy()[0]
        stated = stated[["left_out_y_nm", "left_out_x_nm"]].to_numpy()[0]
        assert np.abs(stated - expected).max() < 0.5 * np.abs(expected - kept).max() + 0.005  # linearised


def test_the_tables_say_what_the_alignment_holds():
    _, _, _, local = solved()
    evidence = local.alignment.evidence
    tables.check(evidence["local_shifts"], tables.LOCAL_SHIFTS)
    tables.check(evidence["local_tracks"], tables.LOCAL_TRACKS)
    shifts = local.alignment.local_shifts_nm
    row = evidence["local_shifts"].query("view == 3").iloc[7]  # node (1, 2) of 5 x 5
    assert (row["shift_y_nm"], row["shift_x_nm"]) == tuple(shifts[3, 1, 2])
    assert (row["y_nm"], row["x_nm"]) == (1.5 / 5 * SHAPE[0] - 0.5, 2.5 / 5 * SHAPE[1] - 0.5)
    tracks = evidence["local_tracks"]
    assert (tracks["local_left_out_nm"] < tracks["global_left_out_nm"]).mean() > 0.9
    tables.check(local.residuals, tables.TRACK_RESIDUALS)
    assert solved()[2].n_unknowns + 20 < local.n_unknowns < solved()[2].n_unknowns + 2 * 25 * N


def test_views_left_out_take_the_field_of_their_neighbours():
    _, tracks, _, _ = solved()
    local = found_from(tracks[tracks["view"] != 6]).alignment
    shifts = local.local_shifts_nm
    between = 0.5 * (shifts[5] + shifts[7])
    assert np.abs(shifts[6] - between).max() < 0.1
    assert np.abs(shifts[6]).max() > 0.3


def test_pieces_of_one_track_are_left_out_together():
    points = np.array([[0.0, 0.0, 0.0], [5.0, 0.5, 0.2], [0.0, 30.0, 0.0], [0.0, 30.0, 1.0], [0.0, 0.0, 9.0]])
    places = places_of(points, 4.0)
    assert places[0] == places[1]
    assert places[2] == places[3]
    assert len(set(places)) == 3


def test_too_few_places_stay_global():
    tracks = solved()[1]
    few = found_from(tracks[tracks["track"] < 7])
    assert few.alignment.local_shifts_nm is None
    assert "local_models" not in few.alignment.evidence


def test_the_field_brings_a_reconstruction_nearer_to_the_truth():
    """Beads in bent views, reconstructed by their tracks alone and with local shifts; the truth is moved as a whole."""
    points = solved(40, 1.5, 0.2, 7)[0]
    tracks = tracks_of(points, noise_px=0.1)

    def error(views, found):
        landed = found.points_nm[["z_nm", "y_nm", "x_nm"]].to_numpy()
        with_one = np.column_stack((points, np.ones(len(points))))
        truth = volume_of(with_one @ np.linalg.lstsq(with_one, landed, rcond=None)[0], 28)
        series = TiltSeries(views, ANGLES, 1.0)
        volume = reconstruct.wbp(series, thickness_nm=28.0, alignment=found.alignment).data
        return 1.0 - np.corrcoef(volume.ravel(), truth.ravel())[0, 1]

    bent = views_of(points)
    rigid, local = (
        error(bent, found_from(tracks, function)) for function in (bundle_adjust, local_alignment)
    )
    unbent = error(views_of(points, 0.0), found_from(tracks_of(points, amplitude=0.0), bundle_adjust))
    assert unbent < local < unbent + 0.2 * (rigid - unbent)  # the rest is the missing wedge
    assert rigid > 1.2 * unbent


def test_fiducials_straighten_noisy_views_from_the_images_alone():
    images = views_of(beads_zyx(25, np.random.default_rng(3)))
    images += 0.05 * images.max() * np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
    found = align.with_fiducials(
        TiltSeries(images, ANGLES, 1.0), diameter_nm=4.0, polarity="bright", local=True
    )
    assert unseen_error(found) <= 0.12  # px
    assert unseen_error(dataclasses.replace(found, local_shifts_nm=None)) > 0.3
    assert found.reliable.all()
    assert {"local_models", "local_tracks", "local_shifts", "views", "models"} <= set(found.evidence)


def test_patches_take_the_option():
    series, _ = textured(step=10.0)
    local = align.with_patches(series, patch_nm=PATCH, spacing_nm=SPACING, local=True)
    tables.check(local.evidence["local_models"], tables.LOCAL_MODELS)
    assert {"views", "residuals", "patches", "tracks", "models"} <= set(local.evidence)


def test_nodes_must_be_a_few():
    for wrong in ((0, 5), (33, 5), (5,)):
        with pytest.raises(ValueError, match="n_nodes must be two numbers"):
            found_from(solved()[1], n_nodes=wrong)


@pytest.mark.skipif(not BBA.exists(), reason="the real beads are not here")
@pytest.mark.parametrize("file", ["BBa.resid", "BBa_patch-tracking.resid"])
def test_real_tracks_are_not_fitted_beyond_what_they_predict(file):
    tracks = io.read_tracks(BBA / file, pixel_size_nm=1.0)
    found = local_alignment(
        tracks, np.arange(65.0, -56.0, -2.0), image_shape=(512, 512), pixel_size_nm=1.0, tilt_axis_deg=-11.0
    )
    models = found.alignment.evidence["local_models"]
    chosen = models.loc[models["is_chosen"], "left_out_nm"].item()
    assert chosen <= models["left_out_nm"].iloc[0]
    assert (found.alignment.local_shifts_nm is None) == (models["is_chosen"].iloc[0])
