"""Readers on damaged files: an hour for all of them; by reader: python -m benchmarks.fuzz_io."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from benchmarks import fuzz_io, fuzz_readers
from benchmarks.cases import Target, Targets


class Fuzz:
    """Every reader of `benchmarks.fuzz_readers`, for so long each."""

    params, param_names = ([0.1, 120.0],), ("seconds_each",)
    targets: ClassVar[Targets] = {"track_crashes": Target(at_most=0.0)}
    _seen: ClassVar[dict[float, list[fuzz_io.Outcome]]] = {}

    def setup(self, seconds_each: float) -> None:
        if seconds_each not in self._seen:
            with tempfile.TemporaryDirectory() as corpus:
                found = fuzz_io.fuzz_apart(list(fuzz_readers.READERS), seconds_each, Path(corpus))
                self._seen[seconds_each] = [outcome for _, outcome in found]

    def track_crashes(self, seconds_each: float) -> int:
        return sum(outcome.n_crashes for outcome in self._seen[seconds_each])

    def track_executions(self, seconds_each: float) -> int:
        return sum(outcome.n_executions for outcome in self._seen[seconds_each])

    def track_seconds(self, seconds_each: float) -> float:
        return sum(outcome.seconds for outcome in self._seen[seconds_each])
