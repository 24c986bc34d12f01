"""Print the peak memory of a reconstruction over its input and output: python -m benchmarks.memory EDGE METHOD."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from benchmarks import workloads
from tomo3d.reconstruct import sirt, wbp
from tomo3d.types import TiltSeries, Volume


def reconstruct(method: str, series: TiltSeries, thickness_nm: float) -> Volume:
    """By "wbp", or by two iterations of "sirt"."""
    if method == "wbp":
        return wbp(series, thickness_nm=thickness_nm)
    return sirt(series, thickness_nm=thickness_nm, n_iterations=2)


def status_bytes(name: str) -> int:
    """A line of /proc/self/status, as bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Compile on a small series, then measure on the real one."""
    edge, method = int(sys.argv[1]), sys.argv[2]
    small = workloads.ellipse_series(256, 70)
    reconstruct(method, small, float(workloads.THICKNESS[256]))
    del small
    gc.collect()
    before = status_bytes("VmRSS")
    series = workloads.ellipse_series(edge)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    volume = reconstruct(method, series, float(workloads.THICKNESS[edge]))
    print((status_bytes("VmHWM") - before) / (series.images.nbytes + volume.data.nbytes))


if __name__ == "__main__":
    main()
