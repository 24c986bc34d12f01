"""The command line is the API: same names, defaults, help and results, and errors in one sentence."""

import inspect
import json
import logging
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tomo3d
from tomo3d import align, geometry, io, measure, pipeline, progress, reconstruct, segment
from tomo3d.cli import console
from tomo3d.cli import main as entry
from tomo3d.cli.commands import STAGES, functions
from tomo3d.types import TiltSeries

COMMANDS = [(stage, name) for stage in STAGES for name in functions(stage)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small tilt series of two blobs, where the commands run."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    angles = np.arange(-60.0, 61.0, 10.0)
    x, y = np.arange(24) - 11.5, np.arange(16) - 7.5
    images = [
        np.exp(-((x[None, :] - 5 * np.sin(np.deg2rad(a))) ** 2 + y[:, None] ** 2) / 8)
        + 0.01 * rng.normal(size=(16, 24))
        for a in angles
    ]
    io.write_tilt_series(TiltSeries(np.array(images, np.float32), angles, 2.0), "tilts.mrc")
    return tmp_path


@pytest.fixture
def tomo3d_says(capsys):
    def run(*words):
        status = entry.main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_help_imports_no_stage():
    code = (
        "import sys; from tomo3d.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted(n for n in sys.modules if n.startswith('tomo3d.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[1] for name in eval(done.stderr)}
    assert not loaded & set(STAGES) - {"io"}, loaded
    assert not loaded & {"io", "compute", "phantoms", "report"}, loaded
    for stage, description in STAGES.items():
        assert stage in done.stdout
        assert description in done.stdout


@pytest.mark.parametrize(("stage", "name"), COMMANDS, ids=lambda part: part)
def test_every_command_renders_the_help_of_its_function(tomo3d_says, stage, name):
    status, out, _ = tomo3d_says(stage, name.replace("_", "-"), "--help")
    function = getattr(getattr(tomo3d, stage), name)
    text = " ".join("".join(c if c not in "│╭╰─╮╯" else " " for c in out).split())
    assert status == 0
    assert " ".join((function.__doc__ or "").split("\n\n")[0].split()) in text
    for_python = {"callback", "out"}  # no text stands for them
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in for_python:
            assert f"--{parameter.name} " not in text
            continue
        is_table = str(parameter.annotation).startswith("Mapping[str, ")  # an option, given once for each
        is_option = is_table or parameter.kind is parameter.KEYWORD_ONLY
        shown = parameter.name if is_option else parameter.name.upper()
        assert shown.replace("_", "-") in text.replace("_", "-"), parameter.name


def test_every_public_stage_function_is_in_the_list_or_known_not_to_be():
    no_command = {
        "io": {"check_output", "compose_transforms", "inspect", "read_track_residuals", "read_transforms",
               "read_x_axis_tilts", "read_z_factors", "read_angle_file", "read_contours",  # arrays, for Python
               "read_alignment_log", "read_command_file", "read_local_transforms", "read_mdoc", "read_tilt_list",
               "read_views", "files_beside", "read_transform",  # what side files say
               "convert", "new_zarr_volume", "write_alignment", "write_bytes", "write_labels", "write_table",
               "write_graph", "write_surface", "write_tilt_series", "write_volume"},  # outputs: by the command
        "graph": {"from_networkx", "to_networkx", "windows"},  # objects of Python
        "phantoms": {"network", "paint_strut"},  # of arrays and lists
        "quality": {"crowther_limit_nm", "psf_elongation"},  # a number, not a file
        "render": {"encode", "encode_movie", "opengl_status"},
        "segment": {"save_classifier", "probability_ensemble", "threshold_ensemble"},  # one mask after the other
        "measure": {"measurement_bias", "over_blocks", "with_uncertainty"},  # they take a function
    }  # fmt: skip
    for stage, listed in pipeline.FUNCTIONS.items():
        module = getattr(tomo3d, stage)
        public = {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}
        assert public - set(listed) == no_command.get(stage, set()), stage
        assert set(listed) <= public, stage


def test_a_command_reads_an_alignment_for_the_views_of_its_series(folder, tomo3d_says):
    """AreTomo sorts its lines by angle: those of a series in the order of acquisition are found by their angles."""
    rng = np.random.default_rng(0)
    series = TiltSeries(rng.random((4, 12, 10), dtype=np.float32), np.array([0.0, 20.0, -20.0, -40.0]), 2.0)
    alignment = replace(geometry.nominal_alignment(series), shifts_nm=rng.normal(size=(4, 2)))
    io.write_tilt_series(series, "dose.mrc")
    sorted_ = geometry.rows(alignment, np.argsort(series.tilt_angles_deg))
    io.write_alignment(sorted_, "dose.aln", pixel_size_nm=2.0)
    words = ("dose.mrc", "aligned.mrc", "--alignment", "dose.aln", "--tilt-axis-deg", 0)
    status, _, error = tomo3d_says("reconstruct", "wbp", *words, "--thickness-nm", 10)
    assert status == 0, error
    direct = reconstruct.wbp(series, thickness_nm=10.0, alignment=alignment).data
    np.testing.assert_allclose(io.read_volume("aligned.mrc").data, direct, atol=2e-3 * np.abs(direct).max())


def test_a_command_gives_what_its_function_gives(folder, tomo3d_says):
    assert tomo3d_says("reconstruct", "sirt", "tilts.mrc", "v.mrc", "--thickness-nm", 20, "--n-iterations", 2,
                       "--lower", 0, "--tilt-axis-deg", 0)[0] == 0  # fmt: skip
    series = io.read_tilt_series("tilts.mrc", tilt_axis_deg=0)
    direct = reconstruct.sirt(series, thickness_nm=20.0, n_iterations=2, lower=0.0)
    written = io.read_volume("v.mrc")
    assert np.array_equal(written.data, direct.data)
    assert np.allclose(written.voxel_size_nm, direct.voxel_size_nm, rtol=1e-6)  # float32 header

    assert tomo3d_says("segment", "otsu", "v.mrc", "m.mrc")[0] == 0
    mask = segment.otsu(direct)
    assert np.array_equal(io.read_labels("m.mrc").data, mask.data)

    assert tomo3d_says("align", "center-of-mass", "tilts.mrc", "a.json")[0] == 0
    alignment = align.center_of_mass(io.read_tilt_series("tilts.mrc"))
    assert np.array_equal(io.read_alignment("a.json").shifts_nm, alignment.shifts_nm)

    status, out, _ = tomo3d_says("measure", "volume-fractions", "m.mrc", "f.csv")
    table = measure.volume_fractions(mask)
    pd.testing.assert_frame_equal(io.read_table("f.csv"), table, check_dtype=False)
    assert status == 0
    assert "volume_fraction" in out  # tables are printed too


def test_a_volume_goes_into_zarr_while_it_is_made(folder, tomo3d_says, monkeypatch):
    words = ("--thickness-nm", 20, "--tilt-axis-deg", 0)
    assert tomo3d_says("reconstruct", "wbp", "tilts.mrc", "v.mrc", *words)[0] == 0
    with monkeypatch.context() as patch:  # slab by slab: it is never written as a whole
        patch.delattr(io, "write_volume")
        status, _, error = tomo3d_says("reconstruct", "wbp", "tilts.mrc", "v.zarr", *words)
    assert status == 0, error
    made, truth = io.read_volume("v.zarr"), io.read_volume("v.mrc")
    np.testing.assert_array_equal(made.data, truth.data)
    np.testing.assert_allclose(made.origin_nm, truth.origin_nm)
    known = json.loads(Path("v.zarr.json").read_text())
    assert known["bytes"] > made.data.nbytes
    assert known["state"]["record"]["method"] == "wbp"

    status, _, error = tomo3d_says("reconstruct", "wbp", "tilts.mrc", "v.zarr", *words)
    assert (status, error.count("\n")) == (2, 1)
    assert "v.zarr exists" in error
    before = names(folder)
    status, _, error = tomo3d_says(
        "reconstruct", "wbp", "tilts.mrc", "w.zarr", *words, "--window", "none-such"
    )
    assert status == 2
    assert names(folder) == before  # nothing is left of what failed
    assert tomo3d_says("reconstruct", "wbp", "tilts.mrc", "v.zarr", *words, "--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["m.zarr", "m.ome.tif", "m.nrrd"])
def test_masks_and_series_are_written_in_the_format_that_is_named(folder, tomo3d_says, name):
    series = io.read_tilt_series("tilts.mrc")
    io.write_volume(tomo3d.Volume(series.images, (2, 2, 2)), "v.mrc")
    assert tomo3d_says("segment", "otsu", "v.mrc", name)[0] == 0
    np.testing.assert_array_equal(io.read_labels(name).data, segment.otsu(io.read_volume("v.mrc")).data)
    assert tomo3d_says("preprocess", "bin-views", "tilts.mrc", "b.zarr", "--factor", 2)[0] == 0
    binned = io.read_tilt_series("b.zarr")
    np.testing.assert_array_equal(binned.tilt_angles_deg, series.tilt_angles_deg)
    assert binned.images.shape == (13, 8, 12)


def test_an_optional_input_is_a_file(folder, tomo3d_says):
    tomo3d_says("align", "center-of-mass", "tilts.mrc", "a.json")
    assert tomo3d_says("reconstruct", "wbp", "tilts.mrc", "v.mrc", "--thickness-nm", 20, "--alignment", "a.json",
                       "--window", "gaussian:0.3,0.05")[0] == 0  # fmt: skip
    series, alignment = io.read_tilt_series("tilts.mrc"), io.read_alignment("a.json")
    direct = reconstruct.wbp(series, thickness_nm=20.0, alignment=alignment, window="gaussian:0.3,0.05")
    assert np.array_equal(io.read_volume("v.mrc").data, direct.data)
    known = json.loads(Path("v.mrc.json").read_text())
    given = {"thickness_nm": 20.0, "window": "gaussian:0.3,0.05"}
    assert known["parameters"] == given | {"voxel_size_nm": None, "memory_limit": None}
    assert len(known["inputs"]["alignment"]["inputs"]["path"]["sha256"]) == 64


def test_options_of_the_reader_reach_it(folder, tomo3d_says):
    Path("angles.txt").write_text("\n".join(str(2 * a) for a in range(13)))
    (folder / "bare").mkdir()
    assert (
        tomo3d_says("preprocess", "bin-views", "tilts.mrc", "b.mrc", "--factor", 2, "--pixel-size-nm", 5)[0]
        == 0
    )
    assert io.read_tilt_series("b.mrc").pixel_size_nm == 10.0


def test_lists_are_written_with_commas(folder, tomo3d_says):
    tomo3d_says("reconstruct", "wbp", "tilts.mrc", "v.mrc", "--thickness-nm", 20)
    assert (
        tomo3d_says(
            "segment", "multi-otsu", "v.mrc", "m.mrc", "--n-classes", 3, "--names", "pore,film,metal"
        )[0]
        == 0
    )
    assert tomo3d_says("segment", "select", "m.mrc", "s.mrc", "--classes", "film,2")[0] == 0
    assert tomo3d_says("segment", "otsu", "v.mrc", "o.mrc", "--voxel-size-nm", "1,2,3")[0] == 0
    assert io.read_labels("o.mrc").voxel_size_nm == pytest.approx((1, 2, 3))
    assert tomo3d_says("render", "slices", "v.mrc", "p.png", "--mask", "m.mrc", "--contrast", 1, 99,
                       "--position-nm", -2, 0, 3)[0] == 0  # fmt: skip
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


WBP = ("reconstruct", "wbp")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((*WBP, "none.mrc", "v.mrc", "--thickness-nm", 20), "there is no file none.mrc."),
        ((*WBP, "tilts.mrc", "tilts.mrc", "--thickness-nm", 20, "--overwrite"), "must be another file than the input"),
        ((*WBP, "tilts.mrc", "old.mrc", "--thickness-nm", 20), "old.mrc exists"),
        ((*WBP, "tilts.mrc", "no/v.mrc", "--thickness-nm", 20), "the folder no does not exist"),
        ((*WBP, "tilts.mrc", "v.jpg", "--thickness-nm", 20), "*.tiff or *.nrrd, got 'v.jpg': name it v.mrc"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 1), "thickness_nm must be at least one pixel (2 nm), got 1 nm"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", "nan"), "thickness_nm must be at least one pixel (2 nm), got"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", "inf"), "thickness_nm must be finite, got inf nm"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", "ten"), 'unable to convert "ten" into float'),
        ((*WBP, "tilts.mrc", "v.mrc"), "--thickness-nm requires an argument"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 20, "--windw", "x"), "Did you mean --window?"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 20, "--window", "hamm"), "hamm"),
        ((*WBP, "old.mrc", "v.mrc", "--thickness-nm", 20), "old.mrc"),
        ((*WBP, "folder", "v.mrc", "--thickness-nm", 20), "folder"),
        ((*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 20, "--device", "gpu"), "--device gpu needs CuPy"),
        (("reconstruct", "wpb"), 'Did you mean "wbp"?'),
        (("recnstruct",), 'Did you mean "reconstruct"?'),
        (("segment", "select", "tilts.mrc", "s.mrc", "--classes", "{a=1}"), "--classes must be a list"),
        (("info", "none.mrc"), "none.mrc"),
        (("info",), "info needs at least one file"),
        (("run", "none.toml", "-o", "out"), "none.toml"),
        (("run", "bad.toml", "-o", "out"), "step 'wbp': reconstruct.wbp has no parameter 'thicknes_nm'; did you mean"),
        (("run", "late.toml", "-o", "out"), "step 'wbp', reconstruct.wbp: thickness_nm must be at least one pixel"),
        (("run", "bad.toml"), "--output requires an argument"),
    ],
)  # fmt: skip
def test_errors_are_one_sentence_with_status_2_and_nothing_is_written(folder, tomo3d_says, words, sentence):
    Path("old.mrc").write_text("old")
    Path("folder").mkdir()
    read = '[[step]]\nrun = "io.read_tilt_series"\npath = "tilts.mrc"\n'
    Path("bad.toml").write_text(read + '[[step]]\nrun = "reconstruct.wbp"\nthicknes_nm = 20\n')
    Path("late.toml").write_text(read + '[[step]]\nrun = "reconstruct.wbp"\nthickness_nm = 1\n')
    before = names(folder)
    status, out, err = tomo3d_says(*words)
    told = [line for line in err.splitlines() if not line.startswith(("tomo3d: warning: ", "tomo3d: step "))]
    last = err.splitlines()[-1]
    assert status == 2
    assert out == ""
    assert last.startswith("tomo3d: ")
    assert sentence.replace('"', "") in last.replace('"', "")  # versions of cyclopts differ in their quotes
    assert len(told) <= 1
    assert "Traceback" not in err
    assert names(folder) == before
    assert Path("old.mrc").read_text() == "old"


def test_debug_shows_where_an_error_comes_from(folder, tomo3d_says):
    status, _, err = tomo3d_says(*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 1, "--debug")
    assert status == 2
    assert "Traceback" in err


@pytest.mark.parametrize(
    "bug",
    [
        lambda *_, **__: None + 1,
        lambda *_, **__: {}["key"],
        lambda *_, **__: geometry.centre(None),  # our code, but no sentence that it raised
        lambda *_, **__: np.zeros(2) + np.zeros(3),
    ],
)
def test_a_bug_shows_its_traceback_and_asks_for_a_report(folder, monkeypatch, bug):
    monkeypatch.setattr("tomo3d.cli.adapter.call", bug)
    with pytest.raises((TypeError, KeyError, ValueError)) as told:
        entry.main([*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", "20"])
    assert "Please report it" in told.value.__notes__[0]


def test_an_interruption_is_status_130(folder, tomo3d_says, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tomo3d.cli.adapter.call", interrupted)
    status, _, err = tomo3d_says(*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 20)
    assert status == 130
    assert err == "tomo3d: interrupted; what was finished is kept.\n"


def test_overwriting_must_be_asked_for(folder, tomo3d_says):
    command = (*WBP, "tilts.mrc", "v.mrc", "--thickness-nm", 20)
    assert [tomo3d_says(*command)[0] for _ in range(2)] == [0, 2]
    assert tomo3d_says(*command, "--overwrite")[0] == 0


def test_a_dry_run_shows_shapes_and_touches_nothing(folder, tomo3d_says):
    Path("r.toml").write_text(
        '[[step]]\nrun = "io.read_tilt_series"\npath = "tilts.mrc"\n'
        '[[step]]\nid = "volume"\nrun = "reconstruct.wbp"\nthickness_nm = 20\n'
    )
    before = names(folder)
    status, out, _ = tomo3d_says("run", "r.toml", "-o", "out", "--dry-run")
    assert status == 0
    assert "10 x 16 x 24 float32, 15 KiB" in out
    assert "of memory are available" in out
    assert names(folder) == before


def test_a_recipe_runs_from_the_command_line(folder, tomo3d_says):
    Path("r.toml").write_text(
        '[[step]]\nrun = "io.read_tilt_series"\npath = "tilts.mrc"\n'
        '[[step]]\nid = "volume"\nrun = "reconstruct.wbp"\nthickness_nm = 20\n'
        '[[step]]\nrun = "segment.otsu"\n'
        '[[step]]\nrun = "measure.volume_fractions"\n'
    )
    status, out, err = tomo3d_says("run", "r.toml", "-o", "out")
    assert status == 0
    assert "volume_fraction" in out
    assert out.rstrip().endswith("report: out/report.html")
    assert "tomo3d: step 2 of 4: volume (reconstruct.wbp)" in err
    direct = reconstruct.wbp(io.read_tilt_series("tilts.mrc"), thickness_nm=20.0)
    assert np.array_equal(io.read_volume("out/volume.mrc").data, direct.data)


def test_info_shows_what_a_file_is(folder, tomo3d_says):
    status, out, _ = tomo3d_says("info", "tilts.mrc")
    assert status == 0
    assert "13 x 16 x 24 float32" in out
    assert "-60 to 60 deg" in out


def test_doctor_names_what_is_installed(tomo3d_says):
    status, out, _ = tomo3d_says("doctor")
    assert status == 0
    for word in (tomo3d.__version__, np.__version__, "GPU", "OpenGL", "memory", "cores"):
        assert word in out


def test_version(tomo3d_says):
    assert tomo3d_says("--version")[:2] == (0, f"tomo3d {tomo3d.__version__}\n")


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tomo3d", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("tomo3d", run_name="__main__")
    assert (end.value.code, capsys.readouterr().out) == (0, f"tomo3d {tomo3d.__version__}\n")


def test_warnings_of_the_library_are_marked(folder, tomo3d_says, monkeypatch):
    def warns(*arguments, **options):
        logging.getLogger("tomo3d.io").warning("the pixel size looks wrong")

    monkeypatch.setattr("tomo3d.cli.adapter.call", warns)
    assert (
        "tomo3d: warning: the pixel size looks wrong\n"
        in tomo3d_says(*WBP, "a", "b", "--thickness-nm", 20)[2]
    )


def test_the_demo_runs_both_examples_and_names_their_reports(folder, tomo3d_says, monkeypatch):
    for name in ("catalyst", "needle"):
        Path(f"{name}.toml").write_text(
            '[[step]]\nrun = "io.read_tilt_series"\npath = "tilts.mrc"\n'
            '[[step]]\nrun = "reconstruct.wbp"\nthickness_nm = 20\n'
            '[[step]]\nrun = "segment.otsu"\n[[step]]\nrun = "measure.volume_fractions"\n'
        )
    monkeypatch.setattr(
        "tomo3d.report.write", lambda record, path, *, overwrite: Path(path).write_text("report")
    )
    monkeypatch.setattr("tomo3d.cli.recipes.examples_folder", lambda: folder)
    status, out, _ = tomo3d_says("demo", "-o", "shown")
    assert status == 0
    assert out.count("volume_foreground") == 2
    assert out.splitlines()[-2:] == ["report: shown/catalyst/report.html", "report: shown/needle/report.html"]


def test_examples_that_are_not_installed_are_told_with_the_places_looked_at(monkeypatch, tomo3d_says):
    monkeypatch.setattr("tomo3d.cli.recipes._DEMOS", ("none.toml",))
    status, _, err = tomo3d_says("demo")
    assert status == 2
    assert "share/tomo3d/examples" in err


def test_long_work_says_where_it_is_in_a_log_file(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 31.0, 40.0])
    monkeypatch.setattr("tomo3d.cli.console.time.monotonic", lambda: next(clock))
    with console.reporting():
        for n_done in (1, 2, 3):
            progress.report("aligning", n_done, 3)
    assert capsys.readouterr().err == "tomo3d: aligning: 2 of 3\n"


def test_a_function_answers_to_its_own_name(tomo3d_says):
    typed = tomo3d_says("segment", "multi_otsu", "--help")
    assert typed[0] == 0
    assert typed == tomo3d_says("segment", "multi-otsu", "--help")


def test_commands_take_the_same_where_pydantic_is_loaded(folder):
    """With it, cyclopts has the types of defaults checked: 0.0 nm where the option is read as a text, say."""
    pytest.importorskip("pydantic")
    code = (
        "import sys, pydantic; from tomo3d.cli.main import main\n"
        "words = 'reconstruct sirt tilts.mrc v.mrc --thickness-nm 10 --n-iterations 1 --lower 0 --tilt-axis-deg 0'\n"
        "sys.exit(main(words.split()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
