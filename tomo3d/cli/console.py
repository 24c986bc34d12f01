"""What the user sees: sentences, tables and progress, on a terminal or in a log file."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tomo3d import progress

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_WIDTH = 160  # of what goes into a file or a pipe
_QUIET_S = 1.0  # shorter work shows no bar
_LOG_EVERY_S = 30.0  # in a log file, a line of progress at most this often


def out() -> Console:
    """Standard output, as rich draws on it."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


def say(sentence: str) -> None:
    """One line on standard error."""
    print(f"tomo3d: {sentence}", file=sys.stderr, flush=True)


def typed_command() -> str:
    """The command as it was typed, for the record."""
    return shlex.join(["tomo3d", *sys.argv[1:]])


def print_table(table: pd.DataFrame, title: str = "") -> None:
    """A table on standard output: aligned columns, numbers with five significant digits."""
    from rich import box
    from rich.table import Table

    drawn = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name in table.columns:
        is_number = getattr(table[name].dtype, "kind", "O") in "fiu"
        drawn.add_column(str(name), justify="right" if is_number else "left", overflow="fold")
    for row in table.itertuples(index=False):
        drawn.add_row(*(_cell(value) for value in row))
    out().print(drawn)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.5g}"
    return str(value)


class _Messages(logging.Handler):
    """Log records as sentences on standard error, warnings marked as such."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(f"{mark}{record.getMessage()}")


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Within this context, logs and progress of the library are shown on standard error."""
    logger = logging.getLogger("tomo3d")
    handler = _Messages(level=logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    listener = _Bars() if sys.stderr.isatty() else _Lines()
    try:
        with listener, progress.listening(listener):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Lines:
    """Progress in a log file: a line now and then, only while work takes long."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, what: str, n_done: int, n_total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _LOG_EVERY_S:
            self._said = now
            say(f"{what}: {n_done} of {n_total}")


class _Bars:
    """Progress on a terminal: one bar for each thing under way, gone when it is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._drawn = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> None:
        self._drawn.start()

    def __exit__(self, *_: object) -> None:
        self._drawn.stop()

    def __call__(self, what: str, n_done: int, n_total: int) -> None:
        now = time.monotonic()
        begun = self._begun.setdefault(what, now)
        if n_done >= n_total:
            self._begun.pop(what)
            if what in self._tasks:
                self._drawn.remove_task(self._tasks.pop(what))
        elif what in self._tasks:
            self._drawn.update(self._tasks[what], completed=n_done, total=n_total)
        elif now - begun >= _QUIET_S:
            self._tasks[what] = self._drawn.add_task(what, completed=n_done, total=n_total)
