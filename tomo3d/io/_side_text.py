"""Side files of other programs: lines of text, never larger than a person or a microscope would make them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file

LARGEST_BYTES = 64 << 20
_MOST_LINES = 1 << 20
_LONGEST_LINE = 4096
_BOM = "\ufeff"

Lines = list[tuple[int, str]]


def text_of(path: str | os.PathLike[str], what: str, *, encodings: tuple[str, ...] = ("ascii",)) -> str:
    """The text of a file, in the first of the encodings that fits, without a byte order mark.

    Raises
    ------
    FormatError
        If it is not plain text, or larger than any such file.
    """
    file = existing_file(path)
    with open(file, "rb") as stream:
        data = stream.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        size = file.stat().st_size
        raise FormatError(
            f"{file} must be {what} of at most {LARGEST_BYTES >> 20} MiB, got {size >> 20} MiB."
        )
    if b"\0" in data:
        raise FormatError(f"{file} must be {what}: it is not plain text.")
    for encoding in encodings:
        try:
            return data.decode(encoding).removeprefix(_BOM)
        except UnicodeDecodeError:
            continue
    raise FormatError(f"{file} must be {what}: it is not plain text.")


def text_lines(
    path: str | os.PathLike[str],
    what: str,
    *,
    encodings: tuple[str, ...] = ("ascii",),
    longest: int = _LONGEST_LINE,
) -> tuple[Path, Lines]:
    """The file, and each line that is not blank, stripped, with its number from 1; any ends of lines.

    Raises
    ------
    FormatError
        If it is not plain text, larger than any such file, empty, or has a line of more than `longest` characters.
    """
    file = Path(path)
    text = text_of(file, what, encodings=encodings).replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > _MOST_LINES:
        raise FormatError(
            f"{file} must be {what} of at most {_MOST_LINES:,} lines, got {text.count(chr(10)):,}."
        )
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > longest:
            raise FormatError(
                f"{file}, line {number}: must be a line of {what}, got {len(line):,} characters."
            )
        if stripped := line.strip():
            lines.append((number, stripped))
    if not lines:
        raise FormatError(f"{file} must be {what}: it is empty.")
    return file, lines


def numbers(file: Path, line: int, words: list[str], n: int, what: str) -> list[float]:
    """The `n` words as finite numbers; there must be no others.

    Raises
    ------
    FormatError
        If there are more or fewer, or one is not a finite number.
    """
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != n or not np.isfinite(values).all():
        got = " ".join(words)[:60]
        raise FormatError(f"{file}, line {line}: must be {n} numbers ({what}), got {got!r}.")
    return values


def number_rows(path: str | os.PathLike[str], n: int, what: str, columns: str) -> np.ndarray:
    """A file with `n` numbers in each line, shape (n_lines, n)."""
    file, lines = text_lines(path, what)
    return np.array([numbers(file, number, line.split(), n, columns) for number, line in lines])


def file_name(path: str) -> str:
    """Last part of a path as Windows or Unix writes it: where it leads is never followed."""
    name = path.strip().strip('"').replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "" if name in (".", "..") else name
