"""STAR files, of RELION and Warp: blocks of single values and of tables, as texts.

starfile reads them too, but turns every apostrophe into a quotation mark, has no bound on what it reads, and brings
pyarrow; here a row that does not fit its columns is refused with its line.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._side_text import Lines, number_of, text_lines

_WHAT = "a STAR file"
_LONGEST_LINE = 1 << 16
_LARGEST_BYTES = 4 << 20  # as texts it takes fifty times as much
_WORD = re.compile(r"""'[^']*'(?!\S)|"[^"]*"(?!\S)|#.*|\S+""")


@dataclass(frozen=True, eq=False)
class StarTable:
    """One block: its columns in order, each a list of texts; a block of single values has one row."""

    file: Path
    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))

    def texts(self, column: str) -> list[str]:
        """A column, or the sentence that it is missing."""
        if column not in self.columns:
            raise FormatError(
                f"{self.file}, block data_{self.name}: must have the column {column}, got {list(self.columns)[:20]}."
            )
        return self.columns[column]

    def numbers(self, column: str, default: float | None = None) -> np.ndarray:
        """A column of finite numbers, shape (n_rows,); the default in every row where there is no such column."""
        if default is not None and column not in self.columns:
            return np.full(self.n_rows, default)
        values = np.full(self.n_rows, np.nan)
        for row, text in enumerate(self.texts(column)):
            values[row] = number_of(text)
            if not np.isfinite(values[row]):
                raise FormatError(
                    f"{self.file}, block data_{self.name}: {column} must hold finite numbers, got {text[:40]!r} in row "
                    f"{row} (0-based)."
                )
        return values

    def known_numbers(self, column: str) -> np.ndarray:
        """A column of numbers of which some may not be known, shape (n_rows,): nan where it says None or nan."""
        values = np.array([number_of(text) for text in self.texts(column)], dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def read_star(path: str | os.PathLike[str]) -> dict[str, StarTable]:
    """Blocks of a STAR file by name, without "data_".

    Raises
    ------
    FormatError
        If it is no such file, a block or column is there twice, or a row does not fit its columns.
    """
    file, lines = text_lines(
        path, _WHAT, encodings=("utf-8", "latin-1"), longest=_LONGEST_LINE, largest=_LARGEST_BYTES
    )
    blocks: dict[str, StarTable] = {}
    at = 0
    while at < len(lines):
        number, line = lines[at]
        if line.startswith("#"):
            at += 1
            continue
        if not line.startswith("data_"):
            raise FormatError(
                f"{file}, line {number}: must be {_WHAT}, whose blocks begin with data_, got {line[:60]!r}."
            )
        name = line[5:].split("#")[0].strip()
        if name in blocks:
            raise FormatError(f"{file}, line {number}: block data_{name} is there twice.")
        blocks[name] = StarTable(file, name)
        at = _fill(blocks[name], lines, at + 1)
    if not blocks:
        raise FormatError(f"{file} must be {_WHAT}, with a block data_, got none.")
    return blocks


def _fill(table: StarTable, lines: Lines, at: int) -> int:
    """Put the lines of a block into its table; the first line of the next block."""
    in_loop = False
    n_rows = 0
    while at < len(lines) and not lines[at][1].startswith("data_"):
        number, line = lines[at]
        at += 1
        words = [word for word in _WORD.findall(line) if not word.startswith("#")]
        if not words:
            continue
        if words[0] == "loop_":
            if in_loop or table.columns:
                raise FormatError(
                    f"{table.file}, line {number}: a block must hold one table, got another loop_."
                )
            in_loop = True
        elif words[0].startswith("_") and not n_rows:
            if words[0][1:] in table.columns:
                raise FormatError(
                    f"{table.file}, line {number}: {words[0]} is there twice in data_{table.name}."
                )
            if not in_loop and len(words) != 2:
                raise FormatError(
                    f"{table.file}, line {number}: must be a name and its value, got {line[:60]!r}."
                )
            table.columns[words[0][1:]] = [] if in_loop else [_unquoted(words[1])]
        elif not in_loop or len(words) != len(table.columns):
            raise FormatError(
                f"{table.file}, line {number}: must hold {len(table.columns) if in_loop else 0} values as columns of "
                f"data_{table.name}, got {len(words)}."
            )
        else:
            n_rows += 1
            for column, word in zip(table.columns.values(), words, strict=True):
                column.append(_unquoted(word))
    return at


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] in "'\"" and word[0] == word[-1] else word


def star_text(blocks: dict[str, dict[str, list[str]]]) -> str:
    """STAR text of tables by name: columns of texts, each with as many rows."""
    parts = []
    for name, columns in blocks.items():
        parts.append(f"\n# version 50001\n\ndata_{name}\n\nloop_\n")
        parts += [f"_{column} #{i}\n" for i, column in enumerate(columns, start=1)]
        parts += [" ".join(map(_quoted, row)) + "\n" for row in zip(*columns.values(), strict=True)]
    return "".join(parts)


def _quoted(text: str) -> str:
    if not text:
        return '""'
    if text[0] in "'\"_#" or re.search(r"\s", text) or text.startswith(("data_", "loop_")):
        mark = "'" if '"' in text else '"'
        return f"{mark}{text}{mark}"
    return text
