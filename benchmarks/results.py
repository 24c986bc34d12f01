"""RESULTS.md: one table per subject, between markers, so that a run replaces its own table only."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import FOLDER, Result
from tomo3d import __version__
from tomo3d.compute.backend import n_threads

RESULTS = FOLDER / "RESULTS.md"
_LIBRARIES = ("numpy", "scipy", "scikit-image", "numba")


def today() -> str:
    """The date, as 2026-11-23."""
    return datetime.date.today().isoformat()


@functools.cache  # what is committed during a run is not what runs
def version() -> str:
    """Version of tomo3d, and the commit where there is a repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return f"tomo3d {__version__}"
    commit = f" ({done.stdout.strip()})" if done.returncode == 0 else ""
    return f"tomo3d {__version__}{commit}"


def libraries() -> str:
    """Versions of Python and of the libraries that compute."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    return ", ".join([f"Python {platform.python_version()}", *versions])


def machine() -> str:
    """Cores that may be used, and the model of the processor."""
    cores = n_threads()
    return f"{cores} core{'s' if cores > 1 else ''}, {_processor()}"


def load() -> str:
    """What else the machine is doing: its load over the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"


def table(results: Sequence[Result], command: str, started: str) -> str:
    """The Markdown of one subject: how it was made, and a row per case."""
    lines = [
        f"`{command}`",
        "",
        f"{started}; {libraries()}; CPU.",
        "",
        "| case | parameters | result | target |",
        "|---|---|---|---|",
    ]
    for result in results:
        verdict = result.verdict.replace("MISSED", "**MISSED**")
        lines.append(f"| {result.case.name} | {result.case.sizes} | {result} | {verdict} |")
    return "\n".join(lines)


def updated(text: str, subject: str, new_table: str) -> str:
    """`text` with the table of a subject replaced; a subject that is new comes at the end.

    Raises
    ------
    ValueError
        If the marker at the end of the table is missing.
    """
    begin, end = f"<!-- begin {subject} -->", f"<!-- end {subject} -->"
    block = f"{begin}\n{new_table}\n{end}"
    if begin not in text:
        return f"{text.rstrip()}\n\n## {subject}\n\n{block}\n"
    if end not in text:
        raise ValueError(f"the table of {subject} must end with the line {end}, got none after {begin}.")
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, text, flags=re.DOTALL)


def write(subject: str, new_table: str, path: Path = RESULTS) -> None:
    """Replace the table of one subject in RESULTS.md."""
    path.write_text(updated(path.read_text(encoding="utf-8"), subject, new_table), encoding="utf-8")


def _processor() -> str:
    """Model of the processor; with family and model, as the names of virtual machines are vague."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in lines}
    if "model name" not in facts:  # not on ARM
        return platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"
