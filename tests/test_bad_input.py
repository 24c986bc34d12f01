"""Wrong input, typed by hand: one clear sentence, exit status 2, nothing written."""

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tomo3d import TiltSeries, io
from tomo3d.cli import main as entry

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDLE = EXAMPLES / "data" / "needle.mrc"
WBP = ("--thickness-nm", "8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A good series of 77 small views, where the commands run."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).random((77, 6, 8), dtype=np.float32)
    io.write_tilt_series(TiltSeries(images, np.arange(-76.0, 77.0, 2.0), 2.0, 0.0), "series.mrc")
    return tmp_path


def truncated(folder):
    data = NEEDLE.read_bytes()
    Path("bad.mrc").write_bytes(data[: len(data) // 2])
    return ("reconstruct", "wbp", "bad.mrc", "out.mrc", *WBP), "bad.mrc"


def huge(folder):
    header = bytearray(NEEDLE.read_bytes()[:7000])
    header[:12] = struct.pack("<3i", 10_000, 10_000, 10_000)
    header[92:96] = struct.pack("<i", 0)  # no extended header, so that only the size is wrong
    Path("bad.mrc").write_bytes(header)
    return ("reconstruct", "wbp", "bad.mrc", "out.mrc", *WBP), "10000"


def few_angles(folder):
    Path("angles.txt").write_text("".join(f"{a}\n" for a in range(-60, 60, 2)))
    return ("reconstruct", "wbp", "series.mrc", "out.mrc", *WBP, "--angles", "angles.txt"), "60.*77|77.*60"


def radians(folder):
    Path("angles.txt").write_text("".join(f"{np.deg2rad(a):.5f}\n" for a in range(-76, 77, 2)))
    return ("reconstruct", "wbp", "series.mrc", "out.mrc", *WBP, "--angles", "angles.txt"), "radians"


def nan_pixels(folder):
    data = bytearray(Path("series.mrc").read_bytes())
    data[-4 * 10 : -4 * 9] = struct.pack("<f", np.nan)
    Path("bad.mrc").write_bytes(data)
    return ("reconstruct", "wbp", "bad.mrc", "out.mrc", *WBP), "view 76"


def no_pixel_size(folder):
    return ("reconstruct", "wbp", "series.mrc", "out.mrc", *WBP, "--pixel-size-nm", "0"), "positive"


def a_folder_as_input(folder):
    Path("series").mkdir()
    return ("reconstruct", "wbp", "series", "out.mrc", *WBP), "series.*(folder|directory)"


def an_output_that_exists(folder):
    Path("kept.mrc").write_bytes(b"precious")
    return ("reconstruct", "wbp", "series.mrc", "kept.mrc", *WBP), "kept.mrc.*exists"


def a_misspelt_parameter(folder):
    text = (EXAMPLES / "needle.toml").read_text().replace("n_iterations", "n_iteration")
    Path("recipe.toml").write_text(text.replace("data/needle.mrc", str(NEEDLE)))
    return ("run", "recipe.toml", "-o", "results"), "n_iterations"


def a_recipe_whose_output_exists(folder):
    Path("results").mkdir()
    Path("results/volume.mrc").write_bytes(b"precious")
    text = (EXAMPLES / "needle.toml").read_text()
    Path("recipe.toml").write_text(text.replace("data/needle.mrc", str(NEEDLE)))
    return ("run", "recipe.toml", "-o", "results"), "volume.mrc"


CASES = (
    truncated,
    huge,
    few_angles,
    radians,
    nan_pixels,
    no_pixel_size,
    a_folder_as_input,
    an_output_that_exists,
    a_misspelt_parameter,
    a_recipe_whose_output_exists,
)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_is_one_sentence_and_writes_nothing(case, folder, capsys):
    words, message = case(folder)
    before = contents(folder)
    status = entry.main([str(word) for word in words])
    said = capsys.readouterr().err
    sentences = [line for line in said.splitlines() if not line.startswith("tomo3d: warning:")]
    assert status == 2, said
    assert len(sentences) == 1, said
    assert sentences[0].startswith("tomo3d: ")
    assert "Traceback" not in said
    assert re.search(message, sentences[0]), said
    assert contents(folder) == before


def test_a_read_only_folder_is_said_before_the_work(folder, capsys):
    Path("locked").mkdir()
    if os.geteuid():
        Path("locked").chmod(0o500)
    elif (
        not shutil.which("chattr")
        or subprocess.run(["chattr", "+i", "locked"], check=False, capture_output=True).returncode
    ):
        pytest.skip("as root no folder is read-only here")
    try:
        status = entry.main(["reconstruct", "wbp", "series.mrc", "locked/out.mrc", *WBP])
        said = capsys.readouterr().err
        assert status == 2
        assert "locked" in said
        assert "Traceback" not in said
        assert not list(Path("locked").iterdir())
    finally:
        if os.geteuid():
            Path("locked").chmod(0o700)
        else:
            subprocess.run(["chattr", "-i", "locked"], check=True)
