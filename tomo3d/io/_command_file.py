"""IMOD's command files: tilt.com, newst.com, align.com; what they say, never run."""

from __future__ import annotations

import os
import re

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._side_text import text_lines

_WHAT = "a command file of IMOD (.com)"
_PROGRAM = re.compile(r"\$\s*([\w./-]+)\s+-StandardInput\b.*", re.IGNORECASE)
_MOST_VIEWS = 100_000

Options = dict[str, str]


def read_command_file(path: str | os.PathLike[str]) -> dict[str, Options]:
    """Read the options that a command file of IMOD gives to each program.

    Parameters
    ----------
    path : path
        tilt.com, newst.com, align.com or another that gives its options as lines of name and value.

    Returns
    -------
    dict
        Options by program, as {"tilt": {"THICKNESS": "84", ...}}, names and values as the file has them; values of a
        name that comes several times are joined by a comma. Files that options name are not opened.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is not such a file, or gives options to no program or to one program twice.
    """
    file, lines = text_lines(path, _WHAT, encodings=("utf-8", "latin-1"))
    programs: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] | None = None
    for number, line in lines:
        if line.startswith("$"):
            found = _PROGRAM.fullmatch(line)
            current = None
            if found:
                name = found[1].rpartition("/")[2]
                if name in programs:
                    raise FormatError(
                        f"{file}, line {number}: runs {name} twice, so its options are not one set."
                    )
                current = programs[name] = {}
        elif not line.startswith("#") and current is not None:
            option, *value = line.split(None, 1)
            current.setdefault(option, []).append(value[0].strip() if value else "")
    if not programs:
        raise FormatError(f"{file} must be {_WHAT}, with a line such as $tilt -StandardInput, got none.")
    return {
        name: {key: ",".join(values) for key, values in options.items()} for name, options in programs.items()
    }


def option(options: Options, name: str, default: str = "") -> str:
    """Value of an option, whatever the case of its name, as IMOD reads it."""
    for key, value in options.items():
        if key.lower() == name.lower():
            return value
    return default


def view_list(text: str, what: str) -> np.ndarray:
    """Views (0-based) of a list of IMOD, as 1,3-5 (1-based).

    Raises
    ------
    FormatError
        If it is not such a list.
    """
    listed = np.zeros(_MOST_VIEWS, dtype=bool)
    for item in filter(None, re.split(r"[,\s]+", text)):
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", item)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= _MOST_VIEWS:
            raise FormatError(f"{what} must list views from 1, as 1,3-5, got {item[:40]!r}.")
        listed[first - 1 : last] = True
    return np.flatnonzero(listed)


def view_list_text(views: np.ndarray) -> str:
    """A list of IMOD (1-based) of views (0-based)."""
    breaks = np.flatnonzero(np.diff(views) > 1) + 1
    runs = [part for part in np.split(views, breaks) if len(part)]
    return ",".join(f"{run[0] + 1}" if len(run) == 1 else f"{run[0] + 1}-{run[-1] + 1}" for run in runs)
