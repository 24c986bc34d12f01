"""Packages of local thickness as peers, each in an environment of its own: they are never dependencies.

`python -m benchmarks.thickness_peer` makes the environments; without one the cases that need it are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

# With what they need and do not say.
PACKAGES = {
    "localthickness": ("localthickness==0.1.3", "scipy", "scikit-image", "matplotlib"),
    "porespy": ("porespy==3.2.0",),
}


def _python(package: str) -> Path:
    return Path(__file__).parent / f".{package}" / "bin" / "python"


def install(package: str) -> None:
    """Make the environment of a package."""
    venv.create(_python(package).parents[1], with_pip=True, clear=True)
    command = [str(_python(package)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *PACKAGES[package]], check=True)


class ThicknessPeer:
    """A worker that stays, with options for its function. Raises NotImplementedError without the package."""

    def __init__(self, package: str, **options: Any) -> None:
        if not _python(package).exists():
            raise NotImplementedError(f"{package} is not installed: python -m benchmarks.thickness_peer")
        self._folder = tempfile.TemporaryDirectory()
        worker = Path(__file__).with_name("thickness_worker.py")
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(_python(package)), str(worker), package, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=outside,
        )
        self.version: str = self._answer()["version"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._process.communicate()
        self._folder.cleanup()

    def run(self, inside: np.ndarray) -> tuple[float, np.ndarray]:
        """Wall time of its work, and its diameters in voxels, (n_z, n_y, n_x)."""
        np.save(self._path("mask"), inside)
        order = {"mask": self._path("mask"), "out": self._path("diameter")}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        seconds = float(self._answer()["seconds"])
        return seconds, np.asarray(np.load(self._path("diameter")))

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # packages may print lines of their own
                answer: dict[str, str] = json.loads(line)
                return answer
        raise RuntimeError("the worker ended; its error is above.")

    def _path(self, name: str) -> str:
        return str(Path(self._folder.name) / f"{name}.npy")


if __name__ == "__main__":
    for name in PACKAGES:
        install(name)
        with ThicknessPeer(name) as peer:
            print(f"{name} {peer.version} is installed", file=sys.stderr)
