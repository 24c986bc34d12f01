"""Amounts of memory: in words, what the machine has, and whether a result can be held."""

from __future__ import annotations

import os
import re
from pathlib import Path

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def bytes_text(n_bytes: float) -> str:
    """A number of bytes for people: 512 B, 3.4 MiB, 12 GiB."""
    for unit in _UNITS[:-1]:
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if n_bytes >= 100 or unit == "B" else f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} TiB"


def parse_bytes(text: int | str) -> int:
    """A number of bytes, as 2000000 or "8 GiB".

    Raises
    ------
    ValueError
        If it is no positive number with one of the units B, KiB, MiB, GiB and TiB.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE]\d+)?)\s*([KMGT]iB|B)?\s*", str(text))
    n_bytes = int(float(found[1]) * 1024 ** _UNITS.index(found[2] or "B")) if found else 0
    if n_bytes < 1:
        raise ValueError(f"an amount of memory must be a number of bytes, or as '8 GiB', got {text!r}.")
    return n_bytes


def total_memory() -> int:
    """Bytes of memory that this process could have: the machine's, or less in a container."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max")
    return min(total, limit) if limit else total


def available_memory() -> int:
    """Bytes that can still be taken without swapping."""
    available = total_memory()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: the size of the memory is all that is known
        pass
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is None or used is None:
        return available
    return min(available, limit - used + _cgroup_file_cache())


def check_held(n_bytes: int, cause: str) -> None:
    """Raise ValueError if so many bytes cannot be held; `cause` says what needs them."""
    total = total_memory()
    if n_bytes > total:
        raise ValueError(
            f"{cause} needs {bytes_text(n_bytes)}, more than the {bytes_text(total)} of memory of this "
            "machine: choose a smaller one or larger voxels, or pass out=... to write to a file."
        )


def _cgroup(name: str) -> int | None:
    try:
        text = (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cgroup_file_cache() -> int:
    """Bytes of cached files, which a container counts as used but gives up when memory is short."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
