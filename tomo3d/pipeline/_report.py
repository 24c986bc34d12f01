"""The record of a run, as its report shows it, and the report itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomo3d.pipeline._bind import BoundStep
from tomo3d.pipeline._identity import Identity
from tomo3d.pipeline._json import fingerprint
from tomo3d.pipeline._kinds import kind_of
from tomo3d.pipeline._results import Results
from tomo3d.pipeline._store import checksum, now, read_provenance, write_provenance

if TYPE_CHECKING:
    from tomo3d.report import RunRecord, StepRecord

REPORT = "report.html"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a step took; nan and None where that is not known."""

    seconds: float
    peak_bytes: int | None


def kept_record(step: BoundStep, identity: Identity, results: Results, *, folder: Path) -> StepRecord:
    """Record of a step whose result an earlier run made."""
    first = next(iter(step.outputs.values()), step.id)
    known = read_provenance(folder / first) or {}
    cost = Cost(known.get("seconds", math.nan), known.get("peak_memory_bytes"))
    return step_record(step, identity, results, cost, reused=True)


def step_record(
    step: BoundStep, identity: Identity, results: Results, cost: Cost, *, reused: bool
) -> StepRecord:
    """Record of a finished step."""
    from tomo3d.report import StepRecord

    inputs = {
        name: ", ".join(str(reference) for reference in references)
        for name in step.arguments
        if (references := step.references_of(name))
    }
    files = {name: str(step.arguments[name]) for name in identity.inputs if name not in inputs}
    parameters = {name: step.arguments[name] for name in identity.parameters}
    return StepRecord(
        id=step.id,
        run=step.run,
        parameters=files | parameters,
        inputs=inputs,
        result=_shown(results, step),
        seconds=cost.seconds,
        peak_bytes=cost.peak_bytes,
        reused=reused,
        outputs=tuple(step.outputs.values()),
    )


def _shown(results: Results, step: BoundStep) -> Any:
    """The result of a step for the report: by field where it has several."""
    from tomo3d.report import StoredPicture

    if kind_of(step.result) == "Figure":
        file = results.folder / step.outputs[""]
        return StoredPicture(
            file.read_bytes(), file.suffix, (step.function.__doc__ or step.run).split("\n")[0]
        )
    if not step.outputs:
        return results.computed(step) if step.is_source or results.is_held(step) else None
    whole = results.whole(step)
    if "" in step.outputs or isinstance(whole, Mapping):
        return whole
    return {field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)}


def report_in_the_way(folder: Path) -> str:
    """Why an existing report may not be replaced; "" where it is one of ours, as it was written, or none."""
    path = folder / REPORT
    if not path.exists():
        return ""
    known = read_provenance(path)
    if known is None:
        return f"{path} exists and was not made by a recipe"
    if known.get("finished") is not None and known.get("sha256") != checksum(path):
        return f"{path} was changed after it was made"
    return ""


def write_report(
    record: RunRecord, folder: Path, facts: Mapping[str, Any], identities: Mapping[str, Identity]
) -> None:
    """Write the report with its provenance; that it may be written was checked before the run."""
    from tomo3d import report

    path = folder / REPORT
    steps = {step: identity.fingerprint for step, identity in identities.items()}
    provenance = {**facts, "output": REPORT, "inputs": steps, "fingerprint": fingerprint(steps)}
    write_provenance(path, {**provenance, "finished": None})
    report.write(record, path, overwrite=True)
    written = {"bytes": path.stat().st_size, "sha256": checksum(path), "finished": now()}
    write_provenance(path, {**provenance, **written})
