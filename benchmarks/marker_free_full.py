"""Alignment without markers at full count: python -m benchmarks.marker_free_full FILE [catalyst] [axes] [slabs].

Five series of each catalyst layer, 20 axes and 100 slabs take an hour of one core. Each series is a line of FILE
(JSON) as soon as it is done; what is there already is not run again. The table of all that is there is printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import bench_marker_free, misaligned, results
from benchmarks.cases import Target

N_SEEDS, N_AXES, N_SLABS = 5, 20, 100
KINDS = ("slabs", "axes", "catalyst")
_MEASURED = ("across_px", "along_px", "axis_deg", "covered", "n", "seconds", "version")

Job = tuple[dict[str, Any], Callable[[], dict[str, Any]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what FILE lacks, and print its table."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or not set(words[1:]) <= set(KINDS):
        sys.exit(f"usage: python -m benchmarks.marker_free_full FILE [{'] ['.join(KINDS)}]")
    path, kinds = Path(words[0]), words[1:] or list(KINDS)
    done = [_key(line) for line in _lines(path)]
    for key, run in (job for kind in kinds for job in jobs(kind)):
        if key not in done:
            line = {**key, **run(), "version": results.version()}
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)
    print(table(_lines(path)))


def jobs(kind: str) -> Iterator[Job]:
    """What identifies each series of a kind, and the function that measures it."""
    if kind == "catalyst":
        for seed in range(N_SEEDS):
            for trouble in misaligned.TROUBLES:
                for noise in (0.0, 0.3):
                    key = {"kind": kind, "trouble": trouble, "noise": noise, "seed": seed}
                    yield key, lambda trouble=trouble, noise=noise, seed=seed: _catalyst(trouble, noise, seed)  # type: ignore[misc]
    if kind == "axes":
        for number in range(N_AXES):
            yield {"kind": kind, "seed": number}, lambda number=number: _axis(number)  # type: ignore[misc]
    if kind == "slabs":
        for seed in range(N_SLABS):
            yield {"kind": kind, "seed": seed}, lambda seed=seed: _slab(seed)  # type: ignore[misc]


def table(lines: list[dict[str, Any]]) -> str:
    """A line for each row of what is wanted, in Markdown."""
    frame = pd.DataFrame(lines)
    rows = ["| what | series | result | target |", "|---|---|---|---|"]
    kind = frame["kind"] if len(frame) else pd.Series(dtype=str)
    catalysts, axes, slabs = (frame[kind == name] for name in ("catalyst", "axes", "slabs"))
    if len(catalysts):
        for _, group in catalysts.groupby(["trouble", "noise"], sort=False):
            trouble, noise = str(group["trouble"].iloc[0]), float(group["noise"].iloc[0])
            limits = bench_marker_free.catalyst_limits_px(trouble, noise)
            for column, limit in zip(("across_px", "along_px"), limits, strict=True):
                name = f"catalyst, {trouble}, noise {noise:g}: {column.replace('_', ' ')}"
                rows.append(_row(name, len(group), _rms(group[column]), Target(at_most=limit)))
                rows.append(_row(f"{name}, worst series", len(group), float(group[column].max()), None))
    if len(axes):
        for name, value, limit in (("mean", "mean", 0.05), ("largest", "max", 0.15)):
            rows.append(
                _row(
                    f"axis: {name} error, deg", len(axes), axes["axis_deg"].agg(value), Target(at_most=limit)
                )
            )
    if len(slabs):
        both = np.concatenate((slabs["across_px"], slabs["along_px"]))
        each = np.sqrt(0.5 * (slabs["across_px"] ** 2 + slabs["along_px"] ** 2))
        share = float(np.average(slabs["covered"], weights=slabs["n"]))
        rows.append(_row("textured slabs: error px", len(slabs), _rms(both), Target(at_most=1.0)))
        rows.append(
            _row("textured slabs: error px of the worst", len(slabs), float(each.max()), Target(at_most=1.0))
        )
        target = Target(at_least=0.85, at_most=0.95)
        rows.append(_row("textured slabs: held by 90 % intervals", len(slabs), share, target))
    return "\n".join(rows)


def _row(name: str, n_series: int, value: float, target: Target | None) -> str:
    verdict = "" if target is None else f"{target}: {'met' if target.is_met(value) else '**MISSED**'}"
    return f"| {name} | {n_series} | {value:.3g} | {verdict} |"


def _catalyst(trouble: str, noise: float, seed: int) -> dict[str, Any]:
    errors, axis, seconds = bench_marker_free.catalyst_alignment(trouble, noise, seed, misaligned.N_PIXELS)
    return {
        "across_px": _rms(errors[0]),
        "along_px": _rms(errors[1]),
        "axis_deg": abs(axis),
        "seconds": seconds,
    }


def _axis(number: int) -> dict[str, Any]:
    return {"axis_deg": bench_marker_free.axis_error(number, N_AXES)}


def _slab(seed: int) -> dict[str, Any]:
    errors, sigmas, seconds = bench_marker_free.slab_alignment(seed)
    covered = float(np.mean(np.abs(errors) <= 1.645 * sigmas))
    return {
        "across_px": _rms(errors[0]),
        "along_px": _rms(errors[1]),
        "covered": covered,
        "n": errors.size,
        "seconds": seconds,
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in _MEASURED}


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values, dtype=float)))))


if __name__ == "__main__":
    main()
