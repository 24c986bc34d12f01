"""Files: what it costs to open one and to turn it into another, beside a plain copy; writers killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.cases import Target, Targets
from benchmarks.kill_writers import Outcome, kill_writers
from benchmarks.timing import seconds
from tomo3d import Volume, io

_GIB = 1 << 30
_N_PAIRS = (
    3  # of a conversion and a copy, in turn; one for a small file, whose speed is that of starting Python
)
_SMALL_MIB = 64
_EDGE = 1024
_READ = """
import sys
from pathlib import Path
from tomo3d import io
def held(word):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(word))
    return int(line.split()[1])
before = held("VmHWM")
volume = io.read_volume(sys.argv[1])
print((held("VmHWM") - before) / 1024)
"""
_CONVERT = """
import sys, time
from pathlib import Path
from tomo3d import io
start = time.perf_counter()
io.convert(sys.argv[1], sys.argv[2])
took = time.perf_counter() - start
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(took, int(line.split()[1]) / 1024)
"""


def _fresh(code: str, *arguments: object) -> list[float]:
    """The numbers that a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


def _write_mrc(path: Path, mebibytes: int) -> None:
    """A float volume of noise, of rows of 1024 x 1024."""
    n_z = mebibytes * (1 << 20) // (4 * _EDGE * _EDGE)
    planes = np.random.default_rng(0).random((4, _EDGE, _EDGE), dtype=np.float32)
    with tempfile.TemporaryFile(dir=path.parent) as scratch:
        values = np.memmap(scratch, np.float32, "w+", shape=(n_z, _EDGE, _EDGE))
        for z in range(0, n_z, 4):
            values[z : z + 4] = planes
        io.write_volume(Volume(values, (1, 1, 1)), path)


def _copy(source: Path, target: Path) -> None:
    """A plain copy that is on the disk when it returns, as an output of ours is."""
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


class _OneFile:
    """An MRC file of this size, in a folder of its own."""

    def setup(self, mebibytes: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name)
        if shutil.disk_usage(self.place).free < 4 * mebibytes << 20:
            self.folder.cleanup()
            raise NotImplementedError(f"no room for four times {mebibytes} MiB in {self.place.parent}")
        _write_mrc(self.place / "volume.mrc", mebibytes)

    def teardown(self, *_: object) -> None:
        self.folder.cleanup()


class Open(_OneFile):
    """Reading a volume as a memory map: its values are looked at, and let go."""

    params, param_names = ([16, 4096],), ("mebibytes",)
    targets: ClassVar[Targets] = {"track_memory_mib": Target(at_most=100.0)}

    def track_memory_mib(self, mebibytes: int) -> float:
        return _fresh(_READ, self.place / "volume.mrc")[0]


class Convert(_OneFile):
    """From MRC to OME-Zarr with all its levels, on the disk, in a fresh process; the copy is on the disk, too."""

    params, param_names = ([16, 4096],), ("mebibytes",)
    targets: ClassVar[Targets] = {
        "track_memory_mib": Target(at_most=512.0),
        "track_share_of_copy_speed": {(4096,): Target(at_least=0.8)},
    }

    def track_memory_mib(self, mebibytes: int) -> float:
        return self._convert()[1]

    def track_share_of_copy_speed(self, mebibytes: int) -> float:
        """Median of the time of a copy over that of the conversion, in turn."""
        ratios = []
        for _ in range(1 if mebibytes <= _SMALL_MIB else _N_PAIRS):
            copied = seconds(lambda: _copy(self.place / "volume.mrc", self.place / "copy.mrc"))
            (self.place / "copy.mrc").unlink()
            ratios.append(copied / self._convert()[0])
        return float(np.median(ratios))

    def _convert(self) -> list[float]:
        numbers = _fresh(_CONVERT, self.place / "volume.mrc", self.place / "volume.zarr")
        shutil.rmtree(self.place / "volume.zarr")
        return numbers


class KilledWriters:
    """Every writer, killed at random moments: what has a final name is whole, and the input untouched."""

    params, param_names = ([2, 100],), ("kills",)
    targets: ClassVar[Targets] = {
        "track_incomplete": Target(at_most=0.0),
        "track_changed_inputs": Target(at_most=0.0),
    }
    _seen: ClassVar[dict[int, Outcome]] = {}

    def setup(self, kills: int) -> None:
        if kills not in self._seen:
            self._seen[kills] = kill_writers(kills)

    def track_incomplete(self, kills: int) -> int:
        return self._seen[kills].n_incomplete

    def track_changed_inputs(self, kills: int) -> int:
        return self._seen[kills].n_changed_inputs

    def track_interrupted_writes(self, kills: int) -> int:
        return self._seen[kills].n_interrupted
