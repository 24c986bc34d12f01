"""Several series by name: a table in a recipe, NAME=FILE on the command line, and one result for each."""

import json
from pathlib import Path

import numpy as np
import pytest

from tomo3d import io, pipeline, reconstruct
from tomo3d.cli import main as entry
from tomo3d.types import TiltSeries

READ = """
[[step]]
id = "platinum"
run = "io.read_tilt_series"
path = "pt.mrc"
tilt_axis_deg = 0
[[step]]
id = "carbon"
run = "io.read_tilt_series"
path = "c.mrc"
tilt_axis_deg = 0
[[step]]
id = "dark_field"
run = "io.read_tilt_series"
path = "haadf.mrc"
tilt_axis_deg = 0
"""
FUSE = """
[[step]]
id = "elements"
run = "reconstruct.multi_channel"
channels = { Pt = "platinum", C = "carbon" }
haadf = "dark_field"
contrast = { Pt = 4.0, C = 1.0 }
shadowing = { Pt = [1, 0.9, 0.8, 0.7, 0.6] }
thickness_nm = 12
n_iterations = 4
"""
WORDS = ["reconstruct", "multi-channel", "v.mrc", "--channels", "Pt=pt.mrc", "--channels", "C=c.mrc",
         "--thickness-nm", "12", "--n-iterations", "4", "--tilt-axis-deg", "0"]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    angles = np.linspace(-60.0, 60.0, 5)
    for name, n_counts in (("pt", 6), ("c", 3)):
        counts = rng.poisson(n_counts, (5, 8, 10)).astype(np.float32)
        io.write_tilt_series(TiltSeries(counts, angles, 2.0), f"{name}.mrc")
    io.write_tilt_series(TiltSeries(rng.random((5, 8, 10), dtype=np.float32) + 20, angles, 2.0), "haadf.mrc")
    return tmp_path


def by_hand(**arguments):
    read = {name: io.read_tilt_series(f"{name}.mrc", tilt_axis_deg=0) for name in ("pt", "c", "haadf")}
    if arguments.get("haadf"):
        arguments["haadf"] = read["haadf"]
    channels = {"Pt": read["pt"], "C": read["c"]}
    return reconstruct.multi_channel(channels, thickness_nm=12.0, n_iterations=4, **arguments)


def fused_by_hand():
    shadowing = {"Pt": np.array([1, 0.9, 0.8, 0.7, 0.6])}
    return by_hand(haadf=True, contrast={"Pt": 4.0, "C": 1.0}, shadowing=shadowing)


def plan(text):
    Path("recipe.toml").write_text(text)
    return pipeline.plan(pipeline.load(Path("recipe.toml")))


def run(text, **options):
    Path("recipe.toml").write_text(text)
    return pipeline.run(pipeline.load(Path("recipe.toml")), Path("out"), **options)


def test_a_recipe_makes_one_volume_for_each_name(folder):
    record = run(READ + FUSE)
    for name, expected in fused_by_hand().items():
        found = io.read_volume(f"out/elements.{name}.mrc")
        assert np.array_equal(found.data, expected.data)
        known = json.loads(Path(f"out/elements.{name}.mrc.json").read_text())
        assert known["state"]["record"]["channel"] == name
        assert known["inputs"]["channels"]["Pt"]["step"] == "platinum"
        assert known["inputs"]["channels"]["C"]["inputs"]["path"]["file"].endswith("c.mrc")
    assert record.steps[-1].outputs == ("elements.Pt.mrc", "elements.C.mrc")
    assert [name for name, _ in record.steps[-1].fields()] == ["Pt", "C"]
    assert Path("out/report.html").stat().st_size > 1000


def test_what_is_kept_depends_on_which_series_bears_which_name(folder):
    run(READ + FUSE)
    assert run(READ + FUSE).steps[-1].reused
    turned = FUSE.replace('Pt = "platinum", C = "carbon"', 'Pt = "carbon", C = "platinum"')
    with pytest.raises(
        FileExistsError, match=r"elements.Pt.mrc exists and is out of date: .*'channels' changed"
    ):
        run(READ + turned)
    renamed = run(
        READ + FUSE.replace('C = "carbon"', 'N = "carbon"').replace(", C = 1.0", ", N = 1.0"), overwrite=True
    )
    assert not renamed.steps[-1].reused
    assert Path("out/elements.N.mrc").exists()


def test_a_later_step_takes_a_result_by_its_name(folder):
    later = '[[step]]\nid = "classes"\nrun = "segment.otsu"\nvolume = "elements.C"\n'
    run(READ + FUSE + later)
    classes = io.read_labels("out/classes.mrc").data
    carbon = io.read_volume("out/elements.C.mrc").data
    assert carbon[classes > 0].min() > carbon[classes == 0].max()
    with pytest.raises(ValueError, match=r"'elements' has no field 'Fe'"):
        plan(READ + FUSE + later.replace("elements.C", "elements.Fe"))


def test_sizes_are_known_before_data_are_read(folder):
    sketch = pipeline.sketch(plan(READ + FUSE))[-1]
    assert not sketch.is_estimate
    assert sketch.results["Pt"].shape == sketch.results["C"].shape == (6, 8, 10)
    assert sketch.peak_bytes > 2 * 4 * 6 * 8 * 10


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (("= { Pt = \"platinum\", C = \"carbon\" }", '= "platinum"'), TypeError, r"channels must be a table, as"),
        (('Pt = "platinum"', 'Pt = "gold"'), ValueError, "channels must name an earlier step that makes a TiltSeries"),
        (('Pt = "platinum"', 'Pt = "elements"'), ValueError, "'elements' is this step itself or a later one"),
        (('Pt = "platinum"', '"a/b" = "platinum"'), ValueError, "must have names that files can bear, got .a/b."),
        (('channels = { Pt = "platinum", C = "carbon" }', ""), ValueError,
         r"needs channels \(a table of names and a TiltSeries each\)"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_in_one_sentence(folder, change, error, sentence):
    with pytest.raises(error, match=sentence):
        plan(READ + FUSE.replace(*change))


def test_a_command_gives_what_its_function_gives(folder, capsys):
    assert entry.main(WORDS) == 0
    for name, expected in by_hand().items():
        assert np.array_equal(io.read_volume(f"v.{name}.mrc").data, expected.data)
    fused = [
        *WORDS,
        "--haadf",
        "haadf.mrc",
        "--contrast",
        "{Pt = 4, C = 1}",
        "--shadowing",
        "s.csv",
        "--overwrite",
    ]
    Path("s.csv").write_text("Pt\n1\n0.9\n0.8\n0.7\n0.6\n")
    assert entry.main(fused) == 0
    for name, expected in fused_by_hand().items():
        assert np.array_equal(io.read_volume(f"v.{name}.mrc").data, expected.data)
    known = json.loads(Path("v.C.mrc.json").read_text())
    assert known["inputs"]["channels"]["C"]["inputs"]["path"]["file"].endswith("c.mrc")
    capsys.readouterr()


def test_help_says_how_files_are_named(folder, capsys):
    assert entry.main(["reconstruct", "multi-channel", "--help"]) == 0
    text = " ".join("".join(c if c not in "│╭╰─╮╯" else " " for c in capsys.readouterr().out).split())
    assert "OUTPUT.NAME.mrc" in text
    assert text.count("NAME=FILE, once for each.") == 2  # channels and alignments


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--channels", "fe.mrc"], "--channels must be NAME=FILE, once for each name, got 'fe.mrc'"),
        (["--channels", "Pt=c.mrc"], "--channels must be NAME=FILE, once for each name, got 'Pt' twice"),
        (["--channels", "Fe=fe.mrc"], "there is no file fe.mrc"),
        (["--stop", "halves"], "stop must be discrepancy or discrepancy:TAU, got 'halves'"),
        (["--memory-limit", "1 KiB"], "memory_limit must be at least"),
        (["--device", "gpu"], "gpu"),
    ],
)
def test_a_wrong_command_writes_nothing(folder, capsys, words, sentence):
    assert entry.main([*WORDS, *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(folder.glob("v.*"))
