"""Bundle adjustment of simulated and real tracks: known parameters, outliers, gaps, bad input."""

import logging

import numpy as np
import pandas as pd
import pytest
from tracked import BBA, CENTRE_NM, DEFAULTS, PIXEL_NM, SHAPE, points_xyz, simulate

from tomo3d import align, geometry, io, tables
from tomo3d.align import TiltModel, bundle_adjust
from tomo3d.types import Alignment, TiltSeries

ANGLES = np.linspace(-60.0, 60.0, 21)
NOISE_NM = 0.1
REFERENCE = 10  # the view at 0 deg
SLOW_WAVE = np.sin(np.arange(21) / 3.0)
ARCH = np.interp(ANGLES, ANGLES[::5], [1.0, -1.0, 0.4, -1.0, 1.0])  # what knots every five views can follow
SHEARS = np.tan(np.deg2rad(ANGLES))[:, None] ** [0, 1]  # stretches that only shear the specimen
SHEARLESS = ARCH - SHEARS @ np.linalg.lstsq(SHEARS, ARCH, rcond=None)[0]
GROUPED = {  # family: (model, true change over the views from the value that is held)
    "rotation": ("rotation=free", np.deg2rad(0.5) * SLOW_WAVE),
    "tilt": ("tilt=free", np.deg2rad(0.3) * (SLOW_WAVE - SLOW_WAVE[REFERENCE])),
    "magnification": ("magnification=free", 0.004 * (SLOW_WAVE - SLOW_WAVE[REFERENCE])),
    "x_stretch": ("x_stretch=free", 0.01 * SHEARLESS),
    "skew": ("skew=groups:5", np.deg2rad(0.4) * (ARCH - ARCH.mean())),
    "x_tilt": ("x_tilt=groups:20", np.deg2rad(1.0) * ANGLES / 60.0),
    "beam_tilt": ("beam_tilt=global", np.full(21, np.deg2rad(0.8))),
    "thinning": ("thinning=groups:20,rows", -0.1 * (np.arange(21) / 20.0)),
    "projection_stretch": ("projection_stretch=global", np.full(21, 0.003)),
}
ALL_FIXED = "rotation=fixed,tilt=fixed,magnification=fixed"


def parameters(**changes):
    """Parameters of every view: the nominal tilts, plus (n_views,) changes."""
    values = {name: value + np.zeros(21) for name, value in DEFAULTS.items()}
    values["tilt"] = np.deg2rad(ANGLES)
    for name, change in changes.items():
        values[name] = values[name] + change
    return [{name: value[i] for name, value in values.items()} for i in range(21)]


def adjust(tracks, model="", **options):
    options = {"image_shape": SHAPE, "pixel_size_nm": PIXEL_NM} | options
    return bundle_adjust(tracks, ANGLES, model=model, **options)


def tracks_of(seed=0, n=20, noise_nm=NOISE_NM, missing=0.0, **changes):
    rng = np.random.default_rng(seed)
    shifts = rng.normal(0, 4, (21, 2))
    return simulate(
        points_xyz(n, rng), parameters(**changes), shifts, noise_nm=noise_nm, rng=rng, missing=missing
    )


def solved(result, name):
    return result.uncertainties.query("parameter == @name")


@pytest.mark.parametrize("family", GROUPED)
def test_each_parameter_is_recovered_within_its_uncertainty(family):
    model, change = GROUPED[family]
    scores = []
    for seed in range(8):
        found = adjust(
            tracks_of(seed, **{family: change}), f"{ALL_FIXED},{model}".replace(f"{family}=fixed,", "")
        )
        table = solved(found, family)
        unit = 180.0 / np.pi if table["unit"].iloc[0] == "deg" else 1.0
        truth = unit * (DEFAULTS[family] + change) + (ANGLES if family == "tilt" else 0.0)
        free = table["uncertainty"].to_numpy() > 0
        scores.append(((table["value"] - truth) / table["uncertainty"].where(free, np.inf)).to_numpy()[free])
        held = (table["value"] - truth).to_numpy()[~free]
        np.testing.assert_allclose(held, 0.0, atol=1e-12)
    scores = np.concatenate(scores)
    size = np.sqrt(np.mean(scores**2))
    independent = 8 if "free" not in model else 8 * 20
    # a chi over its degrees of freedom: 1 +- 4 sigma, sigma = 1 / sqrt(2 n)
    assert abs(size - 1.0) < 4.0 / np.sqrt(2 * independent)
    assert np.abs(change).max() * unit > 4 * np.median(table["uncertainty"])  # it was there to be found


def test_intervals_of_90_percent_cover_the_truth_in_90_percent():
    inside = []
    for seed in range(12):
        found = adjust(tracks_of(100 + seed, missing=0.1, rotation=GROUPED["rotation"][1]), "tilt=fixed")
        table = solved(found, "rotation")
        truth = np.rad2deg(GROUPED["rotation"][1])
        inside += list(np.abs(table["value"] - truth) < 1.645 * table["uncertainty"])
    assert 0.85 < np.mean(inside) < 0.95  # 252 of them: 0.9 +- 2.6 sigma


def test_points_come_out_where_they_were():
    rng = np.random.default_rng(5)
    points = points_xyz(20, rng)
    tracks = simulate(points, parameters(), rng.normal(0, 4, (21, 2)), noise_nm=NOISE_NM, rng=rng)
    found = adjust(tracks, ALL_FIXED).points_nm
    tables.check(found, tables.POINTS)
    error = (found[["z_nm", "y_nm", "x_nm"]] - points[:, ::-1]).to_numpy()
    error -= error.mean(axis=0)
    score = error / found[["z_uncertainty_nm", "y_uncertainty_nm", "x_uncertainty_nm"]].to_numpy()
    assert 0.75 < np.sqrt(np.mean(score**2)) < 1.25  # 57 of them: 1 +- 2.7 sigma
    assert abs(found["z_nm"].mean()) < 1e-9
    assert (found["n_views"] == 21).all()


def test_outliers_count_for_nothing():
    clean = tracks_of(7, rotation=GROUPED["rotation"][1])
    rng = np.random.default_rng(8)
    wrong = rng.choice(len(clean), len(clean) // 12, replace=False)
    spoilt = clean.copy()
    spoilt.loc[wrong, ["y_nm", "x_nm"]] += rng.choice([-1, 1], (len(wrong), 2)) * rng.uniform(
        3, 20, (len(wrong), 2)
    )
    truth = np.rad2deg(GROUPED["rotation"][1])
    robust, plain = (adjust(spoilt, "tilt=fixed", tukey_cutoff=cutoff) for cutoff in (5.1, np.inf))
    error = [np.abs(solved(found, "rotation")["value"] - truth).max() for found in (robust, plain)]
    assert error[0] < 4 * solved(robust, "rotation")["uncertainty"].max() < 0.2 < error[1]
    assert (robust.residuals["weight"].iloc[wrong] < 1e-5).all()
    kept = np.setdiff1d(np.arange(len(clean)), wrong)
    assert robust.residuals["weight"].iloc[kept].mean() > 0.85


def test_thinning_is_a_result():
    change = GROUPED["thinning"][1]
    found = adjust(tracks_of(3, thinning=change), "tilt=fixed,thinning=groups:10,rows")
    tables.check(found.thinning, tables.THINNING)
    error = (found.thinning["thinning"] - 1 - change) / found.thinning["uncertainty"].replace(0, np.inf)
    assert np.abs(error).max() < 4.0
    assert not len(adjust(tracks_of(3)).thinning)


@pytest.mark.parametrize("quarter_turns", [0.0, -87.0])
def test_the_alignment_brings_what_was_seen_to_where_the_points_are(quarter_turns):
    """The alignment says exactly what the model says, whatever was solved."""
    changes = {
        name: change
        for name, (_, change) in GROUPED.items()
        if name not in ("x_tilt", "x_stretch", "thinning")
    }
    changes["rotation"] = changes["rotation"] + np.deg2rad(quarter_turns)
    tracks = tracks_of(9, missing=0.1, **changes)
    for model in ("x_tilt=groups:20,rotation=global", "x_stretch=groups:5,skew=groups:5,projection_stretch=global",
                  "tilt=fixed,thinning=groups:10", "beam_tilt=global"):  # fmt: skip
        found = adjust(tracks, model, tilt_axis_deg=quarter_turns + 3.0, tukey_cutoff=8.0)
        merged = found.residuals.merge(tracks, on=["track", "view"], suffixes=("", "_seen")).merge(
            found.points_nm, on="track", suffixes=("", "_at")
        )
        predicted = merged[["y_nm_seen", "x_nm_seen"]].to_numpy() - merged[["y_nm", "x_nm"]].to_numpy()
        view = merged["view"].to_numpy()
        landed = geometry.aligned_nm(found.alignment, predicted, view, CENTRE_NM)
        x, y, z = (merged[f"{axis}_nm{'' if axis == 'z' else '_at'}"].to_numpy() for axis in "xyz")
        shear = found.alignment.z_shear[view] if found.alignment.z_shear is not None else 0.0
        u = geometry.detector_position(x, z, found.alignment.tilt_angles_deg[view])
        np.testing.assert_allclose(landed, np.stack((y + shear * z, u), axis=1), atol=1e-9)


def test_without_distortions_the_alignment_has_none():
    alignment = adjust(tracks_of(1)).alignment
    assert alignment.stretch is None
    assert alignment.skew_deg is None
    assert alignment.z_shear is None
    assert alignment.reliable.all()
    assert "residual_per_view" in alignment.evidence


def test_the_image_centre_of_the_untilted_view_stays():
    tracks = tracks_of(1)
    np.testing.assert_allclose(adjust(tracks).alignment.shifts_nm[REFERENCE], 0.0, atol=1e-9)
    without = adjust(tracks[tracks["view"] != REFERENCE]).alignment  # the next one is tilted by 6 deg
    np.testing.assert_allclose(without.shifts_nm[REFERENCE - 1], 0.0, atol=1e-9)


def test_an_aligned_picture_of_a_bead_is_where_the_bead_is():
    """Resampling, stretch and skew included, agrees with the positions: a Gaussian bead drawn where it was tracked."""
    alignment = Alignment(np.array([[3.0, -5.0]]), np.array([12.0]), np.array([0.0]), np.array([1.05]), np.nan,
                          np.array([True]), stretch=np.array([1.2]), skew_deg=np.array([8.0]))  # fmt: skip
    bead = np.array([30.0, 22.0])
    y, x = np.indices((41, 52))
    image = np.exp(-((y - bead[0]) ** 2 + (x - bead[1]) ** 2) / 18.0)
    series = TiltSeries(image[None].astype(np.float32), np.array([0.0]), 2.0, 12.0)
    applied = align.apply(series, alignment).images[0].astype(float)
    centre = np.array([20.0, 25.5])
    landed = geometry.aligned_nm(alignment, 2.0 * bead[None], np.array([0]), 2.0 * centre)[0] / 2.0 + centre
    found = [float((applied * index).sum() / applied.sum()) for index in np.indices(applied.shape)]
    np.testing.assert_allclose(found, landed, atol=0.02)  # cubic spline of a bead of sigma 3 px


def test_gaps_and_views_without_tracks_are_bridged(caplog):
    tracks = tracks_of(2, missing=0.3, rotation=GROUPED["rotation"][1])
    tracks = pd.concat(
        [
            tracks[tracks["view"] != 4],
            pd.DataFrame({"track": [99], "view": [3], "y_nm": [9.0], "x_nm": [9.0]}),
        ]
    )
    with caplog.at_level(logging.WARNING):
        found = adjust(tracks, "tilt=fixed")
    assert "track 99 is left out: seen in one view only" in caplog.text
    tables.check(found.left_out, tables.TRACKS_LEFT_OUT)
    assert found.left_out["number"].tolist() == [99]
    assert found.alignment.n_tilts == 21
    assert found.alignment.reliable.sum() == 20
    assert not found.alignment.reliable[4]
    between = found.alignment.tilt_axis_deg[[3, 5]].mean()
    assert found.alignment.tilt_axis_deg[4] == pytest.approx(between, abs=1e-9)
    assert found.n_observations == 2 * (len(tracks) - 1)


def test_the_order_of_views_and_rows_does_not_matter():
    tracks = tracks_of(6, missing=0.1)
    order = np.random.default_rng(0).permutation(21)
    shuffled = tracks.assign(view=np.argsort(order)[tracks["view"]]).sample(frac=1.0, random_state=1)
    one = adjust(tracks)
    other = bundle_adjust(shuffled, ANGLES[order], image_shape=SHAPE, pixel_size_nm=PIXEL_NM)
    np.testing.assert_allclose(other.alignment.shifts_nm, one.alignment.shifts_nm[order], atol=1e-4)
    assert other.mean_residual_nm == pytest.approx(one.mean_residual_nm, rel=1e-5)


def test_an_axis_far_from_the_first_guess_is_found():
    tracks = tracks_of(6, rotation=np.deg2rad(25.0))
    np.testing.assert_allclose(adjust(tracks).alignment.tilt_axis_deg, 25.0, atol=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t["view"] < 2], "at least three views"),
        (lambda t: t[t["track"] < 2], "at least three"),
        (lambda t: on_one_line(), "must not lie on one line"),
        (lambda t: pd.concat([t, t.iloc[[5]]]), "track 0 twice in view 5"),
        (lambda t: t.assign(view=t["view"] + 1), r"0 to 20, got 1 to 21"),
        (lambda t: t.assign(x_nm=np.where(np.arange(len(t)) == 3, np.nan, t["x_nm"])), "x_nm in row 3"),
        (lambda t: t.iloc[:0], "at least one observation"),
        (lambda t: t.drop(columns="x_nm"), "missing"),
        (lambda t: t.assign(view=t["view"].astype(str)), "integer"),
        (lambda t: t[(t["track"] < 9) == (t["view"] < 10)], "tracks must join all views, got 11 views"),
    ],
)  # fmt: skip
def test_tracks_that_cannot_be_adjusted_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        adjust(change(tracks_of()), ALL_FIXED)


def on_one_line():
    rng = np.random.default_rng(0)
    points = np.linspace(-1, 1, 12)[:, None] * [60, 50, 20]
    return simulate(points, parameters(), rng.normal(0, 4, (21, 2)), noise_nm=NOISE_NM, rng=rng)


def test_more_unknowns_than_coordinates_are_refused():
    with pytest.raises(
        ValueError, match=r"needs more measured coordinates than unknowns, got 168 .* and 171 "
    ):
        adjust(
            tracks_of(n=4),
            "rotation=free,magnification=free,tilt=free,skew=free,x_stretch=free,projection_stretch=free",
        )


@pytest.mark.parametrize(
    ("angles", "message"),
    [(np.append(ANGLES[:-1], 90.0), "90 deg in view 20"), (ANGLES[None], "one angle per view")],
)
def test_angles_that_cannot_be_are_refused(angles, message):
    with pytest.raises(ValueError, match=message):
        bundle_adjust(tracks_of(), angles, image_shape=SHAPE, pixel_size_nm=PIXEL_NM)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"image_shape": (0, 5)}, "image_shape"), ({"pixel_size_nm": -1.0}, "pixel_size_nm"),
     ({"tukey_cutoff": 0.0}, "tukey_cutoff"), ({"tilt_axis_deg": np.nan}, "tilt_axis_deg")],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        adjust(tracks_of(), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tilt=global", "one offset for all tilts only turns the specimen"),
        ("tilt=groups:0", "groups:N"),
        ("rotatoin=free", "did you mean 'rotation'"),
        ("thinning=free,x_stretch=free", "thinning, tilt, x_stretch"),
        ("x_tilt=free", "x_tilt, rotation"),
        ("beam_tilt=global,skew=groups:5", "beam_tilt, rotation, skew"),
    ],
)
def test_models_that_no_tracks_determine_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        TiltModel.parse(text)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("tilt=free,thinning=free", "thinning"),
        (
            "rotation=free,tilt=fixed,projection_stretch=free,skew=free,magnification=free,x_stretch=free",
            "skew",
        ),
    ],
)
def test_what_these_tracks_do_not_tell_apart_is_named(model, named):
    with pytest.raises(ValueError, match=f"tell the parameters apart, which they do not for .*{named}"):
        adjust(tracks_of(n=30), model)


def test_the_model_is_the_same_as_text():
    assert TiltModel.parse("") == TiltModel()
    text = "thinning=groups:10, rows, tilt = fixed"
    assert TiltModel.parse(text) == TiltModel(tilt="fixed", thinning="groups:10,rows")


def test_groups_interpolate_between_knots():
    design = TiltModel(rotation="groups:5").designs(ANGLES)[0]
    assert design.shape == (21, 5)
    np.testing.assert_allclose(design.sum(axis=1), 1.0)
    np.testing.assert_allclose(design @ np.linspace(-60, 60, 5), ANGLES, atol=1e-12)  # a line stays a line


real = pytest.mark.skipif(not BBA.exists(), reason="needs ../shared/data/beads_BBa")
IMOD_LIKE = "x_stretch=groups:7,skew=groups:11,projection_stretch=global"
BBA_ANGLES = np.arange(65.0, -56.0, -2.0)


def bba(name="BBa", model=None, **options):
    tracks = io.read_tracks(BBA / f"{name}.resid", pixel_size_nm=1.0)
    return bundle_adjust(tracks, BBA_ANGLES, image_shape=(512, 512), pixel_size_nm=1.0, tilt_axis_deg=-10.0,
                         model=IMOD_LIKE if model is None else model, **options)  # fmt: skip


@real
def test_real_beads_are_adjusted_as_well_as_by_imod():
    found = bba()
    assert len(found.residuals) == 1403
    assert found.n_unknowns <= 400
    assert found.mean_residual_nm <= 0.314
    assert found.mean_residual_nm < found.mean_left_out_nm < 0.36
    theirs = io.read_alignment(BBA / "BBa.tltxf", pixel_size_nm=1.0)
    assert np.abs(found.alignment.tilt_axis_deg - theirs.tilt_axis_deg).max() < 0.1


@real
def test_least_squares_with_imods_model_leave_imods_residual():
    """Mean 0.3130 px: the same minimum, found by another program."""
    assert bba(tukey_cutoff=np.inf).mean_residual_nm == pytest.approx(0.3130, abs=2e-4)


@real
def test_real_beads_are_where_imod_has_them():
    found = bba().points_nm[["x_nm", "y_nm", "z_nm"]].to_numpy()
    theirs = io.read_point_positions(BBA / "BBafid.xyz", pixel_size_nm=1.0)[
        ["x_nm", "y_nm", "z_nm"]
    ].to_numpy()
    found, theirs = found - found.mean(axis=0), theirs - theirs.mean(axis=0)
    u, s, vt = np.linalg.svd(found.T @ theirs)
    scale = s.sum() / (found**2).sum()
    error = scale * found @ u @ vt - theirs
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.15
    np.testing.assert_allclose(u @ vt, np.eye(3), atol=0.02)  # nothing mirrored or turned by much
    # what is left is how the specimen as a whole is sheared and stretched, which no tracks tell once views may be
    affine = found @ np.linalg.lstsq(found, theirs, rcond=None)[0]
    assert np.sqrt(((affine - theirs) ** 2).sum(axis=1).mean()) < 0.06


@real
def test_tracked_patches_are_adjusted_as_well_as_by_imod():
    theirs = np.hypot(*io.read_track_residuals(BBA / "BBa_patch-tracking.resid", pixel_size_nm=1.0).T).mean()
    assert bba("BBa_patch-tracking", "").mean_residual_nm <= theirs
