"""Side files of other programs: rows of numbers in text, never larger than a person would make them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._input import existing_file

LARGEST_BYTES = 64 << 20
_LONGEST_LINE = 4096


def text_lines(path: str | os.PathLike[str], what: str) -> tuple[Path, list[tuple[int, list[str]]]]:
    """The file, and the words of each line that is not blank, with its number from 1.

    Raises
    ------
    FormatError
        If it is not plain text, or larger than any such file.
    """
    file = existing_file(path)
    size = file.stat().st_size
    if size > LARGEST_BYTES:
        raise FormatError(
            f"{file} must be {what} of at most {LARGEST_BYTES >> 20} MiB, got {size >> 20} MiB."
        )
    try:
        text = file.read_bytes().decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} must be {what}: it is not plain text.") from error
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > _LONGEST_LINE:
            raise FormatError(f"{file}, line {number}: must be a line of {what}, got {len(line)} characters.")
        if words := line.split():
            lines.append((number, words))
    if not lines:
        raise FormatError(f"{file} must be {what}: it is empty.")
    return file, lines


def numbers(file: Path, line: int, words: list[str], n: int, what: str) -> list[float]:
    """The first `n` words as finite numbers; there must be no others.

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
    return np.array([numbers(file, line, words, n, columns) for line, words in lines])
