"""A recipe as it is written: a TOML list of steps."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomo3d.pipeline._catalogue import did_you_mean

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TOP_LEVEL = ("title", "step")


@dataclass(frozen=True)
class Step:
    """One `[[step]]`: its id, the function that it runs, the rest of its table, and the format of its results."""

    id: str
    run: str
    values: Mapping[str, Any]
    ending: str = ""  # of the files of its results, as ".zarr"; "" for the usual ones


@dataclass(frozen=True)
class Recipe:
    """A list of steps; relative paths in it start at the folder of `path`."""

    title: str
    steps: tuple[Step, ...]
    path: Path
    text: str


def load(path: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path : str or Path
        TOML file: an optional `title`, and one `[[step]]` for each function to run.

    Returns
    -------
    Recipe
        As written; `plan` checks it against the functions.

    Raises
    ------
    ValueError
        If the file is not valid TOML, names a key that recipes do not have, or an id is
        missing, repeated or not a plain file name.
    TypeError
        If a key holds the wrong kind of value.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
        content = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ValueError(f"a recipe must be a TOML text in UTF-8, got something else in {path}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from None
    for key in content:
        if key not in _TOP_LEVEL:
            raise ValueError(f"{path}: a recipe has no key {key!r}{did_you_mean(key, _TOP_LEVEL)}")
    title = content.get("title", path.stem)
    if not isinstance(title, str):
        raise TypeError(f"{path}: title must be text, got {title!r}.")
    tables = content.get("step", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TypeError(f"{path}: steps must be written as [[step]], in double brackets.")
    if not tables:
        raise ValueError(f"{path}: a recipe must have at least one [[step]], got none.")
    steps = tuple(_step(table, number, path) for number, table in enumerate(tables, start=1))
    _check_ids(steps, path)
    return Recipe(title, steps, path, text)


def _step(table: Mapping[str, Any], number: int, path: Path) -> Step:
    values = dict(table)
    if "run" not in values:
        raise ValueError(f'{path}: step {number} must say what it runs, as run = "stage.function".')
    run = values.pop("run")
    if not isinstance(run, str) or run.count(".") != 1:
        raise ValueError(f'{path}: step {number}: run must be written as "stage.function", got {run!r}.')
    identity = values.pop("id", run.partition(".")[2])
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise ValueError(
            f"{path}: step {number}: id must be a plain file name (letters, digits, '-' and '_', "
            f"a letter or digit first), got {identity!r}."
        )
    kind = values.pop("format", "")
    if not isinstance(kind, str):
        raise TypeError(f'{path}: step {number}: format must be text, as "zarr", got {kind!r}.')
    return Step(identity, run, values, f".{kind.lower().removeprefix('.')}" if kind else "")


def _check_ids(steps: tuple[Step, ...], path: Path) -> None:
    seen: dict[str, int] = {}
    for number, step in enumerate(steps, start=1):
        key = step.id.casefold()  # on many disks Mask.mrc and mask.mrc are one file
        if key in seen:
            raise ValueError(
                f"{path}: the id {step.id!r} must name one step, got it for steps {seen[key]} and {number}; "
                f"give one of them another id."
            )
        seen[key] = number
