"""What every reader checks before it opens a file."""

from __future__ import annotations

import os
from pathlib import Path


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The path, if it is a file that can be opened.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError, ValueError
        With a sentence that says which of them, and what to do.
    """
    file = Path(path)
    if not file.exists():
        where = "" if file.parent.is_dir() else f"; the folder {file.parent} does not exist either"
        raise FileNotFoundError(f"there is no file {file}{where}.")
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder: name one file in it.")
    if not file.is_file():
        raise ValueError(f"{file} must be a regular file, got a device, pipe or socket.")
    if not os.access(file, os.R_OK):
        raise PermissionError(f"{file} may not be read: ask its owner for the right to read it.")
    return file
