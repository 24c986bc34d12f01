"""Progress of long work, through one callback that a program above may set.

Algorithms call `report` (or iterate over `track`); they neither print nor know
who listens. The command line sets a callback that draws a bar. Below the level
of stages, beside `geometry`, so that every function can report.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Callback = Callable[[str, int, int], None]  # (what, n_done, n_total)

_listener: ContextVar[Callback | None] = ContextVar("tomo3d_progress", default=None)


def report(what: str, n_done: int, n_total: int) -> None:
    """Tell whoever listens that `n_done` of `n_total` steps of `what` are done."""
    callback = _listener.get()
    if callback is not None:
        callback(what, n_done, n_total)


def track(items: Iterable[Item], what: str, n_total: int) -> Iterator[Item]:
    """Iterate over `items`, reporting after each."""
    report(what, 0, n_total)
    for n_done, item in enumerate(items, start=1):
        yield item
        report(what, n_done, n_total)


@contextmanager
def listening(callback: Callback) -> Iterator[None]:
    """Within this context, `callback(what, n_done, n_total)` hears of all progress."""
    token = _listener.set(callback)
    try:
        yield
    finally:
        _listener.reset(token)
