"""Parity and speed of the GPU kernels: python benchmarks/gpu_check.py [--output FOLDER] [--quick].

Needs numpy, scipy, scikit-image, numba, networkx, pandas and CuPy, and no installation. Every kernel is compared with
numba's, then timed alone and in whole reconstructions as `--device gpu` does them, from views on the host to a volume
on the host, whose slabs are compared with the CPU's too. Prints tables, and writes them to
FOLDER/gpu_check.md and gpu_check.json. Without a GPU it says so and compares the CUDA source, compiled by
g++ as C++, with numba's kernels at small sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # neither the benchmarks nor the tests are installed
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "tests"))

import cuda_shim  # type: ignore[import-not-found]
import projections  # type: ignore[import-not-found]

from benchmarks import gpu_thickness, results
from tomo3d import reconstruct
from tomo3d.compute import backend
from tomo3d.compute.kernels import projection, projection_cuda
from tomo3d.compute.projector import Projector
from tomo3d.compute.solvers import Problem, Sirt, iterate
from tomo3d.pipeline._device import call_on
from tomo3d.types import TiltSeries

TOLERANCE = 1e-6  # relative to the largest value
WHOLE_TOLERANCE = (
    1e-5  # the same of whole reconstructions: transforms of another library, and what iterations add up
)
GOAL_GUPS = 1000.0  # of back-projection on an H200
GOAL_RATIO = 1.5  # whole SIRT iterations over their kernels
N_ITERATIONS = 20
N_RUNS = 5


@dataclass(frozen=True)
class Workload:
    """Views of n_y rows of n_x pixels, into n_y slices of n_z x n_x voxels."""

    name: str
    n_views: int
    n_z: int
    n_y: int
    n_x: int

    @property
    def updates(self) -> float:
        """Voxels times views."""
        return float(self.n_views) * self.n_z * self.n_y * self.n_x

    @property
    def tilts_deg(self) -> np.ndarray:
        """From -60 to 60 deg."""
        return np.linspace(-60.0, 60.0, self.n_views)

    def projector(self, **geometry: Any) -> Projector:
        """Of such views."""
        return Projector(self.tilts_deg, n_u=self.n_x, n_x=self.n_x, n_z=self.n_z, **geometry)


SLABS = Workload("slabs", 9, 8, 300, 24)  # three
WORKLOADS = (Workload("L", 61, 300, 1024, 1024), Workload("2048", 121, 512, 2048, 2048))
QUICK = (Workload("256", 31, 64, 256, 256),)


def parity(xp: Any, *, large: bool) -> dict[str, projections.Differences]:
    """Differences of every pair of kernels from numba's, on arrays of `xp`; `large` for a GPU."""
    found = {}
    separable = list(projections.SEPARABLE) + ([((256, 512, 256), 512, 12)] if large else [])
    for shape, n_u, n_views in separable:
        geometry = projections.separable(n_u, n_views)
        name = f"separable, {_by(shape)} voxels, {n_views} views"
        found[name] = projections.separable_differences(shape, n_u, geometry, xp=xp)
    affine = list(projections.AFFINE) + ([((128, 256, 256), (256, 250), 1.0, 2.0)] if large else [])
    for shape, detector, rotation_deg, x_tilt_deg in affine:
        geometry = projections.affine_geometry(*detector, rotation_deg, x_tilt_deg)
        name = f"rotated by up to {rotation_deg:g} deg, x-axis tilt {x_tilt_deg:g} deg, {_by(shape)} voxels"
        found[name] = projections.affine_differences(shape, detector, geometry, xp=xp)
    maps = list(projections.WARPS) + ([((520, 500), (512, 500), 2.0, 1.01, (6, 8))] if large else [])
    for plane, detector, turn_deg, magnification, nodes in maps:
        geometry = projections.warp_maps(plane, detector, turn_deg, magnification, nodes)
        name = f"resampled, {turn_deg:g} deg, {magnification:g} times, {_by(nodes)} nodes, {_by(detector)} pixels"
        found[name] = projections.warp_differences(plane, detector, geometry, xp=xp)
    return found


def whole_parity() -> dict[str, float]:
    """Largest differences of reconstructions on the GPU from the CPU's, relative: slab by slab, and of all at once."""
    images = np.random.default_rng(1).random((SLABS.n_views, SLABS.n_y, SLABS.n_x), dtype=np.float32)
    found = {}
    for name, options in (("wbp", {}), ("sirt", {"n_iterations": 3})):
        volumes = [_reconstructed(device, name, SLABS, images, **options) for device in ("gpu", "cpu")]
        found[name] = projections.relative(*volumes)
    resampled = {
        "turned and magnified views": {
            "rotations_deg": np.linspace(-2, 2, SLABS.n_views),
            "magnifications": np.linspace(0.98, 1.02, SLABS.n_views),
        },
        "locally shifted views": {
            "local_shifts": np.random.default_rng(2).uniform(-1.5, 1.5, (SLABS.n_views, 4, 2, 2))
        },
    }
    for name, geometry in resampled.items():
        projector = SLABS.projector(**geometry)
        volumes = []
        for device in ("gpu", "cpu"):
            problem = Problem(backend.to_device(images[:, :50], device), projector)
            volumes.append(backend.to_device(iterate(Sirt(), problem, n_iterations=3).volume, "cpu"))
        found[f"sirt of {name}"] = projections.relative(*volumes)
    return found


def _reconstructed(device: str, name: str, workload: Workload, images: np.ndarray, **options: Any) -> Any:
    """A volume as the command makes it."""
    series = TiltSeries(images, workload.tilts_deg, 1.0)
    keywords = {"thickness_nm": float(workload.n_z), **options}
    return call_on(device, getattr(reconstruct, name), [series], keywords).data


def speed(cupy: Any, workload: Workload) -> dict[str, float]:
    """GUPS of the kernels alone, and seconds of whole reconstructions, of SIRT over those of its kernels too."""
    n = _slices_on_device(cupy, workload)
    updates = workload.updates * n / workload.n_y
    found: dict[str, float] = {"slices": n}
    volume = cupy.ones((workload.n_z, workload.n_x, n), dtype=cupy.float32)
    turns = {"rotations_deg": np.linspace(-1, 1, workload.n_views)}
    for name, geometry in (("", {}), ("general ", {**turns, "is_positive": True})):
        projector = workload.projector(**geometry)
        images = projector.empty_images(volume, n)
        launches = _launches(projector, volume, images)
        for direction, launch in launches.items():
            found[f"{name}{direction}_gups"] = updates / kernel_seconds(cupy, launch) / 1e9
        del images, launches
    del volume
    cupy.get_default_memory_pool().free_all_blocks()
    found["warp_gpixels"], found["warp back_gpixels"] = warp_speed(cupy, workload, n, turns)
    cupy.get_default_memory_pool().free_all_blocks()
    one = sum(updates / (found[f"{name}_gups"] * 1e9) for name in ("back", "forward")) * workload.n_y / n
    found["kernels_s"] = N_ITERATIONS * one
    found["back_s"] = updates / (found["back_gups"] * 1e9) * workload.n_y / n
    found["wbp_s"], found["sirt_s"] = whole_seconds(workload)
    found["sirt_over_kernels"] = found["sirt_s"] / found["kernels_s"]
    return found


def warp_speed(cupy: Any, workload: Workload, n_y: int, turns: dict[str, Any]) -> tuple[float, float]:
    """10^9 pixels of turned views per second that are resampled from their planes, and taken back."""
    projector = workload.projector(n_y=n_y, n_v=n_y, **turns)
    plain, plane = projector.on_plane(n_y, n_y)
    images = cupy.ones((workload.n_views, workload.n_x, n_y), dtype=cupy.float32)
    planes = plain.empty_images(images, n_y)
    seconds = (
        kernel_seconds(cupy, lambda: plane.forward(planes, images)),
        kernel_seconds(cupy, lambda: plane.back(images, planes)),
    )
    return images.size / seconds[0] / 1e9, images.size / seconds[1] / 1e9


def kernel_seconds(cupy: Any, launch: Callable[[], None]) -> float:
    """Median time of a kernel on the device, after one run that compiles it."""
    launch()
    times = []
    for _ in range(N_RUNS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        launch()
        end.record()
        end.synchronize()
        times.append(1e-3 * cupy.cuda.get_elapsed_time(start, end))
    return statistics.median(times)


def whole_seconds(workload: Workload) -> tuple[float, float]:
    """Wall times of WBP and of SIRT from images on the host to a volume on the host, the second time they are done."""
    row = np.random.default_rng(0).random((workload.n_views, 1, workload.n_x), dtype=np.float32)
    images = np.repeat(row, workload.n_y, axis=1)
    out = np.ones((workload.n_z, workload.n_y, workload.n_x), np.float32)  # ones: its pages are there

    def seconds(name: str, **options: Any) -> float:
        for _ in range(2):
            start = time.perf_counter()
            _reconstructed("gpu", name, workload, images, out=out, **options)
        return time.perf_counter() - start

    return seconds("wbp"), seconds("sirt", n_iterations=N_ITERATIONS)


def _launches(projector: Projector, volume: Any, images: Any) -> dict[str, Callable[[], None]]:
    """The two kernels alone, their geometry on the device already."""
    xp = backend.namespace(volume)
    if not projector.is_separable:
        affine = xp.asarray(projector.affine(images.shape[2]))
        return {
            "back": lambda: projection_cuda.back_affine_cuda(images, affine, volume),
            "forward": lambda: projection_cuda.forward_affine_cuda(volume, affine, images),
        }
    tilt = np.deg2rad(projector.tilt_angles_deg)
    middle = np.full(len(tilt), 0.5 * (projector.n_u - 1))
    cos, sin, offset = (xp.asarray(values) for values in (np.cos(tilt), np.sin(tilt), middle))
    return {
        "back": lambda: projection_cuda.back_cuda(images, cos, sin, offset, volume),
        "forward": lambda: projection_cuda.forward_cuda(volume, cos, sin, offset, images),
    }


def _slices_on_device(cupy: Any, workload: Workload) -> int:
    """Slices of a workload whose volume and images fill at most 70 % of the device."""
    per_slice = 4 * (workload.n_z * workload.n_x + workload.n_views * (workload.n_x + projection.PAD))
    return max(1, min(workload.n_y, int(0.7 * backend.free_device_memory(cupy)) // per_slice))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def parity_table(found: dict[str, projections.Differences]) -> list[str]:
    """Markdown: a row per geometry."""
    lines = [
        f"| parity with numba, relative, at most {TOLERANCE:g} | back | forward | adjoint | |",
        "|---|---|---|---|---|",
    ]
    for name, differences in found.items():
        numbers = " | ".join(f"{value:.1e}" for value in differences)
        lines.append(f"| {name} | {numbers} | {_verdict(max(differences) <= TOLERANCE)} |")
    return lines


def whole_table(found: dict[str, float]) -> list[str]:
    """Markdown: a row per method."""
    lines = [
        f"| whole reconstructions, relative, at most {WHOLE_TOLERANCE:g} | | |",
        "|---|---|---|",
    ]
    return lines + [
        f"| {name} | {value:.1e} | {_verdict(value <= WHOLE_TOLERANCE)} |" for name, value in found.items()
    ]


def speed_table(found: dict[str, dict[str, float]]) -> list[str]:
    """Markdown: a column per workload."""
    rows = {
        "slices on the device at a time": ("slices", "{:.0f}"),
        f"back-projection, GUPS (goal {GOAL_GUPS:g} on an H200)": ("back_gups", "{:.0f}"),
        "forward projection, GUPS": ("forward_gups", "{:.0f}"),
        "views turned in their plane, 10^9 pixels/s": ("warp_gpixels", "{:.1f}"),
        "the same back": ("warp back_gpixels", "{:.1f}"),
        "back-projection by the general kernel, GUPS": ("general back_gups", "{:.0f}"),
        "forward projection by the general kernel, GUPS": ("general forward_gups", "{:.0f}"),
        "WBP with transfers, s": ("wbp_s", "{:.3f}"),
        "its back-projection, s": ("back_s", "{:.3f}"),
        f"{N_ITERATIONS} SIRT iterations with transfers, s": ("sirt_s", "{:.3f}"),
        "their kernels, s": ("kernels_s", "{:.3f}"),
        f"ratio (goal {GOAL_RATIO:g})": ("sirt_over_kernels", "{:.2f}"),
    }
    lines = ["| speed | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for title, (key, form) in rows.items():
        lines.append(f"| {title} | " + " | ".join(form.format(each[key]) for each in found.values()) + " |")
    return lines


def _verdict(is_good: bool) -> str:
    return "ok" if is_good else "**MISSED**"


@contextlib.contextmanager
def _no_gpu(reason: str) -> Iterator[Any]:
    """NumPy in place of CuPy, or None where the CUDA source cannot be compiled as C++ either."""
    print(f"No speed was measured, as there is no GPU: {reason}.")
    if shutil.which("g++") is None:
        print(
            "The CUDA source was not compared with numba's kernels either, as there is no g++ to compile it."
        )
        yield None
    else:
        with cuda_shim.on_cpu():
            yield np


def main(arguments: Sequence[str] | None = None, workloads: Sequence[Workload] = WORKLOADS) -> int:
    """Run all parts; 1 if numbers differ from numba's, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="default: this folder")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    options = parser.parse_args(arguments)
    gpu = backend.gpu_status()
    where = f"{results.today()}, {results.version()}, {gpu.reason if gpu.is_available else 'no GPU'}"
    where += f", {results.machine()}, {results.libraries()}"
    speeds: dict[str, dict[str, float]] = {}
    whole: dict[str, float] = {}
    thick_s: dict[str, float] = {}
    if gpu.is_available:
        cupy = importlib.import_module("cupy")
        differences = parity(cupy, large=not options.quick)
        thick = gpu_thickness.parity(cupy, large=not options.quick)
        thick_s = gpu_thickness.speed(
            cupy, kernel_seconds, gpu_thickness.QUICK_VOXELS if options.quick else gpu_thickness.EDGES_VOXELS
        )
        whole = whole_parity()
        for workload in QUICK if options.quick else workloads:
            speeds[f"{workload.name}: {workload.n_views} views"] = speed(cupy, workload)
    else:
        with _no_gpu(gpu.reason) as xp:
            differences = parity(xp, large=False) if xp else {}
            thick = gpu_thickness.parity(xp, large=False) if xp else {}
    lines = [f"{where}.", "", *parity_table(differences)]
    lines += ["", *gpu_thickness.tables(thick, thick_s)]
    lines += ["", *whole_table(whole)] if whole else []
    lines += ["", *speed_table(speeds)] if speeds else []
    print("\n".join(lines))
    numbers = {"where": where, "parity": differences, "whole": whole, "speed": speeds}
    _write(options.output, lines, {**numbers, "thickness": thick, "thickness_s": thick_s})
    is_wrong = any(max(each) > TOLERANCE for each in differences.values()) or any(thick.values())
    return int(is_wrong or any(value > WHOLE_TOLERANCE for value in whole.values()))


def _write(folder: Path, lines: Sequence[str], numbers: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu_check.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    numbers["parity"] = {name: each._asdict() for name, each in numbers["parity"].items()}
    numbers["workloads"] = [dataclasses.asdict(workload) for workload in (*WORKLOADS, *QUICK)]
    (folder / "gpu_check.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
