"""The page itself: what goes where, and writing it."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tomo3d._version import __version__
from tomo3d.phantoms import Specimen
from tomo3d.progress import track
from tomo3d.report import _figures, _limits, _tables, _words
from tomo3d.report._figures import Picture
from tomo3d.report._records import RunRecord, StepRecord, StoredPicture
from tomo3d.report._tables import Table
from tomo3d.types import Alignment, Labels, TiltSeries, Volume


@dataclass(frozen=True)
class _Section:
    """One step, as text and pictures."""

    id: str
    run: str
    facts: tuple[tuple[str, str], ...]
    results: tuple[str, ...]
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    parameters: Table


def write(record: RunRecord, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the report of a run: one HTML file that needs no other file and no network.

    Parameters
    ----------
    record : RunRecord
    path : path
        Of the file to write.
    overwrite : bool
        Replace the file if there is one.

    Returns
    -------
    Path
        Of the file written.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.

    Notes
    -----
    A figure that cannot be drawn (a surface on a machine without OpenGL, the
    histogram of an empty structure) is left out with the reason in its place.
    The file is written beside itself and renamed when complete.
    """
    from tomo3d import io

    target = io.check_output(path, overwrite=overwrite)  # told before a minute of drawing, not after
    io.write_bytes(page(record).encode("utf-8"), target, overwrite=overwrite)
    return target


def page(record: RunRecord) -> str:
    """The report of a run as HTML."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = importlib.resources.files("tomo3d").joinpath("report.html.j2").read_text(encoding="utf-8")
    steps = list(record.steps)
    sections = [
        _section(step, steps[: i + 1])
        for i, step in enumerate(track(steps, "drawing the report", len(steps)))
    ]
    return environment.from_string(text).render(
        record=record,
        started=record.started.strftime("%Y-%m-%d %H:%M:%S %Z").strip(),
        version=__version__,
        total=_total(steps),
        read=_read(steps),
        headline=_headline(steps),
        surface=_figures.surface(steps),
        sections=sections,
        limits=_limits.limits(steps),
        versions=_tables.pairs("Software", _text_items(record.versions), ("Program", "Version")),
        machine=_tables.pairs("Machine", _text_items(record.machine), ("", "")),
    )


def _section(step: StepRecord, earlier: Sequence[StepRecord]) -> _Section:
    facts = [("Time", _words.duration(step.seconds)), ("Peak memory", _words.memory(step.peak_bytes))]
    facts.insert(0, ("Result", "reused from an earlier run" if step.reused else "computed in this run"))
    if step.inputs:
        facts.append(("Inputs", ", ".join(f"{name} from {source}" for name, source in step.inputs.items())))
    if step.outputs:
        facts.append(("Files", ", ".join(step.outputs)))
    pictures = [picture for _, value in step.fields() for picture in _figures.pictures(value, earlier)]
    results = [
        _line(name, value)
        for name, value in step.fields()
        if value is not None and not isinstance(value, (pd.DataFrame, StoredPicture))
    ]
    frames = [(name, value) for name, value in _frames(step) if not _tables.is_headline(value)]
    return _Section(
        id=step.id,
        run=step.run,
        facts=tuple(facts),
        results=tuple(results),
        pictures=tuple(pictures),
        tables=tuple(_tables.table(frame, name) for name, frame in frames),
        parameters=_tables.pairs(
            "Parameters, defaults included",
            [(name, _words.parameter(value)) for name, value in step.parameters.items()],
            ("Parameter", "Value"),
        ),
    )


def _line(name: str, value: Any) -> str:
    return f"{name}: {_words.describe(value)}" if name else _words.describe(value)


def _headline(steps: Sequence[StepRecord]) -> list[Table]:
    """The tables of quantities of all steps, in order."""
    return [
        _tables.table(frame, f"{step.run} ({step.id}{': ' + name if name else ''})")
        for step in steps
        for name, frame in _frames(step)
        if _tables.is_headline(frame) and name != "Truth"
    ]


def _frames(step: StepRecord) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of a step, with the evidence of an alignment."""
    for name, value in step.fields():
        if isinstance(value, pd.DataFrame):
            yield name, value
        if isinstance(value, Specimen):
            yield "Truth", value.truth
        if isinstance(value, Alignment):
            yield from ((f"Evidence: {key}", table) for key, table in value.evidence.items())


def _read(steps: Sequence[StepRecord]) -> list[Table]:
    """What was read or simulated: the results of the steps without inputs."""
    return [
        _tables.pairs(
            f"{step.run} ({step.id}{': ' + name if name else ''})", _file(step) + facts, ("Fact", "Value")
        )
        for step in steps
        if not step.inputs
        for name, value in step.fields()
        if (facts := _facts(value))
    ]


def _file(step: StepRecord) -> list[tuple[str, str]]:
    return [("File", str(step.parameters["path"]))] if "path" in step.parameters else []


def _facts(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, TiltSeries):
        return _series_facts(value)
    if isinstance(value, (Volume, Labels)):
        origin = ", ".join(_words.number(v) for v in value.origin_nm)
        return [
            ("Size (x × y × z)", f"{_words.size(value.data.shape)} voxels"),
            ("Voxel", _words.triple(value.voxel_size_nm, "nm")),
            ("Centre of the first voxel (z, y, x)", f"({origin}) nm"),
            ("Data", str(value.data.dtype)),
        ]
    return []


def _series_facts(series: TiltSeries) -> list[tuple[str, str]]:
    used = np.unique(series.tilt_angles_deg[series.used])
    n_out = series.n_tilts - int(series.used.sum())
    tilts = _words.MISSING
    if len(used) > 1:
        mean_step = float(used[-1] - used[0]) / (len(used) - 1)
        ends = f"{_words.number(used[0])} to {_words.number(used[-1])}°"
        tilts = f"{ends}, {_words.number(mean_step, 3)}° apart in the mean"
    elif len(used) == 1:
        tilts = f"{_words.number(used[0])}°"
    sources = dict(series.sources)
    facts = [
        (
            "images",
            "Views",
            f"{series.n_tilts}" + (f", of which {n_out} excluded" if n_out else ", all in use"),
        ),
        ("", "Size (x × y)", f"{_words.size(series.images.shape[1:])} pixels, {series.images.dtype}"),
        ("pixel_size_nm", "Pixel size", f"{_words.number(series.pixel_size_nm)} nm"),
        ("tilt_angles_deg", "Tilt angles", tilts),
        (
            "tilt_axis_deg",
            "Tilt axis",
            f"{_words.number(series.tilt_axis_deg)}° from +y, counter-clockwise",
        ),
    ]
    lines = [
        (name, f"{text} (source: {sources.pop(key)})" if key in sources else text)
        for key, name, text in facts
    ]
    return lines + [(f"Source of {key}", str(text)) for key, text in sources.items()]


def _total(steps: Sequence[StepRecord]) -> str:
    computed = [step.seconds for step in steps if not step.reused and np.isfinite(step.seconds)]
    peaks = [step.peak_bytes for step in steps if step.peak_bytes is not None]
    n_reused = sum(step.reused for step in steps)
    reused = f", {n_reused} reused" if n_reused else ""
    peak = f"; peak memory {_words.memory(max(peaks))}" if peaks else ""
    return f"{len(steps)} step{'s' * (len(steps) != 1)}{reused}; {_words.duration(sum(computed))} of computation{peak}"


def _text_items(mapping: Any) -> list[tuple[str, str]]:
    return [
        (str(key), _words.MISSING if value in (None, "") else str(value)) for key, value in mapping.items()
    ]
