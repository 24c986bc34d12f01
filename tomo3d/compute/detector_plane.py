"""Where slices along y mix but in the plane of the detector alone: a separable projector, and a map of its views.

Without a tilt about x, a view that is turned, magnified or moved along v is the separable view of the same
specimen, seen at other places. So A = W P: P projects slice by slice, W resamples each view; A' = P' W'. W costs 16
multiply-adds a pixel, P two a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend
from tomo3d.compute.kernels import projection, warp, warp_cuda

Array = Any
_OVERSHOOT = 1.25**2  # of cubics in two directions, over the largest of their nodes
_SPARE = 4  # pixels of the plane beyond what the detector sees: the reach of a cubic on either side


@dataclass(frozen=True, eq=False)
class PlaneMap:
    """W: images (n_views, n_u, n_v) from planes (n_views, n_plane_u + padding, n_y), in the inner order.

    Parameters
    ----------
    affine : ndarray, shape (n_views, 2, 3)
        (u, v) of the plane = affine[:, :, :2] @ (u, v) of the detector + affine[:, :, 2], in indices.
    n_plane_u : int
        Width of the plane.
    moves : ndarray, shape (n_views, 2)
        Where the point that all axes go through lies on the plane, (y, x) in pixels from its centre; along y none is
        left to P.
    field : ndarray, shape (n_views, n_nodes_u, n_nodes_v, 2)
        What is added to (u, v) of the plane, on the middles of equal parts of the detector.
    is_absolute : bool
        Take weights by their size.
    """

    affine: np.ndarray
    n_plane_u: int
    moves: np.ndarray
    field: np.ndarray
    is_absolute: bool = False

    def forward(self, planes: Array, out: Array) -> None:
        """`out` = W `planes`."""
        warps = warp.warp_cpu if backend.namespace(planes) is np else warp_cuda.warp_cuda
        warps(planes, self._rows, self.affine, self.field, out, self.is_absolute)

    def back(self, images: Array, out: Array) -> None:
        """`out` = W' `images`; its padding is left as it is."""
        spreads = (
            warp.warp_transpose_cpu if backend.namespace(images) is np else warp_cuda.warp_transpose_cuda
        )
        spreads(images, self._rows, self.affine, self.field, out, self.is_absolute)

    @property
    def _rows(self) -> tuple[int, int]:
        return projection.PAD_BEFORE, projection.PAD_BEFORE + self.n_plane_u


def plane_map(
    turns: np.ndarray,
    shifts: np.ndarray,
    detector: tuple[int, int],
    n_y: int,
    offset_y: float,
    *,
    local_shifts: np.ndarray | None = None,
    is_absolute: bool = False,
) -> PlaneMap:
    """The map of views that are turned and magnified by `turns` (n_views, 2, 2), then moved by `shifts` (y, x).

    `detector` is (n_v, n_u), `n_y` the slices of the volume, `offset_y` their centre's distance from the axes' common
    point, `local_shifts` (n_views, n_nodes_v, n_nodes_u, 2) what each part of the detector moves besides. The plane
    follows what the detector sees, so that P moves it across the axis and W by whole pixels where nothing
    turns: then nothing is blurred.
    """
    n_v, n_u = detector
    inverse = np.linalg.inv(turns)
    moves = np.einsum("kij,kj->ki", inverse, shifts)
    half_width = 0.5 * (abs(inverse[:, 1, 0]) * (n_v - 1) + abs(inverse[:, 1, 1]) * (n_u - 1)).max()
    field = np.zeros((len(turns), 1, 1, 2))
    if local_shifts is not None:  # in the order (u, v), as the kernel has it
        on_plane = -np.einsum("kij,kvuj->kuvi", inverse, np.asarray(local_shifts, dtype=np.float64))
        field = np.ascontiguousarray(on_plane[..., ::-1])
        half_width += _OVERSHOOT * abs(field[..., 0]).max()
    spare = max(0, int(np.ceil(half_width - 0.5 * (n_u - 1))) + _SPARE)
    n_plane_u = n_u + 2 * spare
    back = inverse[:, ::-1, ::-1]  # from (y, x) to (u, v)
    corner = np.array([geometry.centre(n_u), geometry.centre(n_v)])
    constant = np.array([geometry.centre(n_plane_u), geometry.centre(n_y)]) - back @ corner
    constant[:, 1] -= moves[:, 0] + offset_y
    affine = np.ascontiguousarray(np.concatenate((back, constant[:, :, None]), axis=2))
    return PlaneMap(affine, n_plane_u, moves, field, is_absolute)
