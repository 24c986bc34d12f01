"""Conjugate gradients on the least-squares problem of SIRT, within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._equations import Equations, Step
from tomo3d.compute.solvers._pieces import in_pieces, power

Array = Any
_ROUNDING = 1e-6  # cosine of the angle between two images that float32 can tell from 0


@dataclass(frozen=True)
class Cgls:
    """Conjugate gradients for |R^(1/2) (b - A x)| with C as preconditioner, every slice for itself.

    R and C are SIRT's weights: ten iterations do what fifty of SIRT do. Stopping early is the only regularisation
    (van der Sluis and van der Vorst, Linear Algebra Appl. 130 (1990) 257-303, doi:10.1016/0024-3795(90)90215-X).

    Under bounds, voxels that would leave them at once are held, each new direction is conjugate to the last change
    of the volume, and the step along it, cut at the bounds, is scaled to the length of the least residual: the
    weighted residual never rises, and costs one projection more where a bound is met. Without bounds
    this is the method of conjugate gradients itself.
    """

    title: ClassVar[str] = "CGLS"
    n_volumes: ClassVar[int] = 3
    n_images: ClassVar[int] = 4
    couples_slices: ClassVar[bool] = False

    @property
    def most_eigenvalue(self) -> float:
        """Any: the length of each step is worked out."""
        return math.inf

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Improve x in place, once before each yield. The objective is |R^(1/2) (b - A x)|^2."""
        xp = backend.namespace(x)
        projector, rows, columns = equations.projector, equations.row_weights, equations.column_weights
        residual, seen, change = equations.images(), equations.images(), equations.images()
        gradient, direction = equations.volume(), equations.volume()
        if constraint.has_bounds:
            constraint.apply(x)
        squares = equations.residual(x, residual)

        def dot(a: Array, b: Array) -> Array:
            sums = sum(in_pieces(lambda p: _sums(a[p] * b[p] * rows[p]), a))
            return sums if equations.is_separable else xp.reshape(xp.sum(sums), (1,))

        while True:
            power_left = dot(residual, residual)
            in_pieces(lambda p: xp.multiply(residual[p], rows[p], out=seen[p]), seen)
            projector.back_inner(seen, out=gradient)
            in_pieces(partial(_precondition, gradient, columns, x, constraint), x)
            projector.forward_inner(gradient, out=seen)
            turn = -_ratio(dot(seen, change), dot(change, change))
            _advance(direction, turn, gradient)
            _advance(change, turn, seen)
            length = _length(dot(residual, change), dot(change, change), power_left)
            if constraint.has_bounds:
                was_cut = in_pieces(partial(_cut, direction, length, x, constraint), x)
                if any(was_cut):
                    projector.forward_inner(direction, out=change)
                else:
                    change *= length
                length = xp.minimum(_length(dot(residual, change), dot(change, change), power_left), 1)
                direction *= length > 0  # a slice that cannot go on that way begins anew
                change *= length > 0
            in_pieces(partial(_move, x, length, direction, constraint), x)
            in_pieces(partial(_subtract, residual, length, change, equations.seen), residual)
            yield Step(squares, float(power_left.sum()))
            squares = power(residual)


def _sums(products: Array) -> Array:
    """Sums over views and u of a piece, per slice."""
    return products.sum(axis=1).sum(axis=0, dtype=np.float64)


def _ratio(a: Array, b: Array) -> Array:
    """a / b in float32, and 0 where b is 0."""
    xp = backend.namespace(a)
    return xp.where(b > 0, a / xp.where(b > 0, b, 1), 0).astype(np.float32)


def _length(fit: Array, change: Array, residual: Array) -> Array:
    """fit / change; 0 where the step would gain no more than rounding, so that a solved slice stays as it is."""
    xp = backend.namespace(fit)
    return xp.where(fit > _ROUNDING * xp.sqrt(change * residual), _ratio(fit, change), 0).astype(np.float32)


def _precondition(gradient: Array, columns: Array, x: Array, constraint: Constraint, piece: slice) -> None:
    gradient[piece] *= columns[piece]
    constraint.hold(gradient, x, piece)


def _advance(direction: Array, turn: Array, gradient: Array) -> None:
    """direction = turn * direction + gradient."""

    def some(piece: slice) -> None:
        direction[piece] *= turn
        direction[piece] += gradient[piece]

    in_pieces(some, direction)


def _cut(direction: Array, length: Array, x: Array, constraint: Constraint, piece: slice) -> bool:
    """Turn a piece of the direction into the change of x that the bounds let through; whether they cut it."""
    part, here = direction[piece], x[piece]
    part *= length
    there = here + part
    free = there.copy()
    constraint.project(there, piece)
    if bool((there == free).all()):
        return False  # the step itself is kept: there and back would round it
    backend.namespace(x).subtract(there, here, out=part)
    return True


def _move(x: Array, length: Array, direction: Array, constraint: Constraint, piece: slice) -> None:
    x[piece] += length * direction[piece]
    if constraint.has_bounds:
        constraint.apply(x, piece)  # rounding


def _subtract(residual: Array, length: Array, change: Array, seen: Array | None, piece: slice) -> None:
    residual[piece] -= length * change[piece]
    if seen is not None:
        residual[piece] *= seen[piece]
