"""Patches followed over tilts, against closed-form truth."""

import itertools

import numpy as np
import pytest
from beads import PIXEL, taken

from tomo3d import align, tables
from tomo3d.compute import patch_tracking

PATCH, SPACING = 64 * PIXEL, 32 * PIXEL


def textured(**settings):
    return taken(**{"step": 5.0, "texture": 0.6, "n_beads": 14, "diameter": 8.0, "size": 208} | settings)


@pytest.mark.parametrize(("noise", "largest_px"), [(0.0, 0.2), (0.1, 0.3)])
def test_patches_align_better_than_correlation_of_whole_views(noise, largest_px):
    series, truth = textured(noise=noise, shift_nm=20.0)
    found = align.with_patches(series, patch_nm=PATCH, spacing_nm=SPACING)
    along, across, _ = truth.shift_errors(found, slice(None))
    _, coarse, _ = truth.shift_errors(align.cross_correlation(series), slice(None))
    assert along <= largest_px
    assert across <= min(largest_px, 0.6 * coarse)
    assert {"views", "residuals", "patches", "tracks", "models"} <= set(found.evidence)


def test_tracks_break_where_a_view_shows_something_else():
    series, _ = textured(shift_nm=0.0)
    images = series.images.copy()
    images[9] = np.random.default_rng(0).normal(images[9].mean(), images[9].std(), images[9].shape)
    broken = type(series)(images, series.tilt_angles_deg, PIXEL, series.tilt_axis_deg)
    nominal = align.cross_correlation(series)
    whole, parts = (
        align.track_patches(each, patch_nm=PATCH, spacing_nm=SPACING, alignment=nominal)
        for each in (series, broken)
    )
    tables.check(whole, tables.PATCH_TRACKS)
    assert (whole["view"] == 9).sum() >= 9
    assert (parts["view"] == 9).sum() <= 0.1 * (whole["view"] == 9).sum()
    over = parts.groupby("track")["view"].agg(["min", "max"])
    assert not ((over["min"] < 9) & (over["max"] > 9)).any()


def test_long_tracks_are_cut_into_ones_that_overlap():
    rows = [(view, np.zeros(2), 1.0) for view in range(40)]
    parts = [[view for view, _, _ in part] for part in patch_tracking._cut(rows, 15)]
    assert [len(part) for part in parts] == [15] * len(parts)
    assert sorted({view for part in parts for view in part}) == list(range(40))
    assert all(len(set(a) & set(b)) >= 5 for a, b in itertools.pairwise(parts))


def test_lengths_that_cannot_be_are_refused():
    series, _ = textured(step=20.0)
    with pytest.raises(ValueError, match=r"patch_nm must lie between 16 pixels \(32 nm\) and half the image"):
        align.track_patches(series, patch_nm=20.0, spacing_nm=SPACING)
    with pytest.raises(ValueError, match=r"spacing_nm must be at least two pixels \(4 nm\), got 1 nm"):
        align.track_patches(series, patch_nm=PATCH, spacing_nm=1.0)
