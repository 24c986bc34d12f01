"""Least squares with total variation: piecewise constant volumes from few views."""

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
from tomo3d.compute.solvers._pieces import in_pieces

Array = Any
_DAMPING = 1.6  # times sqrt(path in voxels): detail of one voxel then converges without swinging


@dataclass(frozen=True)
class TotalVariation:
    """Minimise 1/2 |A x - b|^2 + weight sum |grad x| within the constraint; the gradient is isotropic, in voxels.

    First-order primal-dual method of A. Chambolle and T. Pock (J. Math. Imaging Vis. 40 (2011) 120-145,
    doi:10.1007/s10851-010-0251-1) with the diagonal preconditioners of T. Pock and A. Chambolle (ICCV (2011)
    1762-1769, doi:10.1109/ICCV.2011.6126441). Differences are forward, and 0 at the last voxel of each axis.
    """

    weight: float

    title: ClassVar[str] = "total variation"
    n_volumes: ClassVar[int] = 5
    n_images: ClassVar[int] = 5
    couples_slices: ClassVar[bool] = True

    @property
    def most_eigenvalue(self) -> float:
        """1, as its preconditioners need."""
        return 1.0

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Improve x in place, once before each yield. The objective is what is minimised."""
        projector, rows, columns = equations.projector, equations.row_weights, equations.column_weights
        constraint.apply(x)
        balance, coverage = _balance(rows, columns)
        projection, model, dual = equations.images(), equations.images(), equations.images()
        flows = [equations.volume() for _ in range(3)] if self.weight > 0 else []
        beyond = equations.volume()  # 2 x - the x before it, and in between the step
        beyond[...] = x
        previous = 0.0  # weight of the projection before in that of x
        while True:
            projector.forward_inner(beyond, out=projection)

            images = (projection, model, dual)
            squares = math.fsum(in_pieces(partial(_ascend, equations, images, rows, balance, previous), dual))
            objective = 0.5 * squares
            if flows:
                weights = (np.float32(balance * coverage / 12.0), np.float32(self.weight))
                length = math.fsum(in_pieces(partial(_flow, x, beyond, flows, weights), x))
                objective += self.weight * length
            projector.back_inner(dual, out=beyond)
            lengths = (columns, balance, coverage if flows else 0.0)
            in_pieces(partial(_descend, x, beyond, flows, lengths, constraint), x)
            previous = 0.5
            yield Step(squares, objective)


def _balance(rows: Array, columns: Array) -> tuple[float, float]:
    """Dual steps of rays over those of the diagonal preconditioner; mean views that see a voxel.

    The product of primal and dual steps is bound, their ratio is free. The dual step of a ray must be large enough
    to follow the residual, and small enough for x to move: it is critically damped at detail of a voxel. Rows of
    differences are scaled so that they take half of the primal step of a voxel that is seen as often as the mean.
    """
    xp = backend.namespace(rows)
    is_met, is_seen = rows > 0, columns > 0
    path = float(xp.where(is_met, 1 / xp.where(is_met, rows, 1), 0).sum(dtype=np.float64)) / max(
        1, int(is_met.sum())
    )
    coverage = max(1, int(is_seen.sum())) / max(1e-6, float(columns.sum(dtype=np.float64)))
    return _DAMPING * math.sqrt(max(path, 1.0)), coverage


def _ascend(
    equations: Equations,
    images: tuple[Array, Array, Array],
    rows: Array,
    balance: float,
    previous: float,
    piece: slice,
) -> float:
    """Dual step of the rays of a piece; |b - A x|^2 there. A x is half of A (2 x - x') + A x'."""
    projection, model, dual = (image[piece] for image in images)
    measured = equations.measured[piece]
    model *= np.float32(previous)
    model += np.float32(1 - previous) * projection
    residual = model - measured
    if equations.seen is not None:
        residual *= equations.seen[piece]
    squares = float(backend.namespace(residual).vdot(residual, residual))
    sigma = np.float32(balance) * rows[piece]
    projection -= measured
    projection *= sigma
    dual += projection
    dual /= 1 + sigma
    return squares


def _flow(
    x: Array, beyond: Array, flows: list[Array], weights: tuple[np.float32, np.float32], piece: slice
) -> float:
    """Dual step of the differences of a piece; the total variation of x there."""
    xp = backend.namespace(x)
    length, weight = weights
    total = sum(difference**2 for difference in _differences(x, piece))
    variation = float(xp.sqrt(total).sum(dtype=np.float64))
    norm = xp.zeros_like(x[piece])
    for flow, difference in zip(flows, _differences(beyond, piece), strict=True):
        difference *= length
        part = flow[piece]
        part += difference
        norm += part**2
    xp.sqrt(norm, out=norm)
    norm /= weight
    xp.maximum(norm, 1, out=norm)
    for flow in flows:
        part = flow[piece]
        part /= norm
    return variation


def _differences(x: Array, piece: slice) -> Iterator[Array]:
    """Forward differences of a piece along each axis, 0 at its last voxel."""
    xp = backend.namespace(x)
    part = x[piece]
    along = xp.zeros_like(part)
    after = x[piece.start + 1 : piece.stop + 1]
    xp.subtract(after, part[: len(after)], out=along[: len(after)])
    yield along
    for axis in (1, 2):
        here, beyond = _without(axis, last=True), _without(axis, last=False)
        along = xp.zeros_like(part)
        xp.subtract(part[beyond], part[here], out=along[here])
        yield along


def _descend(
    x: Array,
    step: Array,
    flows: list[Array],
    lengths: tuple[Array, float, float],
    constraint: Constraint,
    piece: slice,
) -> None:
    """Primal step of a piece, given A' dual in `step`, which becomes 2 x - the x before."""
    part, here = step[piece], x[piece]
    for axis, flow in enumerate(flows):  # the transpose of the differences
        part -= flow[piece]
        if axis == 0:
            first = max(piece.start - 1, 0)
            before = flow[first : piece.stop - 1]
            part[len(part) - len(before) :] += before
        else:
            part[_without(axis, last=False)] += flow[piece][_without(axis, last=True)]
    columns, balance, coverage = lengths
    length = columns[piece] / np.float32(balance)
    if flows:  # 1 / (balance (column sum + coverage)), which an unseen voxel has too
        unseen = np.float32(1 / (balance * coverage))
        length = backend.namespace(x).where(length > 0, length / (1 + length / unseen), unseen)
    part *= length
    before = here.copy()
    here -= part
    constraint.apply(x, piece)
    backend.namespace(x).multiply(here, 2, out=part)
    part -= before


def _without(axis: int, *, last: bool) -> tuple[slice, ...]:
    """Index of all but the last, or the first, sample along an axis of three."""
    cut = slice(None, -1) if last else slice(1, None)
    return tuple(cut if i == axis else slice(None) for i in range(3))
