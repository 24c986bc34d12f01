"""Recipes run: what is finished is kept, what changed is told, everything is on record."""

import dataclasses
import json
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import tomo3d
from tomo3d import io, pipeline, tables
from tomo3d.geometry import centred_origin_nm, nominal_alignment
from tomo3d.pipeline import _catalogue, _machine, _memory
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Alignment, ArraySink, Labels, TiltSeries, Volume

VOXEL_NM = (0.3, 0.1, 0.7)  # not exact in the float32 angstrom of a header


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """Has no file: it is made anew when it is needed."""

    draw: object
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    series: TiltSeries
    alignment: Alignment
    dose: float


calls = []


def body(*, seed: int = 0) -> Body:
    calls.append("body")
    return Body(object(), seed)


def shoot(body: Body, *, n_tilts: int = 3) -> Shot:
    calls.append("shoot")
    rng = np.random.default_rng(body.seed)
    images = rng.normal(size=(n_tilts, 5, 7)).astype(np.float32)
    views = pd.DataFrame({"dose": [1.5, np.nan, 2.0][:n_tilts], "file": ["a", "", "c"][:n_tilts]})
    series = TiltSeries(
        images, np.linspace(-1 / 3, 40, n_tilts), 1 / 3, use=np.arange(n_tilts) != 1, views=views
    )
    return Shot(series, nominal_alignment(series), 12.5)


@planned(lambda series, *, gain, **_: Plan(Sketch("Volume", series.shape), 7 * series.n_bytes))
def build(series: TiltSeries, *, gain: float = 1.0, alignment: Alignment | None = None) -> Volume:
    calls.append("build")
    record = {"method": "build", "gain": gain, "residual": float("nan"), "range": [1, 2]}
    data = np.asarray(series.images * np.float32(gain))
    return Volume(data, VOXEL_NM, centred_origin_nm(data.shape, VOXEL_NM), record)


@planned(
    lambda series, *, out=None, **_: Plan(Sketch("Volume", series.shape, "float32", 0.5), 4 if out else 5000)
)
def grow(series: TiltSeries, *, out: ArraySink | None = None) -> Volume:
    calls.append("grow" if out is None else f"grow into {type(out).__name__}")
    data = np.empty(series.images.shape, np.float32) if out is None else out
    for row in range(data.shape[1]):
        data[:, row : row + 1] = np.asarray(series.images[:, row : row + 1])
    return Volume(data, (0.5,) * 3, centred_origin_nm(data.shape, (0.5,) * 3), {"method": "grow"})


def mark(volume: Volume, *, level: float = 0.0) -> Labels:
    calls.append("mark")
    if level == 13.0:
        raise KeyboardInterrupt
    data = volume.data > level
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, {"level": level}, {1: "film, thin"})


def count(labels: Labels) -> pd.DataFrame:
    calls.append("count")
    rows = [{"quantity": "volume", "value": float(labels.data.sum()) / 3, "unit": "nm^3", "n": 1}]
    return tables.summary(rows)


def draw(labels: Labels) -> Figure:
    calls.append("draw")
    return Figure(figsize=(1, 1))


def dose(shot: Shot) -> pd.DataFrame:
    calls.append("dose")
    return pd.DataFrame({"dose": [shot.dose], "n_tilts": [shot.series.n_tilts]})


def shifts(alignment: Alignment) -> pd.DataFrame:
    calls.append("shifts")
    return pd.DataFrame({"y_nm": alignment.shifts_nm[:, 0], "x_nm": alignment.shifts_nm[:, 1]})


STEPS = (body, shoot, build, grow, mark, count, draw, dose, shifts)
RECIPE = """
title = "Small"
[[step]]
run = "fake.body"
[[step]]
run = "fake.shoot"
[[step]]
run = "fake.build"
alignment = "shoot.alignment"
[[step]]
id = "mask"
run = "fake.mark"
level = LEVEL
[[step]]
run = "fake.count"
[[step]]
run = "fake.draw"
"""


@pytest.fixture(autouse=True)
def fake_stage(monkeypatch):
    stage = types.ModuleType("tomo3d.fake")
    for function in STEPS:
        setattr(stage, function.__name__, function)
    monkeypatch.setitem(sys.modules, "tomo3d.fake", stage)
    monkeypatch.setitem(_catalogue.FUNCTIONS, "fake", tuple(f.__name__ for f in STEPS))
    monkeypatch.setattr(
        "tomo3d.report.write", lambda record, path, *, overwrite: Path(path).write_text("report")
    )
    calls.clear()


@pytest.fixture
def run(tmp_path):
    def run(text=RECIPE, level="0.5", **options):
        path = tmp_path / "recipe.toml"
        path.write_text(text.replace("LEVEL", level))
        calls.clear()
        return pipeline.run(pipeline.load(path), tmp_path / "out", **options)

    return run


def names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_results_are_named_by_step_field_and_type(run, tmp_path):
    run()
    outputs = ["build.mrc", "count.csv", "draw.png", "mask.mrc", "report.html", "shoot.alignment.json",
               "shoot.series.mrc"]  # fmt: skip
    assert names(tmp_path / "out") == sorted([*outputs, *(f"{name}.json" for name in outputs), "body.json"])


ZARR = """
[[step]]
run = "fake.body"
[[step]]
run = "fake.shoot"
format = "zarr"
[[step]]
run = "fake.grow"
format = "zarr"
[[step]]
run = "fake.mark"
format = "zarr"
level = LEVEL
[[step]]
run = "fake.count"
format = "parquet"
"""


def test_results_are_kept_in_the_format_that_a_step_names(run, tmp_path):
    first = run(ZARR)
    assert [name for name in names(tmp_path / "out") if not name.endswith(".json")] == [
        "count.parquet", "grow.zarr", "mark.zarr", "report.html", "shoot.series.zarr"
    ]  # fmt: skip
    assert "grow into Array" in calls  # slab by slab
    mrc = run(RECIPE.replace("fake.build", "fake.grow").replace('alignment = "shoot.alignment"', ""))
    assert first.steps[-1].result["value"][0] == mrc.steps[4].result["value"][0]
    run(ZARR)
    assert not calls  # all of it is kept, and read again
    chunk = next(path for path in (tmp_path / "out" / "mark.zarr").rglob("*") if path.parts[-4:-3] == ("c",))
    chunk.write_bytes(chunk.read_bytes() + b"x")
    with pytest.raises(FileExistsError, match=r"mark\.zarr was changed after it was made"):
        run(ZARR)
    run(ZARR, overwrite=True)
    assert calls == ["mark"] or calls == ["mark", "count"]


def test_a_step_that_streams_needs_no_memory_for_its_result(run, tmp_path):
    path = tmp_path / "r.toml"
    for kind, peak in (("mrc", 5000), ("zarr", 4)):
        path.write_text(f'[[step]]\nrun = "io.read_tilt_series"\npath = "t.mrc"\n'
                        f'[[step]]\nrun = "fake.grow"\nformat = "{kind}"\n')  # fmt: skip
        io.write_tilt_series(
            TiltSeries(np.ones((2, 3, 4), "f4"), [0.0, 1.0], 0.5), tmp_path / "t.mrc", overwrite=True
        )
        assert pipeline.sketch(pipeline.plan(pipeline.load(path)))[-1].peak_bytes == peak


def test_a_stream_that_fails_leaves_nothing(run, tmp_path, monkeypatch):
    def fails(series: TiltSeries, *, out: ArraySink | None = None) -> Volume:
        out[:, :1] = np.ones((3, 1, 7))
        raise ValueError("stopped half-way")

    fails.__plan__ = grow.__plan__
    monkeypatch.setattr(sys.modules["tomo3d.fake"], "grow", fails)
    with pytest.raises(ValueError, match="stopped half-way"):
        run(ZARR)
    assert [name for name in names(tmp_path / "out") if "grow" in name or name.startswith(".")] == []


@pytest.mark.parametrize(
    ("step", "kind", "sentence"),
    [
        ("mark", '"jpg"', "step 'mask': fake.mark: format must be one of map, .*nrrd, .*zarr, got 'jpg'"),
        ("count", '"zarr"', "fake.count: format must be one of csv, parquet, got 'zarr'"),
        ("body", '"zarr"', "fake.body: format must be left out, got 'zarr'"),
        ("draw", '"jpg"', "fake.draw: format must be left out, got 'jpg'"),
        ("mark", "3", 'format must be text, as "zarr", got 3'),
    ],
)
def test_a_format_that_cannot_be_is_told(run, step, kind, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        run(RECIPE.replace(f'"fake.{step}"', f'"fake.{step}"\nformat = {kind}'))
    assert not calls


def test_provenance_is_complete_valid_json(run, tmp_path):
    run(command="tomo3d run recipe.toml -o out")
    for path in (tmp_path / "out").glob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    known = json.loads((tmp_path / "out" / "build.mrc.json").read_text())
    assert known["command"] == "tomo3d run recipe.toml -o out"
    assert known["run"] == "fake.build"
    assert known["parameters"] == {"gain": 1.0}  # the default too
    assert known["versions"]["tomo3d"] == tomo3d.__version__
    assert known["versions"]["numpy"] == np.__version__
    series = json.loads((tmp_path / "out" / "shoot.series.mrc.json").read_text())
    assert known["inputs"]["series"]["sha256"] == series["sha256"]
    assert known["inputs"]["series"]["file"] == "shoot.series.mrc"
    assert series["inputs"]["body"]["parameters"] == {"seed": 0}  # what has no file is described in full
    assert known["seconds"] >= 0
    assert known["peak_memory_bytes"] > 1e7
    assert known["bytes"] == (tmp_path / "out" / "build.mrc").stat().st_size


def test_what_a_file_has_no_place_for_survives(run):
    record = run()
    series = record.steps[1].result["series"]
    direct = shoot(body()).series
    assert np.array_equal(series.tilt_angles_deg, direct.tilt_angles_deg)
    assert np.array_equal(series.use, direct.use)
    assert series.pixel_size_nm == 1 / 3
    pd.testing.assert_frame_equal(series.views, direct.views)
    volume, mask = record.steps[2].result, record.steps[3].result
    assert volume.voxel_size_nm == VOXEL_NM
    assert volume.origin_nm == centred_origin_nm(volume.data.shape, VOXEL_NM)
    assert np.isnan(volume.record["residual"])
    assert volume.record["range"] == [1, 2]
    assert mask.data.dtype == bool
    assert (mask.names, mask.record) == ({1: "film, thin"}, {"level": 0.5})


def test_a_result_with_plain_fields_comes_back_whole(run):
    text = RECIPE + '[[step]]\nrun = "fake.dose"\n'
    assert run(text).steps[-1].result["dose"].tolist() == [12.5]


def test_a_finished_run_computes_nothing_again(run):
    first = run()
    second = run()
    assert calls == []
    assert [step.reused for step in second.steps] == [True] * 6
    assert second.steps[2].seconds == first.steps[2].seconds
    pd.testing.assert_frame_equal(first.steps[4].result, second.steps[4].result)


def test_an_interrupted_run_goes_on_where_it_stopped(run, tmp_path, monkeypatch):
    def interrupted(labels: Labels) -> pd.DataFrame:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["tomo3d.fake"], "count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert {"mask.mrc", "body.json"} <= set(names(tmp_path / "out"))
    assert "count.csv" not in names(tmp_path / "out")
    monkeypatch.setattr(sys.modules["tomo3d.fake"], "count", count)
    run()
    assert calls == ["count", "draw"]


def test_an_interruption_while_writing_leaves_what_may_be_replaced(run, tmp_path, monkeypatch):
    write = io.write_alignment

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(io, "write_alignment", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert "shoot.series.mrc" in names(tmp_path / "out")
    monkeypatch.setattr(io, "write_alignment", write)
    run()
    assert calls == ["body", "shoot", "build", "mark", "count", "draw"]


def test_an_interrupted_run_gives_what_an_uninterrupted_one_gives(run, tmp_path):
    whole = run()
    for name in ("mask.mrc", "mask.mrc.json", "count.csv", "count.csv.json"):
        (tmp_path / "out" / name).unlink()
    resumed = run()
    assert calls == ["mark", "count"]
    assert np.array_equal(whole.steps[3].result.data, resumed.steps[3].result.data)
    pd.testing.assert_frame_equal(whole.steps[4].result, resumed.steps[4].result)


def test_a_changed_parameter_is_told_and_nothing_is_computed(run, tmp_path):
    run()
    before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(
        FileExistsError, match=r"mask\.mrc exists and is out of date: level was 0\.5, is now 0\.25"
    ):
        run(level="0.25")
    assert calls == []
    assert before == {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}


def test_with_leave_to_overwrite_only_what_changed_is_computed(run):
    run()
    record = run(level="0.25", overwrite=True)
    assert calls == ["mark", "count", "draw"]
    assert record.steps[3].result.record == {"level": 0.25}


def test_equal_numbers_are_the_same_parameter(run):
    run(level="1")
    run(level="1.0")
    assert calls == []


LOCAL = "1 1 3 3 0 0 0 1.0 0\n0.5 0.5\n1 0 0 1 0 0\n1 0 0 1 0 0\n"
STAR = "data_global\n\nloop_\n_rlnTomoName\n_rlnTomoTiltSeriesPixelSize\n_rlnTomoTiltSeriesStarFile\na 10.0 in/v.star\n"
VIEWS = "data_a\n\nloop_\n_rlnTomoYTilt\n_rlnTomoZRot\n_rlnTomoXShiftAngst\n_rlnTomoYShiftAngst\n-20 8 1 2\n20 8 1 2\n"


@pytest.mark.parametrize(
    ("name", "files", "changed", "text"),
    [
        ("a.xf", {}, "a.tlt", "-20.0\n21.0\n"),
        ("a.xf", {"a.xtilt": "0.5\n0.5\n"}, "a.xtilt", "0.75\n0.75\n"),
        ("a.xf", {}, "a.zfac", "0.01 0.0\n0.01 0.0\n"),  # was not there
        ("a.xf", {"alocal.xf": LOCAL}, "alocal.xf", LOCAL.replace("0.5 0.5", "0.25 0.5")),
        ("a.xf", {"tilt.com": "$tilt -StandardInput\nTILTFILE a.tlt\nTHICKNESS 9\n"}, "tilt.com",
         "$tilt -StandardInput\nTILTFILE a.tlt\nEXCLUDELIST 2\n"),
        ("a.xf", {"tilt.com": "$tilt -StandardInput\nTILTFILE a.tlt\nLOCALFILE b.xf\n", "b.xf": LOCAL}, "b.xf",
         LOCAL.replace("0.5 0.5", "0.25 0.5")),
        ("a.prexg", {"a.tltxf": "1 0 0 1 2 3\n1 0 0 1 2 3\n"}, "a.tltxf", "1 0 0 1 2 4\n1 0 0 1 2 3\n"),
        ("a.star", {"a.star": STAR, "in/v.star": VIEWS}, "in/v.star", VIEWS.replace("1 2", "1 3", 1)),
    ],
)  # fmt: skip
def test_a_change_in_a_file_that_is_read_with_an_alignment_counts(tmp_path, name, files, changed, text):
    (tmp_path / "in").mkdir()
    transforms = "1 0 0 1 2 3\n1 0 0 1 2 3\n"
    for other, content in {
        "a.xf": transforms,
        "a.prexg": transforms,
        "a.tlt": "-20.0\n20.0\n",
        **files,
    }.items():
        (tmp_path / other).write_text(content)
    recipe = f'[[step]]\nrun = "io.read_alignment"\npath = "{name}"\npixel_size_nm = 1.0\n'
    (tmp_path / "recipe.toml").write_text(f'{recipe}[[step]]\nrun = "fake.shifts"\n')
    pipeline.run(pipeline.load(tmp_path / "recipe.toml"), tmp_path / "out")
    (tmp_path / changed).write_text(text)
    sentence = rf"its input 'read_alignment' changed \({Path(changed).name}, read with the input file {name}, changed\)"
    with pytest.raises(FileExistsError, match=sentence):
        pipeline.run(pipeline.load(tmp_path / "recipe.toml"), tmp_path / "out")


def test_a_changed_input_file_counts_as_changed(tmp_path):
    def write(value):
        volume = Volume(np.full((3, 4, 5), value, np.float32), (1, 1, 1))
        io.write_volume(volume, tmp_path / "in.mrc", overwrite=True)

    text = '[[step]]\nrun = "io.read_volume"\npath = "in.mrc"\n[[step]]\nrun = "fake.mark"\n'
    (tmp_path / "recipe.toml").write_text(text)
    recipe = pipeline.load(tmp_path / "recipe.toml")
    write(1)
    pipeline.run(recipe, tmp_path / "out")
    write(2)
    with pytest.raises(
        FileExistsError, match=r"mark\.mrc exists and is out of date: its input 'read_volume' changed"
    ):
        pipeline.run(recipe, tmp_path / "out")


def test_another_version_counts_as_changed(run, monkeypatch):
    run()
    monkeypatch.setattr("tomo3d.pipeline._identity.__version__", "9.9")
    with pytest.raises(FileExistsError, match=r"made by tomo3d .*, this is 9\.9"):
        run()


def test_a_result_that_was_edited_is_not_taken_for_ours(run, tmp_path):
    run()
    path = tmp_path / "out" / "mask.mrc"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileExistsError, match=r"mask\.mrc was changed after it was made"):
        run()


@pytest.mark.parametrize("name", ["mask.mrc", "body.json", "report.html", "shoot.series.mrc"])
def test_a_foreign_file_is_never_replaced_unasked(run, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} exists and was not made by a recipe"):
        run()
    assert calls == []
    assert names(tmp_path / "out") == [name]
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_report_that_was_edited_is_kept(run, tmp_path):
    run()
    (tmp_path / "out" / "report.html").write_text("my notes")
    with pytest.raises(FileExistsError, match=r"report\.html was changed after it was made"):
        run()


def test_a_failing_first_step_leaves_no_folder(run, tmp_path, monkeypatch):
    def failing(*, seed: int = 0) -> Body:
        raise ValueError("seed must be lucky, got 0.")

    monkeypatch.setattr(sys.modules["tomo3d.fake"], "body", failing)
    with pytest.raises(ValueError, match="must be lucky") as told:
        run()
    assert told.value.__notes__ == ["step 'body', fake.body"]
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_told(run, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        run()


def test_two_runs_do_not_share_a_folder(run, tmp_path):
    from tomo3d.pipeline._folder import working_folder

    with working_folder(tmp_path / "out"), pytest.raises(RuntimeError, match="another run is writing"):
        run()


def test_shapes_and_memory_follow_from_plans(tmp_path):
    io.write_volume(Volume(np.zeros((3, 4, 5), np.float32), (1, 1, 1)), tmp_path / "in.mrc")
    series = TiltSeries(np.zeros((3, 4, 5), np.float32), np.arange(3.0), 1.0)
    io.write_tilt_series(series, tmp_path / "tilts.mrc")
    text = """
    [[step]]
    run = "io.read_tilt_series"
    path = "tilts.mrc"
    [[step]]
    run = "fake.build"
    [[step]]
    run = "fake.mark"
    [[step]]
    run = "fake.count"
    """
    (tmp_path / "recipe.toml").write_text(text)
    before = names(tmp_path)
    sketches = pipeline.sketch(pipeline.plan(pipeline.load(tmp_path / "recipe.toml")))
    assert names(tmp_path) == before
    assert [s.results[""].shape for s in sketches] == [(3, 4, 5), (3, 4, 5), (3, 4, 5), ()]
    assert (sketches[1].peak_bytes, sketches[1].is_estimate) == (7 * 240, False)
    assert (sketches[2].peak_bytes, sketches[2].is_estimate) == (240, True)  # as its largest input


def test_a_step_that_cannot_fit_in_memory_is_refused_with_numbers(tmp_path, monkeypatch):
    series = TiltSeries(np.zeros((3, 4, 5), np.float32), np.arange(3.0), 1.0)
    io.write_tilt_series(series, tmp_path / "tilts.mrc")
    text = '[[step]]\nrun = "io.read_tilt_series"\npath = "tilts.mrc"\n[[step]]\nrun = "fake.build"\n'
    (tmp_path / "recipe.toml").write_text(text)
    monkeypatch.setattr(_memory, "available_memory", lambda: 1000)
    with pytest.raises(
        MemoryError, match=r"step 'build': fake\.build needs about 1\.64 KiB .* 1000 B are available"
    ):
        pipeline.run(pipeline.load(tmp_path / "recipe.toml"), tmp_path / "out")
    assert calls == []
    assert not (tmp_path / "out").exists()


def test_the_peak_of_memory_is_seen():
    with _machine.PeakMemory() as idle:
        pass
    with _machine.PeakMemory() as memory:
        block = np.ones(15_000_000)  # 120 MB
        time.sleep(0.1)  # five samples
        del block
    assert memory.peak_bytes - idle.peak_bytes > 90e6
