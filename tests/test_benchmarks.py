"""Every benchmark runs, at its smallest size, and what it measures gets into the table."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks import bench_reconstruct, cases, marker_free_full, results, run, timing
from benchmarks.cases import Case, Result, Target

SLOW = (
    "bench_align",
    "BentImages",
    "CommonLines",
    "LocalOnBeads",
    "bench_graph_images",
    "bench_marker_free",
    "bench_marker_free_large",
    "bench_segment",
    "bench_slab",
    "FirstCall",
    "Frames",
    "InPlane",
    "Patches",
    "FirstReconstruction",
    "Memory",
    "Astra",
)  # seconds to minutes: modules and classes
ACCURACY = ("adjoint", "inside", "outside", "error", "center_of_mass")  # what does not depend on the machine
ACCURACY += ("crashes", "incomplete", "changed")


class Squares:
    """Three cases, one of which cannot run."""

    params, param_names = ([2, 3, 4],), ("n",)
    targets = {  # noqa: RUF012
        "track_square": {(2,): Target(at_most=4.0), (3,): Target(at_most=8.9)},
    }
    taken_down = 0

    def setup(self, n):
        if n == 4:
            raise NotImplementedError("four is not here")
        self.n = n

    def teardown(self, n):
        Squares.taken_down += 1

    def track_square(self, n):
        return self.n * n

    def peakmem_block(self, n):
        self.block = np.ones(n * 2**23)  # n x 64 MiB


def is_slow(case):
    return case.owner.__name__ in SLOW or case.owner.__module__.removeprefix("benchmarks.") in SLOW


def cases_to_run():
    """Every method at its smallest size; of what is slow, with the first of its words alone."""
    seen = set()
    for subject in cases.subjects():
        for case in cases.cases(subject, smallest=True):
            if is_slow(case) and (case.owner, case.method) in seen:
                continue
            seen.add((case.owner, case.method))
            yield case


CASES = list(cases_to_run())


def is_told(case):
    """Whether RESULTS.md says that the target is missed: what is told may be, what was met must stay so."""
    rows = results.RESULTS.read_text(encoding="utf-8").splitlines()
    return any(row.startswith(f"| {case.name} | {case.sizes} |") and "**MISSED**" in row for row in rows)


def squares(n, method="track_square"):
    return Case("squares", Squares, method, (n,))


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if is_slow(case) else ()) for case in CASES],
    ids=lambda case: f"{case.subject}.{case.name}[{case.sizes}]",
)
def test_every_benchmark_runs_at_its_smallest_size(case, monkeypatch):
    monkeypatch.setattr(timing, "N_RUNS", 1)
    result = cases.measure(case)
    if result.value is None:
        pytest.skip(result.reason)
    assert math.isfinite(result.value)
    if any(word in case.method for word in ACCURACY) and not is_told(case):
        assert not result.verdict.endswith("MISSED")


def test_every_subject_has_cases_and_a_table():
    text = results.RESULTS.read_text(encoding="utf-8")
    assert {case.subject for case in CASES} == set(cases.subjects())
    for subject in cases.subjects():
        assert f"<!-- begin {subject} -->" in text


def test_the_smallest_sizes_are_the_least_numbers_and_every_word():
    found = {
        case.parameters
        for case in cases.cases("thickness", smallest=True)
        if case.owner.__name__ == "Distance"
    }
    assert found == {(128, "tomo3d"), (128, "scipy")}


def test_a_case_that_cannot_run_says_why():
    result = cases.measure(squares(4))
    assert result.value is None
    assert str(result) == "skipped: four is not here"


def test_a_case_is_taken_down_after_its_run():
    before = Squares.taken_down
    cases.measure(squares(2))
    assert Squares.taken_down == before + 1


def test_a_target_belongs_to_its_parameters():
    assert cases.measure(squares(2)).verdict == "at most 4: met"
    assert cases.measure(squares(3)).verdict == "at most 8.9: MISSED"
    assert squares(4).target is None


@pytest.mark.parametrize(
    ("value", "is_met"), [(0.9, False), (1.0, True), (2.0, True), (2.1, False), (math.nan, False)]
)
def test_a_target_has_two_sides(value, is_met):
    assert Target(at_least=1.0, at_most=2.0).is_met(value) is is_met


def test_peak_memory_is_that_of_a_fresh_process():
    held = np.ones(2**26)  # 512 MiB here, which must not count there
    result = cases.measure(squares(2, "peakmem_block"))
    assert held.nbytes >> 20 == 512
    assert result.unit == "MiB"
    assert 128 <= result.value < 448  # the block of 128 MiB, Python and its libraries


def test_a_run_above_five_seconds_is_not_repeated(monkeypatch):
    clock = iter([0.0, 6.0, 100.0, 107.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert timing.median_seconds(lambda: None) == (6.0, 1)


def test_the_median_leaves_an_outlier_out(monkeypatch):
    times = iter([1.0, 1.0, 4.0, 1.2, 1.1])
    monkeypatch.setattr(timing, "seconds", lambda function: next(times))
    assert timing.median_seconds(lambda: None) == (1.1, 5)


def test_a_line_says_program_machine_date_and_sizes():
    text = run.line(Result(squares(3), 9.0))
    assert text.startswith("squares.Squares.track_square [n=3]: 9; at most 8.9: MISSED | tomo3d 0.")
    for word in (results.machine(), "CPU", results.today()):
        assert word in text


def test_an_unknown_subject_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["thicknes"])
    assert "got thicknes." in capsys.readouterr().err


def test_a_new_table_replaces_its_own_only():
    text = "preface\n"
    for subject in ("one", "two"):
        text = results.updated(text, subject, f"old {subject}")
    text = results.updated(text, "one", r"new \1 table")  # no group of a pattern
    assert text == (
        "preface\n\n## one\n\n<!-- begin one -->\nnew \\1 table\n<!-- end one -->\n\n"
        "## two\n\n<!-- begin two -->\nold two\n<!-- end two -->\n"
    )


def test_a_table_without_an_end_is_refused():
    with pytest.raises(ValueError, match="must end with the line <!-- end one -->"):
        results.updated("<!-- begin one -->\nold\n", "one", "new")


def test_a_table_has_a_row_per_case_and_marks_misses():
    rows = results.table([cases.measure(squares(n)) for n in (2, 3, 4)], "command", "today").splitlines()
    assert rows[0] == "`command`"
    assert rows[-3:] == [
        "| Squares.track_square | n=2 | 4 | at most 4: met |",
        "| Squares.track_square | n=3 | 9 | at most 8.9: **MISSED** |",
        "| Squares.track_square | n=4 | skipped: four is not here |  |",
    ]


def test_write_changes_the_tables_of_the_subjects_that_were_run(tmp_path, monkeypatch):
    path = tmp_path / "RESULTS.md"
    path.write_text("preface\n", encoding="utf-8")
    results.write("squares", "table", path)
    assert path.read_text(encoding="utf-8").startswith("preface\n\n## squares\n")


def test_the_rows_of_the_disc_are_its_mean_chords():
    rows = bench_reconstruct.disc_rows(256, 3)
    # all of the disc lands on the detector; the mean chord over the two middle pixels is 2 R (1 - 1 / (6 R^2))
    assert rows[1].sum() == pytest.approx(math.pi * 80.0**2, rel=1e-6)
    assert rows[0, 0, 127] == pytest.approx(160.0 * (1.0 - 1.0 / (6.0 * 80.0**2)), rel=1e-6)


def test_a_full_count_goes_on_where_it_was_interrupted(tmp_path, monkeypatch, capsys):
    ran = []

    def jobs(kind):
        for seed in range(3):
            key = {"kind": kind, "seed": seed}
            yield key, lambda seed=seed: ran.append(seed) or {"axis_deg": 0.02 * seed}

    monkeypatch.setattr(marker_free_full, "jobs", jobs)
    path = tmp_path / "series.jsonl"
    path.write_text('{"kind": "axes", "seed": 1, "axis_deg": 0.4, "version": "before"}\n')
    marker_free_full.main([str(path), "axes"])
    assert ran == [0, 2]
    assert len(path.read_text().splitlines()) == 3
    marker_free_full.main([str(path), "axes"])
    assert ran == [0, 2]
    table = capsys.readouterr().out
    assert "| axis: mean error, deg | 3 | 0.147 | at most 0.05: **MISSED** |" in table
    assert "| axis: largest error, deg | 3 | 0.4 | at most 0.15: **MISSED** |" in table


def test_the_full_count_is_that_of_the_series_that_are_wanted():
    counts = {kind: len(list(marker_free_full.jobs(kind))) for kind in marker_free_full.KINDS}
    assert counts == {"slabs": 100, "axes": 20, "catalyst": 5 * 6 * 2}
