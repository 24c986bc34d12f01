"""What makes a step's result what it is: function, parameters, inputs. Kept results are compared by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomo3d._version import __version__
from tomo3d.pipeline._bind import BoundRecipe, BoundStep, Reference, input_files, substitute
from tomo3d.pipeline._json import encode, fingerprint
from tomo3d.pipeline._store import checksum, describe_file, provenance_path, read_provenance, size_of

_SHOWN = 60


@dataclass(frozen=True)
class Identity:
    """Parameters with defaults and inputs with checksums, as provenance shows them, and their fingerprint."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, Any]
    fingerprint: str


def identify(bound: BoundRecipe) -> dict[str, Identity]:
    """Identity of every step by id; input files are read for their checksums."""
    known: dict[str, Identity] = {}
    steps = {step.id: step for step in bound.steps}
    for step in bound.steps:
        known[step.id] = _identify(step, known, steps)
    return known


def _identify(step: BoundStep, known: Mapping[str, Identity], steps: Mapping[str, BoundStep]) -> Identity:
    files = input_files(step)
    inputs: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    for name, value in step.arguments.items():
        if name in files:
            inputs[name] = describe_input(Path(value))
            continue
        found: list[Any] = []
        substitute(value, found.append)
        if found:
            sources = [_source(reference, known, steps[reference.step]) for reference in found]
            if isinstance(value, dict) and len(found) == len(value):
                inputs[name] = dict(zip(value, sources, strict=True))
            else:
                inputs[name] = sources[0] if value is found[0] else sources
        else:
            parameters[name] = encode(value)
    essences = {name: _essence(item) for name, item in inputs.items()}
    what = {"run": step.run, "parameters": parameters, "inputs": essences, "tomo3d": __version__}
    return Identity(parameters, inputs, fingerprint(what))


def _source(reference: Reference, known: Mapping[str, Identity], step: BoundStep) -> dict[str, Any]:
    """What provenance says of an input that an earlier step made; what has no file is described in full."""
    identity = known[reference.step]
    described: dict[str, Any] = {"step": reference.step, "field": reference.field}
    if step.outputs:
        described["file"] = step.outputs.get(reference.field, "")
    else:
        described |= {"run": step.run, "parameters": identity.parameters, "inputs": identity.inputs}
    return described | {"fingerprint": identity.fingerprint}


def describe_input(path: Path) -> dict[str, Any]:
    """An input file with its checksum, and those of the files beside it that its reader finds by itself."""
    from tomo3d import io  # here, so that the help of a command imports no stage

    described = describe_file(path)
    beside = {other.name: checksum(other) for other in io.files_beside(path)}
    return described | ({"beside": beside} if beside else {})


def with_checksums(inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The inputs, with the checksums of those that earlier steps of this run wrote."""

    def complete(source: Any) -> Any:
        if isinstance(source, list):
            return [complete(item) for item in source]
        if _is_table(source):
            return {name: complete(item) for name, item in source.items()}
        known = read_provenance(folder / source["file"]) if "step" in source and source.get("file") else None
        return {**source, "sha256": known["sha256"]} if known else source

    return {name: complete(source) for name, source in inputs.items()}


def _essence(inputs: Any) -> Any:
    """What counts of the inputs: contents, not places."""
    if isinstance(inputs, list):
        return [_essence(item) for item in inputs]
    if _is_table(inputs):
        return {name: _essence(item) for name, item in inputs.items()}
    if "step" in inputs:
        return [inputs["field"], inputs["fingerprint"]]
    return [
        Path(inputs["file"]).suffix,
        inputs["sha256"],
        inputs.get("beside", {}),
        inputs.get("fingerprint", ""),
    ]


def _is_table(inputs: Mapping[str, Any]) -> bool:
    """Whether these are inputs by name, not one input, whose every fact is text or a number."""
    return all(isinstance(item, Mapping) for item in inputs.values())


def examine(step: BoundStep, identity: Identity, folder: Path) -> tuple[bool, str]:
    """Whether the kept result of a step can be used again, and if not, which file is in the way and why.

    The reason is empty where nothing is in the way.
    """
    reusable = bool(step.outputs)
    for name in step.outputs.values():
        path = folder / name
        known = read_provenance(path)
        if not path.exists():
            reusable = False
        elif known is None:
            return False, f"{path} exists and was not made by a recipe"
        elif known.get("finished") is None:  # interrupted between the output and its provenance
            reusable = False
        elif known["fingerprint"] != identity.fingerprint:
            return False, f"{path} exists and is out of date: {_change(known, identity)}"
        elif known.get("bytes") != size_of(path) or known.get("sha256") != checksum(path):
            return False, f"{path} was changed after it was made"
    if not step.outputs:
        path = provenance_path(folder / step.id)
        if path.exists() and read_provenance(folder / step.id) is None:
            return False, f"{path} exists and was not made by a recipe"
    return reusable, ""


def foreign(step: BoundStep, folder: Path) -> str:
    """Which output exists already and bears no provenance; "" where none: told before any file is read."""
    for name in step.outputs.values():
        path = folder / name
        if path.is_dir() and path.suffix != ".zarr":
            return f"{path} is a folder"
        if path.exists() and read_provenance(path) is None:
            return f"{path} exists and was not made by a recipe"
    return ""


def _change(known: Mapping[str, Any], identity: Identity) -> str:
    """What differs between the provenance of a kept output and what the recipe asks for now."""
    before = known.get("parameters", {})
    changes = [
        f"{name} was {_show(before.get(name))}, is now {_show(identity.parameters.get(name))}"
        for name in sorted(set(before) | set(identity.parameters))
        if before.get(name) != identity.parameters.get(name)
    ]
    changes += _input_changes(known.get("inputs", {}), identity.inputs)
    version = known.get("versions", {}).get("tomo3d")
    if version != __version__:
        changes.append(f"it was made by tomo3d {version}, this is {__version__}")
    return "; ".join(changes) if changes else f"it was made by {known.get('run', 'another function')}"


def _input_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between inputs; of a step without files, which of the files that it read."""
    changes = []
    for name, source in now.items():
        old = before.get(name)
        if old is not None and _essence(source) == _essence(old):
            continue
        if not isinstance(source, dict) or _is_table(source):
            changes.append(f"its input {name!r} changed")
        elif "step" in source:
            inner = (
                _input_changes(old.get("inputs", {}), source.get("inputs", {}))
                if isinstance(old, dict)
                else []
            )
            changes.append(
                f"its input {source['step']!r} changed" + (f" ({'; '.join(inner)})" if inner else "")
            )
        else:
            changes.append(_file_change(old, source))
    return changes


def _file_change(before: Any, now: Mapping[str, Any]) -> str:
    """What differs in an input file or in the files that are read with it."""
    name = Path(now["file"]).name
    if isinstance(before, dict) and before.get("sha256") == now["sha256"]:
        old, new = before.get("beside", {}), now.get("beside", {})
        others = sorted(other for other in {*old, *new} if old.get(other) != new.get(other))
        if others:
            return f"{', '.join(others)}, read with the input file {name}, changed"
    return f"the input file {name} has other contents"


def _show(value: Any) -> str:
    text = repr(value) if value is not None else "not set"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
