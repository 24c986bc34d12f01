"""Maximum likelihood for counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._equations import Equations, Step
from tomo3d.compute.solvers._pieces import in_pieces

Array = Any
_TINY = np.float32(1e-20)  # below every projection that float32 tells from none


@dataclass(frozen=True)
class Mlem:
    """x <- x / (A' 1) * A' (b / A x): expectation maximisation of the Poisson likelihood; b is 0 or more.

    L. A. Shepp and Y. Vardi, IEEE Trans. Med. Imaging 1 (1982) 113-122, doi:10.1109/TMI.1982.4307558. An iteration
    maximises a sum of functions of one voxel each, so that cutting its result at bounds maximises it within them,
    and the likelihood rises under bounds too. A voxel that starts at 0 stays there.
    """

    title: ClassVar[str] = "MLEM"
    n_volumes: ClassVar[int] = 2
    n_images: ClassVar[int] = 3
    couples_slices: ClassVar[bool] = False

    @property
    def most_eigenvalue(self) -> float:
        """Any: it has no step to bound."""
        return math.inf

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Improve x in place, once before each yield.

        The objective is the divergence sum(A x - b + b log(b / A x)), the negative log-likelihood but for a constant.
        Without an initial volume it begins with the constant density, in each slice, that explains its counts.
        """
        xp = backend.namespace(x)
        if not equations.is_started:
            x += uniform(equations)
        constraint.apply(x)
        xp.maximum(x, 0, out=x)
        ratio, step = equations.images(), equations.volume()
        columns = equations.column_weights
        while True:
            equations.projector.forward_inner(x, out=ratio)
            sums = in_pieces(lambda piece: _compare(equations, ratio, piece), ratio)
            equations.projector.back_inner(ratio, out=step)

            def multiply(piece: slice) -> None:
                part = step[piece]
                part *= columns[piece]
                x[piece] *= part
                constraint.apply(x, piece)

            in_pieces(multiply, x)
            yield Step(math.fsum(s for s, _ in sums), math.fsum(d for _, d in sums))


def uniform(equations: Equations) -> Array:
    """The density, of each slice if they are independent, whose projections hold as many counts as were measured."""
    xp = backend.namespace(equations.measured)
    ones = equations.volume() + np.float32(1)
    expected = equations.projector.forward_inner(ones)
    if equations.seen is not None:
        expected *= equations.seen
    axes = (0, 1) if equations.is_separable else (0, 1, 2)
    expected = expected.sum(axis=axes, dtype=np.float64)
    counts = xp.maximum(equations.measured, 0).sum(axis=axes, dtype=np.float64)
    return (counts / xp.maximum(expected, float(_TINY))).astype(np.float32)


def _compare(equations: Equations, ratio: Array, piece: slice) -> tuple[float, float]:
    """Turn a piece of A x into b / A x; the power of the residual and the divergence of the piece."""
    xp = backend.namespace(ratio)
    model = ratio[piece]
    counts = xp.maximum(equations.measured[piece], 0)  # resampling undershoots beside steep counts
    if equations.seen is not None:
        model *= equations.seen[piece]
    difference = model - counts
    squares = float(xp.vdot(difference, difference))
    is_met = model > _TINY  # what meets no density explains nothing, and changes nothing
    xp.divide(counts, xp.maximum(model, _TINY), out=model)
    model *= is_met
    difference += counts * xp.log(xp.where(model > 0, model, 1))
    return squares, float(difference.sum(dtype=np.float64))
