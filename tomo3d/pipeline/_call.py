"""One function run on files: what a command is, and the shortest recipe there is."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tomo3d.pipeline._bind import BoundRecipe, BoundStep, Reference, data_types
from tomo3d.pipeline._catalogue import resolve
from tomo3d.pipeline._device import check_function, described
from tomo3d.pipeline._hints import hints, signature
from tomo3d.pipeline._identity import identify
from tomo3d.pipeline._kinds import (
    EXTENSIONS,
    OTHER_EXTENSIONS,
    READERS,
    extension,
    file_fields,
    item_of,
    kind_of,
)
from tomo3d.pipeline._machine import PeakMemory, machine, versions
from tomo3d.pipeline._memory import check_memory, sketch
from tomo3d.pipeline._recipe import Recipe
from tomo3d.pipeline._results import Results, keep
from tomo3d.pipeline._store import place_of
from tomo3d.pipeline._stream import stream_of

_log = logging.getLogger(__name__)


def call(
    run: str,
    arguments: Mapping[str, Any],
    output: Path,
    *,
    reading: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    command: str = "tomo3d.pipeline.call",
) -> Any:
    """Run one function on files, and write its result with its provenance.

    Parameters
    ----------
    run : str
        The function, as "stage.function".
    arguments : mapping of str to any
        Parameters; tilt series, volumes, labels, alignments and tables as the paths of their files, several by name
        as a mapping of their paths.
    output : Path
        File of the result; a result with several fields becomes OUTPUT.FIELD.EXT.
    reading : mapping of str to any, optional
        Options of the readers, as pixel_size_nm; each reader takes those that it knows.
    overwrite : bool
        True if an existing output may be replaced.
    device : str
        Where to compute: cpu or gpu.
    command : str
        What was typed, for the record.

    Returns
    -------
    any
        What the function returned; a volume that was written while it was made, as it lies in its Zarr store.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If an input does not exist, or an output does, or is one of the inputs, or has the wrong ending:
        before any data are read; or if the function cannot compute on a GPU that is asked for.
    MemoryError
        If the function surely needs more memory than there is.
    """
    check_function(run, device)
    bound = _bound(run, arguments, reading or {}, output.suffix.lower())
    step = bound.steps[-1]
    sources = [Path(source.arguments["path"]) for source in bound.steps[:-1]]
    outputs = output_paths(run, output, step.names)
    _check_paths(sources, outputs, overwrite)
    for doubt in check_memory(sketch(bound)):
        _log.warning(doubt)
    identity = identify(bound)[step.id]
    results = Results(bound.steps, output.parent, device=device)
    started = time.perf_counter()
    with PeakMemory() as memory, stream_of(step, outputs, overwrite=overwrite) as stream:
        value = results.call(step, stream)
        provenance = {
            "command": command,
            "run": run,
            "parameters": identity.parameters,
            "inputs": identity.inputs,
            "fingerprint": identity.fingerprint,
            "device": described(device),
            "seconds": time.perf_counter() - started,
            "versions": versions(),
            "machine": machine(),
        }
        return keep(value, outputs, provenance, memory, overwrite=overwrite, stream=stream)


def output_endings(run: str, names: Sequence[str] = ("NAME",)) -> dict[str, tuple[str, ...]]:
    """Endings of the file of each field of a function's result ("" for a result that is one file), the usual one first.

    A function that makes one result for each item of its first argument has their `names` as fields.

    Raises
    ------
    TypeError
        If the result of the function has no file.
    """
    endings = {}
    for name, made in _file_types(run, names).items():
        kind = str(kind_of(made))
        endings[name] = tuple(dict.fromkeys((EXTENSIONS[kind], *OTHER_EXTENSIONS.get(kind, ()))))
    return endings


def _file_types(run: str, names: Sequence[str]) -> dict[str, Any]:
    cls = hints(resolve(run)).get("return")
    fields = file_fields(cls, names)
    if fields is None:
        raise TypeError(f"{run} must return something that has a file, got {cls}: run it in a recipe.")
    return fields


def output_paths(run: str, output: Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """File of each field of the result of a function, OUTPUT.FIELD.EXT ("" for a result that is one file).

    `names` are those of its results where there is one for each item of its first argument.

    Raises
    ------
    ValueError
        If the ending of `output` is none of its kind of file.
    """
    fields, ending = _file_types(run, names), output.suffix.lower()
    endings = output_endings(run, names)
    if "" not in fields:
        stem = output.stem if any(ending in known for known in endings.values()) else output.name
        return {
            name: output.with_name(f"{stem}.{name}{extension(cls, ending)}") for name, cls in fields.items()
        }
    if ending not in endings[""]:
        allowed = [f"*{known}" for known in endings[""]]
        listed = " or ".join([", ".join(allowed[:-1]), allowed[-1]] if len(allowed) > 1 else allowed)
        raise ValueError(
            f"the output of {run} must be named {listed}, got {output.name!r}: "
            f"name it {output.with_suffix(endings[''][0]).name}."
        )
    return {"": output}


def _bound(run: str, arguments: Mapping[str, Any], reading: Mapping[str, Any], ending: str) -> BoundRecipe:
    """The function as a recipe: one step that reads each input file, and one that runs the function."""
    function = resolve(run)
    steps = []
    given = {}
    parameters = signature(function)
    for parameter in parameters:
        value = arguments.get(parameter.name, parameter.default)
        reader = reader_of(parameter)
        if reader and isinstance(value, Path):
            steps.append(_reader(parameter.name, reader, value, reading))
            value = Reference(parameter.name)
        elif reader and _is_files(value):
            ids = {key: f"{parameter.name}:{key}" for key in value}
            steps += [_reader(ids[key], reader, path, reading) for key, path in value.items()]
            value = {key: Reference(step) for key, step in ids.items()}
        given[parameter.name] = value
    steps = _with_series(steps)
    positional = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
    result = hints(function).get("return")
    steps.append(BoundStep(run, run, function, given, positional, result, arguments, ending))
    return BoundRecipe(Recipe(run, (), Path(), ""), tuple(steps))


def _with_series(steps: list[BoundStep]) -> list[BoundStep]:
    """The steps, where alignments are read for the one series that is read: its angles say which row is which view."""
    series = [step.id for step in steps if step.run == "io.read_tilt_series"]
    if len(series) != 1:
        return steps
    known = {"series": Reference(series[0])}
    return [
        replace(step, arguments={**step.arguments, **known}) if step.run == "io.read_alignment" else step
        for step in steps
    ]


def reader_of(parameter: inspect.Parameter) -> str:
    """The function that reads the file of a data argument, as "io.read_volume"; "" for all else."""
    types = (*data_types(parameter), item_of(parameter.annotation))
    kinds = [kind for cls in types if (kind := kind_of(cls)) in READERS]
    return READERS[str(kinds[0])] if kinds else ""


def _is_files(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, Path) for item in value.values())


def _reader(name: str, run: str, path: Path, reading: Mapping[str, Any]) -> BoundStep:
    reader = resolve(run)
    known = {parameter.name: parameter.default for parameter in signature(reader)}
    options = {key: reading.get(key, default) for key, default in known.items()}
    return BoundStep(
        name, run, reader, options | {"path": path}, ("path",), hints(reader)["return"], dict(reading)
    )


def _check_paths(sources: list[Path], outputs: Mapping[str, Path], overwrite: bool) -> None:
    from tomo3d import io

    for source in sources:
        if not place_of(source).exists():
            raise FileNotFoundError(f"there is no file {source}.")
    for path in outputs.values():
        if any(path.exists() and path.samefile(place_of(source)) for source in sources):
            raise ValueError(f"the output must be another file than the input, got {path} for both.")
        io.check_output(path, overwrite=overwrite)
