"""A method of reconstruction is a table in a recipe, and on the command line: the same call as in Python."""

import functools
from pathlib import Path

import numpy as np
import pytest

from tomo3d import io, pipeline, quality, reconstruct
from tomo3d.cli import main as entry
from tomo3d.types import TiltSeries

READ = '[[step]]\nrun = "io.read_tilt_series"\npath = "tilts.mrc"\ntilt_axis_deg = 0\n'
HALVES = READ + '[[step]]\nid = "halves"\nrun = "quality.half_volumes"\nmethod = '
METHOD = '{ run = "reconstruct.wbp", thickness_nm = 20, window = "hann" }'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).random((7, 12, 16), dtype=np.float32)
    io.write_tilt_series(TiltSeries(images, np.arange(-60.0, 61.0, 20.0), 2.0), "tilts.mrc")
    return tmp_path


def plan(text):
    Path("recipe.toml").write_text(text)
    return pipeline.plan(pipeline.load(Path("recipe.toml")))


def run(text):
    Path("recipe.toml").write_text(text)
    pipeline.run(pipeline.load(Path("recipe.toml")), Path("out"))


def by_hand():
    series = io.read_tilt_series("tilts.mrc", tilt_axis_deg=0)
    return series, functools.partial(reconstruct.wbp, thickness_nm=20.0, window="hann")


def test_a_table_becomes_the_function_with_its_parameters(folder):
    method = plan(HALVES + METHOD).steps[1].arguments["method"]
    assert method.func is reconstruct.wbp
    assert method.keywords == {"thickness_nm": 20.0, "window": "hann"}


def test_a_recipe_makes_the_halves_that_python_makes_and_keeps_them(folder):
    run(HALVES + METHOD)
    expected = quality.half_volumes(*by_hand())
    for name in ("first", "second"):
        path = Path(f"out/halves.{name}.mrc")
        assert np.array_equal(io.read_volume(path).data, getattr(expected, name).data)
    known = Path("out/halves.first.mrc.json").read_text()
    assert '"run": "reconstruct.wbp"' in known
    stamp = Path("out/halves.first.mrc").stat().st_mtime_ns
    run(HALVES + METHOD)
    assert Path("out/halves.first.mrc").stat().st_mtime_ns == stamp
    with pytest.raises(FileExistsError, match=r"method was .*20.0.*, is now .*24.0"):
        run(HALVES + METHOD.replace("20", "24"))


def test_sizes_are_known_before_data_are_read(folder):
    _, halves = pipeline.sketch(plan(HALVES + METHOD))
    assert not halves.is_estimate
    assert halves.results["first"].shape == halves.results["second"].shape == (10, 12, 16)
    assert halves.peak_bytes >= 2 * 4 * 10 * 12 * 16


def test_a_command_takes_the_same_table(folder, capsys):
    assert entry.main(["quality", "half-volumes", "tilts.mrc", METHOD, "h", "--tilt-axis-deg", "0"]) == 0
    assert np.array_equal(io.read_volume("h.second.mrc").data, quality.half_volumes(*by_hand()).second.data)
    words = [
        "quality",
        "leave-one-out",
        "tilts.mrc",
        METHOD,
        "left.csv",
        "--tilt-axis-deg",
        "0",
        "--views",
        "2,3",
    ]
    assert entry.main(words) == 0
    expected = quality.leave_one_out(*by_hand(), views=[2, 3])
    assert np.allclose(io.read_table("left.csv"), expected)
    assert "correlation" in capsys.readouterr().out  # tables are printed too


@pytest.mark.parametrize(
    ("method", "error", "sentence"),
    [
        (
            '"reconstruct.wbp"',
            TypeError,
            "method must be a table that names a function .*got 'reconstruct.wbp'",
        ),
        ("{ thickness_nm = 20 }", TypeError, "method must be a table that names a function"),
        ('{ run = "reconstruct.wpb" }', ValueError, "no function 'wpb'; did you mean 'wbp'"),
        ('{ run = "segment.otsu" }', ValueError, "makes a Volume, got segment.otsu, which makes a Labels"),
        (
            '{ run = "reconstruct.wbp" }',
            ValueError,
            r"runs reconstruct.wbp, which needs thickness_nm \(a number\)",
        ),
        (
            '{ run = "reconstruct.wbp", thicknes_nm = 2 }',
            ValueError,
            "no parameter 'thicknes_nm'; did you mean",
        ),
        (
            '{ run = "reconstruct.wbp", thickness_nm = "x" }',
            TypeError,
            "wbp: thickness_nm must be a number, got 'x'",
        ),
        (
            '{ run = "reconstruct.wbp", thickness_nm = 2, alignment = "halves" }',
            ValueError,
            "no parameter 'alignment'",
        ),
    ],
)
def test_a_wrong_method_is_told_before_data_are_read(folder, method, error, sentence):
    with pytest.raises(error, match=sentence):
        plan(HALVES + method)
