"""Times against views, width, thickness and slices, as a chart: python -m benchmarks.scaling [OUT.png].

Work is proportional to each of them, so that times should lie on straight lines; the chart and what is printed
say how nearly they do (r^2 of the straight line of least squares).
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import seconds
from tomo3d.reconstruct import sirt, wbp
from tomo3d.types import TiltSeries

_SIZES = {"n_views": 61, "width": 384, "thickness": 192, "n_slices": 256}
_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_WORDS = {
    "n_views": "views",
    "width": "width (pixels)",
    "thickness": "thickness (voxels)",
    "n_slices": "slices",
}
_N_RUNS = 5


def times(method: str) -> dict[str, tuple[list[int], list[float]]]:
    """For each of the sizes: its values, and the median times in s, all measured in turn."""
    cases = [
        (name, {**_SIZES, name: max(16, round(_SIZES[name] * factor / 16) * 16)})
        for name in _SIZES
        for factor in _FACTORS
    ]
    took: list[list[float]] = [[] for _ in cases]
    for run in range(_N_RUNS + 1):
        for case, (_, sizes) in enumerate(cases):
            duration = _seconds(method, sizes)
            if run:
                took[case].append(duration)
    found: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in _SIZES}
    for (name, sizes), durations in zip(cases, took, strict=True):
        found[name][0].append(sizes[name])
        found[name][1].append(statistics.median(durations))
    return found


def _seconds(method: str, sizes: dict[str, int]) -> float:
    shape = (sizes["n_views"], sizes["n_slices"], sizes["width"])
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    series = TiltSeries(images, np.linspace(-60.0, 60.0, shape[0]), pixel_size_nm=1.0)
    thickness_nm = float(sizes["thickness"])
    if method == "wbp":
        return seconds(lambda: wbp(series, thickness_nm=thickness_nm))
    return seconds(lambda: sirt(series, thickness_nm=thickness_nm, n_iterations=3))


def linearity(values: list[int], durations: list[float]) -> float:
    """r^2 of the straight line of least squares."""
    return float(np.corrcoef(values, durations)[0, 1] ** 2)


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Four panels, one for each size, a line for each method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 4, figsize=(11, 2.8), layout="constrained", sharey=True)
    for panel, name in zip(panels, _SIZES, strict=True):
        for method, marker in (("sirt", "s"), ("wbp", "o")):
            values, durations = found[method][name]
            slope, start = np.polyfit(values, durations, 1)
            words = "SIRT, 3 iterations" if method == "sirt" else "WBP"
            (dots,) = panel.plot(
                values, durations, marker, label=f"{words}, r² {linearity(values, durations):.3f}"
            )
            ends = np.array([0, max(values)])
            panel.plot(ends, start + slope * ends, color=dots.get_color(), linewidth=1)
        panel.set_xlabel(_WORDS[name])
        panel.set_xlim(left=0)
        panel.legend(fontsize=7, frameon=False, loc="upper left")
    longest = max(
        duration for sizes in found.values() for _, durations in sizes.values() for duration in durations
    )
    panels[0].set_ylim(0, 1.3 * longest)  # shared; room for the legends
    panels[0].set_ylabel("time (s)")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> None:
    """Measure, print and draw."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("scaling.png")
    found = {method: times(method) for method in ("wbp", "sirt")}
    for method, sizes in found.items():
        for name, (values, durations) in sizes.items():
            listed = ", ".join(
                f"{value}: {duration:.3f} s" for value, duration in zip(values, durations, strict=True)
            )
            print(f"{method} against {_WORDS[name]}: r2 {linearity(values, durations):.4f} ({listed})")
    draw(found, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
