"""Elementwise work on large arrays, a piece that fits the cache at a time, on all cores."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from tomo3d.compute import backend

Array = Any
Result = TypeVar("Result")
_PIECE_BYTES = 1 << 18  # a few arrays of it stay in a core's L2
_WORTH_THREADS = 24 << 20  # bytes; to start threads, while those of a kernel still spin, takes a millisecond
_DEVICE_PIECE_BYTES = 1 << 26  # fills a GPU, and bounds what the pieces take besides the arrays


def in_pieces(function: Callable[[slice], Result], array: Array) -> list[Result]:
    """function(piece) for slices `piece` of the first axis of `array`, which cover it; the results in order.

    What is done to one piece is done while it is in the cache, so that a chain of NumPy calls reads the memory
    once. The pieces do not depend on the number of threads, and neither do sums over them.
    """
    on_cpu = backend.namespace(array) is np
    n_rows = max(
        1, (_PIECE_BYTES if on_cpu else _DEVICE_PIECE_BYTES) // max(1, 4 * math.prod(array.shape[1:]))
    )
    pieces = [slice(first, min(first + n_rows, len(array))) for first in range(0, len(array), n_rows)]
    n_threads = min(backend.n_threads() if on_cpu else 1, len(pieces))
    if n_threads < 2 or array.nbytes < _WORTH_THREADS:
        return [function(piece) for piece in pieces]
    shares = [
        pieces[len(pieces) * i // n_threads : len(pieces) * (i + 1) // n_threads] for i in range(n_threads)
    ]
    with ThreadPoolExecutor(n_threads) as pool:
        done = pool.map(lambda share: [function(piece) for piece in share], shares)
        return [result for share in done for result in share]


def power(array: Array) -> float:
    """Sum of squares."""
    xp = backend.namespace(array)
    return math.fsum(in_pieces(lambda piece: float(xp.vdot(array[piece], array[piece])), array))
