"""Align a large series without markers, from a memory map: python -m benchmarks.large_alignment EDGE DTYPE FOLDER.

Prints seconds, errors across and along the axis in pixels of the series, and the peak of the whole process over the
size of the input, as JSON. Pages of the input that were read count as memory of the process.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import misaligned
from benchmarks.memory import status_bytes
from tomo3d import align
from tomo3d.phantoms import Acquisition, Microscope, acquire, catalyst_layer
from tomo3d.types import TiltSeries

_TILTS_DEG = np.linspace(-60.0, 60.0, 61)
_EXACT_PIXELS = 1024  # of closed-form views; larger ones are these on smaller pixels
_NOISE = 0.1  # of the range, at 1,024 pixels; the same dose on smaller pixels leaves more
_SMALL_PIXELS = 48
_COUNTS = 4000  # of int16, that the range fills


def write_series(path: Path, edge: int, dtype: str, seed: int = 0) -> Acquisition:
    """A catalyst layer whose views are moved by up to 5 nm, its images a memory map of this type."""
    exact = min(edge, _EXACT_PIXELS)
    acquired = acquire(
        catalyst_layer(),
        tilt_angles_deg=_TILTS_DEG.tolist(),
        pixel_size_nm=misaligned.PIXEL_NM * misaligned.N_PIXELS / exact,
        image_shape=(exact, exact),
        microscope=Microscope(shift_nm=5.0),
    )
    finer = edge // exact
    views = np.asarray(acquired.series.images)
    low, span = float(views.min()), float(np.ptp(views))
    scale = _COUNTS / span if np.dtype(dtype).kind == "i" else 1.0
    sigma = _NOISE * span * edge / _EXACT_PIXELS
    rng = np.random.default_rng(seed)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(len(views), edge, edge))
    for image, view in zip(images, views, strict=True):
        noisy = rng.standard_normal((edge, edge), dtype=np.float32)
        noisy *= np.float32(sigma)
        noisy += np.repeat(np.repeat(view - low, finer, axis=0), finer, axis=1)
        noisy *= np.float32(scale)
        image[...] = np.rint(noisy, out=noisy) if scale != 1.0 else noisy
    images.flush()
    del images, image
    pixel_nm = acquired.series.pixel_size_nm / finer
    series = TiltSeries(np.load(path, mmap_mode="r"), _TILTS_DEG, pixel_nm, acquired.series.tilt_axis_deg)
    return Acquisition(series, acquired.alignment)


def main() -> None:
    """Compile on a small series, then measure on the large one."""
    edge, dtype, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    if edge > _SMALL_PIXELS:
        align.marker_free(write_series(folder / "small.npy", _SMALL_PIXELS, dtype).series)
    acquired = write_series(folder / "series.npy", edge, dtype)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = time.perf_counter()
    found = align.marker_free(acquired.series)
    seconds = time.perf_counter() - start
    across, along = (
        float(np.sqrt(np.mean(np.square(each)))) for each in misaligned.errors_px(found, acquired)
    )
    peak = status_bytes("VmHWM") / acquired.series.images.nbytes
    print(
        json.dumps({"seconds": seconds, "across_px": across, "along_px": along, "peak_over_input": peak}),
    )


if __name__ == "__main__":
    main()
