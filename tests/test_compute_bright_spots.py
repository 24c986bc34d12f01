"""Bright spots in all views at once: points in closed form, moved by what is known."""

from dataclasses import replace

import numpy as np
import pytest

from tomo3d import geometry
from tomo3d.compute import bright_spots, spot_motion
from tomo3d.compute.bright_spots import Spots, SpotViews

TILTS_DEG = np.linspace(-60.0, 60.0, 25)
TILTS = np.deg2rad(TILTS_DEG)
WIDTH = 2.0


def points(n=24, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (n, 3)) * (12.0, 24.0, 22.0)


def pictures(where, shifts, turn_deg=0.0, *, shape=(61, 72), noise=0.0, seed=1):
    """Views of Gaussian spots of WIDTH at the projections of points (z, y, x), turned and moved."""
    z, y, x = where.T
    rows, columns = (geometry.coordinates(n) for n in shape)
    images = np.zeros((len(TILTS), *shape))
    for image, tilt, shift in zip(images, TILTS, shifts, strict=True):
        level = np.column_stack((y, x * np.cos(tilt) + z * np.sin(tilt)))
        for v, u in level @ geometry.rotation_yx(turn_deg).T + shift:
            image += np.exp(-0.5 * (((rows - v) / WIDTH) ** 2)[:, None] - 0.5 * ((columns - u) / WIDTH) ** 2)
    images += np.random.default_rng(seed).normal(0.0, noise, images.shape)
    images = images.astype(np.float32)
    images.flags.writeable = False
    return images


def seen(images, width=1.0):
    inside = np.zeros(images.shape, dtype=bool)
    inside[:, 3:-3, 3:-3] = True
    band = bright_spots.band_passed(images, width)
    return band, inside, SpotViews.of(band, inside, TILTS, width)


def test_spots_are_found_where_they_are():
    where = points()
    band, inside, _ = seen(pictures(where, np.zeros((len(TILTS), 2))))
    spots = bright_spots.find(band, inside, TILTS_DEG, width=1.0, n_z=40)
    nearest = np.linalg.norm(where[:, None] - spots.positions[None], axis=2).min(axis=1)
    assert np.quantile(nearest, 0.9) < 1.3  # whole voxels
    assert (np.diff(spots.brightness) <= 0.0).all()
    assert spots.contrast > 9.0


def test_spots_do_not_depend_on_the_slices_that_are_worked_on_at_once(monkeypatch):
    band, inside, _ = seen(pictures(points(), np.zeros((len(TILTS), 2)), noise=0.05))
    whole, parts = (
        bright_spots.find(band, inside, TILTS_DEG, width=1.0, n_z=40)
        for _ in (None, monkeypatch.setattr(bright_spots, "_SLAB", 17))
    )
    np.testing.assert_array_equal(np.sort(whole.positions, axis=0), np.sort(parts.positions, axis=0))


def test_noise_alone_has_little_contrast():
    images = np.random.default_rng(5).normal(size=(len(TILTS), 61, 72)).astype(np.float32)
    band, inside, _ = seen(images)
    assert bright_spots.find(band, inside, TILTS_DEG, width=1.0, n_z=40).contrast < 8.0


@pytest.mark.parametrize("turn_deg", [0.0, 1.5])
def test_views_and_axis_are_moved_back(turn_deg):
    where = points()
    moves = np.random.default_rng(2).uniform(-1.2, 1.2, (len(TILTS), 2))
    views = seen(pictures(where, moves, turn_deg))[2]
    start = Spots(np.rint(where), np.ones(len(where)), 1.0)
    found = spot_motion.settle(views, spot_motion.placed(start, len(TILTS)))
    for _ in range(3):
        found = spot_motion.settle(views, found)
    off = spot_motion.not_free(found.shifts - moves, TILTS)
    assert np.sqrt(np.mean(off**2)) < 0.03
    assert np.rad2deg(found.turn) == pytest.approx(turn_deg, abs=0.05)


def test_a_view_that_is_far_off_is_brought_back():
    where, moves = points(), np.zeros((len(TILTS), 2))
    moves[[3, 20]] = (4.0, -5.0), (-2.0, 6.0)
    views = seen(pictures(where, moves))[2]
    start = spot_motion.placed(Spots(where, np.ones(len(where)), 1.0), len(TILTS))
    start, n_moved = spot_motion.relocated(views, replace(start, brightness=np.full(len(where), 0.4)))
    assert n_moved == 2
    np.testing.assert_allclose(start.shifts, moves, atol=1.0)
    found = spot_motion.settle(views, start)
    assert np.abs(spot_motion.not_free(found.shifts - moves, TILTS)).max() < 0.1
    assert spot_motion.relocated(views, found)[1] == 0


def test_the_axis_is_left_alone_where_it_is_not_solved_for():
    views = seen(pictures(points(), np.zeros((len(TILTS), 2)), 1.0))[2]
    start = Spots(points(), np.ones(24), 1.0)
    found = spot_motion.settle(views, spot_motion.placed(start, len(TILTS)), solve_turn=False)
    assert found.turn == 0.0
    assert np.isnan(found.turn_deviation)


def test_deviations_are_those_of_the_noise():
    where, off, stated, turns = points(40), [], [], []
    for seed in range(6):
        views = seen(pictures(where, np.zeros((len(TILTS), 2)), noise=0.15, seed=seed))[2]
        found = spot_motion.placed(Spots(where, np.ones(len(where)), 1.0), len(TILTS))
        for _ in range(3):
            found = spot_motion.settle(views, found)
        off.append(spot_motion.not_free(found.shifts, TILTS))
        stated.append(found.deviations)
        turns.append(found.turn / found.turn_deviation)
    ratio = np.sqrt(np.mean(np.square(off), axis=(0, 1)) / np.mean(np.square(stated), axis=(0, 1)))
    assert (np.abs(ratio - 1.0) < 0.3).all()
    assert 0.3 < np.sqrt(np.mean(np.square(turns))) < 3.0  # neighbours pull, too


def test_halves_are_far_apart_where_they_say_something_else():
    where = points(40)
    clean = seen(pictures(where, np.zeros((len(TILTS), 2))))[2]
    noisy = seen(pictures(where, np.zeros((len(TILTS), 2)), noise=0.5))[2]
    start = spot_motion.placed(Spots(where, np.ones(len(where)), 1.0), len(TILTS))
    (near, turn), (far, _) = (
        spot_motion.apart(views, spot_motion.settle(views, start)) for views in (clean, noisy)
    )
    assert near < 0.1 < far
    assert turn < np.deg2rad(0.1)


def test_too_few_spots_are_no_alignment():
    views = seen(pictures(points(1), np.zeros((len(TILTS), 2))))[2]
    start = spot_motion.placed(Spots(points(1), np.ones(1), 1.0), len(TILTS))
    assert spot_motion.settle(views, start) is None
    few = spot_motion.placed(Spots(points(3), np.ones(3), 1.0), len(TILTS))
    views = seen(pictures(points(3), np.zeros((len(TILTS), 2))))[2]
    assert spot_motion.apart(views, spot_motion.settle(views, few)) == (np.inf, np.inf)


def test_what_is_free_is_left_out():
    shifts = np.column_stack((np.full(len(TILTS), 3.0), 1.0 + 2.0 * np.cos(TILTS) - 4.0 * np.sin(TILTS)))
    np.testing.assert_allclose(spot_motion.not_free(shifts, TILTS), 0.0, atol=1e-12)
    odd = np.column_stack((np.sin(TILTS), np.cos(3.0 * TILTS)))
    assert (np.abs(spot_motion.not_free(odd, TILTS)).max(axis=0) > 0.1).all()
