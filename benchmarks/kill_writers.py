"""Kill writers at random moments, and look at what is left: python -m benchmarks.kill_writers [--times 100].

A child writes the outputs of every writer, again and again, new and over old ones, from an input file; it is killed
at a random moment; then every file or folder with a final name must be whole (byte for byte the old or the new one),
and the input what it was. The child does not wait for the disk (fsync), where it would spend nearly all of its time:
a killed process loses nothing that it had written.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile  # noqa: F401  # as zarr: here once, so that the children do not spend their short lives on it
import zarr  # noqa: F401

from tomo3d import Labels, Surface, TiltSeries, Volume, io
from tomo3d.io import _nrrd_write, _tiff_write, _zarr_write  # noqa: F401

_SHAPE = (8, 40, 300)
_LONGEST_S = 0.3
_UUID = re.compile(rb"urn:uuid:[0-9a-f-]{36}")  # each OME-TIFF has its own
_LABELS = ("l.mrc", "l.tif", "l.nrrd", "l.zarr")
_VOLUMES = ("v.mrc", "v.tif", "v.ome.tif", "v.nrrd", "v.zarr", "w.zarr")
_OTHERS = ("t.mrc", "t.zarr", "s.ply", "s.stl", "s.glb", "s.vtp", "t.csv")
Tree = dict[str, bytes]


@dataclass(frozen=True)
class Outcome:
    """What was seen: `n_incomplete` and `n_changed_inputs` must be 0."""

    n_kills: int
    n_whole: int  # outputs with a final name, all whole
    n_interrupted: int  # kills that struck while something was being written
    n_incomplete: int
    n_changed_inputs: int


def kill_writers(times: int, *, seed: int = 0) -> Outcome:
    """Kill a writing child `times` times."""
    rng = random.Random(seed)
    n_whole = n_interrupted = n_incomplete = n_changed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "input.mrc"
        io.write_volume(Volume(np.random.default_rng(0).random(_SHAPE, np.float32), (2, 2, 2)), source)
        before = source.read_bytes()
        known = [_reference(folder / f"reference-{version}", source, version) for version in (0, 1)]
        for kill in range(times):
            place = folder / f"out-{kill}"
            place.mkdir()
            child = _forked(lambda place=place, kill=kill: _write_for_ever(place, source, kill))  # type: ignore[misc]
            time.sleep(rng.uniform(0.0, _LONGEST_S))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            for path in place.iterdir():
                if path.name.startswith(".tomo3d-"):
                    n_interrupted += 1
                elif _tree(path) in [version[path.name] for version in known]:
                    n_whole += 1
                else:
                    n_incomplete += 1
            n_changed += source.read_bytes() != before
            shutil.rmtree(place)
    return Outcome(times, n_whole, n_interrupted, n_incomplete, n_changed)


def _forked(work: Callable[[], None]) -> int:
    """A child that does the work and ends; libraries start their threads in it, never here."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def _reference(folder: Path, source: Path, version: int) -> dict[str, Tree]:
    """What each writer makes when nothing disturbs it."""
    folder.mkdir()
    child = _forked(lambda: _write_all(folder, source, version, random.Random(0)))
    os.waitpid(child, 0)
    found = {path.name: _tree(path) for path in folder.iterdir()}
    if set(found) != {*_VOLUMES, *_LABELS, *_OTHERS}:
        raise RuntimeError(f"every writer must work when it is left alone, got only {sorted(found)}.")
    return found


def _write_for_ever(folder: Path, source: Path, seed: int) -> None:
    rng = random.Random(seed)
    os.fsync = lambda fd: None
    version = 0
    while True:
        _write_all(folder, source, version % 2, rng)
        version += 1


def _write_all(folder: Path, source: Path, version: int, rng: random.Random) -> None:
    volume = io.read_volume(source)
    if version:
        volume = Volume(volume.data + np.float32(1), volume.voxel_size_nm)
    jobs: list[Callable[[], None]] = []
    for name in _VOLUMES:
        ome_zarr = "0.4" if name == "w.zarr" else "0.5"
        jobs.append(_job(io.write_volume, volume, folder / name, ome_zarr=ome_zarr))
    labels = Labels((volume.data > 0.5 + version).astype("u1"), volume.voxel_size_nm, names={1: "film"})
    jobs += [_job(io.write_labels, labels, folder / name) for name in _LABELS]
    series = TiltSeries(volume.data, np.arange(float(_SHAPE[0])), 2.0)
    jobs += [_job(io.write_tilt_series, series, folder / name) for name in ("t.mrc", "t.zarr")]
    corners = np.array(volume.data[0, :30].reshape(-1, 3))
    surface = Surface(corners, np.arange(len(corners)).reshape(-1, 3))
    jobs += [
        _job(io.write_surface, surface, folder / f"s.{ending}") for ending in ("ply", "stl", "glb", "vtp")
    ]
    jobs.append(_job(io.write_table, pd.DataFrame({"value": volume.data[0, 0]}), folder / "t.csv"))
    rng.shuffle(jobs)
    for job in jobs:
        job()


def _job(write: Callable[..., None], value: object, path: Path, **options: object) -> Callable[[], None]:
    return lambda: write(value, path, overwrite=True, **options)


def _tree(path: Path) -> Tree:
    """Content of a file, or of every file in a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): _UUID.sub(b"", file.read_bytes()) for file in files}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was seen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_writers", description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    seen = kill_writers(options.times, seed=options.seed)
    print(
        f"{seen.n_kills} kills in {time.perf_counter() - started:.1f} s: {seen.n_whole} whole outputs, "
        f"{seen.n_interrupted} writes interrupted, {seen.n_incomplete} incomplete under a final name, "
        f"{seen.n_changed_inputs} changed inputs"
    )
    raise SystemExit(1 if seen.n_incomplete or seen.n_changed_inputs else 0)


if __name__ == "__main__":
    main()
