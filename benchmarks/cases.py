"""Find the cases of every `bench_SUBJECT.py`, and measure them.

The names are those of asv, which is not needed: a class with `params`,
`param_names`, `setup`, `teardown`, and methods `time_*` (wall time), `track_*` (the number
that is returned) and `peakmem_*` (peak memory of a process that does nothing else).
`setup`, or a method that is called once, raises NotImplementedError for a case that cannot run
here. Beyond asv, `targets` says what a
method's number should be: one Target, or one for each tuple of parameters that has one.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import multiprocessing
import resource
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from benchmarks.timing import median_seconds

FOLDER = Path(__file__).parent
_KINDS = ("time_", "track_", "peakmem_")


@dataclass(frozen=True)
class Case:
    """One method of one class, with one value for each parameter."""

    subject: str
    owner: type
    method: str
    parameters: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Class and method, as in "Thickness.time_local_thickness_voxel"."""
        return f"{self.owner.__name__}.{self.method}"

    @property
    def sizes(self) -> str:
        """The parameters, as "edge_voxels=128, program=scipy"."""
        names = getattr(self.owner, "param_names", ())
        return ", ".join(f"{name}={value}" for name, value in zip(names, self.parameters, strict=True))

    @property
    def target(self) -> Target | None:
        """What the number should be, where the class says so: for all parameters, or for these."""
        target = getattr(self.owner, "targets", {}).get(self.method)
        return target.get(self.parameters) if isinstance(target, Mapping) else target


@dataclass(frozen=True)
class Target:
    """A bound that a number should keep: `at_most`, or `at_least`."""

    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, value: float) -> bool:
        """Whether a value keeps the bound; nan does not."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{word} {bound:.3g}" for word, bound in bounds if bound is not None)


Targets: TypeAlias = Mapping[str, Target | Mapping[tuple[Any, ...], Target]]


@dataclass(frozen=True)
class Result:
    """What came of a case: a number with its unit, or the reason why there is none."""

    case: Case
    value: float | None
    unit: str = ""
    n_runs: int = 1
    reason: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"skipped: {self.reason}"
        runs = f" (median of {self.n_runs})" if self.n_runs > 1 else ""
        return f"{self.value:.3g}{self.unit and ' '}{self.unit}{runs}"

    @property
    def verdict(self) -> str:
        """The target and whether it was met; empty without one."""
        target = self.case.target
        if target is None or self.value is None:
            return "" if target is None else str(target)
        return f"{target}: {'met' if target.is_met(self.value) else 'MISSED'}"


def subjects() -> list[str]:
    """Subjects that have a `bench_SUBJECT.py`, in alphabetical order."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def cases(subject: str, *, smallest: bool = False) -> list[Case]:
    """Every case of a subject; with `smallest`, only the least value of each parameter that is a number."""
    found = []
    for owner in _classes(importlib.import_module(f"benchmarks.bench_{subject}")):
        axes = [list(axis) for axis in getattr(owner, "params", ())]
        if smallest:
            axes = [
                [min(axis)] if all(isinstance(value, (int, float)) for value in axis) else axis
                for axis in axes
            ]
        methods = [name for name in dir(owner) if name.startswith(_KINDS)]
        found += [
            Case(subject, owner, method, parameters)
            for parameters in itertools.product(*axes)
            for method in sorted(methods, key=_source_line(owner))
        ]
    return found


def measure(case: Case) -> Result:
    """Set a case up, run it, and take it down."""
    if case.method.startswith("peakmem_"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_measure_here, case).result()
    return _measure_here(case)


def _measure_here(case: Case) -> Result:
    instance = case.owner()
    try:
        getattr(instance, "setup", _nothing)(*case.parameters)
    except NotImplementedError as reason:
        return Result(case, None, reason=str(reason))
    try:
        method = getattr(instance, case.method)
        if case.method.startswith("time_"):
            value, n_runs = median_seconds(lambda: method(*case.parameters))
            return Result(case, value, "s", n_runs)
        try:
            number = method(*case.parameters)
        except NotImplementedError as reason:
            return Result(case, None, reason=str(reason))
        if case.method.startswith("peakmem_"):
            return Result(case, peak_memory() / 2**20, "MiB")
        return Result(case, float(number))
    finally:
        getattr(instance, "teardown", _nothing)(*case.parameters)


def peak_memory() -> int:
    """Bytes that this process held at its peak."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts the parent's peak too: it survives the exec of a child
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _classes(module: ModuleType) -> list[type]:
    """The classes of a module that have something to measure, as they stand in the file."""
    return [
        owner
        for name, owner in vars(module).items()
        if inspect.isclass(owner)
        and owner.__module__ == module.__name__
        and not name.startswith("_")
        and any(method.startswith(_KINDS) for method in dir(owner))
    ]


def _source_line(owner: type) -> Any:
    """Key that sorts methods as they stand in the file."""
    return lambda name: inspect.getsourcelines(inspect.unwrap(getattr(owner, name)))[1]


def _nothing(*_: object) -> None:
    pass
