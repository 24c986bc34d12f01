"""Running a recipe: what is kept is reused, what is missing or changed is computed, all of it is on record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomo3d.memory import bytes_text
from tomo3d.pipeline._bind import BoundRecipe, BoundStep, Named, plan
from tomo3d.pipeline._device import described, device_of
from tomo3d.pipeline._folder import check_folder, working_folder
from tomo3d.pipeline._identity import Identity, examine, foreign, identify, with_checksums
from tomo3d.pipeline._machine import PeakMemory, machine, versions
from tomo3d.pipeline._memory import check_memory, sketch
from tomo3d.pipeline._recipe import Recipe
from tomo3d.pipeline._report import Cost, kept_record, report_in_the_way, step_record, write_report
from tomo3d.pipeline._results import Results, keep
from tomo3d.pipeline._store import checksum, now, write_provenance
from tomo3d.pipeline._stream import stream_of

if TYPE_CHECKING:
    from tomo3d.report import RunRecord, StepRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """What all steps of a run share."""

    bound: BoundRecipe
    identities: Mapping[str, Identity]
    results: Results
    folder: Path
    facts: Mapping[str, Any]  # of the run, for every provenance
    overwrite: bool
    device: str
    unwritten: list[tuple[Path, dict[str, Any]]] = field(
        default_factory=list
    )  # provenance of steps without files

    def flush(self) -> None:
        """Write the provenance of steps without files: as late as the first result, so that a run
        that comes to none leaves nothing."""
        while self.unwritten:
            write_provenance(*self.unwritten.pop(0))


def run(
    recipe: Recipe,
    folder: str | Path,
    *,
    overwrite: bool = False,
    device: str = "cpu",
    command: str = "tomo3d.pipeline.run",
) -> RunRecord:
    """Run a recipe; results, their provenance and a report go into a folder.

    Parameters
    ----------
    recipe : Recipe
        As `load` reads it.
    folder : path
        Where results go, as ID.EXT or, for a result with several fields, ID.FIELD.EXT. Made if it does
        not exist. A step whose result is there already, with the same function, parameters, inputs and
        version, is not computed again.
    overwrite : bool
        True if outputs of other parameters or of other programs may be replaced.
    device : str
        Where to compute, cpu or gpu; steps that cannot use a GPU compute on the CPU. A kept result counts, whichever
        device made it.
    command : str
        What was typed, for the record.

    Returns
    -------
    tomo3d.report.RunRecord
        What was done; the report.html in the folder shows it.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        As `plan`; no data have been read then and nothing was written.
    FileExistsError
        If an output exists that is not the one to be made, and `overwrite` is false.
    MemoryError
        If a step surely needs more memory than there is.
    """
    from tomo3d.report import RunRecord

    folder = Path(folder)
    started = datetime.now(UTC).astimezone()
    bound = plan(recipe)
    check_folder(folder)
    if not overwrite:
        _refuse([reason for step in bound.steps if (reason := foreign(step, folder))])
        _refuse([report_in_the_way(folder)])
    sketches = sketch(bound)
    identities = identify(bound)
    reusable = _reusable(bound, identities, folder, overwrite)
    notes = check_memory(made for made in sketches if made.id not in reusable)
    for note in notes:
        _log.warning(note)
    facts: dict[str, Any] = {
        "command": command,
        "recipe": {"file": str(recipe.path.absolute()), "sha256": checksum(recipe.path)},
        "versions": versions(),
        "machine": machine(),
    }
    results = Results(bound.steps, folder, device=device)
    this = _Run(bound, identities, results, folder, facts, overwrite, device)
    with working_folder(folder):
        records = _run_steps(this, reusable)
        this.flush()
        record = RunRecord(
            title=recipe.title,
            command=command,
            recipe_text=recipe.text,
            steps=tuple(records),
            versions=facts["versions"],
            machine=facts["machine"],
            started=started,
            notes=tuple(notes),
        )
        write_report(record, folder, facts, identities)
    return record


def _refuse(reasons: Sequence[str]) -> None:
    reasons = [reason for reason in reasons if reason]
    if reasons:
        others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise FileExistsError(
            f"{reasons[0]}{others}: allow overwriting (--overwrite) to replace it, or choose another folder."
        )


def _reusable(
    bound: BoundRecipe, identities: Mapping[str, Identity], folder: Path, overwrite: bool
) -> set[str]:
    """Ids of the steps whose kept results hold; refuses what is in the way, unless it may be overwritten."""
    reusable, reasons = set(), []
    for step in bound.steps:
        is_kept, reason = examine(step, identities[step.id], folder)
        if is_kept:
            reusable.add(step.id)
        reasons.append(reason)
    if not overwrite:
        _refuse(reasons)
    return reusable


def _run_steps(this: _Run, reusable: set[str]) -> list[StepRecord]:
    steps = this.bound.steps
    records = []
    for number, step in enumerate(steps, start=1):
        name = f"step {number} of {len(steps)}: {step.id} ({step.run})"
        with Named(step):
            if step.id in reusable or not (
                step.outputs or step.is_source or _is_needed(step, steps, reusable)
            ):
                _log.info("%s: kept from an earlier run", name)
                records.append(kept_record(step, this.identities[step.id], this.results, folder=this.folder))
            else:
                _log.info("%s", name)
                records.append(_compute(this, step))
        later = [other for other in steps[number:] if other.id not in reusable]
        this.results.release(reference.step for other in later for reference in other.references)
    return records


def _is_needed(step: BoundStep, steps: Sequence[BoundStep], reusable: set[str]) -> bool:
    """Whether a step without files must be computed: a step that takes it is, or there is none that takes it."""
    takers = [other for other in steps if step.id in {reference.step for reference in other.references}]
    if not takers:
        return True
    return any(
        other.id not in reusable and (bool(other.outputs) or _is_needed(other, steps, reusable))
        for other in takers
    )


def _compute(this: _Run, step: BoundStep) -> StepRecord:
    started = time.perf_counter()
    paths = {field: this.folder / name for field, name in step.outputs.items()}
    with PeakMemory() as memory, stream_of(step, paths, overwrite=this.overwrite) as stream:
        value = this.results.call(step, stream)
        seconds = time.perf_counter() - started
        provenance = {
            **this.facts,
            "step": step.id,
            "run": step.run,
            "parameters": this.identities[step.id].parameters,
            "inputs": with_checksums(this.identities[step.id].inputs, this.folder),
            "fingerprint": this.identities[step.id].fingerprint,
            "device": described(device_of(step.run, this.device)),
            "seconds": seconds,
        }
        if step.outputs:
            this.flush()
            keep(value, paths, provenance, memory, overwrite=this.overwrite, stream=stream)
    if not step.outputs:
        this.results.hold(step, value)
        finished = {"finished": now(), "peak_memory_bytes": memory.peak_bytes}
        this.unwritten.append((this.folder / step.id, {"output": "", **provenance, **finished}))
    else:
        del value
    _log.info("%s: %.1f s, %s of memory", step.id, seconds, bytes_text(memory.peak_bytes))
    cost = Cost(seconds, memory.peak_bytes)
    return step_record(step, this.identities[step.id], this.results, cost, reused=False)
