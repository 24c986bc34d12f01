"""Outputs are whole or absent."""

import errno
import os
import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tomo3d import Volume
from tomo3d.io import check_output, write_bytes, write_volume

VOLUME = Volume(np.ones((4, 50, 60), "f4"), (1, 1, 1))
STRANGER = b"made by another program"


def failing(number):
    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return call


def test_bytes_are_written_and_replaced_only_on_demand(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(b"one", path)
    with pytest.raises(FileExistsError, match="exists: choose another name, or allow overwriting"):
        write_bytes(b"two", path)
    assert path.read_bytes() == b"one"
    write_bytes(b"two, longer", path, overwrite=True)
    write_bytes(b"", tmp_path / "empty")
    assert path.read_bytes() == b"two, longer"
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "empty"]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_bytes(b"x", tmp_path / "a")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_check_output_says_before_the_work_what_would_fail(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(STRANGER)
    assert check_output(tmp_path / "b") == tmp_path / "b"
    assert check_output(file, overwrite=True) == file
    with pytest.raises(FileExistsError, match="exists"):
        check_output(file)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_output(tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist: create it"):
        check_output(tmp_path / "no" / "a")
    with pytest.raises(NotADirectoryError, match="but it is a file"):
        check_output(file / "a")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="exists"):
        check_output(tmp_path / "dangling")
    for overwrite in (False, True):
        with pytest.raises(PermissionError, match="never replaced"):
            check_output("/dev/null", overwrite=overwrite)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing(number))
        with pytest.raises(PermissionError, match=r"is not writable .*: choose another one"):
            write_bytes(b"x", tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *args: False)
        with pytest.raises(PermissionError, match="is not writable"):
            check_output(tmp_path / "a")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_at_once(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    with pytest.raises(OSError, match=r"no room for .*v\.mrc \(49,024 bytes\): free some space") as caught:
        write_volume(VOLUME, tmp_path / "v.mrc")
    assert caught.value.errno == errno.ENOSPC
    assert not os.listdir(tmp_path)


def test_a_real_limit_on_file_size_leaves_nothing_behind(tmp_path):
    code = textwrap.dedent(f"""
        import resource, numpy
        from tomo3d import Volume, io
        volume = Volume(numpy.ones((4, 50, 60), "f4"), (1, 1, 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))
        try:
            io.write_volume(volume, "v.mrc")
        except OSError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "no room for v.mrc (49,024 bytes)" in done.stdout
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_without_fallocate_the_space_is_taken_by_zeros(tmp_path, monkeypatch, number):
    expected = tmp_path / "expected.mrc"
    write_volume(VOLUME, expected)
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    write_volume(VOLUME, tmp_path / "v.mrc")
    assert (tmp_path / "v.mrc").read_bytes() == expected.read_bytes()
    monkeypatch.delattr(os, "posix_fallocate")  # macOS
    write_volume(VOLUME, tmp_path / "w.mrc")
    assert (tmp_path / "w.mrc").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("step", "overwrite"), [("fsync", False), ("fsync", True), ("link", False), ("replace", True)]
)
def test_a_write_that_fails_leaves_the_old_file_or_none(tmp_path, monkeypatch, step, overwrite):
    path = tmp_path / "v.mrc"
    if overwrite:
        path.write_bytes(STRANGER)
    monkeypatch.setattr(os, step, failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write_volume(VOLUME, path, overwrite=overwrite)
    assert os.listdir(tmp_path) == (["v.mrc"] if overwrite else [])
    assert not overwrite or path.read_bytes() == STRANGER


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_volume(VOLUME, tmp_path / "v.mrc")
    assert not os.listdir(tmp_path)


def test_a_killed_writer_leaves_no_file_of_that_name(tmp_path):
    code = textwrap.dedent("""
        import os, numpy
        from tomo3d import Volume, io
        os.fsync = lambda descriptor: os.kill(os.getpid(), 9)
        io.write_volume(Volume(numpy.ones((4, 50, 60), "f4"), (1, 1, 1)), "v.mrc")
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == -9
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".tomo3d-")
    assert left.endswith(".part")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch, has_links):
    path = tmp_path / "v.mrc"
    real = os.fsync

    def someone_writes(descriptor):
        real(descriptor)
        path.write_bytes(STRANGER)

    monkeypatch.setattr(os, "fsync", someone_writes)
    if not has_links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    with pytest.raises(FileExistsError, match="appeared while it was being written"):
        write_volume(VOLUME, path)
    assert path.read_bytes() == STRANGER
    assert os.listdir(tmp_path) == ["v.mrc"]


def test_where_there_are_no_hard_links_files_are_written_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    write_bytes(b"whole", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a"]
