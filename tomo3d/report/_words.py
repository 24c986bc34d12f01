"""Numbers, durations, sizes and parameters as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.phantoms import Specimen
from tomo3d.types import Alignment, Labels, SpatialGraph, Surface, TiltSeries, Volume

MISSING = "not available"
_MANY = 8


def number(value: Any, digits: int = 4) -> str:
    """A number with `digits` significant digits and thousands apart; whole numbers whole."""
    if value is None:
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return _minus(f"{int(value):,}")
    value = float(value)
    if not math.isfinite(value):
        return MISSING if math.isnan(value) else _minus("infinite" if value > 0 else "-infinite")
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    exponent = math.floor(math.log10(abs(rounded)))
    if not -4 <= exponent < 9:
        mantissa = f"{rounded / 10.0**exponent:.{digits - 1}f}".rstrip("0").rstrip(".")
        return _minus(f"{mantissa}e{exponent}")
    text = f"{rounded:,.{max(digits - 1 - exponent, 0)}f}"
    return _minus(text.rstrip("0").rstrip(".") if "." in text else text)


def quantity(value: Any, unit: str, digits: int = 4) -> str:
    """A number with its unit; a missing one without."""
    text = number(value, digits)
    unit = unit.replace("^2", "²").replace("^3", "³")
    return text if text == MISSING or not unit else f"{text} {unit}"


def duration(seconds: float) -> str:
    """A time in the units a person would use."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{number(seconds, 3 if seconds < 10 else 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def memory(n_bytes: float | None) -> str:
    """Bytes as KiB to TiB."""
    if n_bytes is None:
        return MISSING
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{number(size, 3)} {unit}"
        size /= 1024
    return f"{number(size, 3)} TiB"


def size(shape: tuple[int, ...]) -> str:
    """Size of an array, last axis first as microscopists say it: x x y (x z)."""
    return " × ".join(f"{int(n):,}" for n in reversed(shape))


def triple(values: tuple[float, ...], unit: str) -> str:
    """Three lengths in the order of `size` (x, y, z); one where they are equal."""
    if np.allclose(values, values[0], rtol=1e-6):
        return f"{number(values[0])} {unit}"
    return " × ".join(number(v) for v in reversed(values)) + f" {unit} (x × y × z)"


def parameter(value: Any) -> str:
    """A parameter as one would write it in a recipe, long arrays by their size."""
    if value is None:
        return "none"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))
    if isinstance(value, (int, np.integer, str, Path)):
        return str(value)
    if isinstance(value, (TiltSeries, Alignment, Volume, Labels, Surface, SpatialGraph, Specimen)):
        return describe(value)
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{f.name}={parameter(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({inner})"
    if isinstance(value, np.ndarray) and value.size > _MANY:
        return f"array of {size(value.shape[::-1])} values, {number(value.min())} to {number(value.max())}"
    if isinstance(value, np.ndarray):
        return parameter(value.tolist())
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {parameter(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(parameter(item) for item in value[:_MANY])
        return f"({shown}{f', ... {len(value)} in all' if len(value) > _MANY else ''})"
    return repr(value)


def describe(value: Any) -> str:
    """What an object is, in one line."""
    if isinstance(value, TiltSeries):
        n_used = int(value.used.sum())
        return (
            f"tilt series of {value.n_tilts} views ({n_used} in use), {size(value.images.shape[1:])} pixels "
            f"of {number(value.pixel_size_nm)} nm"
        )
    if isinstance(value, Alignment):
        return f"alignment of {value.n_tilts} views, r.m.s. residual {quantity(value.residual_nm, 'nm', 3)}"
    if isinstance(value, (Volume, Labels)):
        what = "volume" if isinstance(value, Volume) else "labels"
        return f"{what} of {size(value.data.shape)} voxels of {triple(value.voxel_size_nm, 'nm')}, {value.data.dtype}"
    if isinstance(value, Surface):
        return f"surface of {len(value.faces):,} triangles"
    if isinstance(value, SpatialGraph):
        return f"graph of {len(value.nodes):,} nodes and {len(value.branches):,} branches"
    if isinstance(value, Specimen):
        return (
            f"specimen of {len(value.bodies)} bodies ({', '.join(value.phases)}) in a field of "
            f"{triple(value.size_nm, 'nm')}"
        )
    return parameter(value)


def _minus(text: str) -> str:
    return text.replace("-", "−")
