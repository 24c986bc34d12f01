"""Simultaneous iterative reconstruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._equations import Equations, Step
from tomo3d.compute.solvers._pieces import in_pieces

Array = Any
_STABLE = 1.99  # relaxation times the largest eigenvalue, below 2


@dataclass(frozen=True)
class Sirt:
    """x <- x + relaxation C A' R (b - A x), with R and C the inverse row and column sums of A."""

    relaxation: float = 1.0

    title: ClassVar[str] = "SIRT"
    n_volumes: ClassVar[int] = 2
    n_images: ClassVar[int] = 2
    couples_slices: ClassVar[bool] = False

    @property
    def most_eigenvalue(self) -> float:
        """Below 2 / relaxation; 1 where that is less, which every projector keeps."""
        return max(1.0, _STABLE / self.relaxation)

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Improve x in place, once before each yield."""
        residual, step = equations.images(), equations.volume()
        while True:
            yield Step(relax(equations, x, constraint, self.relaxation, residual, step))


def relax(
    equations: Equations, x: Array, constraint: Constraint, relaxation: float, residual: Array, step: Array
) -> float:
    """One step of SIRT in place, `residual` and `step` being room to work in; |b - A x|^2 before it."""
    squares = equations.residual(x, residual, weights=equations.row_weights)
    columns = equations.column_weights
    is_fused = backend.namespace(x) is np and hasattr(equations.projector, "back_step")
    if constraint.mask is None and columns.shape[2] == 1 and is_fused:
        lower = -np.inf if constraint.lower is None else constraint.lower
        upper = np.inf if constraint.upper is None else constraint.upper
        weights = columns * np.float32(relaxation)
        equations.projector.back_step(residual, weights, x, lower=lower, upper=upper)
        return squares
    equations.projector.back_inner(residual, out=step)

    def add(piece: slice) -> None:
        part = step[piece]
        part *= columns[piece]
        if relaxation != 1.0:
            part *= np.float32(relaxation)
        x[piece] += part
        constraint.apply(x, piece)

    in_pieces(add, x)
    return squares
