"""What a volume may be: bounds on its values, and where it may differ from zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomo3d.compute import backend

Array = Any


@dataclass(frozen=True, eq=False)
class Constraint:
    """lower <= x <= upper where `mask` is not zero, and x = 0 elsewhere.

    The mask is (n_z, n_y, n_x), whatever can be sliced; that of a block is in the inner order, (n_z, n_x, n_y) bool.
    """

    lower: float | None = None
    upper: float | None = None
    mask: Array | None = None

    @property
    def has_bounds(self) -> bool:
        """Whether there is a bound."""
        return self.lower is not None or self.upper is not None

    def block(self, slices: list[slice], beside: Array) -> Constraint:
        """The constraint on some slices along y, in the inner order, where `beside` lives."""
        if self.mask is None:
            return self
        xp = backend.namespace(beside)
        parts = [xp.asarray(self.mask[:, part]) != 0 for part in slices]
        whole = parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=1)
        return replace(self, mask=xp.ascontiguousarray(whole.transpose(0, 2, 1)))

    def apply(self, x: Array, piece: slice = slice(None)) -> None:
        """Project a piece of x (inner order) onto what it may be, in place."""
        self.project(x[piece], piece)

    def project(self, part: Array, piece: slice) -> None:
        """Project `part`, the values of a piece of a volume, in place."""
        xp = backend.namespace(part)
        if self.lower is not None:
            xp.maximum(part, np.float32(self.lower), out=part)
        if self.upper is not None:
            xp.minimum(part, np.float32(self.upper), out=part)
        if self.mask is not None:
            part *= self.mask[piece]

    def hold(self, step: Array, x: Array, piece: slice) -> None:
        """Set a piece of `step` to 0 where it would leave what x may be at once."""
        part, here = step[piece], x[piece]
        if self.lower is not None:
            part[(here <= np.float32(self.lower)) & (part < 0)] = 0
        if self.upper is not None:
            part[(here >= np.float32(self.upper)) & (part > 0)] = 0
        if self.mask is not None:
            part *= self.mask[piece]


FREE = Constraint()
