"""Writers that are killed, meet a full disk, or one that fails: outputs are whole or absent, inputs untouched."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomo3d import Labels, Surface, TiltSeries, Volume, io
from tomo3d.cli import main as entry
from tomo3d.io import _write

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

SHAPE = (8, 30, 300)
VOLUME = Volume(np.random.default_rng(0).random(SHAPE, dtype="f4"), (2, 2, 2))
LABELS = Labels((VOLUME.data > 0.5).astype("u1"), (2, 2, 2), names={1: "film"})
SERIES = TiltSeries(VOLUME.data, np.arange(8.0), 2.0)
SURFACE = Surface(np.random.default_rng(0).random((3000, 3)), np.arange(3000).reshape(1000, 3))
TABLE = pd.DataFrame({"a": np.random.default_rng(0).random(3000)})
WRITERS = {
    "v.mrc": (io.write_volume, VOLUME),
    "v.tif": (io.write_volume, VOLUME),
    "v.ome.tif": (io.write_volume, VOLUME),
    "v.nrrd": (io.write_volume, VOLUME),
    "v.zarr": (io.write_volume, VOLUME),
    "l.mrc": (io.write_labels, LABELS),
    "l.nrrd": (io.write_labels, LABELS),
    "l.zarr": (io.write_labels, LABELS),
    "t.mrc": (io.write_tilt_series, SERIES),
    "t.zarr": (io.write_tilt_series, SERIES),
    "s.glb": (io.write_surface, SURFACE),
    "t.csv": (io.write_table, TABLE),
    "t.parquet": (io.write_table, TABLE),
}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def failing(n_good, real, number):
    """A function that works a few times, then fails as a disk does."""
    calls = iter(range(n_good))

    def call(*arguments, **keywords):
        if next(calls, None) is None:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **keywords)

    return call


@contextlib.contextmanager
def largest_file(n_bytes):
    """Files beyond this size fail, as on a full disk: for where no small file system can be made."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A file system of 1 MiB of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_disk_that_fails_leaves_the_old_output_or_none(tmp_path, monkeypatch, name, overwrite, step):
    write, value = WRITERS[name]
    (tmp_path / "input.mrc").write_bytes(b"precious")
    if overwrite:
        write(value, tmp_path / name)
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", failing(1 if name.endswith(".zarr") else 0, os.fsync, errno.EIO))
        else:
            for function in ("link", "replace", "rename"):
                patch.setattr(os, function, failing(0, None, errno.EIO))
            patch.setattr(_write, "_renameat2", failing(0, None, errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            write(value, tmp_path / name, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_fails_halfway_leaves_nothing(tmp_path, name):
    write, value = WRITERS[name]
    with (
        largest_file(400),
        pytest.raises(OSError, match=f"there is no room for .*{name}.*Nothing was written"),
    ):
        write(value, tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_said_and_leaves_nothing(small_disk, name):
    write, value = WRITERS[name]
    with open(small_disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:  # to the last page
            filler.write(bytes(4096))
    filler_bytes = (small_disk / "filler").stat().st_size
    with pytest.raises(OSError, match=f"there is no room for .*{name}.*free some space") as caught:
        write(value, small_disk / name)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(small_disk) == ["filler"]
    os.truncate(small_disk / "filler", filler_bytes - 900_000)
    write(
        value, small_disk / name
    )  # with room it works, and the old output survives when the new one does not fit
    if not name.startswith("v"):
        return
    before = contents(small_disk)
    larger = Volume(np.ones((30, 100, 300), "f4"), (1, 1, 1))
    with pytest.raises(OSError, match="there is no room"):
        write(larger, small_disk / name, overwrite=True)
    assert before == contents(small_disk)


@pytest.fixture(autouse=True)
def _tidy(request):
    """The small disk is empty for each test."""
    yield
    if "small_disk" in request.fixturenames:
        for path in request.getfixturevalue("small_disk").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_killed_writers_leave_whole_outputs_only():
    """Five times here; a hundred times: python -m benchmarks.kill_writers."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_writers", "--times", "5"],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 incomplete under a final name, 0 changed inputs" in done.stdout


@pytest.mark.parametrize("has_exchange", [True, False])
def test_a_zarr_folder_is_replaced_whole(tmp_path, monkeypatch, has_exchange):
    if not has_exchange:  # macOS, and some file systems
        monkeypatch.setattr(_write, "_renameat2", lambda *arguments: False)
    io.write_volume(VOLUME, tmp_path / "v.zarr")
    with pytest.raises(FileExistsError, match="exists: choose another name"):
        io.write_volume(VOLUME, tmp_path / "v.zarr")
    io.write_labels(LABELS, tmp_path / "v.zarr", overwrite=True)
    io.write_labels(LABELS, tmp_path / "l.zarr")
    assert contents(tmp_path / "v.zarr").keys() == contents(tmp_path / "l.zarr").keys()
    assert sorted(os.listdir(tmp_path)) == ["l.zarr", "v.zarr"]


def test_a_folder_that_holds_anything_else_is_never_replaced(tmp_path):
    (tmp_path / "v.zarr").mkdir()
    (tmp_path / "v.zarr" / "thesis.tex").write_text("precious")
    with pytest.raises(IsADirectoryError, match="holds no Zarr array, which is never replaced"):
        io.write_volume(VOLUME, tmp_path / "v.zarr", overwrite=True)
    assert (tmp_path / "v.zarr" / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("has_exchange", [True, False])
def test_a_zarr_folder_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch, has_exchange):
    real = _write._sync_tree

    def someone_writes(folder):
        real(folder)
        (tmp_path / "v.zarr").mkdir()
        (tmp_path / "v.zarr" / "theirs").write_bytes(b"precious")

    monkeypatch.setattr(_write, "_sync_tree", someone_writes)
    if not has_exchange:
        monkeypatch.setattr(_write, "_renameat2", lambda *arguments: False)
    with pytest.raises(FileExistsError, match="appeared while it was being written"):
        io.write_volume(VOLUME, tmp_path / "v.zarr")
    assert contents(tmp_path) == {"v.zarr": None, "v.zarr/theirs": b"precious"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_command_that_cannot_write_leaves_no_provenance(tmp_path, monkeypatch, capsys, overwrite):
    monkeypatch.chdir(tmp_path)
    io.write_tilt_series(SERIES, "tilts.mrc")
    words = ["preprocess", "bin-views", "tilts.mrc", "binned.mrc", "--factor", "2"]
    if overwrite:
        assert entry.main(words) == 0
        words += ["--overwrite"]
    before = contents(tmp_path)
    real = io.write_tilt_series
    with monkeypatch.context() as patch:
        patch.setattr(io, "write_tilt_series", failing(0, real, errno.EIO))
        assert entry.main(words) == 2
    assert "Input/output error" in capsys.readouterr().err
    assert contents(tmp_path) == before
