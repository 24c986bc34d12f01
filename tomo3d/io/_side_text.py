"""Side files of other programs: lines of text, never larger than a person or a microscope would make them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file

LARGEST_BYTES = 64 << 20
_MOST_LINES = 1 << 18
_LONGEST_LINE = 4096
_LARGEST_NUMBER = 1e30  # squares and sums of such stay finite
_BOM = "\ufeff"

Lines = list[tuple[int, str]]


def text_of(
    path: str | os.PathLike[str],
    what: str,
    *,
    encodings: tuple[str, ...] = ("ascii",),
    largest: int = LARGEST_BYTES,
) -> str:
    """The text of a file of at most `largest` bytes, in the first of the encodings that fits, without its mark.

    Raises
    ------
    FormatError
        If it is not plain text, or larger than any such file.
    """
    file = existing_file(path)
    with open(file, "rb") as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:
        size = file.stat().st_size
        raise FormatError(f"{file} must be {what} of at most {largest >> 20} MiB, got {size >> 20} MiB.")
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
    largest: int = LARGEST_BYTES,
) -> tuple[Path, Lines]:
    """The file, and each line that is not blank, stripped, with its number from 1; any ends of lines.

    Raises
    ------
    FormatError
        If it is not plain text, larger than any such file, empty, or has a line of more than `longest` characters.
    """
    file = Path(path)
    text = text_of(file, what, encodings=encodings, largest=largest).replace("\r\n", "\n").replace("\r", "\n")
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


def number_of(word: str) -> float:
    """The number that a word says; nan where it says none, or one that no file means (above 1e30)."""
    try:
        value = float(word)
    except ValueError:
        return math.nan
    return value if abs(value) <= _LARGEST_NUMBER else math.nan


def numbers(file: Path, line: int, words: list[str], n: int, what: str) -> list[float]:
    """The `n` words as finite numbers; there must be no others.

    Raises
    ------
    FormatError
        If there are more or fewer, or one is not a finite number.
    """
    values = [number_of(word) for word in words] if len(words) == n else []
    if not values or not np.isfinite(values).all():
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
