"""What a recipe will make and how much memory it needs: shapes follow from file headers, before data are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tomo3d.memory import available_memory, bytes_text
from tomo3d.pipeline._bind import BoundRecipe, BoundStep, Named, Reference
from tomo3d.pipeline._kinds import kind_of
from tomo3d.planning import Plan, Sketch, plan_of

_GRIDS = ("TiltSeries", "Volume", "Labels")


@dataclass(frozen=True)
class StepSketch:
    """What a step makes, by field, and the memory that it needs; None where that is not known beforehand.

    `is_estimate` is true where the function has no plan and its largest input was taken instead.
    """

    id: str
    run: str
    results: Mapping[str, Sketch]
    peak_bytes: int | None
    is_estimate: bool


def sketch(bound: BoundRecipe) -> tuple[StepSketch, ...]:
    """Shapes of all results and the memory that each step needs, from headers alone.

    Parameters
    ----------
    bound : BoundRecipe
        As `plan` makes it.

    Returns
    -------
    tuple of StepSketch
        One per step.

    Raises
    ------
    ValueError
        If a function's plan refuses its parameters.
    """
    known: dict[str, Mapping[str, Sketch]] = {}
    sketches = []
    for step in bound.steps:
        made = _sketch_step(step, known)
        known[step.id] = made.results
        sketches.append(made)
    return tuple(sketches)


def check_memory(sketches: Iterable[StepSketch]) -> list[str]:
    """Sentences about steps that may not fit in memory, as far as only an estimate says so.

    Raises
    ------
    MemoryError
        If a step surely needs more memory than there is.
    """
    available = available_memory()
    doubts = []
    for step in sketches:
        if step.peak_bytes is None or step.peak_bytes <= available:
            continue
        sentence = (
            f"step {step.id!r}: {step.run} needs about {bytes_text(step.peak_bytes)} of memory, "
            f"and {bytes_text(available)} are available"
        )
        if not step.is_estimate:
            raise MemoryError(f"{sentence}; bin or crop the data, or use a larger machine.")
        doubts.append(f"{sentence} (estimated from the size of its input).")
    return doubts


def _sketch_step(step: BoundStep, known: Mapping[str, Mapping[str, Sketch]]) -> StepSketch:
    inputs = [known[reference.step].get(reference.field) for reference in step.references]
    function_plan = plan_of(step.function)
    complete = all(made is not None for made in inputs)
    if function_plan is not None and complete:
        positional, keywords = step.call_arguments(lambda reference: _sketch_of(reference, known))
        if step.is_streamed:  # the result takes no memory
            keywords["out"] = step.ending
        with Named(step):
            made = function_plan(*positional, **keywords)
        return StepSketch(step.id, step.run, _by_field(made, step), made.peak_bytes, False)
    return _estimate(step, [made for made in inputs if made is not None], complete)


def _sketch_of(reference: Reference, known: Mapping[str, Mapping[str, Sketch]]) -> Sketch:
    return known[reference.step][reference.field]


def _by_field(made: Plan, step: BoundStep) -> Mapping[str, Sketch]:
    if isinstance(made.result, Sketch):
        return {"": made.result}
    whole = Sketch(getattr(step.result, "__name__", "result"))
    return {"": whole, **made.result}


def _estimate(step: BoundStep, inputs: list[Sketch], complete: bool) -> StepSketch:
    """Without a plan, a step is taken to make and to need as much as its largest input."""
    largest = max(inputs, key=lambda made: made.n_bytes, default=None)
    results = {}
    for name, cls in step.fields.items():
        kind = kind_of(cls)
        if kind not in _GRIDS:
            results[name] = Sketch(getattr(cls, "__name__", str(cls)))
        elif complete and largest is not None and largest.shape:
            dtype = "uint8" if kind == "Labels" else largest.dtype
            results[name] = Sketch(kind, largest.shape, dtype, largest.pixel_size_nm)
    peak = largest.n_bytes if largest is not None and complete else None
    return StepSketch(step.id, step.run, results, peak, True)


def sketch_text(made: Any) -> str:
    """A sketch for people: TiltSeries 77 x 256 x 256 float32, 19 MiB."""
    if made is None:
        return "size not known before it runs"
    if not made.shape:
        return str(made.kind)
    shape = " x ".join(str(n) for n in made.shape)
    return f"{made.kind} {shape} {made.dtype}, {bytes_text(made.n_bytes)}"
