"""A volume wider than its detector, and which pixels it can explain.

Views of a specimen that goes on beside the field see, when tilted, also what lies there. A volume with a margin at
either end of x holds that too. Whether a pixel's ray stays within the volume, through its whole thickness, follows
from the geometry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.solvers._equations import Equations
from tomo3d.compute.solvers._pieces import power

Array = Any
_LEAST_SHARE = 0.01  # of the measured pixels; with fewer, a rule judges all of them
_EDGE_ON = 1e-6  # cosine of a view along x, whose rays leave at the sides


@dataclass(frozen=True, eq=False)
class Continued:
    """A volume (n_z, n_y, n_x) that goes on for `margin` voxels at either end of x as its last voxel there.

    It is read as volume[:, first:last].
    """

    volume: Array
    margin: int

    def __getitem__(self, key: tuple[slice, slice]) -> Array:
        part = self.volume[key]
        xp = backend.namespace(part)
        return xp.pad(xp.asarray(part), ((0, 0), (0, 0), (self.margin, self.margin)), mode="edge")


def continued(volume: Array | None, margin: int) -> Array | None:
    """`volume` with its margins, or itself where there is none."""
    return volume if volume is None or margin == 0 else Continued(volume, margin)


class Judged(NamedTuple):
    """The pixels that a volume can explain.

    `pixels` (n_views, n_u + padding, 1 or n_v) is 1 for those and 0 for others, None where all measured ones count;
    `share` is theirs of the measured ones.
    """

    pixels: Array | None
    share: float

    @property
    def note(self) -> str:
        """What a record says about the choice."""
        if self.share == 1.0:
            return ""
        if self.pixels is None:
            return f"; judged on all pixels, of which {100 * self.share:.2g} % have rays that stay within the volume"
        return f"; judged on the {100 * self.share:.0f} % of the pixels whose rays stay within the volume"

    @property
    def everywhere(self) -> Judged:
        """All measured pixels instead."""
        return self._replace(pixels=None)

    def views(self, indices: np.ndarray) -> Judged:
        """The same for some of the views."""
        return self if self.pixels is None else self._replace(pixels=self.pixels[indices])

    def count(self, equations: Equations) -> int:
        """Number of measured pixels among them."""
        if self.pixels is None:
            return equations.n_measured
        if equations.seen is not None:
            return round(float((equations.seen * self.pixels).sum(dtype=np.float64)))
        n_v = equations.measured.shape[2] if self.pixels.shape[2] == 1 else 1
        return round(float(self.pixels.sum(dtype=np.float64))) * n_v

    def power(self, equations: Equations, x: Array, room: Array) -> float:
        """|b - A x|^2 over them, `room` being images to work in."""
        squares = equations.residual(x, room)
        if self.pixels is None:
            return squares
        room *= self.pixels
        return power(room)


def judged(equations: Equations) -> Judged:
    """Pixels whose rays stay within the volume; all, if those are under 1 % of the measured ones.

    All, too, for a projector that does not tell where its rays go (one without `affine`).
    """
    projector, measured = equations.projector, equations.measured
    if not hasattr(projector, "affine"):
        return Judged(None, 1.0)
    n_v = 1 if equations.is_separable else int(measured.shape[2])
    pixels = np.zeros((*measured.shape[:2], n_v), dtype=np.float32)
    pixels[: projector.n_views, projector.inside] = rays_within(projector, n_v)
    found = Judged(backend.namespace(measured).asarray(pixels), 0.0)
    n_judged, n_measured = found.count(equations), equations.n_measured
    if n_judged == n_measured:
        return Judged(None, 1.0)
    share = n_judged / max(1, n_measured)
    return Judged(found.pixels if share >= _LEAST_SHARE else None, share)


def rays_within(projector: Any, n_v: int) -> np.ndarray:
    """Whether all that a pixel sees of the slab lies within the volume: (n_views, n_u, n_v) bool.

    A pixel takes part in voxels that land within one pixel of it. Where slices along y are independent, `n_v` is 1
    and only the ends of x matter; elsewhere those of y do too.
    """
    u, v = np.meshgrid(np.arange(projector.n_u), np.arange(n_v), indexing="ij")
    inside = np.zeros((projector.n_views, projector.n_u, n_v), dtype=bool)
    for k, reach in enumerate(_reaches(projector, n_v, u, v)):
        if reach is not None:
            inside[k] = reach[0] <= 0.5 * (projector.n_x + 1) + _EDGE_ON
            if not projector.is_separable:
                inside[k] &= reach[1] <= 0.5 * ((projector.n_y or n_v) + 1) + _EDGE_ON
    return inside


def margin_of_views(projector: Any, n_v: int) -> int:
    """Voxels at either end of x that keep the rays of all pixels within the volume; at most its width.

    `projector` is that of the volume without margins, `n_v` the rows of its detector.
    """
    u, v = np.meshgrid(
        [0, projector.n_u - 1], [0, n_v - 1], indexing="ij"
    )  # in the corners they reach farthest
    reaches = [
        math.inf if reach is None else float(reach[0].max()) for reach in _reaches(projector, n_v, u, v)
    ]
    wanted = min(max(reaches) - 0.5 * (projector.n_x + 1), projector.n_x)
    return max(0, math.ceil(wanted - _EDGE_ON))


def _reaches(projector: Any, n_v: int, u: np.ndarray, v: np.ndarray) -> Iterator[np.ndarray | None]:
    """For each view, how far from the centre pixels (u, v) see, along x and along y, (2, *u.shape) in voxels.

    That is between the middles of the first layer and of the last, a pixel's share in its neighbours included. None
    for a view along x.
    """
    face = geometry.centre(projector.n_z)
    for of_u, of_v in projector.affine(n_v):
        plane = np.array([of_u[:2], of_v[:2]])
        if abs(np.linalg.det(plane)) < _EDGE_ON:
            yield None
            continue
        back = np.linalg.inv(plane)
        at = [
            np.tensordot(back, np.stack((u - of_u[2] * z - of_u[3], v - of_v[2] * z - of_v[3])), axes=1)
            for z in (-face, face)
        ]
        yield np.maximum(*np.abs(at)) + np.abs(back).sum(axis=1)[:, None, None]
