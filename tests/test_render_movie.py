"""The movie shows the views before and after alignment, in the order of tilt, at one contrast and a true scale."""

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tomo3d import geometry, progress, render
from tomo3d.cli import main as entry
from tomo3d.io import write_alignment, write_tilt_series
from tomo3d.render import _movie
from tomo3d.types import Movie, TiltSeries

ANGLES = np.array([0.0, 20.0, -20.0, 40.0, -40.0])
N = 48
SCALE = 8  # 384 // 48


def spot_series(positions, size=4, angles=ANGLES):
    """A bright square in each view, its lower left corner at `positions` (y, x)."""
    images = np.zeros((len(angles), N, N), dtype=np.float32)
    for image, (y, x) in zip(images, positions, strict=True):
        image[y : y + size, x : x + size] = 100.0
    images.flags.writeable = False
    return TiltSeries(images, angles, 2.0)


POSITIONS = [(22, 22), (30, 10), (10, 30), (20, 26), (26, 20)]


def undone(series):
    """The alignment that brings every square to the centre."""
    shifts_nm = 2.0 * (22 - np.array(POSITIONS, dtype=float))
    return replace(geometry.nominal_alignment(series), shifts_nm=shifts_nm)


def panels(frame):
    """The two pictures of a frame, row 0 at the bottom, one value per pixel of the series."""
    room = SCALE * N
    top = frame.shape[0] - _movie._MARGIN - room
    lefts = (_movie._MARGIN, 2 * _movie._MARGIN + room)
    return [
        frame[top : top + room, left : left + room][::-1][SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]
        for left in lefts
    ]


def corner(picture):
    """Lower left corner of the square: the scale bar (below) and the dashed axis are as bright, and are left out."""
    bright = picture.astype(int).copy()
    bright[: N // 6] = 0
    bright[:, N // 2 - 1 : N // 2 + 1] = 0
    y, x = np.nonzero(bright > 200)
    return y.min(), x.min()


def test_views_are_shown_as_recorded_and_as_aligned_in_the_order_of_tilt():
    series = spot_series(POSITIONS)
    movie = render.alignment_movie(series, undone(series))
    assert len(movie.frames) == 5
    for frame, view in zip(movie.frames, np.argsort(ANGLES), strict=True):
        before, after = panels(frame)
        assert corner(before) == POSITIONS[view]
        assert corner(after) == (22, 22)


def test_all_frames_have_one_contrast():
    series = spot_series([(22, 8)] * 5, size=10)
    factors = np.array([1.0, 0.8, 0.6, 0.4, 0.2], dtype=np.float32)
    series = replace(series, images=series.images * factors[:, None, None])
    movie = render.alignment_movie(series, geometry.nominal_alignment(series))
    shown = [panels(frame)[0][27, 13] for frame in movie.frames]
    assert shown == pytest.approx(255 * factors[np.argsort(ANGLES)], abs=1.5)


def test_what_was_not_recorded_is_grey():
    series = spot_series(POSITIONS)
    movie = render.alignment_movie(series, undone(series))
    _, after = panels(movie.frames[np.argsort(np.argsort(ANGLES))[1]])  # moved by -8 in y, 12 in x
    assert (after[8:40, :11] == 128).all()
    assert (after[8:40, 13:20] == 0).all()
    assert (after[41:, 13:20] == 128).all()


def test_an_axis_along_x_is_turned_upright_before_and_after():
    series = replace(spot_series(POSITIONS), tilt_axis_deg=90.0)
    movie = render.alignment_movie(series, geometry.nominal_alignment(series))
    for frame, view in zip(movie.frames, np.argsort(ANGLES), strict=True):
        before, after = panels(frame)
        y, x = POSITIONS[view]
        # from +y counter-clockwise by 90 deg is -x: what lay along -x lies along +y
        assert corner(before) == corner(after) == (N - x - 4, y)


def test_excluded_views_are_left_out_and_progress_is_told():
    series = replace(spot_series(POSITIONS), use=ANGLES != 20.0)
    heard = []
    with progress.listening(lambda *call: heard.append(call)):
        movie = render.alignment_movie(series, undone(series))
    assert len(movie.frames) == 4
    assert ("drawing the movie", 4, 4) in heard


def test_large_views_are_averaged_and_the_scale_bar_stays_true():
    images = np.zeros((2, 900, 1300), dtype=np.float32)
    images[:, 400:500] = 1.0
    large = TiltSeries(images, np.array([0.0, 1.0]), 1.0)
    movie = render.alignment_movie(large, geometry.nominal_alignment(large), max_pixels=512)
    n_y, n_x = 300, 433  # a third
    assert movie.frames.shape == (2, n_y + _movie._MARGIN + _movie._HEADER, 2 * n_x + 3 * _movie._MARGIN)
    bar = movie.frames[0][-_movie._MARGIN - 15 : -_movie._MARGIN - 12, _movie._MARGIN : _movie._MARGIN + n_x]
    # at most 0.45 of 1299 nm, so 500 nm, at 3 nm per pixel
    assert (bar[1] > 200).sum() == pytest.approx(500 / 3, abs=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_pixels": 1024}, "max_pixels must be 16 to 512 pixels, got 1024"),
        ({"max_pixels": 8}, "max_pixels must be 16 to 512 pixels, got 8"),
        ({"frames_per_second": 0.0}, "must be 0.1 to 50 per second, got 0"),
    ],
)
def test_parameters_out_of_range_are_refused(change, words):
    series = spot_series(POSITIONS)
    with pytest.raises(ValueError, match=words):
        render.alignment_movie(series, undone(series), **change)


def test_series_that_do_not_fit_or_show_nothing_are_refused():
    series = spot_series(POSITIONS)
    with pytest.raises(ValueError, match="one row per view"):
        render.alignment_movie(spot_series(POSITIONS[:2], angles=ANGLES[:2]), undone(series))
    with pytest.raises(ValueError, match="at least one view must be in use"):
        render.alignment_movie(replace(series, use=np.zeros(5, dtype=bool)), undone(series))
    broken = series.images.copy()
    broken[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        render.alignment_movie(replace(series, images=broken), undone(series))


def frames_of(data):
    with Image.open(io.BytesIO(data)) as picture:
        frames, times = [], []
        for k in range(picture.n_frames):
            picture.seek(k)
            frames.append(np.asarray(picture.convert("L")))
            times.append(picture.info["duration"])
        return np.stack(frames), times, picture.info.get("loop")


def test_a_gif_holds_the_frames_in_64_greys_at_their_rate():
    frames = np.random.default_rng(0).integers(0, 256, (7, 20, 31), dtype=np.uint8)
    read, times, loop = frames_of(render.encode_movie(Movie(frames, 5.0)))
    assert np.abs(read.astype(int) - frames).max() <= 3  # half a step of 255 / 63, and rounding
    assert times == [200] * 7
    assert loop == 0


def test_even_noise_makes_a_gif_of_the_size_that_is_claimed():
    frames = np.random.default_rng(0).integers(0, 256, (3, 582, 1060), dtype=np.uint8)
    assert len(render.encode_movie(Movie(frames, 5.0))) <= 1.1 * frames.size


def test_frames_that_are_no_bytes_are_refused():
    with pytest.raises(TypeError, match="must be uint8, got float32"):
        Movie(np.zeros((1, 2, 2), dtype=np.float32), 5.0)
    with pytest.raises(ValueError, match="n_frames, height, width"):
        Movie(np.zeros((2, 2), dtype=np.uint8), 5.0)


def test_formats_that_cannot_be_written_are_told(monkeypatch):
    movie = Movie(np.zeros((2, 9, 7), dtype=np.uint8), 5.0)
    with pytest.raises(ValueError, match="format must be one of gif, mp4, got 'avi'"):
        render.encode_movie(movie, format="avi")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="the program ffmpeg must be installed to write MP4"):
        render.encode_movie(movie, format="mp4")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_mp4_holds_the_frames(tmp_path):
    frames = np.repeat(np.array([20, 128, 235], dtype=np.uint8), 31 * 45).reshape(3, 31, 45)
    path = tmp_path / "m.mp4"
    path.write_bytes(render.encode_movie(Movie(frames, 5.0), format="mp4"))
    done = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    read = np.frombuffer(done.stdout, dtype=np.uint8).reshape(3, 32, 46)  # its sides are even
    # a lossy code, in blocks of up to 16 pixels: the white that is added reaches into the last ones
    assert np.abs(read.astype(int)[:, :16, :32] - frames[:, :16, :32]).max() <= 4


def test_the_command_writes_a_gif_and_refuses_other_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    series = spot_series(POSITIONS)
    write_tilt_series(series, "s.mrc")
    write_alignment(undone(series), "a.json")
    words = ["render", "alignment-movie", "s.mrc", "a.json"]
    assert entry.main([*words, "m.gif", "--frames-per-second", "4", "--tilt-axis-deg", "0"]) == 0
    read, times, _ = frames_of(Path("m.gif").read_bytes())
    drawn = render.alignment_movie(series, undone(series)).frames
    assert times == [250] * 5
    assert np.abs(read.astype(int) - drawn).max() <= 3
    assert entry.main([*words, "m.avi"]) == 2
    assert "must be named *.gif or *.mp4, got 'm.avi'" in capsys.readouterr().err


def test_a_recipe_step_writes_a_gif_that_is_kept(tmp_path):
    write_tilt_series(spot_series([(8, 12)] * 5, size=24), tmp_path / "s.mrc")
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        """
[[step]]
id = "series"
run = "io.read_tilt_series"
path = "s.mrc"
tilt_axis_deg = 0

[[step]]
id = "alignment"
run = "align.center_of_mass"

[[step]]
id = "movie"
run = "render.alignment_movie"
series = "series"
frames_per_second = 4.0
"""
    )
    for _ in range(2):
        assert entry.main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").rglob("*.gif")
    assert frames_of(path.read_bytes())[0].shape[0] == 5
