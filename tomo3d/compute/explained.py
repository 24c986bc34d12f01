"""What one volume can explain of a set of views, and what it cannot.

An alignment is right when one volume explains all views. Errors of neighbouring views that are alike hardly show
where a view is compared with a volume that its neighbours made; they show in what no volume explains. That rest
is linear in the views here, so that its change with any parameter of the alignment can be followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tomo3d import geometry
from tomo3d.compute.inner_order import zeros_beside
from tomo3d.compute.kernels.momentum import momentum_step_cpu, weighted_rest_cpu
from tomo3d.compute.kernels.threads import threads_for
from tomo3d.compute.projector import Projector

_POWER_STEPS = 8
_NORM_MARGIN = 1.05
_PART_MARGIN = 1.1
_NORM_SLICES = 16  # that the norm is looked for in
_VECTOR = 16  # slices that the projector works on at once
_MOST_OF_IT = 0.9  # of the grid: a smaller one that holds the support is worked on instead
_EVERYWHERE = np.ones((1, 1, 1), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The least-squares volume of weighted views, after a fixed number of accelerated gradient steps from zero.

    Parameters
    ----------
    projector : Projector
        Separable: slices along y are independent.
    weights : ndarray, shape (n_views, n_u + padding, n_y), float32
        Of each pixel, 0 in the padding, 0 where nothing was measured.
    n_iterations : int
        Fewer leave out fine detail, and so noise.
    support : ndarray of uint8, shape (n_z, n_x, n_y), optional
        0 where the volume is known to be empty. Default: nowhere.
    norm : float, optional
        Square of the largest singular value of the weighted projector. Default: estimated.
    is_positive : bool
        Whether <w b, what is left of w b> is never negative; `n_iterations` is then rounded up to an even number.

    Notes
    -----
    Nesterov's steps have lengths that do not depend on the views, so that what is left, w (b - A x), is a
    symmetric linear map of w b (Y. Nesterov, Soviet Math. Dokl. 27 (1983) 372-376). They overshoot, and leave the wrong
    sign of what a volume almost explains: what an alignment leaves may then curve the wrong way where the views hardly
    fix it. Half of the steps, and as many that begin anew from there without momentum, leave the square of what
    one half leaves, which is never negative, but explain a little less.
    """

    projector: Projector
    weights: np.ndarray
    n_iterations: int
    support: np.ndarray | None = None
    norm: float = math.nan
    is_positive: bool = False

    def __post_init__(self) -> None:
        if math.isnan(self.norm):
            object.__setattr__(self, "norm", self._estimated_norm())

    def split(self, weighted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(w b - w A x, x): what no volume explains of weighted views w b (n_views, n_u + padding, n_y), and x."""
        box = self._box()
        if box is not None:
            x = self._empty()
            rest, x[box] = self._boxed(box).split(weighted)
            return rest, x
        n_y = weighted.shape[2]
        if n_y % _VECTOR:  # slices that do not fill a vector take as long as three vectors
            n_wide = n_y + -n_y % _VECTOR
            rest, x = self._widened(n_wide).split(_widened(weighted, n_wide))
            return _taken(rest, slice(n_y)), _taken(x, slice(n_y))
        x, ahead, gradient = self._empty(), self._empty(), self._empty()
        rest = zeros_beside(weighted, weighted.shape)
        support = _EVERYWHERE if self.support is None else self.support
        with threads_for(x.size * self.projector.n_views):
            for momentum in self._momenta():
                self.projector.forward_inner(ahead, out=rest)
                weighted_rest_cpu(weighted, self.weights, rest)
                self.projector.back_inner(rest, out=gradient)
                momentum_step_cpu(x, ahead, gradient, support, 1.0 / self.norm, momentum)
            self.projector.forward_inner(x, out=rest)
        rest *= self.weights
        np.subtract(weighted, rest, out=rest)
        return rest, x

    def predict(self, volume: np.ndarray) -> np.ndarray:
        """A x, (n_views, n_u + padding, n_y), without weights."""
        return np.asarray(self.projector.forward_inner(volume))

    def part(self, views: np.ndarray) -> Explanation:
        """The same with some of the views; spread evenly, they have their share of the norm."""
        return replace(
            self,
            projector=self.projector.views(views),
            weights=np.ascontiguousarray(self.weights[views]),
            norm=_PART_MARGIN * self.norm * len(views) / self.projector.n_views,
        )

    def slices(self, slices: np.ndarray | slice) -> Explanation:
        """The same of some of the slices along y: they are independent."""
        return replace(
            self,
            weights=_taken(self.weights, slices),
            support=None if self.support is None else _taken(self.support, slices),
        )

    def _box(self) -> tuple[slice, slice] | None:
        """The smallest part of the grid, (z, x), that holds the support; None where that is most of it."""
        if self.support is None:
            return None
        filled = np.asarray(self.support.any(axis=2))
        if not filled.any():
            return None
        z, x = (np.flatnonzero(filled.any(axis=axis)) for axis in (1, 0))
        box = slice(int(z[0]), int(z[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
        share = (box[0].stop - box[0].start) * (box[1].stop - box[1].start) / filled.size
        return box if share < _MOST_OF_IT else None

    def _boxed(self, box: tuple[slice, slice]) -> Explanation:
        """The same on a part of the grid that holds the support: beside it the volume is empty anyway."""
        z, y, x = self.projector.specimen_offset
        up, across = (
            0.5 * (part.start + part.stop - 1) - geometry.centre(n)
            for part, n in zip(box, (self.projector.n_z, self.projector.n_x), strict=True)
        )
        projector = replace(
            self.projector,
            n_z=box[0].stop - box[0].start,
            n_x=box[1].stop - box[1].start,
            specimen_offset=(z + up, y, x + across),
        )
        support = None if self.support is None else np.ascontiguousarray(self.support[box])
        return replace(
            self, projector=projector, support=support, norm=1.0 if math.isnan(self.norm) else self.norm
        )

    def _widened(self, n_y: int) -> Explanation:
        """The same with slices that nothing is seen of behind the others, so that there are n_y."""
        support = None if self.support is None else _widened(self.support, n_y)
        return replace(self, weights=_widened(self.weights, n_y), support=support)

    def _momenta(self) -> Iterator[float]:
        """Nesterov's share of the last move that each step is carried on by."""
        if not self.is_positive:
            yield from _momenta(self.n_iterations)
            return
        half = (self.n_iterations + 1) // 2
        for _ in range(2):
            yield from _momenta(half - 1)
            yield 0.0

    def _empty(self) -> np.ndarray:
        shape = (self.projector.n_z, self.projector.n_x, self.weights.shape[2])
        return np.asarray(zeros_beside(self.weights, shape))

    def _estimated_norm(self) -> float:
        """By the power method; slices are independent, so that the last steps look at the largest only."""
        box = self._box()
        some = self if box is None else self._boxed(box)
        x, norms = some._empty(), np.ones(1)
        x += 1.0
        for step in range(_POWER_STEPS):
            if step == 2 and len(norms) > _NORM_SLICES:
                largest = np.sort(np.argsort(norms)[-_NORM_SLICES:])
                some, x = replace(some, norm=1.0).slices(largest), _taken(x, largest)
            x, norms = some._power_step(x)
        return _NORM_MARGIN * max(float(norms.max()), 1e-30)

    def _power_step(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A' w^2 A x of x (n_z, n_x, n_y), each slice scaled to 1 before, and what it multiplied each by."""
        power = np.einsum("zxy,zxy->y", x, x, dtype=np.float64)
        x *= (1.0 / np.sqrt(np.maximum(power, 1e-60))).astype(np.float32)
        with threads_for(x.size * self.projector.n_views):
            views = self.projector.forward_inner(x)
            views *= self.weights
            views *= self.weights
            x = self.projector.back_inner(views)
        if self.support is not None:
            x *= self.support
        return x, np.sqrt(np.einsum("zxy,zxy->y", x, x, dtype=np.float64))


def joined(parts: Sequence[Explanation]) -> Explanation:
    """One explanation of the slices of several, which differ in nothing else."""
    supports = [part.support for part in parts if part.support is not None]
    return replace(
        parts[0],
        weights=_taken(np.concatenate([part.weights for part in parts], axis=2), slice(None)),
        support=np.concatenate(supports, axis=2) if supports else None,
    )


def _widened(array: np.ndarray, n_y: int) -> np.ndarray:
    """With zeros behind the last slice, so that there are n_y, beginning on a cache line."""
    shape = (*array.shape[:2], n_y)
    wide = zeros_beside(array, shape) if array.dtype == np.float32 else np.zeros(shape, dtype=array.dtype)
    wide[:, :, : array.shape[2]] = array
    return wide


def _taken(array: np.ndarray, slices: np.ndarray | slice) -> np.ndarray:
    """Some of the slices, which are the last axis, beginning on a cache line."""
    some = array[:, :, slices]
    taken = zeros_beside(array, some.shape) if array.dtype == np.float32 else np.empty_like(some, order="C")
    taken[...] = some
    return taken


def _momenta(n_iterations: int) -> Iterator[float]:
    """Nesterov's shares, from none on."""
    t = 1.0
    for _ in range(n_iterations):
        after = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
        yield (t - 1.0) / after
        t = after
