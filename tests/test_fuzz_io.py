"""The fuzzer sees what it looks for: a crash, a hang, memory, and a process that dies; and it goes on where it was."""

import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from benchmarks import fuzz_io, fuzz_readers
from benchmarks.fuzz_readers import Reader
from tomo3d.io import read_angle_file


@pytest.fixture
def fuzz(tmp_path, monkeypatch):
    def run(read, seconds=0.0):
        monkeypatch.setitem(fuzz_readers.READERS, "planted", Reader(read, lambda: [b"1\n2\n"]))
        return fuzz_io.fuzz("planted", seconds, tmp_path)

    def alarmed(*_):
        raise fuzz_io._Hang

    before = signal.signal(signal.SIGPROF, alarmed)
    yield run
    signal.signal(signal.SIGPROF, before)


def crashes(folder):
    return sorted(path.read_text() for path in (folder / "crashes").glob("*.txt"))


def test_our_own_sentences_are_no_crashes_and_new_ones_are_kept(fuzz, tmp_path):
    outcome = fuzz(read_angle_file, seconds=0.3)
    assert outcome.n_crashes == 0
    assert outcome.n_executions > 20
    assert outcome.n_corpus >= 2  # one that is read, one that is not


def test_any_other_exception_is_a_crash(fuzz, tmp_path):
    assert fuzz(lambda path: [][0]).n_crashes == 1
    (told,) = crashes(tmp_path)
    assert "IndexError" in told


def test_a_hang_is_a_crash(fuzz, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_io, "_HANG_S", 0.05)

    def turns(path):
        while time.process_time() < end:
            pass

    end = time.process_time() + 2
    assert fuzz(turns).n_crashes == 1
    assert "_Hang" in crashes(tmp_path)[0]


def test_memory_is_a_crash(fuzz, tmp_path, monkeypatch):
    peaks = iter(range(0, 10**12, 300 << 20))
    monkeypatch.setattr(fuzz_io, "_peak", lambda: next(peaks))
    assert fuzz(lambda path: None).n_crashes == 1
    assert "300 MiB for a file of 4 bytes" in crashes(tmp_path)[0]


def test_what_was_found_is_where_the_next_run_begins(fuzz, tmp_path):
    (tmp_path / "found-before").write_bytes(b"found before")
    seen = []
    fuzz(lambda path: seen.append(path.read_bytes()))
    assert b"found before" in seen


def test_a_process_that_dies_is_a_crash_of_its_reader(tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(
        f"import json, os\nos.makedirs({str(tmp_path / 'tomo3d-fuzz-x')!r})\n"
        f"open({str(tmp_path / 'tomo3d-fuzz-x' / 'input')!r}, 'wb').write(b'deadly')\n"
        f"print(json.dumps({{'begins': 'mrc', 'input': {str(tmp_path / 'tomo3d-fuzz-x' / 'input')!r}}}), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    real = fuzz_io.subprocess.Popen
    monkeypatch.setattr(
        fuzz_io.subprocess, "Popen", lambda command, **rest: real([sys.executable, str(child)], **rest)
    )
    (found,) = fuzz_io.fuzz_apart(["mrc"], 0.1, tmp_path / "corpus")
    assert found == ("mrc", fuzz_io.Outcome(n_crashes=1))
    kept = {path.read_bytes() for path in (tmp_path / "corpus" / "mrc" / "crashes").iterdir()}
    assert b"deadly" in kept
    assert not (tmp_path / "tomo3d-fuzz-x").exists()


def test_every_reader_reads_its_first_file(tmp_path):
    for name, reader in fuzz_readers.READERS.items():
        given, changed = fuzz_readers.place_for(reader, tmp_path)
        changed.unlink(missing_ok=True)
        changed.write_bytes(reader.seeds()[0])
        if name not in ("dm", "ser"):  # begun from a header alone
            reader.read(given)


@pytest.mark.parametrize("error", [ValueError("x"), OSError(5, "x"), MemoryError(), KeyError("x")])
def test_an_error_that_nothing_of_ours_raised_is_a_crash(error):
    with pytest.raises(type(error)) as caught:
        raise error
    assert not fuzz_io.is_ours(caught.value)
