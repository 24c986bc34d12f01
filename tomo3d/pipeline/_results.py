"""Results of the steps of a run: kept as files and read back when a step needs them, or computed anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tomo3d.pipeline._bind import BoundStep, Reference, input_files
from tomo3d.pipeline._device import call_on, device_of
from tomo3d.pipeline._json import decode, encode
from tomo3d.pipeline._kinds import item_of, kind_of
from tomo3d.pipeline._machine import PeakMemory
from tomo3d.pipeline._store import (
    checksum,
    now,
    provenance_undone,
    read_provenance,
    read_result,
    size_of,
    state_of,
    with_provenance,
    write_provenance,
    write_result,
)
from tomo3d.pipeline._stream import ZarrStream


class Results:
    """Values of finished steps.

    A stored result always comes back from its file, also within the run that made it, so that
    a run that went on after an interruption is the same as one that was never interrupted, and so that
    volumes and series are memory maps. What has no file (a specimen, a series that was only read) is
    computed when it is needed. Both are held until no later step needs them.
    """

    def __init__(self, steps: Iterable[BoundStep], folder: Path, *, device: str = "cpu") -> None:
        self._steps: Mapping[str, BoundStep] = {step.id: step for step in steps}
        self._folder, self._device = folder, device
        self._held: dict[str, Any] = {}

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self._folder

    def value(self, reference: Reference) -> Any:
        """The result that a reference names."""
        step = self._steps[reference.step]
        if not step.outputs:
            whole = self.computed(step)
            return getattr(whole, reference.field) if reference.field else whole
        if reference.field in step.outputs:
            key = f"{reference}"
            if key not in self._held:
                self._held[key] = self._stored(step, reference.field)
            return self._held[key]
        if reference.field:
            return self._plain(step)[reference.field]
        return self.whole(step)

    def whole(self, step: BoundStep) -> Any:
        """The whole result of a finished step that is stored; None for a picture or movie, which have no way back."""
        if "" in step.outputs:
            return None if kind_of(step.result) in ("Figure", "Movie") else self.value(Reference(step.id))
        stored = {name: self.value(Reference(step.id, name)) for name in step.outputs}
        return stored if item_of(step.result) else step.result(**stored, **self._plain(step))

    def computed(self, step: BoundStep) -> Any:
        """The result of a step without files."""
        if step.id not in self._held:
            self._held[step.id] = self.call(step)
        return self._held[step.id]

    def call(self, step: BoundStep, stream: ZarrStream | None = None) -> Any:
        """Run the function of a step, which writes to the stream where there is one."""
        positional, keywords = step.call_arguments(self.value)
        if stream is not None:
            keywords["out"] = stream.open(step.function, positional, keywords)
        value = call_on(device_of(step.run, self._device), step.function, positional, keywords)
        if step.is_source:  # what an earlier run knows of the file, unless the recipe says otherwise
            said = [name for name, option in keywords.items() if option is not None]
            for path in input_files(step).values():
                value = with_provenance(value, path, said)
        return value

    def hold(self, step: BoundStep, value: Any) -> None:
        """Keep a result without files until it is released."""
        self._held[step.id] = value

    def is_held(self, step: BoundStep) -> bool:
        """Whether the result of a step without files is in memory."""
        return step.id in self._held

    def release(self, needed: Iterable[str]) -> None:
        """Forget what is held of all steps but those in `needed`."""
        keep = set(needed)
        self._held = {key: value for key, value in self._held.items() if key.partition(".")[0] in keep}

    def _stored(self, step: BoundStep, field: str) -> Any:
        return read_result(step.fields[field], self._folder / step.outputs[field])

    def _plain(self, step: BoundStep) -> dict[str, Any]:
        known = read_provenance(self._folder / next(iter(step.outputs.values()))) or {}
        return {name: decode(value) for name, value in known.get("values", {}).items()}


def keep(
    value: Any,
    paths: Mapping[str, Path],
    provenance: Mapping[str, Any],
    memory: PeakMemory,
    *,
    overwrite: bool,
    stream: ZarrStream | None = None,
) -> Any:
    """Write a result into its files ("" for a whole result, else by field), each with its provenance beside.

    Until all of them are there, their provenance calls them unfinished, so that what an interruption
    leaves is known as ours. An output that cannot be written leaves no provenance behind, or the one it had. A volume
    that was written to the stream lies on the disk already, and is returned as it lies there.
    """
    stored, plain = _parts(value, paths)
    entries = {}
    for field, path in paths.items():
        replaces = overwrite or read_provenance(path) is not None
        entries[field] = {"output": path.name, **provenance, "values": plain, "finished": None}
        with provenance_undone(path):
            write_provenance(path, entries[field])
            if stream is not None and stream.holds(value):
                value = stored[field] = stream.finish(value)
                entries[field]["state"] = state_of(value)
            else:
                entries[field]["state"] = write_result(stored[field], path, overwrite=replaces)
    for field, path in paths.items():
        entries[field] |= {"bytes": size_of(path), "sha256": checksum(path)}
    for field, path in paths.items():
        entries[field] |= {"peak_memory_bytes": memory.peak_bytes, "finished": now()}
        write_provenance(path, entries[field])
    return value


def _parts(value: Any, paths: Mapping[str, Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a result that have files of their own, and the plain values beside them, in terms of JSON."""
    if "" in paths:
        return {"": value}, {}
    if isinstance(value, Mapping):
        return dict(value), {}
    stored = {name: getattr(value, name) for name in paths}
    plain = {
        field.name: encode(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if field.init and field.name not in stored
    }
    return stored, plain
