"""Where the pixels of an aligned view lie in a raw view that local shifts bend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend

Array = Any
_STEP = 4  # pixels between places that are solved for; those between are interpolated


@dataclass(frozen=True, eq=False)
class Bends:
    """Local shifts of views, as a resampler needs them.

    Parameters
    ----------
    nodes : ndarray, shape (n_views, n_nodes_y, n_nodes_x, 2)
        How far the content near each node must move, (y, x) in pixels.
    shape : tuple of int
        (n_y, n_x) of the raw views.
    """

    nodes: np.ndarray
    shape: tuple[int, int]

    def views(self, index: np.ndarray) -> Bends:
        """Those of some views."""
        return Bends(self.nodes[index], self.shape)

    def places(
        self, k: int, matrix: np.ndarray, offset: np.ndarray, rows: tuple[int, int], n_columns: int
    ) -> np.ndarray:
        """Raw indices (2, n_rows, n_columns) that rows first to last of aligned view k are taken from.

        matrix @ index + offset is where they would be, were there no local shifts. Within 0.02 pixels where
        the shifts change by 0.03 pixels a pixel, and the same whatever rows are asked for.
        """
        first, last = rows
        at_y = _STEP * np.arange(first // _STEP - 1, (last - 1) // _STEP + 3)
        at_x = _STEP * np.arange(-1, (n_columns - 1) // _STEP + 3)
        y, x = (grid.ravel() for grid in np.meshgrid(at_y, at_x, indexing="ij"))
        plain = np.stack((y, x), axis=1) @ matrix.T + offset
        none = np.zeros(len(plain), dtype=int)
        raw = geometry.without_local_shifts(self.nodes[k : k + 1], plain, none, self.shape)
        bends = (raw - plain).T.reshape(2, len(at_y), len(at_x))
        weights_y = geometry.node_weights(_fractions(np.arange(first, last), at_y), len(at_y))
        weights_x = geometry.node_weights(_fractions(np.arange(n_columns), at_x), len(at_x))
        bends = weights_y @ bends @ weights_x.T
        places = np.tensordot(matrix, np.indices(bends.shape[1:]), axes=1)
        places += (offset + first * matrix[:, 0])[:, None, None]
        return np.asarray(places + bends)

    def straightened(self, view: Array, k: int) -> Array:
        """View k (n_y, n_x) float32 as it would be without local shifts, continued beyond its edges."""
        places = self.places(k, np.eye(2), np.zeros(2), (0, self.shape[0]), self.shape[1])
        xp = backend.namespace(view)
        return backend.ndimage(view).map_coordinates(view, xp.asarray(places), order=3, mode="nearest")


def _fractions(index: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Places as fractions of a line whose parts are about the knots."""
    return ((index - knots[0]) / _STEP + 0.5) / len(knots)


def bends(local_shifts_nm: np.ndarray | None, pixel_size_nm: float, shape: tuple[int, int]) -> Bends | None:
    """Local shifts of raw views of this pixel and shape; None where there are none, or all are 0."""
    if local_shifts_nm is None or not local_shifts_nm.any():
        return None
    return Bends(local_shifts_nm / pixel_size_nm, shape)
