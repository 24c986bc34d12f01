"""tomo3d: from an electron tomography tilt series to numbers that can be published.

Stages load when they are first used, so that `import tomo3d` is quick and
loads neither cupy, dask, torch, vtk nor matplotlib.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tomo3d._version import __version__

_TYPES = ("TiltSeries", "Alignment", "Volume", "Labels", "Surface", "SpatialGraph", "Movie")
_ERRORS = ("FormatError", "ConvergenceError")
_MODULES = (
    "types",
    "geometry",
    "tables",
    "errors",
    "phantoms",
    "io",
    "preprocess",
    "align",
    "reconstruct",
    "quality",
    "segment",
    "measure",
    "graph",
    "render",
    "report",
    "pipeline",
)

if TYPE_CHECKING:
    from tomo3d import (
        align,
        errors,
        geometry,
        graph,
        io,
        measure,
        phantoms,
        pipeline,
        preprocess,
        quality,
        reconstruct,
        render,
        report,
        segment,
        tables,
        types,
    )
    from tomo3d.errors import ConvergenceError, FormatError
    from tomo3d.types import Alignment, Labels, Movie, SpatialGraph, Surface, TiltSeries, Volume

__all__ = [
    "Alignment",
    "ConvergenceError",
    "FormatError",
    "Labels",
    "Movie",
    "SpatialGraph",
    "Surface",
    "TiltSeries",
    "Volume",
    "__version__",
    "align",
    "errors",
    "geometry",
    "graph",
    "io",
    "measure",
    "phantoms",
    "pipeline",
    "preprocess",
    "quality",
    "reconstruct",
    "render",
    "report",
    "segment",
    "tables",
    "types",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tomo3d.{name}")
    if name in _TYPES:
        return getattr(importlib.import_module("tomo3d.types"), name)
    if name in _ERRORS:
        return getattr(importlib.import_module("tomo3d.errors"), name)
    raise AttributeError(f"module 'tomo3d' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
