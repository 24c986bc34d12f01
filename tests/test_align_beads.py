"""Beads found and followed, against closed-form truth."""

from dataclasses import replace

import numpy as np
import pytest
from beads import DIAMETER, PIXEL, inverted, taken

from tomo3d import TiltSeries, align, geometry, tables

NM = DIAMETER * PIXEL


def blank(series, views):
    images = series.images.copy()
    images[list(views)] = 3.0
    images.flags.writeable = False
    return replace(series, images=images)


def recall_and_precision(table, truth):
    """Of beads that can be seen, of all that was found; and how far off those that stand alone are, in pixels."""
    bead, off = truth.named(table)
    hit = off < 0.25 * DIAMETER
    found = np.zeros(truth.visible.shape, dtype=bool)
    found[table["view"].to_numpy()[hit], bead[hit]] = True
    alone = truth.visible[table["view"], bead]
    return (found & truth.visible).sum() / truth.visible.sum(), hit.mean(), off[hit & alone]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("noise", "texture", "largest_rms_px"),
    # 0.1 of the range, with beads over beads in it, is a fifth of a bead's contrast: the bound of Cramer and Rao
    # there is 0.15 px in both directions together. A textured slab moves beads by its gradients.
    [(0.0, 0.0, 0.03), (0.0, 0.1, 0.1), (0.1, 0.1, 0.3)],
)
def test_beads_are_found_where_they_are(noise, texture, largest_rms_px, sign):
    series, truth = taken(noise=noise, texture=texture)
    table = align.detect_beads(series if sign > 0 else inverted(series), diameter_nm=NM)
    tables.check(table, tables.BEADS)
    recall, precision, off = recall_and_precision(table, truth)
    assert recall >= 0.98
    assert precision >= 0.99
    assert np.sqrt(np.mean(off**2)) <= largest_rms_px
    assert (np.sign(table["contrast"]) == sign).all()


@pytest.mark.parametrize("diameter", [4.0, 26.0])
def test_small_and_large_beads_are_found(diameter):
    series, truth = taken(noise=0.05, diameter=diameter, n_beads=8, step=15.0)
    recall, precision, off = recall_and_precision(
        align.detect_beads(series, diameter_nm=diameter * PIXEL), truth
    )
    assert recall >= 0.97
    assert precision >= 0.95
    assert np.sqrt(np.mean(off**2)) <= 0.3


def test_a_diameter_that_is_a_fifth_off_finds_the_same_beads():
    series, truth = taken(noise=0.05)
    for factor in (0.8, 1.2):
        recall, precision, off = recall_and_precision(
            align.detect_beads(series, diameter_nm=factor * NM), truth
        )
        assert recall >= 0.95
        assert precision >= 0.97
        assert np.sqrt(np.mean(off**2)) <= 0.3


def followed_shares(tracks, truth):
    """Share of its visible views in which each bead's best track has it, and how many rows are another bead's."""
    bead, off = truth.named(tracks)
    is_bead = off < 0.3 * DIAMETER
    shares, n_wrong = np.zeros(truth.visible.shape[1]), int((~is_bead).sum())
    for _, rows in tracks.assign(bead=np.where(is_bead, bead, -1)).groupby("track"):
        own = rows.loc[rows["bead"] >= 0, "bead"].mode().iloc[0]
        n_wrong += int(((rows["bead"] != own) & (rows["bead"] >= 0)).sum())
        views = rows.loc[rows["bead"] == own, "view"].to_numpy()
        shares[own] = max(shares[own], truth.visible[views, own].sum() / truth.visible[:, own].sum())
    return shares, n_wrong


@pytest.mark.parametrize(
    ("noise", "axis_error_deg", "seed"), [(0.0, 0.0, 0), (0.1, 5.0, 1), (0.1, -10.0, 2), (0.3, 0.0, 3)]
)
def test_beads_are_followed_through_jumps(noise, axis_error_deg, seed):
    series, truth = taken(noise=noise, axis_error_deg=axis_error_deg, seed=seed, step=3.0)
    tracks = align.track_beads(series, diameter_nm=NM)
    tables.check(tracks, tables.BEAD_TRACKS)
    assert not tracks.duplicated(["track", "view"]).any()
    shares, n_wrong = followed_shares(tracks, truth)
    assert n_wrong == 0
    assert (shares >= 0.9).mean() >= 0.95


def test_blank_and_excluded_views_are_passed_over():
    series, truth = taken(noise=0.05, step=4.0)
    use = np.ones(series.n_tilts, dtype=bool)
    use[7] = False
    tracks = align.track_beads(replace(blank(series, [3, 15, 16]), use=use), diameter_nm=NM)
    assert not set(tracks["view"]) & {3, 7, 15, 16}
    truth.visible[[3, 7, 15, 16]] = False
    shares, n_wrong = followed_shares(tracks, truth)
    assert n_wrong == 0
    assert (shares >= 0.9).mean() >= 0.95


def test_the_order_of_tilts_does_not_matter():
    series, _ = taken(noise=0.05)
    order = np.random.default_rng(0).permutation(series.n_tilts)
    shuffled = TiltSeries(
        series.images[order], series.tilt_angles_deg[order], PIXEL, tilt_axis_deg=series.tilt_axis_deg
    )
    one, other = (align.track_beads(each, diameter_nm=NM) for each in (series, shuffled))
    seen = {(row.view, round(row.y_nm, 4), round(row.x_nm, 4)) for row in one.itertuples()}
    back = {(int(order[row.view]), round(row.y_nm, 4), round(row.x_nm, 4)) for row in other.itertuples()}
    assert seen == back


@pytest.mark.parametrize(("noise", "axis_error_deg"), [(0.0, 3.0), (0.1, -5.0)])
def test_with_fiducials_aligns(noise, axis_error_deg):
    series, truth = taken(noise=noise, axis_error_deg=axis_error_deg, step=5.0)
    found = align.with_fiducials(series, diameter_nm=NM)
    along, across, turn = truth.shift_errors(found, slice(None))
    assert found.reliable.all()
    assert max(along, across) <= 0.1  # pixels
    assert turn <= 0.1  # degrees
    assert {"views", "residuals", "beads", "tracks", "models"} <= set(found.evidence)


def test_a_view_without_beads_is_distrusted_and_the_others_are_right():
    series, truth = taken(noise=0.05, step=4.0)
    found = align.with_fiducials(blank(series, [9]), diameter_nm=NM)
    assert np.flatnonzero(~found.reliable).tolist() == [9]
    assert found.evidence["views"].loc[9, "reason"] == "fewer than 3 beads"
    along, across, turn = truth.shift_errors(found, np.arange(series.n_tilts) != 9)
    assert max(along, across) <= 0.1
    assert turn <= 0.1


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_erased_beads_leave_no_trace_and_nothing_else_changes(dtype):
    rng = np.random.default_rng(0)
    plain = 200.0 + 0.4 * np.arange(120)[None, :] + rng.normal(0.0, 8.0, (1, 110, 120))
    y, x = np.mgrid[:110, :120]
    places = np.array([[30.0, 40.3], [70.6, 60.0], [71.0, 73.0], [5.0, 100.0]])
    images = plain.copy()
    for place in places:
        depth = 25.0 - (y - place[0]) ** 2 - (x - place[1]) ** 2
        images[0] -= 18.0 * np.sqrt(np.maximum(depth, 0.0))
    images = images.astype(dtype)
    images.flags.writeable = False
    series = TiltSeries(images, np.zeros(1), PIXEL)
    tracks = tables_of(places)
    erased = align.erase_beads(series, tracks, diameter_nm=10.0 * PIXEL)
    distance = np.min([np.hypot(y - p[0], x - p[1]) for p in places], axis=0)
    assert erased.images.dtype == images.dtype
    assert np.array_equal(erased.images[0][distance > 7.0], images[0][distance > 7.0])
    for place in places:
        disc = np.hypot(y - place[0], x - place[1]) <= 7.0
        left = (erased.images[0] - 200.0 - 0.4 * x)[disc]
        # 150 pixels of noise 8: their mean is uncertain by 0.65, the plane of the rim by about 1.5
        assert abs(left.mean()) <= 5.0
        assert 5.5 <= left.std() <= 11.0


def tables_of(places):
    import pandas as pd

    return pd.DataFrame({"view": 0, "y_nm": places[:, 0] * PIXEL, "x_nm": places[:, 1] * PIXEL})


def noise_series(n=7, shape=(64, 64)):
    images = np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)
    return TiltSeries(images, np.linspace(-30.0, 30.0, n), PIXEL)


@pytest.mark.parametrize("function", [align.detect_beads, align.track_beads, align.with_fiducials])
def test_what_cannot_be_is_refused(function):
    series = noise_series()
    for nm in (1.9 * PIXEL, 16.1 * PIXEL, np.nan):
        with pytest.raises(ValueError, match=r"two pixels \(4 nm\) and a quarter of the image \(32 nm\)"):
            function(series, diameter_nm=nm)
    with pytest.raises(ValueError, match="views of zero variance"):
        function(blank(series, range(7)), diameter_nm=10.0)
    with pytest.raises(ValueError, match=r"must stand out .* got none of 16 nm \(8.0 px\) in 7 views"):
        function(series, diameter_nm=16.0)
    with pytest.raises(ValueError, match="polarity must be one of"):
        function(series, diameter_nm=10.0, polarity="grey")


@pytest.mark.parametrize("diameter", [4.0, 8.0])
def test_noise_holds_no_beads(diameter):
    series = noise_series(n=9, shape=(200, 210))
    with pytest.raises(ValueError, match="beads must stand out"):
        align.detect_beads(series, diameter_nm=diameter * PIXEL)


def test_two_beads_are_too_few_and_a_row_of_them_too():
    series, _ = taken(n_beads=2, size=160)
    with pytest.raises(ValueError, match=r"at least three beads .* got [0-2]\."):
        align.with_fiducials(series, diameter_nm=NM)
    y, x = np.mgrid[:120, :130]
    tilts = np.arange(-60.0, 61.0, 5.0)
    images = np.zeros((len(tilts), 120, 130), dtype=np.float32)
    for i, tilt in enumerate(tilts):
        for place in np.linspace(-40.0, 40.0, 6):
            u = geometry.detector_position(place, 0.0, tilt)
            d2 = (y - 59.5 - place) ** 2 + (x - 64.5 - u) ** 2
            images[i] += 2.0 * np.sqrt(np.maximum(25.0 - d2, 0.0))
    with pytest.raises(ValueError, match="must not lie on one line"):
        align.with_fiducials(TiltSeries(images, tilts, PIXEL), diameter_nm=NM)
