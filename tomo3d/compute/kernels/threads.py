"""How many threads a kernel is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba

_WORTH_THREADS = 3e7  # updates: some milliseconds. Threads that other work keeps from running cost more


@contextmanager
def threads_for(n_updates: float) -> Iterator[None]:
    """Within it, kernels that do so many updates at a time run on one thread where more would wait for each other."""
    before = numba.get_num_threads()
    try:
        if n_updates < _WORTH_THREADS:
            numba.set_num_threads(1)
        yield
    finally:
        numba.set_num_threads(before)
