"""The folder of a run: made only when a run begins, one run at a time, gone again if nothing was written."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def check_folder(folder: Path) -> None:
    """Raise now, before the work, if results could not be written into a folder.

    Raises
    ------
    NotADirectoryError, PermissionError
        If a file is in the way, or the folder (or where it will be made) is not writable.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{folder} must be a folder, but {existing} is a file.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {existing} is not writable: choose another one.")


@contextlib.contextmanager
def working_folder(folder: Path) -> Iterator[None]:
    """Within this context the folder exists and belongs to this run alone.

    Raises
    ------
    RuntimeError
        If another run is writing there.
    """
    made = _make(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)  # gives up the lock, as the end of the process would
        for path in made:
            with contextlib.suppress(OSError):  # what holds results stays
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones, innermost first."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(
            f"another run is writing into {folder}: wait for it, or choose another folder."
        ) from None
    except OSError:  # some network drives have no locks: then nothing guards against two runs
        return
