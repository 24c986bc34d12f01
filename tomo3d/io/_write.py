"""Outputs that are whole or absent: allocated first, written beside themselves, renamed when complete."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_OFFERED = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EMLINK)
_ZEROS = bytes(1 << 20)
_ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray")
_NO_REPLACE, _EXCHANGE = 1, 2  # flags of Linux' renameat2
_AT_FDCWD = -100
_SYNCS_AT_ONCE = 8


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Say now, before the work, if a result could not be written to a path.

    Parameters
    ----------
    path : path
        Where the result will go.
    overwrite : bool
        True if an existing file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError
        If the folder is not there or not writable, or the path is a folder or a device.

    Notes
    -----
    A path that ends in .zarr will be a folder, and may be one now if it holds a Zarr store.
    """
    target = Path(path)
    if target.suffix.lower() == ".zarr" and target.is_dir():
        return check_folder_output(target, overwrite=overwrite)
    folder = target.parent
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name a file in it.")
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist: create it, or name another one.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} must be a folder to hold {target.name}, but it is a file.")
    if target.exists() and not target.is_file():
        raise PermissionError(f"{target} is a device, pipe or socket, which is never replaced.")
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(f"{target} exists: choose another name, or allow overwriting.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} is not writable: choose another one.")
    return target


def write_bytes(data: bytes, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write bytes to a file that is either whole or absent.

    Parameters
    ----------
    data : bytes
        What to write.
    path : path
        Where to write it.
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    OSError
        If the folder cannot be written to or the disk is full.
    """
    with new_file(path, len(data), overwrite=overwrite) as file:
        file.write(data)


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str], n_bytes: int, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file of `n_bytes` under a temporary name, which gets its own name when the block ends well.

    The space is allocated before anything is written, so a full disk is said
    at once. Nothing is left behind if the block raises; a process that is
    killed leaves only a file named .tomo3d-*.part.
    """
    target = check_output(path, overwrite=overwrite)
    temporary = target.parent / f".tomo3d-{secrets.token_hex(8)}.part"
    file = _create(temporary, target)
    try:
        with _telling_of_a_full_disk(target, n_bytes), file:
            _allocate(file, n_bytes)
            yield file
            file.flush()
            os.fsync(file.fileno())
        _give_name(temporary, target, overwrite)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def check_folder_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """As `check_output`, for an output that is a folder (Zarr); only a Zarr folder is ever replaced."""
    target = Path(path)
    if not target.is_dir() or target.is_symlink():
        return check_output(target)
    if not overwrite:
        raise FileExistsError(f"{target} exists: choose another name, or allow overwriting.")
    if not any((target / name).is_file() for name in _ZARR_METADATA):
        raise IsADirectoryError(f"{target} is a folder that holds no Zarr array, which is never replaced.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {target.parent} is not writable: choose another one.")
    return target


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str], n_bytes: int, *, overwrite: bool) -> Iterator[Path]:
    """A folder under a temporary name, which gets its own name when the block ends well and all in it is on the disk.

    A disk without room for `n_bytes` is said at once. Nothing is left behind if the block raises; a process
    that is killed leaves only a folder named .tomo3d-*.part.
    """
    target = check_folder_output(path, overwrite=overwrite)
    if shutil.disk_usage(target.parent).free < n_bytes:
        raise _full(target, n_bytes)
    temporary = target.parent / f".tomo3d-{secrets.token_hex(8)}.part"
    try:
        with _telling_of_a_full_disk(target, n_bytes):
            temporary.mkdir()
            yield temporary
            _sync_tree(temporary)
        _give_folder_name(temporary, target, overwrite)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _create(temporary: Path, target: Path) -> BinaryIO:
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _full(target, 0) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PermissionError(
                f"the folder {target.parent} is not writable ({os.strerror(error.errno)}): choose another one."
            ) from error
        raise
    return os.fdopen(descriptor, "w+b")


def _allocate(file: BinaryIO, n_bytes: int) -> None:
    """Take the space on the disk now; where the file system cannot, by writing zeros."""
    if n_bytes == 0 or _fallocate(file, n_bytes):
        return
    for start in range(0, n_bytes, len(_ZEROS)):
        file.write(_ZEROS[: n_bytes - start])
    file.flush()
    file.seek(0)


@contextlib.contextmanager
def _telling_of_a_full_disk(target: Path, n_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _full(target, n_bytes) from error
        raise


def _fallocate(file: BinaryIO, n_bytes: int) -> bool:
    """Whether the system allocated the space itself."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return False
    try:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if error.errno in _NOT_OFFERED:
            return False
        raise
    return True


def _full(target: Path, n_bytes: int) -> OSError:
    # With one argument str(error) is the sentence itself; the number is kept for programs.
    error = OSError(
        f"there is no room for {target} ({n_bytes:,} bytes): free some space on that disk (or raise the limit "
        "on file size), or choose another folder. Nothing was written."
    )
    error.errno = errno.ENOSPC
    return error


def _give_name(temporary: Path, target: Path, overwrite: bool) -> None:
    """Rename without ever replacing a file that appeared meanwhile, unless that is allowed."""
    if overwrite:
        os.replace(temporary, target)
        return
    appeared = f"{target} appeared while it was being written, by another program: nothing was replaced."
    try:
        os.link(temporary, target)  # fails if the name is taken, in one step
    except FileExistsError as error:
        raise FileExistsError(appeared) from error
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        # No hard links here (FAT, some network drives): reserve the name, then rename onto it.
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError as taken:
            raise FileExistsError(appeared) from taken
        os.replace(temporary, target)


def _give_folder_name(temporary: Path, target: Path, overwrite: bool) -> None:
    """Rename a folder; one that is replaced changes places with it in one step, where the system can, then goes."""
    if not os.path.lexists(target):
        if not _renameat2(temporary, target, _NO_REPLACE):
            os.rename(temporary, target)  # fails if something that holds files is there by now
    elif not overwrite:
        raise FileExistsError(
            f"{target} appeared while it was being written, by another program: nothing was replaced."
        )
    elif not _renameat2(temporary, target, _EXCHANGE):
        aside = temporary.with_name(temporary.name + ".old")
        os.rename(target, aside)
        os.rename(temporary, target)
        shutil.rmtree(aside, ignore_errors=True)


def _renameat2(source: Path, target: Path, flag: int) -> bool:
    """Whether Linux did it; False where there is no such call."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(flag)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_OFFERED:
        return False
    raise OSError(number, os.strerror(number), str(target))


def _sync_tree(folder: Path) -> None:
    """Bring every file and folder in it to the disk; a few at once, as each waits for the disk's answer."""
    found = list(os.walk(folder))
    files = [os.path.join(place, name) for place, _, names in found for name in names]
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(_sync_file, files))
    for place, _, _ in found:
        _sync_folder(Path(place))


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:  # some network drives cannot
            raise
    finally:
        os.close(descriptor)
