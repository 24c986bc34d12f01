"""Frames of movies: drift that is known exactly, and averages that are the specimen."""

import numpy as np
import pandas as pd
import pytest
from movies import lattice, movie, path, series, shift_error, texture

from tomo3d import preprocess, tables


@pytest.mark.parametrize("shape", [(160, 160), (131, 178)])
def test_the_drift_of_clean_frames_is_found_and_undone(shape):
    where = path(7, 3.0, 1)
    frames = movie(where, shape)
    made = preprocess.align_frames(series(frames))
    error = shift_error(made.shifts, where)
    assert np.abs(error).max() < 0.02  # band-limited content: limited by what enters and leaves the windows
    shifts = made.shifts[["shift_y_nm", "shift_x_nm"]].to_numpy() / 0.5
    still = int(np.flatnonzero((shifts == 0).all(axis=1))[0])
    difference = made.series.images[0] - frames[still]
    inner = (slice(24, -24), slice(24, -24))  # where all frames were recorded
    assert np.abs(difference[inner]).max() < 0.1  # a shift of 0.02 px of a unit texture of 4 px and coarser
    assert np.sqrt(np.mean(difference**2)) < 0.1
    assert made.shifts["is_reliable"].all()
    assert made.series.views["n_frames_left_out"].tolist() == [0]
    expected = np.hypot(*(where[:, None] - where[None, :]).T).max() * 0.5
    assert made.series.views["drift_nm"][0] == pytest.approx(expected, abs=0.02)


def test_frames_of_twenty_times_more_noise_than_signal_are_aligned_within_a_fifth_of_a_pixel():
    where = path(20, 3.0, 2)
    frames = movie(where, (512, 512), noise=20**0.5, seed=2)
    made = preprocess.align_frames(series(frames))
    error = shift_error(made.shifts, where)
    assert np.sqrt((error**2).sum(axis=1).mean()) <= 0.2  # the target, as a distance in the plane
    assert made.shifts["is_reliable"].all()
    tables.check(made.pairs, tables.FRAME_PAIRS)
    assert len(made.pairs) == 190
    found = made.shifts.set_index("frame")[["shift_y_nm", "shift_x_nm"]]
    measured = made.pairs[["shift_y_nm", "shift_x_nm"]].to_numpy()
    said = found.loc[made.pairs["second"]].to_numpy() - found.loc[made.pairs["first"]].to_numpy()
    residual = made.pairs[["residual_y_nm", "residual_x_nm"]].to_numpy()
    np.testing.assert_allclose(residual, measured - said, atol=1e-9)


def test_frames_of_another_specimen_are_left_out_and_the_others_stay_right():
    where = path(12, 2.0, 3)
    frames = movie(where, (128, 128), noise=1.0, seed=3).copy()
    for k in (2, 7):
        frames[k] = np.random.default_rng(k).normal(0, 1.4, (128, 128))
    made = preprocess.align_frames(series(frames))
    reliable = made.shifts["is_reliable"].to_numpy()
    assert np.flatnonzero(~reliable).tolist() == [2, 7]
    assert made.shifts["shift_y_nm"].isna().to_numpy()[[2, 7]].all()
    error = shift_error(made.shifts, where)
    assert np.nanmax(np.abs(error)) < 0.2
    assert made.series.views["n_frames_left_out"].tolist() == [2]
    used = made.pairs["is_used"]
    assert not used[made.pairs["first"].isin([2, 7]) | made.pairs["second"].isin([2, 7])].any()


def test_pairs_that_noise_misled_are_found_again_near_what_the_others_say():
    where = path(14, 2.0, 3)
    made = preprocess.align_frames(series(movie(where, (128, 128), noise=8.0, seed=3)))
    again = made.pairs["is_second_search"]
    assert again.sum() > 10
    assert (again & made.pairs["is_used"]).sum() > 5
    assert made.shifts["is_reliable"].all()
    assert np.sqrt((shift_error(made.shifts, where) ** 2).sum(axis=1).mean()) < 0.6


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_a_lattice_is_followed_over_many_periods_where_steps_are_under_half_a_period(noise):
    where = path(12, 2.0, 8)
    assert np.abs(np.diff(where, axis=0)).max() < 3.5
    frames = movie(where, (160, 160), noise=noise, seed=8, content=lattice(320, 8))
    made = preprocess.align_frames(series(frames), max_step_nm=0.5 * 3.5)  # the period is 8 px
    assert made.shifts["is_reliable"].all()
    assert np.sqrt((shift_error(made.shifts, where) ** 2).sum(axis=1).mean()) < 0.1


def test_of_many_frames_some_pairs_are_enough():
    where = path(45, 0.3, 7)
    made = preprocess.align_frames(series(movie(where, (80, 80), noise=1.0, seed=7)))
    assert len(made.pairs) < 45 * 9
    apart = np.unique(made.pairs["second"] - made.pairs["first"])
    assert apart.tolist() == [1, 2, 3, 5, 8, 13, 21, 34]
    assert np.sqrt((shift_error(made.shifts, where) ** 2).sum(axis=1).mean()) < 0.15


def test_a_whole_tilt_series_of_movies_keeps_its_order_and_what_frames_share():
    angles, names = [0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0, -3.0, -3.0, -3.0], [5] * 3 + [1] * 4 + [7] * 3
    where = np.concatenate([path(n, 2.0, n + 20 * k) for k, n in enumerate((3, 4, 3))])
    frames = np.concatenate([movie(where[a:b], (96, 96), seed=a) for a, b in ((0, 3), (3, 7), (7, 10))])
    table = pd.DataFrame(
        {"movie": names, "time": np.arange(10), "stage": np.repeat([1.0, 2.0, 3.0], [3, 4, 3])}
    )
    made = preprocess.align_frames(series(frames, angles, views=table))
    assert made.series.tilt_angles_deg.tolist() == [0.0, 3.0, -3.0]
    assert made.series.views["movie"].tolist() == [5, 1, 7]
    assert made.series.views["stage"].tolist() == [1.0, 2.0, 3.0]
    assert "time" not in made.series.views  # frames do not share it
    assert made.series.views["n_frames"].tolist() == [3, 4, 3]
    without = preprocess.align_frames(series(frames, angles))  # by the angles alone
    np.testing.assert_array_equal(without.series.images, made.series.images)
    summed = preprocess.align_frames(series(frames, angles), combine="sum")
    np.testing.assert_allclose(summed.series.images[1], 4 * made.series.images[1], rtol=1e-6)


def test_a_movie_of_noise_is_flagged_and_not_in_use():
    noise = np.random.default_rng(0).normal(0, 1, (6, 64, 64)).astype(np.float32)
    good = movie(path(6, 1.0, 4), (64, 64), seed=4)
    made = preprocess.align_frames(series(np.concatenate((noise, good)), np.repeat([0.0, 3.0], 6)))
    assert made.series.use.tolist() == [False, True]
    assert made.series.views["flag"].tolist() == ["frames not aligned", ""]
    np.testing.assert_allclose(made.series.images[0], noise.mean(axis=0), atol=1e-5)


def test_excluded_frames_take_no_part():
    where = path(6, 2.0, 5)
    frames = movie(where, (96, 96), seed=5).copy()
    frames[3] = np.nan
    use = np.arange(6) != 3
    made = preprocess.align_frames(series(frames, use=use))
    assert made.shifts["frame"].tolist() == [0, 1, 2, 4, 5]
    assert np.isfinite(made.series.images).all()
    assert np.abs(shift_error(made.shifts, where[use])).max() < 0.03


def test_a_grey_value_is_kept_up_to_the_edge():
    frames = movie(path(5, 3.0, 6), (96, 96), seed=6) + np.float32(1000.0)
    made = preprocess.align_frames(series(frames))
    rim = np.concatenate([made.series.images[0][k].ravel() for k in (0, 1, -2, -1)])
    assert np.abs(rim - 1000.0).max() < 6.0  # unit variance; a wrapped or zero edge would be off by hundreds


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ("nan", {}, "got 1 NaN or infinite pixels in view 1"),
        ("flat", {}, r"a frame must hold more than one value, got 3 everywhere in frame 2"),
        ("", {"max_drift_nm": 0.0}, "max_drift_nm must be positive and at most half .*got 0 nm"),
        ("", {"max_drift_nm": 17.0}, r"half the shorter side of a frame \(16 nm\), got 17 nm"),
        (
            "",
            {"max_step_nm": 9.0},
            r"max_step_nm must be positive and at most max_drift_nm \(8 nm\), got 9 nm",
        ),
        ("", {"combine": "median"}, "combine must be 'mean' or 'sum', got 'median'"),
        ("angles", {}, "at least two frames in use, got 1 in movie 0"),
    ],
)
def test_what_cannot_be_aligned_is_told(change, options, sentence):
    frames = texture(64, 0)[None].repeat(3, axis=0)
    if change == "nan":
        frames[1, 5, 5] = np.nan
    if change == "flat":
        frames[2] = 3.0
    angles = [0.0, 2.0, 4.0] if change == "angles" else 0.0
    with pytest.raises(ValueError, match=sentence):
        preprocess.align_frames(series(frames, angles), **options)


def test_frames_of_a_movie_have_one_angle():
    frames = texture(64, 0)[None].repeat(3, axis=0)
    table = pd.DataFrame({"movie": [0, 0, 0]})
    with pytest.raises(ValueError, match="must have one tilt angle, got several in movie 0"):
        preprocess.align_frames(series(frames, [0.0, 0.0, 3.0], views=table))
