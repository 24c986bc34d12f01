"""A recipe is held against the signatures of its functions before any data are read."""

import dataclasses
import os
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from tomo3d import pipeline
from tomo3d.pipeline import Reference, _catalogue
from tomo3d.types import Alignment, Labels, TiltSeries, Volume


@dataclasses.dataclass(frozen=True)
class Blur:
    fwhm_nm: float
    order: int = 2


@dataclasses.dataclass(frozen=True)
class Level:
    value: float

    @classmethod
    def parse(cls, text):
        if text != "half":
            raise ValueError(f"must be 'half', got {text!r}.")
        return cls(0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    series: TiltSeries
    alignment: Alignment


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    even: Volume
    odd: Volume


def read(
    path: str | os.PathLike[str], *, angles: str | Path | Sequence[float] | None = None
) -> TiltSeries: ...
def record(*, n_tilts: int = 5) -> Pair: ...
def halves(series: TiltSeries) -> Halves: ...
def make(
    series: TiltSeries, *, thickness_nm: float, n_iterations: int, alignment: Alignment | None = None
) -> Volume: ...
def mark(volume: Volume, *, level: Level | float = 0.5) -> Labels: ...
def draw(grid: Volume | Labels) -> pd.DataFrame: ...
def both(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame: ...
def gather(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame: ...


def options(
    *,
    flag: bool = False,
    word: Literal["ramp", "hann"] = "ramp",
    corner: tuple[float, float, float] = (0.0, 0.0, 0.0),
    levels: Sequence[float] = (),
    upper: float | None = None,
    count: int | str = 1,
    blur: Blur | None = None,
    names: Mapping[int, str] | None = None,
    weights: np.ndarray | None = None,
) -> pd.DataFrame: ...


STEPS = (read, record, halves, make, mark, draw, both, gather, options)


@pytest.fixture(autouse=True)
def fake_stage(monkeypatch):
    stage = types.ModuleType("tomo3d.fake")
    for function in STEPS:
        setattr(stage, function.__name__, function)
    stage.secret = lambda: None
    monkeypatch.setitem(sys.modules, "tomo3d.fake", stage)
    monkeypatch.setitem(_catalogue.FUNCTIONS, "fake", tuple(f.__name__ for f in STEPS))


@pytest.fixture
def bind(tmp_path):
    def bind(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        (tmp_path / "raw.mrc").write_bytes(b"")
        return pipeline.plan(pipeline.load(path)).steps

    return bind


def step(run, *lines, id=None):
    head = ["[[step]]", f'run = "fake.{run}"'] + ([f'id = "{id}"'] if id else [])
    return "\n".join([*head, *lines]) + "\n"


READ = step("read", 'path = "raw.mrc"')
MAKE = step("make", "thickness_nm = 30", "n_iterations = 4")


def test_inputs_left_out_take_the_latest_result_of_their_type(bind):
    again = step("read", 'path = "raw.mrc"', id="other")
    steps = bind(READ + again + MAKE + step("mark") + step("draw"))
    assert steps[2].arguments["series"] == Reference("other")
    assert steps[4].arguments["grid"] == Reference("mark")


def test_an_optional_input_is_used_only_if_it_is_named(bind):
    text = step("record") + MAKE
    assert bind(text)[1].arguments["alignment"] is None
    named = bind(text + 'alignment = "record.alignment"\n')[1]
    assert named.arguments["alignment"] == Reference("record", "alignment")
    assert named.arguments["series"] == Reference("record", "series")


def test_paths_start_at_the_folder_of_the_recipe(bind, tmp_path):
    assert bind(READ)[0].arguments["path"] == tmp_path / "raw.mrc"


def test_a_list_of_numbers_may_stand_where_a_file_may(bind):
    assert bind(READ + "angles = [-60, 0, 60.5]\n")[0].arguments["angles"] == (-60.0, 0.0, 60.5)


def test_integers_become_numbers_where_numbers_are_asked(bind):
    value = bind(READ + MAKE)[1].arguments
    assert (value["thickness_nm"], type(value["thickness_nm"])) == (30.0, float)
    assert (value["n_iterations"], type(value["n_iterations"])) == (4, int)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("flag = true", "flag", True),
        ('word = "hann"', "word", "hann"),
        ("corner = [1, 2.5, 3]", "corner", (1.0, 2.5, 3.0)),
        ("levels = [1, 2]", "levels", (1.0, 2.0)),
        ("upper = 3", "upper", 3.0),
        ("upper = inf", "upper", float("inf")),
        ("count = 3", "count", 3),
        ('count = "all"', "count", "all"),
        ("blur = { fwhm_nm = 2 }", "blur", Blur(2.0, 2)),
        ("blur = { type = 'Blur', fwhm_nm = 2, order = 3 }", "blur", Blur(2.0, 3)),
        ("names = { 1 = 'film' }", "names", {1: "film"}),
    ],
)
def test_values_of_every_kind_reach_their_parameter(bind, line, name, value):
    assert bind(step("options", line))[0].arguments[name] == value


def test_lists_of_numbers_become_arrays(bind):
    assert np.array_equal(bind(step("options", "weights = [1, 2.5]"))[0].arguments["weights"], [1, 2.5])


def test_text_goes_to_the_parser_of_its_type(bind):
    steps = bind(READ + MAKE + step("mark", 'level = "half"'))
    assert steps[2].arguments["level"] == Level(0.5)


def test_tables_may_be_named_by_key(bind):
    text = step("options", id="a") + step("options", id="b") + step("gather", "tables = { x = 'a', y = 'b' }")
    assert bind(text)[2].arguments["tables"] == {"x": Reference("a"), "y": Reference("b")}


def one(run, *lines):
    return READ + step(run, *lines)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ('[[step]]\nrun = "fak.make"', ValueError, "there is no stage 'fak'; did you mean 'fake'"),
        (step("drawn"), ValueError, "step 'drawn': fake has no function 'drawn'; did you mean 'draw'?"),
        (step("secret"), ValueError, "fake has no function 'secret'"),
        ('[[step]]\nrun = "os.system"', ValueError, "there is no stage 'os'"),
        ('[[step]]\nrun = "io.write_bytes"', ValueError, "io has no function 'write_bytes'"),
        ('[[step]]\nrun = "fake.__dict__"\nid = "x"', ValueError, "no function '__dict__'"),
        ('[[step]]\nrun = "fake.os.remove"', ValueError, 'must be written as "stage.function"'),
        (one("make", "thickness_nm = 3", "n_iteration = 4"), ValueError,
         "step 'make': fake.make has no parameter 'n_iteration'; did you mean 'n_iterations'?"),
        (one("make", "thickness_nm = 3"), ValueError, r"fake.make needs n_iterations \(an integer\)"),
        (one("make", 'thickness_nm = "3"', "n_iterations = 4"), TypeError, "thickness_nm must be a number, got '3'"),
        (one("make", "thickness_nm = true", "n_iterations = 4"), TypeError, "must be a number, got true"),
        (one("make", "thickness_nm = 3", "n_iterations = 4.0"), TypeError, "must be an integer, got 4.0"),
        (one("make", "thickness_nm = 3", "n_iterations = true"), TypeError, "must be an integer, got true"),
        (step("options", "flag = 1"), TypeError, "flag must be true or false, got 1"),
        (step("options", 'word = "han"'), ValueError, "must be one of 'ramp', 'hann', got 'han'; did you mean 'hann'?"),
        (step("options", "corner = [1, 2]"), ValueError, "a list of 3 values .*got 2"),
        (step("options", "corner = 1"), TypeError, "corner must be a list of 3 values"),
        (step("options", "levels = ['a']"), TypeError, "must be a number, got 'a'"),
        (step("options", "blur = { fwhm = 2 }"), ValueError, "Blur has no field 'fwhm'; did you mean 'fwhm_nm'?"),
        (step("options", "blur = { order = 2 }"), ValueError, "Blur needs the field 'fwhm_nm'"),
        (step("options", "blur = { fwhm_nm = 'x' }"), TypeError, "must be a Blur"),
        (step("options", "names = { film = 'x' }"), TypeError, "names must be a table"),
        (step("options", "weights = ['x']"), TypeError, "weights must be a list"),
        (one("make", "thickness_nm = 3", "n_iterations = 4", 'alignment = "raed"'), ValueError,
         "must name an earlier step that makes an Alignment, got 'raed'; did you mean 'read'?"),
        (one("make", "thickness_nm = 3", "n_iterations = 4", 'alignment = "read"'), TypeError,
         "got 'read', which makes a TiltSeries"),
        (step("make", 'series = "read"', "thickness_nm = 3", "n_iterations = 4") + READ, ValueError,
         "'read' is this step itself or a later one"),
        (step("record") + step("make", 'series = "record"', "thickness_nm = 3", "n_iterations = 4"), TypeError,
         "makes a Pair; name one of record.series"),
        (step("record") + step("make", 'series = "record.serie"', "thickness_nm = 3", "n_iterations = 4"), ValueError,
         "'record' has no field 'serie'; did you mean 'series'?"),
        (step("mark"), ValueError, "fake.mark needs volume .a Volume., and no earlier step makes one"),
        (READ + step("halves") + step("mark"), ValueError, "must be one of halves.even, halves.odd; name it"),
        (step("options") + step("both"), ValueError, "takes first and second, of one type: name the step of each"),
        (READ + READ, ValueError, "the id 'read' must name one step, got it for steps 1 and 2"),
        (step("options", id="a") + step("options", id="A"), ValueError, "must name one step"),
        (step("options", id="../x"), ValueError, "id must be a plain file name"),
        (step("options", id=".x"), ValueError, "id must be a plain file name"),
        ('[[step]]\nrun = "fake.options"\nid = ""', ValueError, "id must be a plain file name"),
        ('[[step]]\nrun = "fake.options"\nid = 3', ValueError, "id must be a plain file name"),
        (step("read", 'path = "none.mrc"'), FileNotFoundError, "path must be an existing file, got 'none.mrc'"),
        (step("read", "path = 3"), TypeError, "path must be"),
        ("[[step]]\nid = 'x'", ValueError, "step 1 must say what it runs"),
        ("title = 'x'", ValueError, r"at least one \[\[step\]\]"),
        ("titel = 'x'\n" + READ, ValueError, "no key 'titel'; did you mean 'title'?"),
        ("title = 3\n" + READ, TypeError, "title must be text"),
        ("[step]\nrun = 'fake.read'", TypeError, r"written as \[\[step\]\]"),
        ("[[step]\n", ValueError, "is not valid TOML: .*line 1"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_told_in_one_sentence(bind, text, error, sentence):
    with pytest.raises(error, match=sentence) as told:
        bind(text)
    assert "\n" not in str(told.value).strip()


def test_a_file_that_is_not_text_is_told(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="TOML text in UTF-8"):
        pipeline.load(tmp_path / "x.toml")


LISTED = [f"{stage}.{name}" for stage, names in pipeline.FUNCTIONS.items() for name in names]


@pytest.mark.parametrize("run", LISTED)
def test_every_listed_function_says_the_type_of_each_argument_and_result(run):
    function = pipeline.resolve(run)
    assert "return" in function.__annotations__
    for parameter in pipeline.signature(function):
        assert pipeline.members(parameter.annotation), parameter.name
