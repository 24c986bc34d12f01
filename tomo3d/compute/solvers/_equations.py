"""The equations b = A x of a block of slices, and the weights of its rays and voxels."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.inner_order import zeros_beside
from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._pieces import in_pieces, power

Array = Any
_LEAST_PATH = 0.05  # voxels; a ray or voxel that shares less with the slab or the views is left out


class Step(NamedTuple):
    """What an iteration saw before it changed the volume.

    `power` is |b - A x|^2 over the measured pixels, `objective` what the method minimises (nan where that is the same).
    """

    power: float
    objective: float = math.nan


class Method(Protocol):
    """An iterative method: a frozen dataclass of its parameters.

    `n_volumes` and `n_images` count the arrays that it holds at a time, x and b among them; `couples_slices` says
    whether slices along y depend on each other.
    """

    title: ClassVar[str]
    n_volumes: ClassVar[int]
    n_images: ClassVar[int]
    couples_slices: ClassVar[bool]

    @property
    def most_eigenvalue(self) -> float:
        """Of C A' R A, R and C being the weights of rays and voxels: with that the method still converges."""
        ...

    def steps(self, equations: Equations, x: Array, constraint: Constraint) -> Iterator[Step]:
        """Improve x (n_z, n_x, n_y) in place, once before each yield."""
        ...


class Weights:
    """Sums over rays and voxels of a projector, inverted: made once, for all blocks whose every pixel was measured.

    Where weights are negative, the sums of their sizes bound what the sums r and c alone do not. With R and C of
    max(r_i, sum_j |a_ij| / s), and likewise for c, no eigenvalue of C A' R A is above s^2 = `most_eigenvalue`.
    """

    def __init__(self, projector: Any, beside: Array, n_y: int, most_eigenvalue: float = 1.0) -> None:
        # an empty array says where to live; the one given would be kept from being freed
        self._projector, self._beside, self._n_y = (
            projector,
            backend.namespace(beside).empty(0, np.float32),
            n_y,
        )
        self._most_eigenvalue = most_eigenvalue
        self._parts: dict[bytes, Weights] = {}

    @functools.cached_property
    def rows(self) -> Array:
        """R (n_views, n_u + padding, 1 or n_y): 1 / the path of each ray through the slab."""
        ones = zeros_beside(self._beside, (self._projector.n_z, self._projector.n_x, self._n_y))
        ones += 1
        return self.inverse_sums("forward_inner", ones, self._projector)

    @functools.cached_property
    def columns(self) -> Array:
        """C (n_z, n_x, 1 or n_y): 1 / how much all pixels together see of each voxel."""
        projector = self._projector
        n_v = getattr(projector, "n_v", None) or self._n_y
        n_v = 1 if self._n_y == 1 else n_v
        shape = (projector.n_views, n_v, projector.n_u)
        ones = projector.padded(backend.namespace(self._beside).ones(shape, dtype=np.float32))
        return self.inverse_sums("back_inner", ones, projector)

    def inverse_sums(self, direction: str, ones: Array, projector: Any) -> Array:
        """1 / the projection ("forward_inner") or back-projection ("back_inner") of an array of ones and zeros."""
        sums = getattr(projector, direction)(ones)
        larger = getattr(projector, "absolute", projector)
        if larger is not projector and math.isfinite(self._most_eigenvalue):
            sizes = getattr(larger, direction)(ones)
            sizes *= np.float32(self._most_eigenvalue**-0.5)
            backend.namespace(sums).maximum(sums, sizes, out=sums)
        return inverse(sums)

    def views(self, indices: np.ndarray) -> Weights:
        """The weights of some of the views alone."""
        key = np.asarray(indices).tobytes()
        if key not in self._parts:
            self._parts[key] = Weights(
                self._projector.views(indices), self._beside, self._n_y, self._most_eigenvalue
            )
        return self._parts[key]


@dataclass(frozen=True, eq=False)
class Equations:
    """The equations of a block of slices along y, all in the inner order (see `Projector`).

    Parameters
    ----------
    projector : Projector
    measured : array, shape (n_views, n_u + padding, n_y), float32
        b; 0 where a pixel was not measured.
    seen : array of the same shape, or None
        1 where a pixel was measured and 0 where not; None where all were.
    weights : Weights
    slices : ndarray of int, shape (n_y,)
        Which slices of the volume they are.
    is_started : bool
        Whether an initial volume was given, which may be zero.
    """

    projector: Any
    measured: Array
    seen: Array | None
    weights: Weights
    slices: np.ndarray
    is_started: bool = False

    @property
    def is_separable(self) -> bool:
        """Whether every slice can be solved for itself."""
        return bool(getattr(self.projector, "is_separable", True))

    @property
    def n_measured(self) -> int:
        """Number of measured pixels."""
        inside = self.measured[: self.projector.n_views, self.projector.inside]
        if self.seen is None:
            return int(math.prod(inside.shape))
        return int(self.seen[: self.projector.n_views, self.projector.inside].sum(dtype=np.float64))

    def volume(self) -> Array:
        """Zeros for a volume (n_z, n_x, n_y)."""
        return zeros_beside(self.measured, (self.projector.n_z, self.projector.n_x, len(self.slices)))

    def images(self) -> Array:
        """Zeros for images of the shape of `measured`."""
        return zeros_beside(self.measured, self.measured.shape)

    @functools.cached_property
    def row_weights(self) -> Array:
        """R: inverse row sums; 0 where a pixel was not measured, or its ray misses the slab."""
        return self.weights.rows if self.seen is None else self.weights.rows * self.seen

    @functools.cached_property
    def column_weights(self) -> Array:
        """C: inverse column sums over the measured pixels."""
        if self.seen is None:
            return self.weights.columns
        return self.weights.inverse_sums("back_inner", self.seen, self.projector)

    def residual(self, x: Array, out: Array, *, weights: Array | None = None) -> float:
        """out = b - A x, 0 where nothing was measured, times `weights` if given; its power without them."""
        xp = backend.namespace(x)
        self.projector.forward_inner(x, out=out)

        def subtract(piece: slice) -> float:
            part = out[piece]
            xp.subtract(self.measured[piece], part, out=part)
            if self.seen is not None:
                part *= self.seen[piece]
            squares = float(xp.vdot(part, part))
            if weights is not None:
                part *= weights[piece]
            return squares

        return math.fsum(in_pieces(subtract, out))

    def views(self, indices: np.ndarray) -> Equations:
        """The equations of some of the views."""
        projector = self.projector.views(indices)

        def part(images: Array) -> Array:
            return projector.padded(images[indices][:, self.projector.inside].transpose(0, 2, 1))

        seen = None if self.seen is None else part(self.seen)
        return Equations(
            projector, part(self.measured), seen, self.weights.views(indices), self.slices, self.is_started
        )


def equations(images: Array, projector: Any, weights: Weights, slices: np.ndarray, scale: float) -> Equations:
    """The equations of images (n_views, n_y, n_u) times `scale`; NaN says that a pixel was not measured."""
    measured = projector.padded(images)
    seen = None
    if not math.isfinite(power(measured)):
        xp = backend.namespace(measured)
        is_missing = xp.isnan(measured)
        if bool(is_missing.any()):
            seen = projector.padded(xp.ones_like(xp.asarray(images), dtype=np.float32))
            seen[is_missing] = 0
            measured[is_missing] = 0
    if scale != 1.0:
        measured *= np.float32(scale)
    return Equations(projector, measured, seen, weights, slices)


def inverse(sums: Array) -> Array:
    """1 / sums in place, and 0 where there is next to nothing to divide by."""
    xp = backend.namespace(sums)

    def invert(piece: slice) -> None:
        part = sums[piece]
        is_seen = part > _LEAST_PATH
        xp.maximum(part, np.float32(_LEAST_PATH), out=part)
        xp.reciprocal(part, out=part)
        part *= is_seen

    in_pieces(invert, sums)
    return sums
