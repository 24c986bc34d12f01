"""What a step will make and how much memory it needs, known before any data are read.

A function that knows says so beside its definition::

    @planned(lambda series, *, thickness_nm, **_: Plan(Sketch("Volume", shape, "float32"), peak_bytes))
    def wbp(series, *, thickness_nm): ...

The plan takes the function's own arguments, with a `Sketch` in place of each
tilt series, volume or labels. A function without a plan is taken to return
something of the size of its largest input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Sketch:
    """Size of a tilt series, volume or labels that does not exist yet.

    `pixel_size_nm` is the voxel edge along x, None where it is not known before the data are.
    `shape` is () for what has no grid (tables, alignments).
    """

    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    pixel_size_nm: float | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize if self.shape else 0


@dataclass(frozen=True)
class Plan:
    """What a call returns (by field, where it returns several things) and the bytes it holds at its peak.

    `peak_bytes` counts the result and the working memory, not the inputs.
    """

    result: Sketch | Mapping[str, Sketch]
    peak_bytes: int


def voxels_along(length_nm: float, edge_nm: float) -> int:
    """Voxels along a length, at least 1; 1 too where it is not finite, which the function itself will refuse."""
    n_voxels = length_nm / edge_nm
    return max(1, round(n_voxels)) if math.isfinite(n_voxels) else 1


def planned(plan: Callable[..., Plan]) -> Callable[[Function], Function]:
    """Attach a plan to a function."""

    def attach(function: Function) -> Function:
        function.__plan__ = plan  # type: ignore[attr-defined]
        return function

    return attach


def plan_of(function: Callable[..., Any]) -> Callable[..., Plan] | None:
    """The plan of a function, or None."""
    return getattr(function, "__plan__", None)
