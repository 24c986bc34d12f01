"""An iterative method run over a volume: slab by slab along y, all iterations of a slab before the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomo3d import progress
from tomo3d.compute import backend
from tomo3d.compute.inner_order import takes_slabs_directly, to_inner, to_public
from tomo3d.compute.projector import SLAB
from tomo3d.compute.solvers._constraint import FREE, Constraint
from tomo3d.compute.solvers._equations import Equations, Method, Step, Weights, equations
from tomo3d.compute.solvers._margin import continued
from tomo3d.compute.solvers._stopping import Pilot, StoppingRule
from tomo3d.compute.streaming import ReadAhead, WriteBehind

Array = Any
Callback = Callable[[int, Any, float], bool | None]  # (iteration, volume, residual norm)


@dataclass(frozen=True, eq=False)
class Solution:
    """A volume (n_z, n_y, n_x), and how it came about.

    `residual_norms` (n_iterations,) is |b - A x| before each iteration, `objectives` likewise what the method minimises
    (None where that is the residual); `stopped` says why it ended.
    """

    volume: Array
    residual_norms: np.ndarray
    objectives: np.ndarray | None
    n_iterations: int
    stopped: str


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be solved: images (n_views, n_v, n_u), their projector, and what is known of the volume.

    Parameters
    ----------
    images : array or anything with `shape` and `images[:, first:last]`
        NaN: not measured.
    projector : Projector
        In voxels.
    voxel : float
        Length of a voxel's edge: the volume holds density per length.
    constraint : Constraint
        In densities per length; mask in the public order.
    initial : array, shape (n_z, n_y, n_x), optional
        Default: zeros, or what the method takes in place of them.
    margin : int
        Voxels at either end of x that the projector's volume has beyond that of mask, initial volume and result:
        there both go on as their last voxel, and the result is cut.
    """

    images: Array
    projector: Any
    voxel: float = 1.0
    constraint: Constraint = FREE
    initial: Array | None = None
    margin: int = 0

    @property
    def n_x(self) -> int:
        """Width of the result, without margins."""
        return int(self.projector.n_x) - 2 * self.margin

    @property
    def n_y(self) -> int:
        """Number of slices of the volume."""
        return int(getattr(self.projector, "n_y", None) or self.images.shape[1])

    @property
    def is_separable(self) -> bool:
        """Whether slices along y can be solved for themselves."""
        return bool(getattr(self.projector, "is_separable", True))

    def block(
        self, runs: list[slice], weights: Weights | None = None, *, most_eigenvalue: float = 1.0
    ) -> tuple[Equations, Array, Constraint]:
        """Equations, first volume and constraint of some slices along y, given as runs of them."""
        rows = runs if self.is_separable else [slice(0, int(self.images.shape[1]))]
        bands = [self.images[:, run] for run in rows]
        images = bands[0] if len(bands) == 1 else backend.namespace(bands[0]).concatenate(bands, axis=1)
        bands.clear()
        slices = np.concatenate([np.arange(run.start, run.stop) for run in runs])
        weights = weights or self.weights(images, most_eigenvalue)
        block = equations(images, self.projector, weights, slices, 1.0 / self.voxel)
        x = block.volume()
        known = replace(self.constraint, mask=continued(self.constraint.mask, self.margin))
        constraint = known.block(runs, x)
        if self.initial is not None:
            block = replace(block, is_started=True)
            xp, first, initial = backend.namespace(x), 0, continued(self.initial, self.margin)
            for run in runs:
                part = xp.asarray(initial[:, run], dtype=np.float32)  # type: ignore[index]
                to_inner(part, x[:, :, first : first + part.shape[1]])
                first += part.shape[1]
            constraint.apply(x)
        return block, x, constraint

    def weights(self, beside: Array, most_eigenvalue: float = 1.0) -> Weights:
        """Weights for all blocks, where `beside` lives."""
        return Weights(self.projector, beside, 1 if self.is_separable else self.n_y, most_eigenvalue)


def iterate(
    method: Method,
    problem: Problem,
    *,
    n_iterations: int,
    stop: StoppingRule | None = None,
    callback: Callback | None = None,
    out: Array | None = None,
    n_slices: int = SLAB,
) -> Solution:
    """Run a method on all slices, `n_slices` at a time, each slab to its end before the next.

    With a `callback`, a projector that couples slices, or a method that does, one slab holds them all.
    `callback(iteration, volume, residual_norm)` sees a read-only view (n_z, n_y, n_x) after each iteration, counted
    from 1, and the norm of the residual before it; it returns True to stop. The volume is without margins. `out` is
    written as out[:, first:last] = slab, on the host if it is there. From the host and to it slabs go while a device
    works on another.
    """
    reason = "n_iterations"
    if stop is not None:
        n_iterations, reason = stop.best(method, pilot(problem, method), n_iterations)
    is_whole = callback is not None or method.couples_slices or not problem.is_separable
    n_slices = problem.n_y if is_whole else n_slices
    runs = [slice(y, min(y + n_slices, problem.n_y)) for y in range(0, problem.n_y, n_slices)]
    history: list[list[Step]] = []
    weights = None
    with ReadAhead(problem.images, runs if problem.is_separable else []) as images, WriteBehind() as written:
        problem = replace(problem, images=images)
        for k, run in enumerate(runs):
            block, x, constraint = problem.block([run], weights, most_eigenvalue=method.most_eigenvalue)
            images.go_on()
            weights = block.weights
            if out is None:
                xp = backend.namespace(x)
                out = xp.empty((x.shape[0], problem.n_y, problem.n_x), dtype=np.float32)
            done = []
            for step in _steps(method, block, x, constraint, n_iterations):
                done.append(step)
                progress.report(method.title, k * n_iterations + len(done), len(runs) * n_iterations)
                norm = math.sqrt(step.power) * problem.voxel
                if callback is not None and callback(len(done), _seen(x, problem.margin), norm):
                    reason = "callback"
                    break
            history.append(done)
            del block, constraint
            _write(x, out, run, problem.margin, written)
            del x
    return _solution(out, history, problem.voxel, reason)


def pilot(problem: Problem, method: Method) -> Pilot:
    """Up to 64 slices spread evenly along y; next to each other where the method couples them; all if A does."""
    n_y = problem.n_y
    n = min(SLAB, n_y)
    if not problem.is_separable:
        runs = [slice(0, n_y)]
    elif method.couples_slices or n == n_y:
        runs = [slice((n_y - n) // 2, (n_y - n) // 2 + n)]
    else:
        runs = [slice(y, y + 1) for y in np.rint(np.linspace(0, n_y - 1, n)).astype(int).tolist()]
    block, x, constraint = problem.block(runs, most_eigenvalue=method.most_eigenvalue)
    return Pilot(block, x, constraint, problem.voxel)


def _steps(
    method: Method, block: Equations, x: Array, constraint: Constraint, n_iterations: int
) -> Iterable[Step]:
    """The steps of a block; what it worked with is let go of when they end."""
    for _, step in zip(range(n_iterations), method.steps(block, x, constraint), strict=False):
        yield step


def _seen(x: Array, margin: int) -> Array:
    """x without its margins in the public order, for reading."""
    view = x[:, margin : x.shape[1] - margin].transpose(0, 2, 1)
    if isinstance(view, np.ndarray):
        view.flags.writeable = False
    return view


def _write(x: Array, out: Array, run: slice, margin: int, written: WriteBehind) -> None:
    """out[:, run] = x without its margins in the public order."""
    xp = backend.namespace(x)
    if takes_slabs_directly(out, xp):
        to_public(x, xp.asarray(out)[:, run], before=margin)
    else:
        kept = x[:, margin : x.shape[1] - margin]
        written.write(xp.ascontiguousarray(kept.transpose(0, 2, 1)), out, run)


def _solution(out: Array, history: list[list[Step]], voxel: float, reason: str) -> Solution:
    """Powers and objectives summed over the slabs."""
    powers = np.sum([[step.power for step in done] for done in history], axis=0)
    objectives = np.sum([[step.objective for step in done] for done in history], axis=0)
    return Solution(
        volume=out,
        residual_norms=np.sqrt(powers) * voxel,
        objectives=None if np.isnan(objectives).any() else objectives,
        n_iterations=len(powers),
        stopped=reason,
    )
