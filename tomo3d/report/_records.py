"""What a report is made from: a run and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

Kind = TypeVar("Kind")


@dataclass(frozen=True, eq=False)
class StoredPicture:
    """A figure that a step drew, as the file that it wrote.

    Parameters
    ----------
    data : bytes
        Of the file.
    suffix : str
        Of its name, as ".png".
    caption : str
        What it shows, in one sentence.
    """

    data: bytes
    suffix: str
    caption: str


@dataclass(frozen=True, eq=False)
class StepRecord:
    """One step of a run: what was called with what, and what came out.

    Parameters
    ----------
    id : str
        Name of the step in its run.
    run : str
        What was called, as "reconstruct.wbp".
    parameters : mapping of str to any
        All of them, defaults too.
    inputs : mapping of str to str
        Argument -> id of the step whose result it took.
    result : any
        The typed object, or a mapping of field to object.
    seconds : float
        Time of the computation; nan where it is not known.
    peak_bytes : int or None
        Peak memory; None where it was not measured.
    reused : bool
        True if an earlier run's result was taken.
    outputs : tuple of str
        Names of the files written.
    """

    id: str
    run: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    result: Any
    seconds: float
    peak_bytes: int | None = None
    reused: bool = False
    outputs: tuple[str, ...] = ()

    def results(self, kind: type[Kind]) -> list[Kind]:
        """The objects of one type among the results, in order."""
        return [value for _, value in self.fields() if isinstance(value, kind)]

    def fields(self) -> list[tuple[str, Any]]:
        """(name of the field, object); the name is empty where the step returned one object."""
        if isinstance(self.result, Mapping):
            return [(str(name), value) for name, value in self.result.items()]
        return [("", self.result)]


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A whole run.

    Parameters
    ----------
    title : str
    command : str
        As typed.
    recipe_text : str
        The recipe, word for word; empty where there was none.
    steps : sequence of StepRecord
        In the order in which they ran.
    versions, machine : mapping of str to str
        Of software, and of what it ran on.
    started : datetime
    notes : tuple of str
        Sentences that the reader must see, as warnings of the run.
    """

    title: str
    command: str
    recipe_text: str
    steps: Sequence[StepRecord]
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    started: datetime
    notes: tuple[str, ...] = field(default=())
