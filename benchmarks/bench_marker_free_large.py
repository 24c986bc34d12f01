"""Time and memory of alignment without markers on large series that lie on a disk."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from benchmarks.cases import Target, Targets

_BITS = [16, 32]
_DTYPES = {16: "int16", 32: "float32"}


class Large:
    """A catalyst layer of 61 views of `edge_pixels` squared, a memory map; each case is a process of its own.

    int16 or float32. Noise of 0.1 of the range at 1,024 pixels, 0.4 at 4,096. What compiles is compiled before. The
    peak is that of the whole process, libraries and mapped input included.
    """

    params, param_names = ([48, 1024, 4096], _BITS), ("edge_pixels", "bits_per_pixel")
    targets: ClassVar[Targets] = {
        "track_marker_free_s": {
            (edge, bits): Target(at_most=limit)
            for edge, limit in ((1024, 60.0), (4096, 360.0))
            for bits in _BITS
        },
        "track_peak_over_input": {(4096, bits): Target(at_most=3.0) for bits in _BITS},
    }

    def setup(self, edge_pixels: int, bits_per_pixel: int) -> None:
        self.found = large_alignment(edge_pixels, _DTYPES[bits_per_pixel])

    def track_marker_free_s(self, edge_pixels: int, bits_per_pixel: int) -> float:
        return self.found["seconds"]

    def track_peak_over_input(self, edge_pixels: int, bits_per_pixel: int) -> float:
        return self.found["peak_over_input"]

    def track_across_px(self, edge_pixels: int, bits_per_pixel: int) -> float:
        """R.m.s. error in pixels of the series, less a + b cos t + c sin t."""
        return self.found["across_px"]

    def track_along_px(self, edge_pixels: int, bits_per_pixel: int) -> float:
        """R.m.s. error in pixels of the series, less its mean."""
        return self.found["along_px"]


@functools.cache
def large_alignment(edge_pixels: int, dtype: str) -> dict[str, float]:
    """What `benchmarks.large_alignment` prints."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.large_alignment", str(edge_pixels), dtype, folder]
        lines = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(lines.splitlines()[-1])
    return found
