"""Simultaneous algebraic reconstruction, in ordered subsets of the views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._equations import Equations, Step
from tomo3d.compute.solvers._sirt import Sirt, relax

Array = Any
_GOLDEN = 0.5 * (5**0.5 - 1)


@dataclass(frozen=True)
class Sart:
    """Steps of SIRT on one subset of the views after the other: every `n_subsets`-th in order of angle."""

    relaxation: float = 1.0
    n_subsets: int = 8

    title: ClassVar[str] = "SART"
    n_volumes: ClassVar[int] = 3  # the third: column weights of the subsets
    n_images: ClassVar[int] = 3
    couples_slices: ClassVar[bool] = False

    @property
    def most_eigenvalue(self) -> float:
        """As for `Sirt`."""
        return Sirt(self.relaxation).most_eigenvalue

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Improve x in place, once before each yield. The power is what the subsets meet, each before its step."""
        if self.n_subsets == 1:
            parts = [equations]
        else:
            parts = [equations.views(views) for views in subsets(equations.projector, self.n_subsets)]
        step = equations.volume()
        while True:
            squares = 0.0
            for part in parts:
                squares += relax(part, x, constraint, self.relaxation, part.images(), step)
                if len(parts) > 1:
                    _forget_columns(part)
            yield Step(squares)


def subsets(projector: Any, n_subsets: int) -> list[np.ndarray]:
    """Indices of the views of each subset, in an order in which each is far in angle from those before it.

    The subsets are taken at steps of the golden section of their number (T. Kohler, IEEE Nucl. Sci. Symp. Conf.
    Rec. (2004) 3961-3965, doi:10.1109/NSSMIC.2004.1466745).
    """
    by_angle = np.argsort(projector.tilt_angles_deg, kind="stable")
    n_subsets = min(n_subsets, len(by_angle))
    order = np.argsort(np.argsort(np.arange(n_subsets) * _GOLDEN % 1.0))
    return [by_angle[subset::n_subsets] for subset in order]


def _forget_columns(part: Equations) -> None:
    """Drop the column weights of a subset with gaps: kept for all subsets, they would fill the memory."""
    if part.seen is not None or not part.is_separable:
        vars(part).pop("column_weights", None)
        vars(part.weights).pop("columns", None)
