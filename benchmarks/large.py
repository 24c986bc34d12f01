"""Reconstruct what does not fit: 4,096 x 4,096 x 61 into 4,096 x 4,096 x 512 (34 GB) within 8 GiB of memory.

python -m benchmarks.large [--edge N] [--layers N] [--limit-gib N] [--folder FOLDER]

The series is a memory map and the volume a file that is written as it is made; both lie in FOLDER (a temporary one
by default; 38 GB are needed) and are removed at the end. RLIMIT_DATA holds the process to the limit: taking more raises
MemoryError. Slices chosen over the whole length are compared with reconstructions of themselves alone.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import workloads
from tomo3d.reconstruct import wbp
from tomo3d.types import TiltSeries

_GIB = 1 << 30


def write_series(path: Path, edge: int) -> np.ndarray:
    """A memory map of views of ellipses whose density changes along the tilt axis."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(61, edge, edge))
    rows = workloads.ellipse_rows(1024, workloads.TILTS_DEG)
    rows = np.repeat(rows, edge // 1024, axis=1) if edge >= 1024 else rows[:, :: 1024 // edge]
    weight = 1.0 + 0.5 * np.sin(np.arange(edge, dtype=np.float32) / 50.0)
    for view, row in enumerate(rows):
        images[view] = weight[:, None] * row
    images.flush()
    return np.load(path, mmap_mode="r")


def main() -> None:
    """Run it, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--edge", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=512)
    parser.add_argument("--limit-gib", type=float, default=8.0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        images = write_series(folder / "series.npy", options.edge)
        limit = int(options.limit_gib * _GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        shape = (options.layers, options.edge, options.edge)
        out = np.lib.format.open_memmap(folder / "volume.npy", mode="w+", dtype=np.float32, shape=shape)
        series = TiltSeries(images, workloads.TILTS_DEG, pixel_size_nm=1.0)
        start = time.perf_counter()
        wbp(series, thickness_nm=float(options.layers), out=out, memory_limit=limit // 2)
        out.flush()
        took = time.perf_counter() - start
        worst = 0.0
        for y in (0, options.edge // 3, options.edge - 1):
            alone = wbp(
                TiltSeries(np.array(images[:, y : y + 1]), workloads.TILTS_DEG, 1.0),
                thickness_nm=float(options.layers),
            )
            difference = np.abs(out[:, y : y + 1] - alone.data).max() / np.abs(alone.data).max()
            worst = max(worst, float(difference))
        gigabytes = 4e-9 * np.prod(shape)
        updates = 1e-9 * np.prod(shape) * len(workloads.TILTS_DEG)
        sizes = f"{images.shape[1]} x {images.shape[2]} x {images.shape[0]} into {shape[1]} x {shape[2]} x {shape[0]}"
        print(
            f"{sizes} ({gigabytes:.1f} GB) under {options.limit_gib:g} GiB: {took:.0f} s, {updates / took:.1f} GUPS "
            f"with filter and disk; slices alone differ by {worst:.1e} of the largest density"
        )


if __name__ == "__main__":
    main()
